"""hear: listens to providers, and notices what was missed: a gap in the numbers, a head that a beat tells.

What was missed is asked for again by `replay`, at start, after a gap, after a silence, in a server's new life.
Servers of the old kind don't number: what they may have announced unheard is another flow's concern (Missed).
Providers that a name server tells of are listened to from then on, until it says that they are gone.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tranship.core.handover import Event
from tranship.core.journey import Step
from tranship.core.liveness import Liveness
from tranship.core.sequence import Sequence as Numbers
from tranship.core.story import NO_FILE
from tranship.core.words import counted
from tranship.flows.around import Surroundings
from tranship.hosts import name_server_ports
from tranship.journal import ClientBook, Cursor
from tranship.steps.hear import Announcement, Said, announcement_of, said, sort
from tranship.steps.replay import (
    Brought,
    Head,
    heads_of,
    life_of,
    number_of,
    read_replay,
    replay_request,
    spoken_heads,
)
from tranship.steps.request import first_path
from tranship.wire.contract import Heard
from tranship.wire.discovery import follow, min_interval
from tranship.wire.messages import Message, compose

MARGIN = 10.0
"""Seconds by which clocks may differ, when announcements are asked for by time (at the first contact)."""

NUMBERED = 10_000
"""Servers and topics of which the numbers are minded, per provider; of what it says of others, nothing that is missed
is noticed."""

Key = tuple[str, str, str]
"""Provider, server and topic: who says it, and of what. A server's id is no proof of who says it."""


class Hearer(Protocol):
    """Whom the hearing tells."""

    @property
    def minds_others(self) -> bool:
        """Whether it acts on what others publish: then what it missed of that is asked for again, too."""

    async def want(self, announcements: Sequence[Announcement], cursors: Sequence[Cursor]) -> None:
        """Record what is offered, and how far its servers were heard, in one."""

    async def others(self, said: Sequence[Said], cursors: Sequence[Cursor]) -> None:
        """Others say this of deliveries; if that is minded, it is recorded with how far they were heard, in one."""

    async def new_life(self, addresses: set[str]) -> None:
        """The server that is asked at addresses has begun anew: it knows nothing of what was asked before."""

    async def inquire(self, message: Message, address: str) -> Message | None:
        """The answer of address (host:port) to a request; None if there was none in time."""

    def ticket(self, what: str) -> str:
        """A new id for a request."""


class Doubts(Protocol):
    """Whom the hearing tells when a server of the old kind may have announced something unheard."""

    def look(self) -> None:
        """Something may have been missed."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Which publishers of services ("": of all) to hear, of those that name servers (hosts) tell of; on what topics."""

    name_servers: Sequence[str] = ()
    services: Sequence[str] = ("",)
    topics: Sequence[str] = ()


