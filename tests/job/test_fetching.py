"""The fetcher as a process: killed in the middle of downloads and at every boundary after them."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import zmq

from servers.proxy import Fault, Proxy, Route
from servers.web import web
from stage import Process, Site, free_port, wait_for
from tranship.faultpoints import VARIABLE, Point
from tranship.wire.messages import compose
from tranship_movers.checksum import digest

FILES = 12
SIZE = 300_000
AFTERWARDS = (Point.VERIFIED, Point.DELIVERED, Point.PUBLISHED, Point.DONE)


def test_kill_9_in_the_middle_of_downloads_and_after_each_step_leaves_every_file_whole_and_once(
    tmp_path: Path,
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    files = {f"f{n:02d}.dat": os.urandom(SIZE) for n in range(FILES)}
    for name, content in files.items():
        (served / name).write_bytes(content)
    with (
        Site(tmp_path) as site,
        web(served) as behind,
        Proxy(
            Route(("127.0.0.1", behind)), fault=Fault("stall", at=SIZE // 2, direction="down", seconds=600)
        ) as proxy,
        closing(site._context.socket(zmq.PUB)) as somebody,
    ):
        source, port = somebody.bind_to_random_port("tcp://127.0.0.1"), free_port()
        journal = tmp_path / "fetch.journal"
        chain = {
            "providers": [f"127.0.0.1:{source}"],
            "topics": ["/a"],
            "allow": [f"http://127.0.0.1:{proxy.port}/**"],
            "directory": str(site.outgoing),
        }
        file = site.write(
            "fetch.yaml",
            {"role": "fetch", "journal": str(journal), "publish": port, "chains": {"web": chain}},
        )
        ear = site.ear(port, "/a")

        def tell() -> int:
            """Say it again until it was heard; how many jobs there are."""
            for name in files:
                path = served / name
                facts = {"v": 1, "size": path.stat().st_size, "mtime": path.stat().st_mtime_ns}
                facts["checksum"] = f"xxh128:{digest(path, 'xxh128')}"
                items = {"uri": f"http://127.0.0.1:{proxy.port}/{name}", "uid": name, "tranship": facts}
                somebody.send(compose("/a", "file", items).encode())
            with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT count(*) FROM jobs").fetchone()[0])

        def parts() -> list[Path]:
            return [path for path in site.outgoing.iterdir() if path.name.endswith(".part")]

        process = site.tranship("first", "fetch", str(file)).until(" ready")
        wait_for(lambda: tell() == FILES, "all are heard of")
        wait_for(lambda: [p for p in parts() if p.stat().st_size > SIZE // 4], "a download is half done")
        process.kill()
        assert parts()
        assert not ear.of("file")

        proxy.fault = Fault()
        for number, point in enumerate(AFTERWARDS):
            files[name := f"more{number}.dat"] = os.urandom(1000)
            (served / name).write_bytes(files[name])
            armed = site.tranship(f"armed{number}", "fetch", str(file), **{VARIABLE: f"{point}:1"})

            def died(armed: Process = armed) -> bool:
                ear.listen()
                return bool(tell()) and armed.popen.poll() is not None

            wait_for(died, f"it dies: {point}")
        last = site.tranship("last", "fetch", str(file)).until(" ready")
        wait_for(
            lambda: tell() == len(files) and {m.data["uid"] for m in ear.of("file")} == set(files),
            "all are told of",
        )
        assert last.stop() == 0
        assert site.delivered() == files  # and no temporary file
        ids = {m.data["tranship"]["id"]: m.data["uid"] for m in ear.of("file")}
        assert sorted(ids.values()) == sorted(files)  # what is told again after a crash has its id
        assert "again, after a restart" in "".join(process.output for process in site.processes)
