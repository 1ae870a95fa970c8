"""The verbs of a mover, at one FTP server."""

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Busy,
    Mangled,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    SourceChanged,
    SourceGone,
    TimedOut,
    Unreachable,
    translated,
)
from tranship_movers.ftp.data import on_our_side, opened
from tranship_movers.ftp.line import Line
from tranship_movers.ftp.meanings import BrokenOff, InTheWay, Refused, meaning_of
from tranship_movers.ftp.options import FtpOptions, login_for, tls_for, tls_kind
from tranship_movers.ftp.server import Server
from tranship_movers.place import Place
from tranship_movers.temporary import new_token, part_name

OVERLAP = 64 * 1024
"""Bytes that are asked for again where a download goes on."""


class FtpMover:
    """One login at one FTP server."""

    options = FtpOptions

    def __init__(self, place: Place, options: FtpOptions) -> None:
        """Connect to place and log in."""
        self.powers = Powers()
        self._place = place
        self._options = options
        self._timeout = max(options.timeout.total_seconds(), 0.001)
        self._login = login_for(place, options)
        self._tls = tls_for(place, options)
        self._server: Server | None = None
        self._closed = False
        with self._talking("/") as server:
            self.powers = server.powers()

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.put`; a server that refuses to go on at offset gets the file whole."""
        path = self._path(name)
        with opened(source, "rb") as file:
            end = self._go_on(path, file, offset, progress) if offset else None
            if end is None:
                end = self._store(path, file, progress)
            self._seal(path, os.fstat(file.fileno()), end)

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.get`. Raises Mangled if more or fewer bytes come than the server said.

        A server that refuses to go on at offset is asked for all of it.
        """
        path = self._path(name)
        facts = self.stat(path)
        if facts is None:
            raise SourceGone("there is no such name", where=self._where(path))
        if facts.is_folder:
            raise Permanent("is a folder", where=self._where(path))
        if facts.size < offset:
            raise SourceChanged("is shorter than what came of it", where=self._where(path))
        with opened(target, "r+b" if offset else "wb") as file:
            came = self._bring(path, file, offset, facts.size, progress)
        if came != facts.size:
            raise Mangled(f"{came} bytes came of {facts.size}", where=self._where(path))
        if facts.mtime_ns is not None:
            with on_our_side(target):
                os.utime(target, ns=(facts.mtime_ns, facts.mtime_ns))

    def stat(self, name: str) -> Facts | None:
        """As `Mover.stat`."""
        path = self._path(name)
        with self._talking(path) as server:
            return server.facts(path, name)

    def list(self, folder: str) -> Iterator[Facts]:
        """As `Mover.list`; the whole listing is read before the first name is given."""
        path = self._path(folder)
        with self._talking(path) as server:
            return iter(server.listing(path))

    def remove(self, name: str) -> None:
        """As `Mover.remove`."""
        path = self._path(name)
        with self._talking(path) as server:
            try:
                server.line.voidcmd(f"DELE {path}")
            except Refused as refused:
                if refused.asks_for_later or server.facts(path) is not None:
                    raise

    def rename(self, old: str, new: str) -> None:
        """As `Mover.rename`; if the reply is lost, the names decide."""
        old, new = self._path(old), self._path(new)
        try:
            with self._talking(new) as server:
                self._rename(server, old, new)
        except (Unreachable, TimedOut, Busy):
            if self._lost_reply_to("RNTO"):
                match self._look_again(old, new):
                    case [None, Facts()]:
                        return
            raise

    def make_folders(self, folder: str) -> None:
        """As `Mover.make_folders`."""
        path = self._path(folder)
        with self._talking(path) as server:
            _make_folders(server, path)

    def checksum(self, name: str, algorithm: str) -> str | None:
        """As `Mover.checksum`, by HASH or the older XSHA256 and its kin."""
        path = self._path(name)
        with self._talking(path) as server:
            return server.checksum(path, algorithm)

    def alive(self) -> bool:
        """Whether the server still answers; a connection that was lost is made anew for the answer."""
        with suppress(MoverError), self._talking("/") as server:
            server.line.voidcmd("NOOP")
            return True
        return False

    def close(self) -> None:
        """As `Mover.close`."""
        self._closed = True
        if self._server:
            self._server.line.hang_up()

    @contextmanager
    def _talking(self, path: str, share: float = 1) -> Iterator[Server]:
        """The control connection, made anew if it was lost; what goes wrong inside comes out as our error.

        `share` of the timeout is what each step may take.
        """
        meaning = partial(meaning_of, seconds=self._timeout * share)
        try:
            with translated(self._where(path), meaning):
                if self._closed:
                    raise Unreachable("the connection was closed")
                if self._server is None or self._server.line.sock is None:
                    self._server = self._connected(share)
                self._server.line.patience(self._timeout * share)
                with self._server.line.in_step():
                    yield self._server
        except BrokenOff as broken:
            raise broken.error from None

    def _lost_reply_to(self, *verbs: str) -> bool:
        return self._server is not None and self._server.line.sock is None and self._server.line.verb in verbs

    def _look_again(self, *paths: str) -> Sequence[Facts | None]:
        """What is at paths now that a reply was lost, nothing if nobody tells in what is left of the time."""
        try:
            with self._talking(paths[0], share=1 / 4) as server:
                return [server.facts(path) for path in paths]
        except MoverError:
            return ()

    def _connected(self, share: float) -> Server:
        line = Line(self._options, self._tls, self._timeout * share, self._login)
        try:
            line.reach(self._place.host, self._place.port, tls_kind(self._place, self._options))
            server = Server(line)
        except BaseException:
            line.close()
            raise
        return server

    def _where(self, path: str) -> str:
        return str(self._place.at(path))

    def _path(self, name: str) -> str:
        """Name as it goes over the line. Raises NameRefused for what no command can carry."""
        path = "/" + name.strip("/")
        if re.search(r"[\0\r\n]", path):
            raise NameRefused("a NUL or a line break can't be in a name", where=self._where(repr(path)))
        try:
            path.encode(self._options.encoding, "surrogateescape")
        except UnicodeEncodeError:
            reason = f"{path!r} can't be written in {self._options.encoding}"
            raise NameRefused(reason, where=self._where("/")) from None
        return path

    def _store(self, path: str, file: BinaryIO, progress: Progress) -> int:
        try:
            return self._send("STOR", path, file, 0, progress)
        except InTheWay:
            with self._talking(path) as server:
                server.line.voidcmd(f"DELE {path}")
            return self._send("STOR", path, file, 0, progress)

    def _go_on(self, path: str, file: BinaryIO, offset: int, progress: Progress) -> int | None:
        """Send the rest, give its end; None if the server did not go on, which only the size can tell."""
        if not self.powers.append:
            return None
        facts = self.stat(path)
        if facts is None or facts.size < offset:
            raise Mangled(f"fewer than {offset} bytes are there to go on from", where=self._where(path))
        try:
            if facts.size == offset:
                end = self._send("APPE", path, file, offset, progress)
            else:
                end = self._send("STOR", path, file, offset, progress, rest=offset)
            facts = self.stat(path)
        except (InTheWay, Permanent):
            end = -1
        if facts is not None and facts.size == end:
            return end
        self.powers = replace(self.powers, append=False)
        return None

    def _send(
        self, verb: str, path: str, file: BinaryIO, offset: int, progress: Progress, rest: int | None = None
    ) -> int:
        """Send file from offset to its end, give its end; if the last reply is lost, the size decides."""
        end = -1
        begun = False
        try:
            with self._talking(path) as server:
                try:
                    with server.line.data(f"{verb} {path}", rest) as data:
                        begun = True
                        end = offset + data.send(file, offset, progress)
                except Refused as refused:
                    why = _why_refused(server, path, refused, begun=begun, going_on=offset > 0)
                    raise why from refused
        except (Unreachable, TimedOut, Busy):
            if end >= 0 and self._lost_reply_to(verb):
                match self._look_again(path):
                    case [Facts(size=size)] if size == end:
                        return end
            raise
        return end

    def _bring(self, path: str, file: BinaryIO, offset: int, size: int, progress: Progress) -> int:
        """Bring what is at path, size bytes, into file, of which offset bytes are there; how many there are then."""
        if 0 < offset == size:  # not every server sends nothing
            with on_our_side(Path(file.name)):
                return file.truncate(offset)
        try:
            return self._retrieve(path, file, offset, size, progress)
        except (Permanent, Mangled):
            if not offset:
                raise
            self.powers = replace(self.powers, resumes=None)
        return self._retrieve(path, file, 0, size, progress)

    def _retrieve(self, path: str, file: BinaryIO, offset: int, size: int, progress: Progress) -> int:
        """Bring the bytes at path from offset on into file; its end then. If the last reply is lost, size decides.

        Raises Mangled if what comes does not overlap with what is there: some servers take REST, and send everything.
        """
        start = max(0, offset - OVERLAP)
        begins = b""
        with on_our_side(Path(file.name)):
            if os.fstat(file.fileno()).st_size:
                file.seek(start)
                begins = file.read(offset - start)
                file.seek(start)
                file.truncate()
        end = -1
        try:
            with self._talking(path) as server, server.line.data(f"RETR {path}", start or None) as data:
                end = start + data.bring(file, progress, begins)
        except (Unreachable, TimedOut, Busy):
            if end != size or not self._lost_reply_to("RETR"):
                raise
        return end

    def _seal(self, path: str, seen: os.stat_result, end: int) -> None:
        """Give path time and mode of the source; raise Mangled if the server has other than end bytes of it.

        A server that refuses any of it is not asked for it again.
        """
        with self._talking(path) as server:
            self.powers, size = server.seal(path, seen, self.powers)
        if size is not None and size != end:
            raise Mangled(f"{size} bytes arrived of {end}", where=self._where(path))

    def _rename(self, server: Server, old: str, new: str) -> None:
        try:
            server.rename(old, new)
        except Refused as refused:
            if refused.asks_for_later:
                raise
            if server.facts(old) is None:
                raise SourceGone("there is no such name", where=self._where(old)) from refused
            if not (refused.is_for_good and refused.verb == "RNTO" and server.has_file(new)):
                raise
            _rename_over(server, old, new, refused)
            self.powers = replace(self.powers, replace=False)


def _rename_over(server: Server, old: str, new: str, refused: Refused) -> None:
    """Give old the name new, which has to make way; if that is refused too, it is back as it was."""
    aside = part_name(new, new_token())
    try:
        server.rename(new, aside)
    except Refused:
        raise refused from None
    try:
        server.rename(old, new)
    except Refused:
        server.rename(aside, new)
        raise
    server.line.voidcmd(f"DELE {aside}")


def _make_folders(server: Server, path: str) -> None:
    if server.is_folder(path):
        return
    try:
        server.line.voidcmd(f"MKD {path}")
    except Refused as refused:
        if refused.asks_for_later:
            raise
        _make_folders(server, posixpath.dirname(path))
        # Somebody else may make it at the same time.
        with suppress(Refused):
            server.line.voidcmd(f"MKD {path}")
        if not server.is_folder(path):
            raise


def _why_refused(server: Server, path: str, refused: Refused, *, begun: bool, going_on: bool) -> Exception:
    """Why a file may not be written: servers say 450, 550 or 553 for a missing folder, as for all else."""
    if server.line.sock is None or refused.asks_for_later or isinstance(meaning_of(refused), NoSpace):
        return refused
    if not server.is_folder(posixpath.dirname(path)):
        return Permanent("there is no such folder")
    if begun or not (refused.is_for_good or (going_on and not refused.is_about_data)):
        return refused
    return InTheWay(refused) if server.has_file(path) else refused
