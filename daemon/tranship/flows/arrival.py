"""verify -> unpack -> acknowledge -> publish: what becomes of deliveries that were asked for.

What is written down of them, and when, is the outcomes' concern.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tranship.core.handover import Standing
from tranship.core.leases import Ruling
from tranship.core.values import Wanted
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.outcomes import Done, Failed, Outcomes
from tranship.flows.sharing import Sharing
from tranship.flows.speaking import Speaker
from tranship.flows.unpacking import Unpacking
from tranship.hosts import is_own_host
from tranship.journal import ClientBook, Job, Source
from tranship.lanes import Threads
from tranship.packed import Broken, Hostile, UnpackError
from tranship.steps.acknowledge import acknowledgement
from tranship.steps.hear import Announcement, noted
from tranship.steps.publish import local_message, uri_at
from tranship.steps.request import Failure, Reply
from tranship.steps.verify import Arrival as Arriving
from tranship.steps.verify import verify
from tranship.wire.contract import Asker
from tranship.wire.messages import Message
from tranship_movers.place import Place

VERIFYING = 4
"""Threads per chain, for reading what has arrived."""


LARGE = 4 << 20
"""Bytes. A larger delivery is verified beside the small ones, so that they don't wait for it."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What was verified (and unpacked), but not yet published: since when (monotonic), and the message."""

    since: float
    outgoing: Message | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under way, sent at `at` (seconds since the epoch), `since` (monotonic).

    whole: what is known to be whole already; then only its turn to be published is asked for.
    """

    job: Job
    announcement: Announcement
    place: Place
    offer: Source
    asker: Asker
    at: float
    since: float
    whole: Whole | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request that was fulfilled; ruling: who may publish it (None: its server does not judge)."""

    asked: Asked
    reply: Reply
    ruling: Ruling | None = None


@dataclass(slots=True)
class Finished:
    """What arrived and is not published.

    failed: not whole; stale: whole, but it took too long to be sure who publishes it, so that is to be asked again;
    left: another client's.
    """

    failed: list[Failed] = field(default_factory=list)
    stale: list[Asked] = field(default_factory=list)
    left: list[tuple[Asked, Standing]] = field(default_factory=list)


class Arrival:
    """The arrivals of one chain. `run` beside it, until cancelled."""

    def __init__(
        self,
        chain: str,
        root: str,
        login: str,
        replacements: Mapping[str, Any],
        unpacking: Unpacking | None,
        sharing: Sharing,
        book: ClientBook,
        around: Surroundings,
    ) -> None:
        """Publish what arrives, unpacked, with its items replaced; destinations on this host lie below root.

        login (user[:password]) was for the destination; messages name the user.
        """
        self._chain = chain
        self._root = root
        self._login = login
        self._replacements = replacements
        self.threads = Threads(f"{chain} verify", VERIFYING)
        self._unpacking = unpacking
        self._sharing = sharing
        self._clock = around.clock
        self._book = book
        self._outcomes = Outcomes(chain, book, around, lambda job: job.new.many)
        self.noted = self._outcomes.noted
        self.fail = self._outcomes.fail

    def say_under_way(self, request: Message) -> None:
        """Publish a request (without credentials), for spares to hear."""
        self._outcomes.tell([request])

    def put_off(self, job: Job, reason: str) -> None:
        """Nobody waits for it: it goes on when its place does."""

    async def run(self, speaker: Speaker) -> None:
        """Publish again what was perhaps not before a crash; then have the journal know what was published."""
        if self._unpacking is not None:
            jobs = [job for job, _ in await self._book.unpublished(self._chain)]
            await self._unpacking.let_go([path for job in jobs for path in self._packed(*_offered(job))])
        await self._outcomes.run(speaker)

    def close(self) -> None:
        """Let go of the threads."""
        self.threads.close()
        if self._unpacking is not None:
            self._unpacking.threads.close()

    def takes_long(self, job: Job) -> bool:
        """Whether job is to be finished by itself, so that others don't wait for it."""
        packed = self._unpacking is not None and bool(self._packed(*_offered(job)))
        return packed or job.new.size > LARGE

    async def finish(self, arrived: Sequence[Arrived]) -> Finished:
        """Verify (and unpack) what has arrived; write down and publish what is whole, and this client's."""
        reached(Point.ANSWERED)
        reasons = await self.threads.do(_verified, arrived, self._root)
        finished = Finished(
            [_not_whole(a.asked, why) for a, why in zip(arrived, reasons, strict=True) if why]
        )
        unsized = [a for a in arrived if not a.asked.offer.many]
        sizes = await self.threads.do(_sizes, unsized, self._root) if unsized else {}
        done: dict[int, tuple[Arrived, Done]] = {}
        packed: dict[int, Sequence[str]] = {}
        for each in [a for a, why in zip(arrived, reasons, strict=True) if not why]:
            try:
                unpacked = await self._unpack(each.asked)
                job = each.asked.job.id
                done[job] = each, replace(self._done(each, unpacked), size=sizes.get(job, 0))
                packed[job] = list(unpacked)
            except UnpackError as error:
                finished.failed.append(_not_unpacked(each.asked, error))

        def sift(whole: Sequence[Done]) -> Sequence[Done]:
            return [each for each in whole if self._may_publish(*done[each.job.id], finished)]

        untold = await self._outcomes.finish([whole for _, whole in done.values()], sift)
        finished.failed += untold
        for attempt in untold:
            packed.pop(attempt.job.id, None)  # it is to be unpacked again
        if self._unpacking is not None:
            await self._unpacking.let_go([path for paths in packed.values() for path in paths])
        return finished

    def _may_publish(self, arrived: Arrived, done: Done, finished: Finished) -> bool:
        asked, ruling = arrived.asked, arrived.ruling
        if not self._sharing.is_fresh(ruling, asked.at, asked.since):
            whole = asked.whole or Whole(self._clock.monotonic(), done.outgoing)
            finished.stale.append(replace(asked, whole=whole))
            return False
        standing = self._sharing.may_publish(asked.announcement.about)
        if standing is not None and not asked.job.resent:
            finished.left.append((asked, standing))
            return False
        if ruling is not None:
            self._sharing.published(asked.job.id, asked.offer.request_address, asked.announcement)
        return True

    async def _unpack(self, asked: Asked) -> Mapping[str, tuple[str, ...]]:
        """The names of what was in asked's packed files, by path. Raises UnpackError."""
        packed = self._packed(asked.announcement, asked.place)
        if self._unpacking is None or not packed or asked.whole is not None:
            return {}
        if not is_here(asked.place):
            raise Hostile(f"{asked.place} is not on this host: what lies there can't be unpacked from here")
        return await self._unpacking(packed)

    def _packed(self, announcement: Announcement, place: Place) -> list[str]:
        """The paths at which packed files of announcement lie, or will."""
        if self._unpacking is None:
            return []
        covers = self._unpacking.covers
        return [path_at(place, file, self._root) for file in announcement.files if covers(file.uid)]

    def _done(self, arrived: Arrived, unpacked: Mapping[str, tuple[str, ...]]) -> Done:
        asked = arrived.asked
        told = acknowledgement(asked.announcement.message, self._sharing.client)
        judge = asked.offer.request_address if arrived.ruling is not None else ""
        if asked.whole is not None:
            return Done(asked.job, asked.whole.outgoing, asked.at, str(asked.place), (told,), judge)
        outgoing = self._outgoing(arrived, unpacked)
        return Done(asked.job, outgoing, asked.at, str(asked.place), (told,), judge)

    def _outgoing(self, arrived: Arrived, unpacked: Mapping[str, tuple[str, ...]]) -> Message:
        asked, told = arrived.asked, arrived.reply
        place, message = asked.place, asked.announcement.message
        address = {"request_address": asked.offer.request_address}
        return local_message(
            message.subject,
            told.type,
            {**message.data, **(told.data or {}), **address},
            place=with_user(place, self._login),
            local=is_here(place),
            about=asked.announcement.about,
            client=self._sharing.client,
            replace=self._replacements,
            unpacked={_uri(path, self._root): names for path, names in unpacked.items()},
        )


