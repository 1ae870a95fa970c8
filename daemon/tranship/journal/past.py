"""Forgetting: what was settled long ago leaves the journal, a little at a time. Its pages are used again.

Never forgotten: the last number of each topic; what a scan must know, so that it is not announced again; deletions
that are owed, transfers under way, jobs that are not settled; and of servers that don't number, the last UNNUMBERED
deliveries of each chain, as nothing but the journal tells what was had from them.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tranship.journal.engine import Journal, many

BATCH = 50
"""Rows that are looked at in one act: nobody waits for it for more than some milliseconds."""

UNNUMBERED = 5000
"""More than a server of the old kind can name in an answer to `info`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, in their order: the id of the last, and whether there are more."""

    last: int
    more: bool


@dataclass(frozen=True, slots=True)
class Old(Batch):
    """Announcements that may be forgotten: `superseded` anyway, the others (path by id) if their files are gone."""

    superseded: list[int]
    paths: dict[int, str]


@dataclass(frozen=True, slots=True)
class Forgotten(Batch):
    """Jobs that were forgotten; given_up of these were never delivered."""

    jobs: int
    given_up: int


class PastAnnouncements:
    """The acts on what a server has announced."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def mounts(self, seen: Collection[str] = ()) -> set[str]:
        """The mount points under which announced files were seen to lie, these included."""

        def act(db: sqlite3.Connection) -> set[str]:
            row = db.execute("SELECT value FROM facts WHERE key='mounts'").fetchone()
            known = set(json.loads(row[0])) if row else set()
            if not known.issuperset(seen):
                known.update(seen)
                db.execute("INSERT OR REPLACE INTO facts VALUES ('mounts', ?)", (json.dumps(sorted(known)),))
            return known

        return await self._do(act)

    async def newest(self, limit: int) -> list[str]:
        """The paths of the last announcements."""
        query = "SELECT path FROM announcements ORDER BY id DESC LIMIT ?"
        return await self._do(lambda db: [row[0] for row in db.execute(query, (limit,))])

    async def old(self, before: float, after: int) -> Old:
        """The next announcements after id `after` that were told before this time (seconds since the epoch)."""

        def act(db: sqlite3.Connection) -> Old:
            rows = db.execute(
                "SELECT id, chain, path, announced, topic, seq FROM announcements WHERE id>? ORDER BY id LIMIT ?",
                (after, BATCH),
            ).fetchall()
            old = [row for row in rows if row[3] < before]
            superseded: list[int] = []
            paths: dict[int, str] = {}
            for number, chain, path, _, topic, seq in old:
                if (
                    not db.execute(_LATER, (topic, seq)).fetchone()
                    or db.execute(_OWED, (path, chain, path)).fetchone()
                ):
                    continue
                if db.execute(_ANEW, (chain, path, number)).fetchone():
                    superseded.append(number)
                else:
                    paths[number] = path
            return Old(rows[-1][0] if rows else after, len(old) == BATCH, superseded, paths)

        return await self._do(act)

    async def forget(self, numbers: Sequence[int]) -> None:
        """Forget announcements (by id), and what was moved of files of which none is left."""

        def act(db: sqlite3.Connection) -> None:
            for number in numbers:
                row = db.execute("SELECT chain, path FROM announcements WHERE id=?", (number,)).fetchone()
                db.execute("DELETE FROM announcements WHERE id=?", (number,))
                if row is not None and not db.execute(_ANEW, (*row, 0)).fetchone():
                    db.execute("DELETE FROM transfers WHERE chain=? AND path=? AND state<>'moving'", row)
                    db.execute("DELETE FROM published WHERE chain=? AND path=?", row)

        await self._do(act)

    async def taken(self, after: tuple[str, str]) -> list[tuple[str, str]]:
        """The next packed files (chain, path) after that one that were unpacked and announced."""
        query = "SELECT chain, path FROM taken WHERE (chain, path) > (?, ?) ORDER BY chain, path LIMIT ?"
        return await self._do(lambda db: db.execute(query, (*after, BATCH)).fetchall())

    async def forget_taken(self, taken: Sequence[tuple[str, str]]) -> None:
        """Forget packed files."""
        await self._do(many("DELETE FROM taken WHERE chain=? AND path=?", taken))


_LATER = "SELECT 1 FROM announcements WHERE topic=? AND seq>? LIMIT 1"
_ANEW = "SELECT 1 FROM announcements WHERE chain=? AND path=? AND id>? LIMIT 1"
_OWED = (
    "SELECT 1 FROM deletions WHERE path=?"
    " UNION ALL SELECT 1 FROM transfers WHERE chain=? AND path=? AND state='moving' LIMIT 1"
)


class PastJobs:
    """The acts on jobs."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def forget(self, before: float, after: int) -> Forgotten:
        """Forget those of the next jobs after id `after` that were settled before this time, and old orders."""

        def act(db: sqlite3.Connection) -> Forgotten:
            rows = db.execute(
                "SELECT id, state, coalesce(published, due), chain, server, wanted FROM jobs WHERE id>?"
                " ORDER BY id LIMIT ?",
                (after, BATCH),
            ).fetchall()
            settled = [row for row in rows if row[1] in _SETTLED and row[2] < before]
            floors = {chain: _floor(db, chain) for chain in {row[3] for row in settled if not row[4]}}
            gone = [row for row in settled if row[4] or row[0] <= floors[row[3]]]
            numbers = [(row[0],) for row in gone]
            db.executemany("DELETE FROM jobs WHERE id=?", numbers)
            db.executemany("DELETE FROM sources WHERE job=?", numbers)
            db.executemany("DELETE FROM untold WHERE job=?", numbers)
            if gone:
                db.execute("INSERT OR REPLACE INTO facts VALUES ('forgotten', ?)", (repr(before),))
            db.execute("DELETE FROM orders WHERE at<? AND heard=1", (before,))
            more = len(rows) == BATCH and rows[-1][5] < before
            given_up = sum(row[1] == "dead" for row in gone)
            return Forgotten(rows[-1][0] if rows else after, more, len(gone), given_up)

        return await self._do(act)


_SETTLED = ("done", "superseded", "dropped", "dead")


def _floor(db: sqlite3.Connection, chain: str) -> int:
    """The id up to which jobs of servers that don't number may be forgotten."""
    row = db.execute(
        "SELECT id FROM jobs WHERE chain=? AND server='' ORDER BY id DESC LIMIT 1 OFFSET ?",
        (chain, UNNUMBERED),
    ).fetchone()
    return 0 if row is None else int(row[0])
