"""Tests named after nights that somebody lost (docs/reliability.md lists them all, here and elsewhere)."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from servers.ftp import PASSWORD, USER, Ftp, pyftpd, python_311
from stage import Ear, Site, wait_for

HERE = Path(__file__).parents[2]


def rows(journal: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=10)) as db:
        return db.execute(query).fetchall()


@contextmanager
def counting_ftp(bytes_per_second: int) -> Iterator[tuple[Ftp, list[str]]]:
    """An FTP server that takes its time, and the uploads that were begun there."""
    with python_311():
        from pyftpdlib.handlers import FTPHandler, ThrottledDTPHandler
    begun: list[str] = []

    def stor(self: Any, file: str, mode: str = "w") -> Any:
        begun.append(os.path.basename(file))
        return FTPHandler.ftp_STOR(self, file, mode)

    slow = type("Slow", (ThrottledDTPHandler,), {"read_limit": bytes_per_second})
    with pyftpd(dtp_handler=slow, ftp_STOR=stor) as ftp:
        yield ftp, begun


@pytest.mark.parametrize("seconds", [3, pytest.param(120, marks=pytest.mark.soak)])
def test_a_long_transfer_requested_with_a_patience_of_one_second_runs_once(
    tmp_path: Path, seconds: int
) -> None:
    with counting_ftp(1 << 20) as (ftp, begun), Site(tmp_path) as site:
        login = site.folder / "login"
        login.touch(0o600)
        login.write_text(f"{USER}:{PASSWORD}")
        site.chain_options = {"allow": [f"ftp://127.0.0.1:{ftp.port}/**"]}
        site.client_options = {
            "destination": f"ftp://127.0.0.1:{ftp.port}/",
            "login_file": str(login),
            "transfer_req_timeout": "1 s",
        }
        ear = site.ear(site.client_port, site.topic)
        site.start_server()
        site.start_client()
        content = os.urandom(seconds << 20)
        site.drop("large.dat", content)
        ear.until(1, deadline=seconds * 3 + 30)
        assert (ftp.folder / "large.dat").read_bytes() == content
        assert len(begun) == 1
        assert rows(tmp_path / "server.journal", "SELECT state FROM transfers") == [("done",)]
        assert len(ear.of("file")) == 1


def fetched_once(site: Site, ear: Ear, files: dict[str, bytes]) -> None:
    """Wait until all files were published; each of them was moved once and published once."""
    wait_for(lambda: len(ear.of("file")) >= len(files), f"{len(files)} published", 60 + len(files) / 50)
    assert site.delivered() == files
    counts = Counter(message.data["uid"] for message in ear.of("file"))
    assert counts == dict.fromkeys(files, 1)
    moves = rows(site.folder / "server.journal", "SELECT attempts, count(*) FROM transfers GROUP BY attempts")
    assert moves == [(1, len(files))]


@pytest.mark.parametrize(
    "count", [1000, *(pytest.param(n, marks=pytest.mark.soak) for n in (10_000, 100_000))]
)
def test_announcements_missed_while_down_and_a_restart_that_announces_nothing_again(
    tmp_path: Path, count: int
) -> None:
    with Site(tmp_path) as site:
        site.chain_options = {"watch": "poll", "poll_interval": "1 s"}
        announced, ear = site.ear(site.publish_port, site.topic), site.ear(site.client_port, site.topic)
        site.start_server()
        site.start_client()
        files = site.drop_many(1)
        ear.until(1)
        assert site.client.stop() == 0
        files |= site.drop_many(count, start=1)
        announced.until(count + 1, deadline=60 + count / 50)
        site.start_client()
        fetched_once(site, ear, files)
        # what a restart of the server finds in its scans was announced before
        site.server.kill()
        site.start_server()
        for start in (count + 1, count + 2):  # two looks, one after the other, have seen everything
            files |= site.drop_many(1, start=start)
            ear.until(start + 1)
        fetched_once(site, ear, files)
        uris = Counter(message.data["uri"] for message in announced.of("file"))
        assert set(uris.values()) == {1}


def test_dedup_by_base_name(tmp_path: Path) -> None:
    """One name in two folders, with the same bytes; then new content under one of them."""
    with Site(tmp_path) as site:
        site.pattern = "{folder}/{name}.dat"
        site.client_options = {"destination": f"file://{site.outgoing}/{{folder}}/"}
        ear = site.ear(site.client_port, site.topic)
        site.start_server()
        site.start_client()
        site.drop("a/same.dat", b"1")
        site.drop("b/same.dat", b"1")
        ear.until(2)
        site.drop("a/same.dat", b"22")
        ear.until(3)
        found = {
            str(path.relative_to(site.outgoing)): path.read_bytes() for path in site.outgoing.glob("*/*")
        }
        assert found == {"a/same.dat": b"22", "b/same.dat": b"1"}
        folders = [Path(message.data["uri"]).parent.name for message in ear.of("file")]
        assert Counter(folders) == {"a": 2, "b": 1}


def test_every_night_has_its_test() -> None:
    """docs/reliability.md names tests that are there: `tests/…/test_x.py::test_y`."""
    page = (HERE / "docs/reliability.md").read_text()
    named = sorted({word for word in page.split("`") if "::test_" in word})
    assert len(named) > 40
    for name in named:
        file, _, test = name.partition("::")
        code = HERE / "tests" / file
        assert code.is_file(), name
        assert f"def {test}(" in code.read_text(), name