def path_at(place: Place, file: Wanted, root: str) -> str:
    """Where file lies on this host if it was delivered to place."""
    return os.path.join(root, uri_at(place, file.folder, file.uid, local=True).lstrip("/"))


def _uri(path: str, root: str) -> str:
    """The path that a message says, of a file that lies at path."""
    return "/" + path.removeprefix(root).lstrip("/")


def _offered(job: Job) -> tuple[Announcement, Place]:
    return noted(job.new.frame), Place.parse(job.new.destination)


def _not_whole(asked: Asked, reason: str) -> Failed:
    return Failed.temporarily(asked.job, asked.offer, reason)


def _not_unpacked(asked: Asked, error: UnpackError) -> Failed:
    """What was announced with its checksum is as its server has it: another copy would be no better."""
    known = all(file.checksum for file in asked.announcement.files)
    final = isinstance(error, Hostile) or (isinstance(error, Broken) and known)
    failure = Failure.PERMANENT if final else Failure.TEMPORARY
    return Failed(asked.job, asked.offer, Reply(None, failure=failure, reason=str(error)))


def with_user(place: Place, login: str) -> Place:
    """Place, as messages name it to who may log in there: with the user of login (user[:password])."""
    return replace(place, user=login.partition(":")[0]) if place.scheme in _PATHS else place


def is_here(place: Place) -> bool:
    """Whether place lies on this host's own file system."""
    return place.scheme in _PATHS and is_own_host(place.host)


_PATHS = frozenset({"file", "scp", "sftp", "ftp", "ftps"})
"""Schemes whose paths are paths of their host."""

_OTHER_ROOTS = frozenset({"sftp", "ftp", "ftps"})
"""Of these, those whose servers often show their users another root; then `ftp_root` tells which, or nobody does.

So may an scp server; but with scp a Trollmoves server reports success where it moved nothing: that is to be noticed."""


def _verified(arrived: Sequence[Arrived], root: str) -> list[str]:
    """Per delivery why it is not what was announced; "" if it is, or if it lies on another host. Blocking."""
    return [_wrong(a, root) if is_here(a.asked.place) and not a.asked.whole else "" for a in arrived]


def _sizes(arrived: Sequence[Arrived], root: str) -> dict[int, int]:
    """Bytes that lie on this host, by job; 0 if that can't be told. Blocking."""
    return {a.asked.job.id: _size(a.asked, root) for a in arrived if is_here(a.asked.place)}


def _size(asked: Asked, root: str) -> int:
    try:
        return sum(os.path.getsize(path_at(asked.place, f, root)) for f in asked.announcement.files)
    except OSError:
        return 0


def _wrong(arrived: Arrived, root: str) -> str:
    files = arrived.asked.announcement.files
    if not files:
        return "the announcement names no file"
    place, untold = arrived.asked.place, root == "/"
    if untold and place.scheme != "file" and arrived.asked.offer.many:
        return ""  # its server has verified it at the destination itself; what lies here may be another file
    arrivals = [Arriving(path_at(place, file, root), file) for file in files]
    if untold and place.scheme in _OTHER_ROOTS:
        arrivals = [arrival for arrival in arrivals if os.path.lexists(arrival.path)]
    return verify(arrivals)
