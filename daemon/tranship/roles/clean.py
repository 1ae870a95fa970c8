"""Cleaning: one pass over the folders; what was deleted is told, and what could not be.

clean -> publish
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from tranship.config.clean import CleanChain, CleanConfig
from tranship.core.clock import Clock
from tranship.core.journey import Step
from tranship.core.story import Story
from tranship.core.words import counted
from tranship.hosts import make_known
from tranship.steps.clean import Gone, Rule, clean
from tranship.wire.contract import Bus, OnOddity, Publisher
from tranship.wire.messages import Unsendable, compose

HANDED_OVER = 0.5
"""Seconds that ZeroMQ's thread has to hand over the last messages."""


@dataclass(slots=True)
class Summary:
    """What a pass has done. errors: (path, why it could not be deleted)."""

    gone: list[Gone] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        """In words."""
        files = [gone for gone in self.gone if not gone.folder]
        size = sum(gone.size for gone in files) / 1e6
        folders = counted(len(self.gone) - len(files), "empty folder")
        return f"{counted(len(files), 'file')} ({size:.1f} MB) and {folders}"


async def run(
    config: CleanConfig, chains: Mapping[str, CleanChain], bus: Bus, clock: Clock, story: Story, odd: OnOddity
) -> Summary:
    """Clean the folders of chains, and tell who listens."""
    if config.publish is None:
        return await _clean(chains, None, clock, story)
    publisher = bus.publisher(config.publish.address, config.name, config.publish.guard)
    try:
        known = asyncio.create_task(make_known(bus, publisher, config.name, config.nameservers, odd))
        try:
            await asyncio.sleep(config.audience.total_seconds())
            summary = await _clean(chains, publisher, clock, story)
            await asyncio.sleep(HANDED_OVER)
        finally:
            known.cancel()
            await asyncio.wait([known])
    finally:
        publisher.close()
    return summary


async def _clean(
    chains: Mapping[str, CleanChain], publisher: Publisher | None, clock: Clock, story: Story
) -> Summary:
    summary = Summary()
    for name, options in chains.items():
        outcome = await asyncio.to_thread(clean, rule_of(options), clock.now(), remove=True)
        for gone in outcome.gone:
            story.tell(Step.DELETED, gone.path, name, size=gone.size, reason=gone.reason)
        for path, reason in outcome.errors:
            story.tell(Step.FAILED, path, name, reason=f"can't be cleaned: {reason}")
        if publisher is not None:
            _tell(publisher, outcome.gone)
        summary.gone += outcome.gone
        summary.errors += outcome.errors
    return summary


def rule_of(options: CleanChain) -> Rule:
    """What a chain's options say is old."""
    return Rule(
        str(options.base_dir),
        options.templates,
        options.older_than,
        options.time,
        options.recursive,
        options.include_hidden,
    )


def _tell(publisher: Publisher, deleted: list[Gone]) -> None:
    """Say which files are gone. What no message can name is left out: its deletion is in the log."""
    for gone in deleted:
        if not gone.folder:
            try:
                publisher.tell([compose("/deletion", "del", {"uri": gone.path})])
            except (Unsendable, UnicodeEncodeError):
                continue
