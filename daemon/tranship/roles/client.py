"""The client: hears announcements, asks for the files, verifies and publishes what has arrived.

    hear -> want (journal) -> request -> verify -> acknowledge -> publish

What was missed (a gap in the numbers, a head that a heartbeat tells) is asked for again by `replay`. A failed
attempt is tried again, new files first, by another server if several offer the same.
"""

import asyncio
import contextlib
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from urllib.parse import quote

from trollsift import compose as fill_in

from tranship.chains import Chains
from tranship.config.client import ClientChain, ClientConfig
from tranship.core.clock import Clock
from tranship.core.health import Health
from tranship.core.identity import identity
from tranship.core.journey import Step
from tranship.core.liveness import Liveness
from tranship.core.retry import RetryPolicy
from tranship.core.sequence import Sequence as Numbers
from tranship.core.story import Story
from tranship.hosts import is_own_host, make_known
from tranship.journal import ClientBook, Cursor, Delivered, Job, NewJob, Retry, Source, Verdict
from tranship.lanes import IDLE, Waiting
from tranship.steps.acknowledge import acknowledgement, asked_acknowledgement
from tranship.steps.hear import Announcement, announcement_of, sort
from tranship.steps.publish import local_message, uri_at
from tranship.steps.replay import Head, heads_of, life_of, read_replay, replay_request
from tranship.steps.request import Failure, Reply, read_reply, requests
from tranship.steps.verify import Arrival, verify
from tranship.wire.askers import Askers
from tranship.wire.contract import AUDIENCE, Answer, Asker, Bus, BusError, Heard, OnOddity
from tranship.wire.discovery import beat, min_interval
from tranship.wire.messages import Message, compose, decode_whole
from tranship_movers.errors import MoverError
from tranship_movers.place import Place

LARGE = 4 << 20
"""Bytes. A larger delivery is verified beside the small ones, so that they don't wait for it."""

MARGIN = 10.0
"""Seconds by which clocks may differ, when announcements are asked for by time (at the first contact)."""

HANDED_OVER = 0.5
"""Seconds that ZeroMQ's thread has to hand over what was published; a crash within repeats it, with the same id."""

LEASE = 30.0
"""Seconds that another client is given to finish what it said it has under way."""

LINED_UP = 1000
"""New deliveries that wait in memory per provider; more of them wait in the journal."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process gives to its chains."""

    book: ClientBook
    bus: Bus
    clock: Clock
    story: Story
    health: Health
    policy: RetryPolicy
    on_oddity: OnOddity


