"""What may lie in a packed file, and what comes out of it: tar, zip, gzip, bzip2, xz, zstd, or a program's doing.

What an archive says is not believed: no name leads out, links and devices are not made, and there are bounds to what
it may grow to, on the disk and in memory.
"""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tranship.packed.archives import decompress, listed, untar, unzip
from tranship.packed.made import Bounds, Made
from tranship.packed.plan import USUAL, Broken, Format, Hostile, Plan, Stuck, UnpackError
from tranship.packed.programs import run, run_xrit
from tranship.packed.streams import reads_zstd

__all__ = [
    "DAMAGE",
    "READERS",
    "USUAL",
    "Bounds",
    "Broken",
    "Format",
    "Hostile",
    "Made",
    "Plan",
    "Stuck",
    "UnpackError",
    "listed",
    "reads_zstd",
]

READERS: Mapping[Format, Callable[[str, Plan, Made], None]] = MappingProxyType(
    {
        Format.TAR: untar,
        Format.ZIP: unzip,
        Format.GZIP: decompress,
        Format.BZIP2: decompress,
        Format.XZ: decompress,
        Format.ZSTD: decompress,
        Format.XRIT: run_xrit,
        Format.PROGRAM: run,
    }
)
"""Who unpacks what."""

DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError),
    *(ValueError, LookupError, ArithmeticError, RuntimeError, AttributeError, TypeError),
)
"""What readers of archives raise: those of the standard library also stumble, over what nobody had thought of."""
