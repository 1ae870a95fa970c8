"""Which of several clients of one section delivers a file: the primary, or a spare. One table, and what is known.

A spare listens to the primary. What the primary has under way is left to it until its lease is over, whatever it did
last: only a file that it has *published* is done. What is heard before the announcement counts as well. No clock:
times are handed in, in seconds since the epoch by one that never jumps.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Where a delivery stands, as one client sees it."""

    UNHEARD = "unheard"
    """Nobody has spoken of it."""
    WAITING = "waiting"
    """Announced; a primary is given the processing delay to act first."""
    HELD = "held"
    """Another client has it under way, and is given until its lease is over."""
    MINE = "mine"
    """This client has asked for it."""
    ELSEWHERE = "elsewhere"
    """Another client has published it: nothing is left to do."""
    DONE = "done"
    """This client has published it: nothing is left to do."""


class Event(StrEnum):
    """What can happen to a delivery."""

    ANNOUNCED = "announced"
    PUSHED = "pushed"
    """Another client asks for it. If this one does too, their server judges."""
    OUTRANKED = "outranked"
    """Another client, which comes first, asks for it, and their server is of the old kind and can't judge."""
    ACKED = "acked"
    """Another client has it at its destination, and is about to publish it."""
    TOLD = "told"
    """Another client has published it, as that one says, or the server."""
    RULED_OUT = "ruled-out"
    """The server says that another client holds the lease."""
    TAKEN = "taken"
    """This client asks for it: delay or lease are over."""
    PUBLISHED = "published"
    """This client publishes it."""


_TABLE = """
              unheard    waiting    held       mine       elsewhere  done
  announced   waiting    waiting    held       mine       elsewhere  done
  pushed      held       held       held       mine       elsewhere  done
  outranked   held       held       held       held       elsewhere  done
  acked       held       held       held       mine       elsewhere  done
  told        elsewhere  elsewhere  elsewhere  elsewhere  elsewhere  done
  ruled-out   held       held       held       held       elsewhere  done
  taken       mine       mine       mine       mine       elsewhere  done
  published   done       done       done       done       elsewhere  done
"""


def _read(text: str) -> Mapping[tuple[Phase, Event], Phase]:
    head, *rows = (line.split() for line in text.strip().splitlines())
    return {
        (Phase(phase), Event(row[0])): Phase(after)
        for row in rows
        for phase, after in zip(head, row[1:], strict=True)
    }


TABLE = _read(_TABLE)
"""What each event makes of each phase."""


@dataclass(frozen=True, slots=True)
class Matter:
    """What a message is about: the identity of the delivery; its server and path there, as far as they are told."""

    identity: str
    server: str = ""
    path: str = ""

    def means(self, other: "Matter") -> bool:
        """Whether both are about the same delivery, and not about namesakes in two directories of one server."""
        told = self.server and self.path and other.path
        return self.identity == other.identity and not (
            told and self.server == other.server and self.path != other.path
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a delivery stands.

    until: when waiting or holding is over. by, where: which client has it, and the server that this one has asked.
    """

    phase: Phase = Phase.UNHEARD
    until: float = 0.0
    by: str = ""
    where: str = ""

    def is_left(self, now: float) -> bool:
        """Whether it is another client's at this time."""
        return self.phase is Phase.ELSEWHERE or (self.phase is Phase.HELD and self.until > now)


_UNHEARD = Standing()
_SETS_UNTIL = frozenset({Event.PUSHED, Event.OUTRANKED, Event.ACKED, Event.RULED_OUT})


class Handover:
    """How the latest deliveries stand. What is forgotten is judged by the server, if it is asked for."""

    def __init__(self, most: int = 20_000) -> None:
        """Remember this many at most, those that something has happened to last."""
        self._most = most
        self._known: OrderedDict[str, list[tuple[Matter, Standing]]] = OrderedDict()

    def standing(self, about: Matter) -> Standing:
        """How this delivery stands."""
        for known, standing in self._known.get(about.identity, ()):
            if known is about or known.means(about):
                return standing
        return _UNHEARD

    def happened(
        self, about: Matter, event: Event, until: float = 0.0, by: str = "", where: str = ""
    ) -> Standing:
        """Note event; until: when the delay (announced) or the lease of the other client (by) is over."""
        before = self.standing(about)
        phase = TABLE[before.phase, event]
        if phase is Phase.HELD and event in _SETS_UNTIL:
            after = Standing(phase, until, by, where or before.where)
        elif phase is Phase.WAITING and before.phase is Phase.UNHEARD:
            after = Standing(phase, until)
        elif event is Event.TOLD and phase is Phase.ELSEWHERE:
            after = Standing(phase, 0.0, by or before.by, before.where)
        else:
            after = Standing(phase, before.until, before.by, before.where)
        if after != before:
            self._keep(about, after)
        return after

    def _keep(self, about: Matter, standing: Standing) -> None:
        others = [pair for pair in self._known.get(about.identity, ()) if not pair[0].means(about)]
        self._known[about.identity] = [*others, (about, standing)]
        self._known.move_to_end(about.identity)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def comes_first(other: str, own: str) -> bool:
    """Which of two clients (ids) goes on where no server judges: one of the old kind (""), for it never yields."""
    return other < own
