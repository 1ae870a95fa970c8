"""A process whose chains move files themselves: one publisher for all of them, if anybody is to be told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

from tranship.config.endpoints import NameServers, Socket
from tranship.flows.around import Surroundings
from tranship.flows.keeping import Pass
from tranship.flows.process import Chain, Opened, Part, Process
from tranship.flows.process import Config as AnyConfig
from tranship.hosts import beating, make_known
from tranship.journal import ClientBook
from tranship.wire.contract import AUDIENCE, Publisher

O = TypeVar("O")  # noqa: E741 - options
O_co = TypeVar("O_co", covariant=True)
C = TypeVar("C", bound=Chain)


class Config(AnyConfig[O_co], Protocol[O_co]):
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


def moving(
    config: Config[O],
    chain: Callable[[str, O, Publisher | None], C],
    book: ClientBook,
    around: Surroundings,
    *forgetting: Pass,
) -> Process[O, C]:
    """Such a process. chain makes that of a name, with its options, and with the publisher if there is one."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened[O, C]]:
        if config.publish is None:
            yield Opened(lambda name, options: chain(name, options, None))
            return
        publisher = around.bus.publisher(config.publish.address, config.name)
        try:
            await asyncio.sleep(AUDIENCE)  # what is published before is heard by nobody
            yield Opened(
                lambda name, options: chain(name, options, publisher),
                lambda _: _parts(config, publisher, around),
            )
        finally:
            publisher.close()

    return Process(config, opened, book, around, *forgetting)


def _parts(config: Config[O], publisher: Publisher, around: Surroundings) -> Mapping[str, Part]:
    name, heartbeat = config.name, config.heartbeat
    parts: dict[str, Part] = {
        "discovery": lambda: make_known(
            around.bus, publisher.address, name, config.nameservers, around.on_oddity
        )
    }
    if heartbeat:
        parts["heartbeat"] = lambda: beating(publisher, name, heartbeat)
    return parts
