"""Retention: the journal forgets what was settled long ago, in the background, some rows at a time."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tranship.core.clock import Clock
from tranship.core.words import counted
from tranship.journal import Lain, OrderBook, PastAnnouncements, PastJobs
from tranship.lanes import Threads

_log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
"""Time between two passes over the journal, at most: what is kept for less is looked at as often as it grows old."""

SHORTEST = timedelta(seconds=1)
"""And at least: a pass looks at everything that is old."""

PAUSE = 0.02
"""Seconds between two batches, for those who wait for the journal."""

NEWEST = 500
"""Announcements whose mount points are noted at each pass."""


class Pass(Protocol):
    """One walk over the journal."""

    @property
    def keep(self) -> timedelta:
        """How long it keeps what is settled."""

    async def __call__(self) -> int:
        """Forget what is old enough; how many rows that were."""


async def keeping(*passes: Pass) -> None:
    """Make these passes again and again, until cancelled."""
    every = max(SHORTEST, min(EVERY, *(each.keep for each in passes)))
    while True:
        for each in passes:
            await each()
        await asyncio.sleep(every.total_seconds())


@dataclass(frozen=True, slots=True)
class ForgetOrders:
    """Forgets what operators ordered before the time keep."""

    keep: timedelta
    orders: OrderBook
    clock: Clock

    async def __call__(self) -> int:
        """Forget what is old enough; how many orders that were."""
        return await self.orders.forget(self.clock.now() - self.keep.total_seconds())


Look = Callable[[Collection[str]], Awaitable[set[str]]]
"""Says which of these paths may be forgotten."""


@asynccontextmanager
async def wherever(_: Lain) -> AsyncIterator[Look]:
    """Files may lie where they do, or not: what they are is told by messages, and these are not heard again."""

    async def all_(paths: Collection[str]) -> set[str]:
        return set(paths)

    yield all_


@asynccontextmanager
async def only_gone(lain: Lain) -> AsyncIterator[Look]:
    """Only of files that are there no more, as a scan would find the others.

    A file is gone only if every mount point is there under which it may have lain: what was known and is forgotten
    would be taken for new when its disk comes back.
    """
    threads = Threads("retention", 1)
    try:
        seen = await threads.do(_mounts_of, await lain.newest(NEWEST))
        mounts = await lain.mounts(seen)

        async def gone(paths: Collection[str]) -> set[str]:
            return await threads.do(_gone, paths, mounts) if paths else set()

        yield gone
    finally:
        threads.close()


@dataclass(frozen=True, slots=True)
class ForgetJobs:
    """Forgets jobs that were settled before the time keep."""

    keep: timedelta
    past: PastJobs
    clock: Clock
    looking: Callable[[Lain], AbstractAsyncContextManager[Look]] = wherever

    async def __call__(self) -> int:
        """Forget what is old enough; how many jobs that were."""
        before = self.clock.now() - self.keep.total_seconds()
        last, more, jobs, given_up = 0, True, 0, 0
        async with self.looking(self.past.lain) as look:
            while more:
                batch = await self.past.settled(before, last)
                last, more = batch.last, batch.more
                spent = await look(batch.paths.values())
                numbers = [*batch.superseded, *(n for n, path in batch.paths.items() if path in spent)]
                jobs += len(numbers)
                given_up += await self.past.forget(numbers, before)
                await asyncio.sleep(PAUSE)
        if given_up:
            deliveries = counted(given_up, "delivery", "deliveries")
            _log.warning("listed no more, as they were given up long ago: %s", deliveries)
        return jobs


@dataclass(frozen=True, slots=True)
class ForgetAnnouncements:
    """Forgets what was announced before the time keep, of files that are there no more."""

    keep: timedelta
    past: PastAnnouncements
    clock: Clock

    async def __call__(self) -> int:
        """Forget what is old enough; how many announcements that were."""
        async with only_gone(self.past.lain) as gone:
            return await self._walk(gone) + await self._walk_packed(gone)

    async def _walk(self, gone: Look) -> int:
        before = self.clock.now() - self.keep.total_seconds()
        last, more, count = 0, True, 0
        while more:
            batch = await self.past.old(before, last)
            last, more = batch.last, batch.more
            spent = await gone(batch.paths.values())
            numbers = [*batch.superseded, *(n for n, path in batch.paths.items() if path in spent)]
            if numbers:
                await self.past.forget(numbers)
                count += len(numbers)
            await asyncio.sleep(PAUSE)
        return count

    async def _walk_packed(self, gone: Look) -> int:
        """Packed files stand by themselves: what was announced is what was in them."""
        count, last = 0, ("", "")
        while batch := await self.past.taken(last):
            last = batch[-1]
            spent = await gone([path for _, path in batch])
            await self.past.forget_taken([each for each in batch if each[1] in spent])
            count += len(spent)
            await asyncio.sleep(PAUSE)
        return count


def _gone(paths: Iterable[str], mounts: Collection[str]) -> set[str]:
    """Those of paths that are there no more. Blocking."""
    away = tuple(f"{mount.rstrip('/')}/" for mount in mounts if not os.path.ismount(mount))
    return {path for path in paths if not path.startswith(away) and _is_gone(path)}


def _is_gone(path: str) -> bool:
    """Whether nothing is there; what can't be looked at may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _mounts_of(paths: Iterable[str]) -> set[str]:
    """The mount points under which paths lie. Blocking."""
    return {_mount_of(folder) for folder in {os.path.dirname(path) for path in paths}}


def _mount_of(folder: str) -> str:
    while not os.path.ismount(folder):
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    return folder
