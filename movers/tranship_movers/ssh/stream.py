"""Bytes to and from what runs at a server: by the short way past paramiko, or by paramiko's own."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paramiko

from tranship_movers.errors import TimedOut
from tranship_movers.ssh.lane import Bytes, Lane

if TYPE_CHECKING:
    from tranship_movers.ssh.line import Line

NO_COMMAND = 127
"""The exit status of a shell that does not know the command."""

LITTLE = 1024
"""Bytes that are taken from paramiko at least, so that short replies come several at once."""

PIECE = 256 * 1024
"""Bytes that are taken from a stream at once, if there are so many."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a command: its exit status (-1: killed), what it wrote, and what it complained of."""

    status: int
    output: bytes
    complaint: str


class Plain:
    """The bytes of a channel as paramiko brings them, where the short way does not go."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._inbox = bytearray()
        self.packet = channel.out_max_packet_size - 64

    def send(self, *parts: Bytes) -> bool:
        """As `Lane.send`."""
        for part in parts:
            rest = memoryview(part)
            while rest:
                sent = self._channel.send(bytes(rest[: self.packet]))
                if not sent:
                    return False
                rest = rest[sent:]
        return True

    def take(self, length: int) -> Bytes:
        """As `Lane.take`."""
        while len(self._inbox) < length:
            # No more than is needed, and a little: what lies in paramiko's buffer is moved with every read.
            data = self._channel.recv(max(length - len(self._inbox), LITTLE))
            if not data:
                raise EOFError
            self._inbox += data
        with memoryview(self._inbox) as view:
            taken = bytes(view[:length])
        del self._inbox[:length]
        return taken

    def receive(self, most: int) -> Bytes:
        """As `Lane.receive`."""
        return self._channel.recv(most)

    @property
    def is_waiting(self) -> bool:
        """As `Lane.is_waiting`."""
        return self._channel.recv_ready()

    def has_ended(self) -> bool:
        """As `Lane.has_ended`."""
        return self._channel.status_event.wait(self._channel.timeout)

    def close(self) -> None:
        """As `Lane.close`."""


class Stream:
    """Bytes to and from something that runs at the server. Each call waits at most the line's timeout."""

    def __init__(self, channel: paramiko.Channel, way: Lane | Plain, line: "Line") -> None:
        self._channel = channel
        self._way = way
        self._line = line
        self.packet = way.packet
        """Bytes that go out in one packet."""

    def send(self, *parts: Bytes) -> bool:
        """Send all of parts, give whether the other side still takes any. What was sent need not have arrived."""
        with self._line.guarded():
            try:
                return self._way.send(*parts)
            except OSError:
                if not self._channel.closed or not self._line.is_open:
                    raise
                return False

    def take(self, length: int) -> Bytes:
        """The next length bytes, valid until more is asked for; waits. Raises Unreachable at the stream's end."""
        with self._line.guarded():
            return self._way.take(length)

    def receive(self, most: int = PIECE) -> Bytes:
        """The bytes that have come, valid until more is asked for; waits; none at the end of the stream."""
        with self._line.guarded():
            return self._way.receive(most)

    @property
    def is_waiting(self) -> bool:
        """Whether something has come that was not taken yet."""
        with self._line.guarded():
            return self._way.is_waiting

    def end(self) -> None:
        """Tell the other side that nothing more comes."""
        with self._line.guarded():
            self._channel.shutdown_write()

    def status(self) -> int:
        """The exit status of what ran at the other side; waits for it."""
        with self._line.guarded():
            if not self._way.has_ended():
                raise TimedOut("the command does not end")
            return self._channel.exit_status

    def complaint(self) -> str:
        """The last of what the other side wrote to its standard error."""
        text = bytearray()
        while self._channel.recv_stderr_ready():
            text += self._channel.recv_stderr(PIECE)
        return text[-500:].decode(errors="replace").strip()

    def close(self) -> None:
        """End the stream. Never raises."""
        self._way.close()
        with suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()
