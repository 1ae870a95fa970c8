"""The mirror: announces what others announce, brings a file here when it is asked for, and moves it on from here.

hear -> (delay) -> announce             with its own numbers and request address (Hearing, here)
request -> bring -> move + verify       one transfer from upstream per version, whoever asks (Requests, Bringing)
acknowledge -> upstream; remove         its own copies are deleted when their delay is over
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from tranship.config.mirror import MirrorChain, MirrorConfig
from tranship.config.retry import policy_of
from tranship.core.allow import Allowed
from tranship.core.journey import Step
from tranship.core.values import Version
from tranship.delivery import Delivery
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.bringing import Books, Bringing, Own, PassOn
from tranship.flows.hearing import Hearing
from tranship.flows.keeping import ForgetAnnouncements, ForgetJobs
from tranship.flows.process import Process
from tranship.flows.requests import Requests, Terms
from tranship.flows.resending import Resending
from tranship.flows.serving import Voice, request_address, serving
from tranship.flows.terms import Terms as AskingTerms
from tranship.journal import Announced, Cursor, Heard, Source
from tranship.steps.acknowledge import LetGo
from tranship.steps.announce import retold
from tranship.steps.hear import Announcement, Said, announcement_of
from tranship.steps.request import Grant, first_path, path_of, why_unusable
from tranship.wire.contract import too_long
from tranship.wire.messages import Message, decode_whole

PATIENCE = timedelta(seconds=30)
"""Nothing that is to be brought is put off by more, unless the policy does so."""


def mirror(config: MirrorConfig, books: Books, around: Surroundings) -> "Process[MirrorChain, _Chain]":
    """A mirror process's work. Nothing happens before its `run`."""

    def chain(name: str, options: MirrorChain, voice: Voice) -> _Chain:
        return _Chain(name, options, books, around, voice)

    forgetting = (
        ForgetAnnouncements(config.keep, books.server.past, around.clock),
        ForgetJobs(config.keep, books.client.past, around.clock),
    )
    return serving(config, chain, books.server, around, *forgetting)


