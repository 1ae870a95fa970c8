"""Destinations that fail, as the health of who moves on request tells of them.

Nothing is held up here, as in `pausing`: who asks puts off what it wants.
"""

from dataclasses import dataclass, field

from tranship.core.places import STRIKES, About, place_of
from tranship.delivery import Outcome
from tranship.flows.around import Surroundings
from tranship.steps.request import Failure, Fault
from tranship_movers.place import Place

STEADY = 2.0
"""Seconds without a failure until a destination that takes files again is well: it may take only some of them."""

FORGOTTEN = 900.0
"""Seconds without any attempt until nobody knows whether it still fails: who waits for it asks more often."""

MOST = 1000
"""Destinations of one chain that are minded at once."""


@dataclass(slots=True)
class _Failing:
    """since its last success: how often its host, and which of its files failed; tells: whether health does of it."""

    last: float
    times: int = 0
    files: set[str] = field(default_factory=set)
    takes: bool = False
    tells: bool = False


class Failing:
    """The destinations of one chain that have failed lately."""

    def __init__(self, chain: str, around: Surroundings) -> None:
        """None has."""
        self._chain = chain
        self._health = around.health
        self._clock = around.clock
        self._failing: dict[tuple[str, str], _Failing] = {}

    def landed(self, outcome: Outcome) -> None:
        """A move has ended. A source that has changed or gone says nothing of where it was to go."""
        place, fault = outcome.move.place, outcome.fault
        if fault is None:
            for about in About if self._failing else ():
                self._took(_key(place, about))
        elif not outcome.changed:
            self._failed(_key(place, fault.about or About.FOLDER), outcome.move.version.path, fault)

    def look(self) -> None:
        """Recover what has been well for long enough, or was not tried for long. To be called again and again."""
        now = self._clock.monotonic()
        for key, it in list(self._failing.items()):
            if now - it.last > (STEADY if it.takes else FORGOTTEN):
                del self._failing[key]
                told = {self._part(other) for other, each in self._failing.items() if each.tells}
                if it.tells and self._part(key) not in told:
                    self._health.forget(self._part(key))

    def _took(self, key: tuple[str, str]) -> None:
        it = self._failing.get(key)
        if it is None:
            return
        if it.tells:
            it.takes = True
        else:
            del self._failing[key]

    def _failed(self, key: tuple[str, str], file: str, fault: Fault) -> None:
        now = self._clock.monotonic()
        it = self._failing.get(key)
        if it is None:
            if len(self._failing) >= MOST:
                return
            it = self._failing[key] = _Failing(now)
        it.last, it.takes = now, False
        if fault.about is not None:
            it.times += 1
        elif len(it.files) < STRIKES:
            it.files.add(file)
        if fault.failure is Failure.FATAL or it.times >= STRIKES or len(it.files) >= STRIKES:
            it.tells = True
            self._health.degrade(self._part(key), f"fails: {fault.reason}")

    def _part(self, key: tuple[str, str]) -> str:
        return f"{self._chain} to {key[1]}"


def _key(place: Place, about: About) -> tuple[str, str]:
    """Of a host, who logs in, for another may be let in where this one is not; and what fails."""
    return place.user if about is About.HOST else "", place_of(place, about)
