"""The server's records."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from tranship.core.values import Version
from tranship.journal import SERVER_SCHEMA, Announced, Deletion, Journal, ServerBook, Transfer

CHAIN, PLACE = "c", "ftp://anna@host/in/"
FILE = Version("/in/a", 3, 10, "x:1")


def with_book(path: Path, story: Callable[[ServerBook], Awaitable[None]]) -> None:
    async def main() -> None:
        journal = Journal.open(path / "j", SERVER_SCHEMA)
        try:
            await story(ServerBook(journal))
        finally:
            journal.close()

    asyncio.run(main())


def announced(topic: str, seq: int, uid: str, version: Version = FILE) -> Announced:
    return Announced(topic, seq, CHAIN, version, uid, b"", 0.0, 0.0)


def test_the_newest_names_of_a_topic_and_below_come_first(tmp_path: Path) -> None:
    async def story(book: ServerBook) -> None:
        order = [("/a", 1), ("/b", 1), ("/a/x", 1), ("/ab", 1), ("/a", 2), ("/b", 2), ("/a/x", 2)]
        for topic, seq in order:
            await book.announce([announced(topic, seq, f"{topic[1:].replace('/', '-')}{seq}")])
        assert await book.newest("/a", 9) == ["/a/x/a-x2", "/a/a2", "/ab/ab1", "/a/x/a-x1", "/a/a1"]
        assert await book.newest("/a", 2) == ["/a/x/a-x2", "/a/a2"]
        assert await book.newest("/b", 9) == ["/b/b2", "/b/b1"]
        assert len(await book.newest("", 9)) == len(order)
        assert await book.newest("/c", 9) == []

    with_book(tmp_path, story)


def test_what_is_due_is_deleted_unless_somebody_is_still_to_get_it(tmp_path: Path) -> None:
    async def due(book: ServerBook, now: float) -> list[Version]:
        found, _ = await book.deletions.due(now, horizon=1e9, patience=1000.0, later=now)
        return [deletion.version for deletion in found]

    async def story(book: ServerBook) -> None:
        gone = Version(FILE.path, FILE.size, FILE.mtime_ns)
        await book.announce([announced("/a", 1, "a")])
        await book.acknowledge(CHAIN, [FILE.path], [Deletion(CHAIN, FILE, 5.0)], 0.0)
        assert await due(book, 4.0) == []
        assert await due(book, 5.0) == [gone]
        for outcome, held in (("moving", True), ("failed", True), ("given up", False), ("done", False)):
            await book.transfers.forget([(CHAIN, FILE.path, PLACE)])
            await book.transfers.begin([(CHAIN, FILE, PLACE)], 10.0)
            if outcome != "moving":
                await book.transfers.moved([Transfer(CHAIN, FILE, PLACE, outcome)])
            assert (await due(book, 20.0) == []) is held, outcome
        # who never asked again is waited for no longer than patience
        await book.transfers.forget([(CHAIN, FILE.path, PLACE)])
        await book.transfers.begin([(CHAIN, FILE, PLACE)], 10.0)
        await book.transfers.broken_off(CHAIN)
        assert await due(book, 1009.0) == []
        assert await due(book, 1011.0) == [gone]
        # who has it from elsewhere, and says so, is not waited for; who only says where something else is, is
        await book.transfers.had_elsewhere(
            CHAIN, [(FILE.path, "ftp://host/other/"), ("/in/b", "ftp://host/in/")]
        )
        assert await due(book, 1009.0) == []
        await book.transfers.had_elsewhere(CHAIN, [(FILE.path, "ftp://host/in/")])
        assert await due(book, 1009.0) == [gone]

    with_book(tmp_path, story)


def test_an_attempt_is_what_was_begun_not_what_was_joined(tmp_path: Path) -> None:
    async def story(book: ServerBook) -> None:
        async def begun(version: Version) -> int:
            await book.transfers.begin([(CHAIN, version, PLACE)], 10.0)
            with closing(sqlite3.connect(tmp_path / "j")) as db:
                return int(db.execute("SELECT attempts FROM transfers").fetchone()[0])

        assert await begun(FILE) == 1
        assert await begun(FILE) == 1  # joined
        await book.transfers.moved([Transfer(CHAIN, FILE, PLACE, "failed")])
        assert await begun(FILE) == 2
        await book.transfers.broken_off(CHAIN)
        assert await begun(FILE) == 3
        assert await begun(Version(FILE.path, 4, 11, "x:2")) == 1

    with_book(tmp_path, story)


def test_the_end_of_an_old_version_costs_the_new_one_nothing(tmp_path: Path) -> None:
    async def story(book: ServerBook) -> None:
        new = Version(FILE.path, 4, 11, "x:2")
        await book.announce([announced("/a", 1, "a")])
        await book.announce([announced("/a", 2, "a", new)])
        await book.transfers.moved([], [Deletion(CHAIN, new, 1.0)])
        await book.transfers.moved([], [Deletion(CHAIN, FILE, 1.0)])
        found, _ = await book.deletions.due(5.0, horizon=1e9, patience=1000.0, later=5.0)
        assert [deletion.version for deletion in found] == [Version(new.path, new.size, new.mtime_ns)]

    with_book(tmp_path, story)
