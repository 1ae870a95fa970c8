"""How processes talk: tell, listen, ask, answer. What has arrived is handed over at once, in one batch.

`zeromq` is the real bus, `memory` the one for tests of everything above. Nothing here raises because of what
a peer sent: input that is no message is counted (`Counts`) and told once per peer and kind to `on_oddity`. The
data of every message that is handed over has been read: it raises no more.

A bus belongs to the event loop in which it was made. Who waits (`heard`, `answered`, `asked`) at something
that is closed meanwhile gets a BusError.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from tranship.wire.messages import Message

MAX_MESSAGE = 1 << 20
"""Bytes; a longer frame is refused, both ways."""
LONGEST_TOLD = MAX_MESSAGE - 1024
"""Bytes of what is told for the first time: told once more (by a mirror, as ordered) it is a little longer."""


@dataclass(slots=True)
class Counts:
    """What a bus has seen: numbers of frames."""

    received: int = 0
    sent: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """By kind: "undecodable", "too long", "malformed frames", "unknown reply" (of a peer's);
    "slow listener", "slow asker", "asker gone" (of ours).

    Where keys are used, also connections that were refused: "no keys", "unknown key", "address not allowed",
    "wrong server key", "broken handshake" (those of peers), "not let in", "broken off" (ours)."""


OnOddity = Callable[[str, str], None]
"""Called with (peer, what was odd), at most once per peer and kind."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that came by subscription, and the address of the provider that it came from (tcp://host:port)."""

    message: Message
    provider: str


@dataclass(frozen=True, slots=True)
class Question:
    """A request that wants one answer. `route` is the transport's own way back, opaque to everybody else."""

    message: Message
    route: object


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request: the reply; or None, because patience ran out, or what came was no message.

    A message of type `progress` is not yet the outcome: the request stays under way, and so does its patience
    (see `Asker.keep_waiting`).
    """

    ticket: str
    message: Message | None


AUDIENCE = 1.0
"""Seconds after binding until subscribers that reconnect (ZeroMQ tries every 0.1 s) can hear a publisher."""


class Guard(Enum):
    """What keeps strangers from what is bound."""

    IF_ANY = auto()
    """Keys, if the bus has any."""
    KEYS = auto()
    """Keys; without, it is not bound."""
    NONE = auto()
    """Nothing: everybody who reaches it is let in."""


class Publisher(Protocol):
    """Tells everybody who listens."""

    address: str
    """Where it is bound, tcp://host:port, the port a real one even if 0 was asked for."""
    encrypted: bool
    """Whether only who has a key hears it."""

    def tell(self, messages: Sequence[Message]) -> None:
        """Send, in this order. Never blocks; a slow subscriber loses, and notices by the sequence numbers.

        A message that is too long is counted and not sent.
        """

    def close(self) -> None:
        """Stop; what was told is still sent, for at most a second."""


class Subscription(Protocol):
    """Listens to providers. Reconnects for ever by itself."""

    async def heard(self) -> Sequence[Heard]:
        """Wait for messages; all that have come (at least one), per provider in the order they were sent."""

    def add(self, address: str, topics: Sequence[str]) -> None:
        """Listen to address (tcp://host:port) as well; topics are prefixes of subjects, "" for all.

        Topics of an address that is listened to already are added to it. Raises BusError if it is no address.
        """

    def drop(self, address: str) -> None:
        """Listen to address no more."""

    def again(self, address: str) -> None:
        """Drop the connection to address and make a new one (after a missed heartbeat)."""

    def close(self) -> None:
        """Stop."""


class Asker(Protocol):
    """Asks one answerer. Many requests under way at once, unless the answerer is of the old kind."""

    def ask(self, message: Message, ticket: str, patience: float) -> None:
        """Send a request; its outcome comes by `answered` under this ticket, within patience (seconds).

        message.ticket must equal ticket when `many`; an answerer of the old kind echoes nothing and is asked
        one request at a time (the rest waits here, its patience starting when its turn comes). A request that
        is too long is answered here, with `err`. Raises ValueError if this ticket is under way.
        """

    @property
    def idle(self) -> bool:
        """Whether no request is under way, and no outcome waits to be taken."""

    @property
    def reached(self) -> bool:
        """Whether somebody who can be asked was ever there."""

    def give_up(self) -> None:
        """End the patience of all that is asked."""

    def keep_waiting(self, ticket: str, patience: float) -> None:
        """Start the patience of a request anew (its transfer makes progress)."""

    async def answered(self) -> Sequence[Answer]:
        """Wait for outcomes; all that there are (at least one). Raises BusError once closed."""

    def close(self) -> None:
        """Stop; what is still open is forgotten."""


class Answerer(Protocol):
    """Is asked. Old REQ peers and our own askers are served alike; frames that are malformed get `error`."""

    address: str

    async def asked(self) -> Sequence[Question]:
        """Wait for requests; all that have come (at least one)."""

    def answer(self, question: Question, reply: Message) -> None:
        """Send a reply (or, before it, `progress` messages to a peer that asked for them). Never blocks.

        `messages.reply` makes one that echoes the request's ticket. One that is too long becomes an `err`; one
        to a peer that is gone is counted.
        """

    def close(self) -> None:
        """Stop."""


class Bus(Protocol):
    """Makes the four."""

    counts: Counts

    def publisher(self, address: str, name: str, guard: Guard = Guard.IF_ANY) -> Publisher:
        """Bind at address (tcp://host:port; port 0: any). Raises BusError if it can't be bound."""

    def subscription(self) -> Subscription:
        """A subscription to nothing yet."""

    def asker(self, address: str, *, many: bool) -> Asker:
        """An asker of address; `many` requests at once if the peer echoes ids (it announces with `tranship`).

        Raises BusError if it is no address.
        """

    def answerer(self, address: str, guard: Guard = Guard.IF_ANY) -> Answerer:
        """Bind at address. Raises BusError if it can't be bound."""

    def close(self) -> None:
        """Close everything that it made."""


class BusError(Exception):
    """An address can't be used; the text names it and says why."""


def too_long(message: Message) -> str:
    """Why message can't be told, and what to do; "" if it can."""
    size = len(message.encode())
    if size <= LONGEST_TOLD:
        return ""
    return (
        f"the message that tells of it would have {size} bytes, and {LONGEST_TOLD} are the most;"
        " put fewer files into one archive, dataset or collection, or shorten its items"
    )


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of tcp://host:port, an IPv6 host without its brackets. Raises BusError."""
    parts = re.fullmatch(r"tcp://(?:\[([^]/]+)]|([^]\[:/\s]+)):([0-9]{1,5})", address)
    if not parts or int(parts[3]) > 65535:
        raise BusError(f"{address!r} is no address like tcp://host:port")
    return parts[1] or parts[2], int(parts[3])
