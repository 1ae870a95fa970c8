"""detect -> settle -> an outlet: one place that is watched, by the kernel's events and by scans."""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tranship.core.journey import Step
from tranship.core.mounts import Mount
from tranship.core.origin import Origin
from tranship.core.values import Sighting
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.lanes import Threads, Waiting
from tranship.steps.detect import Seen, Watch, identity, scan, silent
from tranship.steps.settle import QUIET, UNTOLD, Completeness, Settle

_log = logging.getLogger(__name__)

LARGE = 4 << 20
"""Bytes. A larger file is read beside the small ones, so that they don't wait for it."""

EXHAUSTED_EVERY = 60.0
"""Seconds until a watch is tried again that the kernel had no room for."""

ROOT_EVERY = 2.0
"""Seconds between two looks whether the watched folder is still the one that is watched."""

REPORT_EVERY = 1.0

LINED_UP = 10_000
"""Complete files that wait to be announced; while there are more, nobody looks for others."""

LOOKING = 4
"""Threads per place, for looking at files and reading them."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What is watched, and how. `polled`: by looks at `interval` only; else by events, and by scans at `interval`.

    polled_every: time between two looks, where events don't tell of everything; None: events will do everywhere.
    """

    origin: Origin
    complete: Completeness
    empty_after: timedelta | None
    polled: bool
    interval: timedelta
    since: float = 0.0
    """What changed last before this time (seconds since the epoch) is of no concern."""
    polled_every: timedelta | None = None


