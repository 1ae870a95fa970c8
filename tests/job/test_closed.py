"""The main job behind closed doors: with Trollmoves and posttroll in secure mode, and while keys come and go."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from test_peers import PAIRINGS, Kind, Pairing

from servers.keys import SECURE, Ring, mechanism
from servers.ports import free_port
from stage import Process, Site, wait_for


class ClosedPairing(Pairing):
    """A server and a client of either kind, from the same old files and posttroll's settings."""

    def __init__(self, folder: Path, server: Kind, client: Kind) -> None:
        super().__init__(folder, server, client)
        old = folder / "client.ini"
        old.write_text(
            "".join(line for line in old.read_text().splitlines(True) if not line.startswith("login"))
        )
        self.deaf = self.announced, self.published
        self.ring = Ring(folder / "keys").make("server", "client", "ear")
        self.announced = self.ear(self.publish_port, by=self.ring.by("ear", "server"))
        self.published = self.ear(self.client_port, by=self.ring.by("ear", "client"))

    def run(self, name: str, arguments: list[str], **environment: str) -> Process:
        return super().run(name, arguments, **environment, **self.ring.posttroll(name, "server"))


def test_trollmoves_in_secure_mode_and_ours_work_together_and_who_has_no_key_hears_nothing(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        pairings = [
            stack.enter_context(ClosedPairing(tmp_path / "-".join(kinds), *kinds)) for kinds in PAIRINGS[:3]
        ]
        for pairing in pairings:
            pairing.start("server")
            pairing.start("client")
        for pairing in pairings:
            pairing.until_it_works(pairing.published)
        for pairing in pairings:
            files = {f"MSG4-{n:04d}-202601011200.dat": os.urandom(1000) for n in range(20)}
            for name, content in files.items():
                pairing.drop(name, content)

            def all_told(pairing: ClosedPairing = pairing, files: dict[str, bytes] = files) -> bool:
                return files.keys() <= {message.data["uid"] for message in pairing.published.of("file")}

            wait_for(all_told, f"all published by {pairing.kinds}", 60)
            lie = {path.name: path.read_bytes() for path in (pairing.outgoing / "MSG4").iterdir()}
            assert lie == files
            assert {"push", "ack", "file"} <= {message.type for message in pairing.published.listen()}
            for ear in pairing.deaf:
                assert not ear.listen(), pairing.kinds
            for port in (pairing.publish_port, pairing.request_port, pairing.client_port):
                assert mechanism(port) == "CURVE", pairing.kinds


class ClosedSite(Site):
    """Server and client from our YAML, each with its keys."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ring = Ring(folder / "keys").make("server", "client", "ear")
        self.server_options = {"curve": self.curve("server")}

    def curve(self, name: str) -> dict[str, Any]:
        ring = self.ring
        return {
            "secret_key_file": str(ring.secret(name)),
            "clients": str(ring.clients),
            "server_key_file": str(ring.public("server")),
        }

    def client_config(self, name: str = "client") -> dict[str, Any]:
        return {"curve": self.curve("client"), **super().client_config(name)}


def test_a_client_is_let_in_and_shut_out_while_server_and_client_run_and_misses_nothing(
    tmp_path: Path,
) -> None:
    with ClosedSite(tmp_path) as site:
        site.ring.shut_out("client")
        server = site.start_server()
        client = site.start_client()
        server.until("unknown key: connects by the key " + site.ring.text("client"))
        client.until("not let in: ")
        first = site.drop_many(5)
        site.ring.let_in("client")
        wait_for(lambda: site.delivered() == first, "the client was let in, and has what it missed")
        # what is wrong with one is no concern of the others
        (site.ring.clients / "broken.key").write_text("nothing")
        server.until(f'odd peer={site.ring.clients}/broken.key reason="no key: lets nobody in')
        site.ring.shut_out("client")
        refused = server.output.count("unknown key")
        second = site.drop_many(5, start=5)
        ear = site.ear(site.publish_port, by=site.ring.by("ear", "server"))
        wait_for(lambda: site.drop("more.dat", os.urandom(9)) and ear.of("file"), "others are still served")
        more = (site.incoming / "more.dat").read_bytes()
        site.ring.let_in("client")
        wait_for(lambda: site.delivered() == {**first, **second, "more.dat": more}, "it is let in again")
        assert server.output.count("unknown key") == refused  # told once


def test_a_server_with_another_key_is_not_believed(tmp_path: Path) -> None:
    with ClosedSite(tmp_path) as site:
        site.ring.make("false")
        site.server_options = {"curve": site.curve("false")}
        server = site.start_server()
        client = site.start_client()
        client.until("broken off: ")
        server.until("wrong server key: ")
        site.drop_many(1)
        server.until("announced")
        assert site.delivered() == {}
        assert server.stop() == 0
        site.server_options = {"curve": site.curve("server")}
        site.start_server()
        wait_for(lambda: len(site.delivered()) == 1, "the true one is")


def test_a_reload_closes_no_door_that_has_no_lock(tmp_path: Path) -> None:
    """`curve` takes effect at the next start: a chain that is to be closed is not bound before that."""
    with ClosedSite(tmp_path) as site:
        site.server_options = {}
        server = site.start_server()
        site.server_options = {"curve": site.curve("server")}
        port = free_port()
        site.more_chains = {
            "closed": {
                "origin": f"{site.incoming}/{{name}}.closed",
                "topic": "/closed",
                "request": {"port": port, "security": "curve"},
                "allow": ["file:///**"],
            }
        }
        site.write("server.yaml", site.server_config())
        server.until("curve differs: it takes effect at the next start")
        server.until("is to be closed by keys, and this process has started without")
        with pytest.raises(OSError, match="refused"):
            mechanism(port)
        assert mechanism(site.request_port) == "NULL"
        server.stop()
        site.start_server()
        assert {mechanism(port), mechanism(site.request_port), mechanism(site.publish_port)} == {"CURVE"}


def test_a_process_does_not_start_with_keys_that_it_can_not_use(tmp_path: Path) -> None:
    with ClosedSite(tmp_path) as site:
        site.ring.secret("server").chmod(0o644)
        file = site.write("server.yaml", site.server_config())
        refused = site.tranship("server", "server", str(file))
        assert refused.popen.wait(30) == 69
        assert f"chmod 600 {site.ring.secret('server')}" in refused.output
        assert "S3cret" not in refused.output


def test_posttrolls_secure_name_server_brings_both_together(tmp_path: Path) -> None:
    """Their name server takes cards by multicast, tells our client of theirs, and theirs of ours."""
    with ClosedSite(tmp_path) as site:
        ring = site.ring
        names = ("NAMESERVER_PORT", "ADDRESS_PUBLISH_PORT", "BROADCAST_PORT")
        ports = {f"POSTTROLL_{name}": str(free_port()) for name in names}
        ports["POSTTROLL_MC_GROUP"] = "225.0.0.213"

        def theirs(name: str, *arguments: str) -> Process:
            return site.run(
                name, [sys.executable, str(SECURE), *arguments], **ports, **ring.posttroll("server", "server")
            )

        theirs("nameserver", "ns")
        site.server_options |= {"nameservers": "multicast", "name": "ours"}
        site.start_server(**ports)
        found = theirs("find", "find", "ours").until("found")
        assert f":{site.publish_port}'" in found.output
        theirs("publisher", "known", "theirs", str(site.drop("their.dat", b"content")))
        theirs("finding", "find", "theirs").until("found")
        fetch = {
            "role": "fetch",
            "journal": str(tmp_path / "fetch.journal"),
            "curve": site.curve("client"),
            "chains": {
                "f": {
                    "lookup": ["127.0.0.1"],
                    "services": ["theirs"],
                    "topics": ["/topic"],
                    "directory": str(tmp_path / "fetched"),
                    "allow": ["file:///**"],
                }
            },
        }
        site.tranship("fetch", "fetch", str(site.write("fetch.yaml", fetch)), **ports)
        wait_for((tmp_path / "fetched/their.dat").exists, "what their publisher tells of is fetched")
