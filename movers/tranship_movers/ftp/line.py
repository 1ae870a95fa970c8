"""The control connection of FTP: connecting, TLS, login, replies, and the data connections it opens."""

import ftplib
import posixpath
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Literal, cast

from tranship_movers.errors import MoverError
from tranship_movers.ftp.data import Data
from tranship_movers.ftp.meanings import BrokenOff, Refused
from tranship_movers.ftp.options import FtpOptions, Login
from tranship_movers.ftp.told import told_in

_BEARS_HASTE = re.compile("vsFTPd|ProFTPD|Pure-FTPd|pyftpdlib|Rclone")
"""How servers that are tested with it greet. RFC 959 lets a server forget what comes before it has answered."""


class Line(ftplib.FTP):
    """The control connection: ftplib's, with TLS, without secrets in errors, for names in any bytes."""

    def __init__(self, options: FtpOptions, tls: ssl.SSLContext | None, timeout: float, login: Login) -> None:
        super().__init__(timeout=timeout, encoding=options.encoding)
        self._options = options
        self._tls = tls
        self._login = login
        self._asked = ""
        self._noops = 0
        self._knows_epsv = options.passive_address == "of the host"

    @property
    def verb(self) -> str:
        """The command that was said last."""
        return self._asked.partition(" ")[0]

    @property
    def bears_haste(self) -> bool:
        """Whether the server is known to bear a next command before it has answered the last."""
        return _BEARS_HASTE.search(self.welcome or "") is not None

    def reach(self, host: str, port: int | None, tls: Literal["off", "explicit", "implicit"]) -> None:
        """Connect and log in."""
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
        self.voidcmd("TYPE I")

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
        except (MoverError, BrokenOff):
            raise
        except Refused as refused:
            if refused.asks_for_later:
                self.close()
            raise
        except BaseException:
            self.close()
            raise

    def hang_up(self) -> None:
        """Say goodbye and close."""
        with suppress(OSError, EOFError, Refused, ftplib.Error):
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
        self._wire.sendall(self._encoded(f"{line}\r\n"))

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

    def answer(self, command: str) -> str:
        """What the server says to command, nothing if it refuses."""
        try:
            return self.sendcmd(command)
        except Refused as refused:
            if refused.asks_for_later:
                raise
            return ""

    def at_once(self, *commands: str) -> list[str | Refused]:
        """The answers to commands that don't depend on each other, sent in one piece if the server bears it."""
        if commands and self.bears_haste:
            self._asked = commands[-1]
            self._wire.sendall(self._encoded("".join(f"{command}\r\n" for command in commands)))
        return [self._answer_to(command) for command in commands]

    @contextmanager
    def data(self, command: str, rest: int | None = None) -> Iterator[Data]:
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
            # Closed before the server has read everything, what we have not read would turn the end into a reset.
            with closing(data.conn):
                self._last_word()

    def lines(self, command: str) -> list[str]:
        """The lines that come over a data connection."""
        with self.data(command) as data:
            text = data.text().decode(self.encoding, "surrogateescape")
        return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]

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

    def _encoded(self, text: str) -> bytes:
        return text.encode(self.encoding, "surrogateescape")

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

    def _answer_to(self, command: str) -> str | Refused:
        if not self.bears_haste:
            self.putline(command)
        reply = self.getmultiline()
        if reply[:1] == "2" or reply[:1] == "3":
            return reply
        refused = self._refusal(reply, command)
        if refused.asks_for_later:
            raise refused
        return refused

    def _refusal(self, reply: str, command: str = "") -> Refused:
        verb, _, argument = (command or self._asked).partition(" ")
        text = " ".join(reply[4:].split())
        if self._login.password:
            text = text.replace(self._login.password, "***")
        words = text
        for name in filter(None, (argument, posixpath.basename(argument))):
            words = words.replace(name, "")
        return Refused(verb, reply[:3], text[:300], words)

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
                return host, int(told_in(r"\((.)\1\1(\d{1,5})\1\)", self.sendcmd("EPSV"), 2))
            except Refused as refused:
                if refused.asks_for_later or self.af == socket.AF_INET6:
                    raise
                self._knows_epsv = False
        numbers = told_in(r"\d{1,3}(,\d{1,3}){5}", self.sendcmd("PASV")[4:]).split(",")
        # An address behind a router is of no use, and any other one might make us knock where we should not.
        told = ".".join(numbers[:4]) if self._options.passive_address == "as told" else host
        return told, int(numbers[4]) * 256 + int(numbers[5])

    def _data_over(self, opened: socket.socket) -> Data:
        conn = opened
        if self._options.data_connection == "active":
            conn, (address, *_) = opened.accept()
            conn.settimeout(self.timeout)
            if address != self._wire.getpeername()[0]:
                conn.close()
                raise ConnectionError("a stranger opened the data connection")
        if self._tls is not None:
            conn = self._encrypted(conn, self._tls)
        return Data(conn, self.noop, self._options.noop_interval)

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
        except Refused as refused:
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


def _keep_alive(sock: socket.socket) -> None:
    """Let routers know that the control connection is still in use."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
