"""Time, handed in, so that tests need no sleep."""

import time
from datetime import UTC, datetime
from typing import Protocol


def text_of(seconds: float) -> str:
    """A time (seconds since the epoch) as people read it: 2026-01-02T03:04:05Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Clock(Protocol):
    """Three kinds of time, all in seconds."""

    def now(self) -> float:
        """Since the epoch, UTC: for what people read."""

    def steady(self) -> float:
        """Since the epoch, as it was known when the process began, and never jumps since: for what is put off."""

    def monotonic(self) -> float:
        """Never jumps: for durations and deadlines."""


class SystemClock:
    """The machine's own clock."""

    def __init__(self) -> None:
        """The process begins now."""
        self._begun = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def steady(self) -> float:
        """Seconds since the epoch, counted on from the start."""
        return self._begun + time.monotonic()

    def monotonic(self) -> float:
        """Seconds since some moment; never jumps."""
        return time.monotonic()
