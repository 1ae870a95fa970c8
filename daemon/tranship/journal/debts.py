"""What could not be delivered (yet), and orders about it: from another process, beside the one that works or without.

An order changes the jobs in one transaction, and leaves a row that says who ordered what (`OrderBook.heard`).
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tranship.core.places import Pause
from tranship.journal.engine import APPLICATION, JournalError
from tranship.journal.survey import reading

GIVEN_UP = "state='dead'"
WAITING = "(state='wanted' AND (again=1 OR parked<>''))"


@dataclass(frozen=True, slots=True)
class Debt:
    """A delivery that has failed so far; times in seconds since the epoch.

    file       its name (of several: the first three), path: where the first lies at its server
    state      given up, waits (is tried again when `due`), or paused (waits for its place)
    """

    id: int
    state: str
    since: float
    chain: str
    file: str
    path: str
    topic: str
    destination: str
    attempts: int
    reason: str
    due: float | None


@dataclass(frozen=True, slots=True)
class Paused:
    """A paused place, and how many deliveries wait for it."""

    chain: str
    pause: Pause
    jobs: int


def debts(path: Path) -> tuple[list[Debt], list[Paused]]:
    """What the journal at path says is given up or waits, oldest first, and the paused places. Raises JournalError."""
    with reading(path) as db:
        _must_hold_jobs(db, path)
        rows = db.execute(
            "SELECT jobs.id, CASE WHEN state='dead' THEN 'given up' WHEN parked<>'' THEN 'paused' ELSE 'waits' END,"
            " wanted, jobs.chain, uid, path, topic, destination, attempts, jobs.reason,"
            " CASE WHEN state='dead' THEN NULL ELSE coalesce(places.due, jobs.due) END"
            " FROM jobs LEFT JOIN places ON places.chain=jobs.chain AND places.place=parked"
            f" WHERE {GIVEN_UP} OR {WAITING} ORDER BY jobs.id"
        )
        found = [Debt(*row) for row in rows]
        paused = db.execute(
            "SELECT chain, place, reason, since, tries, due, (SELECT count(*) FROM jobs WHERE jobs.chain=places.chain"
            " AND parked=place AND state='wanted') FROM places ORDER BY since"
        )
        return found, [Paused(row[0], Pause(*row[1:6]), row[6]) for row in paused]


def retry(path: Path, names: Sequence[str], who: str, now: float) -> int:
    """Have what is given up (or was dropped) tried again, with its whole age limit before it; how many jobs that are.

    names: ids, and patterns (`*`, `?`, `[…]`) of file names or full paths. Raises JournalError.
    """
    change = "state='wanted', wanted=:now, due=:now, attempts=0, again=1, parked=''"
    chosen = "(state='dead' OR (state='dropped' AND id IN (SELECT value FROM json_each(:ids)))) AND destination<>''"
    return _order(path, "retry", change, chosen, names, who, now)


def hasten(path: Path, names: Sequence[str], who: str, now: float) -> int:
    """Have what waits to be tried again tried now, and paused places probed; how many jobs that are."""
    return _order(path, "retry now", "due=:now", WAITING, names, who, now)


def drop(path: Path, names: Sequence[str], who: str, now: float) -> int:
    """Never try again what is given up, or waits to be tried again; how many jobs that are."""
    change = "state='dropped', parked='', due=:now, reason='dropped by ' || :who || '; ' || reason"
    return _order(path, "drop", change, f"({GIVEN_UP} OR {WAITING})", names, who, now)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which deliveries are meant: all of these at once.

    names  ids, and patterns of file names or full paths; none: all
    topic  a prefix of topics
    since, until   when it was announced (seconds since the epoch)
    """

    names: Sequence[str] = ()
    topic: str = ""
    since: float = 0.0
    until: float = 1e12

    def __str__(self) -> str:
        """In words."""
        topic = [f"topic {self.topic}"] if self.topic else []
        times = [f"{self.since:.0f}..{self.until:.0f}"] if (self.since, self.until) != (0.0, 1e12) else []
        return " ".join([*self.names, *topic, *times]) or "everything"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery that is done: its file, when that was announced (seconds since the epoch), where it went."""

    id: int
    file: str
    topic: str
    announced: float
    destination: str


def delivered(path: Path, choice: Choice) -> list[Delivered]:
    """What is done, of what is meant; oldest first. Raises JournalError."""
    with reading(path) as db:
        _must_deliver(db, path)
        rows = db.execute(
            f"SELECT id, uid, topic, announced, destination FROM jobs WHERE {_DONE} ORDER BY id",
            _values(choice),
        )
        return [Delivered(*row) for row in rows]


def resend(path: Path, choice: Choice, who: str, now: float) -> int:
    """Have what is done delivered and published once more; how many that are. Raises JournalError."""
    values = {**_values(choice), "now": now}
    with _writing(path) as db:
        _must_deliver(db, path)
        files = [row[0] for row in db.execute(f"SELECT uid FROM jobs WHERE {_DONE} LIMIT {_TOLD}", values)]
        change = "state='wanted', wanted=:now, due=:now, attempts=0, again=1, parked='', reason='resent'"
        count = db.execute(f"UPDATE jobs SET {change} WHERE {_DONE}", values).rowcount
        told = ", ".join(files) + (" …" if count > _TOLD else "")
        db.execute(
            "INSERT INTO orders (at, who, what, jobs, files) VALUES (?,?,?,?,?)",
            (now, who, f"resend {choice}", count, told),
        )
    return count


def _must_deliver(db: sqlite3.Connection, path: Path) -> None:
    _must_hold_jobs(db, path)
    if db.execute("SELECT value FROM facts WHERE key='kind'").fetchone()[0] == "mirror":
        raise JournalError(f"{path}: is a mirror's; have its clients resend, and it brings what they ask for")


def _values(choice: Choice) -> dict[str, object]:
    return {
        "ids": json.dumps([int(name) for name in choice.names if name.isdecimal()]),
        "patterns": json.dumps([n for n in choice.names if not n.isdecimal()] if choice.names else ["*"]),
        "topic": choice.topic,
        "since": choice.since,
        "until": choice.until,
    }


_NAMED = (
    "(id IN (SELECT value FROM json_each(:ids)) OR EXISTS"
    " (SELECT 1 FROM json_each(:patterns) WHERE uid GLOB value OR path GLOB value))"
)
_DONE = (
    "state='done' AND destination<>'' AND substr(topic, 1, length(:topic))=:topic"
    f" AND announced BETWEEN :since AND :until AND {_NAMED}"
)
_TOLD = 5
"""Files that an order names in the log; of more it tells the number."""


def _order(
    path: Path, what: str, change: str, chosen: str, names: Sequence[str], who: str, now: float
) -> int:
    values = {
        "now": now,
        "who": who,
        "ids": json.dumps([int(name) for name in names if name.isdecimal()]),
        "patterns": json.dumps([name for name in names if not name.isdecimal()]),
    }
    with _writing(path) as db:
        where = f"{chosen} AND {_NAMED}"
        files = [row[0] for row in db.execute(f"SELECT uid FROM jobs WHERE {where} LIMIT {_TOLD}", values)]
        count = db.execute(f"UPDATE jobs SET {change} WHERE {where}", values).rowcount
        told = ", ".join(files) + (" …" if count > _TOLD else "")
        asked = f"{what} {' '.join(names)}"
        db.execute(
            "INSERT INTO orders (at, who, what, jobs, files) VALUES (?,?,?,?,?)",
            (now, who, asked, count, told),
        )
    return count


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction on the journal at path, beside its process. Raises JournalError."""
    if not os.path.lexists(path):
        raise JournalError(f"{path}: there is no such journal; has its process run yet, and as this user?")
    db = None
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10, isolation_level=None
        )
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise JournalError(f"{path}: is no journal of Tranship; give a configuration, or its journal")
        _must_hold_jobs(db, path)
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise JournalError(
            f"{path}: can't be written: {error}; run this as the user of its process"
        ) from error
    finally:
        if db is not None:
            db.close()


def _must_hold_jobs(db: sqlite3.Connection, path: Path) -> None:
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    if "jobs" not in tables:
        raise JournalError(
            f"{path}: holds no deliveries; a server's are listed by the clients that ask for them"
        )
    if "orders" not in tables:
        raise JournalError(f"{path}: was written by an older Tranship; start its process once with this one")
