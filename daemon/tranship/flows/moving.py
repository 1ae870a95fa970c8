"""A process whose chains move files themselves: one publisher for all of them, if anybody is to be told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from tranship.config.endpoints import Socket
from tranship.flows.around import Surroundings
from tranship.flows.keeping import Pass
from tranship.flows.process import Chain, Opened, Part, Process, PublisherConfig
from tranship.flows.silence import Heeded
from tranship.flows.speaking import Speaker, speaking
from tranship.hosts import make_known
from tranship.journal import ClientBook
from tranship.wire.contract import AUDIENCE

O = TypeVar("O", bound=Heeded)  # noqa: E741 - options
O_co = TypeVar("O_co", bound=Heeded, covariant=True)
C = TypeVar("C", bound=Chain)


class Config(PublisherConfig[O_co], Protocol[O_co]):
    """What such a process can be told."""

    @property
    def replay(self) -> Socket | None:
        """Where it is asked for what was not heard; None: nowhere."""


def moving(
    config: Config[O],
    chain: Callable[[str, O, Speaker | None], C],
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
        async with speaking(config.name, config.publish, config.replay, book.numbered(""), around) as speaker:
            await asyncio.sleep(AUDIENCE)  # what is published before is heard by nobody
            yield Opened(
                lambda name, options: chain(name, options, speaker),
                lambda _: _parts(config, speaker, around),
            )

    return Process(config, opened, book, around, *forgetting)


def _parts(config: Config[O], speaker: Speaker, around: Surroundings) -> Mapping[str, Part]:
    name, known = config.name, config.nameservers
    return {
        "discovery": lambda: make_known(around.bus, speaker.publisher, name, known, around.on_oddity),
        "heartbeat": lambda: speaker.beat(name, config.heartbeat),
        "replay": speaker.answer,
    }
