"""The paused places, and the jobs that wait for them."""

import sqlite3
from collections.abc import Sequence

from tranship.core.places import Pause
from tranship.journal.engine import Journal, many

PLACES = """
CREATE TABLE places (
    chain TEXT NOT NULL, place TEXT NOT NULL, reason TEXT NOT NULL, since REAL NOT NULL, tries INTEGER NOT NULL,
    due REAL NOT NULL, PRIMARY KEY (chain, place)) WITHOUT ROWID
"""

_BATCH = 1000

_PARKED = "chain=? AND parked=? AND state='wanted' AND parked<>''"  # as the index has it


class PlaceBook:
    """The acts on paused places, in any journal with jobs: `parked` of a job is the place that it waits for."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def paused(self, chain: str) -> list[Pause]:
        """The places that were paused when the process ended."""
        query = "SELECT place, reason, since, tries, due FROM places WHERE chain=?"
        return await self._do(lambda db: [Pause(*row) for row in db.execute(query, (chain,))])

    async def pause(self, chain: str, pause: Pause) -> None:
        """Record that a place is paused, or for how long it is now."""
        row = (chain, pause.place, pause.reason, pause.since, pause.tries, pause.due)
        await self._do(many("INSERT OR REPLACE INTO places VALUES (?,?,?,?,?,?)", [row]))

    async def park(self, jobs: Sequence[tuple[int, str, str]]) -> None:
        """Have jobs wait for a place: (job, place, reason). That uses up no attempt; a reason "" leaves the old one."""
        rows = [(place, reason, reason, job) for job, place, reason in jobs]
        await self._do(
            many(
                "UPDATE jobs SET parked=?, again=1, reason=CASE ? WHEN '' THEN reason ELSE ? END"
                " WHERE id=? AND state='wanted'",
                rows,
            )
        )

    async def next(self, chain: str, place: str, after: int = 0) -> int | None:
        """Of the jobs that wait for place the one after this, in turn, oldest first; None if none waits."""

        def act(db: sqlite3.Connection) -> int | None:
            query = f"SELECT id FROM jobs WHERE {_PARKED} AND id>? ORDER BY id LIMIT 1"
            for number in (after, 0):
                row = db.execute(query, (chain, place, number)).fetchone()
                if row is not None:
                    return int(row[0])
            return None

        return await self._do(act)

    async def overdue(self, chain: str, place: str, before: float) -> list[int]:
        """Some of the jobs that wait for place and were wanted before this time."""

        def act(db: sqlite3.Connection) -> list[int]:
            rows = db.execute(
                f"SELECT id FROM jobs WHERE {_PARKED} AND wanted<? ORDER BY id LIMIT ?",
                (chain, place, before, _BATCH),
            )
            return [int(row[0]) for row in rows]

        return await self._do(act)

    async def resume(self, chain: str, place: str) -> int:
        """Place is open: what waited for it is wanted as before. Returns how many jobs that are."""
        await self._do(many("DELETE FROM places WHERE chain=? AND place=?", [(chain, place)]))

        def act(db: sqlite3.Connection) -> int:
            return db.execute(
                f"UPDATE jobs SET parked='' WHERE id IN (SELECT id FROM jobs WHERE {_PARKED} ORDER BY id LIMIT ?)",
                (chain, place, _BATCH),
            ).rowcount

        count = 0
        while resumed := await self._do(act):  # in small acts, so that nobody else waits for long
            count += resumed
        return count
