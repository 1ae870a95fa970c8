"""request -> move + verify -> answer: what one request socket is asked for, of what its chain has announced."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Protocol

from tranship.core.clock import text_of
from tranship.core.journey import Step
from tranship.core.leases import Leases, Teller
from tranship.core.values import Version
from tranship.delivery import Delivery
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.flights import Bring, Changed, Flights
from tranship.journal import Deletion, ServerBook, Transfer
from tranship.lanes import Waiting
from tranship.steps.acknowledge import acknowledged
from tranship.steps.lease import claimant_of, published_versions, told_ruling
from tranship.steps.replay import Replay
from tranship.steps.request import (
    Failure,
    Fault,
    Grant,
    Order,
    Refusal,
    destined,
    first_path,
    granted,
    not_granted,
    paths_of,
    progress_of,
    seq_of,
)
from tranship.wire.contract import Answerer, Question
from tranship.wire.messages import reply

PROGRESS_EVERY = 0.3
"""Seconds: so often that who has a patience of one second need not ask again."""

UNANSWERED = 10_000
"""Questions of one kind that wait for the journal; when there are more, nothing else is taken off the socket."""

INFO_MOST = 2256
"""Names in the answer to an `info` request, at most: what peers are used to."""

OPEN = 50_000
"""Requests that wait for their moves, per chain; one more is put off."""


class LetGo(Protocol):
    """What becomes of sources that were delivered or acknowledged."""

    def deletions(self, versions: Sequence[Version]) -> list[Deletion]:
        """What is owed once versions (as they lie on this host) are delivered."""

    async def __call__(self, paths: list[str], seq: int | None = None) -> list[str]:
        """Sources were acknowledged, by announcements up to number seq. Returns those that were never announced."""


@dataclass(slots=True)
class _Open:
    """An order and how many of its moves are still under way."""

    order: Order
    left: int


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a chain serves. transfers: at once, per destination host."""

    topic: str
    station: str
    transfers: int
    begun: float


