"""The real bus: ZeroMQ, as posttroll and Trollmoves speak it.

    Publisher     PUB      binds      one frame: the message
    Subscription  SUB      connects   one socket per provider, so that the provider of each message is known
    Asker         DEALER   connects   frames "", message; a REQ peer can't tell the difference
    Answerer      ROUTER   binds      frames identity, "", message

With keys all of it is encrypted (CURVE): whoever binds is the server there, whoever connects the client.

Plain sockets in asyncio's loop (`zmq.asyncio` costs several times as much). Their file descriptor only says
that something changed: whoever is called because of it, or has used the socket, goes on to the last frame.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import zmq

from tranship.wire.arrivals import Inbox, Odd, Oddities, read, within_limit
from tranship.wire.bound import bound
from tranship.wire.contract import (
    MAX_MESSAGE,
    Answer,
    Counts,
    Guard,
    Heard,
    OnOddity,
    Question,
)
from tranship.wire.desk import Desk
from tranship.wire.doorman import Doorman, Encryption
from tranship.wire.keys import Keys
from tranship.wire.line import NOW, Context, Line, Options
from tranship.wire.messages import Message, compose, prefix

WAITING_TO_BE_TOLD = 100_000
"""Messages; a subscriber that is further behind loses what comes then."""
LAST_WORDS = 1.0
"""Seconds that closing gives to what is told already."""
CUT_OFF = 4 * MAX_MESSAGE
"""Bytes; a longer frame is not even received: the line is cut, and made again."""


OnClose = Callable[[Any], None]


class Closable(Protocol):
    """What a bus makes."""

    def close(self) -> None:
        """Stop."""


Made = TypeVar("Made", bound=Closable)


class ZeroMQBus:
    """Makes publishers, subscriptions, askers and answerers of this process. Belongs to one event loop."""

    def __init__(self, on_oddity: OnOddity = lambda peer, what: None, keys: Keys | None = None) -> None:
        """Tell on_oddity, once per peer and kind, what can't be used. With keys, nothing is plain unless it says so."""
        self.counts = Counts()
        self._oddities = Oddities(self.counts, on_oddity)
        self._context: Context = zmq.Context()
        self._encryption = Encryption(self._context, keys, self._oddities)
        self._made: set[Closable] = set()

    def publisher(self, address: str, name: str, guard: Guard = Guard.IF_ANY) -> "ZeroMQPublisher":
        """As `Bus.publisher`."""
        doorman = self._encryption.of_bound(address, guard)
        return self._keep(
            ZeroMQPublisher(self._context, address, name, doorman, self._oddities, self._made.discard)
        )

    def subscription(self) -> "ZeroMQSubscription":
        """As `Bus.subscription`."""
        return self._keep(
            ZeroMQSubscription(
                self._context, self._encryption.of_connecting, self._oddities, self._made.discard
            )
        )

    def asker(self, address: str, *, many: bool) -> "ZeroMQAsker":
        """As `Bus.asker`."""
        encryption = self._encryption.of_connecting(address)
        return self._keep(
            ZeroMQAsker(self._context, address, many, encryption, self._oddities, self._made.discard)
        )

    def answerer(self, address: str, guard: Guard = Guard.IF_ANY) -> "ZeroMQAnswerer":
        """As `Bus.answerer`."""
        doorman = self._encryption.of_bound(address, guard)
        return self._keep(ZeroMQAnswerer(self._context, address, doorman, self._oddities, self._made.discard))

    def close(self) -> None:
        """As `Bus.close`. Takes up to LAST_WORDS seconds, if somebody is slow to take what was told."""
        for made in list(self._made):
            made.close()
        self._encryption.close()
        ending = threading.Thread(target=self._context.term, daemon=True)
        ending.start()
        ending.join(2 * LAST_WORDS)

    def _keep(self, made: Made) -> Made:
        self._made.add(made)
        return made


class ZeroMQPublisher:
    """As `Publisher`. What some subscriber is too slow for is counted as refused: "slow listener"."""

    def __init__(
        self,
        context: Context,
        address: str,
        name: str,
        doorman: Doorman | None,
        odd: Oddities,
        on_close: OnClose,
    ) -> None:
        """Bind at address. Raises BusError."""
        self.name = name
        self.encrypted = doorman is not None
        self._doorman = doorman
        self._oddities = odd
        self._on_close = on_close
        self._socket, self.address = bound(context, zmq.PUB, address, _PUBLISHING, doorman)

    def tell(self, messages: Sequence[Message]) -> None:
        """As `Publisher.tell`."""
        for message in messages:
            frame = message.encode()
            if len(frame) > MAX_MESSAGE:
                self._oddities.refuse(self.address, Odd("too long", f"{message!r} has {len(frame)} bytes"))
                continue
            try:
                self._socket.send(frame, NOW)
            except zmq.Again:
                self._tell_who_keeps_up(frame)
            self._oddities.counts.sent += 1

    def close(self) -> None:
        """As `Publisher.close`."""
        if self._doorman:
            self._doorman.leave(self._socket)
        if not self._socket.closed:
            self._socket.close(_LINGER)
        self._on_close(self)

    def _tell_who_keeps_up(self, frame: bytes) -> None:
        odd = Odd("slow listener", "a subscriber is too far behind and loses messages")
        self._oddities.refuse(self.address, odd)
        self._socket.setsockopt(zmq.XPUB_NODROP, 0)
        self._socket.send(frame, NOW)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)


