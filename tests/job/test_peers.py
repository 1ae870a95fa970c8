"""With posttroll and Trollmoves, as they come from PyPI, on the other end of the wire."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import posttroll
import pytest
import zmq
from posttroll.message import Message as Theirs
from posttroll.subscriber import Subscribe

from servers.ports import free_port
from stage import DEADLINE, Ear, Site, wait_for
from tranship.wire.messages import Message, compose, decode

Kind = Literal["tranship", "trollmoves"]

FILES = 200
PAIRINGS: tuple[tuple[Kind, Kind], ...] = (
    ("tranship", "tranship"),
    ("tranship", "trollmoves"),
    ("trollmoves", "tranship"),
    ("trollmoves", "trollmoves"),
)

SERVER_INI = """\
[peers]
origin = {incoming}/{{series}}-{{segment:04d}}-{{start_time:%Y%m%d%H%M}}.dat
topic = /1b/hrit
info = sensor=seviri;channels=HRV,IR_108
station = kiruna
request_port = {request_port}
request_address = 127.0.0.1
"""

CLIENT_INI = """\
[peers]
providers = 127.0.0.1:{publish_port}
destination = file://{outgoing}/{{series}}/
login = transfer:greatPassword
topic = /1b
publish_port = {client_port}
nameservers = false
sensor = seviri:SEVIRI|other:OTHER
"""


class Pairing(Site):
    """A server and a client of either kind, started from the same two INI files."""

    def __init__(self, folder: Path, server: Kind, client: Kind) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.kinds = server, client
        for name, text in (("server", SERVER_INI), ("client", CLIENT_INI)):
            (folder / f"{name}.ini").write_text(text.format(**vars(self)))
        self.announced = self.ear(self.publish_port)
        self.published = self.ear(self.client_port)

    def start(self, role: Literal["server", "client"]) -> None:
        arguments = [str(self.folder / f"{role}.ini")]
        if role == "server":
            arguments += ["-p", str(self.publish_port)]
        if self.kinds[role == "client"] == "tranship":
            self.tranship(role, role, *arguments, XDG_STATE_HOME=str(self.folder))
        else:
            self.run(role, [sys.executable, script(f"move_it_{role}.py"), *arguments])

    def until_it_works(self, ear: Ear) -> None:
        """Trollmoves does not say when it is ready: touch a file until it is heard of."""

        def heard() -> bool:
            self.drop("try-0000-202601011200.dat", os.urandom(8))
            try:
                return bool(ear.until(1, deadline=0.5))
            except AssertionError:
                return False

        wait_for(heard, f"a first file through {self.kinds}", 60)

    def drop_all(self) -> dict[str, bytes]:
        files = {f"MSG4-{n:04d}-202601011200.dat": os.urandom(1000) for n in range(FILES)}
        for name, content in files.items():
            self.drop(name, content)
        return files

    def all_through(self) -> bool:
        uids = {message.data["uid"] for message in self.published.of("file")}
        return len([uid for uid in uids if uid.startswith("MSG4")]) == FILES

    def about(self, ear: Ear, kind: str) -> dict[str, list[dict[str, Any]]]:
        """By uid what was said of type kind, without what differs from site to site or is ours only."""
        said: dict[str, list[dict[str, Any]]] = {}
        for message in ear.of(kind):
            if message.data["uid"].startswith("MSG4"):
                said.setdefault(message.data["uid"], []).append(self.plain(message))
        return said

    def plain(self, message: Message) -> dict[str, Any]:
        theirs = Theirs(rawstr=message.encode().decode())
        data = {key: value for key, value in theirs.data.items() if key != "tranship"}
        told = {"subject": theirs.subject, "sender": theirs.sender, **{key: repr(data[key]) for key in data}}
        for name in ("incoming", "outgoing", "request_port"):
            told = {key: text.replace(str(vars(self)[name]), f"<{name}>") for key, text in told.items()}
        # theirs names the host of a file destination, which means nothing there
        told["destination"] = told.get("destination", "").replace(f"//{socket.gethostname()}", "//")
        return told


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_four_pairings_from_the_same_files_say_and_do_the_same(tmp_path: Path) -> None:
    with ExitStack() as stack:
        pairings = {
            kinds: stack.enter_context(Pairing(tmp_path / "-".join(kinds), *kinds)) for kinds in PAIRINGS
        }
        for pairing in pairings.values():
            pairing.start("server")
            pairing.start("client")
        for pairing in pairings.values():
            pairing.until_it_works(pairing.published)
        files = {kinds: pairing.drop_all() for kinds, pairing in pairings.items()}
        for kinds, pairing in pairings.items():
            wait_for(pairing.all_through, f"all published by {kinds}", 90)
            lie = {path.name: path.read_bytes() for path in (pairing.outgoing / "MSG4").iterdir()}
            assert lie == files[kinds]

        said = {
            (*kinds, ear, kind): pairing.about(getattr(pairing, ear), kind)
            for kinds, pairing in pairings.items()
            for ear, kind in (
                ("announced", "file"),
                ("published", "push"),
                ("published", "ack"),
                ("published", "file"),
            )
        }
        for (server, client, ear, kind), ours in said.items():
            theirs = said["trollmoves", "trollmoves", ear, kind]
            assert set(ours) == set(theirs), (server, client, ear, kind)
            for uid, messages in ours.items():
                assert all(message == theirs[uid][0] for message in messages), (server, client, ear, kind)
                # theirs announces twice what comes while it looks at old files, soon after its start
                assert len(messages) == 1 or (server, ear) == ("trollmoves", "announced")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Kind, Pairing]]:
    """A server of each kind, that has announced one file."""
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        sites = {
            kind: stack.enter_context(Pairing(folder / kind, kind, kind))
            for kind in ("tranship", "trollmoves")
        }
        for site in sites.values():
            site.start("server")
        for site in sites.values():
            site.until_it_works(site.announced)
        yield sites


MOVE_IT_REQ = """\
import zmq
from trollmoves import move_it_req

