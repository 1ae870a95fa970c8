"""What a process that announces and is asked has, beside its chains: it publishes, beats, deletes what it owes."""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from tranship.chains import Chain as AnyChain
from tranship.chains import Chains
from tranship.config.endpoints import NameServers, Socket
from tranship.flows.around import Surroundings
from tranship.flows.keeping import Pass, keeping
from tranship.hosts import make_known
from tranship.journal import ServerBook
from tranship.steps.announce import Numbers
from tranship.steps.remove import Remove
from tranship.steps.replay import heads_told
from tranship.wire.contract import AUDIENCE, Answerer, Publisher
from tranship.wire.discovery import beat, told_address

HEADS_EVERY = timedelta(seconds=2)
"""How often the heads of the topics are told at least, so that a lost last announcement is noticed."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What the chains of a process say things with.

    begun: when it was started (seconds since the epoch). audience: set when somebody can hear what is published.
    """

    publisher: Publisher
    numbers: Numbers
    begun: float
    audience: asyncio.Event


class Chain(AnyChain, Protocol):
    """A chain that announces."""

    @property
    def kept_for(self) -> timedelta:
        """How long it keeps a file that nobody needs any more."""

    def heads(self) -> Iterable[tuple[str, int, str]]:
        """Its topics; of each the last number that was told, and where to ask for it (host:port)."""


O = TypeVar("O")  # noqa: E741 - options
O_co = TypeVar("O_co", covariant=True)
C = TypeVar("C", bound=Chain)


class Options(Protocol[O_co]):
    """The options of such a process."""

    @property
    def name(self) -> str:
        """In heartbeats, in the journal, at name servers."""

    @property
    def publish(self) -> Socket:
        """Where it publishes."""

    @property
    def heartbeat(self) -> timedelta | None:
        """Time between two heartbeats."""

    @property
    def nameservers(self) -> NameServers:
        """Where it makes itself known."""

    @property
    def chains(self) -> Mapping[str, O_co]:
        """Its chains, by name."""


class Serving(Generic[O, C]):
    """Such a process's work. `run` until it is cancelled, or has drained."""

    def __init__(
        self,
        config: Options[O],
        book: ServerBook,
        around: Surroundings,
        make: Callable[[str, O, Voice], C],
        *forgetting: Pass,
    ) -> None:
        """Nothing happens before `run`; make gives the chain of a name, with its options.

        forgetting: what the journal is relieved of, now and then.
        """
        self.health = around.health
        self._config = config
        self._book = book
        self._around = around
        self._make = make
        self._forgetting = forgetting
        self._drained = asyncio.Event()
        self._numbers = Numbers("")
        self._life = uuid.uuid4().hex[:8]
        self._publisher: Publisher
        self._chains: Chains[O, C]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until drained. Calls ready when every socket is bound and every chain has started."""
        around, config = self._around, self._config
        self._numbers.server = await self._book.identity(uuid.uuid4().hex[:12])
        self._numbers.heads = await self._book.heads()
        self._numbers.told = dict(self._numbers.heads)
        self._publisher = around.bus.publisher(config.publish.address, config.name)
        audience = asyncio.Event()
        asyncio.get_running_loop().call_later(AUDIENCE, audience.set)
        voice = Voice(self._publisher, self._numbers, around.clock.now(), audience)

        def chain(name: str, options: O) -> C:
            return self._make(name, options, voice)

        async with asyncio.TaskGroup() as tasks:
            self._chains = Chains(tasks, chain, around.health, around.clock)
            await self._chains.become(config.chains)
            parts = {
                "heartbeat": self._beat,
                "deletions": self._remove,
                "discovery": self._register,
                "connections": self._tidy,
                "retention": lambda: keeping(*self._forgetting),
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

    async def reload(self, config: Options[O]) -> list[str]:
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
            heads = [head for chain in self._chains for head in chain.heads()]
            message = beat(self._config.name, interval.total_seconds())
            self._publisher.tell([heads_told(message, self._numbers.server, self._life, heads)])
            await asyncio.sleep(every.total_seconds())

    async def _remove(self) -> None:
        remove = Remove(self._book, self._around.clock, self._around.story, self._around.policy.age_limit)
        while True:
            delays = [chain.kept_for.total_seconds() for chain in self._chains]
            wait = await remove(max(delays, default=0.0))
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


def request_address(host: str | None, answerer: Answerer) -> str:
    """host:port as it is announced; without a host, that at which answerer is reached."""
    own, _, port = told_address(answerer.address).removeprefix("tcp://").rpartition(":")
    return f"{host or own}:{port}"
