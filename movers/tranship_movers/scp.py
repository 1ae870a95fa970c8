r"""scp: the old protocol of rcp, with which files are copied where SSH is but SFTP is not, and its mover.

The protocol only copies. Everything else goes by SFTP on the same connection, or, at a server without it, by
commands (POSIX ones, and GNU's stat and find).

    we: scp -t -d FOLDER             the server's scp: \0, or an error
    we: T<mtime> 0 <atime> 0\n      \0
    we: C<mode> <size> <name>\n     \0
    we: <bytes>\0                   \0

An error is \1 (the copy goes on) or \2 (it ends), a text and \n. With `scp -f` the roles are exchanged.
"""

import os
import posixpath
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Misconfigured,
    MoverError,
    NameRefused,
    Permanent,
    SourceChanged,
    SourceGone,
    Temporary,
    Unreachable,
)
from tranship_movers.place import Place
from tranship_movers.sftp import Sftp
from tranship_movers.ssh import NO_COMMAND, PIECE, Bytes, Line, Ran, SshOptions, Stream, here, understood

LONGEST_LINE = 8192
"""Bytes of one line of the protocol."""


class ScpOptions(SshOptions):
    """What an scp place can be told."""


class ScpMover:
    """Files at a server that has the command scp."""

    options = ScpOptions

    def __init__(self, place: Place, options: ScpOptions) -> None:
        """Connect to place, log in, and find out what else it can do."""
        self._line = Line(place, options)
        stream = self._line.subsystem("sftp")
        self._sftp = Sftp(stream, self._line, options) if stream else None
        self._files: Files = self._sftp or Shell(self._line)
        self._keeps = options.attributes == "keep"
        sums = frozenset[str](options.remote_checksums)
        self.powers = Powers(
            replace=self._files.replaces,
            resumes=self._sftp.out_of_order if self._sftp else None,
            mtime=self._keeps,
            mode=self._keeps,
            checksums=sums,
        )

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.put`; scp can't go on at an offset."""
        if offset:
            raise Misconfigured("scp can't go on at an offset", where=self._line.at(name))
        plain(name)
        with here(source):
            file = open(source, "rb", buffering=0)  # noqa: SIM115
        folder, _, last = name.rpartition("/")
        with file, self._scp(f"-d -t {shlex.quote(folder or '/')}", name, absent=Permanent) as scp:
            scp.offer(file, last)
            scp.push(file, progress)

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.get`; goes on at an offset by SFTP."""
        if self._sftp and (
            offset or re.search(r"[*?\[\\]", name)
        ):  # Some servers' scp takes these for patterns.
            return self._sftp.read(name, target, offset, progress)
        if offset:
            raise Misconfigured("scp can't go on at an offset", where=self._line.at(name))
        plain(name)
        with self._scp(f"-f {shlex.quote(name)}", name, absent=SourceGone) as scp:
            size, mtime = scp.offered(posixpath.basename(name))
            with here(target, absent=Permanent):
                file = open(target, "wb", buffering=0)  # noqa: SIM115
            with file:
                scp.pull(size, file, progress)
                if mtime is not None:
                    os.utime(file.fileno(), (mtime, mtime))
        return None

    def stat(self, name: str) -> Facts | None:
        """As `Mover.stat`; a symbolic link is followed."""
        return self._files.stat(name)

    def list(self, folder: str) -> Iterator[Facts]:
        """As `Mover.list`; symbolic links are followed."""
        return self._files.list(folder)

    def remove(self, name: str) -> None:
        """As `Mover.remove`."""
        self._files.remove(name)

    def rename(self, old: str, new: str) -> None:
        """As `Mover.rename`."""
        self._files.rename(old, new)

    def make_folders(self, folder: str) -> None:
        """As `Mover.make_folders`."""
        self._files.make_folders(folder)

    def checksum(self, name: str, algorithm: str) -> str | None:
        """As `Mover.checksum`, by a command there, if the options say so."""
        return self._line.checksum(name, algorithm) if algorithm in self.powers.checksums else None

    def alive(self) -> bool:
        """As `Mover.alive`; the server is asked."""
        return self._line.is_open and self._files.alive()

    def close(self) -> None:
        """As `Mover.close`."""
        self._line.close()

    @contextmanager
    def _scp(self, arguments: str, name: str, absent: type[MoverError]) -> Iterator["Copy"]:
        """A running scp at the server; it is ended with the block."""
        stream = self._line.execute(f"scp {'-p ' if self._keeps else ''}{arguments}")
        try:
            yield Copy(stream, self._line, name, absent, acts=2 if self._keeps else 1)
        finally:
            stream.close()


def plain(name: str) -> None:
    """Raise NameRefused for a name that the protocol can't say."""
    if "\0" in name or "\n" in name or name.endswith("/") or not name:
        raise NameRefused(f"{name!r} is no name that scp can say")


