"""reach: which files of this host messages may name. Whoever can publish would have any of them sent on, otherwise.

A path is judged as it is written, and then as the links on its way lead: both must be allowed. Links of the allowed
folders' own names are the configuration's (/data may be one to /mnt/data), those below them are whoever's.
"""

import os
from collections.abc import Sequence

from tranship.core.allow import Allowed
from tranship.core.clock import Clock
from tranship_movers.place import Place

REMEMBERED = 1.0
"""Seconds for which it is remembered where a folder's links lead: a burst of files costs one look."""

_MOST = 1000


class Reach:
    """The files of this host that fit patterns (file:///…), by their real paths, too."""

    def __init__(self, patterns: Sequence[str], clock: Clock) -> None:
        """Nothing is looked at yet."""
        self._patterns = patterns
        self._allowed = Allowed(patterns)
        self._clock = clock
        self._folders: dict[str, tuple[str, float]] = {}

    def unnamed(self, path: str) -> str:
        """Why a message may not name path (full, without `..`), as it is written; "" if it may. Looks at no file."""
        if self._allowed(Place("file", path=path)):
            return ""
        return f"{path} is not allowed; add it to `allow`, if that message may name it"

    def __call__(self, path: str) -> str:
        """Why the file at path may not be sent on for a message; "" if it may. Blocking."""
        if reason := self.unnamed(path):
            return reason
        real = self._real(path)
        if real == path or self._leads_inside(Place("file", path=real)):
            return ""
        return f"{path} leads by a link to {real}, which is not allowed; add that to `allow`, if it is meant"

    def _real(self, path: str) -> str:
        """Path without links. One look at the file; at its folder, once in a while."""
        folder, name = os.path.split(path)
        now = self._clock.monotonic()
        known, until = self._folders.get(folder, ("", 0.0))
        if now >= until:
            if len(self._folders) >= _MOST:
                self._folders.clear()
            known = os.path.realpath(folder)
            self._folders[folder] = known, now + REMEMBERED
        return os.path.realpath(path) if os.path.islink(path) else os.path.join(known, name)

    def _leads_inside(self, real: Place) -> bool:
        return self._allowed(real) or Allowed([_as_it_lies(pattern) for pattern in self._patterns])(real)


def _as_it_lies(pattern: str) -> str:
    """The pattern with the links resolved of the folders that it names before its first `*`."""
    path = "/" + pattern.partition("://")[2].partition("/")[2]
    folder = path.partition("*")[0].rpartition("/")[0]
    return f"file://{os.path.realpath(folder or '/').rstrip('/')}{path.removeprefix(folder)}"
