"""Archives, tar and zip, and files that are only compressed: what is in them, written down or listed."""

import io
import os
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from typing import IO

from tranship.packed.made import Bounds, Made
from tranship.packed.plan import Broken, Format, Hostile, Plan
from tranship.packed.streams import opened

_BLOCK = 1 << 20
_HEAD = 1 << 20
_HEADS = 1 << 12
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def untar(path: str, plan: Plan, made: Made) -> None:
    """Write down the files of a tar, compressed or not."""
    del plan
    with opened(path) as packed:
        for tar, member in _members_of_tar(packed, made.bounds):
            _take_member(tar, member, made)


def unzip(path: str, plan: Plan, made: Made) -> None:
    """Write down the files of a zip."""
    del plan
    with open(path, "rb") as file, _opened_zip(file, made.bounds) as packed:
        for member in _members_of_zip(packed, made.bounds):
            try:
                content = packed.open(member)
            except (RuntimeError, NotImplementedError) as error:  # encrypted; a method that is not known
                raise Broken(f"{path}: {member.filename[:200]!r} can't be read: {error}") from None
            with content:
                made.add(member.filename, content, os.stat(path).st_mtime)


def decompress(path: str, plan: Plan, made: Made) -> None:
    """Write down the one file that was compressed."""
    del plan
    made.bounds.another()
    name = os.path.basename(path)
    with opened(path, plain=False) as packed:
        made.add(name.rpartition(".")[0] or f"{name}.unpacked", packed, os.stat(path).st_mtime)


def listed(path: str, plan: Plan) -> list[str]:
    """The names of the files in an archive, as it says them. Raises UnpackError, DAMAGE, OSError."""
    bounds = Bounds(path, plan)
    if plan.format is Format.ZIP:
        with open(path, "rb") as file, _opened_zip(file, bounds) as zipped:
            return [member.filename for member in _members_of_zip(zipped, bounds)]
    with opened(path) as packed:
        return [member.name for _, member in _members_of_tar(packed, bounds) if member.isfile()]


# ---- tar


def _members_of_tar(packed: IO[bytes], bounds: Bounds) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    onward = _Onward(packed, bounds)
    with tarfile.open(fileobj=onward, mode="r:", errorlevel=1) as tar:
        while (member := onward.headed(tar)) is not None:
            bounds.another()
            tar.members.clear()  # type: ignore[attr-defined]  # it keeps each, with its headers
            yield tar, member


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
    """A tar, to be read from its beginning to its end, in pieces of bounded size.

    What a tar may say of a file (long names, the holes in it) is bounded, too, as all of it is kept in memory:
    1 MiB per file, and in all 4 KiB for each that there may be.
    """

    def __init__(self, packed: IO[bytes], bounds: Bounds) -> None:
        self._packed = packed
        self._heads_left = _HEAD + bounds.plan.members * _HEADS
        self._head_left = _HEAD
        self._most = bounds.most + self._heads_left
        self._path = bounds.path
        self._at = 0
        self._in_head = True

    def headed(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        """The next member of tar, of which this is the file; None if there is none."""
        self._in_head, self._head_left = True, _HEAD
        try:
            return tar.next()
        finally:
            self._in_head = False

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _BLOCK or (self._in_head and size > self._head_left):
            raise Hostile(f"{self._path}: has a header of more than {_HEAD} bytes")
        data = self._onward(size)
        if self._in_head:
            self._head_left -= len(data)
            self._heads_left -= len(data)
            if self._heads_left < 0:
                raise Hostile(f"{self._path}: consists of headers")
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
        while self._at < offset and self._onward(min(_BLOCK, offset - self._at)):
            pass
        return self._at

    def _onward(self, size: int) -> bytes:
        data = self._packed.read(size)
        self._at += len(data)
        if self._at > self._most:
            raise Hostile(f"{self._path}: grows to more than {self._most} bytes, which it may not")
        return data


# ---- zip


def _opened_zip(file: IO[bytes], bounds: Bounds) -> zipfile.ZipFile:
    return zipfile.ZipFile(_InPieces(file, bounds))


def _members_of_zip(packed: zipfile.ZipFile, bounds: Bounds) -> Iterator[zipfile.ZipInfo]:
    for member in packed.infolist():
        bounds.another()
        kind, name = stat.S_IFMT(member.external_attr >> 16), member.filename[:200]
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Hostile(f"{bounds.path}: {name!r} is neither a file nor a folder")
        if member.compress_type not in _METHODS:
            # zipfile unpacks a whole piece of these at once, and a piece may become a thousand times as large
            raise Broken(
                f"{bounds.path}: {name!r} is packed by another method than deflate, which is not read"
            )
        if not member.is_dir():
            yield member


class _InPieces(io.RawIOBase):
    """A zip, to be read in pieces of bounded size: its table of contents is one, and would fill the memory."""

    def __init__(self, file: IO[bytes], bounds: Bounds) -> None:
        self._file = file
        self._most = max(_BLOCK, bounds.plan.members << 10)
        self._path = bounds.path

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = self._most
        if size > self._most:
            raise Hostile(f"{self._path}: has a table of contents of {size} bytes")
        return self._file.read(size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET and offset < 0:
            raise zipfile.BadZipFile("it points to before its beginning")
        return self._file.seek(offset, whence)
