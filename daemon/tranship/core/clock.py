"""Time, handed in, so that tests need no sleep."""

import time
from datetime import UTC, datetime
from typing import Protocol


def text_of(seconds: float) -> str:
    """A time (seconds since the epoch) as people read it: 2026-01-02T03:04:05Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Clock(Protocol):
    """Two kinds of time, both in seconds."""

    def now(self) -> float:
        """Since the epoch, UTC: for what people read and what outlives the process."""

    def monotonic(self) -> float:
        """Never jumps: for durations and deadlines."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment; never jumps."""
        return time.monotonic()
