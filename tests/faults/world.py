"""The world of a run: places, real processes, links that can be cut, a small disk, a clock that can be wrong."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from servers.proxy import Fault, Proxy
from stage import Process
from tranship.faultpoints import CLOCK, VARIABLE, Point

from .plan import Options


@dataclass(frozen=True)
class End:
    """Where the files of a place come to lie, and who tells of them there.

    speakers  by process: the port on which it publishes them, about topic
    said      what its messages call the folder, where that tells ends apart ("": whatever they call it)
    kept      whether every file is there and told of at the end, and nothing else
    """

    name: str
    place: str
    folder: Path
    speakers: Mapping[str, int] = field(default_factory=dict)
    topic: str = ""
    said: str = ""
    kept: bool = True


@dataclass
class World:
    """Where everything is. Files are dropped in `incoming` (by place), and go to `ends`.

    bus, link  between the processes; between them and the servers that files go to, or come from
    small      the folder of a file system that can be filled, if there is one
    emptied    folders in which nothing is left at the end
    """

    folder: Path
    options: Options
    incoming: Mapping[str, Path]
    ends: tuple[End, ...]
    bus: Proxy
    link: Proxy
    small: Path | None = None
    emptied: tuple[Path, ...] = ()
    processes: dict[str, Process] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    """Where in its log the present life of each process begins."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.jump(0.0)

    @property
    def folders(self) -> dict[Path, bool]:
        """Where files come to lie, and whether all of them are there at the end."""
        incoming = set(self.incoming.values())
        return {end.folder: end.kept for end in self.ends if end.folder not in incoming}

    def journal(self, process: str) -> Path:
        return self.folder / f"{process}.journal"

    def log(self, process: str) -> Path:
        return self.folder / f"{process}.log"

    def write(self, process: str, config: dict[str, Any]) -> None:
        """Write the configuration of a process."""
        (self.folder / f"{process}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

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
        role = "client" if name == "spare" else name
        process = Process(
            [sys.executable, "-m", "tranship", role, str(self.folder / f"{name}.yaml")],
            log,
            **environment,
        )
        with self.lock:
            self.processes[name] = process
        return process

    def close(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            process.close()

    def running(self) -> list[str]:
        """The processes that work on this world's files."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                told = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if f"{self.folder}/" in told and " tranship " in told:
                    found.append(f"{each.parent.name}: {told}")
        return found

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
        assert self.small is not None
        with contextlib.suppress(OSError), (self.small / BALLAST).open("wb") as ballast:
            while True:
                os.write(ballast.fileno(), bytes(1 << 20))
        with contextlib.suppress(OSError), (self.small / BALLAST).open("ab") as ballast:
            while True:
                os.write(ballast.fileno(), bytes(1 << 12))

    def make_room(self) -> None:
        if self.small is not None:
            (self.small / BALLAST).unlink(missing_ok=True)

    def fault_link(self, fault: Fault) -> None:
        self.link.fault = fault

    def cut_off(self) -> None:
        """Have nobody reach the servers behind the link, until its fault is taken back."""
        self.link.fault = Fault("reset")
        self.link.reset_all()


BALLAST = ".ballast"
