"""want -> move -> publish: what is owed is moved from here, each place in a lane of its own.

For roles that nobody asks: a job is one file version for one destination; it waits in the journal, is moved by a
carrier in worker threads, and ends with its outcomes. New files go first; a place that fails pauses. Each courier has
threads of its own, so that a place that does not answer costs only those who want to go there.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tranship.core.places import About
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.outcomes import Done, Failed, Outcomes
from tranship.flows.outdated import outdated
from tranship.flows.pausing import Pausing
from tranship.flows.speaking import Speaker
from tranship.journal import Before, ClientBook, Cursor, Job, NewJob, Source, Verdict
from tranship.lanes import Lanes, Threads
from tranship.steps.request import Failure, Fault, Reply
from tranship.wire.messages import Message

THREADS = 256
"""At most, per courier; there are as many as there are moves under way."""

LINED_UP = 1000
"""New jobs that wait in memory per lane; more of them wait in the journal."""

PROGRESS_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of an attempt: where the file lies now (without credentials) and what to publish; or why not.

    size: bytes that have come, if the message did not say it.
    """

    job: Job
    landed: str = ""
    outgoing: Message | None = None
    fault: Fault | None = None
    size: int = 0


class Carrier(Protocol):
    """How the jobs of one chain are moved."""

    def __call__(self, jobs: Sequence[Job], progress: Callable[[int], None]) -> list[Carried]:
        """Move jobs of one lane (`request_address`), one after the other. Blocking; never raises MoverError.

        progress is called with bytes that have just gone over. One Carried per job that was tried, in any order:
        when the lane itself fails, the others need not be.
        """


def one_by_one(carry: Callable[[Job], Carried], jobs: Sequence[Job]) -> list[Carried]:
    """Carry jobs of one lane, until the lane itself fails: the others would, too."""
    carried: list[Carried] = []
    for job in jobs:
        carried.append(carry(job))
        fault = carried[-1].fault
        if fault is not None and fault.about is About.HOST:
            break
    return carried


class Arrived(Protocol):
    """Is told of jobs that are done."""

    async def __call__(self, jobs: Sequence[Job], /) -> None:
        """These are delivered and published."""


async def _nobody(_: Sequence[Job]) -> None:
    """Nobody wants to know."""


