"""A source goes after it was delivered to all that asked, and not before."""

import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import zmq

from stage import Site, wait_for
from tranship.wire.messages import compose


def test_an_ack_deletes_nothing_that_another_client_is_still_to_get(tmp_path: Path) -> None:
    with Site(tmp_path) as site, socket.create_server(("127.0.0.1", 0)) as hole:
        place = (
            f"ftp://anna:secret@127.0.0.1:{hole.getsockname()[1]}/in/"  # takes connections, and says nothing
        )
        site.chain_options = {"delete": True, "remove_delay": "0.5 s", "allow": ["**"]}
        site.start_server()
        wanted, other = site.drop("wanted.dat", b"abc"), site.drop("other.dat", b"abc")
        wait_for(lambda: site.server.said("announced ", 2), "announced")
        requests = site._context.socket(zmq.DEALER)
        requests.connect(f"tcp://127.0.0.1:{site.request_port}")
        requests.send_multipart([b"", push(site, wanted, place)])
        hole.settimeout(30)
        connection, _ = hole.accept()

        # as Trollmoves' clients do it: what nobody else wants goes, what another is being sent stays
        with site.asking() as ask:
            for path in (wanted, other):
                assert ask(compose(site.topic, "ack", named(path)).encode()).type == "ack"
        wait_for(lambda: not other.exists(), "deleted after the ack")
        wait_for(lambda: held(site, wanted), "the deletion is put off while it is moved")
        assert wanted.exists()

        # also over a restart, which breaks the transfer off: its client will ask again
        site.server.kill()
        connection.close()
        requests.close(0)
        site.start_server()
        with site.asking() as ask:
            assert ask(compose(site.topic, "ack", named(wanted)).encode()).type == "ack"
            wait_for(lambda: held(site, wanted), "the deletion is put off while somebody asks again")
            assert wanted.exists()

            # that client has it by way of another server, and says so
            has = {**named(wanted), "destination": place.replace("anna:secret@", ""), "tranship": {"id": "1"}}
            assert ask(compose(site.topic, "ack", has).encode()).type == "ack"
        wait_for(lambda: not wanted.exists(), "deleted after everybody has it")
        site.server.kill()  # it would still try to reach that place


def test_what_was_delivered_is_deleted_without_any_ack(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.chain_options = {"delete": True, "remove_delay": "0 s"}
        ear = site.ear(site.client_port, site.topic)
        site.start_server()
        site.start_client()
        path = site.drop("a.dat", b"abc")
        ear.until(1)
        wait_for(lambda: not path.exists(), "deleted after the delivery")
        assert site.delivered() == {"a.dat": b"abc"}


def named(path: Path) -> dict[str, Any]:
    return {"uri": str(path), "uid": path.name}


def push(site: Site, path: Path, destination: str) -> bytes:
    data = {**named(path), "destination": destination, "tranship": {"v": 1, "id": path.name}}
    return compose(site.topic, "push", data).encode()


def held(site: Site, path: Path) -> bool:
    """Whether the deletion of path was due, and has been put off."""
    with closing(sqlite3.connect(f"file:{site.folder}/server.journal?mode=ro", uri=True)) as db:
        row = db.execute("SELECT due FROM deletions WHERE path=?", (str(path),)).fetchone()
    return row is not None and row[0] > time.time() + 10
