"""Connections that are kept and lent: opening one costs more than a small file.

Nothing blocks under the pool's lock, so a host that does not answer delays nobody but those who want it.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import TracebackType
from typing import Self

from pydantic import Secret

from tranship_movers.contract import Mover
from tranship_movers.errors import Busy, Misconfigured, MoverError, TimedOut, Unreachable
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.registry import connect as connected
from tranship_movers.wrap import Bucket, Limited

_ASKED_AFTER = timedelta(seconds=5)
_BACK_AFTER = timedelta(minutes=5)
_PATIENCE = timedelta(minutes=10)


@dataclass(eq=False, slots=True)
class _Line:
    """One connection; since when (pool's clock) it is idle; doubtful after an error."""

    mover: Mover
    place: Place
    shelf: "_Shelf"
    idle_since: float = 0.0
    doubtful: bool = False


@dataclass(eq=False, slots=True)
class _Shelf:
    """The connections of one host, user and set of options."""

    free: threading.Condition
    options: MoverOptions
    bucket: Bucket | None
    idle: list[_Line] = field(default_factory=list)
    busy: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How many connections to one place there are; waiting is the number of those who want one."""

    busy: int
    idle: int
    waiting: int


class Pool:
    """Lends connections, each to one at a time, at most `options.at_once` per host, user and set of options.

    `asked_after`: a connection that was idle for so long is asked whether it lives before it is lent.
    `back_after`: a host that did not answer is left to its backups for so long, then tried again by one
    lender.
    """

    def __init__(
        self,
        connect: Callable[[Place, MoverOptions], Mover] = connected,
        *,
        clock: Callable[[], float] = time.monotonic,
        asked_after: timedelta = _ASKED_AFTER,
        back_after: timedelta = _BACK_AFTER,
    ) -> None:
        self._connect, self._clock = connect, clock
        self._asked_after, self._back_after = asked_after.total_seconds(), back_after.total_seconds()
        self._lock = threading.Lock()
        self._shelves: dict[Hashable, _Shelf] = {}
        self._lent: dict[int, _Line] = {}
        self._away: dict[Place, float] = {}
        self._closed = False

    @contextmanager
    def lend(
        self,
        place: Place,
        options: MoverOptions,
        *,
        backups: Sequence[str] = (),
        patience: timedelta = _PATIENCE,
    ) -> Iterator[Mover]:
        """A connection to place, or to the first of backups that answers if place does not.

        A backup is "host" or "host:port". Waits up to patience while all are in use, then raises Busy.
        Raises what connecting to the last host tried raised. An error inside the block ends the connection
        if it says that the line is cut.
        """
        line = self._reached(place.at("/"), options, backups, patience.total_seconds())
        error: BaseException | None = None
        try:
            yield line.mover
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._take_back(line, error)

    def where(self, mover: Mover) -> Place:
        """The place that a lent mover is connected to (a backup, perhaps); its path is the root."""
        return self._lent[id(mover)].place

    def close_idle(self) -> None:
        """Close what was idle for `connection_uptime`. Whoever owns the pool calls this every few seconds."""
        with self._lock:
            now = self._clock()
            old = [line for shelf in self._shelves.values() for line in _aged(shelf, now)]
            for key, shelf in list(self._shelves.items()):
                if not (shelf.idle or shelf.busy or shelf.waiting):
                    del self._shelves[key]
        for line in old:
            line.mover.close()

    def standing(self) -> Mapping[str, Standing]:
        """By place (without credentials): what is busy, idle and waited for."""
        with self._lock:
            told: dict[str, Standing] = {}
            for key, shelf in self._shelves.items():
                place = str(key[0]) if isinstance(key, tuple) else ""
                before = told.get(place, Standing(0, 0, 0))
                told[place] = Standing(
                    before.busy + shelf.busy, before.idle + len(shelf.idle), before.waiting + shelf.waiting
                )
            return told

    def close(self) -> None:
        """Close everything that is idle, and what is lent as soon as it comes back. Lends no more."""
        with self._lock:
            self._closed = True
            idle = [line for shelf in self._shelves.values() for line in shelf.idle]
            for shelf in self._shelves.values():
                shelf.idle = []
                shelf.free.notify_all()
        for line in idle:
            line.mover.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reached(self, place: Place, options: MoverOptions, backups: Sequence[str], patience: float) -> _Line:
        if not backups:
            return self._borrow(place, options, patience)
        hosts = self._in_order([place, *(_backup(place, target) for target in backups)])
        for number, host in enumerate(hosts, 1):
            try:
                line = self._borrow(host, options, patience)
            except (Unreachable, TimedOut):
                with self._lock:
                    self._away[host] = self._clock() + self._back_after
                if number == len(hosts):
                    raise
            else:
                with self._lock:
                    self._away.pop(host, None)
                return line
        raise AssertionError("there is at least one host")

    def _in_order(self, hosts: list[Place]) -> list[Place]:
        """Those that did not answer lately come last.

        One whose time has come again is tried by this caller alone.
        """
        with self._lock:
            now = self._clock()
            away = [host for host in hosts if self._away.get(host, now) > now]
            for host in hosts:
                if host in self._away and host not in away:
                    self._away[host] = now + self._back_after
        return [host for host in hosts if host not in away] + away

    def _borrow(self, place: Place, options: MoverOptions, patience: float) -> _Line:
        shelf = self._shelf(place, options, patience)
        try:
            line = self._living(shelf) or self._new(place, shelf)
        except BaseException:
            self._release(shelf)
            raise
        with self._lock:
            self._lent[id(line.mover)] = line
        return line

    def _shelf(self, place: Place, options: MoverOptions, patience: float) -> _Shelf:
        """The shelf of place, with room made for one more lent connection."""
        key = (place, _hashable(options))
        deadline = self._clock() + patience
        with self._lock:
            shelf = self._shelves.get(key)
            if shelf is None:
                bucket = Bucket(options.bandwidth) if options.bandwidth else None
                shelf = self._shelves[key] = _Shelf(threading.Condition(self._lock), options, bucket)
            while shelf.busy >= options.at_once and not self._closed:
                shelf.waiting += 1
                came = shelf.free.wait(max(0.0, deadline - self._clock()))
                shelf.waiting -= 1
                if not came and shelf.busy >= options.at_once:
                    raise Busy(f"all {options.at_once} connections are in use", where=str(place))
            if self._closed:
                raise Unreachable("the pool is closed", where=str(place))
            shelf.busy += 1
        return shelf

    def _living(self, shelf: _Shelf) -> _Line | None:
        """An idle connection that still answers, if there is one."""
        while True:
            with self._lock:
                now = self._clock()
                line = shelf.idle.pop() if shelf.idle else None
            if line is None:
                return None
            idle = now - line.idle_since
            if idle < _uptime(shelf) and (
                not (line.doubtful or idle > self._asked_after) or line.mover.alive()
            ):
                line.doubtful = False
                return line
            line.mover.close()

    def _new(self, place: Place, shelf: _Shelf) -> _Line:
        mover = self._connect(place, shelf.options)
        return _Line(Limited(mover, shelf.bucket) if shelf.bucket else mover, place, shelf)

    def _take_back(self, line: _Line, error: BaseException | None) -> None:
        cut = isinstance(error, Unreachable | TimedOut)
        # What is not one of our errors may have left a conversation half-way.
        over = cut or not (error is None or isinstance(error, MoverError))
        with self._lock:
            del self._lent[id(line.mover)]
            over = over or self._closed
            line.idle_since, line.doubtful = self._clock(), error is not None
            if not over:
                line.shelf.idle.append(line)
            for other in line.shelf.idle if cut else ():
                other.doubtful = True
        if over:
            line.mover.close()
        self._release(line.shelf)

    def _release(self, shelf: _Shelf) -> None:
        with self._lock:
            shelf.busy -= 1
            shelf.free.notify()


def _aged(shelf: _Shelf, now: float) -> list[_Line]:
    """The connections that were idle for too long, off the shelf."""
    old = [line for line in shelf.idle if now - line.idle_since >= _uptime(shelf)]
    shelf.idle = [line for line in shelf.idle if line not in old]
    return old


def _uptime(shelf: _Shelf) -> float:
    return shelf.options.connection_uptime.total_seconds()


def _backup(place: Place, target: str) -> Place:
    found = Place.parse(f"{place.scheme}://{target}")
    if not found.host:
        raise Misconfigured("a backup target names no host", where=str(found))
    return replace(place, host=found.host, port=found.port)


def _hashable(value: object) -> Hashable:
    """Options as something that can be a key: equal where they are equal."""
    if isinstance(value, MoverOptions):
        return type(value), tuple(_hashable(part) for part in value.__dict__.values())
    if isinstance(value, Secret):  # it says that it is hashable, and is not if it holds a table
        return Secret(_hashable(value.get_secret_value()))
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(part)) for key, part in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(_hashable(part) for part in value)
    return value if isinstance(value, Hashable) else repr(value)
