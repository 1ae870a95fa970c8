"""The desk of an asker: which requests wait, which are under way, and what became of them. It does no I/O."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence

from tranship.wire.arrivals import Inbox, Odd, Oddities, read, within_limit
from tranship.wire.contract import Answer
from tranship.wire.messages import Message, compose

MUTE = 10.0
"""Seconds without a word from a peer that owes answers, until it is asked by a new connection: the one that there is
may lead into a tunnel, or to a proxy, that takes everything and passes nothing on."""

OK = b"ok"
"""What posttroll's address receivers answer; it is no message."""


class Desk:
    """Matches replies to requests, for one asker of one peer.

    many   any number of requests under way, their replies known by ticket; else one at a time, in turn
    send   hands a frame to the transport; False if it can't take it now (`flush` tries again)
    renew  makes a new connection, on which nothing of the old one can arrive any more
    """

    def __init__(
        self,
        peer: str,
        *,
        many: bool,
        send: Callable[[bytes], bool],
        renew: Callable[[], None],
        odd: Oddities,
    ) -> None:
        """For the asker of peer, which does what send and renew say; odd is told of what can't be used."""
        self._peer = peer
        self._many = many
        self._send = send
        self._renew = renew
        self._oddities = odd
        self._waiting: deque[tuple[str, bytes, float]] = deque()
        self._unsent: deque[tuple[str, bytes]] = deque()
        self._open = Patience(self._ran_out)
        self._loop = asyncio.get_running_loop()
        self._mute_since: float | None = None
        self._outcomes: Inbox[Answer] = Inbox()

    def ask(self, message: Message, ticket: str, patience: float) -> None:
        """As `Asker.ask`."""
        if ticket in self._open:
            raise ValueError(f"a request with the ticket {ticket} is under way already")
        sendable = within_limit(message, message, self._peer, self._oddities)
        if sendable is not message:
            self._outcomes.put(Answer(ticket, sendable))
            return
        self._waiting.append((ticket, message.encode(), patience))
        self._move_on()

    @property
    def idle(self) -> bool:
        """As `Asker.idle`."""
        return not self._waiting and not self._open.first() and not len(self._outcomes)

    def give_up(self) -> None:
        """As `Asker.give_up`."""
        tickets = [ticket for ticket, *_ in self._waiting]
        self._waiting.clear()
        self._unsent.clear()
        while (ticket := self._open.first()) is not None:
            self._open.stop(ticket)
            tickets.append(ticket)
        for each in tickets:
            self._outcomes.put(Answer(each, None))

    def keep_waiting(self, ticket: str, patience: float) -> None:
        """As `Asker.keep_waiting`."""
        if ticket in self._open:
            self._open.start(ticket, patience)

    async def answered(self) -> Sequence[Answer]:
        """As `Asker.answered`."""
        return await self._outcomes.take()

    def flush(self) -> None:
        """Hand over what is not sent yet, as far as the transport takes it."""
        while self._unsent:
            ticket, frame = self._unsent[0]
            if ticket in self._open:
                if not self._send(frame):
                    return
                self._oddities.counts.sent += 1
            self._unsent.popleft()

    def came(self, frame: bytes) -> None:
        """Take in one frame from the peer."""
        self._oddities.counts.received += 1
        self._mute_since = None
        try:
            message = self._read(frame)
            ticket = message.ticket if self._many else self._open.first()
            if ticket is None or ticket not in self._open:
                raise Odd("unknown reply", f"a reply of type {message.type} to no request that is under way")
        except Odd as odd:
            self._oddities.refuse(self._peer, odd)
            self._spoilt()
            return
        self._outcomes.put(Answer(ticket, message))
        if message.type != "progress":
            self._open.stop(ticket)
            self._move_on()

    def close(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._unsent.clear()
        self._open.close()
        self._outcomes.close()

    def _move_on(self) -> None:
        while self._waiting and (self._many or not self._open.first()):
            ticket, frame, patience = self._waiting.popleft()
            self._open.start(ticket, patience)
            self._unsent.append((ticket, frame))
            if self._mute_since is None:
                self._mute_since = self._loop.time()
        self.flush()

    def _read(self, frame: bytes) -> Message:
        if frame == OK and not self._many:
            return compose("/", "ok")
        return read(frame)

    def _spoilt(self) -> None:
        """An old peer's one reply could not be used: there will be no other."""
        ticket = None if self._many else self._open.first()
        if ticket is not None:
            self._open.stop(ticket)
            self._outcomes.put(Answer(ticket, None))
            self._move_on()

    def _ran_out(self, ticket: str) -> None:
        self._outcomes.put(Answer(ticket, None))
        if not self._many or self._is_mute():
            self._mute_since = None
            self._renew()
        self._move_on()

    def _is_mute(self) -> bool:
        return self._mute_since is not None and self._loop.time() - self._mute_since >= MUTE


class Patience:
    """Deadlines by ticket, watched by one timer."""

    def __init__(self, on_ran_out: Callable[[str], None]) -> None:
        """Call on_ran_out with each ticket whose deadline passes; it is stopped then."""
        self._on_ran_out = on_ran_out
        self._loop = asyncio.get_running_loop()
        self._deadlines: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, ticket: str) -> bool:
        return ticket in self._deadlines

    def first(self) -> str | None:
        """The ticket that was started first, or None."""
        return next(iter(self._deadlines), None)

    def start(self, ticket: str, patience: float) -> None:
        """Give ticket so many seconds from now on."""
        deadline = self._loop.time() + patience
        known = self._deadlines.get(ticket)
        self._deadlines[ticket] = deadline
        if known is None or deadline < known:  # a later one is seen when the earlier comes up
            heapq.heappush(self._heap, (deadline, ticket))
            self._set_timer()

    def stop(self, ticket: str) -> None:
        """Wait for ticket no more."""
        del self._deadlines[ticket]
        if len(self._heap) > 2 * len(self._deadlines) + 1000:
            self._heap = [(deadline, each) for each, deadline in self._deadlines.items()]
            heapq.heapify(self._heap)

    def close(self) -> None:
        """Wait for nothing any more."""
        self._deadlines.clear()
        self._heap.clear()
        if self._timer:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer and (not self._heap or self._heap[0][0] != self._timer.when()):
            self._timer.cancel()
            self._timer = None
        if self._heap and not self._timer:
            self._timer = self._loop.call_at(self._heap[0][0], self._due)

    def _due(self) -> None:
        self._timer = None
        ran_out = []
        while self._heap and self._heap[0][0] <= self._loop.time() + 0.001:
            noted, ticket = heapq.heappop(self._heap)
            deadline = self._deadlines.get(ticket)
            if deadline is not None and deadline > noted:
                heapq.heappush(self._heap, (deadline, ticket))
            elif deadline is not None:
                del self._deadlines[ticket]
                ran_out.append(ticket)
        self._set_timer()
        for ticket in ran_out:
            self._on_ran_out(ticket)
