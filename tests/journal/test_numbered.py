"""What was published by number: page by page, as far as it was told, and numbers that never go back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tranship.core.handover import Matter
from tranship.journal import CLIENT_SCHEMA, ClientBook, Delivered, Journal, NewJob, Numbered, NumberedBook

NOW = 1e9
TOLD = 6


def played(folder: Path, play: Callable[[ClientBook], Awaitable[None]]) -> None:
    async def main() -> None:
        journal = Journal.open(folder / "j", CLIENT_SCHEMA)
        try:
            await play(ClientBook(journal))
        finally:
            journal.close()

    asyncio.run(main())


async def jobs(book: ClientBook, count: int) -> list[int]:
    new = [
        NewJob("c", f"x{n}", "f", f"/in/{n}", 1, "file:///out/", "", "/t", "a:1", True, b"", NOW, NOW, NOW)
        for n in range(count)
    ]
    return [job.id for _, job, _ in await book.want(new, [])]


async def told(book: ClientBook, job: int, seq: int, topic: str = "/t", publisher: str = "c") -> None:
    number = Numbered(publisher, topic, seq)
    at = NOW + 10 * seq
    await book.delivered([Delivered(job, f"{topic} {seq}".encode(), NOW, at, number=number)])


async def told_all(book: ClientBook) -> tuple[NumberedBook, list[int]]:
    """1 to 6 of /t; 4 is another's."""
    made = await jobs(book, TOLD)
    for n, job in enumerate(made, 1):
        await told(book, job, n)
    numbered = book.numbered("c")
    await numbered.take_back([made[3]])
    return numbered, made


@pytest.mark.parametrize(
    ("since", "limit", "frames", "last", "more"),
    [
        (0, 500, [1, 2, 3, 5, 6], 6, False),
        (2, 2, [3, 5], 5, True),
        (5, 1, [6], 6, False),
        (6, 500, [], 6, False),
        (99, 500, [], 6, False),
    ],
)
def test_pages(tmp_path: Path, since: int, limit: int, frames: list[int], last: int, more: bool) -> None:
    async def play(book: ClientBook) -> None:
        numbered, _ = await told_all(book)
        page = await numbered.replay("/t", since=since, limit=limit)
        assert page.frames == [f"/t {n}".encode() for n in frames]
        assert (page.last, page.head, page.more) == (last, TOLD, more)
        assert (await numbered.replay("/other", since=0)).frames == []
        assert (await book.numbered("another").replay("/t", since=0)).frames == []

    played(tmp_path, play)


@pytest.mark.parametrize(("at", "first"), [(0.0, 1), (30.0, 3), (31.0, 5), (1e6, None)])
def test_it_begins_at_the_time_that_is_asked_for(tmp_path: Path, at: float, first: int | None) -> None:
    async def play(book: ClientBook) -> None:
        numbered, _ = await told_all(book)
        page = await numbered.replay("/t", at=NOW + at)
        assert page.frames[:1] == ([] if first is None else [f"/t {first}".encode()])

    played(tmp_path, play)


def test_a_page_has_a_size(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        numbered, _ = await told_all(book)
        page = await numbered.replay("/t", since=0, most=8)
        assert (page.frames, page.last, page.more) == ([b"/t 1", b"/t 2"], 2, True)

    played(tmp_path, play)


def test_what_is_told_again_has_its_last_number_only(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        numbered, made = await told_all(book)
        await told(book, made[1], 7)
        page = await numbered.replay("/t", since=0)
        assert page.frames == [f"/t {n}".encode() for n in (1, 3, 5, 6, 7)]

    played(tmp_path, play)


def test_numbers_outlive_what_had_them(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        numbered, made = await told_all(book)
        await book.published([(job, NOW) for job in made])
        assert await book.past.forget(made, NOW + 1) == 0
        assert (await numbered.replay("/t", since=0)).frames == []
        await told(book, (await jobs(book, 1))[0], 1, "/later")
        assert await numbered.heads() == {"/t": TOLD, "/later": 1}
        assert list(await numbered.heads()) == ["/later", "/t"]  # by when it was told

    played(tmp_path, play)


def test_what_another_client_has_published_is_its_to_replay(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        [job] = await jobs(book, 1)
        await told(book, job, 1)
        assert await book.section.elsewhere("c", [Matter("x0")], NOW) == ["/in/0"]
        page = await book.numbered("c").replay("/t", since=0)
        assert (page.frames, page.last) == ([], 1)

    played(tmp_path, play)


def test_a_publisher_keeps_its_id(tmp_path: Path) -> None:
    async def play(book: ClientBook) -> None:
        first = await book.numbered("c").identity("a")
        assert [first, await book.numbered("c").identity("b"), await book.numbered("").identity("d")] == [
            "a",
            "a",
            "d",
        ]

    played(tmp_path, play)
