"""How requests and replies of SFTP look on the line."""

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tranship_movers.contract import Facts
from tranship_movers.errors import (
    MoverError,
    NameRefused,
    Permanent,
    SourceGone,
    Unreachable,
)
from tranship_movers.sftp.meanings import ABSENT, OK, refusal
from tranship_movers.ssh import Bytes

(OPEN, CLOSE, READ, WRITE, FSTAT, FSETSTAT, OPENDIR, READDIR) = (3, 4, 5, 6, 8, 10, 11, 12)
(REMOVE, MKDIR, REALPATH, STAT, RENAME, EXTENDED) = (13, 14, 16, 17, 18, 200)
(INIT, VERSION, STATUS_REPLY, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY) = (
    1,
    2,
    101,
    102,
    103,
    104,
    105,
    201,
)
(TO_READ, TO_WRITE, TO_CREATE, TO_TRUNCATE) = (1, 2, 8, 16)
(HAS_SIZE, HAS_OWNER, HAS_MODE, HAS_TIMES, HAS_MORE) = (1, 2, 4, 8, 1 << 31)


def text(value: bytes) -> bytes:
    """A string on the line."""
    return struct.pack(">I", len(value)) + value


def path(name: str) -> bytes:
    """The path of name on the line. Raises NameRefused for a NUL."""
    if "\0" in name:
        raise NameRefused(f"{name!r} holds a NUL")
    return text(name.encode(errors="surrogateescape") or b"/")


def attributes(*, size: int | None = None, mode: int | None = None, mtime: int | None = None) -> bytes:
    """Attributes on the line; size in bytes, mtime in s since the epoch. None: not to be set."""
    flags, values = 0, b""
    if size is not None:
        flags, values = flags | HAS_SIZE, values + struct.pack(">Q", size)
    if mode is not None:
        flags, values = flags | HAS_MODE, values + struct.pack(">I", mode)
    if mtime is not None:
        seconds = min(max(mtime, 0), 0xFFFFFFFF)
        flags, values = flags | HAS_TIMES, values + struct.pack(">II", seconds, seconds)
    return struct.pack(">I", flags) + values


class Reader:
    """Takes a packet apart. Raises Unreachable where it ends early: then nothing that follows can be trusted."""

    def __init__(self, packet: Bytes) -> None:
        self._packet = memoryview(packet)
        self._position = 0

    @property
    def is_left(self) -> bool:
        """Whether there is more."""
        return self._position < len(self._packet)

    def numbers(self, layout: str) -> tuple[int, ...]:
        """The next numbers, as struct has them."""
        try:
            found = struct.unpack_from(layout, self._packet, self._position)
        except struct.error:
            raise Unreachable("a reply of the server is cut") from None
        self._position += struct.calcsize(layout)
        return found

    def view(self) -> memoryview:
        """The next string, where it lies."""
        (length,) = self.numbers(">I")
        self._position += length
        if self._position > len(self._packet):
            raise Unreachable("a reply of the server is cut")
        return self._packet[self._position - length : self._position]

    def text(self) -> bytes:
        """The next string."""
        return bytes(self.view())

    def facts(self, name: str) -> tuple[Facts, bool]:
        """The next attributes, as facts of name, and whether it is a symbolic link."""
        (flags,) = self.numbers(">I")
        size = self.numbers(">Q")[0] if flags & HAS_SIZE else 0
        if flags & HAS_OWNER:
            self.numbers(">II")
        mode = self.numbers(">I")[0] if flags & HAS_MODE else None
        mtime = self.numbers(">II")[1] * 1_000_000_000 if flags & HAS_TIMES else None
        if flags & HAS_MORE:
            for _ in range(2 * self.numbers(">I")[0]):
                self.view()
        permission = None if mode is None else stat.S_IMODE(mode)
        return Facts(name, size, mtime, stat.S_ISDIR(mode or 0), permission), stat.S_ISLNK(mode or 0)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its kind, the number of the request, the status code (-1: it is no status), and what follows."""

    kind: int
    number: int
    code: int
    rest: Reader

    @classmethod
    def of(cls, packet: Bytes) -> "Reply":
        """The reply that packet is."""
        rest = Reader(packet)
        kind, number = rest.numbers(">BI")
        code = rest.numbers(">I")[0] if kind == STATUS_REPLY else -1
        return cls(kind, number, code, rest)

    @property
    def is_ok(self) -> bool:
        """Whether it says that it was done."""
        return self.code == OK

    @property
    def is_absent(self) -> bool:
        """Whether it says that there is no such name."""
        return self.code in (ABSENT, 10)

    def refusal(self, where: str, absent: type[MoverError] = SourceGone) -> MoverError:
        """The error that it means, if it is not what was asked for."""
        if self.code <= OK:
            return Unreachable("a reply of the server makes no sense", where=where)
        said = self.rest.text().decode(errors="replace") if self.rest.is_left else ""
        return refusal(self.code, said, where, absent)

    def demand_ok(self, where: str, absent: type[MoverError] = SourceGone) -> None:
        """Raise the error that it means, unless it says that it was done."""
        if not self.is_ok:
            raise self.refusal(where, absent)

    def handle(self, where: str, absent: type[MoverError] = SourceGone) -> bytes:
        """The handle that it brings."""
        self._demand(HANDLE, where, absent)
        return self.rest.text()

    def data(self, where: str) -> memoryview:
        """The bytes that it brings, at least one."""
        self._demand(DATA, where)
        data = self.rest.view()
        if not data:
            raise Unreachable("the server sends nothing", where=where)
        return data

    def facts(self, name: str, where: str) -> Facts:
        """The facts that it brings."""
        self._demand(ATTRS, where)
        return self.rest.facts(name)[0]

    def entries(self, where: str) -> Iterator[tuple[Facts, bool]]:
        """The names that it brings, without . and .., and whether each is a symbolic link."""
        self._demand(NAME, where, absent=Permanent)
        for _ in range(self.rest.numbers(">I")[0]):
            name = self.rest.text().decode(errors="surrogateescape")
            self.rest.view()
            entry = self.rest.facts(name)
            if name not in (".", ".."):
                yield entry

    def numbers(self, count: int) -> tuple[int, ...]:
        """The 64-bit numbers that it brings."""
        return self.rest.numbers(f">{count}Q")

    def _demand(self, kind: int, where: str, absent: type[MoverError] = SourceGone) -> None:
        if self.kind != kind:
            raise self.refusal(where, absent)
