"""The chains of a process: each a part of its own that is kept alive, started, changed and removed by itself."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from tranship.core.clock import Clock
from tranship.core.health import Health
from tranship.journal import JournalError
from tranship.lanes import kept
from tranship.wire.contract import BusError
from tranship_movers.errors import MoverError

_log = logging.getLogger(__name__)

_EXPLAINED = (BusError, JournalError, MoverError)
"""Errors that say themselves what is wrong and what to do."""


class Chain(Protocol):
    """One configured flow."""

    started: asyncio.Event

    async def run(self) -> None:
        """Work until cancelled. May be run again after it failed."""

    async def drain(self) -> None:
        """Take nothing new; return when what is under way is done."""


PATIENCE = 30.0
"""Seconds that a chain is given to finish what is under way, when it is changed or removed."""

C = TypeVar("C", bound=Chain)
O = TypeVar("O")  # noqa: E741 - options


class Chains(Generic[O, C]):
    """The running chains by name. What a failed one raised is logged, and it is started again."""

    def __init__(
        self, tasks: asyncio.TaskGroup, make: Callable[[str, O], C], health: Health, clock: Clock
    ) -> None:
        """No chain yet; their tasks belong to `tasks`."""
        self._tasks = tasks
        self._make = make
        self._health = health
        self._clock = clock
        self._running: dict[str, tuple[O, C, asyncio.Task[None]]] = {}

    def __iter__(self) -> Iterator[C]:
        return iter([chain for _, chain, _ in self._running.values()])

    @property
    def options(self) -> Mapping[str, O]:
        """What the running chains were made of, by name."""
        return {name: options for name, (options, *_) in self._running.items()}

    async def become(self, wanted: Mapping[str, O]) -> list[str]:
        """Make these the running ones; chains whose options are the same are not touched. Says what changed."""
        changes = []
        before = set(self._running)
        ended = [name for name, (options, *_) in self._running.items() if wanted.get(name) != options]
        await asyncio.gather(*(self._ended(*self._running[name][1:]) for name in ended))
        for name in ended:
            del self._running[name]
            self._health.forget(name)
            changes.append(f"chain {name} {'changed' if name in wanted else 'removed'}")
        for name, options in wanted.items():
            if name not in self._running:
                chain = self._make(name, options)
                task = self._tasks.create_task(self.keep(name, chain.run), name=f"chain {name}")
                self._running[name] = options, chain, task
                if name not in before:
                    changes.append(f"chain {name} added")
        return changes

    async def _ended(self, chain: C, task: asyncio.Task[None]) -> None:
        """End a chain, after what is under way if that does not take for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await chain.drain()
        task.cancel()
        await asyncio.wait([task])

    async def started(self) -> None:
        """Wait until every chain is ready to work, or has failed, which the health tells."""
        await asyncio.gather(*(chain.started.wait() for chain in self))

    async def drain(self) -> None:
        """Let every chain finish what is under way."""
        await asyncio.gather(*(chain.drain() for chain in self))

    def cancel(self) -> None:
        """End all chains."""
        for _, _, task in self._running.values():
            task.cancel()

    async def watch(self, name: str, trouble: Callable[[], str], every: float = 1.0) -> None:
        """Have the health tell of a trouble that holds up everything, for as long as there is one, under this name."""
        while True:
            if reason := trouble():
                self._health.hinder(name, reason)
            else:
                self._health.recover(name, self._clock.monotonic())
            await asyncio.sleep(every)

    async def keep(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        """Run part, again whenever it fails; its trouble stands in the health under this name."""

        def failed(error: Exception) -> None:
            cause = _cause(error)
            self._health.forget(name)  # what it said was of work that is begun anew
            explained = isinstance(cause, _EXPLAINED)
            told = str(cause) if explained else f"{type(cause).__name__}: {cause}"
            _log.error(
                "%s failed and is started again: %s", name, told, exc_info=None if explained else cause
            )
            self._health.degrade(name, told)
            if name in self._running:
                self._running[name][1].started.set()

        await kept(part, failed, lambda: self._health.recover(name, self._clock.monotonic()))


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
