"""The journal keeps what it confirmed, whatever happens to the process."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tranship.cli.process import ROLES
from tranship.journal import CLIENT_SCHEMA, SERVER_SCHEMA, Journal, JournalError, held
from tranship.journal.engine import Schema, many
from tranship.journal.survey import survey

NUMBERS = Schema("test", ("CREATE TABLE numbers (n INTEGER PRIMARY KEY)",))

WRITER = """
import asyncio, sys
from pathlib import Path
from tranship.journal.engine import Journal, Schema, many
async def main():
    journal = Journal.open(Path(sys.argv[1]), Schema("test", ("CREATE TABLE numbers (n INTEGER PRIMARY KEY)",)))
    n = 0
    while True:
        await journal.do(many("INSERT INTO numbers VALUES (?)", [(n,)]))
        print(n, flush=True)
        n += 1
asyncio.run(main())
"""


def test_what_was_confirmed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "j"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert writer.stdout is not None
    confirmed = [int(writer.stdout.readline()) for _ in range(200)]
    os.killpg(writer.pid, signal.SIGKILL)
    confirmed += [int(line) for line in writer.stdout.read().splitlines() if line.isdigit()]
    writer.wait()
    writer.stdout.close()
    with sqlite3.connect(path) as db:
        kept = {row[0] for row in db.execute("SELECT n FROM numbers")}
    db.close()
    assert set(confirmed) <= kept
    assert kept == set(range(len(kept)))


def test_many_writers_share_transactions(tmp_path: Path) -> None:
    async def main() -> int:
        journal = Journal.open(tmp_path / "j", NUMBERS)
        acts = [journal.do(many("INSERT INTO numbers VALUES (?)", [(n,)])) for n in range(2000)]
        await asyncio.gather(*acts)
        count: int = await journal.do(lambda db: db.execute("SELECT count(*) FROM numbers").fetchone()[0])
        journal.close()
        return count

    assert asyncio.run(main()) == 2000


def test_an_act_that_fails_harms_no_other(tmp_path: Path) -> None:
    async def main() -> list[object]:
        journal = Journal.open(tmp_path / "j", NUMBERS)
        outcomes = await asyncio.gather(
            journal.do(many("INSERT INTO numbers VALUES (?)", [(1,)])),
            journal.do(many("INSERT INTO numbers VALUES (?)", [(7,), (1,)])),
            journal.do(many("INSERT INTO numbers VALUES (?)", [(2,)])),
            return_exceptions=True,
        )
        rows = await journal.do(lambda db: db.execute("SELECT n FROM numbers ORDER BY n").fetchall())
        journal.close()
        return [*map(type, outcomes), rows]

    none = type(None)
    assert asyncio.run(main()) == [none, sqlite3.IntegrityError, none, [(1,), (2,)]]


async def until_it_waits(journal: Journal) -> None:
    while not journal.trouble.reason:
        await asyncio.sleep(0.01)


def test_work_waits_while_another_holds_the_file(tmp_path: Path) -> None:
    async def main() -> tuple[str, str]:
        journal = Journal.open(tmp_path / "j", NUMBERS)
        other = sqlite3.connect(tmp_path / "j", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        act = asyncio.ensure_future(journal.do(many("INSERT INTO numbers VALUES (?)", [(1,)])))
        async with asyncio.timeout(20):
            await until_it_waits(journal)
        trouble = journal.trouble.reason
        assert not act.done()
        other.rollback()
        other.close()
        await act
        after = journal.trouble.reason
        journal.close()
        return trouble, after

    trouble, after = asyncio.run(main())
    assert "another process uses it" in trouble
    assert after == ""


def test_what_cannot_be_written_at_the_end_is_given_up_and_told(tmp_path: Path) -> None:
    async def main() -> tuple[object, str]:
        journal = Journal.open(tmp_path / "j", NUMBERS)
        other = sqlite3.connect(tmp_path / "j", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        act = asyncio.ensure_future(journal.do(many("INSERT INTO numbers VALUES (?)", [(1,)])))
        async with asyncio.timeout(20):
            await until_it_waits(journal)
            await asyncio.to_thread(journal.close)
            [outcome] = await asyncio.gather(act, return_exceptions=True)
            with pytest.raises(JournalError, match="is closed"):
                await journal.do(many("INSERT INTO numbers VALUES (?)", [(2,)]))
        other.rollback()
        other.close()
        return outcome, journal.trouble.reason

    outcome, trouble = asyncio.run(main())
    assert isinstance(outcome, JournalError)
    assert "locked" in trouble


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no database at all, but long enough to have a header", "damaged"),
        (None, "journal of a server, not of a client"),
    ],
)
def test_a_file_that_is_no_such_journal_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "j"
    if content is None:
        Journal.open(path, SERVER_SCHEMA).close()
    else:
        path.write_bytes(content * 100)
    with pytest.raises(JournalError, match=says):
        Journal.open(path, CLIENT_SCHEMA)


def test_each_role_has_a_journal_of_its_own_and_takes_over_one_that_says_no_role(tmp_path: Path) -> None:
    roles = [name for name, made in ROLES.items() if made.schema is CLIENT_SCHEMA]
    assert len(roles) == 4
    for role in roles:
        path = tmp_path / role
        Journal.open(path, CLIENT_SCHEMA).close()
        with closing(sqlite3.connect(path)) as db, db:  # as an older Tranship left it
            db.execute("DELETE FROM facts WHERE key='role'")
        assert survey(path).role == "client"
        for _ in range(2):
            Journal.open(path, CLIENT_SCHEMA, role).close()
        assert survey(path).role == role
        for other in ROLES:
            if other != role:
                told = f"{path}: is the journal of a {role}, not of a {other}: .*choose another"
                with pytest.raises(JournalError, match=told):
                    Journal.open(path, ROLES[other].schema, other)
        assert survey(path).role == role


def test_a_journal_is_one_process_s(tmp_path: Path) -> None:
    path = tmp_path / "new" / "j"
    with held(path), pytest.raises(JournalError, match="another process uses it"), held(path):
        pass
    with held(path):
        Journal.open(path, NUMBERS).close()
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="can this user write there"), held(tmp_path / "file" / "j"):
        pass


def test_other_programs_and_newer_versions_are_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(JournalError, match="another program"):
        Journal.open(tmp_path / "other", NUMBERS)
    Journal.open(tmp_path / "j", Schema("test", (*NUMBERS.steps, "CREATE TABLE more (x)"))).close()
    with pytest.raises(JournalError, match="newer Tranship"):
        Journal.open(tmp_path / "j", NUMBERS)


def test_an_older_journal_is_brought_up_to_date(tmp_path: Path) -> None:
    async def main() -> list[object]:
        journal = Journal.open(tmp_path / "j", NUMBERS)
        await journal.do(many("INSERT INTO numbers VALUES (?)", [(5,)]))
        journal.close()
        newer = Schema(
            "test", (*NUMBERS.steps, "ALTER TABLE numbers ADD COLUMN name TEXT NOT NULL DEFAULT 'x'")
        )
        journal = Journal.open(tmp_path / "j", newer)
        rows: list[object] = await journal.do(lambda db: db.execute("SELECT * FROM numbers").fetchall())
        journal.close()
        return rows

    assert asyncio.run(main()) == [(5, "x")]


def test_damage_is_told_and_kills_no_thread(tmp_path: Path) -> None:
    async def main() -> str:
        journal = Journal.open(tmp_path / "j", NUMBERS)
        for name in ("j", "j-wal", "j-shm"):
            if (tmp_path / name).exists():
                (tmp_path / name).write_bytes(b"nonsense" * 4096)
        act = asyncio.ensure_future(journal.do(many("INSERT INTO numbers VALUES (?)", [(1,)])))
        async with asyncio.timeout(20):
            while not (journal.trouble.reason or act.done()):
                await asyncio.sleep(0.01)
        assert journal._thread is not None
        assert journal._thread.is_alive()
        return journal.trouble.reason or str(act.exception())

    assert asyncio.run(main())
