"""What the outside asks for by signals: stop, stop at once, read the configuration again."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP


@dataclass(slots=True)
class Asked:
    """What has been asked for so far."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    by: str = ""
    """The signal that asked to stop."""


@contextmanager
def heard(asked: Asked) -> Iterator[None]:
    """Set asked by signals while inside. In the main thread, inside a running event loop.

    The second signal to stop ends the process at once, with 128 + its number, the loop blocked or not. (To a
    blocked loop, two that come in the very same moment may count as one: the kernel may give the second to another
    thread, which wakes nobody up.)
    """
    loop = asyncio.get_running_loop()
    impatience = _Impatience(asked)
    for number in STOP:
        loop.add_signal_handler(number, asked.stop.set)
        # The loop still learns of it by its wake-up descriptor; this is called even if the loop is blocked.
        signal.signal(number, impatience)
    loop.add_signal_handler(RELOAD, asked.reload.set)
    try:
        yield
    finally:
        for number in (*STOP, RELOAD):
            loop.remove_signal_handler(number)


class _Impatience:
    """Counts the signals to stop."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def __call__(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._asked.by:
            os.write(2, f"{name} again: leaving at once; the journal holds what is left\n".encode())
            os._exit(128 + number)
        self._asked.by = name
