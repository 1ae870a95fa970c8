"""The promise of a mover: seven verbs about the files of one place, and what it can do beyond them.

A mover is one connection to one place (host and user). It is blocking and is used by one transfer at a
time; `pool` keeps and lends them. It knows one protocol and nothing of safety: temporary names,
verification and renaming stand once, in `transfer`. Every call ends within the mover's `timeout` without
progress, with success or with one of `errors`. `checks` proves all of this against a real server.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Progress = Callable[[int], None]
"""Called with the number of bytes that have just gone over (not the sum). May raise, to break off."""


def unheard(_: int) -> None:
    """Progress that nobody asked for."""


FRESH_NS = 2_000_000_000
"""A file whose time is told in whole seconds may be written to again within it: younger, it is not proven."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a place says of one name.

    `name` as it was asked for, or, in a listing, the name inside the folder. `size` in bytes. `mtime_ns` in
    ns since the epoch (None: the place does not say; a place may keep whole seconds only). `mode`: permission
    bits (None: the place does not say). `tag`: the place's own word for this version of the bytes, which no other
    version of name has, however soon it follows ("": it has none).
    """

    name: str
    size: int
    mtime_ns: int | None = None
    is_folder: bool = False
    mode: int | None = None
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Powers:
    """What a mover can do beyond the plain verbs.

    whole_put   a name that is put appears whole or not at all (object stores): no temporary name needed
    verified    `put` and `get` themselves compare what went over: the size, and a checksum if the place has one
    folders     folders exist by themselves; where not (object stores), any name can be put without one
    writing     names can be put, renamed and removed at all (not by plain HTTP)
    listing     `list` works at all (not by plain HTTP)
    replace     `rename` replaces an existing name without a moment in which the name is absent
    append      `put` can go on at an offset
    resumes     `get` can go on at an offset, and of what a `get` that was broken off (by a crash, too) left, all but
                the last so many bytes are in place: 0 where they are written in order; None: it can't go on
    mtime       `put` keeps the modification time
    mode        `put` keeps the permission bits
    checksums   algorithms in which `checksum` answers without the bytes coming back over the line,
                e.g. frozenset({"xxh128", "sha256"})
    """

    whole_put: bool = False
    verified: bool = False
    folders: bool = True
    writing: bool = True
    listing: bool = True
    replace: bool = True
    append: bool = False
    resumes: int | None = None
    mtime: bool = False
    mode: bool = False
    checksums: frozenset[str] = frozenset()


class Mover(Protocol):
    """One connection to one place.

    Names are absolute, `/`-separated paths at the place, as text; the empty name is the place's root.
    """

    @property
    def powers(self) -> Powers:
        """What it can do beyond the verbs; the same as long as the connection lasts."""

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> str | None:
        """Write the bytes of the local file source, from offset on, at name, replacing what is there.

        Gives how it did it, if there is more than one way ("reflink", "hard link"), else None.

        Not atomic unless `powers.whole_put`. With an offset (only with `powers.append`), the first offset
        bytes at name are kept. Keeps mtime and mode as far as the powers say. The folder must exist (if
        `powers.folders`). Raises SourceGone if there is no source, Permanent (itself, not SourceGone) if
        there is no such folder, NameRefused for a name that can't be. What progress raises comes out as it
        is.
        """

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the bytes at name into the local file target, replacing what is there. Not atomic.

        With an offset (only with `powers.resumes`), the first offset bytes of target are kept, and only the rest is
        asked for; a place that will not go on after all gives everything. Keeps mtime as far as the powers say.
        Raises SourceGone if there is no such name, SourceChanged or Mangled if it has fewer than offset bytes.
        """

    def stat(self, name: str) -> Facts | None:
        """What the place says of name now, never from a cache; None if there is no such name."""

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder, in any order, never from a cache.

        Raises Permanent if there is no such folder (where `powers.folders`; elsewhere there is just nothing).
        """

    def remove(self, name: str) -> None:
        """Remove the file name; removing what is not there is no error."""

    def rename(self, old: str, new: str) -> None:
        """Give old the name new, replacing what is there (see `powers.replace`).

        Raises SourceGone if there is no old.
        """

    def make_folders(self, folder: str) -> None:
        """Make folder and its parents as far as they are missing; an existing one is no error."""

    def checksum(self, name: str, algorithm: str) -> str | None:
        """The hex digest of the bytes at name, computed by the place; None if it does not do algorithm."""

    def alive(self) -> bool:
        """Whether the connection still answers. Never raises."""

    def close(self) -> None:
        """End the connection. Never raises; closing twice is no error."""
