"""The server: watches places, announces what is complete, moves what is asked for.

detect -> settle -> announce            one flow per chain, told by the kernel and by scans
request -> move + verify -> answer      one flow per chain, work going by destination
acknowledge -> remove                   what was let go is deleted when its delay is over
"""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tranship.chains import Chains
from tranship.config.server import ServerChain, ServerConfig
from tranship.config.server import Watch as WatchBy
from tranship.core.allow import Allowed
from tranship.core.clock import Clock
from tranship.core.health import Health
from tranship.core.journey import Step
from tranship.core.origin import Origin
from tranship.core.story import Story
from tranship.core.values import Sighting, Version
from tranship.delivery import Delivery, Outcome
from tranship.hosts import make_known
from tranship.journal import ServerBook, Transfer
from tranship.lanes import Lanes, Waiting
from tranship.steps.acknowledge import LetGo, acknowledged
from tranship.steps.announce import Announce, Numbers, Wording
from tranship.steps.detect import Seen, Watch, scan
from tranship.steps.remove import Remove
from tranship.steps.replay import Replay, heads_told
from tranship.steps.request import (
    Failure,
    Grant,
    Move,
    Order,
    Refusal,
    granted,
    not_granted,
    paths_of,
    progress_of,
    seq_of,
)
from tranship.steps.settle import Settle
from tranship.wire.contract import AUDIENCE, Answerer, Bus, OnOddity, Publisher, Question
from tranship.wire.discovery import beat, told_address
from tranship.wire.messages import reply
from tranship_movers.errors import MoverError
from tranship_movers.place import Place
from tranship_movers.pool import Pool

LARGE = 4 << 20
"""Bytes. A larger file is read, and moved, beside the small ones, so that they don't wait for it."""

HEADS_EVERY = timedelta(seconds=2)
"""How often the heads of the topics are told at least, so that a lost last announcement is noticed."""

PROGRESS_EVERY = 1.0
ROOT_EVERY = 2.0
"""Seconds between two looks whether the watched folder is still the one that is watched."""

INFO_MOST = 2256
"""Names in the answer to an `info` request, at most: what peers are used to."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process gives to its chains."""

    book: ServerBook
    bus: Bus
    pool: Pool
    clock: Clock
    story: Story
    health: Health
    on_oddity: OnOddity