class ZeroMQSubscription:
    """As `Subscription`. Takes in no more than an inbox holds; what is beyond waits in ZeroMQ."""

    def __init__(
        self, context: Context, encryption: Callable[[str], Options], odd: Oddities, on_close: OnClose
    ) -> None:
        """Listen to nobody yet."""
        self._context = context
        self._encryption = encryption
        self._oddities = odd
        self._on_close = on_close
        self._lines: dict[str, Line] = {}
        self._inbox: Inbox[Heard] = Inbox(self._make_use_of_room)
        self._behind: list[str] = []
        self._loop = asyncio.get_running_loop()

    async def heard(self) -> Sequence[Heard]:
        """As `Subscription.heard`."""
        return await self._inbox.take()

    def add(self, address: str, topics: Sequence[str]) -> None:
        """As `Subscription.add`."""
        line = self._lines.get(address)
        if line is None:
            options = {**_LISTENING, **self._encryption(address)}
            line = self._lines[address] = Line(
                self._context, zmq.SUB, address, lambda: self._listen(address), options, self._oddities
            )
        for topic in topics:
            line.socket.setsockopt(zmq.SUBSCRIBE, prefix(topic))

    def drop(self, address: str) -> None:
        """As `Subscription.drop`."""
        line = self._lines.pop(address, None)
        if line:
            line.close()

    def again(self, address: str) -> None:
        """As `Subscription.again`."""
        if address in self._lines:
            self._lines[address].again()

    def close(self) -> None:
        """As `Subscription.close`."""
        for address in list(self._lines):
            self.drop(address)
        self._inbox.close()
        self._on_close(self)

    def _listen(self, address: str) -> bool:
        """Take in what address has sent, as long as there is room; True if that was all."""
        line = self._lines.get(address)
        if line is None:
            return True
        while not self._inbox.full:
            if not _has_come(line.socket):
                return True
            self._hear(line.socket.recv(NOW), _rest_of(line.socket), address)
        line.socket.getsockopt(zmq.EVENTS)  # or its file descriptor would call again at once
        if address not in self._behind:
            self._behind.append(address)
        return False

    def _hear(self, frame: bytes, rest: list[bytes], address: str) -> None:
        self._oddities.counts.received += 1
        try:
            if rest:
                raise Odd("malformed frames", "a published message of more than one frame")
            self._inbox.put(Heard(read(frame), address), len(frame))
        except Odd as odd:
            self._oddities.refuse(address, odd)

    def _make_use_of_room(self) -> None:
        if self._behind:
            self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Listen to all who wait; those who found no room now go first the next time."""
        behind, self._behind = self._behind, []
        unserved = [address for address in behind if self._inbox.full or not self._listen(address)]
        served_now = self._behind
        self._behind = [address for address in unserved if address not in served_now] + served_now


class ZeroMQAsker:
    """As `Asker`. Nothing is sent to a peer that is not there; it waits here until patience runs out."""

    def __init__(
        self,
        context: Context,
        address: str,
        many: bool,
        encryption: Options,
        odd: Oddities,
        on_close: OnClose,
    ) -> None:
        """Ask address. Raises BusError if it is no address."""
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._look_due = False
        self._line = Line(context, zmq.DEALER, address, self._look, {**_ASKING, **encryption}, odd)
        self._desk = Desk(address, many=many, send=self._send, renew=self._line.renew, odd=odd)

    def ask(self, message: Message, ticket: str, patience: float) -> None:
        """As `Asker.ask`."""
        self._desk.ask(message, ticket, patience)

    @property
    def idle(self) -> bool:
        """As `Asker.idle`."""
        return self._desk.idle

    @property
    def reached(self) -> bool:
        """As `Asker.reached`."""
        return self._line.was_up

    def give_up(self) -> None:
        """As `Asker.give_up`."""
        self._desk.give_up()

    def keep_waiting(self, ticket: str, patience: float) -> None:
        """As `Asker.keep_waiting`."""
        self._desk.keep_waiting(ticket, patience)

    async def answered(self) -> Sequence[Answer]:
        """As `Asker.answered`."""
        return await self._desk.answered()

    def close(self) -> None:
        """As `Asker.close`."""
        self._line.close()
        self._desk.close()
        self._on_close(self)

    def _send(self, frame: bytes) -> bool:
        if not self._look_due:
            self._look_due = True
            self._loop.call_soon(self._look)
        try:
            self._line.socket.send_multipart((b"", frame), NOW)
        except zmq.Again:
            return False
        return True

    def _look(self) -> None:
        """Take in all replies, and send what could not be sent before."""
        self._look_due = False
        line = self._line
        while not line.closed:
            if not _has_come(line.socket):
                self._desk.flush()
                return
            first = line.socket.recv(NOW)
            rest = _rest_of(line.socket)
            self._desk.came(rest[0] if len(rest) == 1 and not first else b"")


class ZeroMQAnswerer:
    """As `Answerer`. What can't be read is answered with `error`, whatever it is."""

    def __init__(
        self, context: Context, address: str, doorman: Doorman | None, odd: Oddities, on_close: OnClose
    ) -> None:
        """Bind at address. Raises BusError."""
        self._doorman = doorman
        self._oddities = odd
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._inbox: Inbox[Question] = Inbox(self._look_soon)
        self._look_due = False
        self._socket, self.address = bound(context, zmq.ROUTER, address, _ANSWERING, doorman)
        self._loop.add_reader(self._socket, self._look)
        self._look_soon()

    async def asked(self) -> Sequence[Question]:
        """As `Answerer.asked`."""
        return await self._inbox.take()

    def answer(self, question: Question, reply: Message) -> None:
        """As `Answerer.answer`."""
        assert isinstance(question.route, bytes)  # noqa: S101 (it is ours)
        self._send(question.route, within_limit(reply, question.message, self.address, self._oddities))

    def close(self) -> None:
        """As `Answerer.close`."""
        if self._doorman:
            self._doorman.leave(self._socket)
        if not self._socket.closed:
            self._loop.remove_reader(self._socket)
            self._socket.close(_LINGER)
        self._inbox.close()
        self._on_close(self)

    def _send(self, identity: bytes, message: Message) -> None:
        try:
            self._socket.send_multipart((identity, b"", message.encode()), NOW)
            self._oddities.counts.sent += 1
        except zmq.ZMQError as error:
            kind = "slow asker" if isinstance(error, zmq.Again) else "asker gone"
            self._oddities.refuse(self.address, Odd(kind, f"no way to answer with {message!r}"))
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._look_due:
            self._look_due = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        while not self._socket.closed and not self._inbox.full:
            if not _has_come(self._socket):
                return
            identity = self._socket.recv(NOW, copy=False)
            self._take_in(identity, _rest_of(self._socket))
        if not self._socket.closed:
            self._socket.getsockopt(zmq.EVENTS)  # or its file descriptor would call again at once

    def _take_in(self, identity: zmq.Frame, rest: list[bytes]) -> None:
        self._oddities.counts.received += 1
        try:
            if len(rest) != 2 or rest[0]:
                raise Odd("malformed frames", f'{len(rest)} frames instead of "" and a message')
            self._inbox.put(Question(read(rest[1]), identity.bytes), len(rest[1]))
        except Odd as odd:
            self._oddities.refuse(_sender_of(identity), odd)
            self._send(identity.bytes, compose("error", "error", f"{odd.kind}: {odd}"))


