"""Packets of SSH (RFC 4253): paramiko's, with a deadline on writing, and a short way for bulk, sealed with AES-GCM.

paramiko has a thread of its own that reads packet by packet, and hands what it took apart to who waits for it. On
the short way, who waits for bytes reads them himself, many packets at once, and they are deciphered to where they
are used; writing likewise. paramiko's thread gets what is not for a `Lane` (new keys, ends of streams, …), in its
order, and reads where nobody has waited for `LINGER`. The short way needs AES-GCM (RFC 5647) without compression;
all else goes as paramiko has it.
"""

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import paramiko
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko.message import Message
from paramiko.packet import NeedRekeyException, Packetizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from tranship_movers.ssh.lane import Lane

(WINDOW_ADJUST, CHANNEL_DATA) = (93, 94)

HEAD = struct.Struct(">BBII")
"""What stands before the data of a channel: length of the padding, kind, number of the channel, length."""

TAG = 16
"""Bytes of the seal behind a packet."""

LONGEST_PACKET = 256 * 1024
"""Bytes of a packet that we read, as OpenSSH has it; nobody sends more than 35 000 without being asked to."""

BLOCK = 512 * 1024
"""Bytes that are read and written at once, at most."""

LINGER = 0.05
"""Seconds for which paramiko's thread leaves the reading to one who read before."""

ZEROS = bytes(32)


