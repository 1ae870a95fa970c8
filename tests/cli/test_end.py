"""A journal that can't be written holds up no exit, and the exit says so."""

import sqlite3
from pathlib import Path

from stage import Site


def test_a_server_leaves_although_its_journal_hangs(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.start_server()
        blocking = sqlite3.connect(tmp_path / "server.journal", isolation_level=None)
        try:
            blocking.execute("BEGIN IMMEDIATE")
            site.drop("a.dat", b"a")
            site.server.until("journal writing")
            assert site.server.stop(25) == 75
            assert "unwritten, which is found again: " in site.server.output
        finally:
            blocking.close()
        site.start_server()
        site.server.until("announced ")
