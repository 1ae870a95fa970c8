"""Who looks on: a reader that polls the destinations all the time, plain subscribers to whatever is published."""

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from tranship.wire.messages import Message, decode, prefix

from .plan import File
from .world import End, World


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
    """One message that a process published."""

    by: str
    end: str
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
        """By path."""
        self._version: dict[str, int] = {}
        self.torn: list[str] = []
        self.read = 0

    def look(self) -> None:
        """Once over everything."""
        for folder in self._world.folders:
            self._look_at(folder)
        time.sleep(0.02)

    def _look_at(self, folder: Path) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in self._dropped.versions:
                    with contextlib.suppress(FileNotFoundError):
                        facts = entry.stat()
                        key = facts.st_ino, facts.st_size, facts.st_mtime_ns
                        if self._seen.get(entry.path) != key:
                            self._seen[entry.path] = key
                            self._judge(entry, Path(entry.path).read_bytes())

    def _judge(self, entry: os.DirEntry[str], content: bytes) -> None:
        self.read += 1
        version = self._dropped.version_of(entry.name, content)
        before = self._version.get(entry.path, 0)
        if not version:
            self.torn.append(f"{entry.name}: {len(content)} bytes that no version has, at {entry.path}")
        elif version < before:
            self.torn.append(f"{entry.name}: version {version} came after version {before}, at {entry.path}")
        self._version[entry.path] = max(version, before)


class Ears:
    """Listens to all that is published of files. A file must lie there, whole, when it is said to be there."""

    def __init__(self, world: World, dropped: Dropped) -> None:
        self.dropped = dropped
        self._written = set(world.incoming.values())
        self._context: zmq.Context[Any] = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[Any, tuple[str, list[End]]] = {}
        self.said: list[Said] = []
        self.heard: dict[tuple[str, str, int], list[Said]] = defaultdict(list)
        """By end, name and version."""
        self.untrue: list[str] = []
        for speaker, port in {speaker for end in world.ends for speaker in end.speakers.items()}:
            socket = self._context.socket(zmq.SUB)
            socket.rcvhwm = 0
            socket.reconnect_ivl = 50
            socket.handshake_ivl = 1000  # whoever else has the port meanwhile is left soon
            ends = [end for end in world.ends if end.speakers.get(speaker) == port]
            for end in ends:
                socket.subscribe(prefix(end.topic))
            socket.connect(f"tcp://127.0.0.1:{port}")
            self._poller.register(socket, zmq.POLLIN)
            self._sockets[socket] = speaker, ends

    def listen(self) -> None:
        """Take what has come, or wait a little for it."""
        for socket, _ in self._poller.poll(50):
            with contextlib.suppress(zmq.Again):
                while True:
                    self._hear(*self._sockets[socket], socket.recv(zmq.NOBLOCK))

    def _hear(self, speaker: str, ends: Sequence[End], frame: bytes) -> None:
        message = decode(frame)
        if message.type != "file":
            return
        name, facts = message.data["uid"], message.data["tranship"]
        end = next(each for each in ends if _is_about(each, message))
        sizes = {file.size: file.version for file in self.dropped.versions[name]}
        told = facts.get("id") or f"{facts['server']} {facts['seq']}"
        said = Said(speaker, end.name, name, sizes.get(facts["size"], 0), told, time.monotonic())
        self.said.append(said)
        self.heard[end.name, name, said.version].append(said)
        if end.folder not in self._written:
            self._look_at(end, said)

    def _look_at(self, end: End, said: Said) -> None:
        try:
            content = (end.folder / said.name).read_bytes()
        except FileNotFoundError:
            self.untrue.append(f"{said.name}: published at {end.name}, and not there")
            return
        version = self.dropped.version_of(said.name, content)
        if not said.version or version < said.version:
            self.untrue.append(
                f"{said.name}: published at {end.name} as version {said.version}, there is {version}"
            )

    def close(self) -> None:
        self._context.destroy(0)


def _is_about(end: End, message: Message) -> bool:
    """Whether message tells of a file at end."""
    in_topic = message.subject.startswith(end.topic)
    return in_topic and (not end.said or os.path.dirname(str(message.data["uri"])) == end.said)
