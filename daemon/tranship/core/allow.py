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
from urllib.parse import quote, unquote

from tranship_movers.place import Place

EVERYTHING = "**"
"""The pattern of legacy configurations, whose destinations were never limited."""
EVERY_FILE = "file:///**"
"""The same, of the files of this host that messages name."""


_LONGEST = 4096
_LONGEST_PART = 1024
"""Characters of a path, and of what stands between two `/`: nobody can write to longer ones."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The destinations that may be asked for."""

    patterns: Sequence[str]

    def __call__(self, place: Place) -> bool:
        """Whether place (its password doesn't matter) is one of them.

        It is judged as it was taken apart for the mover: two readers of one URL need not read the same in it.
        """
        if EVERYTHING in self.patterns:
            return True
        told = _plain(place)
        return told is not None and any(_expression(pattern).fullmatch(told) for pattern in self.patterns)


def _plain(place: Place) -> str | None:
    """scheme://user@host:port/path with the path resolved; None for what can't be judged."""
    parts = place.path.split("/")
    if (
        "\0" in place.path
        or ".." in parts
        or len(place.path) > _LONGEST
        or max(map(len, parts)) > _LONGEST_PART
    ):
        return None
    folder = "/" if place.path.endswith("/") else ""
    path = posixpath.normpath("/" + place.path.lstrip("/")).rstrip("/") + folder
    if place.scheme == "file":
        return f"file://{path}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    port = f":{place.port}" if place.port else ""
    return f"{place.scheme}://{quote(place.user, safe='')}@{host.lower()}{port}{path}"


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    scheme, _, rest = pattern.partition("://")
    host, slash, path = rest.partition("/")
    user, _, host = host.rpartition("@") if "@" in host else ("\1", "@", host)
    user, host = quote(unquote(user), safe="*\1"), host.lower()
    host = "" if scheme.lower() == "file" else f"{user}@{host}"
    return re.compile(f"{re.escape(scheme.lower())}://" + _glob(host) + _path(slash + path))


def _path(pattern: str) -> str:
    if pattern.endswith("/**"):  # the folder itself and everything below it
        return _glob(pattern[:-3]) + "(?:/.*)?"
    return _glob(pattern)


def _glob(pattern: str) -> str:
    """The expression of a pattern. What lies between two `**` is taken where it is first found, and never elsewhere.

    That finds all there is to find, as the second `**` takes whatever follows; it is what keeps a long URL from
    being tried in more ways than anybody can wait for.
    """
    first, *others = pattern.split("**")
    middle = "".join(f"(?>.*?{_part(part)})" for part in others[:-1])
    return _part(first) + middle + "".join(f".*{_part(part)}" for part in others[-1:])


def _part(pattern: str) -> str:
    words = {"*": "[^/@:]*?", "\1": "[^@/]*"}
    return "".join(words.get(part, re.escape(part)) for part in re.split(r"(\*|\x01)", pattern))
