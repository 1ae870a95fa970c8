"""Whether a provider is still there, told from its beats."""

import math
from dataclasses import dataclass

UNTOLD_INTERVAL = 30.0
"""Seconds between the beats of a provider that has not told it yet."""


@dataclass(slots=True)
class Liveness:
    """One provider's signs of life. All times are monotonic seconds.

    scale     so many intervals may pass without a sign of life; 0: no silence is ever too long
    last      when there was a sign of life, or when the watch began
    interval  seconds between beats, as the provider tells it
    """

    scale: float
    last: float
    interval: float = UNTOLD_INTERVAL

    def beat(self, at: float, min_interval: float | None = None) -> None:
        """There was a beat that told this interval (seconds). One that makes no sense is not used."""
        self.heard(at)
        if min_interval is not None and math.isfinite(min_interval) and min_interval > 0:
            self.interval = min_interval

    def heard(self, at: float) -> None:
        """There was another sign of life; or the watch begins anew, after a missed beat was acted upon."""
        self.last = max(self.last, at)

    @property
    def deadline(self) -> float:
        """When silence will be too long; infinity if never."""
        return self.last + self.scale * self.interval if self.scale > 0 else math.inf

    def missed(self, at: float) -> bool:
        """Whether the silence has been too long at this time."""
        return at >= self.deadline
