"""The promises of a mover as runnable checks, against the real place.

    ground = Ground(connect=lambda: SftpMover(place, options), folder="/scratch", local=Path("/tmp/x"))
    for outcome in run(ground):
        print(outcome.title, outcome.verdict, outcome.told)

`folder` is made if it is missing, and holds what the checks leave: empty folders, no files.
"""

from collections.abc import Iterable, Iterator

from tranship_movers.checks import contents, names, powers, resuming, safety
from tranship_movers.checks.contents import ODD_NAMES
from tranship_movers.checks.ground import Broken, Check, Ground, Outcome
from tranship_movers.errors import MoverError

__all__ = ["CHECKS", "ODD_NAMES", "Broken", "Check", "Ground", "Outcome", "run"]


def run(ground: Ground, checks: Iterable[Check] | None = None) -> Iterator[Outcome]:
    """Try checks (all of them, if none are named) one after the other."""
    for check in CHECKS if checks is None else checks:
        try:
            yield Outcome(check.title, check.run(ground))
        except (Broken, MoverError) as error:
            yield Outcome(check.title, "broken", str(error))
        except Exception as error:  # noqa: BLE001 - that a foreign error comes out is what is broken
            yield Outcome(check.title, "broken", f"raised {type(error).__name__}: {error}")


CHECKS: tuple[Check, ...] = (
    *contents.CHECKS,
    *names.CHECKS,
    *safety.CHECKS,
    *resuming.CHECKS,
    *powers.CHECKS,
)
"""Every promise, in the order in which they are best tried."""
