"""`tranship demo`: the main job, live: a temporary reception, a real server and client, real files."""

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import yaml
import zmq
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from tranship.wire.messages import decode, files, prefix

TOPIC = "/demo/hrit"
PATTERN = (
    "H-000-{platform_name:_<6s}-{series:_<12s}-{channel:_<9s}-{segment:_<9s}-{nominal_time:%Y%m%d%H%M}"
    "-{compression:1s}_"
)
CHANNELS = (
    "HRV",
    "IR_016",
    "IR_039",
    "IR_087",
    "IR_097",
    "IR_108",
    "IR_120",
    "IR_134",
    "VIS006",
    "VIS008",
    "WV_062",
)
SEGMENTS = 8
START_WITHIN = 30.0
FINISH_WITHIN = 60.0


def demo(
    bursts: Annotated[int, typer.Option(min=1, help="How many image slots are received.")] = 5,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds from one slot to the next.")] = 2.0,
) -> None:
    """Show the main job: files are received in bursts, announced, requested, moved, verified and published."""
    console = Console()
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="tranship-demo-") as folder:
        site = _Site(Path(folder))
        console.print(
            f"[bold]Tranship demo[/]: a server and a client between {site.incoming} and {site.outgoing}\n"
        )
        with _listening(site) as seen, _processes(site):
            _until_ready(site)
            with _receiving(site, seen, bursts, every):
                _show(console, site, seen, bursts)
        _sum_up(console, site, seen)


