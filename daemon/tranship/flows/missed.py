"""info: what servers of the old kind announced while they were not heard is asked for, as far as they can tell it.

They don't number, so nothing shows a gap; each is asked at the start, after its first beat, and after one that was
missed. What it lists and no journal knows is wanted, as if it had been announced.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from tranship.core.journey import Step
from tranship.core.story import NO_FILE
from tranship.core.words import counted
from tranship.flows.around import Surroundings
from tranship.journal import ClientBook, Cursor
from tranship.steps.hear import Announcement, announcement_of
from tranship.steps.info import SAMPLE, common, info_request, listing_in, missed
from tranship.wire.messages import Message, decode_whole

MOST = 32
"""Servers and topics that are asked at once, the last heard first."""

ON_ITS_WAY = 2.0
"""Seconds. A server lists a file before it announces it: what is announced within this time was not missed."""

PAGE = 500
"""So many are wanted at once."""

BY_HAND = "have them moved by hand: `tranship request push`"


class Wanter(Protocol):
    """Whom to tell of what was missed."""

    async def want(self, announcements: Sequence[Announcement], cursors: Sequence[Cursor]) -> None:
        """Record what is offered."""

    async def inquire(self, message: Message, address: str, *, many: bool) -> Message | None:
        """The answer of address (host:port); None if there was none in time."""

    def ticket(self, what: str) -> str:
        """A new id for a request."""


class Missed:
    """What one chain missed of servers of the old kind. `run` until cancelled."""

    def __init__(
        self, chain: str, hopeless: Callable[[Message], str], book: ClientBook, around: Surroundings
    ) -> None:
        """hopeless: why what an announcement offers can't be delivered ("" if it can)."""
        self._chain = chain
        self._hopeless = hopeless
        self._book = book
        self._around = around
        self._doubt = asyncio.Event()
        self._told: dict[tuple[str, str], str] = {}

    def look(self) -> None:
        """Something may have been missed."""
        self._doubt.set()

    async def run(self, wanter: Wanter, may_begin: asyncio.Event) -> None:
        """Ask at the start (once it may begin), and whenever something may have been missed."""
        await may_begin.wait()
        self._doubt.set()
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            servers = await self._book.unnumbered(self._chain)
            async with asyncio.TaskGroup() as tasks:
                for address, topic in servers[:MOST]:
                    tasks.create_task(self._ask(wanter, address, topic))

    async def _ask(self, wanter: Wanter, address: str, topic: str) -> None:
        request = info_request(topic, wanter.ticket("info"))
        listing = listing_in(await wanter.inquire(request, address, many=False), topic)
        if not listing.names:
            return  # it does not answer, or has announced nothing since its start
        await asyncio.sleep(ON_ITS_WAY)
        known = await self._book.known(self._chain, list(set(listing.names)))
        frames = await self._book.unnumbered_frames(self._chain, address, topic, SAMPLE)
        earlier = [decode_whole(frame) for frame in frames]
        met = min((message.time.timestamp() for message in earlier), default=listing.started)
        unheard = missed(listing, known, met)
        if not unheard:
            return
        shared = common(earlier)
        if shared.folder is None:
            reason = "earlier ones lay in different folders, so nobody knows where these lie"
            self._say_lost(address, topic, len(unheard), reason)
            return
        made = [shared.announcement(topic, name, address) for name in unheard]
        lost = 0
        for first in range(0, len(made), PAGE):
            lost += await self._want(wanter, address, topic, made[first : first + PAGE])
        lacking = ", ".join(sorted(frozenset[str]().union(*map(shared.lacking, made))))
        without = f"; published without {lacking}" if lacking else ""
        reason = f"{counted(len(made) - lost, 'announcement')}, by info{without}"
        self._around.story.tell(Step.REPLAYED, NO_FILE, self._chain, topic=topic, peer=address, reason=reason)

    async def _want(self, wanter: Wanter, address: str, topic: str, made: Sequence[Message]) -> int:
        """Have these wanted; how many of them can't be delivered."""
        reasons = [reason for reason in map(self._hopeless, made) if reason]
        found = [announcement_of(message) for message in made]
        await wanter.want([announcement for announcement in found if announcement is not None], [])
        if reasons:
            self._say_lost(address, topic, len(reasons), reasons[0])
        return len(reasons)

    def _say_lost(self, address: str, topic: str, count: int, why: str) -> None:
        """Say once that files can't be asked for."""
        reason = f"announced unheard, and can't be asked for: {counted(count, 'file')}; {why}; {BY_HAND}"
        if self._told.get((address, topic)) != reason:
            self._told[address, topic] = reason
            self._around.story.tell(
                Step.FAILED, NO_FILE, self._chain, topic=topic, peer=address, reason=reason
            )
