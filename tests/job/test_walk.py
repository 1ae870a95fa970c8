"""The walk server -> mirror -> client -> dispatcher, each place taken by us or by Trollmoves as it comes from PyPI.

Few processes make all combinations: a server, a mirror and a dispatcher of each kind, and per mirror a client of each
kind; what each has heard from whom, the topic and the item `walk` of the message tell.
"""

import os
import sys
from itertools import product
from pathlib import Path

from posttroll.message import Message as Theirs

from stage import Ear, Process, Site, free_port, wait_for
from tranship.wire.messages import Message

KINDS = ("tranship", "trollmoves")
DISPATCHERS = KINDS
FILES = 5
WALKS = tuple(product(KINDS, KINDS, KINDS))
"""Of a file as a client tells of it: by which server, mirror and client it went."""

SERVER = """\
[{kind}]
origin = {folder}/in-{kind}/{{series}}-{{segment:04d}}-{{start_time:%Y%m%d%H%M}}.dat
topic = /1b/{kind}
info = sensor=seviri;walk=none
request_port = {request}
request_address = 127.0.0.1
"""

MIRROR = """\
[{server}]
origin = {folder}/in-{server}/{{name}}.dat
topic = /1b/{server}
client_topic = /1b/{server}
providers = 127.0.0.1:{provider}
destination = file://{folder}/copies-{kind}-{server}/
request_port = {request}
request_address = 127.0.0.1
delete = True
remove_delay = 60
"""

CLIENT = """\
[{server}-{mirror}-{kind}]
providers = 127.0.0.1:{provider}
destination = file://{folder}/arrived/{server}-{mirror}-{kind}/
topic = /1b/{server}
publish_port = {publish}
nameservers = false
walk = {server}-{mirror}-{kind}
"""

LATER = "processing_delay = 1\n"
"""For their client at their mirror: this one fails whom it is asked by while it brings a file for somebody else (our
client), and that one gives up then."""

DISPATCHER = """\
posttroll_subscriber:
  subscribe_addresses: [{addresses}]
  nameserver: false
target:
  host: ""
  directory: {folder}/dispatched-{kind}/{{walk}}
  filepattern: "{{series}}-{{segment:04d}}.out"
  publish_topic: /dispatched/{{walk}}
  dispatch_configs:
    - topics: [/1b]
"""

MOVE_IT_MIRROR = """\
from trollmoves import mirror, move_it_mirror

class Silent:
    def send(self, text):
        pass

class Mirror(mirror.MoveItMirror):
    def create_listener_notifier(self, function_to_run):
        options = function_to_run.keywords["chain_config"]
        listeners = super().create_listener_notifier(dict(options), self.publisher)
        options["publisher"] = Silent()
        return listeners

move_it_mirror.MoveItMirror = Mirror
move_it_mirror.main()
"""
"""Trollmoves' move_it_mirror.py. As it is published it stumbles over itself: it makes its listeners with an argument
less than they want, and asks upstream with no publisher to tell of it."""