# ---------------------------------------------------------------- the conversation about one file


class Copy:
    """One file on its way from or to a server's scp. `acts`: lines that come before its bytes (T, C)."""

    def __init__(self, stream: Stream, line: Line, name: str, absent: type[MoverError], acts: int) -> None:
        self._stream = stream
        self._line = line
        self._name = name
        self._where = line.at(name)
        self._absent = absent
        self._acts = acts

    def offer(self, file: FileIO, name: str) -> None:
        """Announce file under its name in the folder; the server takes it or raises."""
        found = os.fstat(file.fileno())
        self._size = found.st_size
        dated = f"T{int(found.st_mtime)} 0 {int(found.st_atime)} 0\n" if self._acts > 1 else ""
        named = f"C{stat.S_IMODE(found.st_mode) & 0o777:04o} {self._size} {name}\n"
        self._send((dated + named).encode(errors="surrogateescape"))
        for _ in range(1 + self._acts):
            self._accepted()

    def push(self, file: FileIO, progress: Progress) -> None:
        """Send the bytes that were announced; the server has them when this returns."""
        room = bytearray(PIECE)
        left = self._size
        while left:
            with here(Path(str(file.name))):
                length = file.readinto(memoryview(room)[: min(left, PIECE)])
            if not length:
                raise SourceChanged("it became shorter while it was sent", where=str(file.name))
            self._send(memoryview(room)[:length])
            left -= length
            progress(length)
            if self._stream.is_waiting:  # It says nothing in between, but that it gives up.
                self._accepted()
        self._send(b"\0")
        self._accepted()

    def offered(self, name: str) -> tuple[int, int | None]:
        """The size in bytes and the modification time (s since the epoch) of the file that the server sends."""
        self._send(b"\0" * (1 + self._acts))
        mtime = None
        line = self._announcement()
        if dated := re.fullmatch(rb"T(\d+) \d+ \d+ \d+", line):
            mtime = int(dated[1])
            line = self._announcement()
        named = re.fullmatch(rb"C[0-7]{4} (\d+) (.+)", line)
        if named is None or named[2] != name.encode(errors="surrogateescape"):
            raise Unreachable("the server's scp sends something else", where=self._where)
        return int(named[1]), mtime

    def pull(self, size: int, file: FileIO, progress: Progress) -> None:
        """Receive the size bytes of the file, and the server's word that they are right."""
        left = size
        while left:
            piece = self._some(left)
            with here(Path(str(file.name)), absent=Permanent):
                written = 0
                while written < len(piece):
                    written += file.write(piece[written:])
            left -= len(piece)
            progress(len(piece))
        self._accepted()
        self._send(b"\0")

    def _send(self, data: bytes | memoryview) -> None:
        if not self._stream.send(data):
            self._accepted()  # It says why it ended, if it could.
            raise self._ended()

    def _accepted(self) -> None:
        """Raise what the server's scp complains of, unless it says that all is well."""
        mark = bytes(self._some(1))
        if mark != b"\0":
            raise self._complaint(mark + self._rest_of_line())

    def _announcement(self) -> bytes:
        line = self._rest_of_line()
        if line[:1] in (b"\1", b"\2"):
            raise self._complaint(line)
        return line

    def _rest_of_line(self) -> bytes:
        line = bytearray()
        while len(line) < LONGEST_LINE and (letter := self._some(1)) != b"\n":
            line += letter
        return bytes(line)

    def _some(self, most: int) -> Bytes:
        """The next bytes, at most so many, valid until more is asked for; waits for them."""
        if piece := self._stream.receive(min(most, PIECE)):
            return piece
        raise self._ended()

    def _complaint(self, said: bytes) -> MoverError:
        if said[:1] not in (b"\1", b"\2"):
            return Misconfigured("what comes is not scp; does a login script there print something?")
        return self._meant(said[1:].decode(errors="replace").strip(), Temporary)

    def _ended(self) -> MoverError:
        status = self._stream.status()
        if status == NO_COMMAND:
            return Misconfigured("the server has no scp", where=self._where)
        if status < 0 or not self._line.is_open:
            return Unreachable("the line was cut", where=self._where)
        return self._meant(self._stream.complaint(), Unreachable)

    def _meant(self, words: str, otherwise: type[MoverError]) -> MoverError:
        kind, meaning = understood(words, self._name) or (otherwise, f"the server's scp says: {words!r}")
        return (self._absent if kind is SourceGone else kind)(meaning, where=self._where)


