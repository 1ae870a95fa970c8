"""A file, decompressed as its first bytes say: gzip, bzip2, xz, zstd. In pieces of bounded size, and memory."""

import bz2
import gzip
import importlib
import importlib.util
import io
import lzma
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, Any

from tranship.packed.plan import Broken, Stuck

_BLOCK = 1 << 20
_MEMORY = 256 << 20
"""Bytes that unpacking an xz may take: four times what the highest level of compression makes it take."""


@contextmanager
def opened(path: str, *, plain: bool = True) -> Iterator[IO[bytes]]:
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


class _Xz(io.RawIOBase):
    """What is in an xz file, whose own reader (lzma.LZMAFile) gives it as much memory as it asks for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = self._begun()
        self._rest = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = self._rest or (self._file.read(_BLOCK) if self._hungry else b"")
            if self._hungry and not packed:
                if self._stream.eof:
                    return 0
                raise EOFError("it ends in the middle of a stream")
            self._unpack(packed)
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    @property
    def _hungry(self) -> bool:
        return self._stream.eof or self._stream.needs_input

    def _unpack(self, packed: bytes) -> None:
        if self._stream.eof:
            packed = packed.lstrip(b"\0")  # what streams are filled up with
            if not packed:
                self._rest = b""
                return
            self._stream = self._begun()
        self._ready = self._stream.decompress(packed, _BLOCK)
        self._rest = self._stream.unused_data if self._stream.eof else b""

    @staticmethod
    def _begun() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


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
        b"\xfd7zXZ\0": lambda file: io.BufferedReader(_Xz(file), _BLOCK),
        b"\x28\xb5\x2f\xfd": _open_zstd,
    }
)


def reads_zstd() -> bool:
    """Whether zstd can be unpacked here: by the interpreter (from 3.14), or by the package zstandard."""
    return any(importlib.util.find_spec(module) for module in ("compression", "zstandard"))
