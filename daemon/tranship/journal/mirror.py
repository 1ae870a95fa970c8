"""The mirror's records beside those of a server and a client: what was heard upstream, and who offers it."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from tranship.core.identity import apart
from tranship.core.values import Version
from tranship.journal.client import SCHEMA as CLIENT
from tranship.journal.client import note_cursors
from tranship.journal.engine import Journal, Schema, many
from tranship.journal.jobs import Cursor, Source
from tranship.journal.server import SCHEMA as SERVER
from tranship.journal.server import Announced, announce_all

SCHEMA = Schema(
    "mirror",
    (
        """
CREATE TABLE heard (
    id INTEGER PRIMARY KEY, chain TEXT NOT NULL, identity TEXT NOT NULL, due REAL NOT NULL,
    topic TEXT, seq INTEGER, UNIQUE (chain, identity));
CREATE INDEX heard_untold ON heard (chain, due) WHERE seq IS NULL;
CREATE INDEX heard_told ON heard (topic, seq);
CREATE TABLE offers (
    id INTEGER PRIMARY KEY, heard INTEGER NOT NULL, request_address TEXT NOT NULL, path TEXT NOT NULL,
    many INTEGER NOT NULL, frame BLOB NOT NULL, UNIQUE (heard, request_address));
CREATE TRIGGER heard_goes AFTER DELETE ON announcements
    BEGIN DELETE FROM heard WHERE topic=old.topic AND seq=old.seq; END;
CREATE TRIGGER offers_go AFTER DELETE ON heard BEGIN DELETE FROM offers WHERE heard=old.id; END
""",
        """
CREATE TRIGGER heard_goes_on AFTER UPDATE OF seq ON announcements
    BEGIN UPDATE heard SET seq=new.seq WHERE topic=old.topic AND seq=old.seq; END
""",
        """
ALTER TABLE offers ADD COLUMN server TEXT NOT NULL DEFAULT '';
ALTER TABLE offers ADD COLUMN topic TEXT NOT NULL DEFAULT '';
ALTER TABLE offers ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
CREATE INDEX offers_path ON offers (path)
""",
    ),
    (SERVER, CLIENT),
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What an announcement of upstream offers, and when it is to be told downstream (seconds since the epoch).

    path: of the (first) file at its server. server, topic, number: what numbers the announcement there; number 0: it
    does not number.
    """

    chain: str
    identity: str
    path: str
    source: Source
    due: float
    server: str = ""
    topic: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Offered:
    """Who offers something, the first who did first; whether it was brought here already."""

    identity: str
    sources: list[Source]
    brought: bool


