"""What a server of Trollmoves announces while our client is dead: it is asked by `info`."""

import os
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from stage import Ear, Site, wait_for

FIRST = "MSG4-9999-202601011200.dat"

SERVER_INI = """\
[peers]
origin = {incoming}/{{series}}-{{segment:04d}}-{{start_time:%Y%m%d%H%M}}.dat
topic = /1b/hrit
info = sensor=seviri;channels=HRV,IR_108
request_port = {request_port}
request_address = 127.0.0.1
"""


class OldServer(Site):
    """A server of Trollmoves; a client of ours whose second chain has a folder per segment."""

    def start_old_server(self) -> None:
        (self.folder / "server.ini").write_text(SERVER_INI.format(**vars(self)))
        script = str(Path(sys.executable).with_name("move_it_server.py"))
        arguments = [script, str(self.folder / "server.ini"), "-p", str(self.publish_port)]
        self.run("old", [sys.executable, *arguments])

    def client_config(self, name: str = "client") -> dict[str, Any]:
        config = super().client_config(name)
        config["chains"]["hrit"]["destination"] = f"file://{self.outgoing}/{{series}}/"
        config["chains"]["each"] = {
            **config["chains"]["hrit"],
            "destination": f"file://{self.folder}/each/{{segment:04d}}/",
            "publish": 0,
        }
        return config

    def drop_some(self, first: int, last: int, series: str = "MSG4") -> set[str]:
        names = {f"{series}-{n:04d}-202601011200.dat" for n in range(first, last)}
        for name in sorted(names):
            self.drop(name, os.urandom(1000))
        return names

    def states(self) -> Counter[tuple[str, str]]:
        """How many deliveries of each chain are how far, as the client's journal has it."""
        with closing(sqlite3.connect(f"file:{self.folder}/client.journal?mode=ro", uri=True)) as db:
            return Counter(db.execute("SELECT chain, state FROM jobs").fetchall())

    def lines(self, *parts: str) -> list[str]:
        """The lines of the client's log that hold all parts."""
        return [line for line in self.client.output.splitlines() if all(part in line for part in parts)]


def test_a_client_that_was_killed_fetches_what_an_old_server_announced_meanwhile(tmp_path: Path) -> None:
    with OldServer(tmp_path) as site:
        announced, published = site.ear(site.publish_port), site.ear(site.client_port)

        def told(ear: Ear) -> list[str]:
            return sorted(uid for m in ear.of("file") if (uid := m.data["uid"]) != FIRST)

        def works() -> bool:
            site.drop(FIRST, os.urandom(8))
            return bool(published.of("file"))

        site.start_client()
        site.drop(FIRST, os.urandom(8))
        site.start_old_server()
        wait_for(lambda: announced.of("file"), "its backlog announced, which it does seconds after its start")
        wait_for(works, "a first file through")
        before = site.drop_some(0, 10)
        wait_for(lambda: told(published) == sorted(before), "the first ones published")
        wait_for(lambda: site.states() == {("hrit", "done"): 11, ("each", "done"): 11}, "and written down")
        site.client.kill()
        missed, strange = site.drop_some(10, 30), site.drop_some(30, 31, "MSG3")
        wait_for(lambda: set(told(announced)) == before | missed | strange, "announced, and not heard")

        site.start_client()
        wait_for(lambda: told(published) == sorted(before | missed), "what was missed published")
        after = site.drop_some(40, 50)
        wait_for(lambda: told(published) == sorted(before | missed | after), "and what comes now")
        for name in missed:
            source, copy = (site.incoming / name).read_bytes(), (site.outgoing / "MSG4" / name).read_bytes()
            assert source == copy
        known = {m.data["uid"]: m.data for m in published.of("file")}
        assert all(known[name]["series"] == "MSG4" for name in missed | after)
        assert all(known[name]["channels"] == ["HRV", "IR_108"] for name in missed | after)
        assert not any("segment" in known[name] or "start_time" in known[name] for name in missed)
        assert all("segment" in known[name] for name in after)

        # what can't be known is said: the series of another satellite, and the segment that is its folder
        states = {
            **{("hrit", "done"): 41, ("hrit", "dead"): 1},
            **{("each", "done"): 21, ("each", "dead"): 21},
        }
        wait_for(lambda: site.states() == states, "all is written down")
        [line] = site.lines("replayed", "chain=hrit")
        assert "20 announcements, by info; published without segment, series, start_time" in line
        for chain, count in (("hrit", 1), ("each", 21)):
            [line] = site.lines(f"announced unheard, and can't be asked for: {count} file", f"chain={chain}")
            assert "needs" in line
            assert "tranship request push" in line
