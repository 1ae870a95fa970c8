"""unpack: packed files become what is in them, in threads of their own, so that a slow program holds up nobody else.

On arrival (Unpacking, for a client) between verify and publish; before announcing (Unpacked, for a server).
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tranship.config.unpack import Unpack
from tranship.core.journey import Step
from tranship.core.origin import Origin
from tranship.core.values import Sighting, Unusable, Version
from tranship.flows.around import Surroundings
from tranship.journal import Deletion, ServerBook, Taken
from tranship.lanes import Threads, Waiting
from tranship.packed import Plan, Stuck, UnpackError
from tranship.steps.announce import Announce
from tranship.steps.unpack import unpack

AT_ONCE = max(2, os.cpu_count() or 2)
"""Files that a chain unpacks at once."""


@dataclass(frozen=True, slots=True)
class Unpacking:
    """One chain's unpacking, as its options say."""

    options: Unpack
    threads: Threads = field(default_factory=lambda: Threads("unpacking", AT_ONCE))

    @property
    def plan(self) -> Plan:
        """How it is done."""
        return self.options.plan

    async def __call__(self, paths: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Unpack those of paths that are packed files; of each the names of the results, below its folder.

        Raises UnpackError for the first that can't be unpacked.
        """
        plan = self.plan
        packed = [path for path in dict.fromkeys(paths) if plan.covers(os.path.basename(path))]
        found = [await self.threads.do(unpack, path, plan) for path in packed]
        return dict(zip(packed, found, strict=True))

    async def let_go(self, packed: Sequence[str]) -> None:
        """Delete files that were unpacked, if they are to be deleted."""
        if self.options.delete and packed:
            await self.threads.do(_remove, list(packed))

    def covers(self, uid: str) -> bool:
        """Whether the file of this name is a packed one."""
        return self.plan.covers(uid)


class Unpacked:
    """An outlet of a reception: packed files are unpacked and what is in them is announced; others are, as they are.

    `run` beside it until cancelled.
    """

    def __init__(
        self, unpack: Unpack, origin: Origin, announce: Announce, book: ServerBook, around: Surroundings
    ) -> None:
        """Nothing is unpacked before `run`."""
        self._unpack = unpack
        self._plan = unpack.plan
        self._origin = origin
        self._announce = announce
        self._chain = announce.wording.chain
        self._book = book
        self._around = around
        self._waiting: Waiting[Sighting] = Waiting()
        self._under_way: set[str] = set()
        self._threads = Threads(f"{self._chain} unpack", AT_ONCE)

    async def run(self) -> None:
        """Unpack until cancelled."""
        self._under_way.clear()
        self._waiting = Waiting()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(self._work())
        finally:
            self._threads.close()

    async def news(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Those of sightings that were not taken before as they are."""
        packed = [s for s in sightings if self._covers(s) and s.path not in self._under_way]
        done = await self._book.taken(self._chain, [s.path for s in packed])
        others = await self._announce.news([s for s in sightings if not self._covers(s)])
        return [*others, *(s for s in packed if done.get(s.path) != _version(s))]

    async def __call__(self, complete: Sequence[Sighting]) -> tuple[int, list[str]]:
        """Announce those that are not packed; have the others unpacked."""
        packed = [s for s in await self.news(complete) if self._covers(s)]
        self._under_way.update(s.path for s in packed)
        self._waiting.put(packed)
        return await self._announce([s for s in complete if not self._covers(s)])

    async def _work(self) -> None:
        while True:
            for packed in await self._waiting.take(1, 1):
                try:
                    await self._take(packed)
                except (UnpackError, Unusable) as error:
                    await self._fail(packed, error)
                finally:
                    self._under_way.discard(packed.path)

    async def _take(self, packed: Sighting) -> None:
        folder = self._folder(packed.path)
        plan = replace(self._plan, folder=folder)
        found = await self._threads.do(_unpacked, packed, plan)
        try:
            await self._announce.unpacked(packed, found, partial(self._deletions, packed))
        except Unusable:
            await self._threads.do(_remove, [result.path for result in found])
            raise
        self._around.health.progress(f"{self._chain} unpack", self._around.clock.monotonic())

    def _folder(self, path: str) -> str:
        """Where the results of path go: as deep below the results' directory as path lies below the watched one."""
        return os.path.normpath(
            os.path.join(self._plan.folder, os.path.relpath(os.path.dirname(path), self._origin.root))
        )

    def _deletions(self, packed: Sighting, results: Sequence[Version]) -> list[Deletion]:
        now = self._around.clock.now()
        kept = now + self._unpack.keep.total_seconds()
        own = [Deletion(self._chain, _version(packed), now)] if self._unpack.delete else []
        return [*own, *(Deletion(self._chain, version, kept) for version in results)]

    async def _fail(self, packed: Sighting, error: UnpackError | Unusable) -> None:
        """What may work later is tried again when a scan finds it; the rest never, as it is."""
        if not isinstance(error, Stuck):
            await self._book.announce([], [Taken(self._chain, _version(packed), str(error))])
        step = Step.RETRIED if isinstance(error, Stuck) else Step.FAILED
        self._around.story.tell(step, packed.path, self._chain, size=packed.size, reason=str(error))

    def _covers(self, sighting: Sighting) -> bool:
        return self._plan.covers(os.path.basename(sighting.path))


def _version(sighting: Sighting) -> Version:
    return Version(sighting.path, sighting.size, sighting.mtime_ns)


def _unpacked(packed: Sighting, plan: Plan) -> list[Sighting]:
    """The results of packed. Blocking; raises UnpackError."""
    try:
        os.makedirs(plan.folder, exist_ok=True)
        paths = [os.path.join(plan.folder, name) for name in unpack(packed.path, plan)]
        facts = [os.stat(path) for path in paths]
    except OSError as error:
        raise Stuck(f"{packed.path}: can't be unpacked into {plan.folder}: {error.strerror}") from error
    return [
        Sighting(path, each.st_size, each.st_mtime_ns, packed.at)
        for path, each in zip(paths, facts, strict=True)
    ]


def _remove(paths: Sequence[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.remove(path)
