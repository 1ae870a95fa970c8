"""FTP and FTPS (RFC 959, 2228, 2389, 2428, 2640, 3659, 4217; HASH of draft-bryan-ftp-hash).

Every name goes over as an absolute path and every file in binary, so that nothing depends on what was asked
before. What a server can do beyond RFC 959 is read from FEAT and SITE HELP; what it then refuses all the same
is forgotten, and the powers say so.
"""

import codecs
import errno
import ftplib
import math
import netrc
import os
import posixpath
import re
import select
import socket
import ssl
import time
from calendar import timegm
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, cast

from pydantic import AfterValidator, Field

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Busy,
    HostUnproven,
    LoginRefused,
    Mangled,
    Misconfigured,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
    of_system,
    translated,
)
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.transfer import new_token, part_name
from tranship_movers.units import Duration

BLOCK = 512 * 1024
"""Bytes that go over between two words of progress."""

_NO_SENDFILE = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP))
"""What file systems say whose files can't be sent without being read."""


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"{name!r} is no encoding") from None


class FtpOptions(MoverOptions):
    """What an FTP place can be told."""

    tls: Literal["auto", "off", "explicit", "implicit"] = Field(
        default="auto",
        description="`explicit` begins plain and asks for TLS, `implicit` begins with TLS. `auto` is off for "
        "ftp; for ftps implicit on port 990 and else explicit.",
    )
    ca_file: Path | None = Field(
        default=None, description="The authorities (PEM) to trust with TLS, instead of the system's."
    )
    certificate: Literal["verified", "any"] = Field(
        default="verified",
        description="`any` accepts every certificate: whoever stands between can read and change everything.",
    )
    data_connection: Literal["passive", "active"] = Field(
        default="passive",
        description="Who opens the data connections: we (`passive`) or the server (`active`).",
    )
    passive_address: Literal["of the host", "as told"] = Field(
        default="of the host",
        description="`as told` opens passive data connections to whatever address the server names.",
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        default="utf-8", description="How the server writes names."
    )
    netrc: Path | None = Field(
        default=None,
        description="Where user and password are looked up if the URL has none, instead of ~/.netrc.",
    )
    noop_interval: Duration | None = Field(
        default=None,
        description="Say NOOP so often while a file goes over, for routers that forget a silent connection. "
        "Only for servers that bear it; TCP keepalive is always on.",
    )


