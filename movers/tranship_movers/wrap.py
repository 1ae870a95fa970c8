"""Movers around movers: the same verbs, tried again, slowed down, or timed.

mover = Limited(Retrying(SftpMover(place, options)), Bucket(rate=1_000_000))
"""

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from tranship_movers.contract import Facts, Mover, Powers, Progress, unheard
from tranship_movers.errors import SourceGone, Temporary, TimedOut, Unreachable

T = TypeVar("T")

_FIRST = timedelta(seconds=1)
_LONGEST = timedelta(seconds=30)


class _Around(ABC):
    """All verbs, each handed to `_do` under its name."""

    def __init__(self, mover: Mover) -> None:
        self._mover = mover

    @property
    def powers(self) -> Powers:
        """Those of the mover inside."""
        return self._mover.powers

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> str | None:
        """As the mover inside."""
        return self._do("put", lambda mover: mover.put(source, name, offset=offset, progress=progress))

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As the mover inside."""
        self._do("get", lambda mover: mover.get(name, target, offset=offset, progress=progress))

    def stat(self, name: str) -> Facts | None:
        """As the mover inside."""
        return self._do("stat", lambda mover: mover.stat(name))

    def list(self, folder: str) -> Iterator[Facts]:
        """As the mover inside, all at once."""
        return iter(self._do("list", lambda mover: tuple(mover.list(folder))))

    def remove(self, name: str) -> None:
        """As the mover inside."""
        self._do("remove", lambda mover: mover.remove(name))

    def rename(self, old: str, new: str) -> None:
        """As the mover inside."""
        self._do("rename", lambda mover: mover.rename(old, new))

    def make_folders(self, folder: str) -> None:
        """As the mover inside."""
        self._do("make_folders", lambda mover: mover.make_folders(folder))

    def checksum(self, name: str, algorithm: str) -> str | None:
        """As the mover inside."""
        return self._do("checksum", lambda mover: mover.checksum(name, algorithm))

    def alive(self) -> bool:
        """As the mover inside."""
        return self._mover.alive()

    def close(self) -> None:
        """As the mover inside."""
        self._mover.close()

    @abstractmethod
    def _do(self, verb: str, act: Callable[[Mover], T]) -> T:
        """Do act with the mover inside."""


class Retrying(_Around):
    """Tries a verb again after a Temporary error, up to `attempts` times in all.

    The wait doubles from `first` to `longest`, less up to half of it by chance. After Unreachable or
    TimedOut the connection is replaced by `again()`, if that is given. Progress counts what goes over, so
    what goes twice counts twice.
    """

    def __init__(
        self,
        mover: Mover,
        *,
        again: Callable[[], Mover] | None = None,
        attempts: int = 3,
        first: timedelta = _FIRST,
        longest: timedelta = _LONGEST,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(mover)
        self._again = again
        self._attempts = attempts
        self._first, self._longest = first.total_seconds(), longest.total_seconds()
        self._sleep, self._chance = sleep, chance

    def rename(self, old: str, new: str) -> None:
        """As the mover inside; a rename whose answer was lost is not one that failed."""
        tried: list[None] = []

        def act(mover: Mover) -> None:
            tried.append(None)
            try:
                mover.rename(old, new)
            except SourceGone:
                if len(tried) == 1 or mover.stat(new) is None:
                    raise

        self._do("rename", act)

    def _do(self, verb: str, act: Callable[[Mover], T]) -> T:
        for attempt in range(1, self._attempts):
            try:
                return act(self._mover)
            except Temporary as error:
                self._sleep(self._wait(attempt))
                self._reconnect(error)
        return act(self._mover)

    def _wait(self, failed: int) -> float:
        return min(self._longest, self._first * 2.0 ** min(failed - 1, 32)) * (1 - 0.5 * self._chance())

    def _reconnect(self, error: Temporary) -> None:
        if self._again is None or not isinstance(error, Unreachable | TimedOut):
            return
        self._mover.close()
        try:
            self._mover = self._again()
        except Temporary:
            return  # the closed mover says Unreachable at the next attempt


class Bucket:
    """Lets `rate` bytes per second through, for all who share it; up to one second's worth at once."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._lock = threading.Lock()
        self._left, self._when = rate, clock()

    def take(self, size: int) -> None:
        """Wait until size bytes may have gone; whoever comes meanwhile waits behind."""
        with self._lock:
            now = self._clock()
            self._left = min(self._rate, self._left + (now - self._when) * self._rate) - size
            self._when = now
            wait = -self._left / self._rate
        if wait > 0:
            self._sleep(wait)


class Limited(_Around):
    """Slows put and get down to what the bucket lets through."""

    def __init__(self, mover: Mover, bucket: Bucket) -> None:
        super().__init__(mover)
        self._bucket = bucket

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> str | None:
        """As the mover inside, slower."""
        return super().put(source, name, offset=offset, progress=self._slowly(progress))

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As the mover inside, slower."""
        super().get(name, target, offset=offset, progress=self._slowly(progress))

    def _do(self, verb: str, act: Callable[[Mover], T]) -> T:
        return act(self._mover)

    def _slowly(self, progress: Progress) -> Progress:
        def slow(size: int) -> None:
            self._bucket.take(size)
            progress(size)

        return slow


class Timed(_Around):
    """Tells how long each verb took, in seconds, also when it failed: told("put", 0.2)."""

    def __init__(
        self,
        mover: Mover,
        told: Callable[[str, float], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(mover)
        self._told, self._clock = told, clock

    def _do(self, verb: str, act: Callable[[Mover], T]) -> T:
        started = self._clock()
        try:
            return act(self._mover)
        finally:
            self._told(verb, self._clock() - started)