# ---------------------------------------------------------------- everything else


class Files(Protocol):
    """What is done with files besides copying; as the verbs of `Mover`."""

    replaces: bool

    def stat(self, name: str) -> Facts | None: ...  # noqa: D102
    def list(self, folder: str) -> Iterator[Facts]: ...  # noqa: D102
    def remove(self, name: str) -> None: ...  # noqa: D102
    def rename(self, old: str, new: str) -> None: ...  # noqa: D102
    def make_folders(self, folder: str) -> None: ...  # noqa: D102
    def alive(self) -> bool: ...  # noqa: D102


class Shell:
    """Files at a server without SFTP, by commands. Every name goes through `shlex.quote`."""

    replaces = True
    """`mv` replaces at one stroke, within one file system."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def stat(self, name: str) -> Facts | None:
        """The facts of name, links followed; None if there is no such name."""
        ran = self._ran(f"stat -L -c '%s %Y %f' -- {quoted(name)}")
        if _is_absent(ran):
            return None
        self._demand(ran, name)
        size, mtime, mode = ran.output.split()
        return _facts(name, int(size), int(mtime), int(mode, 16))

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder, links followed; a link to nothing is left out."""
        inside = quoted(f"{folder}/")
        ran = self._ran(rf"find -L {inside} -mindepth 1 -maxdepth 1 -printf '%s %T@ %m %y %f\0'")
        self._demand(ran, folder, absent=Permanent)
        for entry in ran.output.split(b"\0")[:-1]:
            size, mtime, mode, kind, name = entry.split(b" ", 4)
            if kind in (b"f", b"d"):
                bits = int(mode, 8) | (stat.S_IFDIR if kind == b"d" else stat.S_IFREG)
                yield _facts(name.decode(errors="surrogateescape"), int(size), int(float(mtime)), bits)

    def remove(self, name: str) -> None:
        """Remove name if it is there."""
        self._demand(self._ran(f"rm -f -- {quoted(name)}"), name)

    def rename(self, old: str, new: str) -> None:
        """Give old the name new."""
        ran = self._ran(f"mv -f -T -- {quoted(old)} {quoted(new)}")
        there = _is_absent(ran) and self.stat(old) is not None
        self._demand(ran, new if there else old, absent=Permanent if there else SourceGone)

    def make_folders(self, folder: str) -> None:
        """Make folder and its parents as far as they are missing."""
        self._demand(self._ran(f"mkdir -p -- {quoted(folder)}"), folder, absent=Permanent)

    def alive(self) -> bool:
        """Whether the server still runs commands."""
        try:
            return self._ran("true").status == 0
        except MoverError:
            return False

    def _ran(self, command: str) -> Ran:
        return self._line.run(f"LC_ALL=C {command}")

    def _demand(self, ran: Ran, name: str, absent: type[MoverError] = SourceGone) -> None:
        """Raise what the command complained of, unless it went well."""
        where = self._line.at(name)
        if ran.status == NO_COMMAND:
            raise Misconfigured("the server has neither SFTP nor the commands that replace it", where=where)
        if ran.status:
            words = ran.complaint
            kind, meaning = understood(words, name) or (Temporary, f"the server says: {words!r}")
            raise (absent if kind is SourceGone else kind)(meaning, where=where)


def quoted(name: str) -> str:
    """The path of name as one word for a shell. Raises NameRefused for a NUL."""
    if "\0" in name:
        raise NameRefused(f"{name!r} holds a NUL")
    return shlex.quote(name or "/")


def _is_absent(ran: Ran) -> bool:
    return ran.status == 1 and ran.complaint.endswith("No such file or directory")


def _facts(name: str, size: int, mtime: int, mode: int) -> Facts:
    return Facts(name, size, mtime * 1_000_000_000, stat.S_ISDIR(mode), stat.S_IMODE(mode))
