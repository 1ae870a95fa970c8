"""The server: watches places, announces what is complete, moves what is asked for.

detect -> settle -> announce            one flow per chain (Reception), told by the kernel and by scans
request -> move + verify -> answer      one flow per chain (Requests), work going by destination
acknowledge -> remove                   what was let go is deleted when its delay is over
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tranship.chains import Chains
from tranship.config.server import ServerChain, ServerConfig
from tranship.config.server import Watch as WatchBy
from tranship.core.allow import Allowed
from tranship.core.origin import Origin
from tranship.core.values import Sighting
from tranship.delivery import Delivery
from tranship.flows.around import Surroundings
from tranship.flows.reception import Reception, Watching
from tranship.flows.requests import Requests, Terms
from tranship.hosts import make_known
from tranship.journal import ServerBook
from tranship.steps.acknowledge import LetGo
from tranship.steps.announce import Announce, Numbers, Wording
from tranship.steps.remove import Remove
from tranship.steps.replay import heads_told
from tranship.steps.request import Grant
from tranship.wire.contract import AUDIENCE, Answerer, Publisher
from tranship.wire.discovery import beat, told_address
from tranship_movers.errors import MoverError
from tranship_movers.place import Place

HEADS_EVERY = timedelta(seconds=2)
"""How often the heads of the topics are told at least, so that a lost last announcement is noticed."""


class Server:
    """A server process's work. `run` until it is cancelled, or has drained."""

    def __init__(self, config: ServerConfig, book: ServerBook, around: Surroundings) -> None:
        """Make it; nothing happens before `run`."""
        self.health = around.health
        self._config = config
        self._book = book
        self._around = around
        self._drained = asyncio.Event()
        self._numbers = Numbers("")
        self._life = uuid.uuid4().hex[:8]
        self._publisher: Publisher
        self._chains: Chains[ServerChain, _Chain]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until drained. Calls ready when every socket is bound and every place watched."""
        around, config = self._around, self._config
        self._numbers.server = await self._book.identity(uuid.uuid4().hex[:12])
        self._numbers.heads = await self._book.heads()
        self._numbers.told = dict(self._numbers.heads)
        self._publisher = around.bus.publisher(config.publish.address, config.name)
        begun = around.clock.now()
        audience = asyncio.Event()
        asyncio.get_running_loop().call_later(AUDIENCE, audience.set)

        def chain(name: str, options: ServerChain) -> _Chain:
            return _Chain(name, options, self._book, around, self._publisher, self._numbers, begun, audience)

        async with asyncio.TaskGroup() as tasks:
            self._chains = Chains(tasks, chain, around.health, around.clock)
            await self._chains.become(config.chains)
            parts = {
                "heartbeat": self._beat,
                "deletions": self._remove,
                "discovery": self._register,
                "connections": self._tidy,
                "journal": lambda: self._chains.watch("journal writing", lambda: self._book.trouble),
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
        remove = Remove(self._book, self._around.clock, self._around.story)
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


class _Chain:
    """One chain of a server: its place and its request socket."""

    def __init__(
        self,
        name: str,
        options: ServerChain,
        book: ServerBook,
        around: Surroundings,
        publisher: Publisher,
        numbers: Numbers,
        begun: float,
        audience: asyncio.Event,
    ) -> None:
        self.options = options
        self._name = name
        self._book = book
        self._around = around
        self._publisher = publisher
        self._numbers = numbers
        self._audience = audience
        self._address = ""
        self._reception = Reception(name, _watching(options, begun), around)
        self.started = self._reception.started
        self._delivery = Delivery(
            around.pool, options.connection_parameters.plain(), numbers.server, options.transfers
        )
        delay = options.remove_delay if options.delete else None
        self._requests = Requests(
            name,
            Terms(options.topic, options.station, options.transfers, begun),
            Grant(name, Allowed(options.allow), book),
            LetGo(name, delay, book, around.clock),
            self._delivery,
            book,
            around,
            self._reception.settle_anew,
        )

    def head(self) -> tuple[str, int, str]:
        """The topic, its last number that was told, and where to ask for it."""
        return self.options.topic, self._numbers.told.get(self.options.topic, 0), self._address

    async def run(self) -> None:
        """Work until cancelled."""
        answerer = self._around.bus.answerer(self.options.request.address)
        self._address = _request_address(self.options, answerer)
        try:
            if not self._audience.is_set():  # in the first second of the process: nobody moves anything yet
                await self._sweep()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._reception.run(_Announced(self._announce(), self._audience)))
                tasks.create_task(self._requests.run(answerer))
        finally:
            answerer.close()

    async def drain(self) -> None:
        """Take nothing new; wait until what was granted is moved and answered."""
        await self._requests.drain()

    def _announce(self) -> Announce:
        options, around = self.options, self._around
        wording = Wording(self._name, options.topic, Origin(options.origin), options.info, self._address)
        return Announce(
            wording,
            str(options.checksum),
            self._numbers,
            self._book,
            self._publisher,
            around.clock,
            around.story,
        )

    async def _sweep(self) -> None:
        """Remove what a crash left at the destinations, before anything new goes there."""
        broken = [t for t in await self._book.unfinished() if t.chain == self._name]
        for folder in {t.destination.rpartition("/")[0] + "/" for t in broken}:
            # Credentials are not in the journal: what can't be reached without them is swept by the redo, whose
            # temporary file has the same name.
            with contextlib.suppress(MoverError):
                await asyncio.to_thread(self._delivery.sweep, Place.parse(folder))


@dataclass(frozen=True, slots=True)
class _Announced:
    """Announces, as soon as there can be an audience."""

    announce: Announce
    audience: asyncio.Event

    async def news(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        return await self.announce.news(sightings)

    async def __call__(self, complete: Sequence[Sighting]) -> tuple[int, list[str]]:
        await self.audience.wait()
        return await self.announce(complete)


def _watching(options: ServerChain, begun: float) -> Watching:
    poll = options.watch is WatchBy.POLL
    return Watching(
        Origin(options.origin),
        options.settle,
        options.announce_empty_after,
        poll,
        options.poll_interval if poll else options.scan_interval,
        0.0 if options.backlog else begun,
    )


def _request_address(options: ServerChain, answerer: Answerer) -> str:
    """host:port as it is announced."""
    host, _, port = told_address(answerer.address).removeprefix("tcp://").rpartition(":")
    return f"{options.request_address or host}:{port}"
