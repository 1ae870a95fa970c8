"""What a server notices: everything that is complete, once per version, whatever the way in which it came."""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from servers.ports import free_port
from stage import Ear, Site, wait_for
from tranship.journal.survey import survey

MANY = 100_000


class Rules:
    """A server with one chain per rule, and who hears it."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder)
        for name, options in {
            "stable": {"settle": {"stable": "1 s"}},
            "companion": {"settle": {"companion": "{name}.ok"}},
            "polled": {"watch": "poll", "poll_interval": "0.2 s"},
            "patient": {"announce_empty_after": "1 s"},
        }.items():
            self.chain(name, "{name}.dat", options)
        self.chain("nested", "{a}/{b}/{name}.dat", {"scan_interval": "1 h"})
        self.ear = self.site.ear(self.site.publish_port)
        self.site.start_server("--verbose")

    def chain(self, name: str, pattern: str, options: dict[str, Any]) -> None:
        self.folder(name).mkdir()
        origin, topic = f"{self.folder(name)}/{pattern}", f"/rule/{name}"
        self.site.more_chains[name] = {"origin": origin, "topic": topic, "request": free_port(), **options}

    def folder(self, chain: str) -> Path:
        return self.site.incoming if chain == "closed" else self.site.folder / chain

    def announced(self, path: Path) -> list[int]:
        """The sizes with which path was announced so far."""
        return [m.data["tranship"]["size"] for m in self.ear.of("file") if m.data["uri"] == str(path)]

    def until(self, path: Path, *sizes: int) -> None:
        """Wait until path was announced with these sizes."""
        wait_for(lambda: len(self.announced(path)) >= len(sizes), f"{path} announced as {sizes}")
        assert self.announced(path) == list(sizes)

    def follow(self, chain: str) -> None:
        """Wait until a file that comes now is announced: what was complete before it would be by then."""
        last = self.folder(chain) / "last" / "one" if chain == "nested" else self.folder(chain)
        last.mkdir(parents=True, exist_ok=True)
        path = last / f"after-{time.monotonic_ns()}.dat"
        path.write_bytes(b"1")
        (path.parent / f"{path.name}.ok").write_bytes(b"")
        self.until(path, 1)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    rules = Rules(tmp_path_factory.mktemp("rules"))
    with rules.site:
        yield rules


def test_a_growing_file_is_announced_when_it_is_closed(rules: Rules) -> None:
    path = rules.folder("closed") / "growing.dat"
    with path.open("wb", buffering=0) as file:
        file.write(b"12345")
        rules.follow("closed")
        file.write(b"67890")
        rules.follow("closed")
        assert rules.announced(path) == []
    rules.until(path, 10)


def test_a_file_that_is_held_open_is_announced_when_it_is_closed_however_quiet(rules: Rules) -> None:
    path = rules.folder("polled") / "held.dat"
    with path.open("wb", buffering=0) as file:
        file.write(b"12345")
        os.utime(path, (time.time() - 100,) * 2)
        rules.follow("polled")
        assert rules.announced(path) == []
        file.write(b"67890")
    rules.until(path, 10)


def test_an_empty_file_is_announced_once_it_is_written(rules: Rules) -> None:
    path = rules.folder("closed") / "empty.dat"
    path.write_bytes(b"")
    rules.follow("closed")
    assert rules.announced(path) == []
    path.write_bytes(b"abc")
    rules.until(path, 3)


def test_an_empty_file_is_announced_at_its_age_if_so_configured(rules: Rules) -> None:
    path = rules.folder("patient") / "empty.dat"
    path.write_bytes(b"")
    rules.follow("patient")
    assert rules.announced(path) == []
    rules.until(path, 0)


@pytest.mark.parametrize("chain", ["closed", "polled"])
def test_a_new_version_is_announced_again_and_the_same_is_not(rules: Rules, chain: str) -> None:
    path = rules.folder(chain) / "version.dat"
    path.write_bytes(b"one")
    rules.until(path, 3)
    path.write_bytes(b"other")
    rules.until(path, 3, 5)
    with path.open("rb+"):
        pass  # closed after writing nothing: an event, but no news
    rules.follow(chain)
    assert rules.announced(path) == [3, 5]


def test_a_file_is_stable_when_it_has_not_changed_for_its_time(rules: Rules) -> None:
    path = rules.folder("stable") / "slow.dat"
    path.write_bytes(b"1")
    rules.follow("closed")
    with path.open("ab") as file:
        file.write(b"2")
    written = time.time()
    rules.until(path, 2)
    [message] = [m for m in rules.ear.of("file") if m.data["uri"] == str(path)]
    assert message.time.timestamp() - written > 0.9


def test_a_file_waits_for_its_companion(rules: Rules) -> None:
    path = rules.folder("companion") / "main.dat"
    path.write_bytes(b"abc")
    rules.follow("companion")
    assert rules.announced(path) == []
    path.with_name("main.dat.ok").write_bytes(b"")
    rules.until(path, 3)


def test_renamed_files_are_announced_under_their_new_names(rules: Rules) -> None:
    folder = rules.folder("closed")
    (folder / ".hidden").write_bytes(b"abcd")
    os.rename(folder / ".hidden", folder / "renamed.dat")
    rules.until(folder / "renamed.dat", 4)


def test_what_is_moved_in_from_elsewhere_is_announced_without_a_scan(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.chain_options = {"watch": "inotify", "scan_interval": "1 h"}
        ear = site.ear(site.publish_port, site.topic)
        site.start_server()
        (tmp_path / "made.dat").write_bytes(b"made elsewhere")
        os.rename(tmp_path / "made.dat", site.incoming / "made.dat")
        assert ear.until(1, "file")[0].data["uid"] == "made.dat"


def test_folders_that_are_moved_in_are_announced_with_all_that_is_in_them(rules: Rules) -> None:
    outside, watched = rules.site.folder / "outside", rules.folder("nested")
    (outside / "deep").mkdir(parents=True)
    for number in range(10):
        (outside / "deep" / f"{number}.dat").write_bytes(b"x" * (number + 1))
    os.rename(outside, watched / "moved")
    for number in range(10):
        rules.until(watched / "moved" / "deep" / f"{number}.dat", number + 1)
    # and from then on they are watched, under that name, also when it changes
    (watched / "moved" / "deep" / "later.dat").write_bytes(b"later")
    rules.until(watched / "moved" / "deep" / "later.dat", 5)
    os.rename(watched / "moved", watched / "again")
    rules.until(watched / "again" / "deep" / "later.dat", 5)
    (watched / "again" / "deep" / "last.dat").write_bytes(b"last")
    rules.until(watched / "again" / "deep" / "last.dat", 4)


def test_a_name_that_is_no_text_holds_up_nobody(rules: Rules) -> None:
    odd = os.fsencode(rules.folder("closed")) + b"/\xff\xfe.dat"
    with open(odd, "wb") as file:
        file.write(b"abc")
    (rules.folder("closed") / "two\nlines.dat").write_bytes(b"abc")
    rules.follow("closed")
    rules.follow("closed")
    assert not rules.site.server.said("is started again")
    assert rules.site.server.said("UTF-8")
    assert rules.site.server.said("line break")


def test_a_large_file_that_is_seen_again_while_it_is_read_is_announced_once(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.chain_options = {"watch": "poll", "poll_interval": "0.01 s", "checksum": "sha256"}
        ear = site.ear(site.publish_port, site.topic)
        path = site.drop("large.dat", b"1")
        os.truncate(path, 300 << 20)
        os.utime(path, (0, 0))
        site.start_server()
        ear.until(1)
        site.drop("after.dat", b"1")
        messages = ear.until(2)
        assert [message.data["uid"] for message in messages] == ["large.dat", "after.dat"]


def test_the_old_flags_poll_and_leave_the_backlog_alone(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        ear = site.ear(site.publish_port, site.topic)
        site.drop("before.dat", b"1")
        site.start_server("-w", "--disable-backlog")
        site.drop("after.dat", b"12")
        assert [message.data["uid"] for message in ear.until(1)] == ["after.dat"]
        links = [os.readlink(fd) for fd in Path(f"/proc/{site.server.popen.pid}/fd").iterdir()]
        assert "anon_inode:inotify" not in links


def test_a_new_version_is_delivered_and_deletions_survive_a_restart(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.chain_options = {"delete": True, "remove_delay": "3 s"}
        ear = site.ear(site.client_port, site.topic)
        site.start_server()
        site.start_client()
        path = site.drop("a.dat", b"one")
        ear.until(1)
        path.write_bytes(b"other")
        ear.until(2)
        delivered = time.time()
        assert site.delivered() == {"a.dat": b"other"}
        site.server.kill()
        assert path.read_bytes() == b"other"
        site.start_server()
        wait_for(lambda: not path.exists(), "the source is deleted")
        assert time.time() - delivered > 2.5
        assert site.delivered() == {"a.dat": b"other"}
        assert len(ear.of("file")) == 2


def test_a_hundred_thousand_files_in_new_nested_folders(capsys: pytest.CaptureFixture[str]) -> None:
    with _quick_folder() as folder, Site(folder) as site:
        site.pattern = "{a}/{b}/{name}.dat"
        ear = site.ear(site.publish_port, site.topic)
        site.start_server()
        begun = time.monotonic()
        leaves = list(_make_files(site.incoming, MANY // 100))
        made = time.monotonic() - begun
        counts = _until(ear, Counter(), MANY)
        took = time.monotonic() - begun
        peak = site.server.peak_memory
        assert site.server.stop() == 0

        # a restart finds them all, and only the new ones are news
        for leaf in leaves:
            (leaf / "new.dat").write_bytes(b"new")
        begun = time.monotonic()
        site.start_server()
        counts = _until(ear, counts, MANY + 100)
        again = time.monotonic() - begun
        assert site.server.stop() == 0
        assert set(counts.values()) == {1}
        assert len(counts) == MANY + 100
        [row] = survey(folder / "server.journal").rows
        assert row.numbers["announced"] == MANY + 100
        with capsys.disabled():
            print(
                f"\n{MANY} files made in {made:.1f} s, all announced after {took:.1f} s; "
                f"server: {peak:.0f} MB at most; restart, all looked at again: {again:.1f} s"
            )
        assert peak < 200


@contextmanager
def _quick_folder() -> Iterator[Path]:
    """A folder in memory, if that can be: this is about the server, not about the disk."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def _make_files(root: Path, each: int) -> Iterator[Path]:
    """A hundred folders two deep, as fast as they can be made."""
    for a in range(10):
        for b in range(10):
            leaf = root / f"a{a}" / f"b{b}"
            leaf.mkdir(parents=True)
            for number in range(each):
                descriptor = os.open(f"{leaf}/{number:05d}.dat", os.O_WRONLY | os.O_CREAT, 0o644)
                os.write(descriptor, b"%d" % number)
                os.close(descriptor)
            yield leaf


def _until(ear: Ear, counts: "Counter[str]", count: int) -> "Counter[str]":
    """Count how often each file is announced, until so many different ones were."""

    def heard() -> bool:
        ear.listen()
        counts.update(message.fields["uri"] for message in ear.messages if message.type == "file")
        ear.messages.clear()
        return len(counts) >= count

    wait_for(heard, f"{count} files announced", 60)
    return counts
