"""publish, for who moves files itself: one publisher; and with `replay`, numbers, so that it can be asked for more.

Each message then has a number per subject, which is written down with the job that it is about. Heartbeats tell the
last numbers, so that a lost last message is noticed; who has missed something asks the socket `replay` for it.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from tranship.config.endpoints import Socket
from tranship.flows.around import Surroundings
from tranship.flows.serving import HEADS_EVERY, UNTOLD_HEARTBEAT
from tranship.hosts import beating
from tranship.journal import Numbered, NumberedBook
from tranship.steps.announce import Numbers
from tranship.steps.replay import Replay, heads_spoken, number_of, numbered
from tranship.wire.contract import MAX_MESSAGE, Answerer, Publisher
from tranship.wire.messages import Message, reply

HEADS = 100
"""Subjects that a heartbeat tells the last numbers of: those that something was published about last."""

SUBJECTS = 10_000
"""Subjects that are numbered, per publisher: so many are minded by who hears it. What is beyond is told without."""


class Numbering:
    """The numbers of one publisher, and who answers for what was told by them. `answer` until cancelled."""

    def __init__(self, numbers: Numbers, book: NumberedBook, answerer: Answerer) -> None:
        """numbers: as the journal has them."""
        self._numbers = numbers
        self._book = book
        self._answerer = answerer
        self._port = int(answerer.address.rpartition(":")[2])
        self._life = uuid.uuid4().hex[:8]

    def number(self, message: Message) -> tuple[Message, Numbered | None]:
        """The message as it is to be told, with the next number of its subject; None if there are too many subjects."""
        subject, heads = message.subject, self._numbers.heads
        if subject not in heads and len(heads) >= SUBJECTS:
            return message, None
        told = numbered(message, self._numbers.server, heads.get(subject, 0) + 1, self._port)
        if len(told.encode()) > MAX_MESSAGE:
            return message, None
        return told, Numbered(self._book.publisher, subject, self._numbers.take(subject))

    def told(self, messages: Sequence[Message]) -> None:
        """These can have been heard."""
        told = self._numbers.told
        for message in messages:
            head = number_of(message, self._answerer.address)
            if head is not None:
                told[head.topic] = max(head.seq, told.pop(head.topic, 0))

    async def take_back(self, jobs: Sequence[int]) -> None:
        """What was numbered about jobs is not told now."""
        if jobs:
            await self._book.take_back(jobs)

    def with_heads(self, beat: Message) -> Message:
        """The heartbeat, with the last numbers that were told."""
        heads = list(self._numbers.told.items())[-HEADS:]
        return heads_spoken(beat, self._numbers.server, self._life, self._port, heads)

    async def answer(self) -> None:
        """Answer who has missed something."""
        replay = Replay("", self._book)
        while True:
            for question in await self._answerer.asked():
                known = question.message.type == "replay"
                answer = await replay(question) if known else reply(question.message, "unknown")
                self._answerer.answer(question, answer)


@dataclass(frozen=True, slots=True)
class Speaker:
    """A publisher. numbering: None: nobody can ask for what it did not hear."""

    publisher: Publisher
    numbering: Numbering | None = None

    async def beat(
        self,
        name: str,
        interval: timedelta | None,
        completed: Callable[[Message], Message] = lambda message: message,
    ) -> None:
        """Publish heartbeats, for ever, at this interval (None: none), completed by what else is told.

        With numbers they come more often, and always: they tell of what nobody may have heard.
        """
        numbering = self.numbering
        if numbering is not None:

            def whole(message: Message) -> Message:
                return numbering.with_heads(completed(message))

            told = interval or UNTOLD_HEARTBEAT
            await beating(self.publisher, name, told, whole, every=min(told, HEADS_EVERY))
        elif interval is not None:
            await beating(self.publisher, name, interval, completed)

    async def answer(self) -> None:
        """Answer who has missed something, until cancelled; at once nobody, without numbers."""
        if self.numbering is not None:
            await self.numbering.answer()


@asynccontextmanager
async def speaking(
    name: str, publish: Socket, replay: Socket | None, book: NumberedBook, around: Surroundings
) -> AsyncIterator[Speaker]:
    """A publisher of this name, and who answers for it at replay. Raises BusError if one of them can't be bound."""
    publisher = around.bus.publisher(publish.address, name, publish.guard)
    try:
        if replay is None:
            yield Speaker(publisher)
            return
        answerer = around.bus.answerer(replay.address, replay.guard)
        try:
            numbers = Numbers(await book.identity(uuid.uuid4().hex[:12]), await book.heads())
            numbers.told = dict(numbers.heads)
            yield Speaker(publisher, Numbering(numbers, book, answerer))
        finally:
            answerer.close()
    finally:
        publisher.close()