class Wire(Packetizer):
    """paramiko's packets, with a deadline on writing: without, a black hole holds a writer for ever.

    At any time one thread reads: the one that has the `turn`. What it finds for paramiko's thread is handed over,
    and nobody reads on before it is dealt with: it may be that new keys come after it.
    """

    REKEY_BYTES = 1 << 35
    """Bytes each way under one key: half of what is allowed for blocks of 16 bytes (RFC 4344, 3.2)."""

    patience = 30.0
    """Seconds without a byte going out."""

    compresses = False
    """Whether packets may be compressed; then they go paramiko's way."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sock = sock
        self._ours, self._theirs = select.poll(), select.poll()  # None serves two threads at once.
        for poll in (self._ours, self._theirs):
            poll.register(sock, select.POLLIN)
        self._opening: Seal | None = None
        self._closing: Seal | None = None
        self._block = memoryview(bytearray(BLOCK))
        self._start = self._end = 0
        self._sealed = memoryview(bytearray(BLOCK))
        self._lanes: dict[int, Lane] = {}
        self._writing = threading.Lock()
        self.turn = threading.Condition()
        """Held by who reads, or looks at what was read."""
        self._last_turn = 0.0
        self._mail: bytes | None = None
        self._is_parked = False

    # -- the short way

    @property
    def is_short(self) -> bool:
        """Whether lanes can be opened."""
        return self._opening is not None and self._closing is not None

    def open(self, lane: "Lane") -> None:
        """From now on, what comes for lane is given to it."""
        with self.turn:
            self._lanes[lane.number] = lane

    def forget(self, lane: "Lane") -> None:
        """What still comes for lane is paramiko's."""
        with self.turn:
            self._lanes.pop(lane.number, None)

    def leave(self) -> None:
        """Let paramiko's thread read at once: an answer to it is awaited."""
        with self.turn:
            self._last_turn = 0.0
            self.turn.notify_all()

    def pump(self, lane: "Lane", enough: "Callable[[], bool]", deadline: float) -> bool:
        """Take in what came, until it is enough; wait for something to come. False: nothing came in time.

        Raises EOFError if the line was cut.
        """
        with self.turn:
            try:
                if not self._is_dealt_with(deadline):
                    return False
                if enough() or self._sort(lane, enough):
                    return True
                if not self._fill(self._ours, deadline - time.monotonic()):
                    return False
                self._sort(lane, enough)
                return True
            finally:
                self._last_turn = time.monotonic()

    def post(self, lane: "Lane", data: memoryview) -> None:
        """Send data on lane: HEAD.size bytes that don't matter, the bytes, and room for padding behind."""
        with self._writing:
            seal, filled, position = _present(self._closing), 0, HEAD.size
            end = len(data) - len(ZEROS)
            while position < end:
                length = min(lane.packet, end - position)
                if filled + length + 64 > BLOCK:
                    self.write_all(self._sealed[:filled])
                    filled = 0
                filled += self._seal_data(seal, lane.remote, data[position - HEAD.size :], length, filled)
                position += length
            self.write_all(self._sealed[:filled])
        self._look_at(seal)

    def _seal_data(self, seal: "Seal", remote: int, data: memoryview, length: int, place: int) -> int:
        """Seal one packet to place. Its head and padding lie around its bytes; those behind are restored."""
        padding = 4 + -(HEAD.size + length + 4) % 16
        end = HEAD.size + length
        size = end + padding
        behind = bytes(data[end:size])
        data[end:size] = ZEROS[:padding]
        HEAD.pack_into(data, 0, padding, CHANNEL_DATA, remote, length)
        struct.pack_into(">I", self._sealed, place, size)
        seal.engine.encrypt_into(
            seal.nonce(size),
            data[:size],
            self._sealed[place : place + 4],
            self._sealed[place + 4 : place + 4 + size + TAG],
        )
        data[end:size] = behind
        return 4 + size + TAG

    def _sort(self, lane: "Lane", enough: "Callable[[], bool]") -> bool:
        """Deal with the packets that are here as a whole, until it is enough; whether there was any."""
        found = False
        while not enough() and (size := self._size()):
            found = True
            letter = self._open_into(lane, size)
            if letter is not None and not self._is_kept(letter):
                self._hand_over(letter)
        return found

    def _size(self) -> int:
        """The size of the next packet; 0 if it is not here as a whole."""
        here = self._end - self._start
        if here < 4:
            return 0
        (size,) = struct.unpack_from(">I", self._block, self._start)
        if size % 16 or not 16 <= size <= LONGEST_PACKET:
            raise paramiko.SSHException("what comes is no packet")
        return size if here >= 4 + size + TAG else 0

    def _open_into(self, lane: "Lane", size: int) -> bytes | None:
        """Open the next packet: its bytes are put behind those of lane; gives it, if it is something else.

        Its head lies over the last of the bytes before it, for a moment.
        """
        room = lane.room(size)
        before = bytes(room[: HEAD.size])
        self._open(size, room)
        padding, kind, number, length = HEAD.unpack_from(room)
        letter = None
        if kind == CHANNEL_DATA and number == lane.number and length == size - HEAD.size - padding:
            lane.added(length)
        else:
            letter = bytes(room[1 : size - padding])
        room[: HEAD.size] = before
        return letter

    def _open(self, size: int, room: memoryview) -> None:
        seal, start, end = _present(self._opening), self._start, self._start + 4 + size + TAG
        try:
            seal.engine.decrypt_into(
                seal.nonce(size), self._block[start + 4 : end], self._block[start : start + 4], room
            )
        except InvalidTag:
            raise paramiko.SSHException("a packet was changed on its way") from None
        self._start = end

    def _is_kept(self, letter: bytes) -> bool:
        """Whether letter is for a lane, and was given to it."""
        if letter[0] not in (CHANNEL_DATA, WINDOW_ADJUST):
            return False
        number, value = struct.unpack_from(">II", letter, 1)
        lane = self._lanes.get(number)
        if lane is None:
            return False
        if letter[0] == WINDOW_ADJUST:
            lane.granted += value
        else:
            lane.add(letter[9 : 9 + value])
        return True

    def _fill(self, poll: select.poll, seconds: float) -> bool:
        """Read what has come; wait for it; False if nothing has. Raises EOFError at the end."""
        if self._start == self._end:
            self._start = self._end = 0
        elif BLOCK - self._end < LONGEST_PACKET + 4 + TAG:
            rest = self._end - self._start
            self._block[:rest] = self._block[self._start : self._end]
            self._start, self._end = 0, rest
        if not poll.poll(max(seconds, 0) * 1000):
            return False
        length = self._sock.recv_into(self._block[self._end :])
        if not length:
            raise EOFError
        self._end += length
        self._look_at(self._opening)
        return True

    def _look_at(self, seal: "Seal | None") -> None:
        """Ask for new keys in time."""
        if seal is None or (seal.bytes < self.REKEY_BYTES and seal.packets < self.REKEY_PACKETS):
            return
        if seal.bytes > self.REKEY_BYTES + self.REKEY_BYTES_OVERFLOW_MAX:
            raise paramiko.SSHException("the server makes no new keys")
        self._trigger_rekey()  # type: ignore[attr-defined]
        with self.turn:
            self.turn.notify_all()

    # -- between the threads

    def _hand_over(self, letter: bytes) -> None:
        self._mail = letter
        self.turn.notify_all()
        if not self._is_dealt_with(time.monotonic() + self.patience):
            raise TimeoutError

    def _is_dealt_with(self, deadline: float) -> bool:
        """Wait until paramiko's thread has dealt with all that it was given; whether it has."""
        while self._mail is not None or not self._is_parked:
            if self.closed:
                raise EOFError
            if not self.turn.wait(max(deadline - time.monotonic(), 0)):
                return False
        return True

    def _next_letter(self) -> bytes:
        """What paramiko's thread has to deal with next: handed to it, or read by itself."""
        with self.turn:
            self._is_parked = True
            self.turn.notify_all()
            try:
                while (letter := self._mail or self._found()) is None:
                    self._rest()
                self._mail = None
                return letter
            finally:
                self._is_parked = False

    def _found(self) -> bytes | None:
        while not self._is_lingering and (self._size() or self._fill(self._theirs, 0)):
            while size := self._size():
                room = memoryview(bytearray(size))
                self._open(size, room)
                letter = bytes(room[1 : size - room[0]])
                if not self._is_kept(letter):
                    return letter
        return None

    def _rest(self) -> None:
        """Wait for something to do. Raises NeedRekeyException if keys are worn, EOFError if all is over."""
        if self._is_lingering:
            self.turn.wait(LINGER)
        else:
            self.turn.release()
            try:
                self._theirs.poll(100)
            finally:
                self.turn.acquire()
        if self.closed:
            raise EOFError
        if self._mail is None and self.need_rekey():
            raise NeedRekeyException

    @property
    def _is_lingering(self) -> bool:
        return time.monotonic() < self._last_turn + LINGER

    # -- as paramiko calls it

    def read_message(self) -> tuple[int, Message]:
        """The next packet for paramiko's thread: its kind, and the rest."""
        if self._opening is None:
            return super().read_message()
        letter = self._next_letter()
        message = Message(letter[1:])
        message.seqno = self._opening.packets - 1
        return letter[0], message

    def send_message(self, data: Message) -> None:
        """Send data."""
        if self._closing is None:
            return super().send_message(data)
        letter = data.asbytes()
        padding = 4 + -(1 + len(letter) + 4) % 16
        plain = bytes((padding,)) + letter + bytes(padding)
        size = struct.pack(">I", len(plain))
        with self._writing:
            self.write_all(size + self._closing.engine.encrypt(self._closing.nonce(len(plain)), plain, size))
        return None

    def set_inbound_cipher(self, block_engine: Any, block_size: int, *rest: Any, **key: Any) -> None:
        """What comes from now on is under this key."""
        super().set_inbound_cipher(block_engine, block_size, *rest, **key)
        self._opening = self._sealed_by(block_engine, block_size, key.get("iv_in"))

    def set_outbound_cipher(self, block_engine: Any, block_size: int, *rest: Any, **key: Any) -> None:
        """What goes out from now on is under this key."""
        super().set_outbound_cipher(block_engine, block_size, *rest, **key)
        self._closing = self._sealed_by(block_engine, block_size, key.get("iv_out"))

    def _sealed_by(self, engine: object, block: int, iv: bytes | None) -> "Seal | None":
        if block < 16:
            self.REKEY_BYTES = Packetizer.REKEY_BYTES
        if self.compresses or iv is None or not isinstance(engine, AESGCM):
            return None
        return (
            Seal(engine, iv) if hasattr(engine, "decrypt_into") else None
        )  # Older ones of cryptography lack it.

    def write_all(self, out: "ReadableBuffer") -> None:
        """Write out. Raises TimeoutError, or EOFError for a dead line."""
        rest = memoryview(out)
        since = time.monotonic()
        while rest:
            try:
                sent = self._sock.send(rest)
            except TimeoutError:
                if self.closed:
                    raise EOFError from None
                if time.monotonic() - since > self.patience:
                    raise TimeoutError from None
                continue
            except OSError:
                raise EOFError from None
            rest = rest[sent:]
            since = time.monotonic()

    def close(self) -> None:
        """End it; who waits for something to come is woken."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        super().close()
        with self.turn:
            self.turn.notify_all()


class Seal:
    """AES-GCM of one direction, under one key (RFC 5647, 7.1), and how much has gone through it."""

    def __init__(self, engine: AESGCM, iv: bytes) -> None:
        self.engine = engine
        self.bytes = self.packets = 0
        self._fixed, self._count = iv[:4], int.from_bytes(iv[4:], "big")

    def nonce(self, size: int) -> bytes:
        """The nonce of the next packet, of size bytes. None comes twice."""
        nonce = self._fixed + (self._count & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
        self._count += 1
        self.packets += 1
        self.bytes += size
        return nonce


def _present(seal: Seal | None) -> Seal:
    if seal is None:
        raise paramiko.SSHException("the server changed to another kind of cipher")
    return seal
