"""The world of a run: places, real processes, links that can be cut, a small disk, a clock that can be wrong."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from servers.proxy import Fault, Proxy, Route
from servers.ssh import PASSWORD, USER, asyncsshd
from stage import Process, free_port
from tranship.faultpoints import CLOCK, VARIABLE, Point

from .plan import PLACES, Options

SMALL_MB = 64
"""The size of the file system that fills up."""


@dataclass
class World:
    """Where everything is. `ears`: (process, place) -> the port on which it publishes arrivals."""

    folder: Path
    options: Options
    ssh: Any
    bus: Proxy
    link: Proxy
    ports: dict[str, int]
    ears: dict[tuple[str, str], int]
    small_can_fill: bool
    processes: dict[str, Process] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    """Where in its log the present life of each process begins."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def incoming(self, place: str) -> Path:
        return self.folder / "incoming" / place

    def outgoing(self, place: str) -> Path:
        """Where what was delivered lies."""
        return Path(self.ssh.folder) if place == "remote" else self.folder / "outgoing" / place

    def journal(self, process: str) -> Path:
        return self.folder / f"{process}.journal"

    def log(self, process: str) -> Path:
        return self.folder / f"{process}.log"

    # processes

    def until_ready(self, name: str, process: Process, deadline: float = 60.0) -> bool:
        """Wait until a process is ready, or has ended; whether it is ready. Frozen ones take their time."""
        end = time.monotonic() + deadline
        while process.popen.poll() is None and time.monotonic() < end:
            with self.log(name).open("rb") as log:
                log.seek(self.begins[name])
                if b" ready" in log.read():
                    return True
            time.sleep(0.05)
        return False

    def start(self, name: str, point: Point | None = None, times: int = 1) -> Process:
        """Start a process, to die at a point if one is given."""
        environment = {CLOCK: str(self.folder / "clock")}
        if point is not None:
            environment[VARIABLE] = f"{point}:{times}"
        log = self.log(name)
        self.begins[name] = log.stat().st_size if log.exists() else 0
        role = "server" if name == "server" else "client"
        process = Process(
            [sys.executable, "-m", "tranship", role, str(self.folder / f"{name}.yaml")],
            log,
            **environment,
        )
        with self.lock:
            self.processes[name] = process
        return process

    def freeze(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: int) -> None:
        process = self.processes.get(name)
        if process is not None and process.popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.popen.send_signal(number)

    # weather

    def jump(self, seconds: float) -> None:
        """Have everybody's clock be wrong by seconds."""
        fresh = self.folder / "clock.new"
        fresh.write_text(str(seconds))
        fresh.replace(self.folder / "clock")

    def fill(self) -> None:
        """Leave no room on the small file system."""
        with contextlib.suppress(OSError), (self.outgoing("small") / ".ballast").open("wb") as ballast:
            while True:
                os.write(ballast.fileno(), bytes(1 << 20))
        with contextlib.suppress(OSError), (self.outgoing("small") / ".ballast").open("ab") as ballast:
            while True:
                os.write(ballast.fileno(), bytes(1 << 12))

    def make_room(self) -> None:
        (self.outgoing("small") / ".ballast").unlink(missing_ok=True)

    def fault_link(self, fault: Fault) -> None:
        self.link.fault = fault


@contextlib.contextmanager
def world(folder: Path, options: Options) -> Iterator[World]:
    """A world in folder, with nobody in it yet; who is started is killed in the end."""
    with contextlib.ExitStack() as stack:
        for place in PLACES:
            (folder / "incoming" / place).mkdir(parents=True)
            (folder / "outgoing" / place).mkdir(parents=True)
        small = _mounted(folder / "outgoing" / "small", stack)
        ssh = stack.enter_context(asyncsshd())
        link = stack.enter_context(Proxy(Route(("127.0.0.1", ssh.port))))
        ssh.knows(link.port)
        ports = {name: free_port() for name in ("publish", *PLACES)}
        routes = [Route(("127.0.0.1", port), ("127.0.0.2", port)) for port in ports.values()]
        bus = stack.enter_context(Proxy(*routes))
        clients = [name for name in options.processes if name != "server"]
        ears = {(name, place): free_port() for name in clients for place in PLACES}
        made = World(folder, options, ssh, bus, link, ports, ears, small)
        made.jump(0.0)
        _write(folder / "server.yaml", _server(made))
        (folder / "login").touch(0o600)
        (folder / "login").write_text(f"{USER}:{PASSWORD}")
        for name in clients:
            _write(folder / f"{name}.yaml", _client(made, name))
        stack.callback(lambda: [process.close() for process in made.processes.values()])
        yield made


def _mounted(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Give folder a small file system of its own, where that is allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m,mode=0777", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        return False
    stack.callback(lambda: subprocess.run(["umount", "-l", str(folder)], check=False))
    return True


def _write(file: Path, config: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(config, sort_keys=False))


def _server(world: World) -> dict[str, Any]:
    remote = {
        "allow": [f"sftp://{USER}@127.0.0.1:{world.link.port}/**"],
        "connection_parameters": {"known_hosts": str(world.ssh.known_hosts), "timeout": "4 s"},
    }
    local = {"delete": True, "remove_delay": "1 s"}
    return {
        "role": "server",
        "journal": str(world.journal("server")),
        "publish": world.ports["publish"],
        "heartbeat": "2 s",
        "chains": {
            place: {
                "origin": f"{world.incoming(place)}/{{name}}.dat",
                "topic": f"/faults/{place}",
                "request": world.ports[place],
                "request_address": "127.0.0.2",
                "scan_interval": "5 s",
                "allow": [f"file://{world.outgoing(place)}/**"],
                **({"remote": remote, "local": local}.get(place, {})),
            }
            for place in PLACES
        },
    }


def _client(world: World, name: str) -> dict[str, Any]:
    def chain(place: str) -> dict[str, Any]:
        providers = [f"127.0.0.2:{world.ports['publish']}"]
        if name == "spare":
            providers.append(f"127.0.0.1:{world.ears['client', place]}")
        return {
            "providers": providers,
            "topic": f"/faults/{place}",
            "destination": _destination(world, place),
            "publish": world.ears[name, place],
            "heartbeat": "2 s",
            "heartbeat_alarm_scale": 3,
            "transfer_req_timeout": "4 s",
            "lease": "6 s",
            **({"login_file": str(world.folder / "login")} if place == "remote" else {}),
            **({"processing_delay": "0.5 s"} if name == "spare" else {}),
        }

    return {
        "role": "client",
        "journal": str(world.journal(name)),
        "chains": {place: chain(place) for place in PLACES},
    }


def _destination(world: World, place: str) -> str:
    if place == "remote":
        return f"sftp://127.0.0.1:{world.link.port}/"
    return f"file://{world.outgoing(place)}/"
