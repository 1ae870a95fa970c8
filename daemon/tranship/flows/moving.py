"""A process whose chains move files themselves: one publisher for all of them, its heartbeat, how it is found."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

from tranship.chains import Chain, Chains
from tranship.config.endpoints import NameServers, Socket
from tranship.flows.around import Surroundings
from tranship.flows.obeying import obey
from tranship.hosts import make_known
from tranship.journal import ClientBook
from tranship.wire.contract import AUDIENCE, Publisher
from tranship.wire.discovery import beat

TIDY_EVERY = 5.0

O = TypeVar("O")  # noqa: E741 - options
O_co = TypeVar("O_co", covariant=True)


class Mover(Chain, Protocol):
    """A chain that can be given orders."""

    async def obey(self) -> None:
        """Look at the jobs anew."""


C = TypeVar("C", bound=Mover)


class MovingConfig(Protocol[O_co]):
    """What such a process can be told."""

    @property
    def name(self) -> str:
        """The publisher's."""

    @property
    def publish(self) -> Socket | None:
        """Where it publishes; None: nobody is told."""

    @property
    def heartbeat(self) -> timedelta | None:
        """The time between two; None: none."""

    @property
    def nameservers(self) -> NameServers:
        """Where it makes itself known."""

    @property
    def chains(self) -> Mapping[str, O_co]:
        """The chains' options, by name."""


class Moving(Generic[O, C]):
    """The process. `run` until it is cancelled, or has drained."""

    def __init__(
        self,
        config: MovingConfig[O],
        make: Callable[[str, Any, Publisher | None], C],
        book: ClientBook,
        around: Surroundings,
    ) -> None:
        """Its chains are made by `make`, by name, from their options. Nothing happens before `run`."""
        self.health = around.health
        self._config = config
        self._make = make
        self._book = book
        self._around = around
        self._drained = asyncio.Event()
        self._chains: Chains[O, C]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until drained. Calls ready when every chain has started."""
        around, config = self._around, self._config
        publisher = around.bus.publisher(config.publish.address, config.name) if config.publish else None
        try:
            if publisher is not None:
                await asyncio.sleep(AUDIENCE)  # what is published before is heard by nobody
            async with asyncio.TaskGroup() as tasks:
                self._chains = Chains(
                    tasks,
                    lambda name, options: self._make(name, options, publisher),
                    around.health,
                    around.clock,
                )
                await self._chains.become(config.chains)
                parts = [
                    tasks.create_task(self._chains.keep(name, part))
                    for name, part in self._parts(publisher).items()
                ]
                await self._chains.started()
                ready()
                await self._drained.wait()
                self._chains.cancel()
                for part in parts:
                    part.cancel()
        finally:
            if publisher is not None:
                publisher.close()

    async def drain(self) -> None:
        """Begin nothing new, finish what is under way, then end `run`."""
        await self._chains.drain()
        self._drained.set()

    async def reload(self, config: MovingConfig[O]) -> list[str]:
        """Go on with config: chains that are the same are not touched. Returns what has changed, in words."""
        changes = await self._chains.become(config.chains)
        for option in ("name", "journal", "publish", "heartbeat", "nameservers"):
            if getattr(config, option) != getattr(self._config, option):
                changes.append(f"{option} differs: it takes effect at the next start")
        return changes

    def _parts(self, publisher: Publisher | None) -> dict[str, Callable[[], Any]]:
        around, config = self._around, self._config
        parts: dict[str, Callable[[], Any]] = {
            "journal": lambda: self._chains.watch("journal writing", lambda: self._book.trouble),
            "orders": lambda: obey(self._book.orders, self._chains),
            "connections": self._tidy,
        }
        if publisher is not None:
            parts["discovery"] = lambda: make_known(
                around.bus, publisher.address, config.name, config.nameservers, around.on_oddity
            )
            if config.heartbeat:
                every = config.heartbeat.total_seconds()
                parts["heartbeat"] = lambda: self._beat(publisher, every)
        return parts

    async def _beat(self, publisher: Publisher, every: float) -> None:
        while True:
            publisher.tell([beat(self._config.name, every)])
            await asyncio.sleep(every)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY)
            await asyncio.to_thread(self._around.pool.close_idle)
