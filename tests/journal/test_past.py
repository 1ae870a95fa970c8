"""What leaves the journals when it is old, and what never does."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tranship.core.values import Version
from tranship.flows.keeping import ForgetAnnouncements, ForgetJobs, ForgetOrders, only_gone
from tranship.journal import (
    CLIENT_SCHEMA,
    SERVER_SCHEMA,
    Announced,
    ClientBook,
    Cursor,
    Deletion,
    Delivered,
    Journal,
    NewJob,
    Retry,
    ServerBook,
    Taken,
    Verdict,
)
from tranship.journal.engine import Schema
from tranship.journal.resends import Choice, resend

KEEP = timedelta(days=7)
OLD = 1e9
NOW = OLD + 8 * 86400


@dataclass
class At:
    """A clock that stands still."""

    time: float = NOW

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def played(folder: Path, schema: Schema, play: Callable[[Journal], Awaitable[None]]) -> None:
    async def main() -> None:
        journal = Journal.open(folder / "j", schema)
        try:
            await play(journal)
        finally:
            journal.close()

    asyncio.run(main())


async def column(journal: Journal, query: str) -> list[Any]:
    return await journal.do(lambda db: [row[0] for row in db.execute(query)])


def announced(path: Path, seq: int, at: float = OLD, topic: str = "/t") -> Announced:
    return Announced(topic, seq, "c", Version(str(path), 1, seq, ""), path.name, b"frame", at, at)


def test_only_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    async def play(journal: Journal) -> None:
        book = ServerBook(journal)
        there, gone, owed, moving = (tmp_path / name for name in ("there", "gone", "owed", "moving"))
        there.touch()
        young = tmp_path / "young"
        rows = [(there, 1), (there, 2), (gone, 3), (owed, 4), (moving, 5)]
        await book.announce([announced(path, seq) for path, seq in rows])
        await book.announce([announced(young, 6, NOW - 60), announced(tmp_path / "last", 1, OLD, "/alone")])
        await book.transfers.begin(
            [("c", Version(str(path), 1, 1, ""), "d") for path in (there, gone, moving)], OLD
        )
        done = [
            transfer
            for transfer in await book.transfers.unfinished()
            if not transfer.version.path.endswith("moving")
        ]
        await book.transfers.moved([replace(transfer, state="done") for transfer in done])
        await book.transfers.moved([], [Deletion("c", Version(str(owed), 1, 4, ""), NOW + 1e6)])
        await book.announce([], [Taken("c", Version(str(path), 1, 1, "")) for path in (there, gone)])
        assert await ForgetAnnouncements(KEEP, book.past, At())() == 3
        assert await column(journal, "SELECT path FROM taken") == [str(there)]
        left = await column(journal, "SELECT topic || seq FROM announcements ORDER BY id")
        assert left == ["/t2", "/t4", "/t5", "/t6", "/alone1"]  # 1: told anew as 2; 3: gone
        assert await book.heads() == {"/t": 6, "/alone": 1}
        assert await column(journal, "SELECT path FROM transfers ORDER BY id") == [str(there), str(moving)]
        page = await book.replay("/t", since=0)
        assert (len(page.frames), page.last, page.head) == (4, 6, 6)

    played(tmp_path, SERVER_SCHEMA, play)


def test_a_disk_that_is_away_makes_nothing_forgotten(tmp_path: Path) -> None:
    async def play(journal: Journal) -> None:
        book = ServerBook(journal)
        forget = ForgetAnnouncements(KEEP, book.past, At())
        disk = tmp_path / "disk"
        await book.announce([announced(disk / "sub" / f"{n}", n) for n in range(1, 4)])
        assert await book.past.lain.mounts({str(disk)}) >= {str(disk)}  # it was seen mounted, and is not now
        assert await forget() == 0
        await book.announce([announced(Path("/proc/self/none"), 4), announced(disk / "5", 5)])
        assert await forget() == 1
        assert "/proc" in await book.past.lain.mounts()

    played(tmp_path, SERVER_SCHEMA, play)


def offer(number: int, server: str = "s", at: float = OLD) -> NewJob:
    return NewJob(
        *("c", f"id{number}", f"f{number}", f"/in/f{number}", 1, "file:///out/", server, "/t", "a:1"),
        *(bool(server), b"frame", at, at, at, number if server else 0),
    )


def test_settled_jobs_are_forgotten_and_not_delivered_again(tmp_path: Path) -> None:
    async def play(journal: Journal) -> None:
        book = ClientBook(journal)
        cursor = Cursor("c", "p", "s", "/t", 5, "a:1")
        verdicts = await book.want([offer(n) for n in range(1, 6)], [cursor])
        done, young, dead, owed, verified = (job.id for _, job, _ in verdicts)
        await book.delivered([Delivered(job, b"", OLD, OLD) for job in (done, young, verified)])
        await book.published([(done, OLD), (young, NOW)])
        await book.failed([Retry(dead, "refused", "dead", OLD), Retry(owed, "cut", "wanted", OLD)])
        assert await ForgetJobs(KEEP, book.past, At())() == 2
        assert await column(journal, "SELECT id FROM jobs ORDER BY id") == [young, owed, verified]
        again = [verdict for verdict, _, _ in await book.want([offer(1), offer(3), offer(6, at=NOW)], [])]
        assert again == [Verdict.KNOWN, Verdict.KNOWN, Verdict.NEW]
        [(new_life, _, _)] = await book.want([offer(1, "t")], [])  # another server's first is no repeat
        assert new_life is Verdict.NEW

    played(tmp_path, CLIENT_SCHEMA, play)


def test_of_what_a_scan_would_find_again_only_the_gone_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tranship.journal.past.UNNUMBERED", 0)

    async def play(journal: Journal) -> None:
        book = ClientBook(journal)
        (tmp_path / "f1").touch()
        jobs = [
            replace(offer(number, ""), uid=name, path=str(tmp_path / name))
            for number, name in enumerate(("f1", "f1", "f2", "f3", "last"))
        ]
        numbers = [job.id for _, job, _ in await book.want(jobs, [])]
        superseded, there, gone, owed, _ = numbers
        await book.published([(number, OLD) for number in (superseded, there, gone)])
        assert await ForgetJobs(KEEP, book.past, At(), only_gone)() == 2
        assert await column(journal, "SELECT id FROM jobs ORDER BY id") == [there, owed, numbers[-1]]
        assert await ForgetJobs(KEEP, book.past, At())() == 1

    played(tmp_path, CLIENT_SCHEMA, play)


def test_orders_are_forgotten_once_they_are_obeyed(tmp_path: Path) -> None:
    async def play(journal: Journal) -> None:
        book = ServerBook(journal)
        resend(journal.path, Choice(), "anna", OLD)
        forget = ForgetOrders(KEEP, book.orders, At())
        assert await forget() == 0
        assert [order.what for order in await book.orders.heard()] == ["resend everything"]
        assert await forget() == 1

    played(tmp_path, SERVER_SCHEMA, play)


def test_what_only_the_journal_knows_is_kept_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tranship.journal.past.UNNUMBERED", 300)

    async def play(journal: Journal) -> None:
        book = ClientBook(journal)
        verdicts = await book.want([offer(n, "") for n in range(1, 501)], [])
        numbers = [job.id for _, job, _ in verdicts]
        await book.delivered([Delivered(number, b"", OLD, OLD) for number in numbers])
        await book.published([(number, OLD) for number in numbers])
        assert await ForgetJobs(KEEP, book.past, At())() == 200
        assert await column(journal, "SELECT min(id) FROM jobs") == [201]

    played(tmp_path, CLIENT_SCHEMA, play)
