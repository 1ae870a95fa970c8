"""The other clients of one section: who they are, what they have under way, and what they have published."""

import sqlite3
from collections.abc import Sequence

from tranship.core.handover import Matter
from tranship.journal.engine import Journal, many
from tranship.journal.rules import jobs_about, strike_off


class SectionBook:
    """The acts on what is left to other clients."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def client(self, chain: str, fresh: str) -> tuple[str, list[str]]:
        """The id of this client's chain (fresh, unless the journal has one), and those that it has heard last."""

        def act(db: sqlite3.Connection) -> tuple[str, list[str]]:
            key = f"client {chain}"
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (key, fresh))
            [own] = db.execute("SELECT value FROM facts WHERE key=?", (key,)).fetchone()
            rows = db.execute("SELECT client FROM peers WHERE chain=? ORDER BY met DESC LIMIT 16", (chain,))
            return str(own), [row[0] for row in rows]

        return await self._do(act)

    async def meet(self, chain: str, client: str, now: float) -> None:
        """Remember another client that was heard."""
        await self._do(many("INSERT OR REPLACE INTO peers VALUES (?,?,?)", [(chain, client, now)]))

    async def hold(self, chain: str, held: Sequence[tuple[Matter, float]]) -> None:
        """Put off deliveries that another client has under way; it is given until then (seconds since the epoch)."""

        def act(db: sqlite3.Connection) -> None:
            for about, until in held:
                for job in jobs_about(db, chain, about):
                    db.execute("UPDATE jobs SET due=? WHERE id=? AND state='wanted'", (until, job))

        await self._do(act)

    async def elsewhere(self, chain: str, told: Sequence[Matter], now: float) -> list[str]:
        """Strike off deliveries that another client has published; returns the paths of those that were owed."""

        def act(db: sqlite3.Connection) -> list[str]:
            paths = []
            for about in told:
                for job in jobs_about(db, chain, about):
                    paths += strike_off(db, job, now)
            return paths

        return await self._do(act)

    async def put_off(self, job: int, until: float) -> None:
        """Another client has this delivery under way; it is given until then (seconds since the epoch)."""
        statement = "UPDATE jobs SET state='wanted', due=? WHERE id=? AND state IN ('wanted', 'delivered')"
        await self._do(many(statement, [(until, job)]))

    async def struck_off(self, job: int, now: float) -> None:
        """Another client has published this delivery."""
        await self._do(lambda db: strike_off(db, job, now))
