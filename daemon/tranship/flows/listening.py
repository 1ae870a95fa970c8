"""hear, for roles that act on what anybody publishes: our servers' announcements and plain messages alike."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from tranship.config.endpoints import Provider
from tranship.core.journey import Step
from tranship.core.story import NO_FILE
from tranship.flows.around import Surroundings
from tranship.flows.hearing import Lookup
from tranship.journal import Cursor
from tranship.lanes import Waiting
from tranship.steps.hear import Announcement, Said
from tranship.steps.told import FILE_TYPES
from tranship.wire.contract import BusError
from tranship.wire.messages import Message, clean_url

PATIENCE = 5.0
"""Seconds that a server is given to answer a replay."""

MOST_SLOW = 1000
"""Messages that wait for the resolver; more are refused."""


class Wanting(Protocol):
    """Acts on messages."""

    async def __call__(self, messages: Sequence[Message], cursors: Sequence[Cursor], /) -> None:
        """Record what these lead to, and how far servers were heard, in one."""


class Hears(Protocol):
    """The options of whom a chain hears."""

    @property
    def providers(self) -> Sequence[Provider]:
        """By address."""

    @property
    def lookup(self) -> Sequence[str]:
        """Name servers."""

    @property
    def services(self) -> Sequence[str]:
        """Of what these know, only those of these names, if there are any."""


class Ears:
    """A Hearer whose messages all go one way: announcements, and what other publishers say of files.

    What names another host, whose name has to be looked up, waits beside the others: a resolver may be slow. So does
    how far its publisher was heard, as this may be recorded only with it, or after it. `run` beside the hearing.
    """

    minds_others = True

    def __init__(
        self,
        chain: str,
        want: Wanting,
        around: Surroundings,
        is_looked_up: Callable[[Message], bool] = lambda _: False,
    ) -> None:
        """Give what is heard to `want`."""
        self._is_looked_up = is_looked_up
        self._chain = chain
        self._want = want
        self._around = around
        self._slow: Waiting[tuple[Sequence[Message], Sequence[Cursor]]] = Waiting()
        self._looking_up = False
        self._life = uuid.uuid4().hex[:8]
        self._count = 0
        self._refused: set[str] = set()

    async def run(self) -> None:
        """Look up hosts until cancelled."""
        left = await self._slow.take(len(self._slow), len(self._slow)) if len(self._slow) else []
        # Without how far was heard: what was being looked up when this ended is lost, and is to be replayed.
        self._slow.put([(messages, ()) for messages, _ in left])
        self._looking_up = False
        while True:
            for messages, cursors in await self._slow.take(1, 1):
                self._looking_up = True
                await self._want(messages, cursors)
                self._looking_up = False

    async def want(self, announcements: Sequence[Announcement], cursors: Sequence[Cursor]) -> None:
        """Act on what servers announce."""
        await self._want([announcement.message for announcement in announcements], cursors)

    async def others(self, said: Sequence[Said], cursors: Sequence[Cursor]) -> None:
        """Act on what others publish."""
        quick = []
        for message in (each.message for each in said):
            if message.type not in FILE_TYPES:
                continue
            if not self._is_looked_up(message):
                quick.append(message)
            elif len(self._slow) < MOST_SLOW:
                self._slow.put([([message], ())])
            else:
                self.refuse(message, "too many messages wait for the names of their hosts to be looked up")
        if cursors and (len(self._slow) or self._looking_up):
            self._slow.put([((), cursors)])
            cursors = ()
        if quick or cursors:
            await self._want(quick, cursors)

    async def new_life(self, addresses: set[str]) -> None:
        """Of no concern: nothing was asked for."""

    async def inquire(self, message: Message, address: str) -> Message | None:
        """The answer of address to a request; None if there was none in time."""
        try:
            with closing(self._around.bus.asker(f"tcp://{address}", many=True)) as asker:
                asker.ask(message, message.ticket or "", PATIENCE)
                [answer] = await asker.answered()
        except BusError:
            return None
        return answer.message

    def ticket(self, what: str) -> str:
        """A new id for a request."""
        self._count += 1
        return f"{self._life}-{what}-{self._count}"

    def refuse(self, message: Message, reason: str) -> None:
        """Say, once per reason, and count that a message can't be used."""
        health, clock = self._around.health, self._around.clock
        health.progress(f"{self._chain} refused", clock.monotonic())
        if len(self._refused) < 1000 and reason not in self._refused:
            self._refused.add(reason)
            uri = message.fields.get("uri")
            file = clean_url(uri)[:200] if isinstance(uri, str) else NO_FILE
            about = {"topic": message.subject[:200], "peer": message.sender, "reason": reason}
            self._around.story.tell(Step.REFUSED, file, self._chain, **about)


def providers_of(options: Hears, topics: Sequence[str]) -> dict[str, Sequence[str]]:
    """Whom to hear, by address: on what topics."""
    return {
        provider.address: topics if provider.topic is None else [provider.topic]
        for provider in options.providers
    }


def lookup_of(options: Hears, topics: Sequence[str]) -> Lookup:
    """Whom else to hear."""
    return Lookup(options.lookup, options.services or ("",), topics)


def names_a_host(message: Message) -> bool:
    """Whether a uri of message may name a host (a file:// one does not, whatever it says)."""
    frame = message.encode()
    return frame.count(b"://") > 1 + frame.count(b'"file://')  # one stands in the head
