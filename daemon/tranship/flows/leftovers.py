"""What broken downloads have left is removed once their jobs are given up or dropped: nobody goes on with it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tranship.journal import ClientBook, Ended
from tranship.lanes import Threads
from tranship_movers.kept import Leftover
from tranship_movers.place import Place

EVERY = 3600.0
"""Seconds between two passes, if nobody drops anything."""


class Leftovers:
    """Those of one chain's jobs. `run` until cancelled."""

    def __init__(self, chain: str, owner: str, book: ClientBook, carries: Callable[[int], bool]) -> None:
        """owner: as in the tokens of the downloads. carries: whether a job (by id) is under way all the same."""
        self._chain = chain
        self._owner = owner
        self._book = book
        self._carries = carries
        self._look = asyncio.Event()

    def look(self) -> None:
        """Have a pass made now."""
        self._look.set()

    async def run(self) -> None:
        """Make a pass at once, and again and again."""
        threads = Threads(f"leftovers {self._chain}", 1)
        try:
            while True:
                self._look.clear()
                await self._pass(threads)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):
                        await self._look.wait()
        finally:
            threads.close()

    async def _pass(self, threads: Threads) -> None:
        after = 0
        while ended := await self._book.past.ended(self._chain, after):
            after = ended[-1].job
            idle = [job for job in ended if not self._carries(job.job)]
            await threads.do(_remove, self._owner, idle)


def _remove(owner: str, ended: Sequence[Ended]) -> None:
    for job in ended:
        Leftover.of(Path(Place.parse(job.destination).path), f"{owner}-{job.identity}").remove()
