"""The mover as a process: no client, two destinations, of which one is dead for a while, and kill -9."""

from pathlib import Path

from servers.ftp import PASSWORD, USER, pyftpd
from servers.proxy import Fault, Proxy, Route
from stage import Ear, Process, Site, free_port, wait_for
from tranship.faultpoints import VARIABLE, Point

FILES = 20


def start(site: Site, file: Path, ear: Ear, **environment: str) -> Process:
    """Start it; listen meanwhile: a subscriber is heard again only while it reads."""
    process = site.tranship(f"move{len(site.processes)}", "move", str(file), **environment)
    wait_for(lambda: [process.said(" ready"), ear.listen()][0], "it is ready")
    return process


def test_kill_9_and_a_dead_destination_lose_and_repeat_nothing(tmp_path: Path) -> None:
    port = free_port()
    with (
        Site(tmp_path) as site,
        pyftpd() as server,
        Proxy(Route((server.host, server.port)), fault=Fault("reset")) as proxy,
    ):
        far = {"url": f"ftp://127.0.0.1:{proxy.port}/in/", "login": f"{USER}:{PASSWORD}"}
        chain = {
            "origin": f"{site.incoming}/{{name}}.dat",
            "destinations": [f"{site.outgoing}/", far],
            "topic": "/moved",
            "info": {"sensor": "seviri"},
            "delete": True,
        }
        journal = str(site.folder / "move.journal")
        whole = {"role": "move", "journal": journal, "publish": port, "chains": {"hrit": chain}}
        file = site.write("move.yaml", whole)
        file.chmod(0o600)
        ear = site.ear(port, "/moved")

        def told(folder: Path | str) -> set[str]:
            return {
                str(m.data["uid"]) for m in ear.of("file") if m.data["uri"] == f"{folder}/{m.data['uid']}"
            }

        sent = site.drop_many(FILES)  # before the start: it is moved all the same
        process = start(site, file, ear)
        wait_for(lambda: len(told(site.outgoing)) == FILES, "the other destination waits for nobody")
        assert sorted(p.name for p in site.incoming.iterdir()) == sorted(sent)  # not everywhere: not deleted
        first = {path.name: path.stat().st_ino for path in site.outgoing.iterdir()}
        process.kill()

        sent |= site.drop_many(FILES, start=FILES)
        process = start(site, file, ear)
        wait_for(
            lambda: len(told(site.outgoing)) == 2 * FILES, "what came while nobody watched is moved, too"
        )
        proxy.fault = Fault()
        wait_for(lambda: len(told("/in")) == 2 * FILES, "the destination that was dead has all", 60)
        wait_for(lambda: not list(site.incoming.iterdir()), "what is everywhere is deleted")
        process.kill()

        armed = start(site, file, ear, **{VARIABLE: f"{Point.DELIVERED}:2"})
        sent |= {"last.dat": b"last"}
        site.drop("last.dat", b"last")
        wait_for(lambda: armed.popen.poll() is not None, "it dies, with the file everywhere and not deleted")
        assert (site.incoming / "last.dat").exists()
        process = start(site, file, ear)
        wait_for(lambda: not list(site.incoming.iterdir()), "it is deleted after the crash")
        wait_for(lambda: "last.dat" in told(site.outgoing) & told("/in"), "it is published after the crash")
        assert process.stop() == 0

        assert site.delivered() == sent
        assert {p.name: p.read_bytes() for p in (server.folder / "in").iterdir()} == sent
        assert first.items() <= {p.name: p.stat().st_ino for p in site.outgoing.iterdir()}.items()
        by_id = {m.data["tranship"]["id"]: m.data["uri"] for m in ear.of("file")}
        assert (
            len(by_id) == len(set(by_id.values())) == 2 * len(sent)
        )  # what repeats after a crash has its id
        assert {(m.data["sensor"], f"{m.data['name']}.dat" == m.data["uid"]) for m in ear.of("file")} == {
            ("seviri", True)
        }
        assert PASSWORD not in "".join(p.output for p in site.processes)