_LINGER = int(LAST_WORDS * 1000)

# milliseconds, except for the keep-alive: seconds
_ALL: Options = {
    zmq.LINGER: 0,
    zmq.MAXMSGSIZE: CUT_OFF,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: 60_000,
    zmq.HANDSHAKE_IVL: 10_000,
}
_CONNECTING: Options = {**_ALL, zmq.RECONNECT_IVL: -1, zmq.CONNECT_TIMEOUT: 10_000, zmq.RCVHWM: 1000}
_LISTENING = _CONNECTING
_ASKING: Options = {**_CONNECTING, zmq.IMMEDIATE: 1, zmq.SNDHWM: 10_000}
_PUBLISHING: Options = {**_ALL, zmq.SNDHWM: WAITING_TO_BE_TOLD, zmq.XPUB_NODROP: 1}
_ANSWERING: Options = {**_ALL, zmq.ROUTER_MANDATORY: 1, zmq.SNDHWM: 10_000, zmq.RCVHWM: 1000}


def _has_come(source: zmq.Socket[bytes]) -> bool:
    """Whether there is something to receive; asking is cheaper than being told so by zmq.Again."""
    return bool(int(source.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


def _rest_of(source: zmq.Socket[bytes]) -> list[bytes]:
    """The frames that belong to the one just received; a few of them at most, if there are many."""
    rest: list[bytes] = []
    while source.getsockopt(zmq.RCVMORE):
        frame = source.recv(NOW)
        if len(rest) < 3:
            rest.append(frame)
    return rest


def _sender_of(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return "somebody"