class _Chain:
    """One chain of a mirror. It is told what is heard upstream (a Hearer)."""

    def __init__(
        self, name: str, options: MirrorChain, books: Books, around: Surroundings, voice: Voice
    ) -> None:
        self.minds_others = False
        self.started = asyncio.Event()
        self.kept_for = options.remove_delay
        self._name = name
        self._options = options
        self._books = books
        self._around = around = replace(around, policy=policy_of(options.retry, around.policy))
        self._voice = voice
        self._address = ""
        self._topics: set[str] = set()
        self._news = asyncio.Event()
        self._refused: Counter[tuple[str, str]] = Counter()
        delay = options.remove_delay if options.delete else None
        own = Own(options.destination, str(options.ftp_root), delay)
        self._bringing = Bringing(
            name, own, AskingTerms.of(options, max(around.policy.longest, PATIENCE)), books, around
        )
        self._asking = self._bringing.asking
        self.ticket, self.inquire = self._asking.ticket, self._asking.inquire
        self.new_life = self._asking.ask_anew
        self._hearing = Hearing(name, options.heard, options.heartbeat_alarm_scale, books.client, around)
        let_go = PassOn(
            name,
            LetGo(name, delay, books.server, around.clock),
            LetGo(name, None, books.server, around.clock),
            self._bringing,
            books.mirror,
        )
        self._requests = Requests(
            name,
            Terms("", options.station, options.transfers, voice.begun),
            Grant(name, Allowed(options.allow), books.server),
            let_go,
            Delivery(
                around.pool, options.connection_parameters.plain(), voice.numbers.server, options.transfers
            ),
            books.server,
            around,
            self._bringing.changed,
            self._bringing,
        )
        self._resending = Resending(name, books.server, voice, around, _had_anew, self._requests.forget)

    def heads(self) -> list[tuple[str, int, str]]:
        """The topics that were told of, the last number of each, and where to ask for it."""
        told = self._voice.numbers.told
        return [(topic, told.get(topic, 0), self._address) for topic in sorted(self._topics)]

    async def run(self) -> None:
        """Work until cancelled."""
        answerer = self._around.bus.answerer(self._options.request.address, self._options.request.guard)
        self._address = request_address(self._options.request_address, answerer)
        self._topics = set(await self._books.mirror.topics(self._name))
        await self._books.server.transfers.broken_off(self._name)
        begin = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hearing.run(self, self.started, begin))
                tasks.create_task(self._asking.run(begin))
                tasks.create_task(self._requests.run(answerer))
                tasks.create_task(self._retell())
                tasks.create_task(self._resending.run(self._address))
        finally:
            answerer.close()
            self._bringing.threads.close()

    async def drain(self) -> None:
        """Take nothing new; wait until what was granted is brought, moved and answered."""
        await self._requests.drain()
        await self._asking.drain()

    async def obey(self) -> None:
        """Orders were given: of what is to be brought, and what is to be told once more."""
        await self._asking.obey()
        await self._resending.obey()

    # hear

    async def want(self, announcements: Sequence[Announcement], cursors: Sequence[Cursor]) -> None:
        """Record what is offered, and how far its servers were heard, in one."""
        due = self._around.clock.steady() + self._options.delay.total_seconds()
        usable = [announcement for announcement in announcements if self._is_usable(announcement)]
        heard = [
            Heard(
                self._name,
                each.about.identity,
                each.about.path,
                Source(each.request_address, each.many, each.message.encode()),
                due,
                each.server,
                each.message.subject,
                each.seq,
            )
            for each in usable
        ]
        if heard:
            reached(Point.NEWS)
        fresh = await self._books.mirror.hear(heard, cursors)
        if heard:
            reached(Point.NOTED)
        for announcement, new in zip(usable, fresh, strict=True):
            if not new:
                peer = announcement.request_address
                self._tell(
                    Step.SKIPPED, announcement.files[0].path, peer=peer, reason="announced before, or older"
                )
        self._news.set()

    async def others(self, said: Sequence[Said], cursors: Sequence[Cursor]) -> None:
        """What other clients do is of no concern to a mirror."""

    def _is_usable(self, announcement: Announcement) -> bool:
        """Whether it can be passed on; if not, that is counted, and said once per server and reason."""
        reason = next(filter(None, map(why_unusable, announcement.files)), "") or too_long(
            announcement.message
        )
        if not reason:
            return True
        peer = announcement.request_address
        self._count("refused announcements")
        if len(self._refused) < 1000 and not self._refused[peer, reason]:
            message = announcement.message
            file = first_path(message.data)
            self._tell(Step.REFUSED, file, topic=message.subject, peer=peer, reason=reason)
        self._refused[peer, reason] += 1
        return False

    # announce

    async def _retell(self) -> None:
        """Announce what was heard, when its delay is over."""
        await self._voice.audience.wait()
        clock = self._around.clock
        await self._books.mirror.take_up(self._name, clock.steady() + self._options.delay.total_seconds())
        while True:
            self._news.clear()
            untold, following = await self._books.mirror.untold(self._name, clock.steady())
            if untold:
                await self._announce(untold)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    None if following is None else max(0.01, following - clock.steady())
                ):
                    await self._news.wait()

    async def _announce(self, untold: Sequence[tuple[int, Source]]) -> None:
        numbers, told = self._voice.numbers, []
        for number, source in untold:
            announcement = announcement_of(decode_whole(source.frame))
            if announcement is not None:
                topic = announcement.message.subject
                seq = numbers.take(topic)
                message = retold(announcement.message, self._address, numbers.server, seq)
                told.append((number, self._announced(announcement, seq, message), message))
        await self._books.mirror.tell([(number, announced) for number, announced, _ in told])
        reached(Point.RENUMBERED)
        self._voice.publisher.tell([message for *_, message in told])
        reached(Point.PASSED_ON)
        for _, announced, _ in told:
            numbers.told[announced.topic] = max(numbers.told.get(announced.topic, 0), announced.seq)
            self._topics.add(announced.topic)
            self._tell(Step.ANNOUNCED, announced.version.path, size=announced.version.size, seq=announced.seq)
        self._count("announce", len(told))

    def _announced(self, announcement: Announcement, seq: int, message: Message) -> Announced:
        first, *others = [
            Version(path_of(file.path), file.size, file.mtime_ns, file.checksum)
            for file in announcement.files
        ]
        return Announced(
            message.subject,
            seq,
            self._name,
            first,
            announcement.files[0].uid,
            message.encode(),
            announcement.message.time.timestamp(),
            self._around.clock.now(),
            tuple(others),
        )

    def _tell(self, step: Step, file: str, **facts: object) -> None:
        self._around.story.tell(step, file, self._name, **facts)

    def _count(self, part: str, count: int = 1) -> None:
        self._around.health.progress(f"{self._name} {part}", self._around.clock.monotonic(), count)


async def _had_anew(versions: Sequence[Version]) -> list[str]:
    """Whatever is announced once more can be brought once more, as far as is known here."""
    return [""] * len(versions)