class Outlet(Protocol):
    """Where complete files go."""

    async def news(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Those of sightings that were not taken before as they are."""

    async def __call__(self, complete: Sequence[Sighting]) -> tuple[int, list[str]]:
        """Take these. Returns how many were taken, and the paths of those that have changed since."""


class Reception:
    """One place. `run` until cancelled; `started` when it is watched."""

    def __init__(self, chain: str, watching: Watching, around: Surroundings) -> None:
        """Nothing is watched before `run`."""
        self.started = asyncio.Event()
        self.threads = Threads(f"{chain} look", LOOKING)
        self._chain = chain
        self._watching = watching
        self._around = around
        self._settle = Settle(watching.complete, watching.empty_after, watching.origin.covers, around.clock)
        self._settling = asyncio.Lock()
        self._small: Waiting[Sighting] = Waiting(lambda sighting: sighting.size)
        self._large: Waiting[Sighting] = Waiting()
        self._lined_up: set[tuple[str, int, int]] = set()
        self._scans: Waiting[str] = Waiting()
        self._interval = watching.interval
        self._is_told = False
        self._untold: set[str] = set()

    async def run(self, outlet: Outlet) -> None:
        """Hand over what is complete, until cancelled."""
        self.started.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hand_over_small(outlet))
                for _ in range(2):
                    tasks.create_task(self._hand_over_large(outlet))
                tasks.create_task(self._scan(outlet))
                tasks.create_task(self._look_again())
                tasks.create_task(self._report())
                if self._watching.polled:
                    self.started.set()
                else:
                    tasks.create_task(self._watch())
        finally:
            self.threads.close()

    async def settle_anew(self, paths: Sequence[str], quiet: timedelta = QUIET) -> None:
        """Files that were complete have changed since, or were found: they are to be complete (again)."""
        if paths:
            async with self._settling:
                complete = await self.threads.do(self._settle.found, paths, quiet)
            self._line_up(complete)

    # detect

    async def _watch(self) -> None:
        """Watch for as long as the folder is there; begin anew when it is there again (a mount that went and came)."""
        root, part = self._watching.origin.root, f"{self._chain} watch"
        while True:
            if self._watching.polled_every and (mount := await self.threads.do(silent, root)):
                await self._poll_instead(mount)
                continue
            try:
                watch = await self.threads.do(Watch, self._watching.origin, asyncio.get_running_loop())
            except OSError as error:
                self._around.health.degrade(part, f"{root}: {error.strerror}")
                await asyncio.sleep(await self._without_watch(error))
                continue
            self._around.health.recover(part, self._around.clock.monotonic())
            self._look_every(self._watching.interval)
            self._is_told = True
            try:
                while not (why := await self.threads.do(watch.lost)):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ROOT_EVERY):
                            await watch.news()
                    await self._pass_on(watch.seen())
            finally:
                self._is_told = False
                await self.threads.do(watch.close)
            self._count(f"watches renewed ({why})")

    async def _poll_instead(self, mount: Mount) -> None:
        """Look at the folder again and again, for as long as it lies on a file system that does not tell."""
        root, every = self._watching.origin.root, self._watching.polled_every
        before = await self.threads.do(identity, root)
        _log.warning(
            "chain %s: %s is polled every %g s, as %s (%s on %s) tells nothing of what other hosts write there;"
            " `watch: inotify` if all is written by this one",
            *(self._chain, root, every.total_seconds() if every else 0.0),
            *(mount.source, mount.kind, mount.point),
        )
        self._around.health.recover(f"{self._chain} watch", self._around.clock.monotonic())
        self._look_every(every or self._watching.interval)
        while before == await self.threads.do(identity, root):  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(ROOT_EVERY)
        self._count("watches renewed (folder or mount replaced)")

    async def _without_watch(self, error: OSError) -> float:
        """Go on as well as can be without a watch; seconds until it is tried again."""
        exhausted = error.errno in (errno.ENOSPC, errno.EMFILE, errno.ENOMEM)  # of the kernel's watches
        if exhausted and self._watching.polled_every:
            self._look_every(self._watching.polled_every)
            return EXHAUSTED_EVERY
        self.started.set()  # its health tells of it, and the other chains go on
        return ROOT_EVERY

    def _look_every(self, interval: timedelta) -> None:
        """Look at the folder now, and then at this interval."""
        self._interval = interval
        self.started.set()
        self._scans.put([self._watching.origin.root])

    async def _pass_on(self, seen: Seen) -> None:
        async with self._settling:
            closed = [path for path in seen.closed if self._can_be_told(path)]
            complete = await self.threads.do(self._settle.closed, closed)
        self._line_up(complete)
        await self._room()
        if seen.overflow:
            self._count("overflows")
        self._scans.put([self._watching.origin.root] if seen.overflow else seen.folders)

    async def _scan(self, outlet: Outlet) -> None:
        """The reconcile scan: at the start, in between, and wherever the watch may have missed something."""
        root = self._watching.origin.root
        folders, quiet = [root], QUIET
        await self.started.wait()
        while True:
            for folder in _outermost(folders):
                await self._scan_if_there(folder, quiet, outlet)
            try:
                async with asyncio.timeout(self._interval.total_seconds()):
                    folders, quiet = await self._scans.take(10_000, 10_000), QUIET
            except TimeoutError:
                folders, quiet = [root], UNTOLD if self._is_told else QUIET

    async def _scan_if_there(self, folder: str, quiet: timedelta, outlet: Outlet) -> None:
        part, health = f"{self._chain} scan", self._around.health
        try:
            await self._scan_below(folder, quiet, outlet)
        except OSError as error:
            health.degrade(part, f"{folder} can't be read: {error.strerror}; is it mounted?")
        else:
            health.recover(part, self._around.clock.monotonic())

    async def _scan_below(self, folder: str, quiet: timedelta, outlet: Outlet) -> None:
        origin, since = self._watching.origin, self._watching.since
        batches = scan(origin, self._around.clock.now(), below=folder, changed_since=since)
        while (batch := await self.threads.do(_next, batches)) is not None:
            news = await outlet.news([sighting for sighting in batch if self._can_be_told(sighting.path)])
            await self.settle_anew([sighting.path for sighting in news], quiet)
            await self._small.room(1)
            await self._large.room(LINED_UP)

    def _can_be_told(self, path: str) -> bool:
        """Whether a message can name path; if not, that is said, once."""
        if reason := _why_untold(path):
            if path not in self._untold and len(self._untold) < 1000:
                self._untold.add(path)
                self._count("unusable names")
                self._around.story.tell(Step.REFUSED, path, self._chain, reason=reason)
            return False
        return True

    # settle

    async def _look_again(self) -> None:
        while True:
            wait = self._settle.next_due()
            await asyncio.sleep(0.5 if wait is None else min(0.5, max(0.01, wait)))
            if self._settle.next_due() == 0:
                async with self._settling:
                    complete = await self.threads.do(self._settle.due)
                self._line_up(complete)
                await self._room()

    def _line_up(self, complete: Iterable[Sighting]) -> None:
        for sighting in complete:
            if _version(sighting) in self._lined_up:
                continue  # seen again, while it waits or is being read
            self._lined_up.add(_version(sighting))
            self._around.story.tell(Step.SETTLED, sighting.path, self._chain, size=sighting.size)
            (self._large if sighting.size > LARGE else self._small).put([sighting])

    async def _room(self) -> None:
        """Hold back while the outlet is far behind (a journal that can't be written, a slow disk)."""
        await self._small.room(LINED_UP)
        await self._large.room(LINED_UP)

    # the outlet

    async def _hand_over_small(self, outlet: Outlet) -> None:
        while True:
            await self._hand_over(outlet, await self._small.take(256, 64 << 20))

    async def _hand_over_large(self, outlet: Outlet) -> None:
        while True:
            await self._hand_over(outlet, await self._large.take(1, 1))

    async def _hand_over(self, outlet: Outlet, complete: Sequence[Sighting]) -> None:
        reached(Point.SETTLED)
        try:
            count, changed = await outlet(complete)
        finally:
            self._lined_up.difference_update(_version(sighting) for sighting in complete)
        self._count("announce", count)
        await self.settle_anew(changed)

    # health

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            waiting = len(self._small) + len(self._large)
            self._around.health.waiting(f"{self._chain} announce", waiting, self._around.clock.monotonic())

    def _count(self, part: str, count: int = 1) -> None:
        self._around.health.progress(f"{self._chain} {part}", self._around.clock.monotonic(), count)


def _next(batches: "Iterable[list[Sighting]]") -> list[Sighting] | None:
    return next(iter(batches), None)


def _why_untold(path: str) -> str:
    """Why no message can name path; "" if one can."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8, so no message can name it; rename it"
    return "its name holds a line break, which no field of a pattern takes; rename it" if "\n" in path else ""


def _version(sighting: Sighting) -> tuple[str, int, int]:
    return sighting.path, sighting.size, sighting.mtime_ns


def _outermost(folders: Sequence[str]) -> list[str]:
    """Folders without those that lie in another of them."""
    outer: list[str] = []
    for folder in sorted(set(folders)):
        if not outer or not folder.startswith(outer[-1].rstrip("/") + "/"):
            outer.append(folder)
    return outer
