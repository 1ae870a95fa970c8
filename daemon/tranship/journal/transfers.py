"""What a server has moved where, or is about to: one row per file and destination."""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from tranship.core.values import Version
from tranship.journal.deletions import Deletion, owe
from tranship.journal.engine import Journal, many


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file version to one destination (URL without credentials), and what became of it.

    state: moving, done, failed (its client asks again), given up (it does not). landed: where it lies (URL without
    credentials).
    """

    chain: str
    version: Version
    destination: str
    state: str
    reason: str = ""
    landed: str = ""
    at: float = 0.0


class TransferBook:
    """The acts on transfers."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def begin(
        self, wanted: Sequence[tuple[str, Version, str]], now: float
    ) -> dict[tuple[str, str], Transfer]:
        """Record that (chain, version, destination) are about to be moved, but for those that were already.

        Returns by (path, destination) the earlier transfers of the same version that are done.
        """

        def act(db: sqlite3.Connection) -> dict[tuple[str, str], Transfer]:
            done = {}
            for chain, version, destination in wanted:
                row = db.execute(
                    "SELECT size, mtime_ns, checksum, landed, moved FROM transfers"
                    " WHERE chain=? AND path=? AND destination=? AND state='done'",
                    (chain, version.path, destination),
                ).fetchone()
                if row is not None and Version(version.path, *row[:3]) == version:
                    done[version.path, destination] = Transfer(
                        chain, version, destination, "done", landed=row[3], at=row[4]
                    )
                    continue
                db.execute(
                    "INSERT INTO transfers (chain, path, size, mtime_ns, checksum, destination, state, requested)"
                    " VALUES (?,?,?,?,?,?,'moving',?)"
                    " ON CONFLICT (chain, path, destination) DO UPDATE SET size=excluded.size,"
                    " mtime_ns=excluded.mtime_ns, checksum=excluded.checksum, state='moving', reason='',"
                    " attempts=CASE WHEN (size, mtime_ns, checksum) <> (excluded.size, excluded.mtime_ns,"
                    " excluded.checksum) THEN 1 ELSE attempts + (state <> 'moving') END,"
                    " requested=excluded.requested, moved=NULL",
                    (chain, version.path, version.size, version.mtime_ns, version.checksum, destination, now),
                )
            return done

        return await self._do(act)

    async def forget(self, again: Sequence[tuple[str, str, str]]) -> None:
        """Forget the outcome of (chain, path, destination): it is asked for once more, on purpose."""
        await self._do(
            many("UPDATE transfers SET state='asked again' WHERE chain=? AND path=? AND destination=?", again)
        )

    async def moved(self, transfers: Sequence[Transfer], deletions: Sequence[Deletion] = ()) -> None:
        """Record outcomes, and with them what is to be deleted because of them."""

        def act(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE transfers SET state=?, reason=?, landed=?, moved=?"
                " WHERE chain=? AND path=? AND destination=? AND size=? AND mtime_ns=?",
                [
                    (
                        *(t.state, t.reason, t.landed, t.at),
                        *(t.chain, t.version.path, t.destination, t.version.size, t.version.mtime_ns),
                    )
                    for t in transfers
                ],
            )
            owe(db, deletions)

        await self._do(act)

    async def unfinished(self) -> list[Transfer]:
        """The transfers that a crash broke off."""

        def act(db: sqlite3.Connection) -> list[Transfer]:
            rows = db.execute(
                "SELECT chain, path, size, mtime_ns, checksum, destination FROM transfers WHERE state='moving'"
            )
            return [Transfer(r[0], Version(*r[1:5]), r[5], "moving") for r in rows]

        return await self._do(act)

    async def broken_off(self, chain: str) -> None:
        """Nothing of chain is under way: what was when it ended is asked for again, by whoever still wants it."""
        statement = (
            "UPDATE transfers SET state='failed', reason='broken off' WHERE state='moving' AND chain=?"
        )
        await self._do(many(statement, [(chain,)]))

    async def had_elsewhere(self, chain: str, arrived: Sequence[tuple[str, str]]) -> None:
        """What arrived (path, destination without credentials) by way of others is not asked for again here."""

        def act(db: sqlite3.Connection) -> None:
            for path, destination in arrived:
                rows = db.execute(
                    "SELECT id, destination FROM transfers WHERE chain=? AND path=? AND state='failed'",
                    (chain, path),
                ).fetchall()
                ended = [(row[0],) for row in rows if _LOGIN.sub("", row[1]) == destination]
                db.executemany("UPDATE transfers SET state='given up' WHERE id=?", ended)

        await self._do(act)


_LOGIN = re.compile(r"(?<=://)[^/]*@")
