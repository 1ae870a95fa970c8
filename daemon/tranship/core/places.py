"""Failing places: which are paused and why, when each is probed, when it goes on.

                 a failure of the place itself        an attempt went well
    open      -> paused                               open
    paused    -> (waits; a probe when it is due)
    probed    -> paused, for longer                   open: everything that waits goes on

What fails for good until somebody changes something (a refused password, a full disk) pauses a place at once; what may
be chance (a cut line, a host that does not answer) does when it happens STRIKES times in a row. Probes wait like
retries do, longer each time; a place that fails again soon after it went on is taken up where it was left, so that one
that comes and goes is not asked more often than one that is gone.

Pure: times are handed in, in seconds since the epoch by a clock that never jumps.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from tranship.core.retry import RetryPolicy
from tranship_movers.place import Place

STRIKES = 3
"""Failures in a row that may be chance, after which they are none."""


class About(StrEnum):
    """What of a destination a failure is about."""

    HOST = "host"
    FOLDER = "folder"


def place_of(destination: Place, about: About) -> str:
    """The place that fails: a host (`sftp://archive:22/`) or a folder there (`sftp://archive:22/in/`).

    Of this machine's own files no more than a folder fails at once, as each disk is one of its own.
    """
    if about is About.HOST and destination.scheme != "file":
        return str(destination.at("/"))
    return str(destination.at(destination.path.rpartition("/")[0] + "/"))


@dataclass(frozen=True, slots=True)
class Pause:
    """A paused place: why, since when, how often it has failed, and when it is probed."""

    place: str
    reason: str
    since: float
    tries: int
    due: float


class Places:
    """The places of one chain."""

    def __init__(self, policy: RetryPolicy, paused: Iterable[Pause] = ()) -> None:
        """These are paused already."""
        self._policy = policy
        self._paused = {pause.place: pause for pause in paused}
        self._left: dict[str, tuple[int, float]] = {}
        self._strikes: dict[str, int] = {}

    def __contains__(self, place: str) -> bool:
        return place in self._paused

    def __len__(self) -> int:
        return len(self._paused)

    def __getitem__(self, place: str) -> Pause:
        return self._paused[place]

    def failed(self, place: str, reason: str, now: float) -> Pause | None:
        """Nothing can succeed at place: its pause, if it was not paused before."""
        if place in self._paused:
            return None
        self._strikes.pop(place, None)
        tries = self._tries_left(place, now) + 1
        pause = self._paused[place] = Pause(place, reason, now, tries, now + self._policy.wait(tries))
        return pause

    def struck(self, place: str, reason: str, now: float) -> Pause | None:
        """An attempt failed by what may be chance: the pause of place, if it has now happened too often."""
        if place in self._paused:
            return None
        strikes = self._strikes[place] = self._strikes.get(place, 0) + 1
        return self.failed(place, reason, now) if strikes >= STRIKES else None

    def well(self, place: str) -> None:
        """An attempt at place has succeeded (a paused one remains so until its probe succeeds)."""
        self._strikes.pop(place, None)

    @property
    def wary(self) -> bool:
        """Whether any place has failed lately by what may be chance."""
        return bool(self._strikes)

    def to_probe(self, now: float) -> list[Pause]:
        """The places that are to be probed now; each is due again later, if no more is heard of its probe."""
        due = [p for p in self._paused.values() if p.due <= now or p.due > now + self._horizon]
        for pause in due:
            self._paused[pause.place] = replace(pause, due=now + self._horizon)
        return due

    def next_probe(self, now: float) -> float | None:
        """Seconds until the next probe; None if nothing is paused."""
        if not self._paused:
            return None
        soonest = min(pause.due for pause in self._paused.values())
        return min(self._horizon, max(0.0, soonest - now))

    def probe_failed(self, place: str, reason: str, now: float) -> Pause:
        """A probe of place (which is paused) has failed: it is probed again, later each time."""
        pause = self._paused[place]
        tries = pause.tries + 1
        pause = replace(pause, reason=reason or pause.reason, tries=tries, due=now + self._policy.wait(tries))
        self._paused[place] = pause
        return pause

    def hasten(self, now: float, place: str = "") -> None:
        """Probe place now (all that are paused, if none is named)."""
        for pause in list(self._paused.values()):
            if place in ("", pause.place):
                self._paused[pause.place] = replace(pause, due=now)

    def resumed(self, place: str, now: float) -> Pause | None:
        """The place is open again: the pause that has ended, if it was paused."""
        pause = self._paused.pop(place, None)
        if pause is not None:
            self._left = {p: left for p, left in self._left.items() if left[1] > now}
            self._left[place] = pause.tries, now + 2 * self._policy.wait(pause.tries, 0.0)
        return pause

    @property
    def _horizon(self) -> float:
        """Seconds; nothing is ever put off by more: what is due later still was put off before a clock was set."""
        return self._policy.longest.total_seconds() + 1.0

    def _tries_left(self, place: str, now: float) -> int:
        tries, until = self._left.pop(place, (0, 0.0))
        return tries if now < until else 0
