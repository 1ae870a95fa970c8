"""Origin patterns: which files a chain is about, and what their names say (trollsift's pattern language).

    /in/{platform}_{orbit:05d}/{name}.h5

is watched below `root`, the last folder without fields (/in); the folders below may hold fields.
"""

import os
import re
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
        # fields don't span folders
        wild = {"*": "[^/]*", "?": "[^/]"}
        shape = "".join(wild.get(letter, re.escape(letter)) for letter in globify(self.pattern))
        self._shape = re.compile(shape, re.DOTALL).fullmatch
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
        if self._shape(path) is None:
            return None
        try:
            found: dict[str, Any] = self._parser.parse(path)
        except ValueError:
            return None
        return found
