"""A topic behind a provider, read by our client and by Trollmoves' from the same file.

Ours hears that topic there, as the option says. Theirs (0.19) cuts it off, and hears the section's everywhere.
"""

import sys
from itertools import count
from pathlib import Path

from stage import Site, free_port, wait_for

KINDS = ("tranship", "trollmoves")
SERVER = """\
[one]
origin = {folder}/{name}-one/{{name}}.dat
topic = /1b/one
request_port = {first}
request_address = 127.0.0.1

[two]
origin = {folder}/{name}-two/{{name}}.dat
topic = /2b/two
request_port = {second}
request_address = 127.0.0.1
"""
CLIENT = """\
[c]
providers = 127.0.0.1:{plain} 127.0.0.1:{told}/2b
destination = file://{folder}/{kind}/
topic = /1b
publish_port = {publish}
nameservers = false
"""


def test_it_replaces_the_sections_topic_for_that_provider(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        ports = {"plain": free_port(), "told": free_port()}
        for name, port in ports.items():
            for chain in ("one", "two"):
                (tmp_path / f"{name}-{chain}").mkdir()
            requests = {"first": free_port(), "second": free_port()}
            (tmp_path / f"{name}.ini").write_text(SERVER.format(folder=tmp_path, name=name, **requests))
            state = {"XDG_STATE_HOME": str(tmp_path)}
            site.tranship(name, "server", str(tmp_path / f"{name}.ini"), "-p", str(port), **state)
        for kind in KINDS:
            (tmp_path / kind).mkdir()
            file = tmp_path / f"{kind}.ini"
            file.write_text(CLIENT.format(folder=tmp_path, kind=kind, publish=free_port(), **ports))
            if kind == "tranship":
                site.tranship(kind, "client", str(file), XDG_STATE_HOME=str(tmp_path))
            else:
                script = Path(sys.executable).with_name("move_it_client.py")
                site.run(kind, [sys.executable, str(script), str(file)])
        numbers = count()

        def arrived() -> bool:
            """Whether each client has something of both servers; what they are not to take was dropped before."""
            n = next(numbers)
            for name, chain in (("plain", "two"), ("told", "one"), ("plain", "one"), ("told", "two")):
                file = tmp_path / f"{name}-{chain}" / f"{name}-{chain}-{n}.dat"
                file.write_bytes(b"content")
            try:
                return bool(wait_for(lambda: all(len(of(kind)) >= 2 for kind in KINDS), "", 1))
            except AssertionError:
                return False

        def of(kind: str) -> set[str]:
            return {path.name.rpartition("-")[0] for path in (tmp_path / kind).glob("*.dat")}

        wait_for(arrived, "each client has something of both servers", 90)
        assert of("tranship") == {"plain-one", "told-two"}
        assert of("trollmoves") == {"plain-one", "told-one"}
