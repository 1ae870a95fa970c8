"""What a server owes to delete, and when: durable, and never while somebody is still to get it."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from tranship.core.values import Version
from tranship.journal.engine import Journal, many


@dataclass(frozen=True, slots=True)
class Deletion:
    """A source that is to be removed when due (seconds since the epoch), if it still is that version."""

    chain: str
    version: Version
    due: float


class DeletionBook:
    """The acts on what is to be deleted."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def due(
        self, now: float, *, horizon: float, patience: float, later: float, limit: int = 500
    ) -> tuple[list[Deletion], float | None]:
        """What is to be deleted by now, and when the next one is due (None: nothing else is owed).

        What somebody has under way, or has failed to get and asks for again, is not deleted: it is looked at again at
        the time `later`. Who has not asked within patience (seconds) is not waited for.

        Nothing is ever put off by more than horizon (seconds): what is due later still was put off before the clock
        was put back, and waits no longer than that from now on.
        """

        def act(db: sqlite3.Connection) -> tuple[list[Deletion], float | None]:
            db.execute("UPDATE deletions SET due=:most WHERE due>:most", {"most": now + horizon})
            rows = db.execute(
                "SELECT d.chain, d.path, d.size, d.mtime_ns, d.due, EXISTS (SELECT 1 FROM transfers t"
                " WHERE t.chain=d.chain AND t.path=coalesce(d.origin, d.path)"
                " AND t.size=coalesce(d.origin_size, d.size) AND t.mtime_ns=coalesce(d.origin_mtime_ns, d.mtime_ns)"
                " AND t.state NOT IN ('done', 'given up') AND t.requested>?)"
                " FROM deletions d WHERE d.due<=? ORDER BY d.due LIMIT ?",
                (now - patience, now, limit),
            ).fetchall()
            held = [(later, row[1]) for row in rows if row[5]]
            db.executemany("UPDATE deletions SET due=? WHERE path=?", held)
            if held:
                following: float | None = now  # there may be more that is due
            else:
                following = db.execute("SELECT min(due) FROM deletions WHERE due>?", (now,)).fetchone()[0]
            return [Deletion(r[0], Version(r[1], r[2], r[3]), r[4]) for r in rows if not r[5]], following

        return await self._do(act)

    async def postpone(self, paths: Sequence[str], due: float) -> None:
        """The deletions of paths could not be done; they are due later."""
        await self._do(many("UPDATE deletions SET due=? WHERE path=?", [(due, p) for p in paths]))

    async def removed(self, versions: Sequence[Version]) -> None:
        """The deletions of versions are done (or void); a newer version that is to be deleted remains so."""
        rows = [(v.path, v.size, v.mtime_ns) for v in versions]
        await self._do(many("DELETE FROM deletions WHERE path=? AND size=? AND mtime_ns=?", rows))


def owe(db: sqlite3.Connection, deletions: Sequence[Deletion]) -> None:
    """Within an act: have these deleted, unless a newer version was announced meanwhile; the last event counts."""
    db.executemany(
        "INSERT INTO deletions (path, chain, size, mtime_ns, due) VALUES (?,?,?,?,?) ON CONFLICT (path) DO UPDATE"
        " SET chain=excluded.chain, size=excluded.size, mtime_ns=excluded.mtime_ns, due=excluded.due",
        [
            (d.version.path, d.chain, d.version.size, d.version.mtime_ns, d.due)
            for d in deletions
            if _is_last(db, d)
        ],
    )


def _is_last(db: sqlite3.Connection, deletion: Deletion) -> bool:
    row = db.execute(
        "SELECT size, mtime_ns FROM announcements WHERE chain=? AND path=? ORDER BY id DESC LIMIT 1",
        (deletion.chain, deletion.version.path),
    ).fetchone()
    return row is None or row == (deletion.version.size, deletion.version.mtime_ns)
