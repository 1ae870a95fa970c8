"""Files as we speak of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file as it stood when it was looked at.

    size in bytes, mtime_ns in ns since the epoch, at: when it was first noticed, in seconds since the epoch.
    """

    path: str
    size: int
    mtime_ns: int
    at: float


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one file at its server; size in bytes, mtime_ns in ns since the epoch, checksum "algo:hex"."""

    path: str
    size: int
    mtime_ns: int
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of an announcement, as a client sees it; size -1 and checksum "" where the peer does not say.

    folder: below the destination, where it is to go ("": to the destination itself).
    """

    uid: str
    path: str
    size: int = -1
    mtime_ns: int = -1
    checksum: str = ""
    folder: str = ""


class Unusable(ValueError):
    """A message tells of no file that can be used; the text says why."""
