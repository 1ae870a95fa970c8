"""How packed files are unpacked, and what can be wrong with one."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType


class Format(StrEnum):
    """What packed a file."""

    TAR = "tar"
    ZIP = "zip"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"
    XRIT = "xrit"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to unpack.

    names    shell patterns of the names that are packed files; empty: those that are usual for the format
    command  the program and its arguments; `{file}` is the packed file (put at the end, if it stands nowhere)
    deadline for a program
    folder   where the results go; "": beside the packed file
    members  at most so many files in an archive
    size     at most so many bytes in all; and never more than the disk has room for
    ratio    at most so many times the size of the packed file (counted above 64 MiB)
    """

    format: Format
    names: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    deadline: timedelta = timedelta(minutes=10)
    folder: str = ""
    members: int = 10_000
    size: int = 64 << 30
    ratio: int = 1000

    def covers(self, name: str) -> bool:
        """Whether the file of this name is a packed one."""
        patterns = self.names or USUAL[self.format]
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


USUAL: Mapping[Format, tuple[str, ...]] = MappingProxyType(
    {
        Format.TAR: ("*.tar", "*.tar.*", "*.tgz", "*.tbz2", "*.txz"),
        Format.ZIP: ("*.zip",),
        Format.GZIP: ("*.gz",),
        Format.BZIP2: ("*.bz2",),
        Format.XZ: ("*.xz",),
        Format.ZSTD: ("*.zst",),
        Format.XRIT: ("*C_",),
        Format.PROGRAM: ("*",),
    }
)
"""The names of packed files, by format."""


class UnpackError(Exception):
    """It could not be unpacked; the text says which file and why."""


class Hostile(UnpackError):
    """It would write where it must not, or more than it may; it will never be unpacked."""


class Broken(UnpackError):
    """It is not what its name says, or damaged; another copy may be whole."""


class Stuck(UnpackError):
    """It can't be unpacked now: disk, rights, a program that failed; it may work later."""
