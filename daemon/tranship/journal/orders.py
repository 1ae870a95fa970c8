"""What operators have ordered: jobs tried again or dropped, from another process, beside the one that works or without.

An order changes the jobs itself; the process that works on them finds its row in the journal, says so in its log, and
looks at the jobs anew.
"""

import sqlite3
from dataclasses import dataclass

from tranship.journal.engine import Journal

ORDERS = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, jobs INTEGER NOT NULL,
    files TEXT NOT NULL, heard INTEGER NOT NULL DEFAULT 0);
CREATE INDEX orders_unheard ON orders (id) WHERE heard=0
"""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Who ordered what, when (seconds since the epoch), how many jobs that concerned, and some of their files."""

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
