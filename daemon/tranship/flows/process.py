"""The frame of every process that keeps a journal: its chains, and beside them what every role has.

    journal       a disk that can't be written degrades the health
    orders        what operators order is obeyed by the chains
    retention     what was settled long ago is forgotten
    silence       a chain in which nothing comes for longer than it may degrades the health
    connections   those that nobody uses are closed

A role adds how its chains are made, what is opened before them (a publisher), and parts of its own (`Opened`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from tranship.chains import Chain as AnyChain
from tranship.chains import Chains
from tranship.config.endpoints import NameServers, Socket
from tranship.flows.around import Surroundings
from tranship.flows.keeping import ForgetOrders, Pass, keeping
from tranship.flows.obeying import obey
from tranship.flows.silence import Heeded, heed_silence
from tranship.journal import OrderBook
from tranship.lanes import Threads

TIDY_EVERY = 5.0

Part = Callable[[], Awaitable[None]]


class Chain(AnyChain, Protocol):
    """A chain that can be given orders."""

    async def obey(self) -> None:
        """Orders were given: they stand in the journal."""


class Book(Protocol):
    """Its journal."""

    @property
    def orders(self) -> OrderBook:
        """What operators have ordered."""

    @property
    def trouble(self) -> str:
        """What keeps the journal from writing; "" when it writes."""


O = TypeVar("O", bound=Heeded)  # noqa: E741 - options
O_co = TypeVar("O_co", bound=Heeded, covariant=True)
C = TypeVar("C", bound=Chain)


class Config(Protocol[O_co]):
    """What every such process can be told."""

    @property
    def keep(self) -> timedelta:
        """How long the journal keeps what is settled."""

    @property
    def chains(self) -> Mapping[str, O_co]:
        """The chains' options, by name."""


class PublisherConfig(Config[O_co], Protocol[O_co]):
    """What one can be told that has a publisher for all of its chains."""

    @property
    def name(self) -> str:
        """The publisher's: in heartbeats, at name servers."""

    @property
    def publish(self) -> Socket | None:
        """Where it publishes; None: nobody is told."""

    @property
    def heartbeat(self) -> timedelta | None:
        """Time between two heartbeats; None: none."""

    @property
    def nameservers(self) -> NameServers:
        """Where it makes itself known."""


@dataclass(frozen=True, slots=True)
class Opened(Generic[O, C]):
    """What is there before the first chain.

    chain   makes the chain of a name, with its options
    parts   what runs beside the chains, by name; each is started again if it fails
    """

    chain: Callable[[str, O], C]
    parts: Callable[[Iterable[C]], Mapping[str, Part]] = lambda _: MappingProxyType({})


class Process(Generic[O, C]):
    """A process's work. `run` until it is cancelled, or has drained."""

    def __init__(
        self,
        config: Config[O],
        open_: Callable[[], AbstractAsyncContextManager[Opened[O, C]]],
        book: Book,
        around: Surroundings,
        *forgetting: Pass,
    ) -> None:
        """Nothing happens before `run`. forgetting: what the journal is relieved of, beside orders."""
        self.health = around.health
        self._config = config
        self._open = open_
        self._book = book
        self._around = around
        self._forgetting = forgetting
        self._drained = asyncio.Event()
        self._chains: Chains[O, C]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until drained. Calls ready when every chain has started."""
        around = self._around
        async with self._open() as opened, asyncio.TaskGroup() as tasks:
            self._chains = Chains(tasks, opened.chain, around.health, around.clock)
            await self._chains.become(self._config.chains)
            parts = {**self._parts(), **opened.parts(self._chains)}
            background = [tasks.create_task(self._chains.keep(name, part)) for name, part in parts.items()]
            await self._chains.started()
            ready()
            await self._drained.wait()
            self._chains.cancel()
            for task in background:
                task.cancel()

    async def drain(self) -> None:
        """Begin nothing new, finish what is under way, then end `run`."""
        await self._chains.drain()
        self._drained.set()

    async def reload(self, config: Config[O]) -> list[str]:
        """Go on with config: chains that are the same are not touched. Returns what has changed, in words."""
        changes = await self._chains.become(config.chains)
        own = vars(self._config)
        for option, value in vars(config).items():
            if option != "chains" and value != own[option]:
                changes.append(f"{option} differs: it takes effect at the next start")
        return changes

    def _parts(self) -> Mapping[str, Part]:
        book, clock = self._book, self._around.clock
        forget_orders = ForgetOrders(self._config.keep, book.orders, clock)
        return {
            "journal": lambda: self._chains.watch("journal writing", lambda: book.trouble),
            "orders": lambda: obey(book.orders, self._chains),
            "retention": lambda: keeping(forget_orders, *self._forgetting),
            "silence": lambda: heed_silence(lambda: self._chains.options, self._around),
            "connections": self._tidy,
        }

    async def _tidy(self) -> None:
        threads = Threads("connections", 1)
        try:
            while True:
                await asyncio.sleep(TIDY_EVERY)
                await threads.do(self._around.pool.close_idle)
        finally:
            threads.close()
