"""The server's records: what was announced, and the tables of all that it keeps."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from tranship.core.values import Version
from tranship.journal.deletions import Deletion, DeletionBook, owe
from tranship.journal.engine import Journal, Schema
from tranship.journal.numbered import Page, paged
from tranship.journal.orders import ORDERS, OrderBook
from tranship.journal.past import PastAnnouncements
from tranship.journal.resends import RESENDS, ResendBook
from tranship.journal.rivals import RivalBook
from tranship.journal.telling import TO_TELL, TellingBook, list_untold
from tranship.journal.transfers import TransferBook

SCHEMA = Schema(
    "server",
    (
        """
CREATE TABLE announcements (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, seq INTEGER NOT NULL, chain TEXT NOT NULL,
    path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, checksum TEXT NOT NULL,
    uid TEXT NOT NULL, frame BLOB NOT NULL, detected REAL NOT NULL, announced REAL NOT NULL,
    acknowledged REAL, UNIQUE (topic, seq));
CREATE INDEX announcements_path ON announcements (chain, path);
CREATE TABLE transfers (
    id INTEGER PRIMARY KEY, chain TEXT NOT NULL,
    path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, checksum TEXT NOT NULL,
    destination TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    landed TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 1, requested REAL NOT NULL, moved REAL,
    UNIQUE (chain, path, destination));
CREATE INDEX transfers_state ON transfers (state);
CREATE TABLE deletions (
    path TEXT PRIMARY KEY, chain TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, due REAL NOT NULL
    ) WITHOUT ROWID;
CREATE INDEX deletions_due ON deletions (due)
""",
        """
CREATE TABLE parts (
    announcement INTEGER NOT NULL, chain TEXT NOT NULL,
    path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, checksum TEXT NOT NULL,
    PRIMARY KEY (chain, path, announcement)) WITHOUT ROWID;
CREATE INDEX parts_of ON parts (announcement);
CREATE TRIGGER parts_go AFTER DELETE ON announcements BEGIN DELETE FROM parts WHERE announcement=old.id; END
""",
        """
CREATE TABLE published (
    chain TEXT NOT NULL, path TEXT NOT NULL, client TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    spare_of TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (chain, path, client)) WITHOUT ROWID
""",
        "CREATE TABLE primaries (chain TEXT NOT NULL, client TEXT NOT NULL, PRIMARY KEY (chain, client)) WITHOUT ROWID",
        # An index of all states would be taken, too, for what became of one path: it leads to all that were ever moved.
        """
DROP INDEX transfers_state;
CREATE INDEX transfers_moving ON transfers (chain, path) WHERE state='moving';
CREATE INDEX transfers_failed ON transfers (chain, moved) WHERE state IN ('failed', 'given up')
""",
        """
ALTER TABLE deletions ADD COLUMN origin TEXT;
ALTER TABLE deletions ADD COLUMN origin_size INTEGER;
ALTER TABLE deletions ADD COLUMN origin_mtime_ns INTEGER
""",
        f"{ORDERS};\n{RESENDS}",
        TO_TELL,
    ),
    (
        Schema(
            "unpacking",
            (
                """
CREATE TABLE taken (
    chain TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (chain, path)) WITHOUT ROWID
""",
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Announced:
    """One announcement, as it was told: frame is the message; times in seconds since the epoch.

    others: the further files, if the message is about several. alone: nobody can ask for what they have not heard.
    """

    topic: str
    seq: int
    chain: str
    version: Version
    uid: str
    frame: bytes
    detected: float
    announced: float
    others: tuple[Version, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What the last announcement of a path said."""

    topic: str
    seq: int
    version: Version


@dataclass(frozen=True, slots=True)
class Taken:
    """A packed file that was unpacked and announced; or that never will be, for this reason."""

    chain: str
    version: Version
    reason: str = ""


