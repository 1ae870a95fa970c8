"""When two announcements mean the same delivery.

Version = path, size, modification time, checksum. Between servers the path may differ, so what identifies a
delivery for a client is what the consumer gets: the names and the bytes. A peer of the old kind announces names
only; then the sorted names together are the identity, as that peer itself has it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one file at its server; size in bytes, mtime_ns in ns since the epoch, checksum "algo:hex"."""

    path: str
    size: int
    mtime_ns: int
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of an announcement as a client sees it; size -1 and checksum "" if the peer does not say."""

    uid: str
    path: str
    size: int = -1
    mtime_ns: int = -1
    checksum: str = ""


def identity(files: Iterable[Wanted], destination: str) -> str:
    """The identity (32 hex digits) of a delivery of files to destination (URL without credentials)."""
    digest = hashlib.blake2b(destination.encode(), digest_size=16)
    for uid, size, what in sorted((f.uid, f.size, f.checksum or f.mtime_ns) for f in files):
        digest.update(f"\0{uid}\0{size}\0{what}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def apart(first: str, path: str) -> str:
    """The identity of a namesake: the same name and bytes as first, but another path at the same server."""
    return hashlib.blake2b(f"{first}\0{path}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