class MirrorBook:
    """The acts on a mirror's journal that neither a server nor a client knows."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def hear(self, heard: Sequence[Heard], cursors: Sequence[Cursor]) -> list[bool]:
        """Record offers and how far the servers were heard, in one. Per offer whether it is news, to be told on.

        It is not if it was offered before, or if its server has announced a newer version since, which was heard first
        (a replay brings what was missed): who hears of it last would take it for the newest.
        """

        def act(db: sqlite3.Connection) -> list[bool]:
            note_cursors(db, cursors)
            return [_hear(db, each) for each in heard]

        return await self._do(act)

    async def take_up(self, chain: str, latest: float) -> None:
        """Nothing is to be told later than at this time, whatever clock an earlier life went by."""
        statement = "UPDATE heard SET due=? WHERE chain=? AND seq IS NULL AND due>?"
        await self._do(many(statement, [(latest, chain, latest)]))

    async def untold(
        self, chain: str, now: float, limit: int = 500
    ) -> tuple[list[tuple[int, Source]], float | None]:
        """What is to be told downstream by now, oldest first; and when the next will be due."""

        def act(db: sqlite3.Connection) -> tuple[list[tuple[int, Source]], float | None]:
            rows = db.execute(
                "SELECT id FROM heard WHERE chain=? AND seq IS NULL AND due<=? ORDER BY due, id LIMIT ?",
                (chain, now, limit),
            ).fetchall()
            following = db.execute(
                "SELECT min(due) FROM heard WHERE chain=? AND seq IS NULL AND due>?", (chain, now)
            ).fetchone()[0]
            return [(number, _sources(db, number)[0]) for (number,) in rows], following

        return await self._do(act)

    async def tell(self, told: Sequence[tuple[int, Announced]]) -> None:
        """Record announcements of what was heard, which are about to be told."""

        def act(db: sqlite3.Connection) -> None:
            announce_all(db, [announced for _, announced in told])
            db.executemany(
                "UPDATE heard SET topic=?, seq=? WHERE id=?",
                [(announced.topic, announced.seq, number) for number, announced in told],
            )

        await self._do(act)

    async def offers(self, chain: str, path: str) -> Offered | None:
        """Who offers the file that was announced last at path (of its server); None if nobody does."""

        def act(db: sqlite3.Connection) -> Offered | None:
            row = db.execute(
                "SELECT h.id, h.identity FROM announcements a JOIN heard h ON h.topic=a.topic AND h.seq=a.seq"
                " WHERE a.chain=:chain AND (a.path=:path"
                " OR a.id IN (SELECT announcement FROM parts WHERE chain=:chain AND path=:path))"
                " ORDER BY a.id DESC LIMIT 1",
                {"chain": chain, "path": path},
            ).fetchone()
            if row is None:
                return None
            state = db.execute(
                "SELECT state FROM jobs WHERE chain=? AND identity=?", (chain, row[1])
            ).fetchone()
            return Offered(row[1], _sources(db, row[0]), state is not None and state[0] == "done")

        return await self._do(act)

    async def forget(self, chain: str, identity: str) -> None:
        """What was brought here, or was given up, is to be brought anew; what is being tried is left alone."""

        def act(db: sqlite3.Connection) -> None:
            done = "chain=? AND identity=? AND state<>'wanted'"
            db.execute(
                f"DELETE FROM sources WHERE job IN (SELECT id FROM jobs WHERE {done})", (chain, identity)
            )
            db.execute(f"DELETE FROM jobs WHERE {done}", (chain, identity))

        await self._do(act)

    async def hasten(self, job: int, now: float) -> bool:
        """Somebody waits for job: it is due now. Returns whether it is, for its place may be paused."""

        def act(db: sqlite3.Connection) -> bool:
            due = db.execute("UPDATE jobs SET due=? WHERE id=? AND state='wanted' AND parked=''", (now, job))
            return due.rowcount > 0

        return await self._do(act)

    async def keep(self, chain: str, copies: Sequence[tuple[Version, Version]], until: float) -> None:
        """Copies (each of what was announced) are in use; they are to be deleted then, or so long after the last move.

        Who still asks for what was announced is waited for.
        """
        rows = [
            (copy.path, chain, copy.size, copy.mtime_ns, until, of.path, of.size, of.mtime_ns)
            for copy, of in copies
        ]
        await self._do(many("INSERT OR REPLACE INTO deletions VALUES (?,?,?,?,?,?,?,?)", rows))

    async def topics(self, chain: str) -> list[str]:
        """What chain has told of."""
        return await self._do(
            lambda db: [
                row[0]
                for row in db.execute("SELECT DISTINCT topic FROM announcements WHERE chain=?", (chain,))
            ]
        )


def _hear(db: sqlite3.Connection, heard: Heard) -> bool:
    source, key = heard.source, heard.identity
    if _is_outdated(db, heard):
        return False
    other = db.execute(
        "SELECT path FROM offers JOIN heard ON heard.id=heard WHERE chain=? AND identity=? AND request_address=?",
        (heard.chain, key, source.request_address),
    ).fetchone()
    if other is not None and other[0] != heard.path:
        key = apart(key, heard.path)  # the same name and bytes in another directory: a file of its own
    new = db.execute(
        "INSERT OR IGNORE INTO heard (chain, identity, due) VALUES (?,?,?)", (heard.chain, key, heard.due)
    ).rowcount
    number = db.execute("SELECT id FROM heard WHERE chain=? AND identity=?", (heard.chain, key)).fetchone()[0]
    db.execute(
        "INSERT INTO offers (heard, request_address, path, many, frame, server, topic, number)"
        " VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (heard, request_address)"
        " DO UPDATE SET many=excluded.many, frame=excluded.frame, number=excluded.number",
        (number, source.request_address, heard.path, source.many, source.frame, *_numbered(heard)),
    )
    return bool(new)


def _is_outdated(db: sqlite3.Connection, heard: Heard) -> bool:
    row = db.execute(
        "SELECT 1 FROM offers JOIN heard ON heard.id=heard WHERE path=? AND chain=? AND identity<>?"
        " AND server=? AND offers.topic=? AND number>? LIMIT 1",
        (heard.path, heard.chain, heard.identity, *_numbered(heard)),
    ).fetchone()
    return bool(heard.number) and row is not None


def _numbered(heard: Heard) -> tuple[str, str, int]:
    return heard.server, heard.topic, heard.number


def _sources(db: sqlite3.Connection, number: int) -> list[Source]:
    rows = db.execute("SELECT request_address, many, frame FROM offers WHERE heard=? ORDER BY id", (number,))
    return [Source(row[0], bool(row[1]), row[2]) for row in rows]
