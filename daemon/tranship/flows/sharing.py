"""Which deliveries are this client's, and which another's of the same section: a spare and its primary.

What others say is held against the table (core/handover.py); a server of ours judges when both ask (core/leases.py).
What was published is told to the servers, so that nobody publishes it again, even after a restart.
"""

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol

from tranship.core.handover import Event, Handover, Matter, Phase, Standing, comes_first
from tranship.core.journey import Step
from tranship.core.leases import Claimant, Right, Ruling
from tranship.core.values import Wanted
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.leaving import HANDED_OVER
from tranship.journal import ClientBook, Job
from tranship.lanes import Waiting
from tranship.steps.hear import Announcement, Said, likeness, noted
from tranship.steps.lease import AT_ONCE, claim, published_request
from tranship.wire.messages import Message, decode_whole

FRESH = 0.8
"""The part of its lease in which a client dares to publish, counted from when it asked."""

_PEERS = 32
"""Other clients that are remembered; more than a section ever has, and whoever invents any is kept to it."""

_ALIKE = 5000
"""Deliveries of peers of the old kind of which it is remembered what else than their names was said of them."""

_TELL_AGAIN = 1.0
_TELL_TIMES = 30

Inquire = Callable[[Message, str], Awaitable[Message | None]]


class Turns(Protocol):
    """Whose turn it is among clients of one section."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a request says of who asks."""

    async def run(self, inquire: Inquire, ticket: Callable[[str], str]) -> None:
        """Tell servers what was published, until cancelled."""

    async def unpublished(self) -> list[tuple[Job, Message]]:
        """What was found whole before a crash, but perhaps not published: who may is to be asked for."""

    def where(self, about: Matter) -> str:
        """The server that another client has asked for this, "" if none has: there it is judged."""

    async def may_ask(self, job: Job, about: Matter) -> bool:
        """Whether it is this client's turn to ask; if not, the journal knows."""

    async def ruled_out(self, job: Job, about: Matter, ruling: Ruling) -> None:
        """The server says that another client has the lease, or has published it."""

    async def leave(self, job: Job, standing: Standing) -> None:
        """Write down that job is another client's, for now or for good."""

    def published(self, job: int, address: str, announcement: Announcement) -> None:
        """Have the server at address, which announced it, know that this was published."""


class Alone:
    """The turns of who publishes nothing: it is always its turn."""

    facts: Mapping[str, Any] = MappingProxyType({})

    async def run(self, inquire: Inquire, ticket: Callable[[str], str]) -> None:
        """There is nothing to tell."""

    async def unpublished(self) -> list[tuple[Job, Message]]:
        """There is nothing to publish."""
        return []

    def where(self, about: Matter) -> str:
        """There is nobody else."""
        return ""

    async def may_ask(self, job: Job, about: Matter) -> bool:
        """Always."""
        return True

    async def ruled_out(self, job: Job, about: Matter, ruling: Ruling) -> None:
        """Never happens."""

    async def leave(self, job: Job, standing: Standing) -> None:
        """Never happens."""

    def published(self, job: int, address: str, announcement: Announcement) -> None:
        """There is nothing to tell."""


