"""What the tests of the wire share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import pytest
from hypothesis import settings

from tranship.wire.contract import Answerer, Asker, Bus, Heard, OnOddity, Subscription
from tranship.wire.memory import MemoryBus, Network
from tranship.wire.messages import Message
from tranship.wire.zeromq import ZeroMQBus

settings.register_profile("wire", deadline=None, max_examples=100)
settings.load_profile("wire")

DEADLINE = 60.0
"""Seconds after which what a test waits for will not come any more."""


class MakeBus(Protocol):
    """Another bus that can reach the others."""

    def __call__(self, on_oddity: OnOddity = ...) -> Bus: ...


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run a test's story in a loop of its own, with a deadline; complaints of the loop are failures."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: complaints.append(told))
        async with asyncio.timeout(3 * DEADLINE):
            await story

    asyncio.run(watched())
    assert not complaints


async def heard(subscription: Subscription, until: Callable[[list[Heard]], bool]) -> list[Heard]:
    """All that is heard until `until` says it is enough."""
    items: list[Heard] = []
    async with asyncio.timeout(DEADLINE):
        while not until(items):
            items.extend(await subscription.heard())
    return items


async def connected(
    tell: Callable[[Message], object], subscription: Subscription, marks: list[Message]
) -> None:
    """Tell marks again and again until the subscription has heard them all: then it is connected."""
    missing = {mark.subject for mark in marks}
    async with asyncio.timeout(DEADLINE):
        while missing:
            for mark in marks:
                tell(mark)
            try:
                async with asyncio.timeout(0.05):
                    missing -= {item.message.subject for item in await subscription.heard()}
            except TimeoutError:
                continue


async def answer_all(answerer: Answerer, answer: Callable[[Message], Message | None]) -> None:
    """Answer whatever is asked, for ever; None is no answer."""
    while True:
        for question in await answerer.asked():
            reply = answer(question.message)
            if reply is not None:
                answerer.answer(question, reply)


async def outcomes(asker: Asker, number: int) -> dict[str, Message | None]:
    """The outcomes of so many requests, by ticket."""
    found: dict[str, Message | None] = {}
    async with asyncio.timeout(DEADLINE):
        while len(found) < number:
            for answer in await asker.answered():
                if answer.message is None or answer.message.type != "progress":
                    found[answer.ticket] = answer.message
    return found


async def until(true: Callable[[], bool], meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
    """Wait until something holds that nobody tells us of."""
    async with asyncio.timeout(DEADLINE):
        while not true():
            await (meanwhile() if meanwhile else asyncio.sleep(0.005))


@pytest.fixture(params=["zeromq", "memory"])
def make_bus(request: pytest.FixtureRequest) -> MakeBus:
    """Makes buses of one kind that reach each other; inside the loop, to be closed by who made them."""
    if request.param == "zeromq":
        return lambda on_oddity=lambda peer, what: None: ZeroMQBus(on_oddity)
    network = Network()
    return lambda on_oddity=lambda peer, what: None: MemoryBus(network, on_oddity)
