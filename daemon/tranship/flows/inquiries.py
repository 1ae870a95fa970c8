"""What servers are asked beside transfers: what was missed, what they know; and what they are told."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from datetime import timedelta

from tranship.journal import Source
from tranship.steps.acknowledge import acknowledgement, asked_acknowledgement
from tranship.wire.askers import Askers
from tranship.wire.contract import Answer, Asker, Bus, BusError
from tranship.wire.messages import Message, decode_whole


class Inquiries:
    """One chain's questions, over the same connections as its requests. Between `open` and `close`."""

    def __init__(self, bus: Bus, patience: timedelta, for_acknowledgements: timedelta) -> None:
        """Wait for answers so long; and so long for those to acknowledgements, which nobody needs."""
        self._bus = bus
        self._patience = patience.total_seconds()
        self._for_acknowledgements = for_acknowledgements.total_seconds()
        self._life = uuid.uuid4().hex[:8]
        self._count = 0
        self._askers: Askers
        self._outcomes: dict[str, asyncio.Future[Message | None]] = {}

    def open(self, on_made: Callable[[Asker], None]) -> None:
        """Begin; each connection that is made is handed to on_made, which is to collect its answers until BusError."""
        self._outcomes.clear()
        self._askers = Askers(self._bus, on_made)

    def close(self) -> None:
        """Let go of all connections."""
        self._askers.close()

    def asker(self, address: str, *, many: bool) -> Asker:
        """The connection to address. Raises BusError if there is no room for another one."""
        return self._askers.at(address, many=many)

    def ticket(self, what: str) -> str:
        """A new id for a request."""
        self._count += 1
        return f"{self._life}-{what}-{self._count}"

    async def inquire(self, message: Message, address: str, *, many: bool = True) -> Message | None:
        """The answer to a request without a transfer; None if there was none in time, or no room to ask.

        many: whether address takes many requests at once; else it waits until those before are answered.
        """
        ticket = message.ticket or ""
        outcome = self._outcomes[ticket] = asyncio.get_running_loop().create_future()
        try:
            self.asker(address, many=many).ask(message, ticket, self._patience)
            answer: Message | None = await outcome
            return answer
        except BusError:
            return None
        finally:
            del self._outcomes[ticket]

    def answered(self, answer: Answer) -> None:
        """Pass answer on to who waits for it, if anybody does."""
        outcome = self._outcomes.get(answer.ticket)
        if outcome is not None and not outcome.done():
            outcome.set_result(answer.message)

    def acknowledge(self, source: Source, destination: str = "") -> None:
        """Tell a server that what it offers is here, or at destination."""
        ticket = self.ticket("ack")
        message = decode_whole(source.frame)
        message = (
            asked_acknowledgement(message, ticket, destination) if source.many else acknowledgement(message)
        )
        with contextlib.suppress(BusError):  # no room now; when it is offered again, it is acknowledged again
            asker = self.asker(source.request_address, many=source.many)
            asker.ask(message, ticket, self._for_acknowledgements)
