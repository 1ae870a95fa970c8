"""The way of a file, as one table.

    detect -> settle -> announce -> request -> move -> verify -> acknowledge -> publish

Each row: the step, the word for a file that has taken it, who takes it, and what must be on disk before the next.
The same words stand in the log, in the journal and in `status`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """What has happened to a file, in the order in which it happens."""

    DETECTED = "detected"
    SETTLED = "settled"
    ANNOUNCED = "announced"
    REQUESTED = "requested"
    MOVED = "moved"
    VERIFIED = "verified"
    ACKNOWLEDGED = "acknowledged"
    PUBLISHED = "published"
    # Beside the way:
    REFUSED = "refused"
    SKIPPED = "skipped"
    FAILED = "failed"
    RETRIED = "retried"
    PAUSED = "paused"
    REPLAYED = "replayed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Leg:
    """One row of the table."""

    step: Step
    by: str
    journaled: str


WAY: tuple[Leg, ...] = (
    Leg(Step.DETECTED, "server", "nothing: the reconcile scan finds the file again"),
    Leg(Step.SETTLED, "server", "nothing: the reconcile scan finds the file again"),
    Leg(Step.ANNOUNCED, "server", "the announcement with its sequence number, before it is told"),
    Leg(Step.REQUESTED, "client", "the job, before it is asked for"),
    Leg(Step.MOVED, "server", "the transfer with its outcome, before it is answered"),
    Leg(Step.VERIFIED, "client", "the job as delivered, before it is acknowledged"),
    Leg(Step.ACKNOWLEDGED, "client", "nothing: a repeat does no harm"),
    Leg(Step.PUBLISHED, "client", "the job as done, after it is told"),
)
