"""move + verify: what is under way from here, once per file version and destination, whoever waits for it.

bring -> move + verify -> journal -> landed
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tranship.core.journey import Step
from tranship.core.values import Version
from tranship.delivery import Delivery, Outcome
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.failing import Failing
from tranship.journal import Deletion, ServerBook, Transfer
from tranship.lanes import Lanes, Threads
from tranship.steps.request import Failure, Fault, Move, Order
from tranship_movers.place import Place

MOVERS = 256
"""Threads that move, per chain: so many hosts that don't answer, times the transfers to each, hold up nobody else."""

LINED_UP = 2_000
"""Moves that wait per place; a request for more is put off."""


class Changed(Protocol):
    """Is told of sources that are not what was announced (any more)."""

    async def __call__(self, paths: Sequence[str]) -> None:
        """These are to be looked at again."""


class Lacking(Exception):
    """A source can't be had; the text says why."""

    def __init__(self, failure: Failure, reason: str) -> None:
        """Failure says whether asking again can help."""
        super().__init__(reason)
        self.failure = failure
        self.reason = reason


class Bring(Protocol):
    """Brings sources that lie elsewhere, before they are moved on."""

    async def __call__(self, version: Version) -> Version:
        """The file that was announced as version, as it lies on this host now. Raises Lacking."""


@dataclass(slots=True)
class Flight:
    """A move under way, and every request that waits for it. source: the file as it lies on this host."""

    move: Move
    source: Version
    orders: list[Order]
    moved: int = 0

    @property
    def own_move(self) -> Move:
        """The move, of the file that lies here."""
        return self.move if self.source is self.move.version else replace(self.move, version=self.source)


class Flights:
    """One chain's moves. `open` before the first."""

    def __init__(
        self,
        chain: str,
        transfers: int,
        delivery: Delivery,
        deletions: Callable[[Sequence[Version]], list[Deletion]],
        landed: Callable[[Sequence[Order], Fault | None], None],
        book: ServerBook,
        around: Surroundings,
        changed: Changed,
        bring: Bring | None,
    ) -> None:
        """Nothing is under way; transfers: at once, per destination host.

        deletions: what is owed once files are delivered. landed: is told of the orders that waited for a move, and why
        it failed (None: it did not). Without `bring`, files lie where they were announced.
        """
        self.threads = Threads(f"{chain} move", MOVERS)
        self.failing: Failing
        self._chain = chain
        self._transfers = transfers
        self._delivery = delivery
        self._deletions = deletions
        self._landed = landed
        self._book = book
        self._around = around
        self._changed = changed
        self._bring = bring
        self._flights: dict[tuple[Version, str], Flight] = {}
        self._tasks: asyncio.TaskGroup
        self._lanes: Lanes[Place, Flight]

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin with nothing under way; the work belongs to tasks."""
        self._flights.clear()
        self.failing = Failing(self._chain, self._around)
        self._tasks = tasks
        self._lanes = Lanes(
            tasks, self._move_batch, width=self._transfers, weigh=lambda f: max(0, f.source.size)
        )

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._flights.values()))

    def __contains__(self, move: Move) -> bool:
        return (move.version, move.clean) in self._flights

    def are_behind(self, place: Place) -> bool:
        """Whether too much waits for the host of place to take on more."""
        return self._lanes.waiting(place.at("/")) >= LINED_UP

    def join(self, move: Move, order: Order) -> None:
        """Have order wait for move, which begins unless it is under way."""
        key = move.version, move.clean
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(move, move.version, [])
            if self._bring is None:
                self._lanes.put(move.place.at("/"), [flight])
            else:
                self._tasks.create_task(self._bring_in(flight, self._bring))
        flight.orders.append(order)

    async def _bring_in(self, flight: Flight, bring: Bring) -> None:
        """Have the source here before it is moved on."""
        try:
            flight.source = await bring(flight.move.version)
        except Lacking as lacking:
            outcome = Outcome(flight.move, fault=Fault(lacking.failure, lacking.reason))
            await self._book.transfers.moved(
                [_transfer(self._chain, flight, outcome, self._around.clock.now())]
            )
            self._land(flight, outcome)
        else:
            self._lanes.put(flight.move.place.at("/"), [flight])

    async def _move_batch(self, _: Place, flights: list[Flight]) -> None:
        keys = {(f.source, f.move.clean): f for f in flights}

        def count(move: Move, bytes_: int) -> None:
            reached(Point.MOVING)
            keys[move.version, move.clean].moved += bytes_

        outcomes = await self.threads.do(self._delivery, [flight.own_move for flight in flights], count)
        reached(Point.MOVED)
        now = self._around.clock.now()
        moved = [outcome.move.version for outcome in outcomes if outcome.fault is None]
        changed = [outcome.move.version.path for outcome in outcomes if outcome.changed]
        outcomes = [_as_announced(f, outcome) for f, outcome in zip(flights, outcomes, strict=True)]
        await self._book.transfers.moved(
            [_transfer(self._chain, f, outcome, now) for f, outcome in zip(flights, outcomes, strict=True)],
            self._deletions(moved),
        )
        reached(Point.MOVE_JOURNALED)
        for flight, outcome in zip(flights, outcomes, strict=True):
            self.failing.landed(outcome)
            self._land(flight, outcome)
        self._around.health.progress(f"{self._chain} move", self._around.clock.monotonic(), len(moved))
        await self._changed(changed)

    def _land(self, flight: Flight, outcome: Outcome) -> None:
        version = flight.move.version
        del self._flights[version, flight.move.clean]
        if outcome.fault is None:
            ms = round(outcome.seconds * 1000, 1)
            self._tell(Step.MOVED, version, size=version.size, ms=ms, to=outcome.landed)
        else:
            to = flight.move.clean
            self._tell(Step.FAILED, version, size=version.size, to=to, reason=outcome.fault.reason)
        self._landed(flight.orders, outcome.fault)

    def _tell(self, step: Step, version: Version, **facts: object) -> None:
        self._around.story.tell(step, version.path, self._chain, **facts)


def _as_announced(flight: Flight, outcome: Outcome) -> Outcome:
    """The outcome of what was announced: a copy that has changed here is brought anew, if it is asked for again."""
    copied = flight.source is not flight.move.version
    fault = outcome.fault
    if fault is not None and copied and outcome.changed:
        fault = replace(fault, failure=Failure.TEMPORARY)
    return replace(outcome, move=flight.move, fault=fault)


def _transfer(chain: str, flight: Flight, outcome: Outcome, now: float) -> Transfer:
    move, fault = outcome.move, outcome.fault
    state, reason = ("done", "") if fault is None else ("given up", fault.reason)
    ours = any(order.question.message.ticket for order in flight.orders)
    if ours and fault is not None and fault.failure in (Failure.TEMPORARY, Failure.FATAL):
        state = "failed"
    return Transfer(chain, move.version, move.clean, state, reason, outcome.landed, now)
