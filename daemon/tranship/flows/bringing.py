"""A mirror's side towards its servers: files are brought here when they are asked for, each version once.

A copy is trusted when the journal says that it was verified and it still lies here. Whoever asks for a version that
is on its way waits for the same transfer. Every server that offers it is tried once; then those who wait are told,
and may ask again, while it is tried again anyway until the policy gives it up.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from tranship.core.journey import Step
from tranship.core.values import Version
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.arrival import LARGE, Arrived, Asked, Finished
from tranship.flows.asking import Asking
from tranship.flows.destinations import destination_of
from tranship.flows.flights import Lacking
from tranship.flows.outcomes import Failed
from tranship.flows.sharing import Alone
from tranship.flows.terms import Terms
from tranship.journal import (
    ClientBook,
    Deletion,
    Job,
    MirrorBook,
    NewJob,
    Offered,
    Retry,
    ServerBook,
    Source,
    Verdict,
)
from tranship.lanes import Threads
from tranship.steps.acknowledge import LetGo
from tranship.steps.hear import Announcement, announcement_of
from tranship.steps.publish import uri_at
from tranship.steps.request import Failure, path_of
from tranship.steps.verify import Arrival as Arriving
from tranship.steps.verify import verify
from tranship.wire.messages import Message, decode_whole
from tranship_movers.place import Place

LOOKING = 4
"""Threads that look at copies and verify them, per chain."""


@dataclass(frozen=True, slots=True)
class Own:
    """The mirror's own folder.

    destination: the URL by which servers reach it; fields are filled in. root: below which its path lies here.
    remove_delay: time until a copy that was moved on, or that nobody takes, is deleted; None: never.
    """

    destination: str
    root: str
    remove_delay: timedelta | None


@dataclass(frozen=True, slots=True)
class Books:
    """The three sides of a mirror's journal."""

    server: ServerBook
    client: ClientBook
    mirror: MirrorBook


