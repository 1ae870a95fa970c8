"""Checksums of local files, as text "algorithm:hex"."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import xxhash

from tranship_movers.errors import Misconfigured, of_system

PIECE = 1 << 20
"""Bytes that are read at once."""


class Hash(Protocol):
    """What all hash libraries share."""

    def update(self, piece: bytes, /) -> object:
        """Take in piece."""

    def hexdigest(self) -> str:
        """The digest of everything taken in, in lower-case hex."""


_HASHES: dict[str, Callable[[], Hash]] = {
    "xxh128": xxhash.xxh3_128,
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}

ALGORITHMS = frozenset(_HASHES)
"""What `digest` can do."""


def new(algorithm: str) -> Hash:
    """An empty hash. Raises Misconfigured for an algorithm that we don't know."""
    try:
        return _HASHES[algorithm]()
    except KeyError:
        raise Misconfigured(f"no checksum `{algorithm}`; known are {', '.join(sorted(ALGORITHMS))}") from None


def digest(path: Path | str, algorithm: str) -> str:
    """The hex digest of the file at path, in constant memory.

    Raises SourceGone if there is none, Misconfigured for an algorithm that we don't know.
    """
    hashed = new(algorithm)
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                hashed.update(piece)
    except OSError as error:
        raise of_system(error, where=str(path)) from error
    return hashed.hexdigest()


def checksum(path: Path | str, algorithm: str) -> str:
    """The digest of the file at path as text, "xxh128:…". Raises as `digest` does."""
    return f"{algorithm}:{digest(path, algorithm)}"


def agrees(path: Path | str, text: str) -> bool:
    """Whether the file at path has the checksum text ("xxh128:…"). Raises as `digest` does."""
    algorithm, _, hexed = text.partition(":")
    return digest(path, algorithm) == hexed.lower()
