"""Hung or idle? Health is progress against the queue: one set of numbers for systemd, metrics, `status`.

No clock: `now` is monotonic seconds. The event loop writes, any thread may read.
"""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["idle", "working", "degraded", "stuck"]


@dataclass(frozen=True, slots=True)
class PartReport:
    """One part (a step, a place, a provider …) at one moment."""

    name: str
    waiting: int
    """How much could go on now."""
    done: int
    """How much has been finished since the start."""
    still: float
    """Seconds since it last went on, while something waits; 0 when nothing does."""
    trouble: str
    """Why it is degraded; empty when it is not."""
    stuck: bool
    """Something waits, nothing goes on, and there is no reason for it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The health of a process at one moment."""

    state: State
    parts: tuple[PartReport, ...]
    lag: float
    """The worst lag of the event loop lately (seconds)."""

    @property
    def healthy(self) -> bool:
        """Whether a restart would not help."""
        return self.state != "stuck"

    @property
    def text(self) -> str:
        """One line, the worst first."""
        told = [
            f"{part.name} is stuck, no progress for {part.still:.0f} s" for part in self.parts if part.stuck
        ]
        told += [f"{part.name}: {part.trouble}" for part in self.parts if part.trouble]
        told += _listed("waiting", {part.name: part.waiting for part in self.parts})
        told += _listed("done", {part.name: part.done for part in self.parts})
        return "; ".join([self.state, *told])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "state": self.state,
            "healthy": self.healthy,
            "text": self.text,
            "loop_lag_s": round(self.lag, 6),
            "parts": {
                part.name: {
                    "waiting": part.waiting,
                    "done": part.done,
                    "still_s": round(part.still, 3),
                    "trouble": part.trouble,
                    "stuck": part.stuck,
                }
                for part in self.parts
            },
        }


class Health:
    """What a role says of its parts while it works. A part is there from the first word about it."""

    def __init__(self, *, stuck_after: float = 300.0) -> None:
        """A part that makes no progress for stuck_after seconds while something waits in it is stuck."""
        self.stuck_after = stuck_after
        self._parts: dict[str, _Part] = {}
        self._lag = 0.0

    def waiting(self, part: str, count: int, now: float) -> None:
        """This many could go on now in part. What is put off (back-off, a paused place) does not count."""
        it = self._part(part)
        if count and not it.waiting:
            it.moved = now
        it.waiting = count

    def progress(self, part: str, now: float, done: int = 1) -> None:
        """Something went on in part, and this many are done with it (0: bytes go over, none is finished)."""
        it = self._part(part)
        it.moved = now
        it.done += done

    def done(self, part: str) -> int:
        """How much has been finished in part since the start."""
        it = self._parts.get(part)
        return it.done if it is not None else 0

    def degrade(self, part: str, reason: str) -> None:
        """Part can't do its work, for a reason that a restart would not mend. It does not count as stuck."""
        self._part(part).trouble = reason

    def hinder(self, part: str, reason: str) -> None:
        """Part, on which all others depend (the journal), can't do its work: none of them is stuck meanwhile."""
        self.degrade(part, reason)
        self._part(part).hinders = True

    def recover(self, part: str, now: float) -> None:
        """Part is well again; from now on it must make progress."""
        it = self._part(part)
        if it.trouble:
            for waited in tuple(self._parts.values()) if it.hinders else (it,):
                waited.moved = now
            it.trouble, it.hinders = "", False

    def forget(self, part: str) -> None:
        """Part, and what belongs to it ("part …"), is no more (taken out of the configuration, or begun anew)."""
        for name in [name for name in self._parts if name == part or name.startswith(f"{part} ")]:
            del self._parts[name]

    def lagged(self, seconds: float) -> None:
        """The event loop was late by this much. Told at each beat; the worst fades within a minute."""
        self._lag = max(seconds, self._lag * 0.95)

    def healthy(self, now: float) -> bool:
        """False if something waits, and nothing goes on, and nobody knows why."""
        return self.report(now).healthy

    def report(self, now: float) -> Report:
        """Everything at once."""
        known = tuple(self._parts.items())
        after = float("inf") if any(it.hinders for _, it in known) else self.stuck_after
        parts = tuple(
            PartReport(name, it.waiting, it.done, it.still(now), it.trouble, it.stuck(now, after))
            for name, it in known
        )
        return Report(_state(parts), parts, self._lag)

    def _part(self, name: str) -> "_Part":
        it = self._parts.get(name)
        if it is None:
            it = self._parts[name] = _Part()
        return it


@dataclass(slots=True)
class _Part:
    waiting: int = 0
    done: int = 0
    moved: float = 0.0
    """When it last went on, or when something came to wait."""
    trouble: str = ""
    hinders: bool = False
    """Whether its trouble is everybody's."""

    def still(self, now: float) -> float:
        return max(0.0, now - self.moved) if self.waiting else 0.0

    def stuck(self, now: float, after: float) -> bool:
        return not self.trouble and self.still(now) > after


def _state(parts: tuple[PartReport, ...]) -> State:
    if any(part.stuck for part in parts):
        return "stuck"
    if any(part.trouble for part in parts):
        return "degraded"
    return "working" if any(part.waiting for part in parts) else "idle"


def _listed(word: str, counts: dict[str, int]) -> list[str]:
    told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    return [f"{word}: {told}"] if told else []
