"""What a publisher with `replay` tells while its listener is dead or cut off: the listener has it all, each once."""

from collections import Counter
from pathlib import Path
from typing import Any

from servers.proxy import Fault, Proxy, Route
from stage import Ear, Process, Site, free_port, wait_for

FIRST, FILES, MORE = 20, 300, 50
HERE, THERE = "127.0.0.1", "127.0.0.2"
"""Where publishers listen, and where they are reached through what can be cut."""


def cut(*ports: int) -> Proxy:
    return Proxy(*(Route((HERE, port), (THERE, port)) for port in ports))


def start(site: Site, role: str, file: Path, *ears: Ear) -> Process:
    """Start it; listen meanwhile: a subscriber is heard again only while it reads."""
    process = site.tranship(f"{role}{len(site.processes)}", role, str(file))

    def is_ready() -> bool:
        for ear in ears:
            ear.listen()
        assert process.popen.poll() is None, process.output
        return process.said(" ready")

    wait_for(is_ready, f"{role} is ready")
    return process


def ids(ear: Ear) -> dict[str, str]:
    """By id the file that was published; a crash may repeat a message, with its id."""
    return {m.data["tranship"]["id"]: m.data["uid"] for m in ear.of("file")}


def once(folder: Path, sent: dict[str, bytes], ear: Ear) -> bool:
    """Whether all that was sent is in folder, and published, each once."""
    if len(ids(ear)) < len(sent):
        return False
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == sent
    assert Counter(ids(ear).values()) == Counter(sent.keys())
    return True


def test_a_dispatcher_has_what_the_client_published_while_it_was_dead_or_cut_off(tmp_path: Path) -> None:
    replay, port = free_port(), free_port()
    dispatched = tmp_path / "dispatched"
    with Site(tmp_path) as site, cut(site.client_port, replay) as line:
        chain: dict[str, Any] = {
            "providers": [f"{THERE}:{site.client_port}"],
            "allow": [f"file://{site.outgoing}/**"],
            "directory": str(dispatched),
            "publish_topic": "/dispatched",
            "heartbeat_alarm_scale": 3,
            "routes": [{"topics": [site.topic]}],
        }
        journal = str(tmp_path / "dispatcher.journal")
        whole = {"role": "dispatcher", "journal": journal, "publish": port, "chains": {"near": chain}}
        file = site.write("dispatcher.yaml", whole)
        site.client_options = {"replay": replay, "heartbeat": "2 s"}
        client_file = site.write("client.yaml", site.client_config())
        published, ear = site.ear(site.client_port, site.topic), site.ear(port, "/dispatched")

        def tell(start: int, count: int) -> None:
            """Have the client publish more."""
            sent.update(site.drop_many(count, start=start))
            wait_for(lambda: len(ids(published)) == len(sent), "the client has published")

        sent: dict[str, bytes] = {}
        dispatcher = start(site, "dispatcher", file, ear)
        site.start_server()
        client = start(site, "client", client_file, published)
        tell(0, FIRST)
        wait_for(lambda: once(dispatched, sent, ear), "dispatched as it comes")

        dispatcher.kill()
        tell(FIRST, FILES)
        dispatcher = start(site, "dispatcher", file, ear)
        wait_for(lambda: once(dispatched, sent, ear), "what came while the dispatcher was dead")

        line.fault = Fault("reset")
        line.reset_all()
        tell(FIRST + FILES, MORE)
        line.fault = Fault()
        wait_for(lambda: once(dispatched, sent, ear), "what came while the line was cut")

        dispatcher.kill()
        tell(FIRST + FILES + MORE, MORE)
        client.kill()
        start(site, "client", client_file, published)
        dispatcher = start(site, "dispatcher", file, ear)
        wait_for(lambda: once(dispatched, sent, ear), "what was published by a life that is over")
        tell(FIRST + FILES + 2 * MORE, MORE)
        wait_for(lambda: once(dispatched, sent, ear), "and as it comes again")
        assert dispatcher.stop() == 0
        assert "no such file" not in "".join(process.output for process in site.processes)


def test_a_fetcher_has_what_the_mover_published_while_it_was_dead_or_cut_off(tmp_path: Path) -> None:
    source, replay, port = free_port(), free_port(), free_port()
    moved, fetched = tmp_path / "moved", tmp_path / "fetched"
    with Site(tmp_path) as site, cut(source, replay) as line:
        moves = {
            "origin": f"{site.incoming}/{{name}}.dat",
            "destinations": [f"{moved}/"],
            "topic": "/moved",
            "delete": True,
        }
        mover = {
            "role": "move",
            "journal": str(tmp_path / "move.journal"),
            "publish": source,
            "replay": replay,
            "chains": {"c": moves},
        }
        fetches = {
            "providers": [f"{THERE}:{source}"],
            "topics": ["/moved"],
            "allow": [f"file://{moved}/**"],
            "directory": str(fetched),
            "publish_topic": "/fetched",
            "heartbeat_alarm_scale": 1,
        }
        fetch = {"role": "fetch", "journal": str(tmp_path / "fetch.journal"), "publish": port}
        move_file = site.write("move.yaml", mover)
        fetch_file = site.write("fetch.yaml", {**fetch, "chains": {"c": fetches}})
        published, ear = site.ear(source, "/moved"), site.ear(port, "/fetched")

        def tell(start: int, count: int) -> None:
            """Have the mover publish more."""
            sent.update(site.drop_many(count, start=start))
            wait_for(lambda: len(ids(published)) == len(sent), "the mover has published")

        sent: dict[str, bytes] = {}
        fetcher = start(site, "fetch", fetch_file, ear)
        move = start(site, "move", move_file, published)
        tell(0, FIRST)
        wait_for(lambda: once(fetched, sent, ear), "fetched as it comes")

        fetcher.kill()
        tell(FIRST, FILES)
        move.kill()
        fetcher = start(site, "fetch", fetch_file, ear)
        move = start(site, "move", move_file, published)
        wait_for(lambda: once(fetched, sent, ear), "what came while the fetcher was dead")

        line.silence_all()
        tell(FIRST + FILES, MORE)
        line.reset_all()
        wait_for(lambda: once(fetched, sent, ear), "what came while the line was a black hole")
        for process in (fetcher, move):
            assert process.stop() == 0
