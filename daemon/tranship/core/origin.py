"""Origin patterns: which files a chain is about, and what their names say (trollsift's pattern language).

    /in/{platform}_{orbit:05d}/{name}.h5

is watched below `root`, the last folder without fields (/in); the folders below may hold fields.
"""

import math
import os
import re
from collections import Counter
from typing import Any

from trollsift import Parser, globify


class Origin:
    """A pattern with a full path. Raises ValueError, with the reason, if it is none."""

    def __init__(self, pattern: str) -> None:
        """Read the pattern."""
        if not os.path.isabs(pattern):
            raise ValueError(f"origin {pattern!r} is no full path; begin it with /")
        self.pattern = os.path.normpath(pattern)
        self._parser = Parser(self.pattern)
        shape = "/".join(map(_shape_of, globify(self.pattern).split("/")))  # fields don't span folders
        self._shape = re.compile(shape, re.DOTALL).fullmatch
        between = globify(os.path.basename(self.pattern)).split("*")[1:-1]
        self._separators = Counter(max(part.split("?"), key=len) for part in between)
        folders = self.pattern.split("/")[1:-1]
        fixed = next((n for n, folder in enumerate(folders) if "{" in folder or "*" in folder), len(folders))
        self.root = "/" + "/".join(folders[:fixed])
        self.depth = len(folders) - fixed
        """How many folders below root a file lies."""

    def covers(self, path: str) -> bool:
        """Whether path has the pattern's shape (cheap; `fields` is the judge)."""
        return self._shape(path) is not None

    def fields(self, path: str) -> dict[str, Any] | None:
        """What the pattern's fields say about path; None if it does not match."""
        if self._shape(path) is None or self._ways(os.path.basename(path)) > _MOST_WAYS:
            return None
        try:
            found: dict[str, Any] = self._parser.parse(path)
        except ValueError:
            return None
        return found

    def _ways(self, name: str) -> int:
        """In how many ways, at most, the parser may try to take name apart."""
        if len(name) < _SHORT:
            return 1
        return math.prod(math.comb(_count(text, name), count) for text, count in self._separators.items())


_SHORT = 64
_MOST_WAYS = 1_000_000
"""Half a second of work for the parser, for which all else waits. Real names have thousands."""


def _count(text: str, name: str) -> int:
    """How often text stands in name, overlapping itself or not."""
    return sum(name.startswith(text, at) for at in range(len(name)))


def _shape_of(name: str) -> str:
    """The expression of a name with `*` and `?`. What lies between two `*` is taken where it is first found.

    That finds all there is to find, and keeps a name like ______ from being tried in more ways than there is time for.
    """
    first, *others = ["".join("[^/]" if c == "?" else re.escape(c) for c in part) for part in name.split("*")]
    middle = "".join(f"(?>[^/]*?{part})" for part in others[:-1])
    return first + middle + "".join(f"[^/]*{part}" for part in others[-1:])
