"""The alarm on silence: a chain in which nothing has come for longer than it may is degraded, until something comes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tranship.core.clock import text_of
from tranship.flows.around import Surroundings

EVERY = 1.0
"""Seconds between two looks."""

COMES = ("announce", "publish", "left to another client")
"""What a chain counts of the files that come to it."""


class Heeded(Protocol):
    """The options of such a chain."""

    @property
    def silence(self) -> timedelta | None:
        """How long nothing may come; None: for ever."""


@dataclass(slots=True)
class _Quiet:
    """How many files have come to a chain, and since when no other has: monotonic, and seconds since the epoch."""

    come: int
    since: float
    at: float


async def heed_silence(chains: Callable[[], Mapping[str, Heeded]], around: Surroundings) -> None:
    """Have the health tell of chains in which nothing comes, until cancelled. The log tells what the health does."""
    health, clock = around.health, around.clock
    known: dict[str, _Quiet] = {}
    while True:
        heeded = {name: limit for name, chain in chains().items() if (limit := chain.silence)}
        for name in known.keys() - heeded.keys():
            del known[name]
        for name, limit in heeded.items():
            come, now = sum(health.done(f"{name} {part}") for part in COMES), clock.monotonic()
            quiet = known.setdefault(name, _Quiet(come, now, clock.now()))
            if come != quiet.come:
                known[name] = _Quiet(come, now, clock.now())
                health.recover(f"{name} silence", now)
            elif now - quiet.since > limit.total_seconds():
                health.degrade(
                    f"{name} silence", f"nothing has come since {text_of(quiet.at)}; see to what sends"
                )
        await asyncio.sleep(EVERY)