@dataclass
class _Site:
    folder: Path

    def __post_init__(self) -> None:
        self.announcing, self.requesting, self.publishing = _free_port(), _free_port(), _free_port()
        self.incoming, self.outgoing = self.folder / "reception", self.folder / "processing"
        self.incoming.mkdir()
        self.outgoing.mkdir()
        self._write(
            "server",
            publish=self.announcing,
            chain={
                "origin": str(self.incoming / PATTERN),
                "topic": TOPIC,
                "info": {"sensor": "seviri"},
                "request": self.requesting,
                "allow": [f"file://{self.outgoing}/**"],
            },
        )
        self._write(
            "client",
            chain={
                "providers": [f"127.0.0.1:{self.announcing}"],
                "topic": TOPIC,
                "destination": f"file://{self.outgoing}/{{nominal_time:%Y%m%d%H%M}}/",
                "publish": self.publishing,
            },
        )

    def _write(self, role: str, chain: dict[str, Any], **options: Any) -> None:
        journal = str(self.folder / f"{role}.journal")
        config = {"role": role, "journal": journal, "curve": None, **options, "chains": {"hrit": chain}}
        (self.folder / f"{role}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def log(self, role: str) -> str:
        """What a process has said."""
        path = self.folder / f"{role}.log"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class _Seen:
    """What was written and heard, by file name and time; written by two threads, read by a third."""

    closed: dict[str, float] = field(default_factory=dict)
    announced: dict[str, float] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    bytes: int = 0
    received_all: bool = False

    def latencies(self) -> list[float]:
        """Milliseconds from closed to published, sorted."""
        published = list(self.published.items())
        return sorted((at - self.closed[name]) * 1000 for name, at in published if name in self.closed)

    @property
    def finished(self) -> bool:
        return self.received_all and len(self.published) >= len(self.closed)


def _leave(number: int, _: FrameType | None) -> None:
    """Asked to stop: leave nothing behind."""
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _receiving(site: _Site, seen: _Seen, bursts: int, every: float) -> Iterator[None]:
    stop = threading.Event()
    writer = threading.Thread(target=_receive, args=(site, seen, bursts, every, stop), daemon=True)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def _receive(site: _Site, seen: _Seen, bursts: int, every: float, stop: threading.Event) -> None:
    """Write slots as a reception does: all segments of all channels, as fast as they come."""
    begun = time.time()
    for burst in range(bursts):
        if stop.wait(max(0.0, begun + burst * every - time.time())):
            return
        slot = time.strftime("%Y%m%d%H%M", time.gmtime(begun // 900 * 900 + burst * 900))
        for segment in range(1, SEGMENTS + 1):
            for channel in CHANNELS:
                name = f"H-000-MSG4__-{'MSG4':_<12}-{channel:_<9}-{segment:06d}___-{slot}-C_"
                content = random.randbytes(random.randint(30_000, 250_000))
                with (site.incoming / name).open("wb") as file:
                    file.write(content)
                seen.bytes += len(content)
                seen.closed[name] = time.time()
    seen.received_all = True


@contextlib.contextmanager
def _listening(site: _Site) -> Iterator[_Seen]:
    """Hear server and client as any downstream process does."""
    seen, stop = _Seen(), threading.Event()
    context: zmq.Context[Any] = zmq.Context()
    server, client = context.socket(zmq.SUB), context.socket(zmq.SUB)
    for subscriber, port in ((server, site.announcing), (client, site.publishing)):
        subscriber.rcvhwm = 0
        subscriber.subscribe(prefix(TOPIC))
        subscriber.connect(f"tcp://127.0.0.1:{port}")

    def listen() -> None:
        heard = {
            (server, "file"): seen.announced,
            (client, "ack"): seen.moved,
            (client, "file"): seen.published,
        }
        poller = zmq.Poller()
        poller.register(server, zmq.POLLIN)
        poller.register(client, zmq.POLLIN)
        while not stop.is_set():
            for subscriber, _ in poller.poll(100):
                message = decode(subscriber.recv())
                times = heard.get((subscriber, message.type), {})
                for item in files(message.data):
                    times.setdefault(item["uid"], time.time())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield seen
    finally:
        stop.set()
        listener.join()
        context.destroy(0)


@contextlib.contextmanager
def _processes(site: _Site) -> Iterator[None]:
    running = []
    try:
        for role in ("server", "client"):
            with (site.folder / f"{role}.log").open("wb") as log:
                command = [sys.executable, "-m", "tranship", role, str(site.folder / f"{role}.yaml")]
                running.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_ready(site: _Site) -> None:
    end = time.monotonic() + START_WITHIN
    while not all(" ready" in site.log(role) for role in ("server", "client")):
        if time.monotonic() > end:
            raise SystemExit(f"the processes did not start:\n{site.log('server')}\n{site.log('client')}")
        time.sleep(0.05)
    time.sleep(1.5)  # what is published before subscribers have connected is heard by nobody


def _show(console: Console, site: _Site, seen: _Seen, bursts: int) -> None:
    begun, end = time.monotonic(), None
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        while True:
            live.update(_picture(site, seen, bursts, time.monotonic() - begun))
            if seen.finished:
                return
            if seen.received_all:
                end = end or time.monotonic() + FINISH_WITHIN
                if time.monotonic() > end:
                    raise SystemExit(f"not everything arrived:\n{site.log('server')}\n{site.log('client')}")
            time.sleep(0.12)


def _picture(site: _Site, seen: _Seen, bursts: int, seconds: float) -> Group:
    table = Table(title=f"{seconds:4.1f} s, {bursts} slots of {len(CHANNELS) * SEGMENTS} segments")
    for column in (
        "received",
        "announced",
        "moved, verified",
        "published",
        "MB",
        "files/s",
        "p50 ms",
        "p99 ms",
    ):
        table.add_column(column, justify="right")
    times = seen.latencies()
    counts = [str(len(one)) for one in (seen.closed, seen.announced, seen.moved, seen.published)]
    lately = sum(1 for at in list(seen.published.values()) if at > time.time() - 1)
    table.add_row(
        *counts, f"{seen.bytes / 1e6:.0f}", str(lately), _quantile(times, 0.5), _quantile(times, 0.99)
    )
    lines = [line for line in site.log("client").splitlines() if "published " in line][-3:]
    return Group(table, Panel("\n".join(line[:150] for line in lines) or "…", title="the client's log"))


def _sum_up(console: Console, site: _Site, seen: _Seen) -> None:
    times = seen.latencies()
    arrived = {path.name: path.stat().st_size for path in site.outgoing.rglob("*") if path.is_file()}
    sent = {path.name: path.stat().st_size for path in site.incoming.iterdir()}
    same = "the same names and sizes as received" if arrived == sent else "NOT what was received"
    console.print(
        f"\n{len(arrived)} files arrived, {same}; each was announced, moved, verified and published."
    )
    console.print(
        f"From closed by the writer to published: p50 {_quantile(times, 0.5)} ms, p99 {_quantile(times, 0.99)} ms,"
        f" max {_quantile(times, 1.0)} ms."
    )
    status = [sys.executable, "-m", "tranship", "status", "--json", str(site.folder / "client.journal")]
    told = json.loads(subprocess.run(status, check=True, capture_output=True, timeout=30).stdout)
    numbers = ", ".join(
        f"{word} {number}" for word, number in told[0]["rows"][0]["numbers"].items() if number
    )
    console.print(f"The client's journal says: {numbers}\n")
    console.print("[bold]Next:[/]")
    for command, what in (
        ("tranship check config/server.yaml", "what is wrong with a configuration, by file and line"),
        ("tranship server FILE", "run a server; `tranship client FILE` a client (see README.md)"),
        ("tranship request ping HOST:PORT", "ask a server by hand; also `info` and `push`"),
        ("tranship status FILE", "what was done and what is owed, from the journals"),
        ("tranship trace NAME FILE …", "the way of one file, step by step"),
    ):
        console.print(f"  {command:36} {what}", highlight=False)
    if arrived != sent:
        raise SystemExit(1)


def _quantile(times: list[float], share: float) -> str:
    return f"{times[min(len(times) - 1, int(len(times) * share))]:.1f}" if times else "-"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
