"""Our spare beside a primary of Trollmoves, as it comes from PyPI."""

import os
import sys
from pathlib import Path

from stage import Ear, Site, free_port, wait_for

PRIMARY_INI = """\
[hrit]
providers = 127.0.0.1:{publish_port}
destination = file://{outgoing}/
login = user:password
topic = /1b
publish_port = {primary_port}
nameservers = false
"""


def test_our_spare_leaves_their_primary_what_it_does_and_takes_over_when_it_dies(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        port = free_port()
        (tmp_path / "primary.ini").write_text(PRIMARY_INI.format(**vars(site), primary_port=port))
        theirs, ours = site.ear(port), site.ear(site.client_port)
        site.start_server()
        script = str(Path(sys.executable).with_name("move_it_client.py"))
        primary = site.run("primary", [sys.executable, script, str(tmp_path / "primary.ini")])

        def works() -> bool:
            site.drop("try.dat", os.urandom(8))
            return wait_for_one(theirs)

        wait_for(works, "a first file through Trollmoves", 60)
        site.client_options = {
            "providers": [f"127.0.0.1:{site.publish_port}", f"127.0.0.1:{port}"],
            "processing_delay": "5 s",
            "lease": "4 s",
        }
        spare = site.start_client("--verbose")
        site.drop_many(10)
        spare.until("published by another client", 10)
        assert _uids(ours) & {f"f{n:06d}.dat" for n in range(10)} == set()
        primary.kill()
        files = site.drop_many(10, start=10)
        wait_for(lambda: _uids(ours) >= set(files), "all published by the spare")
        told = [message.data["uid"] for ear in (theirs, ours) for message in ear.of("file")]
        assert sorted(uid for uid in told if uid != "try.dat") == [f"f{n:06d}.dat" for n in range(20)]


def wait_for_one(ear: Ear) -> bool:
    try:
        return bool(ear.until(1, deadline=0.5))
    except AssertionError:
        return False


def _uids(ear: Ear) -> set[str]:
    return {message.data["uid"] for message in ear.of("file")}
