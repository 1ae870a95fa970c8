"""What was published by number, so that who did not hear it can ask for it again."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tranship.journal.engine import Journal, many

NUMBERED = """
CREATE TABLE numbered (
    job INTEGER PRIMARY KEY, publisher TEXT NOT NULL, topic TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,
    frame BLOB NOT NULL, UNIQUE (publisher, topic, seq));
CREATE TABLE numbers (
    publisher TEXT NOT NULL, topic TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (publisher, topic)) WITHOUT ROWID;
CREATE TRIGGER numbered_go AFTER DELETE ON jobs BEGIN DELETE FROM numbered WHERE job=old.id; END
"""
"""Of each job the last message that was published about it; and of each topic the last number, for ever."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The number of a message: publisher is the chain that has one of its own, or "" for the whole process."""

    publisher: str
    topic: str
    seq: int


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a replay: frames in order, the number of the last, the topic's last number, whether there is more."""

    frames: list[bytes]
    last: int
    head: int
    more: bool


class NumberedBook:
    """The acts on what one publisher has told."""

    def __init__(self, journal: Journal, publisher: str) -> None:
        """Keep these records in journal."""
        self.publisher = publisher
        self._do = journal.do

    async def identity(self, fresh: str) -> str:
        """The stable id of the publisher: fresh, unless the journal has one already."""

        def act(db: sqlite3.Connection) -> str:
            key = f"publisher {self.publisher}"
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (key, fresh))
            return str(db.execute("SELECT value FROM facts WHERE key=?", (key,)).fetchone()[0])

        return await self._do(act)

    async def heads(self) -> dict[str, int]:
        """The last number of each topic, those that were told last at the end."""
        query = "SELECT topic, seq FROM numbers WHERE publisher=? ORDER BY at"
        return await self._do(lambda db: dict(db.execute(query, (self.publisher,)).fetchall()))

    async def replay(
        self, topic: str, *, since: int | None = None, at: float = 0.0, limit: int = 500, most: int = 1 << 19
    ) -> Page:
        """What was published about topic after number since (or at or after the time `at`), oldest first.

        At most limit frames and about `most` bytes.
        """
        key = self.publisher, topic

        def act(db: sqlite3.Connection) -> Page:
            row = db.execute("SELECT seq FROM numbers WHERE publisher=? AND topic=?", key).fetchone()
            head, first = row[0] if row else 0, since
            if first is None:
                query = "SELECT min(seq) - 1 FROM numbered WHERE publisher=? AND topic=? AND at>=?"
                first = db.execute(query, (*key, at)).fetchone()[0]
                first = head if first is None else first
            query = (
                "SELECT seq, frame FROM numbered WHERE publisher=? AND topic=? AND seq>? ORDER BY seq LIMIT ?"
            )
            return paged(db.execute(query, (*key, first, limit)), limit, most, head)

        return await self._do(act)

    async def take_back(self, jobs: Sequence[int]) -> None:
        """Forget what was to be published about jobs: it is another client's, or comes with another number."""
        await self._do(many("DELETE FROM numbered WHERE job=?", [(job,) for job in jobs]))


def paged(rows: Iterable[tuple[int, bytes]], limit: int, most: int, head: int) -> Page:
    """The page of rows (number, frame), as many as have room: limit frames, about `most` bytes.

    Numbers may be missing. A page that is not full brings everything up to head.
    """
    frames: list[bytes] = []
    last, volume = 0, 0
    for seq, frame in rows:
        if frames and volume + len(frame) > most:
            return Page(frames, last, head, last < head)
        frames.append(frame)
        volume += len(frame)
        last = seq
    full = len(frames) == limit and last < head
    return Page(frames, last if full else head, head, full)


def note_numbered(db: sqlite3.Connection, told: Iterable[tuple[int, Numbered, float, bytes]]) -> None:
    """Within an act: record what is about to be published: (job, number, seconds since the epoch, message)."""
    rows = list(told)
    db.executemany(
        "INSERT OR REPLACE INTO numbered VALUES (?,?,?,?,?,?)",
        [(job, n.publisher, n.topic, n.seq, at, frame) for job, n, at, frame in rows],
    )
    db.executemany(
        "INSERT INTO numbers VALUES (?,?,?,?) ON CONFLICT (publisher, topic)"
        " DO UPDATE SET seq=max(seq, excluded.seq), at=excluded.at",
        [(n.publisher, n.topic, n.seq, at) for _, n, at, _ in rows],
    )
