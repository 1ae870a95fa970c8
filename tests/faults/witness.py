"""Who looks on: a reader that polls the destinations all the time, and plain subscribers to whatever is published."""

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from tranship.wire.messages import decode, prefix

from .plan import PLACES, File
from .world import World


@dataclass
class Dropped:
    """What was dropped so far, by name: the versions in order."""

    versions: dict[str, list[File]] = field(default_factory=lambda: defaultdict(list))

    def add(self, file: File) -> None:
        self.versions[file.name].append(file)

    def version_of(self, name: str, content: bytes) -> int:
        """Which version has this content; 0 if none has."""
        found = [
            f.version for f in self.versions.get(name, ()) if f.size == len(content) and f.content == content
        ]
        return found[0] if found else 0


@dataclass(frozen=True)
class Said:
    """One message that a client published."""

    client: str
    place: str
    name: str
    version: int
    id: str
    at: float


class Thread:
    """Something that is done again and again until told to stop; what it raises is raised by `stop`."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self._act = act
        self._end = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> "Thread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self._act()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error


class Reader:
    """Reads whatever appears or changes under a final name: it must be a version, and none before the last."""

    def __init__(self, world: World, dropped: Dropped) -> None:
        self._world = world
        self._dropped = dropped
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._version: dict[str, int] = {}
        self.torn: list[str] = []
        self.read = 0

    def look(self) -> None:
        """Once over everything."""
        for place in PLACES:
            self._look_at(self._world.outgoing(place))
        time.sleep(0.02)

    def _look_at(self, folder: Path) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in self._dropped.versions:
                    with contextlib.suppress(FileNotFoundError):
                        facts = entry.stat()
                        key = facts.st_ino, facts.st_size, facts.st_mtime_ns
                        if self._seen.get(entry.name) != key:
                            self._seen[entry.name] = key
                            self._judge(entry.name, Path(entry.path).read_bytes())

    def _judge(self, name: str, content: bytes) -> None:
        self.read += 1
        version = self._dropped.version_of(name, content)
        before = self._version.get(name, 0)
        if not version:
            self.torn.append(f"{name}: {len(content)} bytes that no version has")
        elif version < before:
            self.torn.append(f"{name}: version {version} came after version {before}")
        self._version[name] = max(version, before)


class Ears:
    """Listens to all arrivals that the clients publish. A file must lie there, whole, when it is published."""

    def __init__(self, world: World, dropped: Dropped) -> None:
        self._world = world
        self._dropped = dropped
        self._context: zmq.Context[Any] = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[Any, tuple[str, str]] = {}
        self.said: list[Said] = []
        self.heard: dict[tuple[str, int], list[Said]] = defaultdict(list)
        self.untrue: list[str] = []
        for whom, port in world.ears.items():
            socket = self._context.socket(zmq.SUB)
            socket.rcvhwm = 0
            socket.reconnect_ivl = 50
            socket.handshake_ivl = 1000  # whoever else has the port meanwhile is left soon
            socket.subscribe(prefix(f"/faults/{whom[1]}"))
            socket.connect(f"tcp://127.0.0.1:{port}")
            self._poller.register(socket, zmq.POLLIN)
            self._sockets[socket] = whom

    def listen(self) -> None:
        """Take what has come, or wait a little for it."""
        for socket, _ in self._poller.poll(50):
            with contextlib.suppress(zmq.Again):
                while True:
                    self._hear(*self._sockets[socket], socket.recv(zmq.NOBLOCK))

    def _hear(self, client: str, place: str, frame: bytes) -> None:
        message = decode(frame)
        if message.type != "file":
            return
        name, facts = message.data["uid"], message.data["tranship"]
        sizes = {file.size: file.version for file in self._dropped.versions[name]}
        said = Said(client, place, name, sizes.get(facts["size"], 0), facts["id"], time.monotonic())
        self.said.append(said)
        self.heard[name, said.version].append(said)
        try:
            content = (self._world.outgoing(place) / name).read_bytes()
        except FileNotFoundError:
            self.untrue.append(f"{name}: published, and not there")
            return
        version = self._dropped.version_of(name, content)
        if not said.version or version < said.version:
            self.untrue.append(f"{name}: published as version {said.version}, there is {version}")

    def close(self) -> None:
        self._context.destroy(0)
