"""Retention: the journal forgets what was settled long ago, in the background, some rows at a time."""

import asyncio
import logging
import os
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Protocol

from tranship.core.clock import Clock
from tranship.journal import PastAnnouncements, PastJobs
from tranship.lanes import Threads

_log = logging.getLogger(__name__)

EVERY = 3600.0
"""Seconds between two passes over the journal."""

PAUSE = 0.02
"""Seconds between two batches, for those who wait for the journal."""

NEWEST = 500
"""Announcements whose mount points are noted at each pass."""


class Pass(Protocol):
    """One walk over the journal."""

    async def __call__(self) -> int:
        """Forget what is old enough; how many rows that were."""


async def keeping(*passes: Pass) -> None:
    """Make these passes again and again, until cancelled."""
    while True:
        for each in passes:
            await each()
        await asyncio.sleep(EVERY)


class ForgetJobs:
    """Forgets settled jobs."""

    def __init__(self, keep: timedelta, past: PastJobs, clock: Clock) -> None:
        """Keep what was settled within the time keep."""
        self._keep = keep
        self._past = past
        self._clock = clock

    async def __call__(self) -> int:
        """Forget what is old enough; how many jobs that were."""
        before = self._clock.now() - self._keep.total_seconds()
        last, more, jobs, given_up = 0, True, 0, 0
        while more:
            batch = await self._past.forget(before, last)
            last, more = batch.last, batch.more
            jobs += batch.jobs
            given_up += batch.given_up
            await asyncio.sleep(PAUSE)
        if given_up:
            _log.warning("%d deliveries that were given up long ago are listed no more", given_up)
        return jobs


class ForgetAnnouncements:
    """Forgets announcements of files that are there no more.

    A file is gone only if every mount point is there under which it may have lain: what was announced and is
    forgotten would be announced again when its disk comes back.
    """

    def __init__(self, keep: timedelta, past: PastAnnouncements, clock: Clock) -> None:
        """Keep what was announced within the time keep."""
        self._keep = keep
        self._past = past
        self._clock = clock

    async def __call__(self) -> int:
        """Forget what is old enough; how many announcements that were."""
        threads = Threads("retention", 1)
        try:
            return await self._walk(threads)
        finally:
            threads.close()

    async def _walk(self, threads: Threads) -> int:
        before = self._clock.now() - self._keep.total_seconds()
        seen = await threads.do(_mounts_of, await self._past.newest(NEWEST))
        mounts = await self._past.mounts(seen)
        last, more, count = 0, True, 0
        while more:
            batch = await self._past.old(before, last)
            last, more = batch.last, batch.more
            gone = await threads.do(_gone, batch.paths.values(), mounts) if batch.paths else set()
            numbers = [*batch.superseded, *(n for n, path in batch.paths.items() if path in gone)]
            if numbers:
                await self._past.forget(numbers)
                count += len(numbers)
            await asyncio.sleep(PAUSE)
        return count + await self._walk_packed(threads, mounts)

    async def _walk_packed(self, threads: Threads, mounts: Collection[str]) -> int:
        """Packed files stand by themselves: what was announced is what was in them."""
        count, last = 0, ("", "")
        while batch := await self._past.taken(last):
            last = batch[-1]
            gone = await threads.do(_gone, [path for _, path in batch], mounts)
            await self._past.forget_taken([each for each in batch if each[1] in gone])
            count += len(gone)
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
