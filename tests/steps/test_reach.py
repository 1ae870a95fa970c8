"""Which files messages may name: what is written and where links lead."""

from pathlib import Path

import pytest

from tranship.core.clock import SystemClock
from tranship.steps.reach import REMEMBERED, Reach


class Hand:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    now = steady = monotonic


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for folder in ("data/in", "data/out", "secret"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("data/in/a", "data/out/b", "secret/key"):
        (tmp_path / file).write_text(file)
    return tmp_path


def test_only_what_is_named_may_be_sent(place: Path) -> None:
    reach = Reach([f"file://{place}/data/in/*", f"file://{place}/data/o*/**"], SystemClock())
    assert reach(f"{place}/data/in/a") == reach(f"{place}/data/out/b") == ""
    assert reach(f"{place}/data/in/not there") == ""  # nothing can be sent of it
    for path in ("secret/key", "data/c", "data/in/deep/a", "data/in/../../secret/key"):
        assert (
            reach(f"{place}/{path}")
            == f"{place}/{path} is not allowed; add it to `allow`, if that message may name it"
        )
    assert Reach([], SystemClock())(f"{place}/data/in/a")


def test_no_link_leads_out(place: Path) -> None:
    reach = Reach([f"file://{place}/data/**"], SystemClock())
    (place / "data/in/file").symlink_to(place / "secret/key")
    (place / "data/in/chain").symlink_to("file")
    (place / "data/in/folder").symlink_to(place / "secret")
    (place / "data/in/loop").symlink_to("loop")
    (place / "data/in/inside").symlink_to(place / "data/out/b")
    for path in ("file", "chain", "folder/key"):
        told = f"{place}/data/in/{path} leads by a link to {place}/secret/key, which is not allowed"
        assert reach(f"{place}/data/in/{path}").startswith(told)
    assert reach(f"{place}/data/in/inside") == reach(f"{place}/data/in/loop") == ""
    both = Reach([f"file://{place}/data/**", f"file://{place}/secret/**"], SystemClock())
    assert both(f"{place}/data/in/folder/key") == ""


def test_an_allowed_folder_may_be_a_link_itself(place: Path) -> None:
    (place / "short").symlink_to(place / "data")
    (place / "short/in/out").symlink_to(place / "secret/key")
    reach = Reach([f"file://{place}/short/in/**"], SystemClock())
    assert reach(f"{place}/short/in/a") == ""
    assert reach(f"{place}/data/in/a")
    assert "leads by a link" in reach(f"{place}/short/in/out")


def test_a_folder_that_became_a_link_is_noticed_soon_and_a_file_at_once(place: Path) -> None:
    clock = Hand()
    reach = Reach([f"file://{place}/data/**"], clock)
    assert reach(f"{place}/data/in/a") == ""
    (place / "data/in/a").unlink()
    (place / "data/in/a").symlink_to(place / "secret/key")
    assert "leads by a link" in reach(f"{place}/data/in/a")
    (place / "data/in/a").unlink()
    (place / "data/in").rmdir()
    (place / "data/in").symlink_to(place / "secret")
    clock.at += REMEMBERED
    assert "leads by a link" in reach(f"{place}/data/in/key")


def test_everything_is_everything(place: Path) -> None:
    (place / "data/in/file").symlink_to(place / "secret/key")
    reach = Reach(["file:///**"], SystemClock())
    assert reach(f"{place}/data/in/file") == reach("/etc/passwd") == ""