class ServerBook:
    """The acts on a server's journal."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do
        self.past = PastAnnouncements(journal)
        self.rivals = RivalBook(journal)
        self.orders = OrderBook(journal)
        self.resends = ResendBook(journal)
        self.deletions = DeletionBook(journal)
        self.telling = TellingBook(journal)
        self.transfers = TransferBook(journal)
        self._trouble = journal.trouble

    @property
    def trouble(self) -> str:
        """What keeps the journal from writing; "" when it writes."""
        return self._trouble.reason

    async def identity(self, fresh: str) -> str:
        """The stable id of this server: fresh, unless the journal has one already."""

        def act(db: sqlite3.Connection) -> str:
            db.execute("INSERT OR IGNORE INTO facts VALUES ('server', ?)", (fresh,))
            return str(db.execute("SELECT value FROM facts WHERE key='server'").fetchone()[0])

        return await self._do(act)

    async def heads(self) -> dict[str, int]:
        """The last sequence number of each topic."""
        return await self._do(
            lambda db: dict(db.execute("SELECT topic, max(seq) FROM announcements GROUP BY topic").fetchall())
        )

    async def told(self, chain: str, paths: Sequence[str]) -> dict[str, Told]:
        """The last announcement of each of paths by chain, as far as there is one."""

        def act(db: sqlite3.Connection) -> dict[str, Told]:
            found = {}
            for path in paths:
                row = db.execute(
                    "SELECT topic, seq, path, size, mtime_ns, checksum, id FROM announcements"
                    " WHERE chain=:chain AND path=:path"
                    " UNION ALL SELECT topic, seq, p.path, p.size, p.mtime_ns, p.checksum, id FROM parts p"
                    " JOIN announcements ON id=announcement WHERE p.chain=:chain AND p.path=:path"
                    " ORDER BY id DESC LIMIT 1",
                    {"chain": chain, "path": path},
                ).fetchone()
                if row is not None:
                    found[path] = Told(row[0], row[1], Version(*row[2:6]))
            return found

        return await self._do(act)

    async def announce(
        self,
        announced: Sequence[Announced],
        taken: Sequence[Taken] = (),
        deletions: Sequence[Deletion] = (),
    ) -> None:
        """Record announcements that are about to be told, what was unpacked for them, what is to be deleted."""

        def act(db: sqlite3.Connection) -> None:
            announce_all(db, announced)
            list_untold(db, [(a.topic, a.seq) for a in announced if a.alone])
            db.executemany(
                "INSERT OR REPLACE INTO taken VALUES (?,?,?,?,?)",
                [(t.chain, t.version.path, t.version.size, t.version.mtime_ns, t.reason) for t in taken],
            )
            owe(db, deletions)

        await self._do(act)

    async def taken(self, chain: str, paths: Sequence[str]) -> dict[str, Version]:
        """The versions of packed files at paths that chain is done with, as far as there are any."""

        def act(db: sqlite3.Connection) -> dict[str, Version]:
            found = {}
            for path in paths:
                row = db.execute(
                    "SELECT path, size, mtime_ns FROM taken WHERE chain=? AND path=?", (chain, path)
                ).fetchone()
                if row is not None:
                    found[path] = Version(*row)
            return found

        return await self._do(act)

    async def replay(
        self, topic: str, *, since: int | None = None, at: float = 0.0, limit: int = 500, most: int = 1 << 19
    ) -> Page:
        """The announcements of topic after number since (or told at or after the time `at`), oldest first.

        At most limit frames and about `most` bytes.
        """

        def act(db: sqlite3.Connection) -> Page:
            head = db.execute("SELECT max(seq) FROM announcements WHERE topic=?", (topic,)).fetchone()[0] or 0
            first = since
            if first is None:
                first = db.execute(
                    "SELECT min(seq) - 1 FROM announcements WHERE topic=? AND announced>=?", (topic, at)
                ).fetchone()[0]
                first = head if first is None else first
            query = "SELECT seq, frame FROM announcements WHERE topic=? AND seq>? ORDER BY seq LIMIT ?"
            return paged(db.execute(query, (topic, first, limit)), limit, most, head)

        return await self._do(act)

    async def newest(self, topic: str, limit: int) -> list[str]:
        """List "<topic>/<uid>" of the last announcements whose topic starts with topic, newest first."""

        def act(db: sqlite3.Connection) -> list[str]:
            rows: list[tuple[int, str, str]] = []
            name = topic
            # From topic to topic by the index: the table may hold millions, of others.
            while (name := db.execute(_NEXT_TOPIC, (name,)).fetchone()[0]) is not None and name.startswith(
                topic
            ):
                rows += db.execute(
                    "SELECT id, topic, uid FROM announcements WHERE topic=? ORDER BY seq DESC LIMIT ?",
                    (name, limit),
                )
                name += "\0"
            rows.sort(reverse=True)
            return [f"{name}/{uid}" for _, name, uid in rows[:limit]]

        return await self._do(act)

    async def acknowledge(
        self, chain: str, paths: Sequence[str], deletions: Sequence[Deletion], now: float
    ) -> None:
        """Record that a client acknowledged the sources at paths, and what is to be deleted because of it."""

        def act(db: sqlite3.Connection) -> None:
            owe(db, deletions)
            db.executemany(
                "UPDATE announcements SET acknowledged=? WHERE chain=? AND path=? AND acknowledged IS NULL",
                [(now, chain, path) for path in paths],
            )

        await self._do(act)


def announce_all(db: sqlite3.Connection, announced: Sequence[Announced]) -> None:
    """Within an act: record announcements."""
    for a in announced:
        v = a.version
        number = db.execute(
            "INSERT INTO announcements VALUES (NULL,?,?,?,?,?,?,?,?,?,?,?,NULL)",
            (
                *(a.topic, a.seq, a.chain, v.path, v.size, v.mtime_ns, v.checksum),
                *(a.uid, a.frame, a.detected, a.announced),
            ),
        ).lastrowid
        db.executemany(
            "INSERT OR REPLACE INTO parts VALUES (?,?,?,?,?,?)",
            [(number, a.chain, o.path, o.size, o.mtime_ns, o.checksum) for o in a.others],
        )


_NEXT_TOPIC = "SELECT min(topic) FROM announcements WHERE topic>=?"
