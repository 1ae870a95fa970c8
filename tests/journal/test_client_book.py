"""What the client owes: who is asked when somebody can't deliver, and what becomes of an announcement made anew."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tranship.core.retry import RetryPolicy
from tranship.journal import CLIENT_SCHEMA, ClientBook, Cursor, Job, Journal, NewJob, Retry, Source, Verdict
from tranship.journal.debts import drop, retry

NOW = 1e9


def offer(address: str = "a:1", frame: bytes = b"1", identity: str = "x", due: float = NOW) -> NewJob:
    server, many = address.partition(":")[0], True
    place = "file:///out/"
    return NewJob(
        *("c", identity, "f", "/in/f", 1, place, server, "/t", address, many, frame, NOW, NOW, due),
    )


def played(folder: Path, play: Callable[[ClientBook], Awaitable[None]]) -> None:
    async def main() -> None:
        journal = Journal.open(folder / "j", CLIENT_SCHEMA)
        try:
            await play(ClientBook(journal))
        finally:
            journal.close()

    asyncio.run(main())


async def waiting(book: ClientBook, now: float = NOW, **more: list[str]) -> list[Job]:
    return (await book.waiting("c", now, horizon=300.0, limit=10, **more))[0]


def source(new: NewJob) -> Source:
    return Source(new.request_address, new.many, new.frame)


def test_what_one_server_refuses_is_owed_as_long_as_another_offers_it(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        first, second = offer("a:1"), offer("b:1", b"2")
        [(verdict, job, _), (other, _, _)] = await book.want([first, second], [])
        assert (verdict, other) == (Verdict.NEW, Verdict.SOURCE)
        await book.failed([Retry(job.id, "refused", "dead", NOW, source(first))])
        [left] = await waiting(book)
        assert left.new.request_address == "b:1"
        assert await book.sources([job.id]) == {}
        assert await book.offerers([job.id]) == {job.id: [source(second), source(first)]}
        await book.failed([Retry(job.id, "refused", "dead", NOW, source(second))])
        assert await waiting(book) == []

    played(tmp_path, play)


def test_a_fall_back_that_refuses_is_struck_off_alone(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        first, second = offer("a:1"), offer("b:1", b"2")
        [(_, job, _), _] = await book.want([first, second], [])
        await book.failed([Retry(job.id, "refused", "dead", NOW, source(second))])
        [left] = await waiting(book)
        assert left.new.request_address == "a:1"
        assert await book.sources([job.id]) == {}

    played(tmp_path, play)


@pytest.mark.parametrize("state", ["superseded", "dead"])
@pytest.mark.parametrize("when", ["before the answer", "after the answer"])
def test_the_same_bytes_announced_anew_are_owed(tmp_path: Path, when: str, state: str) -> None:
    async def play(book: ClientBook) -> None:
        old, new = offer(frame=b"1"), offer(frame=b"2")
        [(_, job, _)] = await book.want([old], [])
        if when == "before the answer":
            assert (await book.want([new], []))[0][0] is Verdict.KNOWN
        await book.failed([Retry(job.id, "changed", state, NOW, source(old))])
        if when == "after the answer":
            assert (await book.want([new], []))[0][0] is Verdict.NEW
        [left] = await waiting(book)
        assert left.new.frame == b"2"

    played(tmp_path, play)


def test_a_repeat_of_an_announcement_is_no_new_chance(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        [(_, job, _)] = await book.want([offer()], [])
        await book.failed([Retry(job.id, "changed", "superseded", NOW, source(offer()))])
        assert (await book.want([offer()], []))[0][0] is Verdict.KNOWN
        assert await waiting(book) == []

    played(tmp_path, play)


def test_an_old_version_is_not_fetched_elsewhere_after_the_new_one(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        first, second = offer("a:1"), offer("b:1", b"2")
        [(_, job, _), _] = await book.want([first, second], [])
        await book.failed([Retry(job.id, "changed", "superseded", NOW, source(first))])
        assert await waiting(book) == []

    played(tmp_path, play)


def test_a_clock_put_back_puts_nothing_off(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        await book.want([offer(due=NOW + 60), offer(identity="y", frame=b"y", due=NOW)], [])
        assert [job.new.identity for job in await waiting(book, NOW)] == ["y"]
        assert {job.new.identity for job in await waiting(book, NOW - 86400)} == {"x", "y"}

    played(tmp_path, play)


@pytest.mark.parametrize(
    ("attempts", "held", "put_off", "due"),
    [
        (0, 0.0, 0.5, 0.5),
        (0, 0.0, 100.0, 1.0),
        (0, 20.0, 100.0, 20.0),
        (1, 0.0, 100.0, 1.0),
        (4, 0.0, 100.0, 8.0),
        (4, 20.0, 100.0, 20.0),
        (4, 0.0, -100.0, -100.0),
        (50, 0.0, 299.0, 60.0),
    ],
)
def test_what_a_wrong_clock_has_put_off_waits_as_after_so_many_attempts(
    tmp_path: Path, attempts: int, held: float, put_off: float, due: float
) -> None:
    policy = RetryPolicy(first=timedelta(seconds=1), longest=timedelta(seconds=60))

    async def play(book: ClientBook) -> None:
        [(_, job, _)] = await book.want([offer(due=NOW + put_off)], [])
        await book.failed([Retry(job.id, "no", "wanted", NOW + put_off)] * attempts)
        await book.take_up("c", NOW, policy, held)
        assert await waiting(book, NOW + due - 0.1) == []
        assert len(await waiting(book, NOW + due)) == 1

    played(tmp_path, play)


def test_busy_addresses_leave_room_for_others(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        await book.want([offer("a:1"), offer("b:1", b"2", identity="y")], [])
        assert [job.new.identity for job in await waiting(book, busy=["a:1"])] == ["y"]

    played(tmp_path, play)


def test_a_cursor_goes_back_with_the_numbers_of_its_server(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        await book.want([], [Cursor("c", "p", "s", "/t", 100, "a:1")])
        await book.want([], [Cursor("c", "p", "s", "/t", 90, "a:1")])
        assert [cursor.seq for cursor in await book.cursors("c")] == [90]

    played(tmp_path, play)


def test_new_files_go_before_ten_thousand_retries_and_what_waited_for_a_place(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        old = await book.want([offer(identity=f"{n}", due=NOW - 100) for n in range(10_000)], [])
        await book.failed([Retry(job.id, "cut", "wanted", NOW - 100) for _, job, _ in old[5000:]])
        await book.places.park([(job.id, "file:///out/", "full") for _, job, _ in old[:5000]])
        assert len(await waiting(book)) == 10
        assert await book.places.resume("c", "file:///out/") == 5000
        await book.want([offer(identity="new", due=NOW), offer("b:1", identity="other", due=NOW)], [])
        assert [job.new.identity for job in await waiting(book)][:2] == ["new", "other"]

    played(tmp_path, play)


def test_what_was_dropped_meanwhile_stays_dropped(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        [(_, job, _)] = await book.want([offer()], [])
        await book.failed([Retry(job.id, "cut", "wanted", NOW)])
        assert drop(tmp_path / "j", ["*"], "anna", NOW) == 1
        await book.failed([Retry(job.id, "cut again", "wanted", NOW)])
        assert await waiting(book) == []
        [order] = await book.orders.heard()
        assert (order.who, order.what, order.jobs, order.files) == ("anna", "drop *", 1, "f")
        assert await book.orders.heard() == []
        assert retry(tmp_path / "j", ["*"], "anna", NOW) == 0
        assert retry(tmp_path / "j", [str(job.id)], "anna", NOW) == 1
        assert [left.id for left in await waiting(book)] == [job.id]

    played(tmp_path, play)


def test_what_is_taken_already_leaves_the_page_to_others(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        jobs = [job.id for _, job, _ in await book.want([offer(identity=str(n)) for n in range(12)], [])]
        found, _ = await book.waiting("c", NOW, horizon=300.0, limit=3, taken=frozenset(jobs[:8]))
        assert [job.id for job in found] == jobs[8:11]

    played(tmp_path, play)
