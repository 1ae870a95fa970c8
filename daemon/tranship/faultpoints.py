"""Named moments at which a process can be made to die, for tests only (docs/reliability.md).

    TRANSHIP_FAULTPOINT_FOR_TESTS_ONLY="announced, not told:3"

has the process kill itself (SIGKILL: nothing is written, closed or said) when it comes to that point the third time.
Nothing else arms a point: no option, no signal, no message. Unarmed, a point costs one look at a constant.

    TRANSHIP_CLOCK_FOR_TESTS_ONLY=/a/file

has the clock that the roles are given be wrong by as many seconds as the file says at that moment.
"""

import itertools
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

VARIABLE = "TRANSHIP_FAULTPOINT_FOR_TESTS_ONLY"
CLOCK = "TRANSHIP_CLOCK_FOR_TESTS_ONLY"


class Point(StrEnum):
    """The boundaries of the steps (core/journey.py): what has just happened, and what has not yet."""

    # the server's
    SETTLED = "settled, not announced"
    ANNOUNCED = "announced, not told"
    TOLD = "announced and told"
    GRANTED = "granted, not moved"
    MOVING = "moving"
    MOVED = "moved, not journaled"
    MOVE_JOURNALED = "moved, not answered"
    ACKNOWLEDGED = "acknowledged, not answered"
    DELETED = "deleted, not journaled"
    RETOLD = "retold, not told"
    RESENT = "retold and told"
    # the client's
    HEARD = "heard, not journaled"
    WANTED = "wanted, not requested"
    PUSHED = "push published, not requested"
    REQUESTED = "requested, not answered"
    ANSWERED = "answered, not verified"
    VERIFIED = "verified, not journaled"
    DELIVERED = "delivered, not published"
    ACKED = "ack published, not the file"
    PUBLISHED = "published, not journaled"
    SAID = "published, server not told"
    DONE = "done"
    # the mirror's, beside those of a server and a client
    NEWS = "heard upstream, not journaled"
    NOTED = "heard upstream, not announced"
    RENUMBERED = "announced again, not told"
    PASSED_ON = "announced again and told"
    BROUGHT = "brought, not verified"
    CHECKED = "brought and verified, not journaled"
    HERE = "brought, not moved on"
    # of those that move by themselves (dispatcher, fetch, move), beside those of a client
    FOUND = "found, not journaled"
    OWED = "owed, not moved"
    CARRYING = "moving by itself"
    EVERYWHERE = "everywhere, not deleted"


RESENDING = frozenset({Point.RETOLD, Point.RESENT})
"""Those that a server or mirror comes to only when something is resent."""

SERVER = frozenset(
    {
        Point.SETTLED,
        Point.ANNOUNCED,
        Point.TOLD,
        Point.GRANTED,
        Point.MOVING,
        Point.MOVED,
        Point.MOVE_JOURNALED,
        Point.ACKNOWLEDGED,
        Point.DELETED,
    }
)
CLIENT = frozenset(
    {
        Point.HEARD,
        Point.WANTED,
        Point.PUSHED,
        Point.REQUESTED,
        Point.ANSWERED,
        Point.VERIFIED,
        Point.DELIVERED,
        Point.ACKED,
        Point.PUBLISHED,
        Point.SAID,
        Point.DONE,
    }
)
MIRROR = frozenset(
    {
        Point.NEWS,
        Point.NOTED,
        Point.RENUMBERED,
        Point.PASSED_ON,
        Point.GRANTED,
        Point.PUSHED,
        Point.REQUESTED,
        Point.BROUGHT,
        Point.CHECKED,
        Point.HERE,
        Point.MOVING,
        Point.MOVED,
        Point.MOVE_JOURNALED,
        Point.ACKNOWLEDGED,
        Point.DELETED,
    }
)
DISPATCHER = FETCH = frozenset(
    {
        Point.FOUND,
        Point.OWED,
        Point.CARRYING,
        Point.VERIFIED,
        Point.DELIVERED,
        Point.PUBLISHED,
        Point.DONE,
    }
)
MOVE = DISPATCHER | {Point.SETTLED, Point.EVERYWHERE}


def reached(point: Point) -> None:
    """Say that this point was reached: where the process dies, if it is armed for it."""
    if _ARMED is not None:
        _ARMED.reached(point)


class WrongClock:
    """The machine's clock, off by as many seconds as the file says. Durations are right."""

    def __init__(self, file: str) -> None:
        """The process begins now."""
        self._file = file
        self._begun = self.now() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch, wrongly."""
        with open(self._file) as opened:
            return time.time() + float(opened.read() or 0)

    def steady(self) -> float:
        """Seconds since the epoch, as wrong as they were at the start."""
        return self._begun + time.monotonic()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


def wrong_clock(environment: Mapping[str, str]) -> WrongClock | None:
    """The clock that the environment asks for, if it does."""
    return WrongClock(environment[CLOCK]) if CLOCK in environment else None


@dataclass(frozen=True, slots=True)
class _Armed:
    point: Point
    times: int
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def reached(self, point: Point) -> None:
        if point is self.point and next(self._count) == self.times:
            os.kill(os.getpid(), signal.SIGKILL)


def _armed(environment: Mapping[str, str]) -> _Armed | None:
    told = environment.get(VARIABLE)
    if told is None:
        return None
    point, _, times = told.rpartition(":")
    if point not in frozenset(Point) or not times.isdecimal() or int(times) < 1:
        raise SystemExit(f"{VARIABLE}={told!r}: say `point:times`, where point is one of {', '.join(Point)}")
    return _Armed(Point(point), int(times))


_ARMED = _armed(os.environ)
