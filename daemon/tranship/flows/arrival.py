"""verify -> acknowledge -> publish: what becomes of deliveries that were asked for.

One that is verified is written down before it is published, and again after, so that a crash repeats a message (with
the same id) rather than loses it. One that failed is written down with its reason, and when it is tried again.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tranship.core.journey import Step
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.hosts import is_own_host
from tranship.journal import ClientBook, Delivered, Job, Retry, Source
from tranship.lanes import Waiting
from tranship.steps.acknowledge import acknowledgement
from tranship.steps.hear import announcement_of
from tranship.steps.publish import local_message, uri_at
from tranship.steps.request import Failure, Reply
from tranship.steps.verify import Arrival as Arriving
from tranship.steps.verify import verify
from tranship.wire.contract import Asker, Publisher
from tranship.wire.messages import Message, decode_whole
from tranship_movers.place import Place

HANDED_OVER = 0.5
"""Seconds that ZeroMQ's thread has to hand over what was published; a crash within repeats it, with the same id."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under way."""

    job: Job
    announcement: Message
    place: Place
    offer: Source
    asker: Asker
    at: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request that was fulfilled."""

    asked: Asked
    reply: Reply


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed: what offer's server said."""

    job: Job
    offer: Source
    reply: Reply

    @classmethod
    def temporarily(cls, job: Job, offer: Source, reason: str) -> "Failed":
        """An attempt that failed here, for this reason."""
        return cls(job, offer, Reply(None, failure=Failure.TEMPORARY, reason=reason))


