"""announce, where nobody can ask: what a crash has perhaps kept from being heard is told again, with the same number.

Elsewhere heads in heartbeats tell of it, and whoever missed it asks for a replay.
"""

from collections.abc import Sequence
from typing import Any

from tranship.core.journey import Step
from tranship.flows.around import Surroundings
from tranship.flows.leaving import Leaving
from tranship.flows.serving import Voice
from tranship.journal import Number, ServerBook, Untold
from tranship.wire.messages import Message, decode_whole


class Telling:
    """One chain's publisher. `begin` before anything is told, `run` beside it, until cancelled."""

    def __init__(self, chain: str, book: ServerBook, voice: Voice, around: Surroundings) -> None:
        """Nothing is told again before `run`."""
        self.address = voice.publisher.address
        self.encrypted = voice.publisher.encrypted
        self._chain = chain
        self._book = book.telling
        self._voice = voice
        self._around = around
        self._untold: list[Untold] = []
        self._leaving: Leaving[Number] = Leaving()
        self._draining = False

    async def begin(self) -> None:
        """See what an earlier life has perhaps not told."""
        self._leaving.forget()
        self._untold = await self._book.untold(self._chain)

    async def run(self) -> None:
        """Tell that, as soon as there can be an audience; then have the journal know what has left for certain."""
        await self._voice.audience.wait()
        self.tell([decode_whole(each.frame) for each in self._untold])
        for each in self._untold:
            told = {"size": each.size, "seq": each.seq, "reason": "again, after a restart"}
            self._around.story.tell(Step.ANNOUNCED, each.path, self._chain, **told)
        await self._leaving.run(self._book.told)

    def tell(self, messages: Sequence[Message]) -> None:
        """Publish messages. Once draining they are left to the next start."""
        if messages and not self._draining:
            self._voice.publisher.tell(messages)
            self._leaving.put([_number_of(message) for message in messages])

    def close(self) -> None:
        """The publisher is the whole process's."""

    async def drain(self) -> None:
        """Tell nothing more; wait until the journal knows what has left."""
        self._draining = True
        await self._leaving.noted()


def _number_of(message: Message) -> Number:
    facts: Any = message.fields["tranship"]
    return message.subject, facts["seq"]
