"""What comes out of a packed file: under names that lead nowhere else, and no more than it may be."""

import contextlib
import os
import posixpath
import shutil
import stat
from dataclasses import dataclass, field
from typing import IO

from tranship.core.words import counted
from tranship.packed.plan import Broken, Hostile, Plan
from tranship_movers.temporary import is_part

_FREELY = 64 << 20
_BLOCK = 1 << 20
_DEEPEST = 32
_OURS = ".tranship-"
"""What the names of our temporary folders begin with."""


@dataclass(slots=True)
class Bounds:
    """Counts what comes out of a file."""

    path: str
    plan: Plan
    folder: str | None = None
    """Where it is written to, if it is."""
    bytes: int = 0
    files: int = 0
    most: int = field(init=False)

    def __post_init__(self) -> None:
        by_ratio = max(_FREELY, os.stat(self.path).st_size * self.plan.ratio)
        self.most = min(self.plan.size, by_ratio)
        if self.folder is not None:
            self.most = min(self.most, shutil.disk_usage(self.folder).free * 9 // 10)

    def more(self, count: int) -> None:
        """So many bytes more."""
        self.bytes += count
        if self.bytes > self.most:
            raise Hostile(f"{self.path}: grows to more than {self.most} bytes, which it may not")

    def another(self) -> None:
        """One file (or folder) more."""
        self.files += 1
        if self.files > self.plan.members:
            files = counted(self.plan.members, "file")
            raise Hostile(f"{self.path}: holds more than {files}, which it may not")


@dataclass(frozen=True, slots=True)
class Made:
    """Puts what comes out of a file into the workshop."""

    work: str
    bounds: Bounds
    names: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, content: IO[bytes], mtime: float | None) -> None:
        """Another file, which will have this name."""
        target = self._target(name)
        with open(target, "wb") as out:
            while block := content.read(_BLOCK):
                self.bounds.more(len(block))
                out.write(block)
        if mtime is not None and 0 <= mtime < 1 << 33:
            os.utime(target, (mtime, mtime))

    def link(self, name: str, other: str) -> None:
        """Another name of a file that is there already."""
        source = os.path.join(self.work, self._checked(other))
        if not os.path.isfile(source):
            raise Hostile(f"{self.bounds.path}: {name!r} is a link to {other!r}, which is no file of it")
        target = self._target(name)
        if target != source:
            os.link(source, target)

    @property
    def is_too_much(self) -> bool:
        """Whether a program has already left more in the workshop than it may."""
        size = count = 0
        for folder, folders, files in os.walk(self.work):
            count += len(folders) + len(files)
            if count > self.bounds.plan.members:
                return True
            for name in files:
                with contextlib.suppress(OSError):  # it is at work
                    size += os.lstat(os.path.join(folder, name)).st_blocks * 512
        return size > self.bounds.most

    def find(self) -> None:
        """Take in the files that a program has left in the workshop."""
        for folder, folders, files in os.walk(self.work):
            for name in sorted(folders + files):
                self.bounds.another()
                path = os.path.join(folder, name)
                facts = os.lstat(path)
                if stat.S_ISREG(facts.st_mode):
                    self.bounds.more(facts.st_size)
                    self.names[self._checked(os.path.relpath(path, self.work))] = None
                elif not stat.S_ISDIR(facts.st_mode):
                    raise Hostile(f"{self.bounds.path}: {name!r} came out of it, which is no file")

    def _target(self, name: str) -> str:
        clean = self._checked(name)
        target = os.path.join(self.work, clean)
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.lexists(target):
                os.remove(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise Broken(f"{self.bounds.path}: {name!r} is a file and a folder") from None
        self.names[clean] = None
        return target

    def _checked(self, name: str) -> str:
        """Name as a path below the workshop."""
        clean = posixpath.normpath(name)
        parts = name.split("/")
        odd = any(letter in name for letter in "\0\n\r\\") or clean in (".", "") or len(parts) > _DEEPEST
        if odd or ".." in parts or name.startswith("/") or not _can_be_told(clean):
            raise Hostile(f"{self.bounds.path}: holds the name {name[:200]!r}, which leads astray")
        if any(part.startswith(_OURS) or is_part(part) for part in parts):
            raise Hostile(
                f"{self.bounds.path}: holds the name {name[:200]!r}, which is one of our temporaries"
            )
        if any(len(os.fsencode(part)) > 255 for part in parts):
            raise Hostile(f"{self.bounds.path}: holds a name of more than 255 bytes")
        return clean


def _can_be_told(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
