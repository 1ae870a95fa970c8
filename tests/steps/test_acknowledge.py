"""What an acknowledgement says, and what a server then lets go: what is meant, not what came since."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tranship.core.clock import SystemClock
from tranship.core.values import Version
from tranship.journal import SERVER_SCHEMA, Announced, Journal, ServerBook
from tranship.steps.acknowledge import LetGo, acknowledged, acknowledgement, asked_acknowledgement
from tranship.wire.messages import compose

TOLD = compose("/t", "file", {"uri": "/in/a", "uid": "a", "tranship": {"v": 1, "seq": 3}})


def test_it_repeats_the_announcement_and_says_who_has_it_or_where() -> None:
    assert acknowledgement(TOLD).data == TOLD.data
    assert acknowledgement(TOLD, "me").data["tranship"] == {"v": 1, "seq": 3, "client": "me"}
    asked = asked_acknowledgement(TOLD, "ticket", "file:///out/")
    assert (asked.type, asked.data["destination"]) == ("ack", "file:///out/")
    assert asked.data["tranship"] == {"v": 1, "seq": 3, "id": "ticket"}
    assert "destination" not in asked_acknowledgement(TOLD, "ticket").data


@pytest.mark.parametrize(
    ("data", "answered"),
    [
        ({"uri": "/in/a"}, {"uri": "/in/a"}),
        ({"uri": "/a", "destination": "ftp://u:secret@h/in/"}, {"uri": "/a", "destination": "ftp://h/in/"}),
        ("text", "text"),
    ],
)
def test_the_reply_tells_no_secret(data: Any, answered: Any) -> None:
    assert acknowledged(compose("/t", "ack", data)).data == answered


@pytest.mark.parametrize(
    ("delay", "below", "owed"),
    [(None, "/", []), (0, "/", ["/in/a", "/in/x/b"]), (5, "/in/x", ["/in/x/b"]), (5, "/in/x/", ["/in/x/b"])],
)
def test_what_is_deleted_after_its_delay(delay: float | None, below: str, owed: list[str]) -> None:
    clock = SystemClock()
    wait = None if delay is None else timedelta(seconds=delay)
    let_go = LetGo("c", wait, None, clock, below)  # type: ignore[arg-type]  # nothing is written down
    before = clock.now()
    deletions = let_go.deletions([Version("/in/a", 1, 1), Version("/in/x/b", 1, 1)])
    assert [deletion.version.path for deletion in deletions] == owed
    assert all(0.0 <= d.due - before - (delay or 0.0) < 60.0 for d in deletions)


@pytest.mark.parametrize(
    ("seq", "sizes"),
    [(None, [2]), (2, [2]), (1, [])],
    ids=["whatever is there", "the last", "one that was replaced since"],
)
def test_only_what_is_meant_is_let_go(tmp_path: Path, seq: int | None, sizes: list[int]) -> None:
    async def main() -> None:
        journal = Journal.open(tmp_path / "j", SERVER_SCHEMA)
        try:
            book = ServerBook(journal)
            for number in (1, 2):
                version = Version("/in/a", number, number)
                await book.announce([Announced("/t", number, "c", version, "a", b"", 0.0, 0.0)])
            let_go = LetGo("c", timedelta(0), book, SystemClock())
            assert await let_go(["/in/a", "/in/never"], seq) == ["/in/never"]
            due, _ = await book.deletions.due(2e9 * 10, horizon=1e12, patience=1.0, later=0.0)
            assert [deletion.version.size for deletion in due] == sizes
        finally:
            journal.close()

    asyncio.run(main())
