"""Which destinations a request may name: a list of URL patterns, nothing by default.

    file:///data/out/**              anything below /data/out
    sftp://archive.example/in/*/     one folder deep
    ftp://*.example/incoming/**      any host of that domain

`*` stands for anything inside one part (of the host, or between two `/`), `**` for any number of parts. A pattern
without a user allows any user; without a port, the protocol's own. For `file` the host means nothing.
"""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

EVERYTHING = "**"
"""The pattern of legacy configurations, whose destinations were never limited."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The destinations that may be asked for."""

    patterns: Sequence[str]

    def __call__(self, url: str) -> bool:
        """Whether the destination url (credentials don't matter) is one of them."""
        if EVERYTHING in self.patterns:
            return True
        place = _plain(url)
        return place is not None and any(_expression(pattern).fullmatch(place) for pattern in self.patterns)


def _plain(url: str) -> str | None:
    """scheme://user@host:port/path with the path resolved; None for what can't be judged."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = (parts.scheme or "file").lower()
    path = unquote(parts.path)
    if "\0" in path or ".." in path.split("/"):
        return None
    folder = "/" if path.endswith("/") else ""
    path = posixpath.normpath("/" + path.lstrip("/")).rstrip("/") + folder
    if scheme == "file":
        return f"file://{path}"
    host = (parts.hostname or "") + (f":{port}" if port else "")
    return f"{scheme}://{parts.username or ''}@{host}{path}"


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    scheme, _, rest = pattern.partition("://")
    host, slash, path = rest.partition("/")
    if scheme.lower() == "file":
        host = ""
    elif "@" not in host:
        host = "\1@" + host
    return re.compile(f"{re.escape(scheme.lower())}://" + _glob(host) + _path(slash + path))


def _path(pattern: str) -> str:
    if pattern.endswith("/**"):  # the folder itself and everything below it
        return _glob(pattern[:-3]) + "(?:/.*)?"
    return _glob(pattern)


def _glob(pattern: str) -> str:
    words = {"**": ".*", "*": "[^/@:]*", "\1": "[^@/]*"}
    parts = re.split(r"(\*\*|\*|\x01)", pattern)
    return "".join(words.get(part, re.escape(part)) for part in parts)
