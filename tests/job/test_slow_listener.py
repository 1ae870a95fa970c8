"""Whoever listens and takes nothing: the server's memory, its other listeners and what it moves don't notice."""

import os
import socket
import time
from pathlib import Path

from stage import Process, Site, wait_for
from tranship.wire.messages import compose

FILES, NOTE = 120, 200_000
TOLD = FILES * NOTE / (1 << 20)
"""MB of announcements."""


def deaf(port: int) -> socket.socket:
    """A subscriber to everything that never reads (ZMTP 3.0, by hand)."""
    connection = socket.create_connection(("127.0.0.1", port))
    ready = b"\5READY\x0bSocket-Type\0\0\0\3SUB"
    greeting = b"\xff" + bytes(8) + b"\x7f\3\0NULL" + bytes(48)
    connection.sendall(greeting + b"\4" + bytes([len(ready)]) + ready + b"\0\1\1")
    return connection


def memory(process: Process) -> float:
    """MB."""
    pages = int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def test_subscribers_that_never_read_cost_nobody_anything(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.chain_options = {"info": {"note": "x" * NOTE}}
        site.start_server()
        listening = [deaf(site.publish_port) for _ in range(6)]
        site.start_client()
        ear = site.ear(site.client_port, site.topic)
        site.drop("first.dat", b"x")
        ear.until(1)
        before = memory(site.server)
        sent = site.drop_many(FILES, 10)
        with site.asking() as ask:
            while len(site.delivered()) < FILES + 1:
                assert ask(compose(site.topic, "ping").encode()).type == "pong"
                ear.listen()
                time.sleep(0.05)
        wait_for(lambda: [ear.listen(), len(ear.of("file")) == FILES + 1][1], "all are published")
        assert site.delivered() == {**sent, "first.dat": b"x"}
        # what they don't take is kept once for all of them, and not once for each
        assert memory(site.server) - before < 3 * TOLD
        for each in listening:
            each.close()