class Bringing:
    """One chain's copies. It is what brings sources to Requests, and what its own Asking tells its outcomes."""

    def __init__(self, chain: str, own: Own, terms: Terms, books: Books, around: Surroundings) -> None:
        """Nothing is asked for before `asking` runs."""
        self.threads = Threads(f"{chain} copies", LOOKING)
        self.asking = Asking(chain, terms, self, Alone(), books.client, around)
        self._chain = chain
        self._own = own
        self._books = books
        self._around = around
        self._waiting: dict[str, asyncio.Future[Lacking | None]] = {}

    async def __call__(self, version: Version) -> Version:
        """The file that was announced as version, as it lies here now. Raises Lacking."""
        offered = await self._books.mirror.offers(self._chain, version.path)
        announcement = announcement_of(decode_whole(offered.sources[0].frame)) if offered else None
        if offered is None or announcement is None:
            raise Lacking(Failure.PERMANENT, f"{version.path}: nobody offers it any more")
        url, reason = destination_of(announcement.message, self._own.destination)
        if reason:
            raise Lacking(Failure.PERMANENT, reason)
        copy = self._copies(announcement, Place.parse(url)).get(version.path, "")
        found = await self.threads.do(_lies, copy, version) if offered.brought else None
        if found is None:
            await self._fetch(offered, announcement, url)
            found = await self.threads.do(_lies, copy, version)
        if found is None:
            raise Lacking(Failure.TEMPORARY, f"{copy}: was brought, and is gone or another one")
        await self._keep([(found, version)])
        return found

    def has(self, offered: Offered) -> bool:
        """Whether it was brought here, or is on its way."""
        return offered.brought or offered.identity in self._waiting

    async def changed(self, paths: Sequence[str]) -> None:
        """Copies are not what they were: they are brought anew when they are asked for again."""
        await self.threads.do(_remove, paths)

    # what the asking tells

    def say_under_way(self, request: Message) -> None:
        """Nobody downstream is to hear of it."""

    def takes_long(self, job: Job) -> bool:
        """Whether job is to be finished by itself, so that others don't wait for it."""
        return job.new.size > LARGE

    async def finish(self, arrived: Sequence[Arrived]) -> Finished:
        """Verify what has arrived; write down what is whole."""
        reached(Point.BROUGHT)
        reasons = await self.threads.do(lambda: [self._wrong(a) for a in arrived])
        good = [a.asked for a, reason in zip(arrived, reasons, strict=True) if not reason]
        await self._keep(
            await self.threads.do(lambda: [copy for asked in good for copy in self._lying(asked)])
        )
        now = self._around.clock.now()
        if good:
            reached(Point.CHECKED)
        await self._books.client.published([(asked.job.id, now) for asked in good])
        if good:
            reached(Point.HERE)
        for asked in good:
            ms = round((now - asked.at) * 1000, 1)
            self._tell(
                Step.VERIFIED,
                asked.job,
                size=asked.job.new.size,
                ms=ms,
                peer=asked.offer.request_address,
                to=str(asked.place),
            )
            self._settle(asked.job, None)
        self._around.health.progress(f"{self._chain} bring", self._around.clock.monotonic(), len(good))
        return Finished(
            [
                Failed.temporarily(a.asked.job, a.asked.offer, reason)
                for a, reason in zip(arrived, reasons, strict=True)
                if reason
            ]
        )

    async def fail(self, failed: Sequence[Failed]) -> None:
        """Try the next server at once; when all were tried, tell who waits."""
        others = await self._books.client.sources([attempt.job.id for attempt in failed])
        retries = []
        for attempt in failed:
            retry, more = self._after(attempt, len(others.get(attempt.job.id, [])))
            retries.append(retry)
            peer = attempt.offer.request_address if attempt.offer else "here"
            facts = {"peer": peer, "attempt": attempt.job.attempts + 1, "reason": attempt.reply.reason}
            self._tell(
                Step.RETRIED if more or retry.state == "wanted" else Step.FAILED,
                attempt.job,
                **facts,
            )
            if not more:
                own = attempt.reply.failure in (Failure.SUPERSEDED, Failure.PERMANENT, Failure.REFUSED)
                failure = attempt.reply.failure if own and attempt.reply.failure else Failure.TEMPORARY
                self._settle(attempt.job, Lacking(failure, f"brought from {peer}: {attempt.reply.reason}"))
        await self._books.client.failed(retries)
        self._around.health.progress(f"{self._chain} bring", self._around.clock.monotonic(), done=0)

    def put_off(self, job: Job, reason: str) -> None:
        """Its place is paused: who waits may ask again."""
        self._settle(job, Lacking(Failure.TEMPORARY, f"not brought yet: {reason}"))

    def _after(self, attempt: Failed, others: int) -> tuple[Retry, bool]:
        """What follows an attempt, and whether another server is asked at once."""
        job, told = attempt.job, attempt.reply
        now, policy = self._around.clock.now(), self._around.policy
        match told.failure:
            case Failure.SUPERSEDED:
                return Retry(job.id, told.reason, "superseded", now, attempt.offer), False
            case Failure.PERMANENT | Failure.REFUSED:
                return Retry(job.id, told.reason, "dead", now, attempt.offer), others > 0
            case _ if policy.too_old(job.new.wanted, now):
                return Retry(job.id, told.reason, "dead", now), False
        more = job.attempts < others
        due = self._around.clock.steady() + (0.0 if more else policy.wait(job.attempts + 1 - others))
        return Retry(job.id, told.reason, "wanted", due, attempt.offer), more

    # bringing

    async def _fetch(self, offered: Offered, announcement: Announcement, url: str) -> None:
        """Have it brought, by whoever offers it. Raises Lacking."""
        waiting = self._waiting.get(offered.identity)
        if waiting is None:
            waiting = self._waiting[offered.identity] = asyncio.get_running_loop().create_future()
            try:
                await self._want(offered, announcement, url)
            except BaseException:
                del self._waiting[offered.identity]
                raise
        lacking = await asyncio.shield(waiting)
        if lacking is not None:
            raise Lacking(lacking.failure, lacking.reason)

    async def _want(self, offered: Offered, announcement: Announcement, url: str) -> None:
        now = self._around.clock.now()
        await self._books.mirror.forget(self._chain, offered.identity)
        first = NewJob(
            self._chain,
            offered.identity,
            ", ".join(file.uid for file in announcement.files[:3]),
            announcement.files[0].path,
            sum(max(0, file.size) for file in announcement.files),
            url,
            "",
            announcement.message.subject,
            announcement.request_address,
            announcement.many,
            announcement.message.encode(),
            announcement.message.time.timestamp(),
            now,
            self._around.clock.steady(),
        )
        wanted = [
            replace(first, request_address=source.request_address, many=source.many, frame=source.frame)
            for source in offered.sources
        ]
        verdicts = await self._books.client.want(wanted, [])
        verdict, job, _ = verdicts[0]
        if offered.brought:
            self.asking.mistrust(job)
        if verdict is Verdict.NEW:
            self.asking.line_up(job, announcement)
        elif await self._books.mirror.hasten(job.id, self._around.clock.steady()):
            self.asking.look()
        else:
            self.put_off(job, f"{url} is paused")

    def _settle(self, job: Job, lacking: Lacking | None) -> None:
        waiting = self._waiting.pop(job.new.identity, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(lacking)

    # copies

    def _copies(self, announcement: Announcement, place: Place) -> dict[str, str]:
        """Where the files of announcement come to lie here, by their paths at their server."""
        return {
            path_of(file.path): os.path.join(
                self._own.root, uri_at(place, file.folder, file.uid, local=True).lstrip("/")
            )
            for file in announcement.files
        }

    def _lying(self, asked: Asked) -> Iterator[tuple[Version, Version]]:
        """The copies that were asked for, as they lie here, each with what was announced. Blocking."""
        copies = self._copies(asked.announcement, asked.place)
        for file in asked.announcement.files:
            version = Version(path_of(file.path), file.size, file.mtime_ns, file.checksum)
            copy = _lies(copies[version.path], version)
            if copy is not None:
                yield copy, version

    async def _keep(self, copies: Sequence[tuple[Version, Version]]) -> None:
        """Leave copies here for those who have asked for them, and no longer."""
        if self._own.remove_delay is not None:
            until = self._around.clock.now() + self._own.remove_delay.total_seconds()
            await self._books.mirror.keep(self._chain, copies, until)

    def _wrong(self, arrived: Arrived) -> str:
        """Why what has arrived is not what was announced; "" if it is. Blocking."""
        announcement = arrived.asked.announcement
        if not announcement.files:
            return "the announcement names no file"
        copies = self._copies(announcement, arrived.asked.place)
        return verify([Arriving(copies[path_of(file.path)], file) for file in announcement.files])

    def _tell(self, step: Step, job: Job, **facts: object) -> None:
        self._around.story.tell(step, job.new.path, self._chain, **facts)


@dataclass(frozen=True, slots=True)
class PassOn:
    """What a mirror lets go: its copies are deleted after a delay, and upstream is told what was acknowledged.

    What was brought here, or is on its way, upstream lets go by itself, once it has moved it.
    """

    chain: str
    own: LetGo
    acknowledged: LetGo
    bringing: Bringing
    mirror: MirrorBook

    def deletions(self, versions: Sequence[Version]) -> list[Deletion]:
        """The copies that are to go once they are moved on."""
        return self.own.deletions(versions)

    async def __call__(self, paths: list[str], seq: int | None = None) -> list[str]:
        """Pass acknowledgements on to whoever offers these; returns the paths that were never announced."""
        unknown = await self.acknowledged(paths, seq)
        sources: dict[Source, None] = {}
        for path in paths:
            offered = None if path in unknown else await self.mirror.offers(self.chain, path)
            if offered is not None and not self.bringing.has(offered):
                sources.update(dict.fromkeys(offered.sources))
        for source in sources:
            self.bringing.asking.acknowledge(source)
        return unknown


def _lies(copy: str, version: Version) -> Version | None:
    """The copy of version, as it lies here; None if it does not. Blocking."""
    try:
        facts = os.stat(copy)
    except OSError:
        return None
    if version.size not in (-1, facts.st_size):
        return None
    return Version(copy, facts.st_size, facts.st_mtime_ns, version.checksum)


def _remove(paths: Sequence[str]) -> None:
    for path in paths:
        try:
            os.remove(path)
        except OSError:
            continue  # gone already; or it can't be replaced either, which the next attempt tells
