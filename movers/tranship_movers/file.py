"""Files of this machine and of what is mounted here.

Copies by reflink where the file system can, else by copy_file_range, else by reading and writing; makes
hard links only when asked. What is put is a new file: nothing is ever written into an existing one, so that
neither a link nor a reader of the old file is harmed. A call to the file system can't be broken off;
between two pieces `progress` can.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from tranship_movers.checksum import ALGORITHMS, digest
from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Misconfigured,
    MoverError,
    NameRefused,
    Permanent,
    SourceChanged,
    SourceGone,
    of_system,
)
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place

T = TypeVar("T")

_FICLONE = 0x40049409
_SMALL = 1 << 17
_PIECE = 8 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us up before we see that it is one
_OTHER_WAY = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EPERM, errno.ETXTBSY}
    | {errno.EBADF, errno.EMLINK}
)
"""What says that this way of copying does not work here, but another may."""


class FileOptions(MoverOptions):
    """Options of `file` places."""

    hard_link: bool = Field(
        default=False,
        description="Make hard links instead of copies, where that works. Who writes to one writes to both.",
    )


class FileMover:
    """The file system. Names are absolute paths."""

    options = FileOptions
    powers = Powers(append=True, resumes=0, mtime=True, mode=True, checksums=ALGORITHMS)

    def __init__(self, place: Place, options: FileOptions | None = None) -> None:
        """Raises Misconfigured if place is another machine's."""
        if not place.is_local:
            raise Misconfigured("a file place has no host; write file:///path", where=str(place))
        self._options = options or FileOptions()
        self._open = True

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> str | None:
        """Copy (or link) source to name, with mtime and mode (as far as the umask lets)."""
        path = _path(name)
        if self._options.hard_link and not offset and _linked(source, path):
            progress(os.stat(path).st_size)
            return "hard link"
        return _copy(os.fspath(source), path, offset, progress)

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Copy name to target, with mtime and mode."""
        _copy(_path(name), os.fspath(target), offset, progress)

    def stat(self, name: str) -> Facts | None:
        """The facts of name; of what it points to, if it is a symbolic link."""
        path = _path(name)
        try:
            return _facts(name, os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise _ours(error, name) from error

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder; one that vanishes meanwhile is left out."""
        path = _path(folder)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    try:
                        yield _facts(entry.name, entry.stat())
                    except FileNotFoundError:
                        continue
        except (OSError, ValueError) as error:
            raise _ours(error, folder, absent=Permanent) from error

    def remove(self, name: str) -> None:
        """Remove the file name."""
        path = _path(name)
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, ValueError) as error:
            raise _ours(error, name) from error

    def rename(self, old: str, new: str) -> None:
        """Give old the name new, in one step."""
        before, after = _path(old), _path(new)
        try:
            os.replace(before, after)
        except (OSError, ValueError) as error:
            there = isinstance(error, FileNotFoundError) and os.path.lexists(before)
            raise _ours(error, new, absent=Permanent if there else SourceGone) from error
        if self._options.hard_link:
            # Renaming between two names of one file does nothing, by POSIX; old must go all the same.
            self.remove(old)

    def make_folders(self, folder: str) -> None:
        """Make folder and its parents, with the permissions that the umask lets."""
        path = _path(folder)
        try:
            os.makedirs(path, exist_ok=True)
        except (OSError, ValueError) as error:
            raise _ours(error, folder, absent=Permanent) from error

    def checksum(self, name: str, algorithm: str) -> str | None:
        """The hex digest of the bytes at name, read back."""
        return digest(_path(name), algorithm) if algorithm in ALGORITHMS else None

    def alive(self) -> bool:
        """Whether it was not closed."""
        return self._open

    def close(self) -> None:
        """Nothing holds anything here."""
        self._open = False


def _path(name: str) -> str:
    if "\0" in name or (".." in name and ".." in name.split("/")):
        raise NameRefused("holds a NUL or climbs (`..`)", where=f"file://{name}".replace("\0", "?"))
    if name[:1] != "/":
        if name:
            raise NameRefused("is no absolute path", where=f"file://{name}")
        return "/"
    return name


def _ours(error: OSError | ValueError, name: str, absent: type[MoverError] = SourceGone) -> MoverError:
    where = f"file://{name}"
    if isinstance(error, OSError):
        return of_system(error, where=where, absent=absent)
    return NameRefused(str(error), where=where)


def _facts(name: str, found: os.stat_result) -> Facts:
    mode = found.st_mode
    return Facts(name, found.st_size, found.st_mtime_ns, stat.S_ISDIR(mode), mode & 0o7777)


def _linked(source: Path, path: str) -> bool:
    """Whether path is now another name of source; False where links don't work (another file system …)."""
    real = os.path.realpath(source)
    try:
        _anew(path, lambda: os.link(real, path))
    except FileNotFoundError:
        return False  # copying tells which of the two is missing
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OTHER_WAY:
            return False
        raise _ours(error, path) from error
    return True


def _copy(source: str, target: str, offset: int, progress: Progress) -> str | None:
    """Copy the bytes from offset on, then mtime; gives "reflink" or None."""
    try:
        reading = os.open(source, _READ)
    except (OSError, ValueError) as error:
        raise _ours(error, source) from error
    try:
        facts = os.fstat(reading)
        if not stat.S_ISREG(facts.st_mode):
            raise Permanent("is no file", where=f"file://{source}")
        if facts.st_size < offset:
            raise SourceChanged("is shorter than what came of it", where=f"file://{source}")
        writing = _opened(target, offset, facts.st_mode & 0o777)
        try:
            how = _fill(reading, writing, offset, facts.st_size, progress)
            os.utime(writing, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        except BaseException:
            os.close(writing)
            raise
        os.close(writing)  # some file systems tell only here that they are full
    except (OSError, ValueError) as error:
        raise _ours(error, target, absent=Permanent) from error
    finally:
        os.close(reading)
    return how


def _opened(target: str, offset: int, mode: int) -> int:
    if not offset:
        return _anew(target, lambda: os.open(target, _CREATE, mode))
    writing = os.open(target, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.ftruncate(writing, offset)
    os.lseek(writing, offset, os.SEEK_SET)
    return writing


def _anew(path: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except FileExistsError:
        os.unlink(path)
        return make()


def _fill(reading: int, writing: int, offset: int, size: int, progress: Progress) -> str | None:
    if size > _SMALL:
        if not offset and _reflinked(reading, writing):
            progress(size)
            return "reflink"
        offset = _pump(reading, writing, offset, progress)
    os.lseek(reading, offset, os.SEEK_SET)
    while piece := os.read(reading, _SMALL):
        _write(writing, piece)
        progress(len(piece))
    return None


def _reflinked(reading: int, writing: int) -> bool:
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno in _OTHER_WAY:
            return False
        raise
    return True


def _pump(reading: int, writing: int, offset: int, progress: Progress) -> int:
    """Copy inside the kernel, from offset on, as far as that works; gives how far."""
    os.lseek(reading, offset, os.SEEK_SET)
    try:
        while went := os.copy_file_range(reading, writing, _PIECE):
            offset += went
            progress(went)
    except OSError as error:
        if error.errno not in _OTHER_WAY:
            raise
    return offset


def _write(writing: int, piece: bytes) -> None:
    went = os.write(writing, piece)
    while went < len(piece):
        went += os.write(writing, memoryview(piece)[went:])