class FtpMover:
    """One login at one FTP server."""

    options = FtpOptions

    def __init__(self, place: Place, options: FtpOptions) -> None:
        """Connect to place and log in."""
        self.powers = Powers()
        self._place = place
        self._options = options
        self._timeout = max(options.timeout.total_seconds(), 0.001)
        self._login = _login_for(place, options)
        self._tls = _tls_for(place, options)
        self._line: _Line | None = None
        self._closed = False
        with self._talking("/") as line:
            self.powers = line.powers()

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.put`; a server that refuses to go on at offset gets the file whole."""
        path = self._path(name)
        with _opened(source, "rb") as file:
            if not (offset and self._go_on(path, file, offset, progress)):
                self._store(path, file, progress)
            self._keep(path, os.fstat(file.fileno()))

    def get(self, name: str, target: Path, *, progress: Progress = unheard) -> None:
        """As `Mover.get`. Raises Mangled if more or fewer bytes come than the server said."""
        path = self._path(name)
        facts = self.stat(path)
        if facts is None:
            raise SourceGone("there is no such name", where=self._where(path))
        if facts.is_folder:
            raise Permanent("is a folder", where=self._where(path))
        with _opened(target, "wb") as file:
            came = self._retrieve(path, file, facts.size, progress)
        if came != facts.size:
            raise Mangled(f"{came} bytes came of {facts.size}", where=self._where(path))
        if facts.mtime_ns is not None:
            with _on_our_side(target):
                os.utime(target, ns=(facts.mtime_ns, facts.mtime_ns))

    def stat(self, name: str) -> Facts | None:
        """As `Mover.stat`."""
        path = self._path(name)
        with self._talking(path) as line:
            return line.facts(path, name)

    def list(self, folder: str) -> Iterator[Facts]:
        """As `Mover.list`; the whole listing is read before the first name is given."""
        path = self._path(folder)
        with self._talking(path) as line:
            return iter(line.listing(path))

    def remove(self, name: str) -> None:
        """As `Mover.remove`."""
        path = self._path(name)
        with self._talking(path) as line:
            try:
                line.voidcmd(f"DELE {path}")
            except _Refused as refused:
                if refused.asks_for_later or line.facts(path) is not None:
                    raise

    def rename(self, old: str, new: str) -> None:
        """As `Mover.rename`; if the reply is lost, the names decide."""
        old, new = self._path(old), self._path(new)
        try:
            with self._talking(new) as line:
                self._rename(line, old, new)
        except (Unreachable, TimedOut, Busy):
            if self._lost_reply_to("RNTO"):
                match self._look_again(old, new):
                    case [None, Facts()]:
                        return
            raise

    def make_folders(self, folder: str) -> None:
        """As `Mover.make_folders`."""
        path = self._path(folder)
        with self._talking(path) as line:
            _make_folders(line, path)

    def checksum(self, name: str, algorithm: str) -> str | None:
        """As `Mover.checksum`, by HASH or the older XSHA256 and its kin."""
        path = self._path(name)
        with self._talking(path) as line:
            return line.checksum(path, algorithm)

    def alive(self) -> bool:
        """Whether the server still answers; a connection that was lost is made anew for the answer."""
        with suppress(MoverError), self._talking("/") as line:
            line.voidcmd("NOOP")
            return True
        return False

    def close(self) -> None:
        """As `Mover.close`."""
        self._closed = True
        if self._line:
            self._line.hang_up()

    @contextmanager
    def _talking(self, path: str, share: float = 1) -> Iterator["_Line"]:
        """The control connection, made anew if it was lost; what goes wrong inside comes out as our error.

        `share` of the timeout is what each step may take.
        """
        meaning = partial(_meaning, seconds=self._timeout * share)
        try:
            with translated(self._where(path), meaning):
                if self._closed:
                    raise Unreachable("the connection was closed")
                if self._line is None or self._line.sock is None:
                    self._line = self._connected(share)
                self._line.patience(self._timeout * share)
                with self._line.in_step():
                    yield self._line
        except _BrokenOff as broken:
            raise broken.error from None

    def _lost_reply_to(self, *verbs: str) -> bool:
        return self._line is not None and self._line.sock is None and self._line.verb in verbs

    def _look_again(self, *paths: str) -> Sequence[Facts | None]:
        """What is at paths now that a reply was lost, nothing if nobody tells in what is left of the time."""
        try:
            with self._talking(paths[0], share=1 / 4) as line:
                return [line.facts(path) for path in paths]
        except MoverError:
            return ()

    def _connected(self, share: float) -> "_Line":
        line = _Line(self._options, self._tls, self._timeout * share, self._login)
        try:
            line.reach(self._place.host, self._place.port, _tls_kind(self._place, self._options))
        except BaseException:
            line.close()
            raise
        return line

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

    def _store(self, path: str, file: BinaryIO, progress: Progress) -> None:
        try:
            self._send("STOR", path, file, 0, progress)
        except _InTheWay:
            with self._talking(path) as line:
                line.voidcmd(f"DELE {path}")
            self._send("STOR", path, file, 0, progress)

    def _go_on(self, path: str, file: BinaryIO, offset: int, progress: Progress) -> bool:
        """Send the rest; whether the server did go on, which only the size can tell."""
        if not self.powers.append:
            return False
        facts = self.stat(path)
        if facts is None or facts.size < offset:
            raise Mangled(f"fewer than {offset} bytes are there to go on from", where=self._where(path))
        try:
            if facts.size == offset:
                end = self._send("APPE", path, file, offset, progress)
            else:
                end = self._send("STOR", path, file, offset, progress, rest=offset)
            facts = self.stat(path)
        except (_InTheWay, Permanent):
            end = -1
        if facts is not None and facts.size == end:
            return True
        self.powers = replace(self.powers, append=False)
        return False

    def _send(
        self, verb: str, path: str, file: BinaryIO, offset: int, progress: Progress, rest: int | None = None
    ) -> int:
        """Send file from offset to its end, give its end; if the last reply is lost, the size decides."""
        end = -1
        begun = False
        try:
            with self._talking(path) as line:
                try:
                    with line.data(f"{verb} {path}", rest) as data:
                        begun = True
                        end = offset + data.send(file, offset, progress)
                except _Refused as refused:
                    why = _why_refused(line, path, refused, begun=begun, going_on=offset > 0)
                    raise why from refused
        except (Unreachable, TimedOut, Busy):
            if end >= 0 and self._lost_reply_to(verb):
                match self._look_again(path):
                    case [Facts(size=size)] if size == end:
                        return end
            raise
        return end

    def _retrieve(self, path: str, file: BinaryIO, size: int, progress: Progress) -> int:
        """Bring the bytes at path into file, give their number; if the last reply is lost, size decides."""
        came = -1
        try:
            with self._talking(path) as line, line.data(f"RETR {path}") as data:
                came = data.bring(file, progress)
        except (Unreachable, TimedOut, Busy):
            if came != size or not self._lost_reply_to("RETR"):
                raise
        return came

    def _keep(self, path: str, seen: os.stat_result) -> None:
        """Give path the time and the mode of the source; a server that refuses is not asked again."""
        if self.powers.mtime:
            with self._talking(path) as line:
                self.powers = replace(self.powers, mtime=line.set_mtime(path, seen.st_mtime))
        if self.powers.mode:
            with self._talking(path) as line:
                self.powers = replace(self.powers, mode=line.set_mode(path, seen.st_mode & 0o777))

    def _rename(self, line: "_Line", old: str, new: str) -> None:
        try:
            line.rename(old, new)
        except _Refused as refused:
            if refused.asks_for_later:
                raise
            if line.facts(old) is None:
                raise SourceGone("there is no such name", where=self._where(old)) from refused
            if not (refused.is_for_good and refused.verb == "RNTO" and line.has_file(new)):
                raise
            _rename_over(line, old, new, refused)
            self.powers = replace(self.powers, replace=False)


def _rename_over(line: "_Line", old: str, new: str, refused: "_Refused") -> None:
    """Give old the name new, which has to make way; if that is refused too, it is back as it was."""
    aside = part_name(new, new_token())
    try:
        line.rename(new, aside)
    except _Refused:
        raise refused from None
    try:
        line.rename(old, new)
    except _Refused:
        line.rename(aside, new)
        raise
    line.voidcmd(f"DELE {aside}")


def _make_folders(line: "_Line", path: str) -> None:
    if line.is_folder(path):
        return
    try:
        line.voidcmd(f"MKD {path}")
    except _Refused as refused:
        if refused.asks_for_later:
            raise
        _make_folders(line, posixpath.dirname(path))
        # Somebody else may make it at the same time.
        with suppress(_Refused):
            line.voidcmd(f"MKD {path}")
        if not line.is_folder(path):
            raise


def _why_refused(line: "_Line", path: str, refused: "_Refused", *, begun: bool, going_on: bool) -> Exception:
    """Why a file may not be written: servers say 450, 550 or 553 for a missing folder, as for all else."""
    if line.sock is None or refused.asks_for_later or isinstance(_meaning(refused), NoSpace):
        return refused
    if not line.is_folder(posixpath.dirname(path)):
        return Permanent("there is no such folder")
    if begun or not (refused.is_for_good or (going_on and not refused.is_about_data)):
        return refused
    return _InTheWay(refused) if line.has_file(path) else refused


# Who we are, and whom we trust ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class _Login:
    user: str = "anonymous"
    password: str = "anonymous@"  # noqa: S105 - the custom since RFC 1635
    account: str = ""


def _login_for(place: Place, options: FtpOptions) -> _Login:
    """The login of the URL, else of the netrc file, else none."""
    if place.user and place.password is not None:
        return _Login(place.user, place.password.get_secret_value())
    found = _from_netrc(place.host, options.netrc)
    if found and place.user in ("", found.user):
        return found
    return _Login(place.user, "") if place.user else _Login()


def _from_netrc(host: str, path: Path | None) -> _Login | None:
    try:
        entry = netrc.netrc(path).authenticators(host)
    except FileNotFoundError:
        if path is None:
            return None
        raise Misconfigured(f"`netrc`: there is no {path}") from None
    except netrc.NetrcParseError as error:
        # Its text may hold the password.
        raise Misconfigured(f"{path or '~/.netrc'} can't be read (line {error.lineno})") from None
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{path or '~/.netrc'} can't be read") from None
    return _Login(entry[0], entry[2] or "", entry[1] or "") if entry else None


def _tls_kind(place: Place, options: FtpOptions) -> Literal["off", "explicit", "implicit"]:
    if options.tls != "auto":
        return options.tls
    if place.scheme != "ftps":
        return "off"
    return "implicit" if place.port == 990 else "explicit"


def _tls_for(place: Place, options: FtpOptions) -> ssl.SSLContext | None:
    if _tls_kind(place, options) == "off":
        if place.scheme == "ftps":
            raise Misconfigured("`tls: off` contradicts ftps; say ftp", where=str(place))
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError:
        raise Misconfigured(f"`ca_file` {options.ca_file} can't be read", where=str(place)) from None
    if options.certificate == "any":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# The conversation -------------------------------------------------------------------------------------------


class _Refused(Exception):
    """The server did not do what verb asked; its reply holds no password."""

    def __init__(self, verb: str, code: str, text: str, words: str) -> None:
        super().__init__(f"{verb}: {code} {text}")
        self.verb = verb
        self.code = code
        self.text = text
        self.words = words
        """The text without the name that was asked for."""

    @property
    def asks_for_later(self) -> bool:
        return self.code == "421"

    @property
    def is_for_good(self) -> bool:
        """Whether the server will always refuse it."""
        return self.code.startswith("5") and not isinstance(_meaning_of(self), NoSpace)

    @property
    def is_about_data(self) -> bool:
        """Whether only the data connection failed."""
        return self.code in ("425", "426")

    @property
    def forbids(self) -> bool:
        """Whether it is a question of rights."""
        return _FORBIDDEN.search(self.words) is not None

    @property
    def is_unknown(self) -> bool:
        """Whether the server does not know the command at all."""
        return self.code in ("500", "502", "504")


class _InTheWay(Permanent):
    """The server refuses to write over a file that is there."""

    def __init__(self, refused: _Refused) -> None:
        super().__init__(f"{refused.verb} was refused: {refused.code} {refused.text}")


class _BrokenOff(Exception):
    """Whoever hears of the progress wants no more."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Line(ftplib.FTP):
    """The control connection: ftplib's, with TLS, without secrets in errors, for names in any bytes."""

    def __init__(
        self, options: FtpOptions, tls: ssl.SSLContext | None, timeout: float, login: _Login
    ) -> None:
        super().__init__(timeout=timeout, encoding=options.encoding)
        self._options = options
        self._tls = tls
        self._login = login
        self._asked = ""
        self._noops = 0
        self._hash = ""
        self._knows_epsv = options.passive_address == "of the host"
        self._site: frozenset[str] = frozenset()
        self._features: dict[str, str] = {}

    @property
    def verb(self) -> str:
        """The command that was said last."""
        return self._asked.partition(" ")[0]

    def reach(self, host: str, port: int | None, tls: Literal["off", "explicit", "implicit"]) -> None:
        """Connect, log in, learn what the server can do."""
        self.host = host
        self.port = port or (990 if tls == "implicit" else 21)
        self.sock = socket.create_connection((self.host, self.port), self.timeout)
        self.af = self.sock.family
        _keep_alive(self.sock)
        self._listen()
        if self._tls and tls == "implicit":
            self._secure(self._tls)
        self.welcome = self.getresp()
        while self.welcome.startswith("1"):
            self.welcome = self.getresp()
        if self._tls and tls == "explicit":
            self.voidcmd("AUTH TLS")
            self._secure(self._tls)
        self._log_in()
        if self._tls:
            self.voidcmd("PBSZ 0")
            self.voidcmd("PROT P")
        self._learn()
        self.voidcmd("TYPE I")

    def powers(self) -> Powers:
        """What the server says it can do."""
        return Powers(
            # rclone's readers miss the name for a moment.
            replace="Rclone" not in (self.welcome or ""),
            append=self._features.get("REST", "").upper() == "STREAM",
            mtime=self._mtime_command() != "",
            mode="CHMOD" in self._site,
            checksums=frozenset(_DIGITS) & self._digests(),
        )

    def patience(self, seconds: float) -> None:
        """From now on a step may take so many seconds."""
        self.timeout = seconds
        if self.sock is not None:
            self.sock.settimeout(seconds)

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Hang up if question and answer no longer belong together."""
        try:
            yield
        except (MoverError, _BrokenOff):
            raise
        except _Refused as refused:
            if refused.asks_for_later:
                self.close()
            raise
        except BaseException:
            self.close()
            raise

    def hang_up(self) -> None:
        """Say goodbye and close."""
        with suppress(OSError, EOFError, _Refused, ftplib.Error):
            self.patience(min(self._seconds, 1))
            self.sendcmd("QUIT")
        self.close()

    def close(self) -> None:
        """Close without a word."""
        with suppress(OSError):
            super().close()

    def putline(self, line: str) -> None:
        """Send one line; a name that came from a listing goes back with the bytes it came with."""
        self._asked = line
        self._wire.sendall(f"{line}\r\n".encode(self.encoding, "surrogateescape"))

    def getresp(self) -> str:
        """The next reply, if it is none of refusal."""
        reply = self.getmultiline()
        if reply[:1] not in ("1", "2", "3"):
            raise self._refusal(reply)
        return reply

    def voidresp(self) -> str:
        """The next reply, which must say that it is done."""
        reply = self.getresp()
        if reply[0] != "2":
            raise self._refusal(reply)
        return reply

    def rename(self, fromname: str, toname: str) -> str:
        """Rename in two steps; a refusal says which."""
        self.sendcmd(f"RNFR {fromname}")
        return self.voidcmd(f"RNTO {toname}")

    def facts(self, path: str, name: str = "") -> Facts | None:
        """What the server says of path, None if nothing is there."""
        name = name or path
        if "MLST" in self._features:
            try:
                reply = self.sendcmd(f"MLST {path}").split("\n")
                if found := _facts_of(reply[1].strip() if len(reply) > 1 else "", name):
                    return found
            except _Refused as refused:
                if refused.asks_for_later or refused.forbids:
                    raise
                if not refused.is_unknown:
                    return None
                del self._features["MLST"]
        try:
            return self._sized(path, name)
        except _Refused as refused:
            if not refused.is_unknown or path == "/":
                raise
        folder, last = posixpath.split(path)
        return next((replace(facts, name=name) for facts in self.listing(folder) if facts.name == last), None)

    def has_file(self, path: str) -> bool:
        """Whether path is there and no folder."""
        facts = self.facts(path)
        return facts is not None and not facts.is_folder

    def is_folder(self, path: str) -> bool:
        """Whether path is a folder."""
        if path == "/":
            return True
        if "MLST" in self._features:
            facts = self.facts(path)
            return facts is not None and facts.is_folder
        # The one use of CWD is as a question: no other command depends on where we are.
        try:
            self.voidcmd(f"CWD {path}")
        except _Refused as refused:
            if refused.asks_for_later:
                raise
            return False
        self.voidcmd("CWD /")
        return True

    def listing(self, path: str) -> list[Facts]:
        """The names in path."""
        if "MLST" not in self._features:
            return self._old_listing(path)
        try:
            found = [facts for line in self._lines(f"MLSD {path}") if (facts := _facts_of(line))]
        except _Refused as refused:
            if not refused.is_unknown:
                raise
            del self._features["MLST"]
            return self._old_listing(path)
        # Some servers list a file as a folder that holds itself.
        if len(found) == 1 and found[0].name == posixpath.basename(path) and not self.is_folder(path):
            raise Permanent("is no folder")
        return found

    def checksum(self, path: str, algorithm: str) -> str | None:
        """The hex digest that the server computes of path."""
        if algorithm not in self._digests() & frozenset(_DIGITS):
            return None
        try:
            if _HASH_NAMES[algorithm] in self._hashes():
                if self._hash != algorithm:
                    self.voidcmd(f"OPTS HASH {_HASH_NAMES[algorithm]}")
                    self._hash = algorithm
                reply = self.sendcmd(f"HASH {path}")
            else:
                reply = self.sendcmd(f"X{algorithm.upper()} {path}")
        except _Refused as refused:
            if refused.asks_for_later:
                raise
            return None
        found = re.search(rf"\b[0-9a-f]{{{_DIGITS[algorithm]}}}\b", reply, re.IGNORECASE)
        return found[0].lower() if found else None

    def set_mtime(self, path: str, seconds: float) -> bool:
        """Give path a modification time (seconds since the epoch); whether the server did."""
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(math.floor(seconds)))
        command = self._mtime_command()
        after = f"{path} {stamp} {stamp} {stamp} UTC" if command == "SITE UTIME" else f"{stamp} {path}"
        return self._does(f"{command} {after}")

    def set_mode(self, path: str, mode: int) -> bool:
        """Give path permission bits; whether the server did."""
        return self._does(f"SITE CHMOD {mode:03o} {path}")

    @contextmanager
    def data(self, command: str, rest: int | None = None) -> Iterator["_Data"]:
        """A data connection for command; on leaving, the server's last word about it has been heard.

        If it broke, a refusal explains more than the break, so the refusal is raised. In the end question and
        answer are in step again, or the line is closed.
        """
        self._noops = 0
        with self._asking(command, rest) as opened:
            data = None
            try:
                data = self._data_over(opened)
                yield data
                data.finish()
            except BaseException as error:
                (data.conn if data else opened).close()
                self._hear_why(error)
                raise
            finally:
                if data:
                    data.conn.close()
        self._last_word()

    def noop(self) -> None:
        """Give a sign of life while a file goes over; the answer is read after it."""
        self._wire.sendall(b"NOOP\r\n")
        self._noops += 1

    @property
    def _wire(self) -> socket.socket:
        if self.sock is None:
            raise EOFError
        return self.sock

    @property
    def _seconds(self) -> float:
        return float(self.timeout or 0)

    def _listen(self) -> None:
        """Read from the socket as it is now; what was read ahead without TLS does not count with it."""
        if self.file is not None:
            self.file.close()
        self.file = self._wire.makefile("r", encoding=self.encoding, errors="surrogateescape", newline="\n")

    def _secure(self, tls: ssl.SSLContext) -> None:
        self.sock = tls.wrap_socket(self._wire, server_hostname=self.host)
        self._listen()

    def _log_in(self) -> None:
        login = self._login
        reply = self.sendcmd(f"USER {login.user}")
        if reply.startswith("331"):
            reply = self.sendcmd(f"PASS {login.password}")
        if reply.startswith("332"):
            reply = self.sendcmd(f"ACCT {login.account}")
        if reply[0] != "2":
            raise self._refusal(reply)

    def _learn(self) -> None:
        self._features = _features_of(self._answer("FEAT"))
        if "UTF8" in self._features and self.encoding.lower().replace("-", "") == "utf8":
            self._answer("OPTS UTF8 ON")
        if unstarred := [fact for fact in ("type", "size", "modify") if f"{fact};" in self._mlst()]:
            starred = [fact for fact in ("type", "size", "modify") if f"{fact}*" in self._mlst()]
            self._answer(f"OPTS MLST {';'.join(starred + unstarred)};")
        self._site = frozenset(re.findall(r"\b(CHMOD|UTIME)\b(?!\*)", self._answer("SITE HELP")))

    def _mlst(self) -> str:
        return self._features.get("MLST", "").lower()

    def _answer(self, command: str) -> str:
        """What the server says to command, nothing if it refuses."""
        try:
            return self.sendcmd(command)
        except _Refused as refused:
            if refused.asks_for_later:
                raise
            return ""

    def _does(self, command: str) -> bool:
        return self._answer(command).startswith("2")

    def _refusal(self, reply: str) -> _Refused:
        verb, _, argument = self._asked.partition(" ")
        text = " ".join(reply[4:].split())
        if self._login.password:
            text = text.replace(self._login.password, "***")
        words = text
        for name in filter(None, (argument, posixpath.basename(argument))):
            words = words.replace(name, "")
        return _Refused(verb, reply[:3], text[:300], words)

    def _mtime_command(self) -> str:
        if "MFMT" in self._features:
            return "MFMT"
        if "UTIME" in self._site or "UTIME" in self._features.get("SITE", ""):
            return "SITE UTIME"
        # It has always done so, but never says it.
        return "MDTM" if "vsFTPd" in (self.welcome or "") and "MDTM" in self._features else ""

    def _sized(self, path: str, name: str) -> Facts | None:
        """By SIZE and MDTM. Raises _Refused if the server does not know SIZE."""
        try:
            size = int(_told(r"\d+", self.sendcmd(f"SIZE {path}")[4:]))
        except _Refused as refused:
            if refused.asks_for_later or refused.is_unknown:
                raise
            return Facts(name, 0, is_folder=True) if self.is_folder(path) else None
        return Facts(name, size, _time_of(self._answer(f"MDTM {path}")[4:]))

    def _hashes(self) -> frozenset[str]:
        return frozenset(re.findall(r"[A-Z0-9-]+", self._features.get("HASH", "").upper()))

    def _digests(self) -> frozenset[str]:
        by_hash = {ours for ours, theirs in _HASH_NAMES.items() if theirs in self._hashes()}
        return frozenset(by_hash | {verb[1:].lower() for verb in self._features if verb.startswith("X")})

    def _lines(self, command: str) -> list[str]:
        """The lines that come over a data connection."""
        with self.data(command) as data:
            text = data.text().decode(self.encoding, "surrogateescape")
        return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]

    def _old_listing(self, path: str) -> list[Facts]:
        """By LIST, which has no rules; from within, since it takes blanks and wildcards for more."""
        try:
            self.voidcmd(f"CWD {path}")
        except _Refused as refused:
            if refused.asks_for_later:
                raise
            raise Permanent(f"there is no such folder ({refused.code} {refused.text})") from refused
        try:
            found = [_facts_of_ls(line) for line in self._old_lines() if line[:1] not in _NO_FILE]
            if None in found:
                names = [posixpath.basename(line) for line in self._lines("NLST")]
                found = [self._sized(posixpath.join(path, name), name) for name in names]
        finally:
            if self.sock is not None:
                self._answer("CWD /")
        named = [facts for facts in found if facts and facts.name not in (".", "..")]
        return [told for facts in named if (told := self._completed(path, facts))]

    def _completed(self, folder: str, facts: Facts) -> Facts | None:
        """Facts of a link as those of what it leads to, None if nobody can tell."""
        if facts.size >= 0:
            return facts
        with suppress(_Refused):
            return self._sized(posixpath.join(folder, facts.name), facts.name)
        return None

    def _old_lines(self) -> list[str]:
        # A server that understands -a shows the folder itself; others take it for a name, and show nothing.
        with suppress(_Refused):
            lines = self._lines("LIST -a")
            if any(line.endswith(" .") for line in lines):
                return lines
        return self._lines("LIST")

    @contextmanager
    def _asking(self, command: str, rest: int | None) -> Iterator[socket.socket]:
        """The socket of the data connection that command was asked for: connected, or listening (active)."""
        active = self._options.data_connection == "active"
        with (
            self._listener() if active else socket.create_connection(self._passive(), self.timeout) as opened
        ):
            if active:
                self._invite(opened)
            if rest is not None:
                self.sendcmd(f"REST {rest}")
            reply = self.sendcmd(command)
            # Some servers say 200 before they say 150.
            if reply[0] == "2":
                reply = self.getresp()
            if reply[0] != "1":
                raise self._refusal(reply)
            yield opened

    def _listener(self) -> socket.socket:
        opened = socket.create_server((self._wire.getsockname()[0], 0), family=self.af, backlog=1)
        opened.settimeout(self.timeout)
        return opened

    def _invite(self, opened: socket.socket) -> None:
        host, port, *_ = opened.getsockname()
        if self.af == socket.AF_INET:
            self.sendport(host, port)
        else:
            self.sendeprt(host, port)

    def _passive(self) -> tuple[str, int]:
        host = str(self._wire.getpeername()[0])
        if self._knows_epsv or self.af == socket.AF_INET6:
            try:
                return host, int(_told(r"\((.)\1\1(\d{1,5})\1\)", self.sendcmd("EPSV"), 2))
            except _Refused as refused:
                if refused.asks_for_later or self.af == socket.AF_INET6:
                    raise
                self._knows_epsv = False
        numbers = _told(r"\d{1,3}(,\d{1,3}){5}", self.sendcmd("PASV")[4:]).split(",")
        # An address behind a router is of no use, and any other one might make us knock where we should not.
        told = ".".join(numbers[:4]) if self._options.passive_address == "as told" else host
        return told, int(numbers[4]) * 256 + int(numbers[5])

    def _data_over(self, opened: socket.socket) -> "_Data":
        conn = opened
        if self._options.data_connection == "active":
            conn, (address, *_) = opened.accept()
            conn.settimeout(self.timeout)
            if address != self._wire.getpeername()[0]:
                conn.close()
                raise ConnectionError("a stranger opened the data connection")
        if self._tls is not None:
            conn = self._encrypted(conn, self._tls)
        return _Data(conn, self, self._options.noop_interval)

    def _encrypted(self, conn: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Servers refuse a data connection that does not go on with the session of the control connection.
        session = cast("ssl.SSLSocket", self._wire).session
        return tls.wrap_socket(conn, server_hostname=self.host, session=session)

    def _hear_why(self, error: BaseException) -> None:
        """Hear the server's last word after a break; hang up if there is none in time."""
        if isinstance(error, TimeoutError):
            return self.close()
        try:
            self._last_word()
        except _Refused as refused:
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLCertVerificationError):
                raise refused from error
        except (OSError, EOFError, ftplib.Error):
            self.close()
        return None

    def _last_word(self) -> None:
        """Hear, in half the time, the reply that ends a transfer, among those to NOOP."""
        self._wire.settimeout(self._seconds / 2)
        replies = [self._reply() for _ in range(1 + self._noops)]
        self._wire.settimeout(self._seconds)
        self._noops = 0
        said = [reply for reply in replies if not reply.startswith("200")] or replies
        if not any(reply.startswith("2") for reply in said):
            raise self._refusal(said[0])

    def _reply(self) -> str:
        reply = self.getmultiline()
        while reply.startswith("1"):
            reply = self.getmultiline()
        if reply.startswith("421"):
            raise self._refusal(reply)
        return reply


class _Data:
    """A data connection."""

    def __init__(self, conn: socket.socket, line: _Line, noop_interval: timedelta | None) -> None:
        self.conn = conn
        self._line = line
        self._pause = math.inf if noop_interval is None else noop_interval.total_seconds()
        self._next_noop = time.monotonic() + self._pause

    def send(self, file: BinaryIO, offset: int, progress: Progress) -> int:
        """Send file from offset to its end; give the number of bytes."""
        step = self._send_encrypted if isinstance(self.conn, ssl.SSLSocket) else self._send_plain
        position = offset
        while sent := step(file, position):
            position += sent
            self._tell(progress, sent)
        return position - offset

    def bring(self, file: BinaryIO, progress: Progress) -> int:
        """Write what comes into file; give the number of bytes."""
        block = memoryview(bytearray(BLOCK))
        came = 0
        while count := self.conn.recv_into(block):
            with _on_our_side(Path(file.name)):
                file.write(block[:count])
            came += count
            self._tell(progress, count)
        with _on_our_side(Path(file.name)):
            file.flush()
        return came

    def text(self) -> bytes:
        """All that comes."""
        return b"".join(iter(partial(self.conn.recv, BLOCK), b""))

    def finish(self) -> None:
        """End in order, so that the other side gets the last bytes too."""
        with suppress(OSError, ValueError):
            if isinstance(self.conn, ssl.SSLSocket):
                # Closed without this goodbye, unread session tickets would turn the end into a reset.
                self.conn.settimeout(min((self.conn.gettimeout() or 0) / 4, 5))
                self.conn.unwrap()
            self.conn.shutdown(socket.SHUT_WR)

    def _send_plain(self, file: BinaryIO, position: int) -> int:
        # `socket.sendfile` makes a selector for each block, and waits before it tries: 0.8 of the speed.
        while True:
            try:
                return os.sendfile(self.conn.fileno(), file.fileno(), position, BLOCK)
            except BlockingIOError:
                self._wait_for_room()
            except OSError as error:
                if error.errno not in _NO_SENDFILE:
                    raise
                return self.conn.sendfile(file, position, BLOCK)

    def _wait_for_room(self) -> None:
        """Wait until some bytes can be sent."""
        poll = select.poll()
        poll.register(self.conn, select.POLLOUT)
        if not poll.poll((self.conn.gettimeout() or 0) * 1000):
            raise TimeoutError

    def _send_encrypted(self, file: BinaryIO, position: int) -> int:
        with _on_our_side(Path(file.name)):
            block = os.pread(file.fileno(), BLOCK, position)
        self.conn.sendall(block)
        return len(block)

    def _tell(self, progress: Progress, count: int) -> None:
        try:
            progress(count)
        except BaseException as error:  # noqa: BLE001 - comes out as it is, from `_talking`
            raise _BrokenOff(error) from None
        if time.monotonic() > self._next_noop:
            self._next_noop = time.monotonic() + self._pause
            self._line.noop()


def _keep_alive(sock: socket.socket) -> None:
    """Let routers know that the control connection is still in use."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


@contextmanager
def _opened(path: Path, mode: Literal["rb", "wb"]) -> Iterator[BinaryIO]:
    """The local file at path, for the block."""
    with _on_our_side(path, SourceGone if mode == "rb" else Permanent):
        file = open(path, mode)  # noqa: SIM115 - only its opening is our side's
    with file:
        yield file


@contextmanager
def _on_our_side(path: Path, absent: type[MoverError] = Permanent) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(path), absent=absent) from error


# What the server tells --------------------------------------------------------------------------------------

_DIGITS = {"sha256": 64, "md5": 32}
_HASH_NAMES = {"sha256": "SHA-256", "md5": "MD5"}

_LS = re.compile(
    r"(?P<kind>[-dl])[-rwxsStTlL]{9}\S?\s+.*?\s*\b(?P<size>\d+)\s+"
    r"(?:\S{3,5}\s+\d{1,2}|\d{1,2}\s+\S{3,5})\s+(?:\d{4}|\d{1,2}:\d{2})\s(?P<name>.+)"
)
"""`drwxr-xr-x 2 owner group 4096 Jan  2 12:30 name`; the name may hold and begin with blanks."""

_DOS = re.compile(r"\d\d-\d\d-\d{2,4}\s+\d\d:\d\d(?:[AP]M)?\s+(?:(?P<size>\d+)\s|<DIR>\s+)(?P<name>.+)")
"""`01-02-26  12:30PM  <DIR>  name`"""

_NO_FILE = frozenset("tbcps")
"""How a line of a listing begins that tells the total, a device, a pipe or a socket."""


def _features_of(reply: str) -> dict[str, str]:
    """FEAT as a dictionary from the command, in capitals, to what is said of it."""
    told = [line.strip().partition(" ") for line in reply.split("\n")[1:] if line.startswith(" ")]
    features: dict[str, str] = {}
    for command, _, words in told:
        features[command.upper()] = f"{features.get(command.upper(), '')} {words}".strip()
    return features


def _facts_of(line: str, name: str = "") -> Facts | None:
    """A line of MLSD or MLST (`size=5;type=file;modify=20260102030405; name`); None for what is no file."""
    told, _, there = line.partition(" ")
    facts = {key.lower(): value for key, _, value in (fact.partition("=") for fact in told.split(";"))}
    kind = facts.get("type", "").lower()
    size = facts.get("size", "")
    is_folder = kind == "dir" or (kind in ("cdir", "pdir") and name != "")
    if not is_folder and (kind in ("cdir", "pdir") or not size.isdecimal()):
        return None
    name = name or there.rpartition("/")[2]
    if name in ("", ".", ".."):
        return None
    mode = facts.get("unix.mode", "")
    return Facts(
        name,
        0 if is_folder else int(size),
        _time_of(facts.get("modify", "")),
        is_folder,
        int(mode, 8) & 0o777 if re.fullmatch("[0-7]+", mode) else None,
    )


def _facts_of_ls(line: str) -> Facts | None:
    """A line of LIST; size -1 if it does not tell (a link); None if nobody understands it.

    Its time is left out: it has no zone and often no year.
    """
    if match := _LS.fullmatch(line):
        if match["kind"] == "l":
            return Facts(match["name"].partition(" -> ")[0], -1)
        is_folder = match["kind"] == "d"
        return Facts(match["name"], 0 if is_folder else int(match["size"]), is_folder=is_folder)
    if match := _DOS.fullmatch(line):
        return Facts(match["name"], int(match["size"] or 0), is_folder=match["size"] is None)
    return None


def _time_of(text: str) -> int | None:
    """`20260102030405.123`, in UTC, in ns since the epoch."""
    match = re.match(r"(\d{14})(?:\.(\d{1,9}))?", text.strip())
    if match is None:
        return None
    try:
        seconds = timegm(time.strptime(match[1], "%Y%m%d%H%M%S"))
    except ValueError:
        return None
    return seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def _told(pattern: str, reply: str, group: int = 0) -> str:
    match = re.search(pattern, reply)
    if match is None:
        raise ftplib.error_proto
    return match[group]


# What a failure means ---------------------------------------------------------------------------------------

MEANINGS: dict[tuple[str, str], type[MoverError]] = {
    ("", "4"): Temporary,
    ("", "5"): Permanent,
    ("", "421"): Busy,
    ("", "425"): Unreachable,
    ("", "426"): Unreachable,
    ("", "430"): LoginRefused,
    ("", "434"): Unreachable,
    ("", "452"): NoSpace,
    ("", "503"): Temporary,
    ("", "522"): Misconfigured,
    ("", "530"): LoginRefused,
    ("", "532"): LoginRefused,
    ("", "533"): Misconfigured,
    ("", "534"): Misconfigured,
    ("", "535"): Misconfigured,
    ("", "536"): Misconfigured,
    ("", "537"): Misconfigured,
    ("", "552"): NoSpace,
    ("", "553"): NameRefused,
    ("RETR", "550"): SourceGone,
    ("RETR", "551"): SourceGone,
    ("RNFR", "550"): SourceGone,
    ("USER", "5"): LoginRefused,
    ("PASS", "5"): LoginRefused,
    ("ACCT", "5"): LoginRefused,
    ("AUTH", "5"): Misconfigured,
    ("PBSZ", "5"): Misconfigured,
    ("PROT", "5"): Misconfigured,
    ("TYPE", "5"): Misconfigured,
    ("EPSV", "5"): Misconfigured,
    ("PASV", "5"): Misconfigured,
    ("EPRT", "5"): Misconfigured,
    ("PORT", "5"): Misconfigured,
}
"""What a reply means, by the command ("": any) and the code or its first digit; the most exact row holds."""

WORDS: tuple[tuple[re.Pattern[str], frozenset[str], type[MoverError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), frozenset(classes), meaning)
    for pattern, classes, meaning in (
        (r"no space|disk(?: is)? full|(?:over|exceed\w*|disk) (?:\w+ )?quota|quota exceeded", "45", NoSpace),
        (r"insufficient (?:disk |storage )?space|not enough (?:disk )?space", "45", NoSpace),
        (r"too many|maximum (?:number|allowed)|max(?:imum)? (?:clients|connections|users)", "L", Busy),
    )
)
"""Where servers put one failure under many codes, their words tell ("L": in reply to a login)."""

_FORBIDDEN = re.compile(r"permission|denied|not allowed|privilege|forbidden|not permitted", re.IGNORECASE)
_LOGIN = frozenset({"USER", "PASS", "ACCT"})
_NO_TLS_IN_COMMON = re.compile(r"VERSION|PROTOCOL|CIPHER|HANDSHAKE_FAILURE|HTTP_REQUEST|NO_APPLICATION")


def _meaning(error: Exception, seconds: float = 0) -> MoverError | None:
    """The error that an exception means, None for one that can't be known here."""
    match error:
        case _Refused():
            return _meaning_of(error)
        case ssl.SSLCertVerificationError():
            return HostUnproven(f"its certificate is not accepted: {error.verify_message}")
        case TimeoutError():
            return TimedOut(f"no progress for {seconds:g} s")
        case ssl.SSLError():
            return _meaning_of_tls(error)
        case ftplib.Error():
            return Unreachable("it answers what nobody understands")
        case EOFError():
            return Unreachable("the server hung up")
        case OSError():
            return of_system(error, absent=Unreachable)
    return None


def _meaning_of(refused: _Refused) -> MoverError:
    kind = "L" if refused.verb in _LOGIN else refused.code[:1]
    reason = f"{refused.verb} was refused: {refused.code} {refused.text}".rstrip()
    for pattern, classes, meaning in WORDS:
        if kind in classes and pattern.search(refused.words):
            return meaning(reason)
    meaning = _row(refused)
    if refused.forbids and issubclass(meaning, SourceGone):
        meaning = Permanent
    if issubclass(meaning, LoginRefused):
        # The server's words may hold the user's name.
        return meaning(f"user or password was not accepted ({refused.code})")
    return meaning(reason)


def _row(refused: _Refused) -> type[MoverError]:
    for row in (
        (refused.verb, refused.code),
        (refused.verb, refused.code[:1]),
        ("", refused.code),
        ("", refused.code[:1]),
    ):
        if row in MEANINGS:
            return MEANINGS[row]
    return Unreachable


def _meaning_of_tls(error: ssl.SSLError) -> MoverError:
    reason = error.reason or ""
    if "BAD_RECORD_MAC" in reason or "DECRYPTION_FAILED" in reason:
        return Mangled("what came over TLS was damaged")
    if _NO_TLS_IN_COMMON.search(reason):
        return Misconfigured(f"the server speaks no TLS that we speak ({reason})")
    return Unreachable(f"TLS broke off ({reason})" if reason else "TLS broke off")
