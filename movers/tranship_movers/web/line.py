"""One line of HTTP/1.1: requests go over it one after the other, and their replies come back."""

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import BinaryIO, Self, cast

import h11

from tranship_movers.contract import FRESH_NS, Progress, unheard
from tranship_movers.errors import MoverError, SourceChanged
from tranship_movers.web.meanings import refusal, tell

CHUNK = 256 * 1024
"""Bytes that are sent or received at once. The kernel's sendfile was slower over loopback."""

HEAD_LIMIT = 64 * 1024


DEFAULT_PORTS = {"http": 80, "https": 443}
Headers = tuple[tuple[str, str], ...]
SAID_ALWAYS: Headers = (("User-Agent", "tranship"), ("Accept-Encoding", "identity;q=1, *;q=0"))


@dataclass(slots=True)
class Body:
    """The bytes of a request: the first size bytes of file, from its start each time they are sent.

    Progress is told of each byte once (`told` so far), even if all are sent again.
    """

    file: BinaryIO
    size: int
    progress: Progress = unheard
    told: int = 0

    @classmethod
    def of(cls, text: str) -> Self:
        """A body that is a short text."""
        raw = text.encode()
        return cls(BytesIO(raw), len(raw))


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `repeat`: asking twice does no harm, so it is asked anew if a kept line turns out dead."""

    method: str
    target: str
    headers: Headers = ()
    body: Body | None = None
    repeat: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Who is talked to: scheme (http or https), host and port."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them, without a port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode()
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Line:
    """A connection to one origin, on which one request after the other goes over; made anew when it ended."""

    def __init__(self, origin: Origin, timeout: float, tls: ssl.SSLContext | None) -> None:
        """Connect, by tls if the origin is https. Nothing may take longer than timeout (in s) without progress."""
        self.origin = origin
        self._timeout = timeout
        self._tls = tls
        self._used = False
        self._connect()

    @property
    def is_open(self) -> bool:
        """Whether a next request can go over, and the server has not hung up."""
        idle = set(self._talk.states.values()) == {h11.IDLE}
        return idle and self._socket.fileno() >= 0 and not (self._used and _readable(self._socket))

    def ask(self, ask: Ask, proof: Headers = ()) -> "Reply":
        """Send a request, its whole body included, and give the reply once its head is here."""
        if not self.is_open:
            self.close()
            self._connect()
        kept, self._used = self._used, True
        try:
            return self._ask(ask, proof)
        except (ConnectionError, h11.RemoteProtocolError):
            if not (kept and ask.repeat):
                raise
        self._connect()
        self._used = True
        return self._ask(ask, proof)

    def event(self) -> h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]:
        """What comes next. Raises TimeoutError if nothing comes for too long."""
        try:
            while (event := self._talk.next_event()) is h11.NEED_DATA:
                self._talk.receive_data(self._socket.recv(CHUNK))
        except BaseException:
            self.close()
            raise
        return event

    def finish(self) -> None:
        """The reply is through: keep the line for the next request, if both sides are done with this one."""
        if self._talk.our_state is h11.DONE and self._talk.their_state is h11.DONE:
            self._talk.start_next_cycle()
        else:
            self.close()

    def close(self) -> None:
        """End the connection; the server sees at once that nothing more comes."""
        with suppress(OSError):
            self._socket.close()

    def _connect(self) -> None:
        self._socket = _connected(self.origin, self._timeout)
        self._talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._used = False
        if self._tls and self.origin.scheme == "https":
            try:
                self._socket = self._tls.wrap_socket(self._socket, server_hostname=self.origin.host)
            except BaseException:
                self.close()
                raise

    def _ask(self, ask: Ask, proof: Headers) -> "Reply":
        try:
            head = self._talk.send(self._head_of(ask, proof)) or b""
            if ask.body is None:
                self._push(head)
            try:
                if ask.body:
                    self._pour(head, ask.body)
            except (ConnectionError, TimeoutError, ssl.SSLError):
                if refused := self._told_early():
                    return refused
                raise
            self._send(h11.EndOfMessage())
            return self._reply()
        except BaseException:
            self.close()
            raise

    def _head_of(self, ask: Ask, proof: Headers) -> h11.Request:
        size = (("Content-Length", str(ask.body.size)),) if ask.body else ()
        told = (("Host", self.origin.authority), *SAID_ALWAYS, *proof, *ask.headers, *size)
        headers = [(key, value.encode("utf-8", "surrogateescape")) for key, value in told]
        return h11.Request(method=ask.method, target=ask.target, headers=headers)

    def _send(self, event: h11.Event) -> None:
        self._push(self._talk.send(event) or b"")

    def _push(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # Not sendall: its timeout is for all of data, ours for the time without progress.
            view = view[self._socket.send(view) :]

    def _pour(self, head: bytes, body: Body) -> None:
        """Send head and body, whose bytes go past h11: it is only told how many they are.

        Head and first piece go together: one call of the system, and the server wakes once.
        """
        self._talk.send_with_data_passthrough(h11.Data(data=cast(bytes, range(body.size))))
        body.file.seek(0)
        sent = 0
        while sent < body.size:
            piece = body.file.read(min(CHUNK, body.size - sent))
            if not piece:
                raise SourceChanged(f"the source became shorter: {sent} of {body.size} bytes")
            self._push(head + piece if head else piece)
            head = b""
            sent += len(piece)
            if sent > body.told:
                more, body.told = sent - body.told, sent
                tell(body.progress, more)
        self._push(head)

    def _told_early(self) -> "Reply | None":
        """The refusal of a server that did not want to hear it all, if there is one."""
        with suppress(OSError, h11.RemoteProtocolError):
            reply = self._reply()
            if reply.status >= 400:
                return reply
        return None

    def _reply(self) -> "Reply":
        """The next reply. Its head must be whole within the timeout, however slowly it drips."""
        until = time.monotonic() + self._timeout
        while True:
            event = self._talk.next_event()
            if isinstance(event, h11.Response):
                self._socket.settimeout(self._timeout)
                return Reply(self, event)
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("no reply")
            if event is h11.NEED_DATA:
                self._socket.settimeout(max(until - time.monotonic(), 0.001))
                self._talk.receive_data(self._socket.recv(CHUNK))


class Reply:
    """The answer to a request: its head, and then its bytes as they come."""

    def __init__(self, line: Line, head: h11.Response) -> None:
        """Nothing of the body has been taken yet."""
        self.status = head.status_code
        self.headers: dict[str, str] = {}
        for raw_key, raw_value in head.headers:
            key, value = raw_key.decode("ascii"), raw_value.decode("utf-8", "surrogateescape")
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value
        self._line = line
        self._is_over = False

    @property
    def length(self) -> int | None:
        """The bytes that the body has (that it would have, for HEAD), if the server tells."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isdecimal() and "transfer-encoding" not in self.headers else None

    @property
    def ends_by_hanging_up(self) -> bool:
        """Whether only the end of the connection ends the body: then nobody can tell whether it is whole."""
        return self.length is None and "transfer-encoding" not in self.headers

    @property
    def etag(self) -> str:
        """The entity tag, in its quotes; "" if there is none, or a weak one, which other bytes may have, too."""
        told = self.headers.get("etag", "")
        return told if told.startswith('"') else ""

    @property
    def tag(self) -> str:
        """The entity tag as `Facts` has it."""
        return tag_of(self.etag, self.modified_ns, self.date_ns)

    @property
    def date_ns(self) -> int | None:
        """What the server's clock says, in ns since the epoch (whole seconds), if it tells."""
        return seconds_of(self.headers.get("date", ""))

    @property
    def modified_ns(self) -> int | None:
        """When it was last modified, in ns since the epoch (whole seconds), if the server tells."""
        return seconds_of(self.headers.get("last-modified", ""))

    def demand(self, act: str, *accepted: int) -> None:
        """Raise what the status means, unless it is one of the accepted."""
        if self.status not in accepted:
            self.skip()
            raise self.refusal(act)

    def refusal(self, act: str) -> MoverError:
        """What the status means as an error; act says what was asked."""
        return refusal(self.status, act, self.headers.get("retry-after", ""))

    def pieces(self) -> Iterator[bytes]:
        """The bytes as they come. Raises (ConnectionError, h11.RemoteProtocolError) if they end too early."""
        while not self._is_over:
            event = self._line.event()
            if isinstance(event, h11.EndOfMessage):
                self._is_over = True
                self._line.finish()
            elif isinstance(event, h11.Data):
                yield event.data
            else:
                raise ConnectionResetError("the reply ended too early")

    def skip(self) -> None:
        """Leave the body; the line is kept if there is little of it. Never raises."""
        taken = 0
        with suppress(OSError, h11.RemoteProtocolError):
            for piece in self.pieces():
                taken += len(piece)
                if taken > CHUNK:
                    self.drop()
                    break

    def drop(self) -> None:
        """Leave the body by ending the line."""
        self._is_over = True
        self._line.close()


def tag_of(etag: str, modified_ns: int | None, date_ns: int | None) -> str:
    """An entity tag if no other version can have it, else "".

    Many servers (nginx) make it of size and whole seconds: then it is the next version's, too, if that follows at once.
    """
    is_fresh = modified_ns is not None and date_ns is not None and date_ns - modified_ns < FRESH_NS
    return "" if is_fresh or not etag.startswith('"') else etag


def seconds_of(date: str) -> int | None:
    """An HTTP date in ns since the epoch, or None if it is none."""
    try:
        return int(parsedate_to_datetime(date).timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        return None


def _connected(origin: Origin, timeout: float) -> socket.socket:
    """A connection to the first address that answers; all addresses together get timeout (in seconds)."""
    until = time.monotonic() + timeout
    found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        line = socket.socket(family, kind, protocol)
        try:
            line.settimeout(max((until - time.monotonic()) / left, 0.001))
            line.connect(address)
        except BaseException as error:
            line.close()
            if left == 1 or not isinstance(error, OSError):
                raise
        else:
            line.settimeout(timeout)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return line
    raise OSError("no address")


def _readable(line: socket.socket) -> bool:
    """Whether there is something to read: on an idle line that is the end of it."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    return bool(poll.poll(0))