class Socket(zmq.Socket):
    def send(self, text):
        super().send(text.encode())

    def recv(self):
        return super().recv().decode()

def connected(kind, address):
    socket = Socket(zmq.Context.instance(), kind)
    socket.connect(address)
    return socket

move_it_req.set_up_client_socket = connected
move_it_req.info_formatter = str
move_it_req.main()
"""
"""Trollmoves' move_it_req.py. As it is published it stumbles over itself: ZeroMQ takes bytes, and its formatter of
an `info` wants an argument more than it is given."""


def theirs_asks(site: Pairing, *arguments: str) -> str:
    """What Trollmoves' request script says."""
    address = f"tcp://127.0.0.1:{site.request_port}"
    return subprocess.run(
        [sys.executable, "-c", MOVE_IT_REQ, *arguments, address],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    ).stdout


def replied(answer: str) -> Theirs:
    """The reply that Trollmoves' request script has printed."""
    return Theirs(rawstr=answer.partition("Server replied: ")[2].strip())


def ours_asks(site: Pairing, what: str, *arguments: str) -> Any:
    """What `tranship request` says as JSON."""
    address = f"127.0.0.1:{site.request_port}"
    command = [sys.executable, "-m", "tranship", "request", what, address, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_their_request_script_is_answered(servers: dict[Kind, Pairing]) -> None:
    answers = {kind: theirs_asks(site, "--ping") for kind, site in servers.items()}
    for answer in answers.values():
        reply = replied(answer)
        assert (reply.subject, reply.type, reply.data) == ("ping/pong", "pong", {"station": "kiruna"})
    for kind, site in servers.items():
        reply = replied(theirs_asks(site, "--info", "/1b", "--extra", "max_count:1"))
        assert (reply.subject, reply.type, set(reply.data)) == (
            "/1b",
            "info",
            {"files", "max_count", "uptime"},
        )
        assert reply.data["files"] == ["/1b/hrit/try-0000-202601011200.dat"], kind
        assert reply.data["max_count"] == 1
        assert reply.data["uptime"].startswith("0:0")


@pytest.mark.parametrize("kind", ["tranship", "trollmoves"])
def test_our_requests_are_answered(servers: dict[Kind, Pairing], kind: Kind) -> None:
    site = servers[kind]
    assert ours_asks(site, "ping")["station"] == "kiruna"
    assert set(ours_asks(site, "info", "/1b")["files"]) == {"/1b/hrit/try-0000-202601011200.dat"}
    path = site.incoming / "try-0000-202601011200.dat"
    reply = ours_asks(site, "push", str(path), "-d", f"file://{site.outgoing}/")
    assert reply["uri"] == str(path)
    assert (site.outgoing / path.name).read_bytes() == path.read_bytes()


def test_requests_with_more_items_are_repeated_until_interrupted(servers: dict[Kind, Pairing]) -> None:
    address = f"127.0.0.1:{servers['trollmoves'].request_port}"
    options = ["--extra", "max_count:1,who:me", "--spam", "0.01", "--json"]
    command = [sys.executable, "-m", "tranship", "request", "info", address, "/1b", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        told = [json.loads(asking.stdout.readline()) for _ in range(3)]
        asking.send_signal(signal.SIGINT)
        assert asking.wait(DEADLINE) == 0
    assert [(data["max_count"], len(data["files"])) for data in told] == [(1, 1)] * 3


def test_an_old_client_gets_one_reply_per_request(servers: dict[Kind, Pairing]) -> None:
    path = str(servers["tranship"].incoming / "try-0000-202601011200.dat")
    data = {"uri": path, "uid": Path(path).name}
    push = {**data, "destination": f"file://{servers['tranship'].outgoing}/old/"}
    frames = [
        compose("/1b/hrit", "push", push).encode(),
        compose("/1b/hrit", "push", push).encode(),
        compose("/1b/hrit", "push", {**push, "uri": "/etc/passwd"}).encode(),
        compose("/1b/hrit", "ack", data).encode(),
        compose("/1b/hrit", "info").encode(),
        compose("/ping", "ping").encode(),
        compose("/1b/hrit", "dance", data).encode(),
        b"nonsense",
    ]
    replies = {kind: conversation(site, frames) for kind, site in servers.items()}
    assert [reply.type for reply in replies["tranship"]] == [
        *("file", "file", "err", "ack", "info", "pong", "unknown", "error", "pong")
    ]
    done = replies["tranship"][0].data
    assert done["destination"] == push["destination"]
    assert "tranship" not in done


def conversation(site: Pairing, frames: list[bytes]) -> list[Message]:
    """All that comes while frames are sent one by one, as by a REQ socket, and until a last ping is answered."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as asker:
        asker.linger = 0
        asker.connect(f"tcp://127.0.0.1:{site.request_port}")
        came = []
        for frame in [*frames, compose("/the/last", "ping").encode()]:
            asker.send_multipart([b"", frame])
            if asker.poll(DEADLINE * 1000 if site.kinds[0] == "tranship" else 500):
                came.append(decode(asker.recv_multipart()[1]))
        while asker.poll(50):
            came.append(decode(asker.recv_multipart()[1]))
        return came


@pytest.fixture
def name_server() -> Iterator[dict[str, str]]:
    """posttroll's name server, as a process; the environment in which others find it."""
    environment = {
        "POSTTROLL_NAMESERVER_PORT": str(free_port()),
        "POSTTROLL_ADDRESS_PUBLISH_PORT": str(free_port()),
        "POSTTROLL_BROADCAST_PORT": str(free_port()),
    }
    process = subprocess.Popen(
        [sys.executable, script("nameserver"), "--no-multicast"], env={**os.environ, **environment}
    )
    try:
        with posttroll.config.set(
            nameserver_port=int(environment["POSTTROLL_NAMESERVER_PORT"]),
            address_publish_port=int(environment["POSTTROLL_ADDRESS_PUBLISH_PORT"]),
            broadcast_port=int(environment["POSTTROLL_BROADCAST_PORT"]),
        ):
            yield environment
    finally:
        process.kill()
        process.wait()


def test_a_posttroll_subscriber_hears_us_directly_and_through_a_name_server(
    tmp_path: Path, name_server: dict[str, str]
) -> None:
    with Site(tmp_path) as site, ExitStack() as stack:
        site.server_options = {"nameservers": ["localhost"]}
        site.client_options = {"nameservers": ["localhost"]}
        site.start_server(**name_server)
        site.start_client(**name_server)
        direct = [f"tcp://127.0.0.1:{port}" for port in (site.publish_port, site.client_port)]
        ears = {
            "direct": Subscribe(topics=site.topic, addr_listener=False, addresses=direct),
            "server": Subscribe("move_it_server", site.topic, nameserver="localhost", timeout=DEADLINE),
            "client": Subscribe("move_it_hrit", site.topic, nameserver="localhost", timeout=DEADLINE),
        }
        heard = {name: stack.enter_context(ear).recv(timeout=0.05) for name, ear in ears.items()}

        def first(name: str, folder: Path) -> None:
            """Drop files until this ear hears of one that lies in folder: a subscription takes its time."""
            for number in range(1000):
                site.drop(f"{name}-{number}.dat", b"abc")
                message = next(heard[name])
                if (
                    message is not None
                    and message.type == "file"
                    and message.data["uri"].startswith(f"{folder}/")
                ):
                    break
            assert message.subject == site.topic
            assert message.data["uri"] == str(folder / message.data["uid"])
            assert message.data["name"] + ".dat" == message.data["uid"]
            assert ("request_address" in message.data) == (folder == site.incoming)

        first("server", site.incoming)
        first("client", site.outgoing)
        first("direct", site.incoming)
        first("direct", site.outgoing)
