"""The server's records of what its clients have published, and which of them have a spare: what it judges by."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tranship.core.leases import Teller
from tranship.core.values import Version
from tranship.journal.engine import Journal, many


@dataclass(frozen=True, slots=True)
class Past:
    """What has become of a version: which clients have published it, and whether it was moved, wherever to."""

    tellers: Sequence[Teller]
    moved: bool


class RivalBook:
    """The acts on these records."""

    def __init__(self, journal: Journal) -> None:
        """Keep them in journal."""
        self._do = journal.do

    async def past(self, chain: str, versions: Sequence[Version]) -> list[Past]:
        """What has become of versions of chain (the checksum is not looked at)."""

        def act(db: sqlite3.Connection) -> list[Past]:
            found = []
            for version in versions:
                key = chain, version.path, version.size, version.mtime_ns
                tellers = [
                    Teller(client, frozenset(json.loads(spare_of)), at)
                    for client, spare_of, at in db.execute(
                        f"SELECT client, spare_of, at FROM published {_OF}", key
                    )
                ]
                moved = db.execute(f"SELECT 1 FROM transfers {_OF} AND state='done' LIMIT 1", key).fetchone()
                found.append(Past(tellers, moved is not None))
            return found

        return await self._do(act)

    async def primaries(self, chain: str) -> set[str]:
        """The clients of which a spare has said that it is theirs."""
        query = "SELECT client FROM primaries WHERE chain=?"
        return await self._do(lambda db: {row[0] for row in db.execute(query, (chain,))})

    async def meet(self, chain: str, clients: Iterable[str]) -> None:
        """Record clients of which a spare has said that it is theirs."""
        await self._do(many("INSERT OR IGNORE INTO primaries VALUES (?,?)", [(chain, c) for c in clients]))

    async def told_by(self, chain: str, versions: Sequence[Version], teller: Teller) -> None:
        """Record that teller has published versions, as far as chain has announced them."""
        spare_of = json.dumps(sorted(teller.spare_of))

        def act(db: sqlite3.Connection) -> None:
            for v in versions:
                db.execute(
                    "INSERT OR REPLACE INTO published SELECT chain, path, ?, size, mtime_ns, ?, ? FROM announcements"
                    " WHERE chain=? AND path=? AND size=? AND mtime_ns=? LIMIT 1",
                    (teller.client, spare_of, teller.at, chain, v.path, v.size, v.mtime_ns),
                )
                db.execute(_TOO_MANY, (chain, v.path, chain, v.path, _CLIENTS))

        await self._do(act)


_CLIENTS = 8
"""Clients that are remembered per file, the first: more than a section has; whoever invents any is kept to it."""

_TOO_MANY = (
    "DELETE FROM published WHERE chain=? AND path=? AND client IN (SELECT client FROM published"
    " WHERE chain=? AND path=? ORDER BY at LIMIT -1 OFFSET ?)"
)
_OF = "WHERE chain=? AND path=? AND size=? AND mtime_ns=?"
