"""A real process, with a real notify socket, and deadlines instead of sleeps."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 20.0
"""Seconds until a test gives up waiting."""


class Process:
    """A tiny role in a process of its own."""

    def __init__(self, how: str, folder: Path, config: str) -> None:
        self.config = folder / "tiny.json"
        self.config.write_text(config)
        self.errors = folder / "stderr"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0tranship-{os.getpid()}-{time.monotonic_ns()}")
        self._said: queue.Queue[str] = queue.Queue()
        environment = os.environ | {
            "NOTIFY_SOCKET": "@" + self._socket.getsockname()[1:].decode(),
            "WATCHDOG_USEC": "10000000",
        }
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "error",
                    str(Path(__file__).with_name("tiny_role.py")),
                    how,
                    str(self.config),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                bufsize=1,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def notified(self, wanted: Callable[[str], bool] | str) -> list[str]:
        """The datagrams up to the one that is wanted (or holds the wanted text), this included."""
        fits = wanted if callable(wanted) else lambda told: wanted in told
        deadline = time.monotonic() + PATIENCE
        told: list[str] = []
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                told.append(self._socket.recv(65536).decode())
            except TimeoutError:
                raise AssertionError(f"never notified of {wanted}: {told[-20:]}\n{self.log}") from None
            if fits(told[-1]):
                return told

    def notified_at_once(self) -> list[str]:
        """The datagrams that are there already."""
        told = []
        self._socket.setblocking(False)
        try:
            while True:
                told.append(self._socket.recv(65536).decode())
        except BlockingIOError:
            return told

    def silent_for(self, seconds: float) -> bool:
        """Whether no datagram comes for so long."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(65536)
        except TimeoutError:
            return True
        return False

    def said(self, wanted: str) -> list[str]:
        """What it said up to the wanted line, this included."""
        said: list[str] = []
        while wanted not in said:
            try:
                said.append(self._said.get(timeout=PATIENCE))
            except queue.Empty:
                raise AssertionError(f"never said {wanted!r}, but {said}\n{self.log}") from None
        return said

    def rest(self) -> list[str]:
        """What else it said; only after its end."""
        self._reader.join(PATIENCE)
        return [self._said.get() for _ in range(self._said.qsize())]

    def order(self, order: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(order + "\n")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        return self.process.wait(PATIENCE)

    @property
    def log(self) -> str:
        return self.errors.read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self._socket):
            assert pipe
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._said.put(line.rstrip("\n"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a tiny role that behaves in some way: start("serve", '{"a": "1"}')."""
    started: list[Process] = []

    def begin(how: str, config: str = '{"a": "1"}') -> Process:
        started.append(Process(how, tmp_path, config))
        return started[-1]

    yield begin
    for process in started:
        process.close()
