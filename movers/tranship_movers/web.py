"""HTTP/1.1 as `http` and `webdav` speak it: the conversation with one place, and what a status means.

`h11` knows the protocol; the socket is ours, so that every step has its deadline and bytes stream both ways.
"""

import hashlib
import re
import secrets
import select
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn, Self, cast
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import h11
from pydantic import Field, SecretStr

from tranship_movers.contract import Progress, unheard
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
    SourceChanged,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
    of_system,
    translated,
)
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place

CHUNK = 256 * 1024
"""Bytes that are sent or received at once. The kernel's sendfile was slower over loopback."""

HEAD_LIMIT = 64 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})
DEFAULT_PORTS = {"http": 80, "https": 443}
Headers = tuple[tuple[str, str], ...]
SAID_ALWAYS: Headers = (("User-Agent", "tranship"), ("Accept-Encoding", "identity;q=1, *;q=0"))


class WebOptions(MoverOptions):
    """What everything that speaks HTTP can be told."""

    login: Literal["basic", "digest"] = Field(
        default="basic", description="How user and password are proved; `digest` never sends the password."
    )
    token: SecretStr | None = Field(
        default=None, description="A bearer token, sent instead of user and password."
    )
    token_file: Path | None = Field(
        default=None, description="A file that holds the bearer token; read for every request."
    )
    ca_file: Path | None = Field(
        default=None, description="The authorities (PEM) to trust with TLS, instead of the system's."
    )
    certificate: Literal["verified", "any"] = Field(
        default="verified",
        description="`any` accepts every certificate: whoever stands between can read and change everything.",
    )


# What a status or an exception means ------------------------------------------------------------------------

STATUS: dict[int, tuple[type[MoverError], str]] = {
    202: (Temporary, "the server only promises to do it later"),
    207: (Permanent, "the server did it in part only"),
    400: (Permanent, "the server does not understand it"),
    401: (LoginRefused, "user, password or token is not accepted"),
    402: (LoginRefused, "the server wants to be paid"),
    403: (Permanent, "this is not allowed there"),
    404: (SourceGone, "there is no such name"),
    405: (Permanent, "the server does not do this there"),
    406: (Permanent, "the server has it in no form we take"),
    407: (LoginRefused, "a proxy wants a login"),
    408: (TimedOut, "the server waited too long for us"),
    409: (Permanent, "its folder is missing, or something is in the way"),
    410: (SourceGone, "it is gone for good"),
    411: (Permanent, "the server wants a length"),
    412: (Temporary, "it changed in the meantime"),
    413: (Permanent, "it is larger than the server takes"),
    414: (NameRefused, "the name is too long"),
    415: (Permanent, "the server does not take this type"),
    416: (Mangled, "it became shorter in the meantime"),
    417: (Permanent, "the server can't do what is expected"),
    421: (Temporary, "the wrong server answered"),
    422: (Permanent, "the server can't process it"),
    423: (Busy, "it is locked"),
    424: (Permanent, "something it depends on failed"),
    425: (Busy, "it came too early"),
    426: (Misconfigured, "the server wants another protocol"),
    428: (Permanent, "the server wants a condition"),
    429: (Busy, "too many requests"),
    431: (NameRefused, "name or login is too long"),
    451: (Permanent, "it is withheld for legal reasons"),
    500: (Temporary, "the server failed"),
    501: (Misconfigured, "the server can't do this at all"),
    502: (Temporary, "a gateway failed"),
    503: (Busy, "the server is overloaded or in maintenance"),
    504: (TimedOut, "a gateway waited too long"),
    505: (Misconfigured, "the server does not speak HTTP/1.1"),
    507: (NoSpace, "the place is full"),
    508: (Permanent, "the server found a loop"),
    511: (LoginRefused, "the network wants a login"),
}

CLASSES: dict[int, tuple[type[MoverError], str]] = {
    2: (Permanent, "the answer makes no sense here"),
    3: (Permanent, "it is somewhere else; put the new URL into the configuration"),
    4: (Permanent, "the server refuses"),
    5: (Temporary, "the server failed"),
}


def refusal(status: int, act: str, wait: str = "") -> MoverError:
    """The error that a status means; act says what was asked, wait is the `Retry-After` that came with it."""
    kind, meaning = STATUS.get(status) or CLASSES.get(status // 100) or CLASSES[2]
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    pause = f"; the server asks to wait {wait} s" if re.fullmatch(r"\d{1,6}", wait) else ""
    return kind(f"{act}: {meaning} ({f'{status} {phrase}'.strip()}){pause}")


FAILURES: tuple[tuple[type[Exception], type[MoverError], str], ...] = (
    (ssl.SSLCertVerificationError, HostUnproven, "its certificate is not accepted"),
    (TimeoutError, TimedOut, "nothing came or went for too long"),
    (ssl.SSLError, Unreachable, "TLS failed"),
    (socket.gaierror, Unreachable, "its name is not known"),
    (ConnectionRefusedError, Unreachable, "the connection was refused"),
    (ConnectionError, Unreachable, "the line was cut"),
    (h11.RemoteProtocolError, Unreachable, "the answer was cut, or is not HTTP"),
    (OSError, Unreachable, "the network failed"),
    (UnicodeError, Misconfigured, "its name is no host name"),
)


def failure(error: Exception) -> MoverError | None:
    """The error that an exception of the network means, or None if it is none."""
    for kind, ours, meaning in FAILURES:
        if isinstance(error, kind):
            detail = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
            return ours(f"{meaning}: {detail}" if detail else meaning)
    return None


@contextmanager
def on_our_side(file: Path, absent: type[MoverError]) -> Iterator[None]:
    """Translate what our own system says of file, so that it is not taken for the network's words."""
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(file), absent=absent) from error