class Sharing:
    """One chain's part among the clients of its section. `run` beside it, until cancelled."""

    def __init__(self, chain: str, lease: timedelta, book: ClientBook, around: Surroundings) -> None:
        """Give another client the time `lease` to publish what it has under way.

        In two halves: the first from its last word, the second, if the server knows of it, from the transfer's end.
        """
        self._chain = chain
        self._half = lease.total_seconds() / 2
        self._book = book
        self._around = around
        self._handover = Handover()
        self._claimant = Claimant(uuid.uuid4().hex[:12], frozenset(), self._half)
        self._alike: OrderedDict[str, Matter] = OrderedDict()
        self._told: Waiting[tuple[int, str, Announcement]] = Waiting()

    async def begin(self) -> None:
        """Learn from the journal who this client is, and whom it has heard."""
        client, peers = await self._book.section.client(self._chain, self._claimant.client)
        self._claimant = Claimant(client, frozenset(peers), self._half)

    async def run(self, inquire: Inquire, ticket: Callable[[str], str]) -> None:
        """Tell servers what was published, as soon as its messages have left for certain; first what is left over."""
        async with asyncio.TaskGroup() as tasks:
            untold = await self._book.untold(self._chain)
            batch = [(job, address, noted(frame)) for job, address, frame in untold]
            while True:
                for address, told in _by_server(batch).items():
                    for start in range(0, len(told), AT_ONCE):
                        page = told[start : start + AT_ONCE]
                        tasks.create_task(self._tell_server(inquire, ticket, *address, page))
                batch = await self._told.take(10_000, 10_000)
                await asyncio.sleep(HANDED_OVER)
                reached(Point.SAID)

    @property
    def client(self) -> str:
        """This client's id."""
        return self._claimant.client

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a request says of who asks."""
        return claim(self._claimant)

    async def unpublished(self) -> list[tuple[Job, Message]]:
        """What was found whole before a crash, but perhaps not published: who may is to be asked for."""
        found = await self._book.unpublished(self._chain)
        return [(job, decode_whole(frame)) for job, frame in found if job.new.many and frame]

    # what others say

    async def heard(self, said: Sequence[Said]) -> None:
        """Leave to other clients what they have under way, for a while, and what they have published."""
        now = self._around.clock.steady()
        held: list[tuple[Matter, float]] = []
        told: list[Matter] = []
        for each in said:
            if each.client == self.client:
                continue
            await self._meet(each.client)
            event, about = self._event(each), self._meant(each)
            if event is None or not about.identity:
                continue
            standing = self._handover.happened(
                about, event, now + self._patience(each), each.client, each.where
            )
            if standing.phase is Phase.HELD:
                held.append((about, standing.until))
            elif standing.phase is Phase.ELSEWHERE and event is Event.TOLD:
                told.append(about)
        if held:
            await self._book.section.hold(self._chain, held)
        if told:
            for path in await self._book.section.elsewhere(self._chain, told, self._around.clock.now()):
                self._leave(path, "published by another client")

    def announced(self, about: Matter, due: float) -> Standing:
        """How a delivery stands that is announced; if nobody has spoken of it, it waits until due."""
        return self._handover.happened(about, Event.ANNOUNCED, due)

    def where(self, about: Matter) -> str:
        """The server that another client has asked for this, "" if none has: there it is judged."""
        return self._handover.standing(about).where

    # before this client acts

    async def may_ask(self, job: Job, about: Matter) -> bool:
        """Whether it is this client's turn to ask; if not, the journal knows."""
        standing = self._handover.standing(about)
        if standing.is_left(self._around.clock.steady()):
            await self.leave(job, standing)
            return False
        if standing.phase is Phase.HELD:
            self._count("taken over")
            reason = f"taken over from {_whose(standing)}, which fell silent"
            self._around.story.tell(Step.RETRIED, job.new.path, self._chain, reason=reason)
        self._handover.happened(about, Event.TAKEN)
        return True

    def may_publish(self, about: Matter) -> Standing | None:
        """None if it is this client's turn to publish, which it then does at once; else how the delivery stands."""
        standing = self._handover.standing(about)
        if standing.is_left(self._around.clock.steady()):
            return standing
        self._handover.happened(about, Event.PUBLISHED)
        return None

    def is_fresh(self, ruling: Ruling | None, at: float, since: float) -> bool:
        """Whether ruling still holds for a request that was sent at `at` (epoch; `since`: monotonic), in seconds."""
        clock = self._around.clock
        elapsed = max(clock.now() - at, clock.monotonic() - since)
        return ruling is None or elapsed < FRESH * self._half

    async def ruled_out(self, job: Job, about: Matter, ruling: Ruling) -> None:
        """The server says that another client has the lease, or has published it."""
        if ruling.right is Right.TOLD:
            standing = self._handover.happened(about, Event.TOLD, by=ruling.client)
        else:
            until = self._around.clock.steady() + ruling.seconds
            standing = self._handover.happened(about, Event.RULED_OUT, until, ruling.client)
        await self.leave(job, standing)

    async def leave(self, job: Job, standing: Standing) -> None:
        """Write down that job is another client's, for now or for good."""
        if standing.phase is Phase.HELD:
            await self._book.section.put_off(job.id, standing.until)
        else:
            await self._book.section.struck_off(job.id, self._around.clock.now())
            self._leave(job.new.path, f"published by {_whose(standing)}")

    # what this client has published

    def published(self, job: int, address: str, announcement: Announcement) -> None:
        """Have the server at address, which announced it, know that this was published."""
        self._told.put([(job, address, announcement)])

    async def _tell_server(
        self,
        inquire: Inquire,
        ticket: Callable[[str], str],
        address: str,
        topic: str,
        told: Sequence[tuple[int, Wanted]],
    ) -> None:
        """Until it answers, be it `unknown`, as it does not judge: what its life was told is lost if that ends."""
        files = [file for _, file in told]
        patience = _TELL_AGAIN
        for _ in range(_TELL_TIMES):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    if await inquire(
                        published_request(topic, ticket("published"), self._claimant, files), address
                    ):
                        await self._book.told([(job, address) for job, _ in told])
                        return
            await asyncio.sleep(_TELL_AGAIN)
            patience *= 2

    # who says what

    async def _meet(self, client: str) -> None:
        """Remember a client that is heard for the first time: it may come back when it is not heard."""
        known = self._claimant.spare_of
        if client and client not in known and len(known) < _PEERS:
            await self._book.section.meet(self._chain, client, self._around.clock.now())
            self._claimant = Claimant(self._claimant.client, known | {client}, self._half)

    def _meant(self, said: Said) -> Matter:
        """What is spoken of; a peer of the old kind that unpacks speaks of other names than were announced."""
        alike = "" if said.client else likeness(said.message)
        if not alike:
            return said.about
        if said.event is not Event.TOLD:
            self._alike[alike] = said.about
            if len(self._alike) > _ALIKE:
                self._alike.popitem(last=False)
            return said.about
        known = self._handover.standing(said.about).phase is not Phase.UNHEARD
        before = self._alike.pop(alike, said.about)
        return said.about if known else before

    def _event(self, said: Said) -> Event | None:
        unjudged = not said.many and said.event is Event.PUSHED
        return Event.OUTRANKED if unjudged and comes_first(said.client, self.client) else said.event

    def _patience(self, said: Said) -> float:
        half = said.lease or self._half
        return half if said.many or said.event is Event.ACKED else 2 * half  # where nobody judges, be careful

    def _leave(self, path: str, reason: str) -> None:
        self._count("left to another client")
        self._around.story.tell(Step.SKIPPED, path, self._chain, reason=reason)

    def _count(self, part: str) -> None:
        self._around.health.progress(f"{self._chain} {part}", self._around.clock.monotonic())


def _by_server(
    batch: Iterable[tuple[int, str, Announcement]],
) -> Mapping[tuple[str, str], list[tuple[int, Wanted]]]:
    """What is to be told, by request address and topic."""
    found: dict[tuple[str, str], list[tuple[int, Wanted]]] = {}
    for job, address, announcement in batch:
        files = [(job, file) for file in announcement.files]
        found.setdefault((address, announcement.message.subject), []).extend(files)
    return found


def _whose(standing: Standing) -> str:
    return f"client {standing.by}" if standing.by else "another client, which did not name itself"
