"""remove: delete sources that were delivered or acknowledged, when their delay is over and nobody is still to get them.

The journal remembers what is owed (docs/decisions/0008-deletion.md is the rule).
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tranship.core.blocking import Blocking
from tranship.core.clock import Clock
from tranship.core.journey import Step
from tranship.core.story import Story
from tranship.core.values import Version
from tranship.faultpoints import Point, reached
from tranship.journal import Deletion, DeletionBook

_LATER = 60.0


@dataclass(frozen=True, slots=True)
class Remove:
    """Deletes what is due. Who failed to get it and has not asked again for patience is not waited for.

    A chain whose file system does not answer within `hurry` is left to itself until it does; the others go on.
    """

    book: DeletionBook
    clock: Clock
    story: Story
    patience: timedelta
    blocking: Blocking
    hurry: timedelta = timedelta(seconds=5)
    _under_way: "dict[str, asyncio.Future[list[str | None]]]" = field(default_factory=dict)

    async def __call__(self, longest: float) -> float | None:
        """Delete everything that is due; seconds until the next is (None: nothing is owed).

        longest: seconds from an acknowledgement to the deletion, at most.
        """
        now, patience = self.clock.now(), self.patience.total_seconds()
        due, following = await self.book.due(
            now, horizon=max(longest, _LATER), patience=patience, later=now + _LATER
        )
        settled: list[Version] = []
        stuck: list[str] = []
        for deletion, reason in await self._removed(due):
            version = deletion.version
            if reason == "":
                stuck.append(version.path)
            else:
                settled.append(version)
            if reason is None:
                self.story.tell(Step.DELETED, version.path, deletion.chain, size=version.size)
            else:
                self.story.tell(
                    Step.SKIPPED, version.path, deletion.chain, reason=reason or "can't be deleted now"
                )
        if settled:
            reached(Point.DELETED)
        await self.book.removed(settled)
        await self.book.postpone(stuck, self.clock.now() + _LATER)
        if due:
            return 0.0  # there may be more than one batch
        return None if following is None else max(0.0, following - self.clock.now())

    async def _removed(self, due: Sequence[Deletion]) -> list[tuple[Deletion, str | None]]:
        """Remove these; of each what came of it, as `removed` says."""
        by_chain: dict[str, list[Deletion]] = {}
        for deletion in due:
            by_chain.setdefault(deletion.chain, []).append(deletion)
        for chain in [chain for chain, task in self._under_way.items() if task.done()]:
            del self._under_way[chain]
        begun = {
            chain: asyncio.ensure_future(self.blocking(_remove, deletions))
            for chain, deletions in by_chain.items()
            if chain not in self._under_way
        }
        self._under_way.update(begun)
        if begun:
            await asyncio.wait(begun.values(), timeout=self.hurry.total_seconds())
        outcomes: list[tuple[Deletion, str | None]] = []
        for chain, deletions in by_chain.items():
            task = begun.get(chain)
            found = task.result() if task is not None and task.done() else [""] * len(deletions)
            outcomes += zip(deletions, found, strict=True)
        return outcomes


def _remove(due: Sequence[Deletion]) -> list[str | None]:
    """Per deletion None (removed), why it is void, or "" (it can't be removed now). Blocking."""
    return [removed(deletion.version) for deletion in due]


def removed(version: Version) -> str | None:
    """Remove a file if it is still this version: None (it is removed), why not, or "" (it can't be now). Blocking."""
    try:
        facts = os.stat(version.path)
        if (facts.st_size, facts.st_mtime_ns) != (version.size, version.mtime_ns):
            return "not deleted: it has changed since it was delivered"
        os.remove(version.path)
    except FileNotFoundError:
        return "not deleted: it is gone already"
    except OSError:
        return ""
    return None
