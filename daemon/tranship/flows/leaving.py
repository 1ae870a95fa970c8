"""published -> the journal: what was published is noted when it has left for certain, and not much later.

Between the two a crash repeats it, with the same id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from tranship.lanes import Waiting

T = TypeVar("T")

HANDED_OVER = 0.5
"""Seconds that ZeroMQ's thread has to hand over what was published."""

NOTED_EVERY = 0.1
"""Seconds between two notes at least: one commit for all that has left meanwhile."""


class Leaving(Generic[T]):
    """What was published and is not noted yet. `run` beside it, until cancelled."""

    def __init__(self) -> None:
        """Nothing is."""
        self._left: Waiting[T] = Waiting()
        self._open = 0
        self._noted = asyncio.Event()
        self._noted.set()

    def forget(self) -> None:
        """Begin anew: what is not noted is found unpublished in the journal."""
        self._left = Waiting()
        self._open = 0
        self._noted.set()

    def put(self, published: list[T]) -> None:
        """These were published at this moment."""
        if published:
            self._open += len(published)
            self._noted.clear()
            asyncio.get_running_loop().call_later(HANDED_OVER, self._left.put, published)

    async def run(self, note: Callable[[list[T]], Awaitable[None]]) -> None:
        """Have note write down what has left."""
        while True:
            left = await self._left.take(10_000, 10_000)
            await note(left)
            self._open -= len(left)
            if not self._open:
                self._noted.set()
            await asyncio.sleep(NOTED_EVERY)

    async def noted(self) -> None:
        """Wait until everything is."""
        await self._noted.wait()
