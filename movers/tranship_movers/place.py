"""Where files go to or come from: one URL, taken apart once."""

import os
import re
import socket
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import quote, unquote

from pydantic import SecretStr

from tranship_movers.errors import Misconfigured, NameRefused

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_ONE_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
_NO_HOST = re.compile(r"[\s/?#@\\]")
_QUERIED = frozenset({"http", "https", "webdav", "webdavs"})
"""Schemes in which `?` starts a query and `#` a fragment; elsewhere both are plain characters of a path."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place, and a path there.

    Neither `str` nor `repr` nor any error shows user, password or query (which may hold a token). The path is
    absolute and not percent-encoded. With a trailing slash it is a folder, in which a source keeps its name;
    without one it is the new name itself (see `name_for`).
    """

    scheme: str
    host: str = ""
    path: str = "/"
    port: int | None = None
    user: str = field(default="", repr=False)
    password: SecretStr | None = field(default=None, repr=False)
    query: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take url apart; a bare path (relative to the working directory, if it is) is a `file` place.

        User, password and path of a URL are percent-decoded; a bare path is taken as it is.
        Raises Misconfigured, which names url without its credentials.
        """
        _refuse_control(url, url)
        if match := _URL.fullmatch(url):
            return cls._of_url(url, match["scheme"].lower(), match["rest"])
        if url[:5].lower() == "file:":
            return cls("file", path=_absolute(unquote(url[5:])))
        if not url or _ONE_SLASH.match(url):
            raise Misconfigured("is neither a path nor a URL (scheme://host/path)", where=shown(url))
        return cls("file", path=_absolute(url))

    @classmethod
    def _of_url(cls, url: str, scheme: str, rest: str) -> Self:
        authority, slash, path = rest.partition("/")
        path, query = _path_and_query(scheme, slash + path)
        login, _, address = authority.rpartition("@")
        user, colon, password = login.partition(":")
        host, port = _host_and_port(url, address)
        if not host and (login or scheme in _QUERIED):
            raise Misconfigured("names no host", where=shown(url))
        place = cls(
            scheme=scheme,
            host="" if scheme == "file" and host == "localhost" else host,
            path=unquote(path) or "/",
            port=port,
            user=unquote(user),
            password=SecretStr(unquote(password)) if colon else None,
            query=query,
        )
        _refuse_control(url, place.host + place.path + place.user + unquote(password))
        return place

    def __str__(self) -> str:
        """The URL without user, password and query; `parse` reads it back."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        path = self.path.replace("%", "%25")
        if self.scheme in _QUERIED:
            path = path.replace("?", "%3F").replace("#", "%23")
        return f"{self.scheme}://{host}{port}{path}"

    def at(self, path: str) -> Self:
        """The same place with another path (absolute, not percent-encoded)."""
        return replace(self, path=path)

    def below(self, relative: str) -> Self:
        """The same place with the path relative appended to its path; a trailing slash of relative counts.

        Raises NameRefused if relative is absolute or climbs (`..`).
        """
        return self.at(f"{self.path.rstrip('/')}/{_inside(relative, self)}")

    def name_for(self, name: str) -> str:
        """The full name here of a source that is called name (relative, `/`-separated).

        A path with a trailing slash keeps the name, one without is the new name, on every protocol. Only
        where it is an existing directory of this machine, the name is kept too.
        Raises NameRefused if name is absolute or climbs (`..`).
        """
        if self.path.endswith("/"):
            return self.path + _inside(name, self)
        if self.scheme == "file" and os.path.isdir(self.path):
            return f"{self.path}/{_inside(name, self)}"
        return self.path

    @property
    def passwordless(self) -> str:
        """The URL with the user, but without password and query; `parse` reads it back."""
        scheme, _, rest = str(self).partition("://")
        return f"{scheme}://{quote(self.user, safe='')}@{rest}" if self.user else str(self)

    @property
    def is_local(self) -> bool:
        """Whether this is the file system of this machine."""
        return self.scheme == "file" and self.host.lower() in ("", "localhost", socket.gethostname().lower())


def shown(url: str) -> str:
    """What may be shown of a URL that may be no valid one: no user, password, port or query. Never raises."""
    match = _URL.fullmatch(url) or re.fullmatch(
        r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/(?P<rest>.*)", url, re.DOTALL
    )
    if match is None:
        return repr(url)
    # Whatever stands before the last @ may be part of a password that is not percent-encoded.
    address, slash, path = match["rest"].rpartition("@")[2].partition("/")
    if match["scheme"].lower() in _QUERIED:
        path = re.split("[?#]", path)[0]
    host = re.sub(r":[^\]]*$", "", address) if not address.endswith("]") else address
    return f"{match['scheme']}://{host}{slash}{path}"


def _absolute(path: str) -> str:
    if path.startswith("/"):
        return "/" + path.lstrip("/") if path.startswith("//") else path
    slash = "/" if path.endswith("/") or path in ("", ".", "..") else ""
    return os.path.abspath(path).rstrip("/") + slash or "/"


def _path_and_query(scheme: str, path: str) -> tuple[str, str]:
    if scheme not in _QUERIED:
        return path, ""
    path, _, query = path.partition("#")[0].partition("?")
    return path, query


def _host_and_port(url: str, address: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]]+)?)\]|([^\[\]:]*))(?::(\d{0,5}))?", address)
    if match is None:
        raise Misconfigured("names no valid host and port", where=shown(url))
    port = int(match[3]) if match[3] else None
    if port is not None and not 0 < port < 65536:
        raise Misconfigured("names a port outside 1 to 65535", where=shown(url))
    host = unquote(match[1] or match[2] or "")
    if _NO_HOST.search(host):
        raise Misconfigured("names no valid host and port", where=shown(url))
    return host, port


def _refuse_control(url: str, text: str) -> None:
    # A line feed in a path would be a second command to an FTP server.
    if any(letter in text for letter in "\0\r\n"):
        raise Misconfigured("holds a NUL or a line break", where=re.sub(r"[\0\r\n]", "?", shown(url)))


def _inside(name: str, place: Place) -> str:
    if not name or name.startswith("/") or ".." in name.split("/") or any(c in name for c in "\0\r\n"):
        raise NameRefused(f"{name!r} is no name inside a folder", where=str(place))
    return name
