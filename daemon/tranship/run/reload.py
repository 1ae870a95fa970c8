"""When to read the configuration again: on request, and when its files have changed and come to rest."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

C = TypeVar("C")

_ROUNDS = 20
"""Whoever changes or asks without pause gets a reload after so many rounds of waiting for rest."""


class Source(Generic[C]):
    """Where a configuration comes from, and whether it is still what was loaded."""

    def __init__(self, load: Callable[[], C], files: Sequence[Path]) -> None:
        """Take load, which gives the configuration or raises ConfigError, and the files that it reads."""
        self._load = load
        self._files = tuple(files)
        self._loaded: object = None

    def load(self) -> C:
        """Read it now. Raises what the given load raises; also then these files count as loaded."""
        self._loaded = self.look()
        return self._load()

    def changed(self) -> bool:
        """Whether the files are others, or have other content, than when they were loaded."""
        return self.look() != self._loaded

    def look(self) -> object:
        """Something that differs when the files do: also after a rename over them, or a swap of symlinks."""
        return tuple(_look(file) for file in self._files)


async def due(
    source: Source[C], asked: asyncio.Event, *, every: float = 1.0, quiet: float = 0.3
) -> AsyncGenerator[str, None]:
    """Give the reason each time that the source is to be loaded again: one time for a burst of reasons.

    Looks at the files every so many seconds, and lets them, and requests, come to rest for quiet seconds, so
    that a file in the middle of being saved is not taken for the new configuration.
    """
    while True:
        on_request = await _within(every, asked)
        if not on_request and not await asyncio.to_thread(source.changed):
            continue
        await _rest(source, asked, quiet)
        yield "on request" if on_request else "its files have changed"


async def _rest(source: Source[C], asked: asyncio.Event, quiet: float) -> None:
    for _ in range(_ROUNDS):
        asked.clear()
        before = await asyncio.to_thread(source.look)
        again = await _within(quiet, asked)
        if not again and before == await asyncio.to_thread(source.look):
            return
    asked.clear()


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _look(file: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
