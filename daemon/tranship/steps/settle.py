"""settle: whether a file is complete. Nothing goes before its rule holds.

An empty file is not complete, whatever the rule: it is looked at again when it is written to, and by every scan;
after `empty_after`, if that is set, it goes as it is.
"""

import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tranship.core.clock import Clock
from tranship.core.values import Sighting

QUIET = timedelta(seconds=2)
"""A file that only a scan has found counts as closed when it was unchanged for this long, and nobody writes."""

UNTOLD = timedelta(seconds=60)
"""The same, where the kernel would have told of its closing: then it is most likely still open."""

FORGOTTEN = timedelta(minutes=10)
"""Who holds a file open and has not written for this long is waited for no more."""


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
    quiet: timedelta


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
        return self._look(dict.fromkeys(mains, timedelta(0) if isinstance(self.rule, Closed) else QUIET))

    def found(self, paths: Iterable[str], quiet: timedelta = QUIET) -> list[Sighting]:
        """Likewise of files that a scan has found; with `closed`, they are complete when quiet for so long."""
        return self._look(dict.fromkeys(paths, quiet))

    def due(self) -> list[Sighting]:
        """The watched files whose time has come, as far as they are complete now."""
        now = self.clock.monotonic()
        return self._look(
            {path: watched.quiet for path, watched in self._watched.items() if watched.due <= now}
        )

    def next_due(self) -> float | None:
        """Seconds until the next watched file's time comes; None if none is watched."""
        if not self._watched:
            return None
        return max(0.0, min(watched.due for watched in self._watched.values()) - self.clock.monotonic())

    def _look(self, paths: Mapping[str, timedelta]) -> list[Sighting]:
        """Those of paths that are complete; each was closed (0), or has to be quiet for its time."""
        complete = []
        for path, quiet in paths.items():
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
            if self._ready(path, facts, quiet):
                self._forget(path)
                complete.append(Sighting(path, facts.st_size, facts.st_mtime_ns, detected))
        return complete

    def _ready(self, path: str, facts: os.stat_result, quiet: timedelta) -> bool:
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
                return not quiet or self._left_alone(quiet, path, facts)

    def _left_alone(self, quiet: timedelta, path: str, facts: os.stat_result) -> bool:
        """Whether a file of whose closing nobody was told was quiet for so long, and nobody has it open to write."""
        # An old file was closed before anybody watched; a young one is when it is old.
        known, age = self._watched.get(path), self._age(facts)
        quiet = min(quiet, known.quiet) if known else quiet
        if age < quiet.total_seconds() and not self._unchanged_for(quiet, path, facts, before=max(0.0, age)):
            return False
        if age >= FORGOTTEN.total_seconds() or not _is_held(path):
            return True
        self._watch(path, facts, quiet).due = self.clock.monotonic() + QUIET.total_seconds()
        return False

    def _unchanged_for(
        self, time: timedelta, path: str, facts: os.stat_result, *, before: float = 0.0
    ) -> bool:
        """Whether it is unchanged for this time; so many seconds before the first look count, too."""
        watched = self._watch(path, facts, time, before)
        watched.due = watched.since + time.total_seconds()
        return watched.due <= self.clock.monotonic()

    def _watch(self, path: str, facts: os.stat_result, quiet: timedelta, before: float = 0.0) -> _Watched:
        """What is known of a file that is not complete; anew, if it has changed."""
        watched = self._watched.get(path)
        if watched is None or (watched.size, watched.mtime_ns) != (facts.st_size, facts.st_mtime_ns):
            detected = watched.detected if watched else self.clock.now()
            since = self.clock.monotonic() - before
            watched = _Watched(facts.st_size, facts.st_mtime_ns, detected, since, 0.0, quiet)
            self._watched[path] = watched
        watched.quiet = quiet
        return watched

    def _empty_long_enough(self, path: str, facts: os.stat_result) -> bool:
        if self.empty_after is None:
            self._forget(path)
            return False
        now, watched = self.clock.monotonic(), self._watched.get(path)
        if watched is None or (watched.size, watched.mtime_ns) != (0, facts.st_mtime_ns):
            watched = self._watched[path] = _Watched(0, facts.st_mtime_ns, self.clock.now(), now, now, QUIET)
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


def _is_held(path: str) -> bool:
    """Whether somebody has it open to write, as far as that can be known: by who owns it, on a local file system.

    The kernel gives a read lease on a file only while nobody writes. It is given back at once; should a writer come
    in between, the kernel sends the signal that nobody minds.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(opened, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # another's file, or a file system without leases
    finally:
        os.close(opened)
    return False
