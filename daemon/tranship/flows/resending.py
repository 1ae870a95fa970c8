"""What an operator wants resent is announced once more, marked as such: for clients it is a delivery of its own.

A mark goes with the announcement through mirrors and clients (`resent` under `tranship`), so that each takes it once.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

from tranship.core.journey import Step
from tranship.core.values import Version
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.serving import Voice
from tranship.journal import Resend, Retold, ServerBook
from tranship.steps.announce import retold
from tranship.wire.messages import Message, decode_whole

Check = Callable[[Sequence[Version]], Awaitable[Sequence[str]]]
"""Says of each of these files why it can't be had any more; "" if it can."""


class Resending:
    """One chain's resends. `run` beside it, until cancelled."""

    def __init__(
        self,
        chain: str,
        book: ServerBook,
        voice: Voice,
        around: Surroundings,
        check: Check,
        forget: Callable[[Sequence[Version]], None] = lambda _: None,
    ) -> None:
        """Nothing is told before `run`. forget: is told of what is about to be told once more."""
        self._chain = chain
        self._book = book
        self._voice = voice
        self._around = around
        self._check = check
        self._forget = forget
        self._ordered = asyncio.Event()

    async def run(self, request_address: str) -> None:
        """Tell once more what is ordered, and what was ordered before; to be asked for there ("": nowhere)."""
        await self._voice.audience.wait()
        while True:
            self._ordered.clear()
            while chosen := await self._book.resends.chosen(self._chain):
                await self._tell(await self._there(chosen), request_address)
            await self._ordered.wait()

    async def obey(self) -> None:
        """Something was ordered: it stands in the journal."""
        self._ordered.set()

    async def _there(self, chosen: Sequence[Resend]) -> list[Resend]:
        """Those of chosen whose files can be had; of the others it is said why not."""
        there: list[Resend] = []
        lost: list[Resend] = []
        for each in chosen:
            reason = next(filter(None, await self._check(each.versions)), "")
            (lost if reason else there).append(each)
            if reason:
                told = f"can't be resent: {reason}"
                self._around.story.tell(Step.FAILED, each.versions[0].path, self._chain, reason=told)
        await self._book.resends.given_up([each.id for each in lost])
        return there

    async def _tell(self, resends: Sequence[Resend], request_address: str) -> None:
        numbers, messages = self._voice.numbers, []
        told: list[tuple[Resend, int, Message]] = []
        for each in resends:
            seq = numbers.take(each.topic)
            mark = f"{numbers.server}-{seq}"
            message = retold(decode_whole(each.frame), request_address, numbers.server, seq, mark)
            told.append((each, seq, message))
            messages.append(message)
        try:
            await self._book.resends.retold(
                [
                    Retold(each.id, each.topic, seq, message.encode(), alone=not request_address)
                    for each, seq, message in told
                ],
                self._around.clock.now(),
            )
            reached(Point.RETOLD)
            self._forget([version for each in resends for version in each.versions])
            self._voice.publisher.tell(messages)
            reached(Point.RESENT)
        finally:  # if it is cancelled, heads tell of it all the same, and a replay brings it
            for each, seq, _ in told:
                numbers.told[each.topic] = max(numbers.told.get(each.topic, 0), seq)
        for each, seq, _ in told:
            first = each.versions[0]
            self._around.story.tell(
                Step.ANNOUNCED, first.path, self._chain, size=first.size, seq=seq, reason="resent, as ordered"
            )


def gone(versions: Sequence[Version]) -> list[str]:
    """Of each of these files why it is not what was announced; "" if it is. Blocking."""
    return [_gone(version) for version in versions]


def _gone(version: Version) -> str:
    try:
        facts = os.stat(version.path)
    except OSError as error:
        return f"{version.path}: {error.strerror}"
    changed = (facts.st_size, facts.st_mtime_ns) != (version.size, version.mtime_ns)
    return f"{version.path} has changed since" if changed else ""
