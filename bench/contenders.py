"""Who is measured: each a set of real processes that move files from a folder to another and publish them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
import zmq

DEADLINE = 600.0
TOPIC = "/bench"


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Usage:
    """What a process has used: CPU seconds and its peak memory (MB)."""

    cpu: float
    peak: float


@dataclass
class Contender:
    """Processes between `incoming` and `outgoing`, which publish on `port` and announce on `announced`."""

    name: str
    folder: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    announced: int = field(default_factory=free_port)
    request: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.incoming, self.outgoing = self.folder / "in", self.folder / "out"
        for path in (self.incoming, self.outgoing):
            path.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start(self) -> None:
        """Start the processes; return when they work."""
        raise NotImplementedError

    def run(self, name: str, *arguments: str) -> None:
        """Start one process, its output in a file."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], stdout=log, stderr=log, start_new_session=True, cwd=Path.cwd()
            )

    def until_said(self, name: str, text: str) -> None:
        """Wait until a process has said text."""
        log, end = self.folder / f"{name}.log", time.monotonic() + DEADLINE
        while text not in log.read_text(errors="replace"):
            if time.monotonic() > end or self.processes[name].poll() is not None:
                raise SystemExit(f"{self.name} {name} did not say {text!r}:\n{log.read_text()[-3000:]}")
            time.sleep(0.02)

    def usage(self) -> dict[str, Usage]:
        """What each process has used so far."""
        return {name: _usage(process.pid) for name, process in self.processes.items()}


class Tranship(Contender):
    """Our server and client."""

    def start(self) -> None:
        self.start_server()
        client = {
            "role": "client",
            "journal": str(self.folder / "client.journal"),
            "chains": self.client_chains(),
        }
        self._start("client", client)

    def start_server(self) -> None:
        """The server alone."""
        server = {
            "role": "server",
            "journal": str(self.folder / "server.journal"),
            "publish": self.announced,
            "chains": self.server_chains(),
        }
        self._start("server", server)

    def server_chains(self) -> dict[str, dict[str, Any]]:
        """What the server watches."""
        return {
            "bench": {
                "origin": f"{self.incoming}/{{name}}.dat",
                "topic": TOPIC,
                "request": self.request,
                "allow": [f"file://{self.outgoing}/**"],
            }
        }

    def client_chains(self) -> dict[str, dict[str, Any]]:
        """Where the client has it brought."""
        return {
            "bench": {
                "providers": [f"127.0.0.1:{self.announced}"],
                "topic": TOPIC,
                "destination": f"file://{self.outgoing}/",
                "publish": self.port,
            }
        }

    def _start(self, role: str, config: dict[str, Any]) -> None:
        file = self.folder / f"{role}.yaml"
        file.write_text(yaml.safe_dump(config))
        self.run(role, "-m", "tranship", role, str(file))
        self.until_said(role, " ready")


class Trollmoves(Contender):
    """The peer's server and client, from PyPI, configured alike."""

    def start(self) -> None:
        self.start_server()
        (self.folder / "client.ini").write_text(
            f"[bench]\nproviders=127.0.0.1:{self.announced}\ndestination=file://{self.outgoing}/\n"
            f"topic={TOPIC}\npublish_port={self.port}\nnameservers=false\n"
        )
        self._start("client", str(self.folder / "client.ini"))

    def start_server(self) -> None:
        """The server alone."""
        (self.folder / "server.ini").write_text(
            f"[bench]\norigin={self.incoming}/{{name}}.dat\ntopic={TOPIC}\nrequest_port={self.request}\n"
            f"request_address=127.0.0.1\n"
        )
        self._start("server", "-p", str(self.announced), str(self.folder / "server.ini"))

    def _start(self, role: str, *arguments: str) -> None:
        script = Path(sys.executable).with_name(f"move_it_{role}.py")
        self.run(role, str(script), *arguments)
        if role == "server":
            _until_bound(self.announced)
            _until_bound(self.request)
        else:
            _until_bound(self.port)
        time.sleep(4)  # it says nowhere that it is ready; its server looks at old files after 3 s


class Bare(Contender):
    """One process without protocol."""

    def start(self) -> None:
        self.run("loop", "-m", "bench.bare", str(self.incoming), str(self.outgoing), str(self.port))
        self.until_said("loop", "ready")


class Ear:
    """Hears what is published, in a thread of its own, with the time of each file's message."""

    def __init__(self, port: int, types: tuple[bytes, ...] = (b"file",)) -> None:
        self.heard: dict[str, float] = {}
        self._types = types
        self._stop = threading.Event()
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.rcvhwm = 0
        self._socket.subscribe(b"pytroll:/")
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        time.sleep(1.5)  # a subscription takes a moment, and is answered by nobody

    def until(self, count: int) -> float:
        """Wait until so many files were heard of; the time (monotonic) of the last."""
        end = time.monotonic() + DEADLINE
        while len(self.heard) < count:
            if time.monotonic() > end:
                raise SystemExit(f"{len(self.heard)} of {count} files were heard of in {DEADLINE:g} s")
            time.sleep(0.01)
        return max(self.heard.values())

    def close(self) -> None:
        """Listen no more."""
        self._stop.set()
        self._thread.join()
        self._socket.close(0)

    def _listen(self) -> None:
        while not self._stop.is_set():
            if not self._socket.poll(100):
                continue
            frame = self._socket.recv()
            now = time.monotonic()
            if frame.split(None, 2)[1] in self._types:
                begin = frame.find(b'"uid": "') + 8
                self.heard[frame[begin : frame.index(b'"', begin)].decode()] = now


@contextlib.contextmanager
def listening(port: int) -> Iterator[Ear]:
    """An ear for a while."""
    ear = Ear(port)
    try:
        yield ear
    finally:
        ear.close()


def _until_bound(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            probe.settimeout(1)
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on port {port}")


def _usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / ticks, int(peak.split()[1]) / 1024)
