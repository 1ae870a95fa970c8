"""What may lie in a packed file, and what comes out of it: tar, zip, gzip, bzip2, xz, zstd, or a program's doing.

What an archive says is not believed: no name leads out, links and devices are not made, and there are bounds to what
it may grow to.
"""

import bz2
import contextlib
import fnmatch
import gzip
import importlib
import importlib.util
import io
import lzma
import os
import posixpath
import resource
import shutil
import signal
import stat
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import IO, Any


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


def reads_zstd() -> bool:
    """Whether zstd can be unpacked here: by the interpreter (from 3.14), or by the package zstandard."""
    return any(importlib.util.find_spec(module) for module in ("compression", "zstandard"))


# ---- bounds


_FREELY = 64 << 20
_BLOCK = 1 << 20
_HEAD = 4 << 20
"""Bytes that a header of an archive may have; more is an attempt to fill the memory."""
_DEEPEST = 32
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile)


@dataclass(slots=True)
class Bounds:
    """Counts what comes out of a file."""

    path: str
    plan: Plan
    folder: str
    bytes: int = 0
    files: int = 0
    most: int = field(init=False)

    def __post_init__(self) -> None:
        room = shutil.disk_usage(self.folder).free * 9 // 10
        by_ratio = max(_FREELY, os.stat(self.path).st_size * self.plan.ratio)
        self.most = min(room, self.plan.size, by_ratio)

    def more(self, count: int) -> None:
        """So many bytes more."""
        self.bytes += count
        if self.bytes > self.most:
            raise Hostile(f"{self.path}: grows to more than {self.most} bytes, which it may not")

    def another(self) -> None:
        """One file (or folder) more."""
        self.files += 1
        if self.files > self.plan.members:
            raise Hostile(f"{self.path}: holds more than {self.plan.members} files, which it may not")


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
        if any(len(os.fsencode(part)) > 255 for part in parts):
            raise Hostile(f"{self.bounds.path}: holds a name of more than 255 bytes")
        return clean


