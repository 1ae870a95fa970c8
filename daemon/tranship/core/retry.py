"""When to try again: capped exponential back-off with jitter, and an age limit."""

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patiently a job is tried again after a temporary failure.

    The wait doubles from `first` up to `longest`, less up to half of it by chance, so that many jobs that failed
    together don't come back together. A job older than `age_limit` is given up (and listed as such).
    """

    first: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(minutes=5)
    age_limit: timedelta = timedelta(days=2)

    def wait(self, attempts: int, chance: float | None = None) -> float:
        """Seconds until the next attempt, after this many (>= 1) that failed; chance in [0, 1) for tests."""
        # a power without limit would overflow after weeks of trying
        full = min(self.longest.total_seconds(), self.first.total_seconds() * 2.0 ** min(attempts - 1, 32))
        return full * (1 - 0.5 * (random.random() if chance is None else chance))

    def too_old(self, since: float, now: float) -> bool:
        """Whether a job that was born at since (seconds since the epoch) is to be given up."""
        return now - since > self.age_limit.total_seconds()
