"""A tiny HTTP server that answers, byte by byte, what a test tells it to.

    with Scripted(lambda request: b"HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n") as server:
        ... connect to 127.0.0.1:server.port; server.heard is what came ...

An answer may also come in pieces. One that ends with HANG_UP is followed by the end of the connection, one that
ends with SILENCE by nothing: what comes is not even read.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Self

HANG_UP = b"\0hang up"
SILENCE = b"\0silence"
DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A complete answer; `_` in a header's name stands for `-`."""
    told = {"Content_Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Said"] + [f"{key.replace('_', '-')}: {value}" for key, value in told.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Scripted:
    """Serves inside a `with`, on a free port of loopback; every connection has a thread."""

    def __init__(
        self,
        answer: Callable[[Heard], bytes | Iterable[bytes]],
        *,
        takes_bodies: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.heard: list[Heard] = []
        self._answer = answer
        self._takes_bodies = takes_bodies
        self._tls = tls
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lines: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive(), "the scripted server did not stop"
        for line in self._lines:
            line.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                if self._tls:
                    line = self._tls.wrap_socket(line, server_side=True)
                self._lines.append(line)
                thread = threading.Thread(target=self._serve, args=(line,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError), line.makefile("rb") as stream:
            while heard := _heard(stream, self._takes_bodies):
                self.heard.append(heard)
                said = self._answer(heard)
                if heard.method == "HEAD" and isinstance(said, bytes):
                    head, end, _ = said.partition(b"\r\n\r\n")
                    said = head + end
                for piece in (said,) if isinstance(said, bytes) else said:
                    line.sendall(piece.removesuffix(HANG_UP).removesuffix(SILENCE))
                    if piece.endswith(HANG_UP):
                        return line.shutdown(socket.SHUT_RDWR)
                    if piece.endswith(SILENCE):
                        self._stopped.wait()
        return None


def _heard(stream: BinaryIO, takes_bodies: bool) -> Heard | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = {}
    while text := stream.readline().decode("latin-1").strip():
        key, _, value = text.partition(":")
        headers[key.lower()] = value.strip()
    size = int(headers.get("content-length", "0")) if takes_bodies or first[0] != "PUT" else 0
    return Heard(first[0], first[1], headers, stream.read(size))
