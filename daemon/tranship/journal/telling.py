"""What nobody can ask for again, as its chain has no requests: listed until it has left for certain."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tranship.journal.engine import Journal, many

TO_TELL = """
CREATE TABLE to_tell (topic TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (topic, seq)) WITHOUT ROWID
"""

Number = tuple[str, int]
"""An announcement's topic and its number there."""


@dataclass(frozen=True, slots=True)
class Untold:
    """An announcement that perhaps nobody could hear: its (first) file, and the message."""

    path: str
    size: int
    seq: int
    frame: bytes


class TellingBook:
    """The acts on what is to be told."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def untold(self, chain: str) -> list[Untold]:
        """What chain has perhaps not told, oldest first."""
        query = (
            "SELECT path, size, seq, frame FROM to_tell JOIN announcements USING (topic, seq)"
            " WHERE chain=? ORDER BY id"
        )
        return await self._do(lambda db: [Untold(*row) for row in db.execute(query, (chain,))])

    async def told(self, numbers: Sequence[Number]) -> None:
        """Record that these have left for certain."""
        await self._do(many("DELETE FROM to_tell WHERE topic=? AND seq=?", numbers))


def list_untold(db: sqlite3.Connection, numbers: Iterable[Number]) -> None:
    """Within an act: these are to be told."""
    db.executemany("INSERT OR IGNORE INTO to_tell VALUES (?,?)", numbers)