class Arrival:
    """The outcomes of one chain's deliveries. `run` beside it, until cancelled."""

    def __init__(
        self, chain: str, root: str, replacements: Mapping[str, Any], book: ClientBook, around: Surroundings
    ) -> None:
        """Publish what arrives, with its items replaced; destinations on this host lie below the folder root."""
        self._chain = chain
        self._root = root
        self._replacements = replacements
        self._book = book
        self._around = around
        self._publisher: Publisher
        self._told: Waiting[tuple[int, float]] = Waiting()
        self._noted = asyncio.Event()
        self._noted.set()

    async def run(self, publisher: Publisher) -> None:
        """Publish again what was perhaps not before a crash; then have the journal know what was published."""
        self._publisher = publisher
        self._told = Waiting()
        self._noted.set()
        await self._publish_again()
        while True:
            told = await self._told.take(10_000, 10_000)
            await asyncio.sleep(HANDED_OVER)
            await self._book.published(told)
            reached(Point.DONE)
            if not self._told:
                self._noted.set()

    async def noted(self) -> None:
        """Wait until the journal knows of everything that was published."""
        await self._noted.wait()

    def say_under_way(self, request: Message) -> None:
        """Publish a request (without credentials), for spares to hear."""
        self._publisher.tell([request])

    async def finish(self, arrived: Sequence[Arrived]) -> dict[int, str]:
        """Verify what has arrived; write down and publish what is whole. Why the others are not, by job."""
        reached(Point.ANSWERED)
        reasons = await asyncio.to_thread(_verified, arrived, self._root)
        wrong = {a.asked.job.id: reason for a, reason in zip(arrived, reasons, strict=True) if reason}
        good = [(a.asked, self._outgoing(a)) for a in arrived if a.asked.job.id not in wrong]
        if not good:
            return wrong
        reached(Point.VERIFIED)
        now = self._around.clock.now()
        await self._book.delivered(
            [Delivered(asked.job.id, out.encode(), asked.at, now) for asked, out in good]
        )
        reached(Point.DELIVERED)
        self._publisher.tell(
            [message for asked, out in good for message in (acknowledgement(asked.announcement), out)]
        )
        reached(Point.PUBLISHED)
        self._note([asked.job.id for asked, _ in good])
        for asked, _ in good:
            ms = round((now - asked.at) * 1000, 1)
            self._tell(Step.PUBLISHED, asked.job, size=asked.job.new.size, ms=ms, to=str(asked.place))
        self._progress(len(good))
        return wrong

    async def fail(self, failed: Sequence[Failed]) -> None:
        """Write down attempts that failed: tried again later, or given up."""
        now, policy = self._around.clock.now(), self._around.policy
        retries = []
        for attempt in failed:
            job, told = attempt.job, attempt.reply
            offer: Source | None = attempt.offer
            match told.failure:
                case Failure.SUPERSEDED:
                    state, step = "superseded", Step.SKIPPED
                case Failure.PERMANENT | Failure.REFUSED:
                    state, step = "dead", Step.FAILED
                case _ if policy.too_old(job.new.wanted, now):
                    state, step, offer = "dead", Step.FAILED, None
                case _:
                    state, step = "wanted", Step.RETRIED
            due = now + policy.wait(job.attempts + 1)
            retries.append(Retry(job.id, told.reason, state, due, offer))
            self._tell(step, job, size=job.new.size, attempt=job.attempts + 1, reason=told.reason)
        await self._book.failed(retries)
        self._progress(0)  # an answer, if no good one: whoever waits is not stuck

    def _outgoing(self, arrived: Arrived) -> Message:
        asked, told = arrived.asked, arrived.reply
        place, message = asked.place, asked.announcement
        address = {"request_address": asked.offer.request_address}
        return local_message(
            message.subject,
            told.type,
            {**message.data, **(told.data or {}), **address},
            place=place,
            local=is_here(place),
            identity=f"{asked.job.id}-{asked.job.new.identity}",
            replace=self._replacements,
        )

    async def _publish_again(self) -> None:
        """Publish what was verified before a crash, but perhaps not published. The messages have the same ids."""
        unpublished = await self._book.unpublished(self._chain)
        if unpublished:
            self._publisher.tell([decode_whole(frame) for _, frame in unpublished])
            self._note([job.id for job, _ in unpublished])
            for job, _ in unpublished:
                self._tell(Step.PUBLISHED, job, reason="again, after a restart")

    def _note(self, jobs: Sequence[int]) -> None:
        """Have the journal know that jobs were published, as soon as their messages have left for certain."""
        now = self._around.clock.now()
        self._told.put([(job, now) for job in jobs])
        self._noted.clear()

    def _tell(self, step: Step, job: Job, **facts: object) -> None:
        self._around.story.tell(step, job.new.path, self._chain, **facts)

    def _progress(self, count: int) -> None:
        self._around.health.progress(f"{self._chain} publish", self._around.clock.monotonic(), count)


def is_here(place: Place) -> bool:
    """Whether place lies on this host's own file system."""
    return place.scheme in _PATHS and is_own_host(place.host)


_PATHS = frozenset({"file", "scp", "sftp", "ftp", "ftps"})
"""Schemes whose paths are paths of their host."""

_OTHER_ROOTS = frozenset({"sftp", "ftp", "ftps"})
"""Of these, those whose servers often show their users another root; then `ftp_root` tells which, or nobody does."""


def _verified(arrived: Sequence[Arrived], root: str) -> list[str]:
    """Per delivery why it is not what was announced; "" if it is, or if it lies on another host. Blocking."""
    return [_wrong(a, root) if is_here(a.asked.place) else "" for a in arrived]


def _wrong(arrived: Arrived, root: str) -> str:
    announcement = announcement_of(arrived.asked.announcement)
    if announcement is None:
        return "the announcement names no file"
    place = arrived.asked.place
    paths = [uri_at(place, file.folder, file.uid, local=True) for file in announcement.files]
    arrivals = [
        Arriving(os.path.join(root, path.lstrip("/")), file)
        for path, file in zip(paths, announcement.files, strict=True)
    ]
    if place.scheme in _OTHER_ROOTS and root == "/":
        arrivals = [arrival for arrival in arrivals if os.path.lexists(arrival.path)]
    return verify(arrivals)