class Server:
    """A server process's work. `run` until it is cancelled, or has drained."""

    def __init__(self, config: ServerConfig, around: Surroundings) -> None:
        """Make it; nothing happens before `run`."""
        self.health = around.health
        self._config = config
        self._around = around
        self._drained = asyncio.Event()
        self._numbers = Numbers("")
        self._life = uuid.uuid4().hex[:8]
        self._publisher: Publisher
        self._chains: Chains[ServerChain, _Chain]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until drained. Calls ready when every socket is bound and every place watched."""
        around, config = self._around, self._config
        self._numbers.server = await around.book.identity(uuid.uuid4().hex[:12])
        self._numbers.heads = await around.book.heads()
        self._numbers.told = dict(self._numbers.heads)
        self._publisher = around.bus.publisher(config.publish.address, config.name)
        begun = around.clock.now()
        audience = asyncio.Event()
        asyncio.get_running_loop().call_later(AUDIENCE, audience.set)

        def chain(name: str, options: ServerChain) -> _Chain:
            return _Chain(name, options, around, self._publisher, self._numbers, begun, audience)

        async with asyncio.TaskGroup() as tasks:
            self._chains = Chains(tasks, chain, around.health, around.clock)
            await self._chains.become(config.chains)
            parts = {
                "heartbeat": self._beat,
                "deletions": self._remove,
                "discovery": self._register,
                "connections": self._tidy,
                "journal": lambda: self._chains.watch("journal writing", lambda: around.book.trouble),
            }
            background = [tasks.create_task(self._chains.keep(name, part)) for name, part in parts.items()]
            await self._chains.started()
            ready()
            await self._drained.wait()
            self._chains.cancel()
            for task in background:
                task.cancel()
        self._publisher.close()

    async def drain(self) -> None:
        """Take nothing new, finish what is under way, then end `run`."""
        await self._chains.drain()
        self._drained.set()

    async def reload(self, config: ServerConfig) -> list[str]:
        """Go on with config: chains that are the same are not touched. Returns what has changed, in words."""
        changes = await self._chains.become(config.chains)
        for option in ("name", "journal", "publish", "heartbeat", "nameservers"):
            if getattr(config, option) != getattr(self._config, option):
                changes.append(f"{option} differs: it takes effect at the next start")
        return changes

    async def _beat(self) -> None:
        interval = self._config.heartbeat or timedelta(seconds=30)
        every = min(interval, HEADS_EVERY)
        while True:
            heads = [chain.head() for chain in self._chains]
            message = beat(self._config.name, interval.total_seconds())
            self._publisher.tell([heads_told(message, self._numbers.server, self._life, heads)])
            await asyncio.sleep(every.total_seconds())

    async def _remove(self) -> None:
        remove = Remove(self._around.book, self._around.clock, self._around.story)
        while True:
            wait = await remove()
            await asyncio.sleep(1.0 if wait is None else min(1.0, wait))

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            await asyncio.to_thread(self._around.pool.close_idle)

    async def _register(self) -> None:
        around, config = self._around, self._config
        await make_known(
            around.bus, self._publisher.address, config.name, config.nameservers, around.on_oddity
        )


@dataclass(slots=True)
class _Flight:
    """A move under way, and every request that waits for it."""

    move: Move
    orders: list[Order]
    moved: int = 0


@dataclass(slots=True)
class _Open:
    """An order and how many of its moves are still under way."""

    order: Order
    left: int


class _Chain:
    """One chain of a server, from the place that it watches to the requests that it answers."""

    def __init__(
        self,
        name: str,
        options: ServerChain,
        around: Surroundings,
        publisher: Publisher,
        numbers: Numbers,
        begun: float,
        audience: asyncio.Event,
    ) -> None:
        self.name = name
        self.options = options
        self.started = asyncio.Event()
        self._around = around
        self._publisher = publisher
        self._numbers = numbers
        self._begun = begun
        self._audience = audience
        self._origin = Origin(options.origin)
        self._settle = Settle(options.settle, options.announce_empty_after, self._origin.covers, around.clock)
        self._settling = asyncio.Lock()
        self._small: Waiting[Sighting] = Waiting(lambda sighting: sighting.size)
        self._large: Waiting[Sighting] = Waiting()
        self._lined_up: set[tuple[str, int, int]] = set()
        self._scans: Waiting[str] = Waiting()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._untold: set[str] = set()
        self._flights: dict[tuple[Version, str], _Flight] = {}
        self._open: dict[int, _Open] = {}
        self._grant = Grant(name, Allowed(options.allow), around.book)
        self._replay = Replay(options.topic, around.book)
        self._delivery = Delivery(
            around.pool, options.connection_parameters.plain(), numbers.server, options.transfers
        )
        delay = options.remove_delay if options.delete else None
        self._let_go = LetGo(name, delay, around.book, around.clock)
        self._draining = False
        self._idle = asyncio.Event()
        self._address = ""

    def head(self) -> tuple[str, int, str]:
        """The topic, its last number that was told, and where to ask for it."""
        return self.options.topic, self._numbers.told.get(self.options.topic, 0), self._address

    async def run(self) -> None:
        """Work until cancelled."""
        answerer = self._around.bus.answerer(self.options.request.address)
        self._address = _request_address(self.options, answerer)
        self._flights.clear()
        self._open.clear()
        self.started.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._lanes: Lanes[Place, _Flight] = Lanes(
                    tasks, self._move_batch, width=self.options.transfers, weigh=lambda f: f.move.version.size
                )
                self._answerer = answerer
                announce = Announce(
                    self._wording(),
                    str(self.options.checksum),
                    self._numbers,
                    self._around.book,
                    self._publisher,
                    self._around.clock,
                    self._around.story,
                )
                if (
                    not self._audience.is_set()
                ):  # in the first second of the process: nobody moves anything yet
                    await self._sweep()
                tasks.create_task(self._announce_small(announce))
                for _ in range(2):
                    tasks.create_task(self._announce_large(announce))
                tasks.create_task(self._scan(announce))
                tasks.create_task(self._look_again())
                if self.options.watch is not WatchBy.POLL:
                    tasks.create_task(self._watch())
                else:
                    self.started.set()
                tasks.create_task(self._tell_progress())
                tasks.create_task(self._answer())
        finally:
            answerer.close()

    async def drain(self) -> None:
        """Take nothing new; wait until what was granted is moved and answered."""
        self._draining = True
        if self._open:
            self._idle.clear()
            await self._idle.wait()

    # detect -> settle -> announce

    async def _watch(self) -> None:
        """Watch for as long as the folder is there; begin anew when it is there again (a mount that went and came)."""
        while True:
            try:
                watch = await asyncio.to_thread(Watch, self._origin, asyncio.get_running_loop())
            except OSError as error:
                self._around.health.degrade(f"{self.name} watch", f"{self._origin.root}: {error.strerror}")
                await asyncio.sleep(ROOT_EVERY)
                continue
            self._around.health.recover(f"{self.name} watch", self._around.clock.monotonic())
            self.started.set()
            self._scans.put([self._origin.root])
            try:
                while await asyncio.to_thread(watch.sees_root):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ROOT_EVERY):
                            await watch.news()
                    await self._pass_on(watch.seen())
            finally:
                await asyncio.to_thread(watch.close)

    async def _pass_on(self, seen: Seen) -> None:
        async with self._settling:
            closed = [path for path in seen.closed if self._can_be_told(path)]
            complete = await asyncio.to_thread(self._settle.closed, closed)
        self._line_up(complete)
        if seen.overflow:
            self._around.health.progress(f"{self.name} overflows", self._around.clock.monotonic())
        self._scans.put([self._origin.root] if seen.overflow else seen.folders)

    async def _scan(self, announce: Announce) -> None:
        """The reconcile scan: at the start, in between, and wherever the watch may have missed something."""
        poll = self.options.watch is WatchBy.POLL
        every = self.options.poll_interval if poll else self.options.scan_interval
        folders = [self._origin.root]
        await self.started.wait()
        while True:
            for folder in _outermost(folders):
                await self._scan_if_there(folder, announce)
            try:
                async with asyncio.timeout(every.total_seconds()):
                    folders = await self._scans.take(10_000, 10_000)
            except TimeoutError:
                folders = [self._origin.root]

    async def _scan_if_there(self, folder: str, announce: Announce) -> None:
        part, health = f"{self.name} scan", self._around.health
        try:
            await self._scan_below(folder, announce)
        except OSError as error:
            health.degrade(part, f"{folder} can't be read: {error.strerror}; is it mounted?")
        else:
            health.recover(part, self._around.clock.monotonic())

    async def _scan_below(self, folder: str, announce: Announce) -> None:
        since = 0.0 if self.options.backlog else self._begun
        batches = scan(self._origin, self._around.clock.now(), below=folder, changed_since=since)
        while (batch := await asyncio.to_thread(_next, batches)) is not None:
            news = await announce.news([sighting for sighting in batch if self._can_be_told(sighting.path)])
            async with self._settling:
                complete = await asyncio.to_thread(self._settle.found, [sighting.path for sighting in news])
            self._line_up(complete)
            await self._small.empty()

    def _can_be_told(self, path: str) -> bool:
        """Whether a message can name path; if not, that is said, once."""
        try:
            path.encode()
        except UnicodeEncodeError:
            if path not in self._untold and len(self._untold) < 1000:
                self._untold.add(path)
                self._around.health.progress(f"{self.name} unusable names", self._around.clock.monotonic())
                told = "its name is not UTF-8, so no message can name it; rename it"
                self._around.story.tell(Step.REFUSED, path, self.name, reason=told)
            return False
        return True

    async def _look_again(self) -> None:
        while True:
            wait = self._settle.next_due()
            await asyncio.sleep(0.5 if wait is None else min(0.5, max(0.01, wait)))
            if self._settle.next_due() == 0:
                async with self._settling:
                    complete = await asyncio.to_thread(self._settle.due)
                self._line_up(complete)

    def _line_up(self, complete: Iterable[Sighting]) -> None:
        for sighting in complete:
            if _version(sighting) in self._lined_up:
                continue  # seen again, while it waits or is being read
            self._lined_up.add(_version(sighting))
            self._around.story.tell(Step.SETTLED, sighting.path, self.name, size=sighting.size)
            (self._large if sighting.size > LARGE else self._small).put([sighting])

    async def _announce_small(self, announce: Announce) -> None:
        while True:
            await self._announce(announce, await self._small.take(256, 64 << 20))

    async def _announce_large(self, announce: Announce) -> None:
        while True:
            await self._announce(announce, await self._large.take(1, 1))

    async def _announce(self, announce: Announce, complete: Sequence[Sighting]) -> None:
        try:
            await self._audience.wait()
            count, changed = await announce(complete)
        finally:
            self._lined_up.difference_update(_version(sighting) for sighting in complete)
        self._done("announce", count)
        await self._settle_anew(changed)

    async def _settle_anew(self, paths: Sequence[str]) -> None:
        if paths:
            async with self._settling:
                complete = await asyncio.to_thread(self._settle.found, paths)
            self._line_up(complete)

    # request -> move + verify -> answer

    async def _answer(self) -> None:
        answers = {"push": self._push, "ack": self._acknowledge, "ping": self._ping, "info": self._info}
        while True:
            by_type: dict[str, list[Question]] = {}
            for question in await self._answerer.asked():
                by_type.setdefault(question.message.type, []).append(question)
            for kind, questions in by_type.items():
                if kind == "replay":
                    for question in questions:
                        self._answerer.answer(question, await self._replay(question))
                elif kind in answers:
                    await answers[kind](questions)
                else:
                    for question in questions:
                        self._answerer.answer(question, reply(question.message, "unknown"))

    async def _push(self, questions: list[Question]) -> None:
        if self._draining:
            for question in questions:
                self._answerer.answer(question, not_granted(question, Failure.TEMPORARY, "shutting down"))
            return
        orders, refusals = await self._grant(questions)
        for refusal in refusals:
            self._refuse(refusal)
        again = [
            (self.name, move.version.path, move.clean)
            for order in orders
            if order.again
            for move in order.moves
        ]
        if again:
            await self._around.book.forget(again)
        wanted = [(self.name, move.version, move.clean) for order in orders for move in order.moves]
        done = await self._around.book.begin(wanted, self._around.clock.now())
        for order in orders:
            self._take_off(order, done)

    def _take_off(self, order: Order, done: Mapping[tuple[str, str], Transfer]) -> None:
        open_ = _Open(order, 0)
        for move in order.moves:
            key = move.version, move.clean
            flight = self._flights.get(key)
            told = done.get((move.version.path, move.clean))
            if flight is None and told is not None:
                self._around.story.tell(
                    Step.SKIPPED,
                    move.version.path,
                    self.name,
                    to=move.clean,
                    reason=f"moved before, at {_when(told.at)}",
                )
                continue
            open_.left += 1
            if flight is None:
                flight = self._flights[key] = _Flight(move, [])
                self._lanes.put(move.place.at("/"), [flight])
            flight.orders.append(order)
        if open_.left:
            self._open[id(order)] = open_
        else:
            self._answerer.answer(order.question, granted(order))

    async def _move_batch(self, _: Place, flights: list[_Flight]) -> None:
        keys = {(f.move.version, f.move.clean): f for f in flights}

        def count(move: Move, bytes_: int) -> None:
            keys[move.version, move.clean].moved += bytes_

        outcomes = await asyncio.to_thread(self._delivery, [flight.move for flight in flights], count)
        now = self._around.clock.now()
        moved = [outcome.move.version for outcome in outcomes if outcome.failure is None]
        await self._around.book.moved(
            [_transfer(self.name, outcome, now) for outcome in outcomes], self._let_go.deletions(moved)
        )
        for flight, outcome in zip(flights, outcomes, strict=True):
            self._land(flight, outcome)
        self._done("move", len(moved))
        await self._settle_anew([outcome.move.version.path for outcome in outcomes if outcome.changed])

    def _land(self, flight: _Flight, outcome: Outcome) -> None:
        version = flight.move.version
        del self._flights[version, flight.move.clean]
        if outcome.failure is None:
            self._around.story.tell(
                Step.MOVED,
                version.path,
                self.name,
                size=version.size,
                ms=round(outcome.seconds * 1000, 1),
                to=outcome.landed,
            )
        else:
            self._around.story.tell(
                Step.FAILED,
                version.path,
                self.name,
                size=version.size,
                to=flight.move.clean,
                reason=outcome.reason,
            )
        for order in flight.orders:
            if outcome.failure is not None:
                order.failures.append((outcome.failure, outcome.reason))
            open_ = self._open[id(order)]
            open_.left -= 1
            if not open_.left:
                del self._open[id(order)]
                self._reply(order)
                if not self._open:
                    self._idle.set()

    def _reply(self, order: Order) -> None:
        if order.failures:
            failure, reason = order.failures[0]
            self._answerer.answer(order.question, not_granted(order.question, failure, reason))
        else:
            self._answerer.answer(order.question, granted(order))

    async def _tell_progress(self) -> None:
        """Tell the health, and those who asked for it, how far the work is, so that nobody takes it for dead."""
        health, clock = self._around.health, self._around.clock
        before: dict[int, int] = {}
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            now = clock.monotonic()
            health.waiting(f"{self.name} announce", len(self._small) + len(self._large), now)
            health.waiting(f"{self.name} move", len(self._flights), now)
            moved = {id(flight): flight.moved for flight in self._flights.values()}
            if any(before.get(flight, 0) != bytes_ for flight, bytes_ in moved.items()):
                health.progress(f"{self.name} move", now, done=0)
            for flight in [flight for flight in self._flights.values() if id(flight) in before]:
                for order in flight.orders:
                    message = progress_of(order.question, flight.moved, flight.move.version.size)
                    if message is not None:
                        self._answerer.answer(order.question, message)
            before = moved

    def _refuse(self, refusal: Refusal) -> None:
        self._answerer.answer(
            refusal.question, not_granted(refusal.question, refusal.failure, refusal.reason)
        )
        if refusal.failure is Failure.SUPERSEDED:
            return
        part, key = f"{self.name} refused", (refusal.kind, refusal.reason)
        self._around.health.progress(part, self._around.clock.monotonic())
        if len(self._refused) < 1000 and not self._refused[key]:
            self._around.story.tell(Step.REFUSED, "-", self.name, reason=refusal.reason)
            self._refused[key] += 1

    async def _acknowledge(self, questions: list[Question]) -> None:
        for question in questions:
            paths = list(paths_of(question.message.data))
            unknown = await self._let_go(paths, seq_of(question.message.data))
            if unknown or not paths:
                reason = f"{(unknown or ['nothing'])[0]} not reachable: chain {self.name} never announced it"
                self._refuse(Refusal(question, Failure.REFUSED, "not announced", reason))
            else:
                self._answerer.answer(question, acknowledged(question.message))
                for path in paths:
                    self._around.story.tell(Step.ACKNOWLEDGED, path, self.name)

    async def _ping(self, questions: list[Question]) -> None:
        for question in questions:
            self._answerer.answer(
                question, reply(question.message, "pong", {"station": self.options.station})
            )

    async def _info(self, questions: list[Question]) -> None:
        for question in questions:
            message = question.message
            asked = message.fields.get("max_count", INFO_MOST)
            most = min(asked, INFO_MOST) if isinstance(asked, int) and asked >= 0 else INFO_MOST
            names = await self._around.book.newest(message.subject, most)
            uptime = str(timedelta(seconds=self._around.clock.now() - self._begun))
            data = {"files": names, "max_count": most, "uptime": uptime}
            self._answerer.answer(question, reply(message, "info", data))

    # the rest

    async def _sweep(self) -> None:
        """Remove what a crash left at the destinations, before anything new goes there."""
        broken = [t for t in await self._around.book.unfinished() if t.chain == self.name]
        for folder in {t.destination.rpartition("/")[0] + "/" for t in broken}:
            # Credentials are not in the journal: what can't be reached without them is swept by the redo, whose
            # temporary file has the same name.
            with contextlib.suppress(MoverError):
                await asyncio.to_thread(self._delivery.sweep, Place.parse(folder))

    def _wording(self) -> Wording:
        options = self.options
        return Wording(self.name, options.topic, self._origin, options.info, self._address)

    def _done(self, part: str, count: int) -> None:
        self._around.health.progress(f"{self.name} {part}", self._around.clock.monotonic(), count)


def _request_address(options: ServerChain, answerer: Answerer) -> str:
    """host:port as it is announced."""
    host, _, port = told_address(answerer.address).removeprefix("tcp://").rpartition(":")
    return f"{options.request_address or host}:{port}"


def _next(batches: "Iterable[list[Sighting]]") -> list[Sighting] | None:
    return next(iter(batches), None)


def _version(sighting: Sighting) -> tuple[str, int, int]:
    return sighting.path, sighting.size, sighting.mtime_ns


def _outermost(folders: Sequence[str]) -> list[str]:
    """Folders without those that lie in another of them."""
    outer: list[str] = []
    for folder in sorted(set(folders)):
        if not outer or not folder.startswith(outer[-1].rstrip("/") + "/"):
            outer.append(folder)
    return outer


def _transfer(chain: str, outcome: Outcome, now: float) -> Transfer:
    state = "done" if outcome.failure is None else "failed"
    move = outcome.move
    return Transfer(chain, move.version, move.clean, state, outcome.reason, outcome.landed, now)


def _when(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