class Walk(Site):
    """All of them, started from the configuration files of Trollmoves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._servers = {kind: free_port() for kind in KINDS}
        self._mirrors = {kind: free_port() for kind in KINDS}
        self._clients = {walk: free_port() for walk in WALKS}
        self._dispatchers = {kind: free_port() for kind in DISPATCHERS}
        self.told = {walk: self.ear(port, "/1b") for walk, port in self._clients.items()}
        self.dispatched = {kind: self.ear(port, "/dispatched") for kind, port in self._dispatchers.items()}
        self.mirrors: dict[str, Process] = {}
        for kind in KINDS:
            (folder / f"in-{kind}").mkdir()
            for server in KINDS:
                (folder / f"copies-{kind}-{server}").mkdir()

    def start(self) -> None:
        """Start everything."""
        for kind in KINDS:
            text = SERVER.format(kind=kind, folder=self.folder, request=free_port())
            self._start("server", kind, self._file(f"server-{kind}", text), "-p", str(self._servers[kind]))
        for kind in KINDS:
            parts = {"kind": kind, "folder": self.folder}
            text = "".join(
                MIRROR.format(**parts, server=server, provider=port, request=free_port())
                for server, port in self._servers.items()
            )
            self._file(f"mirror-{kind}", text)
            self.start_mirror(kind)
        for mirror, kind in product(KINDS, KINDS):
            parts = {"kind": kind, "mirror": mirror, "provider": self._mirrors[mirror], "folder": self.folder}
            text = "".join(
                CLIENT.format(**parts, server=server, publish=self._clients[server, mirror, kind])
                + (LATER if mirror == kind == "trollmoves" else "")
                for server in KINDS
            )
            self._start("client", kind, self._file(f"client-{mirror}-{kind}", text))
        for kind, port in self._dispatchers.items():
            addresses = ", ".join(f"tcp://127.0.0.1:{client}" for client in self._clients.values())
            text = DISPATCHER.format(kind=kind, folder=self.folder, addresses=addresses)
            self._start("dispatcher", kind, self._file(f"dispatcher-{kind}", text), "-p", str(port))

    def start_mirror(self, kind: str) -> Process:
        """Start a mirror, or start it again."""
        process = self._start("mirror", kind, self.folder / f"mirror-{kind}", "-p", str(self._mirrors[kind]))
        self.mirrors[kind] = process
        return process

    def _start(self, role: str, kind: str, file: Path, *flags: str) -> Process:
        if kind == "tranship":
            return self.tranship(file.name, role, str(file), *flags, XDG_STATE_HOME=str(self.folder))
        scripts = {"dispatcher": "dispatcher.py"}
        command = (
            ["-c", MOVE_IT_MIRROR] if role == "mirror" else [script(scripts.get(role, f"move_it_{role}.py"))]
        )
        return self.run(file.name, [sys.executable, *command, str(file), *flags])

    def _file(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.write_text(text)
        return file

    # files

    def drop_into(self, kind: str, series: str, count: int) -> dict[str, bytes]:
        """Drop files into the reception of a server; their names and contents."""
        files = {f"{series}_{kind}-{n:04d}-202601011200.dat": os.urandom(1000) for n in range(count)}
        for name, content in files.items():
            path = self.folder / f"in-{kind}" / name
            part = path.with_suffix(".part")
            part.write_bytes(content)
            part.rename(path)
        return files

    def until_all_work(self) -> None:
        """Trollmoves does not say when it is ready: drop files until one was heard of everywhere."""
        ears = {**self.told, **{("dispatcher", kind): ear for kind, ear in self.dispatched.items()}}
        numbers = iter(range(1000))

        def silent() -> list[tuple[str, ...]]:
            return [walk for walk, ear in ears.items() if not ear.of("file")]

        def works() -> bool:
            number = next(numbers)
            for kind in KINDS:
                self.drop_into(kind, f"try{number}", 1)
            try:
                return bool(wait_for(lambda: not silent(), "", 1))
            except AssertionError:
                return False

        try:
            wait_for(works, "a first file on every walk", 90)
        except AssertionError as error:
            raise AssertionError(f"{error}; nothing was told by {silent()}") from None

    def about(self, ear: Ear, series: str) -> dict[str, list[Message]]:
        """By uid what was said of the files of series."""
        said: dict[str, list[Message]] = {}
        for message in ear.of("file"):
            if str(message.data["series"]).startswith(f"{series}_"):
                said.setdefault(message.data["uid"], []).append(message)
        return said

    def plain(self, message: Message, *walk: str) -> dict[str, str]:
        """What message says, as posttroll reads it, without what tells the walks apart or is ours only."""
        theirs = Theirs(rawstr=message.encode().decode())
        told = {key: repr(value) for key, value in theirs.data.items() if key not in ("tranship", "origin")}
        text = repr({"subject": theirs.subject, "type": theirs.type, **told})
        for words in (
            "-".join(walk),
            *(f"/1b/{kind}" for kind in KINDS),
            *(f"{before}{kind}" for kind in KINDS for before in ("_", "dispatched-")),
        ):
            text = text.replace(words, "<walk>")
        return {"text": text, "keys": repr(sorted(told))}


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_every_walk_brings_the_same_files_and_messages(tmp_path: Path) -> None:
    with Walk(tmp_path) as walk:
        walk.start()
        walk.until_all_work()
        files = {kind: walk.drop_into(kind, "MSG", FILES) for kind in KINDS}
        theirs = ("trollmoves",) * 3
        for way, ear in walk.told.items():
            wanted = files[way[0]]
            wait_for(lambda e=ear: len(walk.about(e, "MSG")) == FILES, f"{FILES} files told by {way}", 60)
            folder = tmp_path / "arrived" / "-".join(way)
            assert {name: (folder / name).read_bytes() for name in wanted} == wanted
        said = {way: walk.about(ear, "MSG") for way, ear in walk.told.items()}
        for way, messages in said.items():
            for n, (told, other) in enumerate(
                zip(sorted(messages.items()), sorted(said[theirs].items()), strict=True)
            ):
                assert walk.plain(told[1][0], *way) == walk.plain(other[1][0], *theirs), (way, n)
                assert len(told[1]) == 1, way
        for kind, ear in walk.dispatched.items():
            count = FILES * len(WALKS)
            wait_for(
                lambda e=ear, n=count: sum(map(len, walk.about(e, "MSG").values())) >= n,
                f"{count} dispatched by {kind}",
                60,
            )
            for way in WALKS:
                folder = tmp_path / f"dispatched-{kind}" / "-".join(way)
                assert sorted(path.read_bytes() for path in folder.glob("MSG_*.out")) == sorted(
                    files[way[0]].values()
                )
        said = {
            (kind, way): [m for m in ear.of("file") if m.subject == f"/dispatched/{'-'.join(way)}"]
            for (kind, ear), way in product(walk.dispatched.items(), WALKS)
        }
        for (_, way), messages in said.items():
            told = {message.data["uid"]: walk.plain(message, *way) for message in messages}
            other = {
                message.data["uid"]: walk.plain(message, *theirs) for message in said["trollmoves", theirs]
            }
            assert [told[uid] for uid in sorted(told) if uid.startswith("MSG")] == [
                other[uid] for uid in sorted(other) if uid.startswith("MSG")
            ]
        kill_and_go_on(walk)


def kill_and_go_on(walk: Walk) -> None:
    """What was announced before and while the mirror was dead comes through after it, once."""
    files = walk.drop_into("tranship", "KILL", 40)
    way = ("tranship",) * 3
    wait_for(lambda: walk.about(walk.told[way], "KILL"), "the first", 30)
    walk.mirrors["tranship"].kill()
    files |= walk.drop_into("tranship", "DEAD", 5)
    walk.start_mirror("tranship")

    def all_told() -> bool:
        return {*walk.about(walk.told[way], "KILL"), *walk.about(walk.told[way], "DEAD")} == set(files)

    wait_for(all_told, "all through the new mirror", 60)
    folder = walk.folder / "arrived" / "-".join(way)
    assert {name: (folder / name).read_bytes() for name in files} == files
