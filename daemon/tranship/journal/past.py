"""Forgetting: what was settled long ago leaves the journal, a little at a time. Its pages are used again.

Never forgotten: the last number of each topic; what a scan must know, so that it is not announced again; deletions
that are owed, transfers under way, jobs that are not settled; and of servers that don't number, the last UNNUMBERED
deliveries of each chain, as nothing but the journal tells what was had from them.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

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
class Settled(Batch):
    """Jobs that may be forgotten: `superseded` anyway, the others (path by id) as their role says."""

    superseded: list[int]
    paths: dict[int, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """A job (by id) that is over and was not delivered."""

    job: int
    identity: str
    destination: str


class Lain:
    """The acts on where files lay: the mount points of what was announced, or moved."""

    def __init__(self, journal: Journal, table: Literal["announcements", "jobs"]) -> None:
        """Keep these records in journal; its table tells of the files."""
        self._do = journal.do
        self._table = table

    async def mounts(self, seen: Collection[str] = ()) -> set[str]:
        """The mount points under which files were seen to lie, these included."""

        def act(db: sqlite3.Connection) -> set[str]:
            row = db.execute("SELECT value FROM facts WHERE key='mounts'").fetchone()
            known = set(json.loads(row[0])) if row else set()
            if not known.issuperset(seen):
                known.update(seen)
                db.execute("INSERT OR REPLACE INTO facts VALUES ('mounts', ?)", (json.dumps(sorted(known)),))
            return known

        return await self._do(act)

    async def newest(self, limit: int) -> list[str]:
        """The paths of the last files."""
        query = f"SELECT path FROM {self._table} ORDER BY id DESC LIMIT ?"
        return await self._do(lambda db: [row[0] for row in db.execute(query, (limit,))])


class PastAnnouncements:
    """The acts on what a server has announced."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do
        self.lain = Lain(journal, "announcements")

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
        self.lain = Lain(journal, "jobs")

    async def settled(self, before: float, after: int) -> Settled:
        """Those of the next jobs after id `after` that were settled before this time (seconds since the epoch)."""

        def act(db: sqlite3.Connection) -> Settled:
            rows = db.execute(
                "SELECT id, state, coalesce(published, due), chain, server, wanted, path, uid, destination"
                " FROM jobs WHERE id>? ORDER BY id LIMIT ?",
                (after, BATCH),
            ).fetchall()
            settled = [row for row in rows if row[1] in _SETTLED and row[2] < before]
            floors = {chain: _floor(db, chain) for chain in {row[3] for row in settled if not row[4]}}
            superseded: list[int] = []
            paths: dict[int, str] = {}
            for number, _, _, chain, server, _, path, uid, destination in settled:
                if not server and number > floors[chain]:
                    continue
                if db.execute(_NEWER, (chain, uid, path, destination, number)).fetchone():
                    superseded.append(number)
                else:
                    paths[number] = path
            more = len(rows) == BATCH and rows[-1][5] < before
            return Settled(rows[-1][0] if rows else after, more, superseded, paths)

        return await self._do(act)

    async def ended(self, chain: str, after: int) -> list[Ended]:
        """The next jobs of chain after id `after` that were given up, dropped or superseded."""
        query = (
            f"SELECT id, identity, destination FROM jobs WHERE chain=? AND state IN {_UNDELIVERED}"
            " AND destination<>'' AND id>? ORDER BY id LIMIT ?"
        )
        return await self._do(lambda db: [Ended(*row) for row in db.execute(query, (chain, after, BATCH))])

    async def forget(self, numbers: Sequence[int], before: float) -> int:
        """Forget jobs (by id) that were settled before this time; how many of them were never delivered."""

        def act(db: sqlite3.Connection) -> int:
            given_up = 0
            for number in numbers:
                row = db.execute(
                    f"DELETE FROM jobs WHERE id=? AND {_IS_SETTLED} RETURNING state", (number,)
                ).fetchone()
                if row is not None:  # else it was ordered anew meanwhile
                    given_up += row[0] == "dead"
                    db.execute("DELETE FROM sources WHERE job=?", (number,))
                    db.execute("DELETE FROM untold WHERE job=?", (number,))
            if numbers:
                db.execute("INSERT OR REPLACE INTO facts VALUES ('forgotten', ?)", (repr(before),))
            return given_up

        return await self._do(act)


_UNDELIVERED = ("superseded", "dropped", "dead")
_SETTLED = ("done", *_UNDELIVERED)
_IS_SETTLED = f"state IN {_SETTLED}"
_NEWER = "SELECT 1 FROM jobs WHERE chain=? AND uid=? AND path=? AND destination=? AND id>? LIMIT 1"


def _floor(db: sqlite3.Connection, chain: str) -> int:
    """The id up to which jobs of servers that don't number may be forgotten."""
    row = db.execute(
        "SELECT id FROM jobs WHERE chain=? AND server='' ORDER BY id DESC LIMIT 1 OFFSET ?",
        (chain, UNNUMBERED),
    ).fetchone()
    return 0 if row is None else int(row[0])