class Requests:
    """One request socket's work. `run` until cancelled."""

    def __init__(
        self,
        chain: str,
        terms: Terms,
        grant: Grant,
        let_go: LetGo,
        delivery: Delivery,
        book: ServerBook,
        around: Surroundings,
        changed: Changed,
        bring: Bring | None = None,
    ) -> None:
        """Nothing is answered before `run`. Without `bring`, files lie where they were announced."""
        self._chain = chain
        self._terms = terms
        self._grant = grant
        self._let_go = let_go
        self._book = book
        self._around = around
        self._flights = Flights(
            chain,
            terms.transfers,
            delivery,
            let_go.deletions,
            self._landed,
            book,
            around,
            changed,
            bring,
        )
        self.threads = self._flights.threads
        self._replay = Replay(terms.topic, book)
        self._leases: Leases
        self._refused: Counter[tuple[str, str]] = Counter()
        self._open: dict[int, _Open] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._answerer: Answerer

    async def run(self, answerer: Answerer) -> None:
        """Answer until cancelled."""
        self._answerer = answerer
        self._open.clear()
        rivals = self._book.rivals
        self._leases = Leases(self._around.clock.monotonic(), await rivals.primaries(self._chain))
        try:
            async with asyncio.TaskGroup() as tasks:
                self._flights.open(tasks)
                tasks.create_task(self._tell_progress())
                tasks.create_task(self._answer(tasks))
        finally:
            self.threads.close()

    def forget(self, versions: Sequence[Version]) -> None:
        """Who has published these, or may, counts no more: they are announced once more, on purpose."""
        for version in versions:
            self._leases.forget(replace(version, checksum=""))

    async def drain(self) -> None:
        """Grant nothing new; wait until what was granted is moved and answered."""
        self._draining = True
        if self._open:
            self._idle.clear()
            await self._idle.wait()

    async def _answer(self, tasks: asyncio.TaskGroup) -> None:
        """Sort what is asked; each kind is answered by itself, so that what waits for the journal holds up no ping."""
        answers = {
            "push": self._push,
            "ack": self._acknowledge,
            "published": self._published,
            "replay": self._again,
            "ping": self._ping,
            "info": self._info,
        }
        kinds: dict[str, Waiting[Question]] = {kind: Waiting() for kind in answers}
        for kind, answer in answers.items():
            tasks.create_task(_work_off(kinds[kind], answer))
        while True:
            by_kind: dict[str, list[Question]] = {}
            for question in await self._answerer.asked():
                if question.message.type in kinds:
                    by_kind.setdefault(question.message.type, []).append(question)
                else:
                    self._answerer.answer(question, reply(question.message, "unknown"))
            for kind, questions in by_kind.items():
                kinds[kind].put(questions)
                await kinds[kind].room(UNANSWERED)

    # push

    async def _push(self, questions: list[Question]) -> None:
        if self._draining:
            draining = Fault(Failure.TEMPORARY, "shutting down")
            for question in questions:
                self._answerer.answer(question, not_granted(question, draining))
            return
        orders, refusals = await self._grant(questions)
        for refusal in refusals:
            self._refuse(refusal)
        orders = [order for order in orders if not self._put_off(order)]
        for order in orders:
            order.claimant = claimant_of(order.question.message)
        again = [
            (self._chain, move.version.path, move.clean)
            for order in orders
            if order.again
            for move in order.moves
        ]
        wanted = [(self._chain, move.version, move.clean) for order in orders for move in order.moves]
        past, _, done, _ = await asyncio.gather(  # in this order
            self._book.rivals.past(self._chain, [version for _, version, _ in wanted]),
            self._book.transfers.forget(again),
            self._book.transfers.begin(wanted, self._around.clock.now()),
            self._meet(orders),
        )
        reached(Point.GRANTED)
        before = iter(past)
        for order in orders:
            of_order = list(islice(before, len(order.moves)))
            order.tellers = [teller for each in of_order for teller in each.tellers]
            order.moved = any(each.moved for each in of_order)
            self._take_off(order, done)

    async def _meet(self, orders: Sequence[Order]) -> None:
        """Write down whose spares they come from: after a restart those may not ask before their spares tell."""
        if unknown := self._leases.meet(client for order in orders for client in order.claimant.spare_of):
            await self._book.rivals.meet(self._chain, unknown)

    def _put_off(self, order: Order) -> bool:
        """Whether order is sent away for now, because too much waits already."""
        behind = any(self._flights.are_behind(move.place) for move in order.moves)
        if behind or len(self._open) >= OPEN:
            told = f"{order.moves[0].place}: too much waits already; ask again later"
            self._answerer.answer(order.question, not_granted(order.question, Fault(Failure.TEMPORARY, told)))
            self._count("put off")
            return True
        return False

    def _take_off(self, order: Order, done: Mapping[tuple[str, str], Transfer]) -> None:
        open_ = _Open(order, 0)
        for move in order.moves:
            told = done.get((move.version.path, move.clean))
            if told is not None and move not in self._flights:
                moved = f"moved before, at {text_of(told.at)}"
                path = move.version.path
                self._around.story.tell(Step.SKIPPED, path, self._chain, to=move.clean, reason=moved)
            else:
                open_.left += 1
                self._flights.join(move, order)
        if open_.left:
            self._open[id(order)] = open_
        else:
            self._grant_lease(order)

    def _landed(self, orders: Sequence[Order], fault: Fault | None) -> None:
        for order in orders:
            if fault is not None:
                order.faults.append(fault)
            open_ = self._open[id(order)]
            open_.left -= 1
            if not open_.left:
                del self._open[id(order)]
                self._reply(order)
                if not self._open:
                    self._idle.set()

    def _reply(self, order: Order) -> None:
        if order.faults:
            self._answerer.answer(order.question, not_granted(order.question, order.faults[0]))
        else:
            self._grant_lease(order)

    def _grant_lease(self, order: Order) -> None:
        """Answer a request that is fulfilled, and say who may publish it."""
        versions = [Version(v.path, v.size, v.mtime_ns) for v in (move.version for move in order.moves)]
        now = self._around.clock.monotonic()
        ruling = self._leases.rule(versions, order.claimant, order.tellers, now, moved=order.moved)
        about = told_ruling(ruling) if order.claimant.client else {}
        self._answerer.answer(order.question, granted(order, about))

    async def _published(self, questions: list[Question]) -> None:
        """Write down what clients have published, so that no other client does."""
        now = self._around.clock.now()
        for question in questions:
            claimant, versions = claimant_of(question.message), published_versions(question.message)
            teller = Teller(claimant.client, claimant.spare_of, now)
            if claimant.client:
                await self._book.rivals.told_by(self._chain, versions, teller)
                for version in versions:
                    self._leases.told(version, teller)
            self._answerer.answer(question, reply(question.message, "published", {"files": len(versions)}))

    async def _tell_progress(self) -> None:
        """Tell the health, and those who asked for it, how far the work is, so that nobody takes it for dead."""
        health, clock, part = self._around.health, self._around.clock, f"{self._chain} move"
        before: dict[int, int] = {}
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            now = clock.monotonic()
            health.waiting(part, len(self._flights), now)
            self._flights.failing.look()
            moved = {id(flight): flight.moved for flight in self._flights}
            if any(before.get(flight, 0) != bytes_ for flight, bytes_ in moved.items()):
                health.progress(part, now, done=0)
            for flight in [flight for flight in self._flights if id(flight) in before]:
                for order in flight.orders:
                    message = progress_of(order.question, flight.moved, max(0, flight.source.size))
                    if message is not None:
                        self._answerer.answer(order.question, message)
            before = moved

    def _refuse(self, refusal: Refusal) -> None:
        fault = Fault(refusal.failure, refusal.reason)
        self._answerer.answer(refusal.question, not_granted(refusal.question, fault))
        if refusal.failure is Failure.SUPERSEDED:
            return
        self._count("refused")
        key = refusal.kind, refusal.reason
        if len(self._refused) < 1000 and not self._refused[key]:
            asked = refusal.question.message
            file = first_path(asked.data)
            self._around.story.tell(Step.REFUSED, file, self._chain, peer=asked.sender, reason=refusal.reason)
            self._refused[key] += 1

    # the other questions

    async def _acknowledge(self, questions: list[Question]) -> None:
        for question in questions:
            paths = list(paths_of(question.message.data))
            arrived = destined(question.message)
            if arrived:
                await self._book.transfers.had_elsewhere(self._chain, arrived)
            unknown = await self._let_go(paths, seq_of(question.message.data))
            reached(Point.ACKNOWLEDGED)
            if unknown or not paths:
                reason = (
                    f"{(unknown or ['nothing'])[0]} not reachable: chain {self._chain} never announced it"
                )
                self._refuse(Refusal(question, Failure.REFUSED, "not announced", reason))
            else:
                self._answerer.answer(question, acknowledged(question.message))
                for path in paths:
                    self._around.story.tell(Step.ACKNOWLEDGED, path, self._chain)

    async def _again(self, questions: list[Question]) -> None:
        for question in questions:
            self._answerer.answer(question, await self._replay(question))

    async def _ping(self, questions: list[Question]) -> None:
        for question in questions:
            pong = reply(question.message, "pong", {"station": self._terms.station})
            self._answerer.answer(question, pong)

    async def _info(self, questions: list[Question]) -> None:
        for question in questions:
            message = question.message
            asked = message.fields.get("max_count", INFO_MOST)
            most = min(asked, INFO_MOST) if isinstance(asked, int) and asked >= 0 else INFO_MOST
            names = await self._book.newest(message.subject, most)
            uptime = str(timedelta(seconds=self._around.clock.now() - self._terms.begun))
            data = {"files": names, "max_count": most, "uptime": uptime}
            self._answerer.answer(question, reply(message, "info", data))

    def _count(self, part: str, count: int = 1) -> None:
        self._around.health.progress(f"{self._chain} {part}", self._around.clock.monotonic(), count)


async def _work_off(
    questions: Waiting[Question], answer: Callable[[list[Question]], Awaitable[None]]
) -> None:
    while True:
        await answer(await questions.take(1000, 1000))
