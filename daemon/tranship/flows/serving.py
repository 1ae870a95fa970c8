"""A process that announces and is asked: one publisher for all chains, numbers, heads in heartbeats, deletions."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from tranship.config.endpoints import Socket
from tranship.flows.around import Surroundings
from tranship.flows.keeping import Pass
from tranship.flows.process import Chain as AnyChain
from tranship.flows.process import Opened, Part, Process, PublisherConfig
from tranship.flows.silence import Heeded
from tranship.hosts import beating, make_known
from tranship.journal import ServerBook
from tranship.lanes import Threads
from tranship.steps.announce import Numbers
from tranship.steps.remove import Remove
from tranship.steps.replay import heads_told
from tranship.wire.contract import AUDIENCE, Answerer, Publisher
from tranship.wire.discovery import told_address
from tranship.wire.messages import Message

DELETING = 64
"""Threads that delete: so many chains may have a file system that does not answer."""

HEADS_EVERY = timedelta(seconds=2)
"""How often the heads of the topics are told at least, so that a lost last announcement is noticed."""

UNTOLD_HEARTBEAT = timedelta(seconds=30)
"""What heartbeats say of their interval where none is configured."""


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


O = TypeVar("O", bound=Heeded)  # noqa: E741 - options
O_co = TypeVar("O_co", bound=Heeded, covariant=True)
C = TypeVar("C", bound=Chain)


class Config(PublisherConfig[O_co], Protocol[O_co]):
    """What such a process can be told."""

    @property
    def publish(self) -> Socket:
        """Where it publishes."""


def serving(
    config: Config[O],
    chain: Callable[[str, O, Voice], C],
    book: ServerBook,
    around: Surroundings,
    *forgetting: Pass,
) -> Process[O, C]:
    """Such a process. chain makes that of a name, with its options."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened[O, C]]:
        numbers = Numbers(await book.identity(uuid.uuid4().hex[:12]), await book.heads())
        numbers.told = dict(numbers.heads)
        publisher = around.bus.publisher(config.publish.address, config.name, config.publish.guard)
        audience = asyncio.Event()
        asyncio.get_running_loop().call_later(AUDIENCE, audience.set)
        voice = Voice(publisher, numbers, around.clock.now(), audience)
        try:
            yield Opened(
                lambda name, options: chain(name, options, voice),
                lambda chains: _parts(config, chains, voice, book, around),
            )
        finally:
            publisher.close()

    return Process(config, opened, book, around, *forgetting)


def _parts(
    config: Config[O], chains: Iterable[C], voice: Voice, book: ServerBook, around: Surroundings
) -> Mapping[str, Part]:
    publisher, life = voice.publisher, uuid.uuid4().hex[:8]
    interval = config.heartbeat or UNTOLD_HEARTBEAT

    def with_heads(beat: Message) -> Message:
        heads = [head for chain in chains for head in chain.heads()]
        return heads_told(beat, voice.numbers.server, life, heads)

    return {
        "heartbeat": lambda: beating(
            publisher, config.name, interval, with_heads, every=min(interval, HEADS_EVERY)
        ),
        "deletions": lambda: _remove(chains, book, around),
        "discovery": lambda: make_known(
            around.bus, publisher, config.name, config.nameservers, around.on_oddity
        ),
    }


async def _remove(chains: Iterable[Chain], book: ServerBook, around: Surroundings) -> None:
    threads = Threads("deletions", DELETING)
    remove = Remove(book.deletions, around.clock, around.story, around.policy.age_limit, threads.do)
    try:
        while True:
            delays = [chain.kept_for.total_seconds() for chain in chains]
            wait = await remove(max(delays, default=0.0))
            await asyncio.sleep(1.0 if wait is None else min(1.0, wait))
    finally:
        threads.close()


def request_address(host: str | None, answerer: Answerer) -> str:
    """host:port as it is announced; without a host, that at which answerer is reached."""
    own, _, port = told_address(answerer.address).removeprefix("tcp://").rpartition(":")
    return f"{host or own}:{port}"
