"""What operators order (`tranship retry`, `tranship drop`): noticed within a second, said in the log, obeyed."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from tranship.core.words import counted
from tranship.journal import OrderBook

_log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks into the journal."""


class Obedient(Protocol):
    """Who works on jobs that may have been changed by an order."""

    async def obey(self) -> None:
        """Look at the jobs anew."""


async def obey(book: OrderBook, workers: Iterable[Obedient]) -> None:
    """Tell workers of orders, until cancelled."""
    while True:
        orders = await book.heard()
        for order in orders:
            files = counted(order.jobs, "file")
            _log.info("ordered by %s: %s, %s: %s", order.who, order.what, files, order.files)
        if orders:
            for worker in workers:
                await worker.obey()
        await asyncio.sleep(EVERY)
