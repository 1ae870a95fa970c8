"""The conversation with an SFTP server: requests go out numbered, replies come with their number."""

import os
import posixpath
import stat
import struct
from collections.abc import Container, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from tranship_movers.contract import Facts, Progress
from tranship_movers.errors import (
    Fatal,
    Mangled,
    Misconfigured,
    MoverError,
    NoSpace,
    Permanent,
    SourceChanged,
    SourceGone,
    Unreachable,
)
from tranship_movers.sftp.meanings import EOF, FAILURE, UNSUPPORTED, Unexplained
from tranship_movers.sftp.packets import (
    CLOSE,
    DATA,
    EXTENDED,
    EXTENDED_REPLY,
    FSETSTAT,
    FSTAT,
    HANDLE,
    INIT,
    MKDIR,
    NAME,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    REALPATH,
    REMOVE,
    RENAME,
    STAT,
    TO_CREATE,
    TO_READ,
    TO_TRUNCATE,
    TO_WRITE,
    VERSION,
    WRITE,
    Reader,
    Reply,
    attributes,
    path,
    text,
)
from tranship_movers.ssh import Bytes, Line, SshOptions, Stream, here
from tranship_movers.target import opened_at

SAFE_REQUEST = 32 * 1024 - 256
"""Bytes that every server takes in one request; with its head it fills one packet of SSH."""

LARGEST_REQUEST = 255 * 1024
"""Bytes; larger requests gain nothing."""

AHEAD = 4 << 20
"""Bytes that are sent ahead of their confirmation."""

CLONE = "rclone"
"""What calls itself so neither goes on with a part of a file (unless it is told to) nor keeps permission bits."""

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

    @property
    def out_of_order(self) -> int:
        """Bytes at the end of what a broken reading left that may hold gaps: replies may come in any order."""
        return self._window + self._read_size

    def read(self, name: str, target: Path, offset: int, progress: Progress) -> None:
        """Read name into the local file target, from offset on; set its modification time."""
        handle = self._opened(name, TO_READ, None, absent=SourceGone)
        try:
            facts = self._ask(FSTAT, text(handle)).facts(name, self._at(name))
            if facts.is_folder:
                raise Permanent("it is a folder", where=self._at(name))
            if facts.size < offset:
                raise SourceChanged("it is shorter than what came of it", where=self._at(name))
            with here(target, absent=Permanent):
                file = opened_at(target, offset)
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
        """Receive the bytes of the open file handle from where file stands up to size.

        Nothing is asked for that lies more than the window behind the first byte that is missing (`out_of_order`).
        """
        head = text(handle)
        asked: dict[int, tuple[int, int]] = {}
        position = missing = file.tell()
        target = Path(str(file.name))

        def ask(start: int, length: int) -> None:
            asked[self._say(READ, head + struct.pack(">QI", start, length))] = start, length

        while position < size or asked:
            while position < size and position - missing < self._window:
                length = min(self._read_size, size - position)
                ask(position, length)
                position += length
            reply = self._reply(asked)
            start, length = asked.pop(reply.number)
            data = self._data(reply, name)
            with here(target, absent=Permanent):
                _write_at(file, data, start)
            if len(data) < length:
                ask(start + len(data), length - len(data))
            if start == missing:
                missing = min((first for first, _ in asked.values()), default=position)
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
