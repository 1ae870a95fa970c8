"""A process whose chains move files themselves: one publisher for all of them, if anybody is to be told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from tranship.flows.around import Surroundings
from tranship.flows.keeping import Pass
from tranship.flows.process import Chain, Opened, Part, Process, PublisherConfig
from tranship.flows.silence import Heeded
from tranship.hosts import beating, make_known
from tranship.journal import ClientBook
from tranship.wire.contract import AUDIENCE, Publisher

O = TypeVar("O", bound=Heeded)  # noqa: E741 - options
C = TypeVar("C", bound=Chain)


def moving(
    config: PublisherConfig[O],
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
        publisher = around.bus.publisher(config.publish.address, config.name, config.publish.guard)
        try:
            await asyncio.sleep(AUDIENCE)  # what is published before is heard by nobody
            yield Opened(
                lambda name, options: chain(name, options, publisher),
                lambda _: _parts(config, publisher, around),
            )
        finally:
            publisher.close()

    return Process(config, opened, book, around, *forgetting)


def _parts(config: PublisherConfig[O], publisher: Publisher, around: Surroundings) -> Mapping[str, Part]:
    name, heartbeat = config.name, config.heartbeat
    parts: dict[str, Part] = {
        "discovery": lambda: make_known(around.bus, publisher, name, config.nameservers, around.on_oddity)
    }
    if heartbeat:
        parts["heartbeat"] = lambda: beating(publisher, name, heartbeat)
    return parts
