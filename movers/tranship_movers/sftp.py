"""SFTP: the conversation (version 3, draft-ietf-secsh-filexfer-02), written for speed, and its mover.

Requests are sent ahead, and answered in any order. They are as large as the server takes (`limits@openssh.com`):
what costs is their number, at both ends.
"""

import os
import posixpath
import stat
import struct
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pydantic import ByteSize, Field

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Busy,
    Fatal,
    Mangled,
    Misconfigured,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    SourceChanged,
    SourceGone,
    Temporary,
    Unreachable,
)
from tranship_movers.lane import Bytes
from tranship_movers.place import Place
from tranship_movers.ssh import Line, SshOptions, Stream, here, understood

SAFE_REQUEST = 32 * 1024 - 256
"""Bytes that every server takes in one request; with its head it fills one packet of SSH."""

LARGEST_REQUEST = 255 * 1024
"""Bytes; larger requests gain nothing."""

AHEAD = 4 << 20
"""Bytes that are sent ahead of their confirmation."""


CLONE = "rclone"
"""What calls itself so neither goes on with a part of a file (unless it is told to) nor keeps permission bits."""


class SftpOptions(SshOptions):
    """What an SFTP place can be told."""

    request_size: ByteSize | None = Field(
        default=None,
        ge=1024,
        description="Bytes in one request; if not given, as many as the server says it takes, at most 255 KiB.",
    )


