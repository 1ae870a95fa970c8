"""A data connection of FTP: how the bytes of a file go over it."""

import errno
import math
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

from tranship_movers.contract import Progress
from tranship_movers.errors import Mangled, MoverError, Permanent, SourceGone, of_system
from tranship_movers.ftp.meanings import BrokenOff

BLOCK = 512 * 1024
"""Bytes that go over between two words of progress."""

_NO_SENDFILE = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP))
"""What file systems say whose files can't be sent without being read."""


class Data:
    """A data connection."""

    def __init__(
        self, conn: socket.socket, noop: Callable[[], None], noop_interval: timedelta | None
    ) -> None:
        self.conn = conn
        self._noop = noop
        self._pause = math.inf if noop_interval is None else noop_interval.total_seconds()
        self._next_noop = time.monotonic() + self._pause

    def send(self, file: BinaryIO, offset: int, progress: Progress) -> int:
        """Send file from offset to its end; give the number of bytes."""
        step = self._send_encrypted if isinstance(self.conn, ssl.SSLSocket) else self._send_plain
        position = offset
        while sent := step(file, position):
            position += sent
            self._tell(progress, sent)
        return position - offset

    def bring(self, file: BinaryIO, progress: Progress, begins: bytes = b"") -> int:
        """Write what comes into file; give the number of bytes. Raises Mangled unless it begins like that."""
        block = memoryview(bytearray(BLOCK))
        came = 0
        while count := self.conn.recv_into(block):
            known = begins[came : came + count]
            if block[: len(known)] != known:
                raise Mangled("another part of the file came than was asked for")
            with on_our_side(Path(file.name)):
                file.write(block[:count])
            came += count
            self._tell(progress, count)
        with on_our_side(Path(file.name)):
            file.flush()
        return came

    def text(self) -> bytes:
        """All that comes."""
        return b"".join(iter(partial(self.conn.recv, BLOCK), b""))

    def finish(self) -> None:
        """End in order, so that the other side gets the last bytes too."""
        with suppress(OSError, ValueError):
            if isinstance(self.conn, ssl.SSLSocket):
                self._say_goodbye(self.conn)
            self.conn.shutdown(socket.SHUT_WR)

    def _say_goodbye(self, conn: ssl.SSLSocket) -> None:
        """End TLS on our side. The server's goodbye is not waited for: its last word comes over the other line."""
        seconds = min((conn.gettimeout() or 0) / 4, 5)
        conn.settimeout(0)
        try:
            conn.unwrap()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            conn.settimeout(seconds)
            conn.unwrap()

    def _send_plain(self, file: BinaryIO, position: int) -> int:
        # `socket.sendfile` makes a selector for each block, and waits before it tries: 0.8 of the speed.
        while True:
            try:
                return os.sendfile(self.conn.fileno(), file.fileno(), position, BLOCK)
            except BlockingIOError:
                self._wait_for_room()
            except OSError as error:
                if error.errno not in _NO_SENDFILE:
                    raise
                return self.conn.sendfile(file, position, BLOCK)

    def _wait_for_room(self) -> None:
        """Wait until some bytes can be sent."""
        poll = select.poll()
        poll.register(self.conn, select.POLLOUT)
        if not poll.poll((self.conn.gettimeout() or 0) * 1000):
            raise TimeoutError

    def _send_encrypted(self, file: BinaryIO, position: int) -> int:
        with on_our_side(Path(file.name)):
            block = os.pread(file.fileno(), BLOCK, position)
        self.conn.sendall(block)
        return len(block)

    def _tell(self, progress: Progress, count: int) -> None:
        try:
            progress(count)
        except BaseException as error:  # noqa: BLE001 - comes out as it is, from `_talking`
            raise BrokenOff(error) from None
        if time.monotonic() > self._next_noop:
            self._next_noop = time.monotonic() + self._pause
            self._noop()


@contextmanager
def opened(path: Path, mode: Literal["rb", "wb", "r+b"]) -> Iterator[BinaryIO]:
    """The local file at path, for the block."""
    with on_our_side(path, SourceGone if mode == "rb" else Permanent):
        file = open(path, mode)  # noqa: SIM115 - only its opening is our side's
    with file:
        yield file


@contextmanager
def on_our_side(path: Path, absent: type[MoverError] = Permanent) -> Iterator[None]:
    """What our own system says of path inside comes out as our error; absent: if it is not there."""
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(path), absent=absent) from error
