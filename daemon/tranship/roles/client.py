"""The client: hears announcements, asks for the files, verifies and publishes what has arrived.

    hear -> want (journal) -> request -> verify -> unpack -> acknowledge -> publish

What was missed is asked for again (Hearing; Missed, of old servers). A failed attempt is tried again, new files
first, by another server if several offer the same (Asking, Arrival). Among several clients of one section, one
publishes (Sharing).
"""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from tranship.config.client import ClientChain, ClientConfig
from tranship.config.retry import policy_of
from tranship.core.clock import text_of
from tranship.core.identity import identity
from tranship.core.journey import Step
from tranship.core.values import Wanted
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.arrival import Arrival
from tranship.flows.asking import Asking
from tranship.flows.destinations import destination_of
from tranship.flows.hearing import Hearing
from tranship.flows.keeping import ForgetJobs
from tranship.flows.missed import Missed
from tranship.flows.process import Opened, Process
from tranship.flows.sharing import Sharing
from tranship.flows.speaking import Speaker, speaking
from tranship.flows.terms import Terms
from tranship.flows.unpacking import Unpacking
from tranship.hosts import make_known
from tranship.journal import Before, ClientBook, Cursor, Job, NewJob, Retry, Source, Verdict
from tranship.steps.hear import Announcement, Said
from tranship.steps.lease import signed
from tranship.wire.contract import AUDIENCE
from tranship.wire.messages import Message


def client(config: ClientConfig, book: ClientBook, around: Surroundings) -> "Process[ClientChain, _Chain]":
    """A client process's work. Nothing happens before its `run`."""

    def chain(name: str, options: ClientChain) -> _Chain:
        return _Chain(name, options, book, around)

    opened = Opened(chain)
    return Process(
        config, lambda: nullcontext(opened), book, around, ForgetJobs(config.keep, book.past, around.clock)
    )


class _Chain:
    """One chain of a client. It is told what is heard (a Hearer)."""

    def __init__(self, name: str, options: ClientChain, book: ClientBook, around: Surroundings) -> None:
        self.name = name
        self.options = options
        self.minds_others = False
        self.started = asyncio.Event()
        self._service = f"move_it_{name}"
        self._book = book
        self._around = around = replace(around, policy=policy_of(options.retry, around.policy))
        self._draining = False
        self._missed = Missed(name, lambda made: destination_of(made, options.destination)[1], book, around)
        self._hearing = Hearing(
            name, options.heard, options.heartbeat_alarm_scale, book, around, doubts=self._missed
        )
        self._sharing = Sharing(name, options.lease, book, around)
        unpacking = Unpacking(options.unpack) if options.unpack is not None else None
        terms = self._terms()
        self._arrival = Arrival(
            name, terms.root, terms.login, options.replace, unpacking, self._sharing, book, around
        )
        self._asking = Asking(name, terms, self._arrival, self._sharing, book, around)
        self.ticket = self._asking.ticket
        self.inquire = self._asking.inquire
        self.new_life = self._asking.ask_anew
        self.obey = self._asking.obey

    async def run(self) -> None:
        """Work until cancelled."""
        options, begin = self.options, asyncio.Event()
        await self._sharing.begin()
        book = self._book.numbered(self.name)
        try:
            async with (
                speaking(self._service, options.publish, options.replay, book, self._around) as speaker,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(self._hearing.run(self, self.started, begin))
                await asyncio.sleep(AUDIENCE)  # what is published before is heard by nobody
                tasks.create_task(self._arrival.run(speaker))
                tasks.create_task(self._asking.run(begin))
                tasks.create_task(self._missed.run(self, begin))
                tasks.create_task(self._live(speaker))
                tasks.create_task(speaker.answer())
        finally:
            self._arrival.close()

    async def drain(self) -> None:
        """Ask for nothing new; wait until what was asked for is answered and published."""
        self._draining = True
        await self._asking.drain()
        await self._arrival.noted()

    # hear -> want

    async def want(self, announcements: Sequence[Announcement], cursors: Sequence[Cursor]) -> None:
        """Record what is offered, and how far its servers were heard, in one; then ask for what is new."""
        now, steady = self._around.clock.now(), self._around.clock.steady()
        offers = [self._offer(announcement, now, steady) for announcement in announcements]
        if offers:
            reached(Point.HEARD)
        verdicts = await self._book.want([new for new, _ in offers], cursors)
        if offers:
            reached(Point.WANTED)
        hopeless = []
        for announcement, (_, reason), (verdict, job, before) in zip(
            announcements, offers, verdicts, strict=True
        ):
            if verdict is Verdict.NEW and reason:
                hopeless.append(Retry(job.id, reason, "dead"))
                self._around.story.tell(Step.FAILED, job.new.path, self.name, reason=reason)
            elif verdict is Verdict.NEW and job.new.due > steady:
                self._asking.look()
            elif verdict is Verdict.NEW:
                self._asking.line_up(job, announcement)
            elif before is not None:
                self._skip(announcement, job, before)
        if hopeless:
            await self._book.failed(hopeless)

    async def others(self, said: Sequence[Said], cursors: Sequence[Cursor]) -> None:
        """Other clients say this of deliveries; nothing of theirs that was missed is asked for."""
        del cursors
        await self._sharing.heard(said)

    def _offer(self, announcement: Announcement, now: float, steady: float) -> tuple[NewJob, str]:
        """The delivery that announcement offers, and why it can't be made ("" if it can)."""
        message = announcement.message
        destination, reason = destination_of(message, self.options.destination)
        about, alone = announcement.about, len(announcement.files) == 1 and not announcement.resent
        standing = self._sharing.announced(about, steady + self.options.processing_delay.total_seconds())
        new = NewJob(
            self.name,
            about.identity,
            ", ".join(file.uid for file in announcement.files[:3]),
            about.path,
            sum(max(0, file.size) for file in announcement.files),
            destination,
            announcement.server,
            message.subject,
            announcement.request_address,
            announcement.many,
            message.encode(),
            message.time.timestamp(),
            now,
            max(steady, standing.until),
            announcement.seq,
            identity([Wanted(announcement.files[0].uid, "")]) if alone else "",
            max(0, announcement.files[0].mtime_ns) / 1e9,
        )
        return new, reason

    def _skip(self, announcement: Announcement, job: Job, before: Before) -> None:
        """It was delivered before: say so, and tell its server that it may let it go."""
        address = announcement.request_address
        reason = f"delivered before, at {text_of(before.at)} to {before.destination}"
        if before.reason:
            reason += f", {before.reason}"
        self._around.health.progress(f"{self.name} delivered before", self._around.clock.monotonic())
        self._around.story.tell(Step.SKIPPED, job.new.path, self.name, peer=address, reason=reason)
        source = Source(address, announcement.many, announcement.message.encode())
        self._asking.acknowledge(source, job.new.destination)

    def _terms(self) -> Terms:
        options = self.options
        held = max(2 * options.lease, options.processing_delay)
        return Terms.of(options, max(self._around.policy.longest, held), held, options.backup_targets)

    # heartbeats, discovery

    async def _live(self, speaker: Speaker) -> None:
        """Make the publisher known, and show that it lives."""
        around, options, name = self._around, self.options, self._service

        def with_id(beat: Message) -> Message:
            return signed(beat, self._sharing.client)

        async with asyncio.TaskGroup() as tasks:
            known = make_known(around.bus, speaker.publisher, name, options.nameservers, around.on_oddity)
            tasks.create_task(known)
            tasks.create_task(speaker.beat(name, options.heartbeat, with_id))
