"""A collection all the way, everybody found through posttroll's own name server, all files as Trollmoves has them.

posttroll publisher -> server that listens -> client that unpacks -> posttroll subscriber
"""

import bz2
import io
import sys
import tarfile
from datetime import datetime
from pathlib import Path

import posttroll
from posttroll.message import Message as Theirs
from posttroll.ns import get_pub_address
from posttroll.publisher import Publish
from posttroll.subscriber import Subscribe

from stage import DEADLINE, Site, free_port, wait_for
from tranship.wire.discovery import Ports

SERVER = """\
[areas]
listen = /collected
nameserver = 127.0.0.1
services = collector
topic = /areas
info = station=kiruna
request_port = {request_port}
request_address = 127.0.0.1
"""
CLIENT = """\
[areas]
providers = 127.0.0.1:{publish_port}
destination = file://{outgoing}/
topic = /areas
publish_port = {client_port}
nameservers = 127.0.0.1
compression = tar
delete = True
"""


def tar(path: Path, **members: bytes) -> dict[str, str]:
    with tarfile.open(path, "w:bz2" if path.suffix == ".bz2" else "w") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{name}.h5")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return {"uri": str(path), "uid": path.name}


def test_a_collection_is_heard_moved_unpacked_and_read_by_a_posttroll_subscriber(tmp_path: Path) -> None:
    ports = Ports(free_port(), free_port(), free_port())
    environment = {
        "POSTTROLL_NAMESERVER_PORT": str(ports.questions),
        "POSTTROLL_ADDRESS_PUBLISH_PORT": str(ports.changes),
        "POSTTROLL_BROADCAST_PORT": str(ports.cards),
    }
    theirs = {
        "nameserver_port": ports.questions,
        "address_publish_port": ports.changes,
        "broadcast_port": ports.cards,
    }
    with Site(tmp_path) as site, posttroll.config.set(**theirs):
        code = "from posttroll.ns import main; main()"
        site.run("ns", [sys.executable, "-c", code, "--no-multicast"], **environment)
        for name, text in (("server", SERVER), ("client", CLIENT)):
            (tmp_path / f"{name}.ini").write_text(text.format(**vars(site)))
        started = {
            "server": ("server", str(tmp_path / "server.ini"), "-p", str(site.publish_port)),
            "client": ("client", str(tmp_path / "client.ini")),
        }
        for name, arguments in started.items():
            site.tranship(name, *arguments, XDG_STATE_HOME=str(tmp_path), **environment)
        for process in site.processes[1:]:
            process.until(" ready")
        with (
            Publish("collector", 0, nameservers=["127.0.0.1"]) as publisher,
            Subscribe("move_it_areas", "/areas", nameserver="127.0.0.1", timeout=DEADLINE) as subscriber,
        ):
            wait_for(lambda: get_pub_address("collector", nameserver="127.0.0.1"), "the publisher is known")
            files = {
                "one": tar(site.incoming / "one.tar", a=b"1"),
                "two": tar(site.incoming / "two.tar.bz2", b=b"22", c=b"333"),
                "plain": {"uri": str(site.incoming / "d.bz2"), "uid": "d.bz2"},
            }
            (site.incoming / "d.bz2").write_bytes(bz2.compress(b"as it is"))
            begun = datetime(2026, 11, 22, 12)
            collection = [
                {"start_time": begun, "dataset": [files["one"], files["plain"]]},
                {"start_time": begun, **files["two"]},
            ]
            numbers = iter(range(1000))

            def heard() -> Theirs | None:
                """What the subscriber has, after the collection was told (again: it may not be heard yet)."""
                data = {"collection": collection, "area": "euron1", "try": next(numbers)}
                publisher.send(str(Theirs("/collected/viirs", "collection", data)))
                return next((m for m in subscriber.recv(timeout=0.5) if m and m.type == "collection"), None)

            told = wait_for(heard, "the collection as it lies here", 60)
        out = site.outgoing
        assert (told.subject, told.data["area"], told.data["station"]) == ("/areas", "euron1", "kiruna")
        first, second = told.data["collection"]
        assert first == {
            "start_time": begun,
            "dataset": [
                {"uri": f"{out}/a.h5", "uid": "a.h5"},
                {"uri": f"{out}/d.bz2", "uid": "d.bz2"},
            ],
        }
        parts = [{"uri": f"{out}/{name}.h5", "uid": f"{name}.h5"} for name in "bc"]
        assert second == {"start_time": begun, "dataset": parts}
        wait_for(lambda: not [p for p in out.iterdir() if ".tar" in p.name], "packed ones are deleted")
        content = {p.name: p.read_bytes() for p in out.iterdir()}
        assert content == {
            "a.h5": b"1",
            "b.h5": b"22",
            "c.h5": b"333",
            "d.bz2": bz2.compress(b"as it is"),
        }
        assert "request_address" not in told.data
