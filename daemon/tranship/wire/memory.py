"""A bus without a network, for the tests of everything above: same promises and messages, no sockets.

Buses that are to hear each other share a `Network`, which is one host: of an address only the port counts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tranship.wire.arrivals import Inbox, Odd, Oddities, read, within_limit
from tranship.wire.contract import (
    MAX_MESSAGE,
    Answer,
    BusError,
    Counts,
    Guard,
    Heard,
    OnOddity,
    Question,
    host_and_port,
)
from tranship.wire.desk import Desk
from tranship.wire.messages import Message, prefix

FIRST_PORT = 10_000


@dataclass(slots=True)
class Network:
    """Who is bound where, and who listens to or asks whom."""

    bound: "dict[int, MemoryPublisher | MemoryAnswerer]" = field(default_factory=dict)
    subscriptions: "list[MemorySubscription]" = field(default_factory=list)
    askers: "list[MemoryAsker]" = field(default_factory=list)

    def bind(self, address: str, who: "MemoryPublisher | MemoryAnswerer") -> str:
        """Let who be found at address; gives it with its real port. Raises BusError if the port is taken."""
        host, port = host_and_port(address)
        if not port:
            port = next(free for free in range(FIRST_PORT, 1 << 16) if free not in self.bound)
        if port in self.bound:
            raise BusError(f"{address} can't be listened on: address already in use")
        self.bound[port] = who
        asyncio.get_running_loop().call_soon(self._flush, port)
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    def release(self, address: str, who: "MemoryPublisher | MemoryAnswerer") -> None:
        """Let who be found at address no more."""
        port = host_and_port(address)[1]
        if self.bound.get(port) is who:
            del self.bound[port]

    def _flush(self, port: int) -> None:
        for asker in self.askers:
            if asker.port == port:
                asker.desk.flush()


class MemoryBus:
    """As `Bus`. Counts and tells on_oddity as the real one does."""

    def __init__(self, network: Network | None = None, on_oddity: OnOddity = lambda peer, what: None) -> None:
        """On this network, or on one of its own."""
        self.counts = Counts()
        self.network = network or Network()
        self._oddities = Oddities(self.counts, on_oddity)
        self._made: list[MemoryPublisher | MemorySubscription | MemoryAsker | MemoryAnswerer] = []

    def publisher(self, address: str, name: str, guard: Guard = Guard.IF_ANY) -> "MemoryPublisher":
        """As `Bus.publisher`, without keys."""
        _check_open(address, guard)
        made = MemoryPublisher(self.network, address, name, self._oddities)
        self._made.append(made)
        return made

    def subscription(self) -> "MemorySubscription":
        """As `Bus.subscription`."""
        made = MemorySubscription(self.network, self._oddities)
        self._made.append(made)
        return made

    def asker(self, address: str, *, many: bool) -> "MemoryAsker":
        """As `Bus.asker`."""
        made = MemoryAsker(self.network, address, many, self._oddities)
        self._made.append(made)
        return made

    def answerer(self, address: str, guard: Guard = Guard.IF_ANY) -> "MemoryAnswerer":
        """As `Bus.answerer`, without keys."""
        _check_open(address, guard)
        made = MemoryAnswerer(self.network, address, self._oddities)
        self._made.append(made)
        return made

    def close(self) -> None:
        """As `Bus.close`."""
        for made in self._made:
            made.close()
        self._made.clear()


class MemoryPublisher:
    """As `Publisher`. Never drops a message that can be sent."""

    encrypted = False

    def __init__(self, network: Network, address: str, name: str, odd: Oddities) -> None:
        """Bind at address. Raises BusError."""
        self.name = name
        self._network = network
        self._oddities = odd
        self.address = network.bind(address, self)

    def tell(self, messages: Sequence[Message]) -> None:
        """As `Publisher.tell`."""
        port = host_and_port(self.address)[1]
        for message in messages:
            frame = message.encode()
            if len(frame) > MAX_MESSAGE:
                self._oddities.refuse(self.address, Odd("too long", f"{message!r} has {len(frame)} bytes"))
                continue
            self._oddities.counts.sent += 1
            for subscription in self._network.subscriptions:
                subscription.hear(frame, port)

    def close(self) -> None:
        """As `Publisher.close`."""
        self._network.release(self.address, self)


class MemorySubscription:
    """As `Subscription`."""

    def __init__(self, network: Network, odd: Oddities) -> None:
        """Listen to nobody yet."""
        self._network = network
        self._oddities = odd
        self._topics: dict[str, set[bytes]] = {}
        self._inbox: Inbox[Heard] = Inbox()
        network.subscriptions.append(self)

    async def heard(self) -> Sequence[Heard]:
        """As `Subscription.heard`."""
        return await self._inbox.take()

    def add(self, address: str, topics: Sequence[str]) -> None:
        """As `Subscription.add`."""
        host_and_port(address)
        self._topics.setdefault(address, set()).update(map(prefix, topics))

    def drop(self, address: str) -> None:
        """As `Subscription.drop`."""
        self._topics.pop(address, None)

    def again(self, address: str) -> None:
        """As `Subscription.again`; there is no connection that could hang."""

    def close(self) -> None:
        """As `Subscription.close`."""
        self._topics.clear()
        self._inbox.close()
        if self in self._network.subscriptions:
            self._network.subscriptions.remove(self)

    def hear(self, frame: bytes, port: int) -> None:
        """Take in a frame that was published at port, if it is listened to."""
        for address, topics in self._topics.items():
            if host_and_port(address)[1] == port and frame.startswith(tuple(topics)):
                self._oddities.counts.received += 1
                try:
                    self._inbox.put(Heard(read(frame), address))
                except Odd as odd:
                    self._oddities.refuse(address, odd)


class MemoryAsker:
    """As `Asker`."""

    def __init__(self, network: Network, address: str, many: bool, odd: Oddities) -> None:
        """Ask address. Raises BusError if it is no address."""
        self.port = host_and_port(address)[1]
        self._network = network
        self.connection = object()
        self.desk = Desk(address, many=many, send=self._send, renew=self._renew, odd=odd)
        network.askers.append(self)

    def ask(self, message: Message, ticket: str, patience: float) -> None:
        """As `Asker.ask`."""
        self.desk.ask(message, ticket, patience)

    @property
    def idle(self) -> bool:
        """As `Asker.idle`."""
        return self.desk.idle

    @property
    def reached(self) -> bool:
        """As `Asker.reached`."""
        return isinstance(self._network.bound.get(self.port), MemoryAnswerer)

    def give_up(self) -> None:
        """As `Asker.give_up`."""
        self.desk.give_up()

    def keep_waiting(self, ticket: str, patience: float) -> None:
        """As `Asker.keep_waiting`."""
        self.desk.keep_waiting(ticket, patience)

    async def answered(self) -> Sequence[Answer]:
        """As `Asker.answered`."""
        return await self.desk.answered()

    def close(self) -> None:
        """As `Asker.close`."""
        self._renew()
        self.desk.close()
        if self in self._network.askers:
            self._network.askers.remove(self)

    def _send(self, frame: bytes) -> bool:
        answerer = self._network.bound.get(self.port)
        if not isinstance(answerer, MemoryAnswerer):
            return False
        answerer.ask(frame, _Route(self, self.connection))
        return True

    def _renew(self) -> None:
        self.connection = object()


class MemoryAnswerer:
    """As `Answerer`."""

    def __init__(self, network: Network, address: str, odd: Oddities) -> None:
        """Bind at address. Raises BusError."""
        self._network = network
        self._oddities = odd
        self._inbox: Inbox[Question] = Inbox()
        self.address = network.bind(address, self)

    async def asked(self) -> Sequence[Question]:
        """As `Answerer.asked`."""
        return await self._inbox.take()

    def answer(self, question: Question, reply: Message) -> None:
        """As `Answerer.answer`."""
        route = question.route
        assert isinstance(route, _Route)  # noqa: S101 (it is ours)
        reply = within_limit(reply, question.message, self.address, self._oddities)
        if route.asker.connection is not route.connection:
            self._oddities.refuse(self.address, Odd("asker gone", f"no way to answer with {reply!r}"))
            return
        self._oddities.counts.sent += 1
        route.asker.desk.came(reply.encode())

    def close(self) -> None:
        """As `Answerer.close`."""
        self._network.release(self.address, self)
        self._inbox.close()

    def ask(self, frame: bytes, route: "_Route") -> None:
        """Take in a request."""
        self._oddities.counts.received += 1
        self._inbox.put(Question(read(frame), route))


@dataclass(frozen=True, slots=True)
class _Route:
    asker: MemoryAsker
    connection: object


def _check_open(address: str, guard: Guard) -> None:
    if guard is Guard.KEYS:
        raise BusError(f"{address} is to be closed by keys, and this bus has none")
