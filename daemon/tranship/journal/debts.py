"""What could not be delivered (yet), and orders about it: from another process, beside the one that works or without.

An order changes the jobs in one transaction, and leaves a row that says who ordered what (`OrderBook.heard`).
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tranship.core.places import Pause
from tranship.journal.orders import NAMED, give, named, ordering
from tranship.journal.survey import kind_of, reading

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
    """What the journal at path says is given up or waits, oldest first, and the paused places.

    Raises JournalError; NoDeliveries of a server's.
    """
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

    names: ids, and patterns (`*`, `?`, `[…]`) of file names or full paths. Raises JournalError, NoDeliveries.
    """
    change = "state='wanted', wanted=:now, due=0, attempts=0, again=1, parked=''"
    chosen = "(state='dead' OR (state='dropped' AND id IN (SELECT value FROM json_each(:ids)))) AND destination<>''"
    return _order(path, "retry", change, chosen, names, who, now)


def hasten(path: Path, names: Sequence[str], who: str, now: float) -> int:
    """Have what waits to be tried again tried now, and paused places probed; how many jobs that are."""
    return _order(path, "retry now", "due=0", WAITING, names, who, now)


def drop(path: Path, names: Sequence[str], who: str, now: float) -> int:
    """Never try again what is given up, or waits to be tried again; how many jobs that are."""
    change = "state='dropped', parked='', due=:now, reason='dropped by ' || :who || '; ' || reason"
    return _order(path, "drop", change, f"({GIVEN_UP} OR {WAITING})", names, who, now)


def _order(
    path: Path, what: str, change: str, chosen: str, names: Sequence[str], who: str, now: float
) -> int:
    values = {"now": now, "who": who, **named(names)}
    with ordering(path) as db:
        _must_hold_jobs(db, path)
        where = f"{chosen} AND {NAMED}"
        files = [row[0] for row in db.execute(f"SELECT uid FROM jobs WHERE {where}", values)]
        db.execute(f"UPDATE jobs SET {change} WHERE {where}", values)
        give(db, now, who, f"{what} {' '.join(names)}", files)
    return len(files)


class NoDeliveries(Exception):
    """A journal holds none; the text says whose do."""


def _must_hold_jobs(db: sqlite3.Connection, path: Path) -> None:
    if kind_of(db) == "server":
        raise NoDeliveries(
            f"{path}: holds no deliveries; a server's are listed by the clients that ask for them"
        )