class Client:
    """A client process's work. `run` until it is cancelled, or has drained."""

    def __init__(self, config: ClientConfig, around: Surroundings) -> None:
        """Make it; nothing happens before `run`."""
        self.health = around.health
        self._config = config
        self._around = around
        self._drained = asyncio.Event()
        self._chains: Chains[ClientChain, _Chain]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until drained. Calls ready when every chain listens."""
        around = self._around
        async with asyncio.TaskGroup() as tasks:
            self._chains = Chains(
                tasks, lambda name, options: _Chain(name, options, around), around.health, around.clock
            )
            await self._chains.become(self._config.chains)
            journal = tasks.create_task(self._chains.watch("journal writing", lambda: around.book.trouble))
            await self._chains.started()
            ready()
            await self._drained.wait()
            self._chains.cancel()
            journal.cancel()

    async def drain(self) -> None:
        """Ask for nothing new, finish what is under way, then end `run`."""
        await self._chains.drain()
        self._drained.set()

    async def reload(self, config: ClientConfig) -> list[str]:
        """Go on with config: chains that are the same are not touched. Returns what has changed, in words."""
        changes = await self._chains.become(config.chains)
        for option in ("name", "journal"):
            if getattr(config, option) != getattr(self._config, option):
                changes.append(f"{option} differs: it takes effect at the next start")
        return changes


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request under way."""

    job: Job
    announcement: Message
    place: Place
    offer: Source
    asker: Asker
    at: float


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A request that was fulfilled."""

    asked: _Asked
    reply: Reply


@dataclass(slots=True)
class _Provider:
    """A request address: what is new there, and how much is under way. A silent one holds up no other."""

    fresh: Waiting[tuple[Job, Announcement]]
    room: asyncio.Event
    under_way: int = 0


class _Chain:
    """One chain of a client."""

    def __init__(self, name: str, options: ClientChain, around: Surroundings) -> None:
        self.name = name
        self.options = options
        self.started = asyncio.Event()
        self._around = around
        self._life = uuid.uuid4().hex[:8]
        self._login = options.login.get_secret_value() if options.login is not None else ""
        self._draining = False
        self._idle = asyncio.Event()
        self._told: Waiting[tuple[int, float]] = Waiting()
        self._noted = asyncio.Event()
        self._noted.set()
        self._tasks: asyncio.TaskGroup
        self._providers: dict[str, _Provider] = {}
        self._taken: set[int] = set()
        self._mistrusted: set[int] = set()
        self._asked: dict[str, _Asked] = {}
        self._due = asyncio.Event()
        self._left_over = False
        longest = around.policy.longest, timedelta(seconds=LEASE), options.processing_delay
        self._horizon = max(longest).total_seconds() + 1.0
        self._numbers: dict[tuple[str, str], Numbers] = {}
        self._firsts: dict[str, float] = {}
        self._replaying: set[tuple[str, str]] = set()
        self._pages: dict[str, asyncio.Future[Message | None]] = {}
        self._beats: dict[str, Liveness] = {}
        self._lives: dict[str, str] = {}
        self._folders: OrderedDict[str, None] = OrderedDict()
        self._odd: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Work until cancelled."""
        bus, options, clock = self._around.bus, self.options, self._around.clock
        for state in (self._asked, self._pages, self._beats, self._numbers, self._providers):
            state.clear()
        for ids in (self._taken, self._mistrusted, self._replaying):
            ids.clear()
        self._told = Waiting()
        self._noted.set()
        addresses = [provider.address for provider in options.providers]
        self._firsts = await self._around.book.firsts(self.name, addresses, clock.now())
        for cursor in await self._around.book.cursors(self.name):
            self._numbers[cursor.server, cursor.topic] = Numbers(cursor.seq)
        self._publisher = bus.publisher(options.publish.address, f"move_it_{self.name}")
        self._subscription = bus.subscription()
        self._askers = Askers(bus, self._begin_to_collect)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for provider in options.providers:
                    self._subscription.add(provider.address, [options.topic_of(provider), "/heartbeat/"])
                    self._beats[provider.address] = Liveness(options.heartbeat_alarm_scale, clock.monotonic())
                self.started.set()
                await asyncio.sleep(AUDIENCE)  # what is published before is heard by nobody
                await self._publish_again()
                for part in (self._listen, self._request_due, self._note_published, self._watch_beats):
                    self._tasks.create_task(part())
                if options.heartbeat:
                    self._tasks.create_task(self._beat(options.heartbeat))
                self._tasks.create_task(self._make_known())
        finally:
            self._subscription.close()
            self._askers.close()
            self._publisher.close()

    async def drain(self) -> None:
        """Ask for nothing new; wait until what was asked for is answered and published."""
        self._draining = True
        if self._under_way:
            self._idle.clear()
            await self._idle.wait()
        await self._noted.wait()

    @property
    def _under_way(self) -> int:
        """How many deliveries were asked for; the others wait in the journal too."""
        return len(self._taken) - sum(len(provider.fresh) for provider in self._providers.values())

    # hear -> want

    async def _listen(self) -> None:
        while True:
            out = sort(await self._subscription.heard())
            if out.announcements:
                await self._want(out.announcements)
            if out.under_way:
                until = self._around.clock.now() + LEASE
                await self._around.book.hold(self.name, _identities(out.under_way), until)
            if out.done:
                await self._around.book.elsewhere(self.name, _identities(out.done), self._around.clock.now())
            for heard in out.beats:
                await self._hear_beat(heard)
            for heard, what in out.odd:
                self._around.health.progress(f"{self.name} odd messages", self._around.clock.monotonic())
                if (heard.provider, what) not in self._odd:
                    self._odd.add((heard.provider, what))
                    self._around.story.tell(
                        Step.REFUSED, heard.message.subject, self.name, peer=heard.provider, reason=what
                    )

    async def _want(self, announcements: Sequence[Announcement], replayed: Cursor | None = None) -> None:
        """Record what is offered, and how far its server was heard, in one; then ask for what is new."""
        now = self._around.clock.now()
        offers = [self._offer(announcement, now) for announcement in announcements]
        cursors = {} if replayed is None else {(replayed.server, replayed.topic): replayed}
        for announcement in announcements if replayed is None else ():
            cursor = self._heard(announcement)
            if cursor is not None:
                cursors[cursor.server, cursor.topic] = cursor
        verdicts = await self._around.book.want([new for new, _ in offers], list(cursors.values()))
        hopeless = []
        for announcement, (_, reason), (verdict, job, before) in zip(
            announcements, offers, verdicts, strict=True
        ):
            if verdict is Verdict.NEW and reason:
                hopeless.append(Retry(job.id, reason, "dead"))
                self._around.story.tell(Step.FAILED, job.new.path, self.name, reason=reason)
            elif verdict is Verdict.NEW:
                self._line_up(job, announcement)
            elif verdict is Verdict.DONE:
                self._skip(announcement, job, before)
        if hopeless:
            await self._around.book.failed(hopeless)
        for key, cursor in cursors.items():
            self._mind_gap(*key, cursor.request_address)

    def _line_up(self, job: Job, announcement: Announcement) -> None:
        """Have job asked for at once, or leave it to the journal."""
        provider = self._provider(announcement.request_address)
        if self._draining or self.options.processing_delay or len(provider.fresh) >= LINED_UP:
            self._due.set()
        else:
            self._taken.add(job.id)
            provider.fresh.put([(job, announcement)])

    def _offer(self, announcement: Announcement, now: float) -> tuple[NewJob, str]:
        """The delivery that announcement offers, and why it can't be made ("" if it can)."""
        message = announcement.message
        destination, reason = self._destination(message)
        new = NewJob(
            self.name,
            identity(announcement.files),
            ", ".join(file.uid for file in announcement.files[:3]),
            announcement.files[0].path,
            sum(max(0, file.size) for file in announcement.files),
            destination,
            announcement.server,
            message.subject,
            announcement.request_address,
            announcement.many,
            message.encode(),
            message.time.timestamp(),
            now,
            now + self.options.processing_delay.total_seconds(),
        )
        return new, reason

    def _destination(self, message: Message) -> tuple[str, str]:
        template = self.options.destination
        try:
            url = str(fill_in(template, message.dated)) if "{" in template else template
            place = _place(url)
            url.encode()
        except KeyError as error:
            return "", f"destination {template} needs {error}, which the announcement lacks"
        except (ValueError, TypeError, MoverError) as error:
            return "", f"destination {template} can't be filled in: {error}"
        if ".." in place.path.split("/"):
            return "", f"destination {template} would lead to {place.path}"
        return url, ""

    def _heard(self, announcement: Announcement) -> Cursor | None:
        """How far announcement's server was heard after it; None if that is no news, or it does not number."""
        if not announcement.server:
            return None
        key = announcement.server, announcement.message.subject
        numbers = self._numbers.get(key)
        if numbers is None:
            numbers = self._numbers[key] = Numbers(0)
        before = numbers.contiguous
        numbers.heard(announcement.seq)
        if numbers.contiguous == before and not numbers.gap:
            return None
        return Cursor(self.name, *key, numbers.contiguous, announcement.request_address)

    def _skip(self, announcement: Announcement, job: Job, before: float | None) -> None:
        """It was delivered before: say so, and tell its server that it may let it go."""
        self._around.story.tell(
            Step.SKIPPED,
            job.new.path,
            self.name,
            peer=announcement.request_address,
            reason=f"delivered before ({before})",
        )
        self._acknowledge(
            Source(announcement.request_address, announcement.many, announcement.message.encode())
        )

    # replay

    async def _hear_beat(self, heard: Heard) -> None:
        beats = self._beats.get(heard.provider)
        if beats is not None:
            beats.beat(self._around.clock.monotonic(), min_interval(heard.message))
            self._around.health.recover(f"{self.name} {heard.provider}", self._around.clock.monotonic())
        life, heads = life_of(heard.message), heads_of(heard.message)
        before = self._lives.get(heard.provider)
        self._lives[heard.provider] = life
        if before and life != before:
            await self._ask_anew({head.request_address for head in heads})
        for head in heads:
            if head.seq and self._concerns(heard.provider, head):
                numbers = self._numbers.setdefault((head.server, head.topic), Numbers(0))
                if life != before:
                    numbers.set_back(head.seq)
                numbers.told_head(head.seq)
                self._mind_gap(head.server, head.topic, head.request_address, heard.provider)

    async def _ask_anew(self, addresses: set[str]) -> None:
        """A server has begun a new life: it knows nothing of the requests that its old one was given."""
        for ticket, asked in list(self._asked.items()):
            if asked.offer.request_address in addresses:
                asked.asker.keep_waiting(ticket, 0.0)
        await self._around.book.hasten(self.name, self._around.clock.now())
        self._due.set()

    def _concerns(self, provider: str, head: Head) -> bool:
        return any(
            head.topic.startswith(self.options.topic_of(own))
            for own in self.options.providers
            if own.address == provider
        )

    def _mind_gap(self, server: str, topic: str, address: str, provider: str = "") -> None:
        """Ask for what was missed of topic, unless that is being done."""
        if self._numbers[server, topic].gap and (server, topic) not in self._replaying:
            self._replaying.add((server, topic))
            self._tasks.create_task(self._replay(server, topic, address, provider))

    async def _replay(self, server: str, topic: str, address: str, provider: str) -> None:
        numbers = self._numbers[server, topic]
        since = numbers.contiguous or None
        time = self._firsts.get(provider, min(self._firsts.values())) - MARGIN
        brought = 0
        try:
            while numbers.gap:
                page = read_replay(
                    await self._ask_page(
                        replay_request(topic, self._ticket("replay"), since=since, time=time), address
                    )
                )
                if page is None:
                    break  # it can't, or not now: the next beat tells of the gap again
                announcements = [
                    a for m in page.messages if (a := announcement_of(_by(m, address))) is not None
                ]
                numbers.replayed(page.last)
                cursor = Cursor(self.name, server, topic, numbers.contiguous, address)
                await self._want(announcements, cursor)
                brought += len(announcements)
                stands_still = page.last <= (since or 0)
                since = page.last
                if stands_still or not page.more:
                    break  # that was all there is, whatever a head may have said
        finally:
            self._replaying.discard((server, topic))
        if brought:
            self._around.story.tell(
                Step.REPLAYED, topic, self.name, peer=address, reason=f"{brought} announcements"
            )

    async def _ask_page(self, message: Message, address: str) -> Message | None:
        ticket = message.ticket or ""
        page = self._pages[ticket] = asyncio.get_running_loop().create_future()
        try:
            asker = self._askers.at(address, many=True)
            asker.ask(message, ticket, self.options.transfer_req_timeout.total_seconds())
            answer: Message | None = await page
            return answer
        except BusError:
            return None  # no room for another address now
        finally:
            del self._pages[ticket]

    # request

    async def _request_new(self, address: str, provider: _Provider) -> None:
        while True:
            while self._is_full(provider) or self._draining:
                provider.room.clear()
                await provider.room.wait()
            free = self.options.in_flight - provider.under_way
            try:
                async with asyncio.timeout(IDLE):
                    batch = await provider.fresh.take(free, 1 << 30)
            except TimeoutError:
                if provider.under_way or len(provider.fresh):
                    continue
                del self._providers[address]
                return
            for job, announcement in batch:
                await self._ask(job, announcement.message, _own_offer(job))

    async def _request_due(self) -> None:
        """Ask for what is owed and due, but for what is asked for already. New files have gone first."""
        while True:
            self._due.clear()
            now = self._around.clock.now()
            busy = [address for address, provider in self._providers.items() if self._is_full(provider)]
            jobs, following = await self._around.book.waiting(
                self.name,
                now,
                horizon=self._horizon,
                limit=self.options.in_flight + len(self._taken),
                busy=busy,
            )
            due = [job for job in jobs if job.id not in self._taken]
            self._left_over = bool(due or busy)
            if not await self._ask_due(due):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if following is None else max(0.01, following - now)):
                        await self._due.wait()

    async def _ask_due(self, due: Sequence[Job]) -> int:
        """Ask for those of due whose provider has room; how many these are."""
        count = 0
        sources = await self._around.book.sources([job.id for job in due if job.attempts])
        for job in due:
            offers = [_own_offer(job), *sources.get(job.id, [])]
            offer = offers[job.attempts % len(offers)]
            free = not self._draining and not self._is_full(self._provider(offer.request_address))
            if free and job.id not in self._taken:
                self._taken.add(job.id)
                count += 1
                await self._ask(job, decode_whole(offer.frame), offer)
        return count

    async def _ask(self, job: Job, announcement: Message, offer: Source) -> None:
        place = _place(job.new.destination)
        try:
            await self._make_folder(place)
        except OSError as error:
            told = f"{place}: can't make the folder: {error.strerror}"
            await self._fail([(job, offer, _temporarily(told))])
            return
        ticket = self._ticket(f"{job.id}.{job.attempts}")
        extra = {"backup_targets": list(self.options.backup_targets)} if self.options.backup_targets else {}
        login = _quoted(self._login) if offer.many else self._login  # old peers don't unquote
        facts = {"id": ticket, "progress": True, **({"again": True} if job.id in self._mistrusted else {})}
        request = requests(announcement, job.new.destination, login, facts, extra)
        try:
            asker = self._askers.at(offer.request_address, many=offer.many)
        except BusError as error:
            await self._fail([(job, offer, _temporarily(str(error)))])
            return
        at = self._around.clock.now()
        self._asked[ticket] = _Asked(job, announcement, place, offer, asker, at)
        self._provider(offer.request_address).under_way += 1
        self._publisher.tell([request.public])
        asker.ask(request.private, ticket, self.options.transfer_req_timeout.total_seconds())
        self._around.story.tell(
            Step.REQUESTED, job.new.path, self.name, size=job.new.size, peer=offer.request_address
        )

    async def _make_folder(self, place: Place) -> None:
        """Make the destination's folder, if it is on this host, as its user would have it (umask)."""
        if not self.options.create_target_directory or not _is_here(place):
            return
        folder = os.path.join(self.options.ftp_root, os.path.dirname(place.path).lstrip("/"))
        if folder not in self._folders:
            await asyncio.to_thread(os.makedirs, folder, exist_ok=True)
            self._folders[folder] = None
            if len(self._folders) > 1000:
                self._folders.popitem(last=False)

    def _is_full(self, provider: _Provider) -> bool:
        return provider.under_way >= self.options.in_flight

    def _provider(self, address: str) -> _Provider:
        provider = self._providers.get(address)
        if provider is None:
            provider = self._providers[address] = _Provider(Waiting(), asyncio.Event())
            self._tasks.create_task(self._request_new(address, provider))
        return provider

    def _ticket(self, what: str) -> str:
        self._count = getattr(self, "_count", 0) + 1
        return f"{self._life}-{what}-{self._count}"

    # verify -> acknowledge -> publish

    def _begin_to_collect(self, asker: Asker) -> None:
        self._tasks.create_task(self._collect(asker))

    async def _collect(self, asker: Asker) -> None:
        while True:
            try:
                answers = await asker.answered()
            except BusError:
                return  # it was idle, and made room for another
            await self._take_in(asker, answers)

    async def _take_in(self, asker: Asker, answers: Sequence[Answer]) -> None:
        small: list[_Arrived] = []
        failed: list[tuple[Job, Source, Reply]] = []
        for answer in answers:
            asked = self._answered(asker, answer)
            if asked is None:
                continue
            told = read_reply(answer.message, self.options.transfer_req_timeout.total_seconds())
            if told.data is None:
                failed.append((asked.job, asked.offer, told))
            elif asked.job.new.size > LARGE:
                self._tasks.create_task(self._finish([_Arrived(asked, told)]))
            else:
                small.append(_Arrived(asked, told))
        if failed:
            await self._fail(failed)
        if small:
            await self._finish(small)

    def _answered(self, asker: Asker, answer: Answer) -> _Asked | None:
        """The request that answer ends; None if it ends none of a transfer."""
        if answer.message is not None and answer.message.type == "progress":
            asker.keep_waiting(answer.ticket, self.options.transfer_req_timeout.total_seconds())
            self._around.health.progress(f"{self.name} publish", self._around.clock.monotonic(), done=0)
            return None
        page = self._pages.get(answer.ticket)
        if page is not None and not page.done():
            page.set_result(answer.message)
        asked = self._asked.pop(answer.ticket, None)
        if asked is not None:
            provider = self._providers[asked.offer.request_address]
            provider.under_way -= 1
            provider.room.set()
            if self._left_over:
                self._due.set()
        return asked

    async def _finish(self, arrived: Sequence[_Arrived]) -> None:
        """Verify what has arrived, write it down, and publish it."""
        reasons = await asyncio.to_thread(_verified, arrived, str(self.options.ftp_root))
        good = [(a, self._outgoing(a)) for a, reason in zip(arrived, reasons, strict=True) if not reason]
        bad = [(a.asked, reason) for a, reason in zip(arrived, reasons, strict=True) if reason]
        if bad:
            self._mistrusted.update(asked.job.id for asked, _ in bad)
            await self._fail([(a.job, a.offer, _temporarily(reason)) for a, reason in bad])
        now = self._around.clock.now()
        await self._around.book.delivered(
            [Delivered(a.asked.job.id, out.encode(), a.asked.at, now) for a, out in good]
        )
        self._publisher.tell([m for a, out in good for m in (acknowledgement(a.asked.announcement), out)])
        jobs = [a.asked.job.id for a, _ in good]
        self._tell_journal(jobs)
        self._mistrusted.difference_update(jobs)
        for a, _ in good:
            job = a.asked.job
            self._around.story.tell(
                Step.PUBLISHED,
                job.new.path,
                self.name,
                size=job.new.size,
                ms=round((now - a.asked.at) * 1000, 1),
                to=str(a.asked.place),
            )
        self._done_with(jobs)
        self._around.health.progress(f"{self.name} publish", self._around.clock.monotonic(), len(jobs))
        for sources in (await self._around.book.sources(jobs)).values():
            for source in sources:
                self._acknowledge(source)

    def _outgoing(self, arrived: _Arrived) -> Message:
        asked, told = arrived.asked, arrived.reply
        place = asked.place
        return local_message(
            asked.announcement.subject,
            told.type,
            {
                **asked.announcement.data,
                **(told.data or {}),
                "request_address": asked.offer.request_address,
            },
            place=place,
            local=_is_here(place),
            identity=f"{asked.job.id}-{asked.job.new.identity}",
            replace=self.options.replace,
        )

    async def _publish_again(self) -> None:
        """Publish what was verified before a crash, but perhaps not published. The messages have the same ids."""
        unpublished = await self._around.book.unpublished(self.name)
        if unpublished:
            self._publisher.tell([decode_whole(frame) for _, frame in unpublished])
            self._tell_journal([job.id for job, _ in unpublished])
            for job, _ in unpublished:
                self._around.story.tell(
                    Step.PUBLISHED, job.new.path, self.name, reason="again, after a restart"
                )

    def _tell_journal(self, jobs: Sequence[int]) -> None:
        """Have the journal know that jobs were published, as soon as their messages have left for certain."""
        now = self._around.clock.now()
        self._told.put([(job, now) for job in jobs])
        self._noted.clear()

    async def _note_published(self) -> None:
        while True:
            told = await self._told.take(10_000, 10_000)
            await asyncio.sleep(HANDED_OVER)
            await self._around.book.published(told)
            if not self._told:
                self._noted.set()

    def _acknowledge(self, source: Source) -> None:
        """Tell another server that offers the same that it is here."""
        ticket = self._ticket("ack")
        message = decode_whole(source.frame)
        message = asked_acknowledgement(message, ticket) if source.many else acknowledgement(message)
        with contextlib.suppress(BusError):  # no room now; when it is offered again, it is acknowledged again
            asker = self._askers.at(source.request_address, many=source.many)
            asker.ask(message, ticket, self.options.req_timeout.total_seconds())

    async def _fail(self, failed: Sequence[tuple[Job, Source, Reply]]) -> None:
        """Record attempts that failed: tried again later, or given up."""
        now, policy = self._around.clock.now(), self._around.policy
        retries = []
        for job, offer, told in failed:
            final = None
            match told.failure:
                case Failure.SUPERSEDED:
                    state, step = "superseded", Step.SKIPPED
                case Failure.PERMANENT | Failure.REFUSED:
                    state, step = "dead", Step.FAILED
                case _ if policy.too_old(job.new.wanted, now):
                    state, step, final = "dead", Step.FAILED, job
                case _:
                    state, step = "wanted", Step.RETRIED
            due = now + policy.wait(job.attempts + 1)
            retries.append(Retry(job.id, told.reason, state, due, None if final else offer))
            self._around.story.tell(
                step, job.new.path, self.name, size=job.new.size, attempt=job.attempts + 1, reason=told.reason
            )
        await self._around.book.failed(retries)
        # An answer, if no good one: whoever waits is not stuck.
        self._around.health.progress(f"{self.name} publish", self._around.clock.monotonic(), done=0)
        self._done_with(job.id for job, _, _ in failed)
        self._due.set()

    def _done_with(self, jobs: Iterable[int]) -> None:
        self._taken.difference_update(jobs)
        if not self._under_way:
            self._idle.set()

    # heartbeats, discovery

    async def _make_known(self) -> None:
        around, name_servers = self._around, self.options.nameservers
        name, address = f"move_it_{self.name}", self._publisher.address
        await make_known(around.bus, address, name, name_servers, around.on_oddity)

    async def _beat(self, every: timedelta) -> None:
        while True:
            self._publisher.tell([beat(f"move_it_{self.name}", every.total_seconds())])
            await asyncio.sleep(every.total_seconds())

    async def _watch_beats(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = self._around.clock.monotonic()
            self._around.health.waiting(f"{self.name} publish", len(self._taken), now)
            for address, beats in self._beats.items():
                if beats.missed(now):
                    beats.heard(now)
                    self._around.health.degrade(f"{self.name} {address}", "no heartbeat; connecting anew")
                    self._subscription.again(address)


def _own_offer(job: Job) -> Source:
    return Source(job.new.request_address, job.new.many, job.new.frame)


def _temporarily(reason: str) -> Reply:
    return Reply(None, failure=Failure.TEMPORARY, reason=reason)


_place = lru_cache(maxsize=1024)(Place.parse)


def _quoted(login: str) -> str:
    """A login as it stands in a URL."""
    user, colon, password = login.partition(":")
    return quote(user, safe="") + colon + quote(password, safe="")


def _verified(arrived: Sequence[_Arrived], root: str) -> list[str]:
    """Per delivery why it is not what was announced; "" if it is, or if it lies on another host. Blocking.

    root: the folder of this host that destinations lie below.
    """
    return [_wrong(a, root) if _is_here(a.asked.place) else "" for a in arrived]


def _wrong(arrived: _Arrived, root: str) -> str:
    announcement = announcement_of(arrived.asked.announcement)
    if announcement is None:
        return "the announcement names no file"
    place = arrived.asked.place
    paths = [uri_at(place, file.folder, file.uid, local=True) for file in announcement.files]
    arrivals = [
        Arrival(os.path.join(root, path.lstrip("/")), file)
        for path, file in zip(paths, announcement.files, strict=True)
    ]
    if place.scheme in _OTHER_ROOTS and root == "/":
        arrivals = [arrival for arrival in arrivals if os.path.lexists(arrival.path)]
    return verify(arrivals)


_PATHS = frozenset({"file", "scp", "sftp", "ftp", "ftps"})
"""Schemes whose paths are paths of their host."""

_OTHER_ROOTS = frozenset({"sftp", "ftp", "ftps"})
"""Of these, those whose servers often show their users another root; then `ftp_root` tells which, or nobody does."""


def _is_here(place: Place) -> bool:
    return place.scheme in _PATHS and is_own_host(place.host)


def _identities(messages: Iterable[Message]) -> list[str]:
    """The identities of what other clients speak of."""
    found = []
    for message in messages:
        announcement = announcement_of(message)
        if announcement is not None:
            found.append(identity(announcement.files))
    return found


def _by(message: Message, address: str) -> Message:
    """A replayed announcement, to be requested where it was replayed (its server may have moved since)."""
    if message.fields.get("request_address") == address:
        return message
    return compose(message.subject, message.type, {**message.fields, "request_address": address})
