"""What is asked of a journal for one file costs the same, however much the journal holds."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tranship.core.handover import Matter
from tranship.core.leases import Teller
from tranship.core.values import Version
from tranship.journal import (
    CLIENT_SCHEMA,
    SERVER_SCHEMA,
    Announced,
    ClientBook,
    Deletion,
    Delivered,
    Journal,
    NewJob,
    Retry,
    ServerBook,
    Transfer,
)
from tranship.journal.engine import Schema

CHAIN, PLACE, MANY = "c", "file:///out/", 2000
STATES = ("done", "failed", "given up", "moving")
TELLER = Teller("client", frozenset(), 0.0)


def version(n: int) -> Version:
    return Version(f"/in/{n}", n, n, "x:1")


async def past_of_a_server(journal: Journal) -> None:
    book = ServerBook(journal)
    versions = [version(n) for n in range(MANY)]
    await book.announce(
        [Announced("/t", n, CHAIN, v, str(n), b"frame", 0.0, 0.0) for n, v in enumerate(versions)]
    )
    await book.transfers.begin([(CHAIN, v, PLACE) for v in versions], 0.0)
    await book.transfers.moved([Transfer(CHAIN, v, PLACE, STATES[v.size % 4]) for v in versions])
    await book.rivals.told_by(CHAIN, versions, TELLER)


async def file_of_a_server(journal: Journal) -> None:
    book = ServerBook(journal)
    new = version(MANY + 1)
    deletion = Deletion(CHAIN, new, 0.0)
    await book.told(CHAIN, [new.path])
    await book.announce([Announced("/t", MANY + 1, CHAIN, new, "u", b"frame", 0.0, 0.0)])
    await book.rivals.past(CHAIN, [new])
    await book.transfers.begin([(CHAIN, new, PLACE)], 0.0)
    await book.transfers.moved([Transfer(CHAIN, new, PLACE, "done")], [deletion])
    await book.transfers.had_elsewhere(CHAIN, [(new.path, PLACE)])
    await book.acknowledge(CHAIN, [new.path], [deletion], 0.0)
    await book.rivals.told_by(CHAIN, [new], TELLER)
    await book.replay("/t", since=MANY)
    await book.deletions.due(1.0, horizon=1.0, patience=1.0, later=1.0)
    await book.deletions.removed([new])


def job(n: int) -> NewJob:
    names = (CHAIN, f"identity {n}", f"uid {n}", f"/in/{n}", 1, PLACE, "server", "/t", "host:1")
    return NewJob(
        *names, many=True, frame=b"frame", announced=0.0, wanted=0.0, due=0.0, seq=n, names=f"names {n}"
    )


async def past_of_a_client(journal: Journal) -> None:
    book = ClientBook(journal)
    wanted = [each.id for _, each, _ in await book.want([job(n) for n in range(MANY)], [])]
    await book.delivered([Delivered(n, b"out", 0.0, 0.0) for n in wanted[::2]])
    await book.published([(n, 0.0) for n in wanted[::2]])
    await book.failed([Retry(n, "why", "dead") for n in wanted[1::4]])
    await book.failed([Retry(n, "why", "wanted", 1e9) for n in wanted[3::4]])


async def file_of_a_client(journal: Journal) -> None:
    book = ClientBook(journal)
    new = job(MANY + 1)
    [(_, wanted, _)] = await book.want([new], [])
    await book.want([new], [])
    await book.taken(CHAIN, [new.identity])
    await book.waiting(CHAIN, 1.0, horizon=1e9, limit=10)
    await book.section.hold(CHAIN, [(Matter(new.identity), 1.0)])
    await book.sources([wanted.id])
    await book.failed([Retry(wanted.id, "why", "wanted", 0.0, wanted.own_offer)])
    await book.delivered([Delivered(wanted.id, b"out", 0.0, 0.0, "host:1")])
    await book.unpublished(CHAIN)
    await book.published([(wanted.id, 0.0)])
    await book.told([(wanted.id, "host:1")])
    await book.section.elsewhere(CHAIN, [Matter(new.identity)], 0.0)
    await book.known(CHAIN, [new.uid])
    await book.untold(CHAIN)
    await book.places.next(CHAIN, "a place")


async def steps(journal: Journal, doing: Awaitable[None]) -> int:
    """How many hundred steps SQLite's machine takes for doing that."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    async def heard(listener: Callable[[], int] | None) -> None:
        def act(db: sqlite3.Connection) -> None:
            db.set_progress_handler(listener, 100)

        await journal.do(act)

    await heard(step)
    await doing
    await heard(None)
    return count


async def after(path: Path, schema: Schema, *acts: Callable[[Journal], Awaitable[None]]) -> int:
    """What the last of acts costs in a journal in which the others were done before."""
    journal = Journal.open(path, schema)
    try:
        for act in acts[:-1]:
            await act(journal)
        return await steps(journal, acts[-1](journal))
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("schema", "past", "file"),
    [
        (SERVER_SCHEMA, past_of_a_server, file_of_a_server),
        (CLIENT_SCHEMA, past_of_a_client, file_of_a_client),
    ],
)
def test_a_file_costs_a_full_journal_no_more_than_an_empty_one(
    tmp_path: Path,
    schema: Schema,
    past: Callable[[Journal], Awaitable[None]],
    file: Callable[[Journal], Awaitable[None]],
) -> None:
    empty = asyncio.run(after(tmp_path / "empty", schema, file))
    full = asyncio.run(after(tmp_path / "full", schema, past, file))
    assert full < empty + MANY // 100, f"{full}00 steps instead of {empty}00"
