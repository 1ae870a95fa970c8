"""The fetcher as a process: a large download that is broken off goes on, with the same version only."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import zmq
from test_failed_jobs import said

from servers import dav
from servers.proxy import Fault, Proxy, Route
from stage import Ear, Process, Site, free_port, wait_for
from tranship.wire.messages import compose

SIZE = 24 << 20
BROKEN_AT = 16 << 20
SECONDS = 1_234_567_890


@dataclass
class Stage:
    """A real web server with one large file, a proxy before it, and a fetcher that is told of the file once."""

    site: Site
    proxy: Proxy
    served: Path
    config: Path
    ear: Ear
    heard: Callable[[], bool]
    """Whether the fetcher has heard of the file; it is told once more."""

    def serve(self, seconds: int) -> bytes:
        """Another content of the same size, of this time; it is put at one stroke."""
        content = os.urandom(SIZE)
        new = self.served.with_suffix(".new")
        new.write_bytes(content)
        os.utime(new, (seconds, seconds))
        new.replace(self.served)
        return content

    def fetch(self, name: str) -> Process:
        return self.site.tranship(name, "fetch", str(self.config)).until(" ready")

    def parts(self) -> list[Path]:
        folder = self.site.outgoing
        return [path for path in folder.iterdir() if path.name.endswith(".part")] if folder.exists() else []

    def begun(self) -> int:
        """Bytes of the file that are here."""
        return max((path.stat().st_size for path in self.parts()), default=0)

    def arrives(self, content: bytes) -> None:
        wait_for(lambda: self.ear.of("file"), "it is told of")
        assert self.site.delivered() == {"large.dat": content}


@contextmanager
def stage(tmp_path: Path, fault: Fault, **chain: object) -> Iterator[Stage]:
    with (
        Site(tmp_path) as site,
        dav.nginx() as nginx,
        Proxy(Route(("127.0.0.1", nginx.port)), fault=fault) as proxy,
        closing(site._context.socket(zmq.PUB)) as somebody,
    ):
        journal, port = tmp_path / "fetch.journal", free_port()
        told = {
            "providers": [f"127.0.0.1:{somebody.bind_to_random_port('tcp://127.0.0.1')}"],
            "topics": ["/a"],
            "allow": [f"http://127.0.0.1:{proxy.port}/**"],
            "login": f"{dav.USER}:{dav.PASSWORD}",
            "directory": str(site.outgoing),
            **chain,
        }
        config = site.write(
            "fetch.yaml", {"role": "fetch", "journal": str(journal), "publish": port, "chains": {"web": told}}
        )
        served = nginx.folder / "large.dat"
        url = f"http://127.0.0.1:{proxy.port}/{served.name}"
        message = compose("/a", "file", {"uri": url, "uid": "large.dat"}).encode()

        def heard() -> bool:
            somebody.send(message)  # the same one: it is one job
            with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
                return bool(db.execute("SELECT 1 FROM jobs").fetchone())

        yield Stage(site, proxy, served, config, site.ear(port, "/a"), heard)


STALL = Fault("stall", at=BROKEN_AT, direction="down", seconds=600)


def broken_off(it: Stage) -> None:
    """Kill -9 in the middle of the download."""
    process = it.fetch("first")
    wait_for(it.heard, "it is heard of")
    wait_for(lambda: it.begun() > BROKEN_AT - (1 << 20), "most of it is here")
    process.kill()
    it.proxy.fault = Fault()
    assert not it.ear.of("file")


def test_after_kill_9_only_the_rest_of_a_large_file_is_asked_for(tmp_path: Path) -> None:
    with stage(tmp_path, STALL) as it:
        content = it.serve(SECONDS)
        broken_off(it)
        came = it.proxy.came_down
        last = it.fetch("last")
        it.arrives(content)
        assert it.proxy.came_down - came < SIZE // 2
        assert last.stop() == 0
        assert len({m.data["tranship"]["id"] for m in it.ear.of("file")}) == len(it.ear.of("file")) == 1


def test_after_kill_9_another_version_of_the_same_size_is_fetched_whole(tmp_path: Path) -> None:
    with stage(tmp_path, STALL) as it:
        it.serve(SECONDS)
        broken_off(it)
        content = it.serve(SECONDS + 1)
        it.fetch("last")
        it.arrives(content)


def test_what_was_fetched_of_a_dropped_job_is_removed(tmp_path: Path) -> None:
    fault = Fault("reset", at=BROKEN_AT, direction="down")
    never = {"first": "1 h", "longest": "1 h"}
    with stage(tmp_path, fault, connection_parameters={"resumes": 0}, retry=never) as it:
        it.serve(SECONDS)
        process = it.fetch("first")
        wait_for(it.heard, "it is heard of")
        wait_for(lambda: "retried" in process.output or "paused" in process.output, "the line was cut")
        it.proxy.fault = Fault("reset", at=0, direction="down")
        assert it.begun()
        assert "1 dropped" in said("drop", str(it.config), "large.dat", "--yes")
        wait_for(lambda: not it.parts(), "nothing is left of it")
        assert process.stop() == 0
