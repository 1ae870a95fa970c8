"""What every bus does with what arrives: read it or refuse it, and keep it until somebody takes it."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from tranship.wire.contract import MAX_MESSAGE, BusError, Counts, OnOddity
from tranship.wire.messages import Message, Undecodable, decode_whole, reply

INBOX_ITEMS = 1000
"""An inbox that holds so many is full."""
INBOX_BYTES = 16 * MAX_MESSAGE
"""An inbox that holds so many bytes of frames is full."""
MAX_TOLD = 1000
"""So many (peer, kind) are told of; what is odd beyond them is only counted."""

T = TypeVar("T")


class Odd(Exception):
    """What a peer sent can't be used: `kind` is the word it is counted under, the text says why."""

    def __init__(self, kind: str, reason: str) -> None:
        """Say under which kind this is counted, and why it can't be used."""
        super().__init__(reason)
        self.kind = kind


def read(frame: bytes) -> Message:
    """The message in a frame, its data read. Raises Odd."""
    if len(frame) > MAX_MESSAGE:
        raise Odd("too long", f"{len(frame)} bytes in one message; {MAX_MESSAGE} are allowed")
    try:
        return decode_whole(frame)
    except Undecodable as error:
        raise Odd("undecodable", str(error)) from None


def within_limit(answer: Message, request: Message, peer: str, odd: "Oddities") -> Message:
    """The answer to peer's request; if it is too long, which is counted, an `err` that says so."""
    size = len(answer.encode())
    if size <= MAX_MESSAGE:
        return answer
    too_long = Odd("too long", f"{answer!r} has {size} bytes; {MAX_MESSAGE} are allowed")
    odd.refuse(peer, too_long)
    return reply(request, "err", str(too_long))


class Oddities:
    """Counts what is refused, and tells of it once per peer and kind."""

    def __init__(self, counts: Counts, on_oddity: OnOddity) -> None:
        """Count in counts, tell on_oddity."""
        self.counts = counts
        self._on_oddity = on_oddity
        self._told: set[tuple[str, str]] = set()

    def refuse(self, peer: str, odd: Odd) -> None:
        """Count one refused frame of peer, and tell of it."""
        self.counts.refused[odd.kind] = self.counts.refused.get(odd.kind, 0) + 1
        self.tell(peer, odd)

    def tell(self, peer: str, odd: Odd) -> None:
        """Tell of what is odd about peer, without counting a frame."""
        if (peer, odd.kind) not in self._told and len(self._told) < MAX_TOLD:
            self._told.add((peer, odd.kind))
            self._on_oddity(peer, f"{odd.kind}: {odd}")


class Inbox(Generic[T]):
    """Keeps what has arrived until it is taken, all at once. Bounded, if its fillers look at `full`."""

    def __init__(self, on_room: Callable[[], None] | None = None) -> None:
        """Call on_room whenever everything was taken."""
        self._on_room = on_room
        self._items: list[T] = []
        self._size = 0
        self._something = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether its fillers should wait for room."""
        return len(self._items) >= INBOX_ITEMS or self._size >= INBOX_BYTES

    def put(self, item: T, size: int = 0) -> None:
        """Keep one item that stands for so many bytes."""
        self._items.append(item)
        self._size += size
        self._something.set()

    async def take(self) -> list[T]:
        """Wait until there is something; all there is. Raises BusError once closed."""
        await self._something.wait()
        if self._closed:
            raise BusError("closed")
        items, self._items, self._size = self._items, [], 0
        self._something.clear()
        if self._on_room:
            self._on_room()
        return items

    def close(self) -> None:
        """Forget what is in it, and wake who waits."""
        self._closed = True
        self._items = []
        self._something.set()
