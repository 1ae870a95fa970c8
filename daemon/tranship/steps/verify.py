"""verify: what was delivered to this machine is what was announced: it is there, of that size and checksum."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tranship.core.values import Wanted
from tranship_movers.checksum import agrees
from tranship_movers.errors import MoverError


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that should lie at path on this machine."""

    path: str
    wanted: Wanted


def verify(arrivals: Sequence[Arrival]) -> str:
    """Why not all of arrivals are what was announced; "" if they are. Blocking; reads the files."""
    for arrival in arrivals:
        reason = _differs(arrival)
        if reason:
            return f"{arrival.path}: {reason}"
    return ""


def _differs(arrival: Arrival) -> str:
    wanted = arrival.wanted
    try:
        size = os.stat(arrival.path).st_size
        if wanted.size not in (-1, size):
            return f"{size} bytes arrived, {wanted.size} were announced"
        if wanted.checksum and not agrees(arrival.path, wanted.checksum):
            return f"its checksum is not {wanted.checksum}, which was announced"
    except FileNotFoundError:
        return "nothing arrived there"
    except (OSError, MoverError) as error:
        return f"can't be read to verify it: {error}"
    return ""