class Hearing:
    """What one chain hears. `run` until cancelled."""

    def __init__(
        self,
        chain: str,
        providers: Mapping[str, Sequence[str]],
        patience: float,
        book: ClientBook,
        around: Surroundings,
        lookup: Lookup = Lookup(),
        doubts: Doubts | None = None,
    ) -> None:
        """Listen to providers: addresses (tcp://host:port), and the topics (prefixes of subjects) of each.

        patience: after so many intervals without a beat a provider is connected to anew; 0: never.
        """
        self._chain = chain
        self._configured = providers
        self._lookup = lookup
        self._patience = patience
        self._book = book
        self._around = around
        self._doubts = doubts
        self._providers: dict[str, Sequence[str]] = {}
        self._hearer: Hearer
        self._tasks: asyncio.TaskGroup
        self._numbers: dict[Key, Numbers] = {}
        self._minded_of: Counter[str] = Counter()
        self._gone: dict[tuple[str, str], int] = {}
        self._firsts: dict[str, float] = {}
        self._replaying: set[Key] = set()
        self._beats: dict[str, Liveness] = {}
        self._lives: dict[str, str] = {}
        self._last_beats: dict[str, float] = {}
        self._odd: set[tuple[str, str]] = set()
        self._recording = asyncio.Lock()

    async def run(self, hearer: Hearer, listening: asyncio.Event, may_begin: asyncio.Event) -> None:
        """Tell hearer, once it may begin; sets `listening` when nothing that is told from now on is missed."""
        self._hearer = hearer
        self._replaying.clear()
        self._providers.clear()
        self._beats.clear()
        self._last_beats.clear()
        cursors = await self._book.cursors(self._chain)
        self._numbers = {(c.provider, c.server, c.topic): Numbers(c.seq) for c in cursors}
        self._minded_of = Counter(provider for provider, _, _ in self._numbers)
        self._gone.clear()
        for provider in self._minded_of.keys() - self._configured.keys():
            self._is_gone(provider)
        self._subscription = self._around.bus.subscription()
        try:
            await self._listen_to(self._configured)
            listening.set()
            await may_begin.wait()
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._listen())
                self._tasks.create_task(self._watch_beats())
                for name_server in self._lookup.name_servers:
                    self._tasks.create_task(self._look_up(name_server))
        finally:
            self._subscription.close()

    async def _listen_to(self, providers: Mapping[str, Sequence[str]]) -> None:
        clock = self._around.clock
        self._firsts |= await self._book.firsts(self._chain, list(providers), clock.now())
        for address, topics in providers.items():
            self._providers[address] = topics
            self._beats[address] = Liveness(self._patience, clock.monotonic())
            self._subscription.add(address, [*topics, "/heartbeat/"])

    async def _look_up(self, name_server: str) -> None:
        around, lookup = self._around, self._lookup
        ports = await name_server_ports()
        async for change in follow(around.bus, name_server, lookup.services, ports, around.on_oddity):
            address = change.publisher.address
            if address in self._configured:
                continue
            if change.present:
                await self._listen_to({address: lookup.topics})
            elif address in self._providers:
                del self._providers[address], self._beats[address]
                self._is_gone(address)
                self._subscription.drop(address)

    async def _listen(self) -> None:
        while True:
            out = sort(await self._subscription.heard())
            if out.announcements:
                await self._news(out.announcements)
            if out.said:
                await self._others(out.said)
            for heard in out.beats:
                await self._hear_beat(heard)
            for heard, what in out.odd:
                self._count("odd messages")
                if (heard.provider, what) not in self._odd:
                    self._odd.add((heard.provider, what))
                    file, topic = first_path(heard.message.data), heard.message.subject
                    self._tell(Step.REFUSED, file, topic=topic, peer=heard.provider, reason=what)

    async def _news(self, announcements: Sequence[Announcement]) -> None:
        cursors: dict[Key, Cursor] = {}
        for announcement in announcements:
            told = Head(
                announcement.server,
                announcement.message.subject,
                announcement.seq,
                announcement.request_address,
            )
            cursor = self._heard(announcement.provider, told)
            if cursor is not None:
                cursors[cursor.provider, cursor.server, cursor.topic] = cursor
        await self._hearer.want(announcements, list(cursors.values()))
        self._mind_gaps(cursors)

    async def _others(self, said: Sequence[Said]) -> None:
        cursors: dict[Key, Cursor] = {}
        async with self._recording:
            for each in said if self._hearer.minds_others else ():
                head = number_of(each.message, each.provider) if each.event is Event.TOLD else None
                cursor = None if head is None else self._heard(each.provider, head)
                if cursor is not None:
                    cursors[cursor.provider, cursor.server, cursor.topic] = cursor
            await self._hearer.others(said, list(cursors.values()))
        self._mind_gaps(cursors)

    def _heard(self, provider: str, told: Head) -> Cursor | None:
        """How far a server or publisher was heard after this; None if that is no news, or it does not number."""
        if not told.server:
            return None
        key = provider, told.server, told.topic
        numbers = self._minded(key)
        if numbers is None:
            return None
        before = numbers.contiguous
        numbers.heard(told.seq)
        if numbers.contiguous == before and not numbers.gap:
            return None
        return Cursor(self._chain, *key, numbers.contiguous, told.request_address)

    def _minded(self, key: Key) -> Numbers | None:
        """The numbers of key; None if there are too many already: whoever announces may invent any."""
        numbers = self._numbers.get(key)
        if numbers is not None:
            return numbers
        provider = key[0]
        if self._minded_of[provider] >= NUMBERED:
            self._count("servers and topics too many")
            return None
        self._minded_of[provider] += 1
        numbers = self._numbers[key] = Numbers(self._gone.get(key[1:], 0))
        return numbers

    def _is_gone(self, provider: str) -> None:
        """Remember how far servers were heard from a provider that is none any more: they may have moved."""
        for (told_by, *told), numbers in self._numbers.items():
            if told_by == provider:
                server, topic = told
                before = self._gone.get((server, topic), numbers.contiguous)
                self._gone[server, topic] = min(before, numbers.contiguous)

    # beats

    async def _hear_beat(self, heard: Heard) -> None:
        now = self._around.clock.monotonic()
        beats = self._beats.get(heard.provider)
        if beats is not None:
            beats.beat(now, min_interval(heard.message))
            self._around.health.recover(f"{self._chain} {heard.provider}", now)
        life, heads = life_of(heard.message), heads_of(heard.message)
        if not life and self._hearer.minds_others:
            life, heads = spoken_heads(heard.message, heard.provider)
        before = self._lives.get(heard.provider)
        self._lives[heard.provider] = life
        if (
            beats is not None
            and not life
            and self._doubts is not None
            and self._is_odd(heard.provider, beats)
        ):
            self._doubts.look()
        if before and life != before:
            await self._hearer.new_life({head.request_address for head in heads})
        for head in heads:
            if head.seq and self._concerns(heard.provider, head):
                self._mind_head(heard.provider, head, is_new=life != before)

    def _mind_head(self, provider: str, head: Head, *, is_new: bool) -> None:
        """Ask for what was missed, if a head shows it. is_new: it is of a new life."""
        key = provider, head.server, head.topic
        numbers = self._minded(key)
        if numbers is not None:
            if is_new:
                numbers.set_back(head.seq)
            numbers.told_head(head.seq)
            self._mind_gap(key, head.request_address)

    def _is_odd(self, provider: str, beats: Liveness) -> bool:
        """Whether this beat of a server of the old kind is the first one, or comes after a missed one, or too soon.

        Then a connection was made, or a server started, and what it said before was perhaps not heard.
        """
        now = self._around.clock.monotonic()
        before, self._last_beats[provider] = self._last_beats.get(provider), now
        return before is None or not 0.5 < (now - before) / beats.interval < 1.5

    def _concerns(self, provider: str, head: Head) -> bool:
        return head.topic.startswith(tuple(self._providers.get(provider, ())))

    async def _watch_beats(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = self._around.clock.monotonic()
            for address, beats in list(self._beats.items()):
                if beats.missed(now):
                    beats.heard(now)
                    told = "no heartbeat; connecting anew: does its publisher run, and is this its address?"
                    self._around.health.degrade(f"{self._chain} {address}", told)
                    self._subscription.again(address)

    # replay

    def _mind_gaps(self, cursors: Mapping[Key, Cursor]) -> None:
        for key, cursor in cursors.items():
            self._mind_gap(key, cursor.request_address)

    def _mind_gap(self, key: Key, address: str) -> None:
        """Ask for what was missed of a topic, unless that is being done."""
        if self._numbers[key].gap and key not in self._replaying:
            self._replaying.add(key)
            self._tasks.create_task(self._replay(key, address))

    async def _replay(self, key: Key, address: str) -> None:
        numbers, (provider, _, topic) = self._numbers[key], key
        since = numbers.contiguous or None
        time = self._firsts.get(provider, min(self._firsts.values())) - MARGIN
        brought = 0
        try:
            while numbers.gap:
                request = replay_request(topic, self._hearer.ticket("replay"), since=since, time=time)
                page = read_replay(await self._hearer.inquire(request, address))
                if page is None:
                    break  # it can't, or not now: the next beat tells of the gap again
                brought += await self._bring(key, page, address)
                stands_still = page.last <= (since or 0)
                since = page.last
                if stands_still or not page.more:
                    break  # that was all there is, whatever a head may have said
        finally:
            self._replaying.discard(key)
        if brought:
            reason = counted(brought, "message" if self._hearer.minds_others else "announcement")
            self._tell(Step.REPLAYED, NO_FILE, topic=topic, peer=address, reason=reason)

    async def _bring(self, key: Key, page: Brought, address: str) -> int:
        """Tell the hearer what address has replayed; how much that was."""
        numbers, provider, minded = self._numbers[key], key[0], self._hearer.minds_others
        async with self._recording:
            told = [(number_of(m, provider) if minded else None, m) for m in page.messages]
            offered = [announcement_of(_by(m, address)) for number, m in told if number is None]
            announcements = [announcement for announcement in offered if announcement is not None]
            others = [  # what came live is recorded by now, and its file is perhaps gone since
                said(Event.TOLD, Heard(m, provider))
                for number, m in told
                if number is not None and not numbers.has_heard(number.seq)
            ]
            numbers.replayed(page.last)
            cursors = [Cursor(self._chain, *key, numbers.contiguous, address)]
            if announcements or not others:
                await self._hearer.want(announcements, () if others else cursors)
            if others:
                await self._hearer.others(others, cursors)
        return len(announcements) + len(others)

    def _tell(self, step: Step, file: str, **facts: object) -> None:
        self._around.story.tell(step, file, self._chain, **facts)

    def _count(self, part: str) -> None:
        self._around.health.progress(f"{self._chain} {part}", self._around.clock.monotonic())


def _by(message: Message, address: str) -> Message:
    """A replayed announcement, to be requested where it was replayed (its server may have moved since)."""
    if message.fields.get("request_address") == address:
        return message
    return compose(message.subject, message.type, {**message.fields, "request_address": address})
