"""How work waits and flows inside a process: everything that waits is taken at once, and no place holds up another.

Waiting   a queue that hands over all that is in it (up to a measure), so that work is batched where it waits anyway
Lanes     one such queue per place, each worked off by a few tasks of its own
Threads   worker threads for what blocks, so that what hangs in them holds up nobody else's work
kept      a part that is started again when it fails, with back-off, and says so
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
K = TypeVar("K", bound=Hashable)

IDLE = 60.0
"""Seconds after which the tasks of a place without work end."""

SLOW = 0.03
"""Seconds; a batch that takes longer waits for its place, so that others are begun beside it. What takes less is the
interpreter's own work, of which two threads do no more than one: they get into each other's way."""


class Waiting(Generic[T]):
    """A queue. `weigh` gives what an item counts against the measure of one taking (a small file is light)."""

    def __init__(self, weigh: Callable[[T], int] = lambda _: 1) -> None:
        """An empty queue."""
        self._items: deque[T] = deque()
        self._weigh = weigh
        self._news = asyncio.Event()
        self._taken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: list[T]) -> None:
        """Add items at the end."""
        if items:
            self._items.extend(items)
            self._news.set()

    async def take(self, most: int, weight: int) -> list[T]:
        """Wait for items; those that wait, at most `most` of them and of about this weight (but at least one)."""
        while not self._items:
            self._news.clear()
            await self._news.wait()
        taken: list[T] = []
        total = 0
        while self._items and len(taken) < most:
            total += self._weigh(self._items[0])
            if taken and total > weight:
                break
            taken.append(self._items.popleft())
        self._taken.set()
        return taken

    async def room(self, most: int) -> None:
        """Wait until fewer than most items wait: whoever brings more holds back for so long."""
        while len(self._items) >= most:
            self._taken.clear()
            await self._taken.wait()


class Lanes(Generic[K, T]):
    """Work by place. Each has one task, made when work comes and ended when none came for a while.

    Where batches are slow, there are up to `width` of them, one more whenever all have been at theirs for SLOW.
    `work(place, items)` does a batch; what it raises is not caught here.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        work: Callable[[K, list[T]], Awaitable[None]],
        *,
        width: int,
        weigh: Callable[[T], int],
        most: int = 32,
        weight: int = 8 << 20,
    ) -> None:
        """Lanes without work; their tasks belong to `tasks`."""
        self._tasks = tasks
        self._work = work
        self._width = width
        self._weigh = weigh
        self._most = most
        self._weight = weight
        self._lanes: dict[K, _Lane[T]] = {}
        self._busy = 0

    def put(self, place: K, items: list[T]) -> None:
        """Give items to the lanes of place."""
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane(Waiting(self._weigh))
        lane.waiting.put(items)
        if not lane.running:
            self._widen(place, lane)
        elif not lane.idle:
            self._look_soon(place, lane)

    def waiting(self, place: K) -> int:
        """How many items wait at place."""
        lane = self._lanes.get(place)
        return len(lane.waiting) if lane else 0

    @property
    def queued(self) -> int:
        """How many items wait or are being worked on."""
        return self._busy + sum(len(lane.waiting) for lane in self._lanes.values())

    def _widen(self, place: K, lane: "_Lane[T]") -> None:
        work = self._work_off(place, lane)
        try:
            self._tasks.create_task(work, name=f"lane {place} {lane.running + 1}")
        except RuntimeError:
            work.close()
            raise
        lane.running += 1

    def _look_soon(self, place: K, lane: "_Lane[T]") -> None:
        if lane.look is None and lane.running < self._width:
            lane.look = asyncio.get_running_loop().call_later(SLOW, self._look, place, lane)

    def _look(self, place: K, lane: "_Lane[T]") -> None:
        """Make one more task, if something waits and all are slow."""
        lane.look = None
        if len(lane.waiting) and not lane.idle:
            if lane.running and not lane.quick(time.monotonic()):
                try:
                    self._widen(place, lane)
                except RuntimeError:
                    return  # the task group is ending, and so is all that waits
            self._look_soon(place, lane)

    async def _work_off(self, place: K, lane: "_Lane[T]") -> None:
        me = object()
        while (batch := await self._next(lane)) is not None:
            self._busy += len(batch)
            lane.begun[me] = begun = time.monotonic()
            try:
                await self._work(place, batch)
            finally:
                self._busy -= len(batch)
                del lane.begun[me]
            now = time.monotonic()
            if now - begun < SLOW and lane.quick(now):
                self._look_soon(place, lane)
                break  # another one does it as well
        lane.running -= 1
        if not lane.running:
            del self._lanes[place]

    async def _next(self, lane: "_Lane[T]") -> list[T] | None:
        """The next batch; None if there is none for a while, or somebody else waits for it."""
        if lane.idle:
            return None
        lane.idle += 1
        try:
            while True:
                try:
                    async with asyncio.timeout(IDLE):
                        return await lane.waiting.take(self._most, self._weight)
                except TimeoutError:
                    if not len(lane.waiting):  # else it came in the very moment
                        return None
        finally:
            lane.idle -= 1


@dataclass(slots=True)
class _Lane(Generic[T]):
    """What waits for a place, its tasks, how many of these wait for work, and since when the others are at theirs.

    look: when it is looked at whether there should be more of them.
    """

    waiting: Waiting[T]
    running: int = 0
    idle: int = 0
    begun: dict[object, float] = field(default_factory=dict)
    look: asyncio.TimerHandle | None = None

    def quick(self, now: float) -> bool:
        """Whether some batch that is under way is not slow, so far."""
        return any(now - begun < SLOW for begun in self.begun.values())


class Threads:
    """Worker threads for one kind of work of one flow, at most `most`, made as they are needed.

    A call that hangs (a dead host, a file system that went away) keeps its thread, and no other flow's.
    """

    def __init__(self, name: str, most: int) -> None:
        """No thread yet."""
        self._name = name
        self._most = most
        self._executor: ThreadPoolExecutor | None = None

    async def do(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work in one of the threads; its result, or what it raises."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._most, thread_name_prefix=self._name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Let go of the threads: each ends with what it is at, and what waits for one is cancelled."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


async def kept(
    part: Callable[[], Awaitable[None]],
    failed: Callable[[Exception], None],
    recovered: Callable[[], None],
    longest: float = 60.0,
) -> None:
    """Run part for ever: when it raises, tell `failed`, wait (longer each time, up to `longest` seconds), begin anew.

    `recovered` is told when a part that had failed has run for longer than its last wait. Returns when part returns.
    """
    wait = 0.0
    while True:
        begun = time.monotonic()
        steady = asyncio.get_running_loop().call_later(max(wait, 1.0), recovered) if wait else None
        try:
            return await part()
        except Exception as error:  # noqa: BLE001 - one part's failure is told, and ends neither the process nor the part
            failed(error)
        finally:
            if steady is not None:
                steady.cancel()
        wait = 0.5 if time.monotonic() - begun > longest else min(longest, wait * 2 or 0.5)
        await asyncio.sleep(wait)
