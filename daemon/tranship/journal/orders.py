"""What operators order, from another process, beside the one that works or without: it leaves a row in the journal.

An order changes what is owed itself; the process that works on that finds its row, says so in its log, and looks anew.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tranship.journal.engine import APPLICATION, Journal, JournalError
from tranship.journal.survey import must_be_there

ORDERS = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, jobs INTEGER NOT NULL,
    files TEXT NOT NULL, heard INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS orders_unheard ON orders (id) WHERE heard=0
"""

TOLD = 5
"""Files that an order names in the log; of more it tells the number."""

NAMED = (
    "(id IN (SELECT value FROM json_each(:ids)) OR EXISTS"
    " (SELECT 1 FROM json_each(:patterns) WHERE uid GLOB value OR path GLOB value))"
)
"""Whether a row is one of those that are `named`."""


def named(names: Sequence[str]) -> dict[str, object]:
    """The values that NAMED needs, from ids and patterns (`*`, `?`, `[…]`) of file names or full paths."""
    return {
        "ids": json.dumps([int(name) for name in names if name.isdecimal()]),
        "patterns": json.dumps([name for name in names if not name.isdecimal()]),
    }


@contextmanager
def ordering(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction on the journal at path, beside its process. Raises JournalError."""
    must_be_there(path)
    db = None
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10, isolation_level=None
        )
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise JournalError(f"{path}: is no journal of Tranship; give a configuration, or its journal")
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name='orders'").fetchone():
            raise JournalError(
                f"{path}: was written by an older Tranship; start its process once with this one"
            )
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


def give(db: sqlite3.Connection, now: float, who: str, what: str, files: Sequence[str]) -> None:
    """Within `ordering`: leave the row of an order that is about files."""
    told = ", ".join(files[:TOLD]) + (" …" if len(files) > TOLD else "")
    db.execute(
        "INSERT INTO orders (at, who, what, jobs, files) VALUES (?,?,?,?,?)",
        (now, who, what, len(files), told),
    )


@dataclass(frozen=True, slots=True)
class Ordered:
    """Who ordered what, when (seconds since the epoch), how many files that concerned, and some of them."""

    at: float
    who: str
    what: str
    jobs: int
    files: str


class OrderBook:
    """The acts of the process that obeys."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def heard(self) -> list[Ordered]:
        """The orders that were given since this was last asked."""

        def act(db: sqlite3.Connection) -> list[Ordered]:
            rows = db.execute(
                "SELECT at, who, what, jobs, files FROM orders WHERE heard=0 ORDER BY id"
            ).fetchall()
            if rows:
                db.execute("UPDATE orders SET heard=1 WHERE heard=0")
            return [Ordered(*row) for row in rows]

        return await self._do(act)

    async def forget(self, before: float) -> int:
        """Forget what was ordered before this time (seconds since the epoch) and obeyed; how many that were."""
        query = "DELETE FROM orders WHERE at<? AND heard=1"
        return await self._do(lambda db: db.execute(query, (before,)).rowcount)
