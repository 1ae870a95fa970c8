"""verify -> acknowledge -> publish: what becomes of deliveries that were asked for.

What is written down of them, and when, is the outcomes' concern.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.outcomes import Done, Outcomes
from tranship.hosts import is_own_host
from tranship.journal import ClientBook, Job, Source
from tranship.lanes import Threads
from tranship.steps.acknowledge import acknowledgement
from tranship.steps.hear import announcement_of
from tranship.steps.publish import local_message, uri_at
from tranship.steps.request import Reply
from tranship.steps.verify import Arrival as Arriving
from tranship.steps.verify import verify
from tranship.wire.contract import Asker
from tranship.wire.messages import Message
from tranship_movers.place import Place

VERIFYING = 4
"""Threads per chain, for reading what has arrived."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under way."""

    job: Job
    announcement: Message
    place: Place
    offer: Source
    asker: Asker
    at: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request that was fulfilled."""

    asked: Asked
    reply: Reply


class Arrival:
    """The arrivals of one chain. `run` beside it, until cancelled."""

    def __init__(
        self, chain: str, root: str, replacements: Mapping[str, Any], book: ClientBook, around: Surroundings
    ) -> None:
        """Publish what arrives, with its items replaced; destinations on this host lie below the folder root."""
        self._root = root
        self._replacements = replacements
        self.threads = Threads(f"{chain} verify", VERIFYING)
        self._outcomes = Outcomes(chain, book, around)
        self.run = self._outcomes.run
        self.noted = self._outcomes.noted
        self.fail = self._outcomes.fail

    def say_under_way(self, request: Message) -> None:
        """Publish a request (without credentials), for spares to hear."""
        self._outcomes.tell([request])

    def put_off(self, job: Job, reason: str) -> None:
        """Nobody waits for it: it goes on when its place does."""

    async def finish(self, arrived: Sequence[Arrived]) -> dict[int, str]:
        """Verify what has arrived; write down and publish what is whole. Why the others are not, by job."""
        reached(Point.ANSWERED)
        reasons = await self.threads.do(_verified, arrived, self._root)
        wrong = {a.asked.job.id: reason for a, reason in zip(arrived, reasons, strict=True) if reason}
        await self._outcomes.finish([self._done(a) for a in arrived if a.asked.job.id not in wrong])
        return wrong

    def _done(self, arrived: Arrived) -> Done:
        asked = arrived.asked
        told = acknowledgement(asked.announcement)
        return Done(asked.job, self._outgoing(arrived), asked.at, str(asked.place), (told,))

    def _outgoing(self, arrived: Arrived) -> Message:
        asked, told = arrived.asked, arrived.reply
        place, message = asked.place, asked.announcement
        address = {"request_address": asked.offer.request_address}
        return local_message(
            message.subject,
            told.type,
            {**message.data, **(told.data or {}), **address},
            place=place,
            local=is_here(place),
            identity=f"{asked.job.id}-{asked.job.new.identity}",
            replace=self._replacements,
        )


def is_here(place: Place) -> bool:
    """Whether place lies on this host's own file system."""
    return place.scheme in _PATHS and is_own_host(place.host)


_PATHS = frozenset({"file", "scp", "sftp", "ftp", "ftps"})
"""Schemes whose paths are paths of their host."""

_OTHER_ROOTS = frozenset({"sftp", "ftp", "ftps"})
"""Of these, those whose servers often show their users another root; then `ftp_root` tells which, or nobody does."""


def _verified(arrived: Sequence[Arrived], root: str) -> list[str]:
    """Per delivery why it is not what was announced; "" if it is, or if it lies on another host. Blocking."""
    return [_wrong(a, root) if is_here(a.asked.place) else "" for a in arrived]


def _wrong(arrived: Arrived, root: str) -> str:
    announcement = announcement_of(arrived.asked.announcement)
    if announcement is None:
        return "the announcement names no file"
    place = arrived.asked.place
    paths = [uri_at(place, file.folder, file.uid, local=True) for file in announcement.files]
    arrivals = [
        Arriving(os.path.join(root, path.lstrip("/")), file)
        for path, file in zip(paths, announcement.files, strict=True)
    ]
    if place.scheme in _OTHER_ROOTS and root == "/":
        arrivals = [arrival for arrival in arrivals if os.path.lexists(arrival.path)]
    return verify(arrivals)
