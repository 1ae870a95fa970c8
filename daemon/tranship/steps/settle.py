"""settle: whether a file is complete. Nothing goes before its rule holds.

An empty file is not complete, whatever the rule: it is looked at again when it is written to, and by every scan;
after `empty_after`, if that is set, it goes as it is.
"""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from tranship.core.clock import Clock
from tranship.core.values import Sighting

QUIET = timedelta(seconds=2)
"""A file that only a scan has found counts as closed when it was unchanged for this long."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Complete when its writer has closed it, or when it was renamed in."""


@dataclass(frozen=True, slots=True)
class Stable:
    """Complete when size and modification time have not changed for this long."""

    unchanged: timedelta


@dataclass(frozen=True, slots=True)
class Companion:
    """Complete when another file is there, whose name is made from its own: "{name}.ok"."""

    pattern: str

    def name_for(self, name: str) -> str:
        """The companion's name for the file called name, in the same folder."""
        return self.pattern.format(name=name, stem=name.rpartition(".")[0] or name)


Completeness = Closed | Stable | Companion


@dataclass(slots=True)
class _Watched:
    size: int
    mtime_ns: int
    detected: float
    since: float
    due: float


@dataclass(slots=True)
class Settle:
    """Judges the files of one chain (those that it is `about`).

    Blocking (it looks at files): to be called from one worker at a time. Times are the clock's.
    """

    rule: Completeness
    empty_after: timedelta | None
    about: Callable[[str], bool]
    clock: Clock
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _companions: dict[str, str] = field(default_factory=dict)

    def closed(self, paths: Iterable[str]) -> list[Sighting]:
        """Of the files at paths, which were closed or moved in, those that are complete; the others are watched."""
        mains = dict.fromkeys(self._companions.get(path, path) for path in paths)
        return self._look(mains, closed=isinstance(self.rule, Closed))

    def found(self, paths: Iterable[str]) -> list[Sighting]:
        """Likewise of files that a scan has found."""
        return self._look(paths, closed=False)

    def due(self) -> list[Sighting]:
        """The watched files whose time has come, as far as they are complete now."""
        now = self.clock.monotonic()
        return self._look(
            [path for path, watched in self._watched.items() if watched.due <= now], closed=False
        )

    def next_due(self) -> float | None:
        """Seconds until the next watched file's time comes; None if none is watched."""
        if not self._watched:
            return None
        return max(0.0, min(watched.due for watched in self._watched.values()) - self.clock.monotonic())

    def _look(self, paths: Iterable[str], *, closed: bool) -> list[Sighting]:
        complete = []
        for path in paths:
            if not self.about(path):
                continue
            try:
                facts = os.stat(path)
            except OSError:
                self._forget(path)  # gone again, or not for us to see: the scan will say
                continue
            if not stat.S_ISREG(facts.st_mode):
                continue
            watched = self._watched.get(path)
            detected = watched.detected if watched else self.clock.now()
            if self._ready(path, facts, closed=closed):
                self._forget(path)
                complete.append(Sighting(path, facts.st_size, facts.st_mtime_ns, detected))
        return complete

    def _ready(self, path: str, facts: os.stat_result, *, closed: bool) -> bool:
        if facts.st_size == 0:
            return self._empty_long_enough(path, facts)
        match self.rule:
            case Companion() as rule:
                folder, name = os.path.split(path)
                companion = os.path.join(folder, rule.name_for(name))
                self._companions[companion] = path
                return os.path.lexists(companion)
            case Stable(unchanged):
                return self._unchanged_for(unchanged, path, facts)
            case Closed():
                # An old file that a scan finds was closed before anybody watched; a young one is when it is old.
                age = self._age(facts)
                return (
                    closed
                    or age >= QUIET.total_seconds()
                    or self._unchanged_for(QUIET, path, facts, before=max(0.0, age))
                )

    def _unchanged_for(
        self, time: timedelta, path: str, facts: os.stat_result, *, before: float = 0.0
    ) -> bool:
        """Whether it is unchanged for this time; so many seconds before the first look count, too."""
        now = self.clock.monotonic()
        watched = self._watched.get(path)
        if watched is None or (watched.size, watched.mtime_ns) != (facts.st_size, facts.st_mtime_ns):
            detected = watched.detected if watched else self.clock.now()
            watched = _Watched(facts.st_size, facts.st_mtime_ns, detected, now - before, 0.0)
            self._watched[path] = watched
        watched.due = watched.since + time.total_seconds()
        return watched.due <= now

    def _empty_long_enough(self, path: str, facts: os.stat_result) -> bool:
        if self.empty_after is None:
            self._forget(path)
            return False
        now, watched = self.clock.monotonic(), self._watched.get(path)
        if watched is None or (watched.size, watched.mtime_ns) != (0, facts.st_mtime_ns):
            watched = self._watched[path] = _Watched(0, facts.st_mtime_ns, self.clock.now(), now, now)
        # Its modification time may lie in the future, where another host's clock has put it.
        age = max(self._age(facts), now - watched.since)
        watched.due = now + max(0.0, self.empty_after.total_seconds() - age)
        return watched.due <= now

    def _age(self, facts: os.stat_result) -> float:
        return self.clock.now() - facts.st_mtime

    def _forget(self, path: str) -> None:
        self._watched.pop(path, None)
        if isinstance(self.rule, Companion):
            folder, name = os.path.split(path)
            self._companions.pop(os.path.join(folder, self.rule.name_for(name)), None)