class Courier:
    """One chain's jobs. `run` until cancelled. The lane of a job is its `request_address`: the place it goes to."""

    def __init__(
        self,
        chain: str,
        carrier: Carrier,
        at_once: int,
        book: ClientBook,
        around: Surroundings,
        arrived: Arrived = _nobody,
    ) -> None:
        """Nothing is moved before `run`; at_once: moves at once, per lane."""
        self._chain = chain
        self._carrier = carrier
        self._at_once = at_once
        self._book = book
        self._around = around
        self._arrived = arrived
        self._due = asyncio.Event()
        self._outcomes = Outcomes(chain, book, around)
        self._pausing = Pausing(chain, book, around, self._due.set)
        self._taken: set[int] = set()
        self._probing: set[int] = set()
        self._queued: Counter[str] = Counter()
        self._under_way = 0
        self._moved = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._lanes: Lanes[str, Job] | None = None
        self._threads = Threads(f"courier {chain}", THREADS)

    async def run(self, speaker: Speaker | None) -> None:
        """Move what is owed until cancelled, and publish it, if there is a publisher."""
        self._taken.clear()
        self._queued.clear()
        self._probing.clear()
        self._under_way = 0
        await self._pausing.load(0.0)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._lanes = Lanes(
                    tasks, self._work, width=self._at_once, weigh=lambda job: max(0, job.new.size)
                )
                tasks.create_task(self._outcomes.run(speaker))
                tasks.create_task(self._report())
                tasks.create_task(self._pausing.run(self._probe))
                await self._move_due()
        finally:
            self._lanes = None
            self._threads.close()

    async def want(
        self, jobs: Sequence[NewJob], cursors: Sequence[Cursor] = ()
    ) -> list[tuple[Verdict, Job, Before | None]]:
        """Record what is owed (and how far servers were heard), in one; have what is new moved at once.

        What each of jobs turned out to be, as the journal says it.
        """
        if jobs:
            reached(Point.FOUND)
        verdicts = await self._book.want(jobs, cursors)
        if jobs:
            reached(Point.OWED)
        for verdict, job, _ in verdicts:
            if verdict is Verdict.NEW and job.new.destination:
                self._line_up(job)
        return verdicts

    async def refuse(self, jobs: Sequence[tuple[Job, str]]) -> None:
        """Write down why these can never be moved."""
        if jobs:
            refused = [Reply(None, failure=Failure.REFUSED, reason=reason) for _, reason in jobs]
            await self._outcomes.fail(
                [Failed(job, None, reply) for (job, _), reply in zip(jobs, refused, strict=True)]
            )

    async def obey(self) -> None:
        """Somebody has ordered that jobs be moved again: it stands in the journal."""
        self._pausing.look()
        self._due.set()

    def carries(self, job: int) -> bool:
        """Whether a job (by id) is under way, or about to be."""
        return job in self._taken

    async def drain(self) -> None:
        """Begin nothing new; wait until what is under way is moved and published."""
        self._draining = True
        if self._under_way:
            self._idle.clear()
            await self._idle.wait()
        await self._outcomes.noted()

    # what to move

    def _line_up(self, job: Job) -> None:
        lane = job.new.request_address
        full = self._draining or self._queued[lane] >= LINED_UP
        if self._lanes is None or full or not self._is_open(job):
            self._due.set()
        elif job.id not in self._taken:
            self._put(job)

    async def _probe(self, job: Job, offer: Source) -> None:
        del offer  # there is but one way
        if self._lanes is not None and not self._draining and job.id not in self._taken:
            self._probing.add(job.id)
            self._put(job)

    def _is_open(self, job: Job) -> bool:
        return self._pausing.first_open(job, [job.own_offer]) is not None

    def _put(self, job: Job) -> None:
        assert self._lanes is not None  # noqa: S101 - for the type checker
        self._taken.add(job.id)
        self._queued[job.new.request_address] += 1
        self._lanes.put(job.new.request_address, [job])

    async def _move_due(self) -> None:
        """Give to the lanes what is owed and due, as far as they have room. New files have gone first."""
        horizon = self._around.policy.longest.total_seconds() + 1.0
        while True:
            self._due.clear()
            now = self._around.clock.steady()
            busy = [lane for lane, count in self._queued.items() if count >= self._at_once]
            limit = 2 * LINED_UP + len(self._taken)
            jobs, following = await self._book.waiting(
                self._chain, now, horizon=horizon, limit=limit, busy=busy
            )
            left = [] if self._draining else [job for job in jobs if job.id not in self._taken]
            await self._pausing.park([(job, job.own_offer) for job in left if not self._is_open(job)])
            for job in filter(self._is_open, left):
                room = LINED_UP if not job.again else self._at_once
                if job.id not in self._taken and self._queued[job.new.request_address] < room:
                    self._put(job)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if following is None else max(0.01, following - now)):
                    await self._due.wait()

    # moving

    async def _work(self, lane: str, jobs: list[Job]) -> None:
        wanted = await self._still_wanted(jobs)
        if self._draining or not wanted:
            self._done_with(lane, jobs)
            return
        self._under_way += len(jobs)
        began = self._around.clock.now()
        try:
            carried = await self._threads.do(self._carrier, wanted, self._count)
            await self._finish(carried, began)
        finally:
            self._under_way -= len(jobs)
            self._done_with(lane, jobs)
            if not self._under_way:
                self._idle.set()

    async def _still_wanted(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of jobs whose place is not paused meanwhile, and that nobody has dropped."""
        again = [job.id for job in jobs if job.again]  # only these can be dropped
        owed = await self._book.owed(again) if again else set()
        open_ = [job for job in jobs if job.id in self._probing or self._is_open(job)]
        return [job for job in open_ if not job.again or job.id in owed]

    async def _finish(self, carried: Sequence[Carried], began: float) -> None:
        good = [each for each in carried if each.fault is None]
        untold = await self._outcomes.finish(
            [Done(each.job, each.outgoing, began, each.landed, size=each.size) for each in good]
        )
        await self._pausing.arrived([(each.job, each.job.own_offer) for each in good])
        await self._outcomes.fail(untold)
        wrong = {each.job.id for each in untold}
        await self._arrived([each.job for each in good if each.job.id not in wrong])
        bad = [(each.job, each.fault) for each in carried if each.fault is not None]
        if bad:
            old = await outdated(self._book, [job for job, fault in bad if fault.failure in _OF_THE_SOURCE])
            failed = [Failed(job, None, _told(fault, is_outdated=job.id in old)) for job, fault in bad]
            await self._outcomes.fail(await self._pausing.failed(failed))

    def _done_with(self, lane: str, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._taken.discard(job.id)
            self._probing.discard(job.id)
            self._queued[lane] -= 1
        if self._queued[lane] <= 0:
            del self._queued[lane]
        self._due.set()

    def _count(self, bytes_: int) -> None:
        reached(Point.CARRYING)
        self._moved += bytes_

    async def _report(self) -> None:
        health, part, before = self._around.health, f"{self._chain} publish", 0
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            now = self._around.clock.monotonic()
            health.waiting(part, len(self._taken), now)
            if self._moved != before:
                health.progress(part, now, done=0)
            before = self._moved


_OF_THE_SOURCE = (Failure.SUPERSEDED, Failure.PERMANENT)
"""Failures that say, perhaps, that the source is not there any more."""


def _told(fault: Fault, *, is_outdated: bool) -> Reply:
    """A source that changed while it was moved is moved again, as it is then; unless that is another job's already."""
    if is_outdated:
        return Reply(None, failure=Failure.SUPERSEDED, reason="replaced; its newer version goes there")
    failure = Failure.TEMPORARY if fault.failure is Failure.SUPERSEDED else fault.failure
    return Reply(None, failure=failure, reason=fault.reason, about=fault.about)
