"""One dead destination, full disk or deaf listener delays nothing else."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from servers.ftp import PASSWORD, USER, pyftpd
from servers.proxy import Fault, Proxy, Route
from stage import Site, wait_for
from tranship.wire.messages import compose

DEAD = 20
"""Destinations that swallow everything; more than there are threads for what is not moving."""


def test_many_black_holes_cost_the_others_nothing(tmp_path: Path) -> None:
    with pyftpd() as ftp, Site(tmp_path) as site:
        routes = [Route((ftp.host, ftp.port))] * DEAD
        hole = Fault("black hole", direction="down")
        with Proxy(*routes, fault=hole) as proxy, dealer(site) as ask:
            site.chain_options = {
                "allow": [
                    f"file://{site.outgoing}/**",
                    *(f"ftp://127.0.0.1:{port}/**" for port in proxy.ports),
                ],
                "connection_parameters": {"timeout": "60 s"},
            }
            ear = site.ear(site.client_port, site.topic)
            site.start_server()
            site.start_client()
            names = list(site.drop_many(4))
            ear.until(len(names))
            asked = time.monotonic()
            for port in proxy.ports:
                for name in names:
                    ask.send_multipart(
                        [b"", push(site, name, f"ftp://{USER}:{PASSWORD}@127.0.0.1:{port}/in/")]
                    )
            wait_for(lambda: proxy.accepted >= DEAD, "all of them hang")
            made = site.drop_many(300, start=len(names))
            ear.until(len(names) + len(made))
            assert {name: site.delivered()[name] for name in made} == made
            assert time.monotonic() - asked < 60, "the first deadline was over, so that this shows nothing"
            assert ask.poll(0) == 0, "a black hole has answered"
            site.server.kill()


def test_a_full_disk_under_the_journal_holds_everything_back_until_there_is_room(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        ear, told = site.ear(site.client_port, site.topic), site.ear(site.publish_port, site.topic)
        site.start_server()
        site.start_client()
        before = site.drop_many(300)
        ear.until(len(before))
        pid, unlimited = site.server.popen.pid, resource.RLIM_INFINITY
        full = (tmp_path / "server.journal-wal").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (full, unlimited))  # no file may grow beyond
        after = site.drop_many(30, start=len(before))
        wait_for(lambda: "journal writing" in health(site)["text"], "the health tells of it")
        assert health(site)["state"] == "degraded"
        with site.asking() as ask:
            assert ask(compose(site.topic, "ping").encode()).type == "pong"
        assert len(told.of("file")) == len(before), "something was told that was not written down"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        ear.until(len(before) + len(after))
        assert site.delivered() == before | after
        wait_for(lambda: health(site)["state"] != "degraded", "it is well again")


def test_a_full_destination_keeps_nothing_partial_and_takes_more_when_there_is_room(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.write("server.yaml", site.server_config())
        tiny = f"mount -t tmpfs -o size=1m tiny {site.outgoing}"
        if subprocess.run(["unshare", "-rm", "sh", "-c", tiny], check=False).returncode:
            pytest.skip("nobody may mount here")
        command = f"{tiny} && exec {sys.executable} -m tranship server {tmp_path}/server.yaml"
        server = site.run("server", ["unshare", "-rm", "sh", "-c", command]).until(" ready")
        there = Path(f"/proc/{server.popen.pid}/root/{site.outgoing}")
        (there / "filler").write_bytes(bytes(700_000))
        made = site.drop_many(2, size=200_000)
        wait_for(lambda: server.said("announced", 2), "announced")
        with site.asking() as ask:
            answers = {name: ask(push(site, name, f"file://{site.outgoing}/")) for name in made}
            [refused] = [name for name in made if answers[name].type == "err"]
            assert "No space left" in str(answers[refused].data)
            assert {path.name for path in there.iterdir()} == {"filler", *made} - {refused}
            (there / "filler").unlink()
            assert ask(push(site, refused, f"file://{site.outgoing}/")).type == "file"
            assert {name: (there / name).read_bytes() for name in made} == made


@contextmanager
def dealer(site: Site) -> Iterator["zmq.Socket[bytes]"]:
    """A socket for many requests at once."""
    asker = site._context.socket(zmq.DEALER)
    asker.connect(f"tcp://127.0.0.1:{site.request_port}")
    try:
        yield asker
    finally:
        asker.close(0)


def push(site: Site, name: str, destination: str) -> bytes:
    data = {"uri": str(site.incoming / name), "uid": name, "destination": destination}
    return compose(site.topic, "push", {**data, "tranship": {"v": 1, "id": destination + name}}).encode()


def health(site: Site) -> dict[str, Any]:
    """What the server last posted of itself."""
    try:
        told: dict[str, Any] = json.loads((site.folder / "server.journal.health").read_bytes())
    except (OSError, ValueError):
        return {"text": "", "state": ""}
    return told
