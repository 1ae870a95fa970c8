"""A lane: the bytes of a channel of SSH, both ways, past paramiko, with the window and the deadline of each.

They lie in one piece, where they were deciphered, and are lent until more is asked for.
"""

import time
from collections.abc import Callable

import paramiko

from tranship_movers.ssh.wire import BLOCK, HEAD, WINDOW_ADJUST, ZEROS, Wire

Bytes = bytes | bytearray | memoryview


class Lane:
    """The bytes of a channel, both ways, past paramiko. One thread sends and receives."""

    def __init__(self, wire: Wire, channel: paramiko.Channel, transport: paramiko.Transport) -> None:
        self.number, self.remote = channel.chanid, channel.remote_chanid
        self.packet = min(channel.out_max_packet_size, 1 << 15) - 64
        self.granted = channel.out_window_size
        """Bytes that we may send, all in all."""
        self._wire, self._channel, self._transport = wire, channel, transport
        self._timeout = channel.timeout or 0.0
        self._sent = 0
        self._outbox = memoryview(bytearray(HEAD.size + BLOCK + len(ZEROS)))
        self._inbox = memoryview(bytearray(BLOCK))
        self._start = self._end = HEAD.size
        self._owed = 0
        wire.open(self)

    def __len__(self) -> int:
        """Bytes that came and were not taken."""
        return self._end - self._start

    def send(self, *parts: Bytes) -> bool:
        """Send all of parts, give whether the other side still takes any. What was sent need not have arrived."""
        filled = 0
        for part in parts:
            rest = memoryview(part)
            while rest:
                length = min(len(rest), BLOCK - filled)
                start = HEAD.size + filled
                self._outbox[start : start + length] = rest[:length]
                rest, filled = rest[length:], filled + length
                if filled == BLOCK:
                    if not self._post(filled):
                        return False
                    filled = 0
        return self._post(filled)

    def take(self, length: int) -> memoryview:
        """The next length bytes, valid until more is asked for; waits for them. Raises EOFError at the end."""
        self._await(length)
        if len(self) < length:
            raise EOFError
        return self._lent(length)

    def receive(self, most: int) -> memoryview:
        """The bytes that have come, valid until more is asked for; waits for some; none at the end."""
        self._await(1)
        return self._lent(min(len(self), most))

    @property
    def is_waiting(self) -> bool:
        """Whether something has come that was not taken yet."""
        return len(self) > 0 or (self._wire.pump(self, self._has_any, 0) and self._has_any())

    def has_ended(self) -> bool:
        """Wait until the exit status of the other side is known; whether it is."""
        is_known = self._channel.status_event.is_set
        deadline = time.monotonic() + self._timeout
        while not is_known() and self._wire.pump(self, is_known, deadline):
            pass
        return is_known()

    def close(self) -> None:
        """What still comes is dropped."""
        self._wire.forget(self)

    def _post(self, filled: int) -> bool:
        """Send the first filled bytes of the outbox, as the window and new keys allow."""
        position = 0
        while position < filled:
            if not self._is_passable():
                return False
            length = min(filled - position, self.granted - self._sent)
            with self._transport.clear_to_send_lock:
                if self._transport.clear_to_send.is_set():
                    end = position + HEAD.size + length + len(ZEROS)
                    self._wire.post(self, self._outbox[position:end])
                    position, self._sent = position + length, self._sent + length
        return True

    def _is_passable(self) -> bool:
        """Wait until something may be sent; whether the other side takes it."""
        granted, deadline = self.granted, time.monotonic() + self._timeout
        while not self._may_go():
            self._pump(self._may_go, deadline)
            if self.granted > granted:
                granted, deadline = self.granted, time.monotonic() + self._timeout
        return not self._channel.closed

    def _may_go(self) -> bool:
        is_free = self.granted > self._sent and self._transport.clear_to_send.is_set()
        return is_free or self._channel.closed

    def _await(self, need: int) -> None:
        """Wait until need bytes are here, or the stream ends."""

        def enough() -> bool:
            return self._end - self._start >= need or bool(channel.eof_received) or channel.closed

        channel = self._channel
        self._tidy()
        here, deadline = len(self), time.monotonic() + self._timeout
        while not enough():
            if self._owed > channel.in_window_size // 4:
                self._give_back()
            self._pump(enough, deadline)
            if len(self) > here:
                here, deadline = len(self), time.monotonic() + self._timeout

    def _has_any(self) -> bool:
        return self._end > self._start

    def _pump(self, enough: Callable[[], bool], deadline: float) -> None:
        if not self._wire.pump(self, enough, deadline):
            raise TimeoutError

    def _give_back(self) -> None:
        """Let the other side send as much again as came."""
        with self._wire.turn:
            owed, self._owed = self._owed, 0
        message = paramiko.Message()
        message.add_byte(bytes((WINDOW_ADJUST,)))
        message.add_int(self.remote)
        message.add_int(owed)
        while not self._channel.closed:
            with self._transport.clear_to_send_lock:
                if self._transport.clear_to_send.is_set():
                    return self._wire.send_message(message)
            self._pump(self._transport.clear_to_send.is_set, time.monotonic() + self._timeout)
        return None

    def _lent(self, length: int) -> memoryview:
        with self._wire.turn:
            start = self._start
            self._start += length
            return self._inbox[start : start + length]

    def _tidy(self) -> None:
        with self._wire.turn:
            rest = len(self)
            if not rest or self._end > BLOCK // 2:
                self._inbox[HEAD.size : HEAD.size + rest] = self._inbox[self._start : self._end]
                self._start, self._end = HEAD.size, HEAD.size + rest

    # -- for the wire, which has the turn

    def room(self, size: int) -> memoryview:
        """Room for size bytes, of which the first HEAD.size lie over the last ones before."""
        if self._end - HEAD.size + size > len(self._inbox):
            # Elsewhere: what was lent stays where it is.
            rest = self._inbox[self._start : self._end]
            self._inbox = memoryview(bytearray(2 * (len(rest) + size + HEAD.size)))
            self._start, self._end = HEAD.size, HEAD.size + len(rest)
            self._inbox[self._start : self._end] = rest
        start = self._end - HEAD.size
        return self._inbox[start : start + size]

    def added(self, length: int) -> None:
        """So many bytes are in the room, behind its head."""
        self._end += length
        self._owed += length

    def add(self, data: bytes) -> None:
        """Put data behind what is here."""
        self.room(HEAD.size + len(data))[HEAD.size :] = data
        self.added(len(data))
