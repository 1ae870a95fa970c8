"""A whole site for tests, of real processes on loopback: a reception folder, server, client and who listens to them.

    with Site(tmp_path) as site:
        site.start_server()
        site.start_client()
        site.drop("a.dat", b"...")
        site.published(1)                  # waits, with a deadline, for that many messages of the client

Everything waits for events, with DEADLINE seconds at most; nothing is left behind.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
import zmq

from servers.ports import free_port
from tranship.wire.messages import Message, decode, prefix

DEADLINE = 60.0


def wait_for(happened: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """What happened() gives as soon as that is true. Fails, saying what did not happen, after deadline seconds."""
    end = time.monotonic() + deadline
    while not (result := happened()):
        if time.monotonic() > end:
            raise AssertionError(f"within {deadline:g} s not happened: {what}")
        select.select([], [], [], 0.01)
    return result


class Process:
    """A process of the product (or of a peer), its output in a file."""

    def __init__(self, arguments: list[str], log: Path, **environment: str) -> None:
        self.log = log
        self._output = log.open("ab")
        self.popen = subprocess.Popen(
            arguments,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def said(self, text: str, count: int = 1) -> bool:
        """Whether its output holds text so many times."""
        return self.output.count(text) >= count

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def peak_memory(self) -> float:
        """The most memory that it has used so far (MB)."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024

    def until(self, text: str, count: int = 1, deadline: float = DEADLINE) -> Self:
        """Wait until its output holds text so many times; fails at once if it ends before."""

        def happened() -> bool:
            if self.said(text, count):
                return True
            if self.popen.poll() is not None:
                raise AssertionError(f"ended with {self.popen.returncode}:\n{self.output[-4000:]}")
            return False

        try:
            wait_for(happened, f"{text!r} in the output of {self.popen.args!r}", deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output[-4000:]}") from None
        return self

    def kill(self) -> None:
        """kill -9."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, deadline: float = DEADLINE) -> int:
        """SIGTERM; its exit code."""
        self.popen.terminate()
        return self.popen.wait(deadline)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.kill()
        self._output.close()


class Ear:
    """Listens to a publisher, as a plain ZeroMQ subscriber, and keeps what it hears."""

    def __init__(
        self, context: "zmq.Context[Any]", port: int, topic: str = "", by: Mapping[int, bytes] = {}
    ) -> None:
        self.messages: list[Message] = []
        self._socket = context.socket(zmq.SUB)
        for option, key in by.items():
            self._socket.setsockopt(option, key)
        self._socket.rcvhwm = 0
        self._socket.subscribe(prefix(topic))
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def listen(self) -> list[Message]:
        """Everything that was heard so far."""
        with contextlib.suppress(zmq.Again):
            while True:
                self.messages.append(decode(self._socket.recv(zmq.NOBLOCK)))
        return self.messages

    def of(self, *types: str) -> list[Message]:
        """What was heard of these types."""
        return [message for message in self.listen() if message.type in types]

    def until(self, count: int, *types: str, deadline: float = DEADLINE) -> list[Message]:
        """Wait for so many messages of these types (file, if none is given)."""
        types = types or ("file",)
        try:
            wait_for(lambda: len(self.of(*types)) >= count, f"{count} messages of type {types}", deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}; {len(self.of(*types))} came") from None
        return self.of(*types)

    def close(self) -> None:
        self._socket.close(0)


class Site:
    """A reception (`incoming`), a destination (`outgoing`), and the processes between them."""

    topic = "/1b/hrit"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.outgoing = folder / "outgoing"
        self.incoming.mkdir()
        self.outgoing.mkdir()
        self.publish_port, self.request_port, self.client_port = free_port(), free_port(), free_port()
        self.server_options: dict[str, Any] = {}
        self.client_options: dict[str, Any] = {}
        self.chain_options: dict[str, Any] = {}
        self.more_chains: dict[str, dict[str, Any]] = {}
        self.pattern = "{name}.dat"
        self._context: zmq.Context[Any] = zmq.Context()
        self.processes: list[Process] = []
        self._ears: list[Ear] = []
        self.server: Process
        self.client: Process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.close()
        for ear in self._ears:
            ear.close()
        self._context.destroy(0)

    # processes

    def run(self, name: str, arguments: list[str], **environment: str) -> Process:
        """Start a process, its output in <name>.log."""
        process = Process(arguments, self.folder / f"{name}.log", **environment)
        self.processes.append(process)
        return process

    def tranship(self, name: str, *arguments: str, **environment: str) -> Process:
        """Start `tranship …`."""
        return self.run(name, [sys.executable, "-m", "tranship", *arguments], **environment)

    def start_server(self, *flags: str, **environment: str) -> Process:
        """Start the server (again) with `server_config`; return when it is ready."""
        file = self.write("server.yaml", self.server_config())
        self.server = self._ready("server", "server", str(file), *flags, **environment)
        return self.server

    def start_client(self, *flags: str, name: str = "client", **environment: str) -> Process:
        """Start the client (again) with `client_config`; return when it is ready."""
        file = self.write(f"{name}.yaml", self.client_config(name))
        self.client = self._ready(name, "client", str(file), *flags, **environment)
        return self.client

    def _ready(self, name: str, *arguments: str, **environment: str) -> Process:
        log = self.folder / f"{name}.log"
        before = log.read_text().count(" ready") if log.exists() else 0
        return self.tranship(name, *arguments, **environment).until(" ready", before + 1)

    # configuration

    def server_config(self) -> dict[str, Any]:
        return {
            "role": "server",
            "journal": str(self.folder / "server.journal"),
            "publish": self.publish_port,
            **self.server_options,
            "chains": {
                "hrit": {
                    "origin": f"{self.incoming}/{self.pattern}",
                    "topic": self.topic,
                    "request": self.request_port,
                    "allow": [f"file://{self.outgoing}/**"],
                    **self.chain_options,
                },
                **self.more_chains,
            },
        }

    def client_config(self, name: str = "client") -> dict[str, Any]:
        return {
            "role": "client",
            "journal": str(self.folder / f"{name}.journal"),
            "chains": {
                "hrit": {
                    "providers": [f"127.0.0.1:{self.publish_port}"],
                    "topic": self.topic,
                    "destination": f"file://{self.outgoing}/",
                    "publish": self.client_port,
                    **self.client_options,
                }
            },
        }

    def write(self, name: str, config: dict[str, Any]) -> Path:
        """Write a configuration into the site's folder."""
        file = self.folder / name
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        return file

    # files and messages

    def drop(self, name: str, content: bytes) -> Path:
        """Write a file into the reception, as a plain writer does: open, write, close."""
        path = self.incoming / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def drop_many(self, count: int, size: int = 1000, start: int = 0) -> dict[str, bytes]:
        """Drop files of their own random content; their names and contents."""
        made = {f"f{n:06d}.dat": os.urandom(size) for n in range(start, start + count)}
        for name, content in made.items():
            self.drop(name, content)
        return made

    def delivered(self) -> dict[str, bytes]:
        """What lies at the destination, by name."""
        return {path.name: path.read_bytes() for path in self.outgoing.rglob("*") if path.is_file()}

    def ear(self, port: int, topic: str = "", by: Mapping[int, bytes] = {}) -> Ear:
        """Listen to a publisher of this host; by these keys."""
        ear = Ear(self._context, port, topic, by)
        self._ears.append(ear)
        return ear

    @contextlib.contextmanager
    def asking(self, port: int | None = None) -> Iterator[Callable[[bytes], Message]]:
        """A REQ socket of the old kind at the server: a function from frame to reply."""
        asker = self._context.socket(zmq.REQ)
        asker.rcvtimeo = int(DEADLINE * 1000)
        asker.connect(f"tcp://127.0.0.1:{port or self.request_port}")

        def ask(frame: bytes) -> Message:
            asker.send(frame)
            return decode(asker.recv())

        try:
            yield ask
        finally:
            asker.close(0)
