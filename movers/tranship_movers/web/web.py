"""The conversation with one place over HTTP: who we are there, and where redirects lead."""

import re
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn
from urllib.parse import quote, urljoin, urlsplit

from tranship_movers.errors import (
    LoginRefused,
    Misconfigured,
    MoverError,
    NameRefused,
    Permanent,
    translated,
)
from tranship_movers.place import Place
from tranship_movers.web.digest import Challenge
from tranship_movers.web.line import DEFAULT_PORTS, Ask, Headers, Line, Origin, Reply
from tranship_movers.web.meanings import BrokenOff, failure
from tranship_movers.web.options import WebOptions, trust

REDIRECTS = frozenset({301, 302, 303, 307, 308})


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

    def ask(self, ask: Ask) -> Reply:
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

    def _line_to(self, origin: Origin) -> Line:
        if origin == self.home:
            return self._line
        if self._abroad is None or self._abroad.origin != origin:
            if self._abroad:
                self._abroad.close()
            self._abroad = self._opened(origin)
        return self._abroad

    def _opened(self, origin: Origin) -> Line:
        if origin.scheme == "https" and self._tls is None:
            self._tls = trust(self._options)
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

    def _learns(self, reply: Reply) -> bool:
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
