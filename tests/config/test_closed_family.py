"""Every role, from its old file and posttroll's settings for encryption: it works, and speaks to nobody in plain."""

import bz2
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from test_converted_family import OLD

from servers.ftp import PASSWORD, USER, pyftpd
from servers.keys import Ring, listened_at, mechanism
from stage import Site, free_port, wait_for
from tranship.wire.messages import compose

NAMES = ("request", "server", "mirror_request", "mirror", "client", "dispatcher", "fetch", "move")
FLAGS = {"dispatcher": "--publish-port"}


@contextmanager
def named(publisher: "zmq.Socket[bytes]", ring: Ring) -> Iterator[int]:
    """A publisher of somebody with the site's key; its port."""
    with closing(publisher):
        publisher.setsockopt(zmq.CURVE_SERVER, 1)
        publisher.setsockopt(zmq.CURVE_SECRETKEY, ring.by("site", "site")[zmq.CURVE_SECRETKEY])
        yield publisher.bind_to_random_port("tcp://127.0.0.1")


def test_a_file_goes_through_all_roles_and_no_door_is_open(tmp_path: Path) -> None:
    ports = {name: free_port() for name in NAMES}
    ring = Ring(tmp_path / "keys").make("site", "ear")
    with Site(tmp_path) as site, pyftpd() as far:
        somebody = site._context.socket(zmq.PUB)
        with named(somebody, ring) as port:
            ports |= {"ftp": far.port, "somebody": port}
            for name in ("in", "work", "copies", "out"):
                (tmp_path / name).mkdir()
            (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
            (tmp_path / ".netrc").chmod(0o600)
            environment = {
                "HOME": str(tmp_path),
                "STATE_DIRECTORY": str(tmp_path),
                **ring.posttroll("site", "site"),
            }
            for role, text in OLD.items():
                file = tmp_path / f"{role}.old"
                file.write_text(text.format(folder=tmp_path, **ports))
                said = (
                    [FLAGS.get(role, "-p"), str(ports[role])]
                    if role in ("move", "server", "mirror", "dispatcher")
                    else []
                )
                if role != "clean":
                    site.tranship(role, role, str(file), *said, **environment)
            by = ring.by("ear", "site")
            ears = {role: site.ear(ports[role], by=by) for role in ("dispatcher", "fetch", "client")}
            deaf = [
                site.ear(ports[role])
                for role in ("move", "server", "mirror", "dispatcher", "client", "fetch")
            ]
            for process in site.processes:
                process.until(" ready")
            numbers = iter(range(1000))

            def through() -> bool:
                (tmp_path / "in" / f"f{next(numbers)}.dat.bz2").write_bytes(bz2.compress(b"content"))
                try:
                    return bool(ears["dispatcher"].until(1, deadline=1))
                except AssertionError:
                    return False

            wait_for(through, "a file came through all of them", 60)

            def fetched() -> bool:
                name = ears["dispatcher"].of("file")[0].data["name"]
                uri = f"ftp://127.0.0.1:{far.port}/imager/{name}.out"
                told = {"uri": uri, "uid": f"{name}.out", "name": name}
                somebody.send(compose("/far", "file", told).encode())
                return bool(ears["fetch"].of("file"))

            wait_for(fetched, "the fetcher has it, too")
            for process in site.processes:
                doors = listened_at(process.popen.pid)
                assert doors, process.popen.args
                assert {door: mechanism(door) for door in doors} == dict.fromkeys(doors, "CURVE")
                assert process.said("no keys: "), process.output
            assert not [ear.messages for ear in deaf if ear.listen()]
            clean = site.tranship("clean", "clean", str(tmp_path / "clean.old"), **environment)
            wait_for(lambda: clean.popen.poll() is not None or listened_at(clean.popen.pid), "clean is bound")
            doors = listened_at(clean.popen.pid)
            assert [mechanism(door) for door in doors] == ["CURVE"]
            assert clean.popen.wait(60) == 0

            asked = [
                sys.executable,
                "-m",
                "tranship",
                "request",
                "ping",
                f"127.0.0.1:{ports['request']}",
                "--json",
            ]
            answers = [
                subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False, env=told)
                for told in ({**os.environ, **environment}, os.environ)
            ]
            assert json.loads(answers[0].stdout)["station"] == "unknown"
            assert answers[1].returncode == 69


CONNECTING = {
    "server": "[s]\nlisten = /a\nnameserver = 127.0.0.1\nservices = s\naddresses = 127.0.0.1:{port}\n"
    "topic = /b\nrequest_port = 0\n",
    "client": "[c]\nproviders = 127.0.0.1:{port}\ntopic = /a\ndestination = {folder}/\npublish_port = 0\n"
    "nameservers = 127.0.0.1\n",
    "mirror": "[m]\nproviders = 127.0.0.1:{port}\nclient_topic = /a\norigin = {folder}/{{n}}\n"
    "destination = {folder}/\nrequest_port = 0\n",
    "dispatcher": """\
posttroll_subscriber: {{subscribe_addresses: ["tcp://127.0.0.1:{port}"], nameserver: 127.0.0.1}}
near: {{host: "", directory: "{folder}", filepattern: "{{uid}}", dispatch_configs: [{{topics: [/a]}}]}}
""",
    "fetch": """\
destination: {folder}
subscriber_config: {{addresses: ["tcp://127.0.0.1:{port}"], nameserver: 127.0.0.1, topics: [/a]}}
publisher_config: {{name: fetched, port: 0, nameservers: [127.0.0.1]}}
""",
}
"""Files whose roles connect to one port only, also as that of name servers."""


@pytest.mark.parametrize(
    ("role", "connections"), [("mirror", 1), ("client", 2), ("server", 3), ("dispatcher", 3), ("fetch", 4)]
)
def test_nobody_is_spoken_to_in_plain(tmp_path: Path, role: str, connections: int) -> None:
    ring = Ring(tmp_path / "keys").make("site")
    with Site(tmp_path) as site, greeter() as (port, mechanisms):
        names = ("NAMESERVER_PORT", "ADDRESS_PUBLISH_PORT", "BROADCAST_PORT")
        environment = {
            "HOME": str(tmp_path),
            "STATE_DIRECTORY": str(tmp_path),
            **ring.posttroll("site", "site"),
        }
        environment |= {f"POSTTROLL_{name}": str(port) for name in names}
        file = tmp_path / "old"
        file.write_text(CONNECTING[role].format(port=port, folder=tmp_path))
        said = ["-p", "0"] if role in ("server", "mirror") else []
        process = site.tranship(role, role, str(file), *said, **environment)
        wait_for(lambda: len(mechanisms) >= connections or process.popen.poll() is not None, "all connect")
        assert set(mechanisms) == {"CURVE"}, process.output
        process.until("broken off: ends the connection while keys are exchanged")


@contextmanager
def greeter() -> Iterator[tuple[int, list[str]]]:
    """Listens, greets whoever connects and hangs up; its port, and by which mechanisms they wanted to speak."""
    mechanisms: list[str] = []

    def greet(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32))
            greeting = b""
            while len(greeting) < 64 and (more := connection.recv(64 - len(greeting))):
                greeting += more
            mechanisms.append(greeting[12:32].rstrip(b"\0").decode())

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=greet, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", free_port())) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], mechanisms
        listener.shutdown(socket.SHUT_RDWR)
