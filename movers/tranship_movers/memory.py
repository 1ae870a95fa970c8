"""Files in memory, shared by everybody in this process who names the same host; with faults on request.

For tests of everything above: `memory://host/folder/`, and `host("host").faults` to make it fail.
"""

import os
import posixpath
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from tranship_movers.checksum import ALGORITHMS, new
from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    MoverError,
    NameRefused,
    Permanent,
    SourceChanged,
    SourceGone,
    Unreachable,
    of_system,
)
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.target import opened_at

_PIECES = 16
_PIECE = 1 << 16


class MemoryOptions(MoverOptions):
    """Nothing beyond the common options."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One file in memory."""

    content: bytes
    mtime_ns: int
    mode: int = 0o644


@dataclass(slots=True)
class Fault:
    """Makes a verb ("put", "rename", "connect" …) fail.

    The error comes out after so many bytes (of put and get; the rest of the verb is not done). `times`: how
    often, before the fault is over. `wait`: is called before the verb does anything, to hold it up.
    """

    verb: str
    error: MoverError | None = None
    after: int = 0
    times: int = 1
    wait: Callable[[], object] | None = None
    cuts: bool = False
    """Whether the connection is dead afterwards."""


@dataclass(slots=True)
class Host:
    """What one host holds, by full name; used under its lock."""

    files: dict[str, Kept] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"/"})
    faults: list[Fault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    """The verbs that were called, in order, with their names: "put /in/a"."""
    connections: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def next_fault(self, verb: str) -> Fault | None:
        """The fault that this call of verb has, once."""
        with self.lock:
            for fault in self.faults:
                if fault.verb == verb and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


@cache
def host(name: str) -> Host:
    """The host called name, the same one for everybody in this process."""
    return Host()


class MemoryMover:
    """One connection to one host in memory."""

    options = MemoryOptions
    powers = Powers(append=True, resumes=0, mtime=True, mode=True, checksums=ALGORITHMS)

    def __init__(self, place: Place, options: MemoryOptions | None = None) -> None:
        """Connect. Raises what the host's fault for "connect" says."""
        self._where = str(place)
        self._host = host(place.host)
        self._open = True
        self._begin("connect", "")
        with self._host.lock:
            self._host.connections += 1

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the bytes of source at name, piece by piece, so that a reader can see part of it."""
        fault = self._begin("put", name)
        content, facts = _local(source)
        with self._host.lock:
            folder, before = self._folder_of(name), self._host.files.get(name)
            if folder not in self._host.folders:
                raise Permanent("there is no such folder", where=self._where)
            if name in self._host.folders:
                raise Permanent("is a folder", where=self._where)
            begun = (before.content if before else b"")[:offset]
            self._host.files[name] = Kept(begun, time.time_ns())
        step = max(_PIECE, len(content) // _PIECES)
        for start in range(offset, len(content), step):
            piece = content[start : start + step]
            self._fail_after(fault, start - offset + len(piece))
            with self._host.lock:
                kept = self._host.files.get(name)
                if kept is None:
                    raise SourceGone("was removed while it was written", where=self._where)
                self._host.files[name] = replace(kept, content=kept.content[:start] + piece)
            progress(len(piece))
        self._fail_after(fault, None)
        with self._host.lock:
            kept = self._host.files[name]
            self._host.files[name] = replace(kept, mtime_ns=facts.st_mtime_ns, mode=facts.st_mode & 0o777)

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the bytes at name into target."""
        fault = self._begin("get", name)
        kept = self._file(name)
        if len(kept.content) < offset:
            raise SourceChanged("is shorter than what came of it", where=self._where)
        try:
            with opened_at(target, offset) as file:
                for start in range(offset, len(kept.content), _PIECE):
                    piece = kept.content[start : start + _PIECE]
                    self._fail_after(fault, start - offset + len(piece))
                    file.write(piece)
                    progress(len(piece))
            os.utime(target, ns=(kept.mtime_ns, kept.mtime_ns))
        except OSError as error:
            raise of_system(error, where=str(target), absent=Permanent) from error
        self._fail_after(fault, None)

    def stat(self, name: str) -> Facts | None:
        """The facts of name, or None."""
        self._do("stat", name)
        with self._host.lock:
            return self._facts(name, name)

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder, as they were at one moment."""
        self._do("list", folder)
        inside = folder.rstrip("/") + "/"
        with self._host.lock:
            if (folder.rstrip("/") or "/") not in self._host.folders:
                raise Permanent("there is no such folder", where=self._where)
            full = [*self._host.files, *(self._host.folders - {"/"})]
            names = [name for name in full if name.startswith(inside) and "/" not in name[len(inside) :]]
            found = [self._facts(name, name[len(inside) :]) for name in names]
        return iter([facts for facts in found if facts is not None])

    def remove(self, name: str) -> None:
        """Remove name."""
        self._do("remove", name)
        with self._host.lock:
            self._host.files.pop(name, None)

    def rename(self, old: str, new: str) -> None:
        """Give old the name new, in one step."""
        self._do("rename", old)
        self._refuse(new)
        with self._host.lock:
            if old not in self._host.files:
                raise SourceGone("there is no such name", where=self._where)
            if self._folder_of(new) not in self._host.folders or new in self._host.folders:
                raise Permanent("there is no such folder, or it is one", where=self._where)
            self._host.files[new] = self._host.files.pop(old)

    def make_folders(self, folder: str) -> None:
        """Make folder and its parents."""
        self._do("make_folders", folder)
        with self._host.lock:
            while folder not in ("", "/"):
                if folder in self._host.files:
                    raise Permanent("is a file", where=self._where)
                self._host.folders.add(folder.rstrip("/"))
                folder = posixpath.dirname(folder.rstrip("/"))

    def checksum(self, name: str, algorithm: str) -> str | None:
        """The hex digest of the bytes at name."""
        self._do("checksum", name)
        if algorithm not in ALGORITHMS:
            return None
        hashed = new(algorithm)
        hashed.update(self._file(name).content)
        return hashed.hexdigest()

    def alive(self) -> bool:
        """Whether it is open."""
        return self._open

    def close(self) -> None:
        """End the connection."""
        if self._open:
            self._open = False
            with self._host.lock:
                self._host.connections -= 1

    def _do(self, verb: str, name: str) -> None:
        self._fail_after(self._begin(verb, name), None)

    def _begin(self, verb: str, name: str) -> Fault | None:
        if not self._open:
            raise Unreachable("the connection is closed", where=self._where)
        self._refuse(name)
        with self._host.lock:
            self._host.calls.append(f"{verb} {name}".rstrip())
        fault = self._host.next_fault(verb)
        if fault is not None and fault.wait is not None:
            fault.wait()
        if fault is not None and not fault.after:
            self._fail_after(fault, None)
        return fault

    def _fail_after(self, fault: Fault | None, went: int | None) -> None:
        if fault is None or fault.error is None or (went is not None and went < fault.after):
            return
        if fault.cuts:
            self.close()
        fault.error.where = fault.error.where or self._where
        raise fault.error

    def _refuse(self, name: str) -> None:
        if "\0" in name:
            raise NameRefused("holds a NUL", where=self._where)

    def _folder_of(self, name: str) -> str:
        return posixpath.dirname(name) or "/"

    def _file(self, name: str) -> Kept:
        with self._host.lock:
            kept = self._host.files.get(name)
        if kept is None:
            raise SourceGone("there is no such name", where=self._where)
        return kept

    def _facts(self, full: str, shown: str) -> Facts | None:
        if (full.rstrip("/") or "/") in self._host.folders:
            return Facts(shown, 0, is_folder=True)
        kept = self._host.files.get(full)
        return None if kept is None else Facts(shown, len(kept.content), kept.mtime_ns, mode=kept.mode)


def _local(source: Path) -> tuple[bytes, os.stat_result]:
    try:
        with source.open("rb") as file:
            return file.read(), os.fstat(file.fileno())
    except OSError as error:
        raise of_system(error, where=str(source)) from error