class BrokenOff(Exception):
    """Carries what progress raised past everything that translates or repeats."""

    def __init__(self, error: Exception) -> None:
        """Carry error."""
        super().__init__()
        self.error = error


def tell(progress: Progress, size: int) -> None:
    """Tell progress of size bytes."""
    try:
        progress(size)
    except Exception as error:
        raise BrokenOff(error) from error


# The conversation -------------------------------------------------------------------------------------------


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


class Web:
    """The conversation with one place over HTTP: who we are there, and where redirects lead."""

    def __init__(self, place: Place, options: WebOptions, *, redirects: int = 0) -> None:
        """Connect to place. So many redirects are followed, for reading only."""
        self._place = place
        self._options = options
        self._redirects = redirects
        self._timeout = max(options.timeout.total_seconds(), 0.001)
        self._challenge: Challenge | None = None
        self._abroad: Line | None = None
        self._closed = False
        self._tls: ssl.SSLContext | None = None
        scheme = "https" if place.scheme in ("https", "webdavs") else "http"
        self.home = Origin(scheme, place.host, place.port or DEFAULT_PORTS[scheme])
        with self.translated():
            self._line = self._opened(self.home)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What the network raises inside comes out as one of our errors; what progress raises, as it is."""
        try:
            with translated(str(self._place), failure):
                yield
        except BrokenOff as carrier:
            raise carrier.error from None

    def target(self, name: str, *, tail: str = "") -> str:
        """The request target of name, percent-encoded, with the query of the place."""
        path = quoted(name) + tail
        return f"{path}?{self._place.query}" if self._place.query else path

    def ask(self, ask: Ask) -> "Reply":
        """Ask, and give the reply, whatever its status; redirects are followed for GET and HEAD."""
        origin, followed = self.home, 0
        for _ in range(self._redirects + 3):
            reply = self._line_to(origin).ask(ask, self._proof(origin, ask))
            if reply.status == 401 and origin == self.home and self._learns(reply):
                reply.skip()
            elif reply.status in REDIRECTS and ask.method in ("GET", "HEAD") and "location" in reply.headers:
                reply.skip()
                if followed == self._redirects:
                    raise Permanent(f"{ask.method}: more than {followed} redirects")
                followed += 1
                origin, target = led(origin, ask.target, reply.headers["location"])
                ask = replace(ask, target=target)
            else:
                return reply
        raise LoginRefused("the server wants a new proof again and again")

    def refuse(self, reason: str) -> NoReturn:
        """Say that this place can't do what was asked."""
        raise Misconfigured(reason, where=str(self._place))

    def alive(self) -> bool:
        """Whether the place still answers, on a new line if the old one ended."""
        if self._closed:
            return False
        try:
            with self.translated():
                reply = self.ask(Ask("OPTIONS", self.target(self._place.path)))
                reply.skip()
                return reply.status < 500
        except MoverError:
            return False

    def close(self) -> None:
        """End every line."""
        self._closed = True
        self._line.close()
        if self._abroad:
            self._abroad.close()

    def _line_to(self, origin: Origin) -> "Line":
        if origin == self.home:
            return self._line
        if self._abroad is None or self._abroad.origin != origin:
            if self._abroad:
                self._abroad.close()
            self._abroad = self._opened(origin)
        return self._abroad

    def _opened(self, origin: Origin) -> "Line":
        if origin.scheme == "https" and self._tls is None:
            self._tls = _trust(self._options)
        return Line(origin, self._timeout, self._tls)

    def _proof(self, origin: Origin, ask: Ask) -> Headers:
        """The Authorization header, for the place itself only: another host gets none."""
        if origin != self.home:
            return ()
        if token := self._token():
            return (("Authorization", f"Bearer {token}"),)
        user, secret = self._place.user, self._place.password
        if not user and secret is None:
            return ()
        password = secret.get_secret_value() if secret else ""
        if self._options.login == "basic":
            return (("Authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode()),)
        if self._challenge is None:
            return ()
        return (("Authorization", self._challenge.answer(user, password, ask.method, ask.target)),)

    def _token(self) -> str:
        token = self._options.token.get_secret_value() if self._options.token else ""
        if self._options.token_file:
            try:
                token = self._options.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError):
                raise Misconfigured(f"`token_file` {self._options.token_file} can't be read") from None
        if not re.fullmatch(r"[\x21-\x7e]*", token):
            raise Misconfigured("the bearer token holds characters that no token has")
        return token

    def _learns(self, reply: "Reply") -> bool:
        """Whether a refusal brings a digest challenge that we have not failed yet."""
        if self._options.login != "digest" or self._options.token or self._options.token_file:
            return False
        told = Challenge.of(reply.headers.get("www-authenticate", ""))
        worth = told is not None and (self._challenge is None or told.stale)
        self._challenge = told or self._challenge
        return worth


def quoted(name: str) -> str:
    """The path of name in a URL. Raises NameRefused for a name that a server would take for another one."""
    parts = name.strip("/").split("/")
    if any(part in (".", "..") for part in parts) or (len(parts) > 1 and "" in parts) or "\0" in name:
        raise NameRefused(f"{name!r} is no plain name")
    return "/" + quote("/".join(parts).encode("utf-8", "surrogateescape"), safe="/")


def _trust(options: WebOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError:
        raise Misconfigured(f"`ca_file` {options.ca_file} holds no certificates") from None
    if options.certificate == "any":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def led(origin: Origin, target: str, location: str) -> tuple[Origin, str]:
    """Where a redirect leads: never from TLS to plain text, never with credentials that it brings along."""
    try:
        url = urlsplit(urljoin(f"{origin}{target}", location))
        there = Origin(url.scheme, url.hostname or "", url.port or DEFAULT_PORTS.get(url.scheme, 0))
    except ValueError:
        raise Permanent("a redirect leads nowhere") from None
    if there.scheme not in DEFAULT_PORTS or not there.host:
        raise Permanent("a redirect leads away from HTTP, which is not followed")
    if origin.scheme == "https" and there.scheme == "http":
        raise Permanent("a redirect leads from TLS to plain text, which is not followed")
    path = quote(url.path or "/", safe="/%!$&'()*+,;=:@~")
    query = quote(url.query, safe="/%!$&'()*+,;=:@~?")
    return there, f"{path}?{query}" if query else path


@dataclass(slots=True)
class Challenge:
    """A digest challenge of a server (RFC 7616, qop=auth), and how often it was answered."""

    realm: str
    nonce: str
    algorithm: str
    opaque: str
    qop: str
    stale: bool
    answered: int = 0

    @classmethod
    def of(cls, header: str) -> Self | None:
        """The challenge in a WWW-Authenticate header, or None if it has none that we can answer."""
        match = DIGEST.search(header)
        if match is None:
            return None
        told = parse_keqv_list([pair for pair in parse_http_list(match[1]) if "=" in pair])
        algorithm = told.get("algorithm", "MD5").upper()
        offered = [word.strip() for word in told.get("qop", "").split(",")]
        if algorithm not in DIGESTS or "nonce" not in told or (offered != [""] and "auth" not in offered):
            return None
        return cls(
            realm=told.get("realm", ""),
            nonce=told["nonce"],
            algorithm=algorithm,
            opaque=told.get("opaque", ""),
            qop="auth" if "auth" in offered else "",
            stale=told.get("stale", "").lower() == "true",
        )

    def answer(self, user: str, password: str, method: str, target: str) -> str:
        """The Authorization header that proves user and password without showing them."""
        self.answered += 1
        count, ours = f"{self.answered:08x}", secrets.token_hex(16)
        login = self._hash(f"{user}:{self.realm}:{password}")
        middle = f"{self.nonce}:{count}:{ours}:{self.qop}" if self.qop else self.nonce
        proof = self._hash(f"{login}:{middle}:{self._hash(f'{method}:{target}')}")
        words = {"username": user, "realm": self.realm, "nonce": self.nonce, "uri": target, "response": proof}
        if self.opaque:
            words["opaque"] = self.opaque
        told = [f'{key}="{_escaped(value)}"' for key, value in words.items()] + [
            f"algorithm={self.algorithm}"
        ]
        if self.qop:
            told += [f"qop={self.qop}", f"nc={count}", f'cnonce="{ours}"']
        return "Digest " + ", ".join(told)

    def _hash(self, text: str) -> str:
        return hashlib.new(
            DIGESTS[self.algorithm], text.encode("utf-8", "surrogateescape"), usedforsecurity=False
        ).hexdigest()


DIGEST = re.compile(r"\bDigest\s+(.*?)(?:,\s*(?:Basic|Bearer|Negotiate|NTLM|Digest)\b|$)", re.I | re.S)
DIGESTS = {"MD5": "md5", "SHA-256": "sha256"}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# One line ---------------------------------------------------------------------------------------------------


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
            self._send(self._head_of(ask, proof))
            try:
                if ask.body:
                    self._pour(ask.body)
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

    def _pour(self, body: Body) -> None:
        """Send the bytes of body past h11, which is only told how many they are."""
        self._talk.send_with_data_passthrough(h11.Data(data=cast(bytes, range(body.size))))
        body.file.seek(0)
        sent = 0
        while sent < body.size:
            piece = body.file.read(min(CHUNK, body.size - sent))
            if not piece:
                raise SourceChanged(f"the source became shorter: {sent} of {body.size} bytes")
            self._push(piece)
            sent += len(piece)
            if sent > body.told:
                more, body.told = sent - body.told, sent
                tell(body.progress, more)

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