def _can_be_told(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- the formats


def _untar(path: str, plan: Plan, made: Made) -> None:
    del plan
    with (
        _opened(path) as packed,
        tarfile.open(fileobj=_Onward(packed, made.bounds), mode="r:", errorlevel=1) as tar,
    ):
        while (member := tar.next()) is not None:
            made.bounds.another()
            _take_member(tar, member, made)


def _take_member(tar: tarfile.TarFile, member: tarfile.TarInfo, made: Made) -> None:
    try:
        tarfile.data_filter(member, made.work)
    except tarfile.FilterError as error:
        raise Hostile(f"{made.bounds.path}: {error}") from None
    if member.isreg():
        content = tar.extractfile(member)
        if content is not None:
            made.add(member.name, content, member.mtime)
    elif member.islnk():
        made.link(member.name, member.linkname)
    elif member.issym():
        made.link(member.name, posixpath.join(posixpath.dirname(member.name), member.linkname))
    elif not member.isdir():
        raise Hostile(f"{made.bounds.path}: {member.name[:200]!r} is neither a file nor a folder")


class _Onward(io.RawIOBase):
    """What is unpacked, to be read from its beginning to its end, in pieces of bounded size."""

    def __init__(self, packed: IO[bytes], bounds: Bounds) -> None:
        self._packed = packed
        self._most = bounds.most + _HEAD + (bounds.plan.members << 11)
        self._path = bounds.path
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEAD:
            raise Hostile(f"{self._path}: has a header of {size} bytes")
        data = self._packed.read(size)
        self._at += len(data)
        if self._at > self._most:
            raise Hostile(f"{self._path}: grows to more than {self._most} bytes, which it may not")
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or offset < self._at:
            raise tarfile.ReadError("its files are not in their order")
        while self._at < offset and self.read(min(_BLOCK, offset - self._at)):
            pass
        return self._at


def _unzip(path: str, plan: Plan, made: Made) -> None:
    with open(path, "rb") as file:
        _check_directory(file, path, plan)
        with zipfile.ZipFile(file) as packed:
            for member in packed.infolist():
                made.bounds.another()
                kind = stat.S_IFMT(member.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise Hostile(f"{path}: {member.filename[:200]!r} is neither a file nor a folder")
                if member.is_dir():
                    continue
                try:
                    content = packed.open(member)
                except (RuntimeError, NotImplementedError) as error:  # encrypted; a method that is not known
                    raise Broken(f"{path}: {member.filename[:200]!r} can't be read: {error}") from None
                with content:
                    made.add(member.filename, content, os.stat(path).st_mtime)


def _check_directory(file: IO[bytes], path: str, plan: Plan) -> None:
    """Refuse a table of contents that would fill the memory, before it is read."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    contents = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if contents == 0xFFFFFFFF:  # a ZIP64: its size stands elsewhere; it can't be more than what is there
        contents = size
    if contents > plan.members * 1024:
        raise Hostile(f"{path}: has a table of contents of {contents} bytes")
    file.seek(0)


def _decompress(path: str, plan: Plan, made: Made) -> None:
    del plan
    made.bounds.another()
    name = os.path.basename(path)
    with _opened(path, plain=False) as packed:
        made.add(name.rpartition(".")[0] or f"{name}.unpacked", packed, os.stat(path).st_mtime)


@contextmanager
def _opened(path: str, *, plain: bool = True) -> Iterator[IO[bytes]]:
    """The file at path, decompressed as its first bytes say; plain: or as it is, if they say nothing."""
    with open(path, "rb") as file:
        magic = file.read(6)
        file.seek(0)
        opener = next((opener for mark, opener in _MAGIC.items() if magic.startswith(mark)), None)
        if opener is None and not plain:
            raise Broken(f"{path}: is not compressed by anything that is known")
        if opener is None:
            yield file
            return
        with opener(file) as packed:
            yield packed


def _open_zstd(file: IO[bytes]) -> Any:
    if not reads_zstd():
        raise Stuck("zstd needs the package zstandard: pip install 'tranship[zstd]'")
    try:
        return importlib.import_module("compression.zstd").ZstdFile(file)
    except ImportError:
        return io.BufferedReader(_Zstd(file, importlib.import_module("zstandard")), _BLOCK)


class _Zstd(io.RawIOBase):
    """What is in a zstd file, by the package zstandard, whose own reader takes a file that is cut off for whole."""

    def __init__(self, file: IO[bytes], zstandard: Any) -> None:
        self._file = file
        self._zstandard = zstandard
        self._frame: Any = None
        self._rest = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = self._rest or self._file.read(1024)  # few, for they may become 32 000 times as much
            if not packed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle of a frame")
                return 0
            self._unpack(packed)
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _unpack(self, packed: bytes) -> None:
        if self._frame is None:
            self._frame = self._zstandard.ZstdDecompressor().decompressobj()
        try:
            self._ready, self._rest = self._frame.decompress(packed), b""
        except self._zstandard.ZstdError as error:
            raise EOFError(str(error)) from error
        if self._frame.eof:
            self._rest, self._frame = self._frame.unused_data, None


_MAGIC: Mapping[bytes, Callable[[IO[bytes]], Any]] = MappingProxyType(
    {
        b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
        b"BZh": bz2.BZ2File,
        b"\xfd7zXZ\0": lzma.LZMAFile,
        b"\x28\xb5\x2f\xfd": _open_zstd,
    }
)


def _run_xrit(path: str, plan: Plan, made: Made) -> None:
    """The program leaves the segment beside itself, its name ending with __ instead of C_."""
    name = os.path.basename(path)
    wanted = f"{name.removesuffix('C_')}__"
    _run(path, plan, made)
    if wanted not in made.names:
        raise Stuck(f"{path}: {plan.command[0]} has made no {wanted}")
    os.utime(os.path.join(made.work, wanted), ns=(os.stat(path).st_mtime_ns,) * 2)
    made.names.clear()
    made.names[wanted] = None


def _run(path: str, plan: Plan, made: Made) -> None:
    """Run the program in the workshop; what it leaves there are the results."""
    command = [argument.replace("{file}", path) for argument in plan.command]
    if command == list(plan.command):
        command.append(path)
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - an argument list from the configuration, without a shell
                command,
                cwd=made.work,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={key: os.environ[key] for key in _ENVIRONMENT if key in os.environ},
            )
        except OSError as error:
            raise Stuck(f"{path}: {command[0]} can't be started: {error.strerror}") from error
        _bound(process, made.bounds.most)
        code = _ended(process, plan.deadline.total_seconds())
        if code:
            said.seek(0)
            words = said.read(2000).decode(errors="replace").strip()[-500:]
            ended = "was stopped: it took too long" if code == _TOO_LONG else f"ended with {code}"
            raise Stuck(f"{path}: {command[0]} {ended}{words and ': '}{words}")
    made.find()


_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
_TOO_LONG = -1000


def _bound(process: "subprocess.Popen[bytes]", most: int) -> None:
    """Let it write no file of more than so many bytes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))


def _ended(process: "subprocess.Popen[bytes]", seconds: float) -> int:
    """The exit code of process; _TOO_LONG if it had to be killed. None of its children is left."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = _TOO_LONG
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return code


READERS: Mapping[Format, Callable[[str, Plan, Made], None]] = MappingProxyType(
    {
        Format.TAR: _untar,
        Format.ZIP: _unzip,
        Format.GZIP: _decompress,
        Format.BZIP2: _decompress,
        Format.XZ: _decompress,
        Format.ZSTD: _decompress,
        Format.XRIT: _run_xrit,
        Format.PROGRAM: _run,
    }
)