class SftpMover:
    """Files at a server that speaks SFTP."""

    options = SftpOptions

    def __init__(self, place: Place, options: SftpOptions) -> None:
        """Connect to place, log in, and begin the conversation."""
        self._line = Line(place, options)
        stream = self._line.subsystem("sftp")
        if stream is None:
            self._line.close()
            raise Misconfigured("the server has no SFTP; if it has scp, use scp://", where=str(place))
        self._sftp = Sftp(stream, self._line, options, options.request_size)
        self._sums = frozenset(options.remote_checksums)
        self.powers = self._powers()

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.put`."""
        self._sftp.write(source, name, offset, progress)
        self.powers = self._powers()

    def get(self, name: str, target: Path, *, progress: Progress = unheard) -> None:
        """As `Mover.get`."""
        self._sftp.read(name, target, progress)

    def stat(self, name: str) -> Facts | None:
        """As `Mover.stat`; a symbolic link is followed."""
        return self._sftp.stat(name)

    def list(self, folder: str) -> Iterator[Facts]:
        """As `Mover.list`; symbolic links are followed."""
        return self._sftp.list(folder)

    def remove(self, name: str) -> None:
        """As `Mover.remove`."""
        self._sftp.remove(name)

    def rename(self, old: str, new: str) -> None:
        """As `Mover.rename`."""
        self._sftp.rename(old, new)

    def make_folders(self, folder: str) -> None:
        """As `Mover.make_folders`."""
        self._sftp.make_folders(folder)

    def checksum(self, name: str, algorithm: str) -> str | None:
        """As `Mover.checksum`, by a command there, if the options say so."""
        return self._line.checksum(name, algorithm) if algorithm in self._sums else None

    def alive(self) -> bool:
        """As `Mover.alive`; the server is asked."""
        return self._line.is_open and self._sftp.alive()

    def close(self) -> None:
        """As `Mover.close`."""
        self._line.close()

    def _powers(self) -> Powers:
        kept, replaces, able = (
            self._sftp.keeps_attributes,
            self._sftp.replaces,
            CLONE not in self._line.software,
        )
        return Powers(replace=replaces, append=able, mtime=kept, mode=kept and able, checksums=self._sums)


# ---------------------------------------------------------------- what a status means

(OK, EOF, ABSENT, DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, LOST, UNSUPPORTED) = range(9)


class Unexplained(Temporary):
    """The server said no more than that it failed."""


STATUS: dict[int, tuple[type[MoverError], str]] = {
    EOF: (Mangled, "it ended early"),
    ABSENT: (SourceGone, "there is no such name"),
    DENIED: (Permanent, "permission denied"),
    FAILURE: (Unexplained, "the server failed"),
    BAD_MESSAGE: (NameRefused, "the server will not have this name"),  # OpenSSH: ENAMETOOLONG, EINVAL
    NO_CONNECTION: (Unreachable, "the server has lost its connection"),
    LOST: (Unreachable, "the server has lost its connection"),
    UNSUPPORTED: (Permanent, "the server can't do this"),
    # The codes of later versions, which some servers use in this one too.
    9: (Temporary, "the server forgot the open file"),
    10: (SourceGone, "there is no such folder"),
    11: (Permanent, "it exists already"),
    12: (Fatal, "the place is write-protected"),
    13: (Temporary, "there is no medium in the drive"),
    14: (NoSpace, "the place is full"),
    15: (NoSpace, "the quota is used up"),
    17: (Busy, "it is locked"),
    18: (Permanent, "the folder is not empty"),
    19: (Permanent, "it is no folder"),
    20: (NameRefused, "the server will not have this name"),
    21: (Permanent, "its links lead in a circle"),
    24: (Permanent, "it is a folder"),
    25: (Busy, "it is locked"),
}


def refusal(code: int, said: str, where: str, absent: type[MoverError] = SourceGone) -> MoverError:
    """The error that a status means; absent is what a missing name means here."""
    kind, meaning = STATUS.get(code, (Permanent, f"the server refuses (status {code})"))
    if code == FAILURE:
        kind, meaning = understood(said, where) or (kind, meaning)
    return (absent if kind is SourceGone else kind)(meaning, where=where)


# ---------------------------------------------------------------- the conversation

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

POSIX_RENAME = b"posix-rename@openssh.com"
STATVFS = b"statvfs@openssh.com"
LIMITS = b"limits@openssh.com"
READ_ONLY = 1
"""A flag in the reply to `STATVFS`."""

LONGEST_REPLY = 1 << 24


class Sftp:
    """The conversation with one server: requests go out numbered, replies come with their number.

    What an act asked before it broke off is answered all the same; such replies belong to nobody, and are dropped.
    """

    def __init__(self, stream: Stream, line: Line, options: SshOptions, size: int | None = None) -> None:
        """Exchange versions and limits; size: bytes in one request, None for what suits the server."""
        self._stream = stream
        self._line = line
        self._number = 0
        self._outbox = bytearray()
        self._offers = self._greeted()
        self.replaces = POSIX_RENAME in self._offers
        """Whether renaming replaces at one stroke."""
        self.is_clone = CLONE in line.software
        self.keeps_attributes = options.attributes == "keep"
        """Whether modification time and mode are set."""
        self._window = options.window
        self._read_size, self._write_size = (size, size) if size else self._limits()

    def write(self, source: Path, name: str, offset: int, progress: Progress) -> None:
        """Write the local file source to name, from offset on; set its attributes."""
        with here(source):
            file = open(source, "rb", buffering=0)  # noqa: SIM115
        with file:
            size = os.fstat(file.fileno()).st_size
            try:
                self._write(file, name, offset, progress)
            except Unexplained as error:
                raise self._explained(error, name, size - offset) from None

    def read(self, name: str, target: Path, progress: Progress) -> None:
        """Read name into the local file target; set its modification time."""
        handle = self._opened(name, TO_READ, None, absent=SourceGone)
        try:
            facts = self._ask(FSTAT, text(handle)).facts(name, self._at(name))
            if facts.is_folder:
                raise Permanent("it is a folder", where=self._at(name))
            with here(target, absent=Permanent):
                file = open(target, "wb", buffering=0)  # noqa: SIM115
            with file:
                self._pull(handle, name, facts.size, file, progress)
                if facts.mtime_ns is not None:
                    os.utime(file.fileno(), ns=(facts.mtime_ns, facts.mtime_ns))
        finally:
            self._abandon(handle)

    def stat(self, name: str) -> Facts | None:
        """The facts of name, links followed; None if there is no such name."""
        reply = self._ask(STAT, path(name))
        return None if reply.is_absent else reply.facts(name, self._at(name))

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder, links followed; a link to nothing is left out."""
        reply = self._ask(OPENDIR, path(folder))
        if reply.kind != HANDLE:
            error = reply.refusal(self._at(folder), absent=Permanent)
            raise self._explained(error, folder, 0) if isinstance(error, Unexplained) else error
        return self._entries(reply.handle(self._at(folder)), folder)

    def remove(self, name: str) -> None:
        """Remove name if it is there."""
        reply = self._ask(REMOVE, path(name))
        if not reply.is_absent:
            reply.demand_ok(self._at(name))

    def rename(self, old: str, new: str) -> None:
        """Give old the name new, at one stroke if `replaces`."""
        names = path(old) + path(new)
        if self.replaces:
            reply = self._ask(EXTENDED, text(POSIX_RENAME) + names)
        else:
            reply = self._ask(RENAME, names)
            if reply.code in (FAILURE, 11):  # The plain one refuses a new name that exists.
                self.remove(new)
                reply = self._ask(RENAME, names)
        there = reply.is_absent and self.stat(old) is not None
        reply.demand_ok(self._at(new if there else old), absent=Permanent if there else SourceGone)

    def make_folders(self, folder: str) -> None:
        """Make folder and its parents as far as they are missing."""
        facts = self.stat(folder)
        if facts is None:
            self.make_folders(posixpath.dirname(folder.rstrip("/")))
            reply = self._ask(MKDIR, path(folder) + attributes())
            facts = None if reply.is_ok else self.stat(folder)  # Somebody else may have made it meanwhile.
            if facts is None:
                reply.demand_ok(self._at(folder), absent=Permanent)
        if facts is not None and not facts.is_folder:
            raise Permanent("it is a file, where a folder is needed", where=self._at(folder))

    def alive(self) -> bool:
        """Whether the server answers."""
        try:
            return self._ask(REALPATH, text(b".")).kind == NAME
        except MoverError:
            return False

    # -- acts in detail

    def _write(self, file: FileIO, name: str, offset: int, progress: Progress) -> None:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o777 if self.keeps_attributes else None
        flags = TO_WRITE | TO_CREATE | (0 if offset else TO_TRUNCATE)
        handle = self._opened(name, flags, mode, absent=Permanent)
        unsure: dict[int, int] = {}
        try:
            if offset:
                self._cut_to(handle, name, offset)
            self._push(handle, name, offset, file, unsure, progress)
            dated = self._dated(handle, file, mode)
        except BaseException:
            self._abandon(handle)
            raise
        unsure[dated] = unsure[self._say(CLOSE, text(handle))] = 0
        while unsure:
            self._confirm(unsure, name, progress, lenient=dated)

    def _opened(self, name: str, flags: int, mode: int | None, absent: type[MoverError]) -> bytes:
        """The handle of the opened file name; mode: for a file that is made now."""
        request = path(name) + struct.pack(">I", flags) + attributes(mode=mode)
        return self._ask(OPEN, request).handle(self._at(name), absent)

    def _cut_to(self, handle: bytes, name: str, size: int) -> None:
        """Keep the first size bytes of what is there."""
        there = self._ask(FSTAT, text(handle)).facts(name, self._at(name)).size
        if there < size:
            raise Mangled(f"only {there} bytes are there, of {size} to go on from", where=self._at(name))
        if there > size:
            self._ask(FSETSTAT, text(handle) + attributes(size=size)).demand_ok(self._at(name))

    def _push(
        self, handle: bytes, name: str, offset: int, file: FileIO, unsure: dict[int, int], progress: Progress
    ) -> None:
        """Send what file holds from offset on; unsure: what is not confirmed yet, number of request -> bytes."""
        head = text(handle)
        room = bytearray(self._write_size)
        whole = memoryview(room)
        source = Path(str(file.name))
        file.seek(offset)
        while True:
            with here(source):
                length = file.readinto(whole)
            if not length:
                return
            number = self._say(WRITE, head + struct.pack(">QI", offset, length), whole[:length])
            unsure[number] = length
            offset += length
            while unsure and (self._stream.is_waiting or sum(unsure.values()) > AHEAD):
                self._confirm(unsure, name, progress)

    def _confirm(self, unsure: dict[int, int], name: str, progress: Progress, lenient: int = -1) -> None:
        """Take the reply to one request; the one numbered lenient may be one that the server can't do."""
        reply = self._reply(unsure)
        length = unsure.pop(reply.number)
        if reply.number == lenient and reply.code == UNSUPPORTED:
            self.keeps_attributes = False
        else:
            reply.demand_ok(self._at(name), absent=Permanent)
        if length:
            progress(length)

    def _dated(self, handle: bytes, file: FileIO, mode: int | None) -> int:
        """Ask for the attributes of file to be set (or, if they are to be left, for the present ones)."""
        if not self.keeps_attributes:
            return self._say(FSETSTAT, text(handle) + attributes())
        mtime = int(os.fstat(file.fileno()).st_mtime)
        return self._say(FSETSTAT, text(handle) + attributes(mode=mode, mtime=mtime))

    def _pull(self, handle: bytes, name: str, size: int, file: FileIO, progress: Progress) -> None:
        """Receive the size bytes of the open file handle; never more than the window is under way."""
        head = text(handle)
        asked: dict[int, tuple[int, int]] = {}
        position = under_way = 0
        target = Path(str(file.name))

        def ask(start: int, length: int) -> None:
            asked[self._say(READ, head + struct.pack(">QI", start, length))] = start, length

        while position < size or asked:
            while position < size and under_way < self._window:
                length = min(self._read_size, size - position)
                ask(position, length)
                position += length
                under_way += length
            reply = self._reply(asked)
            start, length = asked.pop(reply.number)
            data = self._data(reply, name)
            with here(target, absent=Permanent):
                _write_at(file, data, start)
            under_way -= len(data)
            if len(data) < length:
                ask(start + len(data), length - len(data))
            progress(len(data))

    def _data(self, reply: "Reply", name: str) -> memoryview:
        if reply.code == EOF:
            raise SourceChanged("it became shorter while it was read", where=self._at(name))
        return reply.data(self._at(name))

    def _entries(self, handle: bytes, folder: str) -> Iterator[Facts]:
        try:
            while (reply := self._ask(READDIR, text(handle))).code != EOF:
                for facts, is_link in reply.entries(self._at(folder)):
                    target = self.stat(posixpath.join(folder or "/", facts.name)) if is_link else facts
                    if target is not None:
                        yield Facts(facts.name, target.size, target.mtime_ns, target.is_folder, target.mode)
        finally:
            self._abandon(handle)

    def _explained(self, error: MoverError, name: str, needed: int) -> MoverError:
        """A better error than that something failed, if there is a reason to be found; needed: bytes."""
        facts = self.stat(name)
        if facts is not None and facts.is_folder:
            return Permanent("it is a folder", where=self._at(name))
        if facts is not None and not needed:
            return Permanent("it is no folder", where=self._at(name))
        if STATVFS not in self._offers:
            return error
        reply = self._ask(EXTENDED, text(STATVFS) + path(posixpath.dirname(name)))
        if reply.kind != EXTENDED_REPLY:
            return error
        _, unit, _, _, free, _, _, slots, _, flags, _ = reply.numbers(11)
        if flags & READ_ONLY:
            return Fatal("the place is write-protected", where=self._at(name))
        if free * unit < needed or not slots:
            return NoSpace("the place is full", where=self._at(name))
        return error

    def _abandon(self, handle: bytes) -> None:
        """Close handle, whatever the server says."""
        with suppress(MoverError):
            self._say(CLOSE, text(handle))
            self._flush()

    def _at(self, name: str) -> str:
        return self._line.at(name)

    # -- requests and replies

    def _greeted(self) -> dict[bytes, bytes]:
        """What the server offers beyond the standard: name of the extension -> its version."""
        self._stream.send(struct.pack(">IBI", 5, INIT, 3))
        packet = Reader(self._packet())
        kind, version = packet.numbers(">BI")
        if kind != VERSION or version < 3:
            raise Misconfigured("the server speaks no SFTP of version 3", where=self._line.where)
        offers = {}
        while packet.is_left:
            extension = packet.text()
            offers[extension] = packet.text()
        return offers

    def _limits(self) -> tuple[int, int]:
        """The largest requests to read and to write, in bytes."""
        if LIMITS in self._offers:
            reply = self._ask(EXTENDED, text(LIMITS))
            if reply.kind == EXTENDED_REPLY:
                _, reading, writing, _ = reply.numbers(4)
                return _fitting(reading), _fitting(writing)
        return SAFE_REQUEST, SAFE_REQUEST

    def _ask(self, kind: int, body: bytes) -> "Reply":
        return self._reply((self._say(kind, body),))

    def _say(self, kind: int, body: bytes, bulk: memoryview | bytes = b"") -> int:
        """Queue a request, which ends in bulk, and give its number; what fills more than a packet is sent."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._outbox += struct.pack(">IBI", 5 + len(body) + len(bulk), kind, self._number) + body
        if len(self._outbox) + len(bulk) > self._stream.packet:
            self._flush(bulk)
        else:
            self._outbox += bulk
        return self._number

    def _flush(self, bulk: Bytes = b"") -> None:
        """Send what is queued, and bulk after it."""
        outbox, self._outbox = self._outbox, bytearray()
        if not self._stream.send(outbox, bulk):
            self._line.close()
            raise Unreachable("the server ended the conversation", where=self._line.where)

    def _reply(self, wanted: Container[int]) -> "Reply":
        """The next reply to one of the requests with these numbers."""
        self._flush()
        while True:
            reply = Reply.of(self._packet())
            if reply.number in wanted:
                return reply

    def _packet(self) -> Bytes:
        """The next reply; if it brings data, it is valid until the next one is asked for."""
        (length,) = struct.unpack(">I", self._stream.take(4))
        if not 0 < length < LONGEST_REPLY:
            self._line.close()
            raise Misconfigured(
                "what comes is no SFTP; does a login script at the server print something?",
                where=self._line.where,
            )
        packet = self._stream.take(length)
        return packet if packet[0] == DATA else bytes(packet)


def _fitting(limit: int) -> int:
    return min(limit or SAFE_REQUEST, LARGEST_REQUEST)


def _write_at(file: FileIO, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(file.fileno(), data, start)
        data, start = data[written:], start + written


# ---------------------------------------------------------------- how it looks on the line


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
