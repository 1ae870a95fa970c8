"""What is to be told or delivered once more: chosen by an operator from another process, done by the one that works.

A job is owed anew. An announcement is listed in `resends`; its server tells it once more, with a number of its own.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tranship.core.values import Version
from tranship.journal.engine import Journal, many
from tranship.journal.orders import NAMED, give, named, ordering
from tranship.journal.survey import kind_of, reading
from tranship.journal.telling import list_untold

RESENDS = "CREATE TABLE resends (announcement INTEGER PRIMARY KEY)"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which deliveries, or announcements, are meant: all of these at once.

    names  ids, and patterns of file names or full paths; none: all
    topic  a prefix of topics
    since, until   when it was announced (seconds since the epoch)
    """

    names: Sequence[str] = ()
    topic: str = ""
    since: float = 0.0
    until: float = 1e12

    def __str__(self) -> str:
        """In words."""
        topic = [f"topic {self.topic}"] if self.topic else []
        times = [f"{self.since:.0f}..{self.until:.0f}"] if (self.since, self.until) != (0.0, 1e12) else []
        return " ".join([*self.names, *topic, *times]) or "everything"


@dataclass(frozen=True, slots=True)
class Known:
    """What was delivered, or announced: its file, when it was announced (seconds since the epoch).

    where: its destination; of an announcement, its path at whoever announced it first.
    """

    id: int
    file: str
    topic: str
    announced: float
    where: str


@dataclass(frozen=True, slots=True)
class Found:
    """What is known, oldest first, and by which kind of process: server, client (whatever moves files) or mirror."""

    kind: str
    known: list[Known]


def find(path: Path, choice: Choice) -> Found:
    """What is meant, of what the journal at path knows. Raises JournalError."""
    with reading(path) as db:
        table, where = _table(db)
        query = f"SELECT id, uid, topic, announced, {where} FROM {table} WHERE {_MEANT[table]} ORDER BY id"
        return Found(kind_of(db), [Known(*row) for row in db.execute(query, _values(choice))])


def resend(path: Path, choice: Choice, who: str, now: float) -> int:
    """Have what is meant told, or delivered and published, once more; how many that are. Raises JournalError."""
    values = {**_values(choice), "now": now}
    with ordering(path) as db:
        table, _ = _table(db)
        files = [row[0] for row in db.execute(f"SELECT uid FROM {table} WHERE {_MEANT[table]}", values)]
        db.execute(_CHANGE[table], values)
        give(db, now, who, f"resend {choice}", files)
    return len(files)


def _table(db: sqlite3.Connection) -> tuple[str, str]:
    """Which table tells of what can be resent, and which of its columns of where that is."""
    return ("jobs", "destination") if kind_of(db) == "client" else ("announcements", "path")


def _values(choice: Choice) -> dict[str, object]:
    return {
        **named(choice.names or ("*",)),
        "topic": choice.topic,
        "since": choice.since,
        "until": choice.until,
    }


_CHOSEN = f"substr(topic, 1, length(:topic))=:topic AND announced BETWEEN :since AND :until AND {NAMED}"
_MEANT = {
    "jobs": f"state='done' AND destination<>'' AND {_CHOSEN}",
    "announcements": f"{_CHOSEN} AND NOT EXISTS (SELECT 1 FROM announcements a WHERE a.chain=announcements.chain"
    " AND a.path=announcements.path AND a.id>announcements.id)",
}
_CHANGE = {
    "jobs": "UPDATE jobs SET state='wanted', wanted=:now, due=0, attempts=0, again=1, parked='', resent=1,"
    f" reason='resent' WHERE {_MEANT['jobs']}",
    "announcements": "INSERT OR IGNORE INTO resends SELECT id FROM announcements WHERE"
    f" {_MEANT['announcements']}",
}


@dataclass(frozen=True, slots=True)
class Resend:
    """An announcement that is to be told once more: versions are its files, frame is what was told.

    detected: in seconds since the epoch.
    """

    id: int
    topic: str
    versions: tuple[Version, ...]
    uid: str
    frame: bytes
    detected: float


@dataclass(frozen=True, slots=True)
class Retold:
    """An announcement (id) that is about to be told once more, as this frame, with number seq of topic.

    alone: nobody can ask for what they have not heard.
    """

    id: int
    topic: str
    seq: int
    frame: bytes
    alone: bool = False


class ResendBook:
    """The acts of the process that resends."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do

    async def chosen(self, chain: str, limit: int = 200) -> list[Resend]:
        """What chain is to tell once more, oldest first."""

        def act(db: sqlite3.Connection) -> list[Resend]:
            rows = db.execute(
                "SELECT id, topic, uid, frame, detected, path, size, mtime_ns, checksum FROM resends"
                " JOIN announcements ON id=announcement WHERE chain=? ORDER BY id LIMIT ?",
                (chain, limit),
            ).fetchall()
            found = []
            for number, topic, uid, frame, detected, *version in rows:
                others = db.execute(
                    "SELECT path, size, mtime_ns, checksum FROM parts WHERE announcement=?", (number,)
                )
                versions = (Version(*version), *(Version(*other) for other in others))
                found.append(Resend(number, topic, versions, uid, frame, detected))
            return found

        return await self._do(act)

    async def retold(self, told: Sequence[Retold], now: float) -> None:
        """Record what is about to be told once more. What was moved and published before counts no more."""

        def act(db: sqlite3.Connection) -> None:
            for each in told:
                [(new,)] = db.execute("SELECT max(id)+1 FROM announcements")
                db.execute(
                    "UPDATE announcements SET id=?, seq=?, frame=?, announced=?, acknowledged=NULL WHERE id=?",
                    (new, each.seq, each.frame, now, each.id),
                )
                db.execute("UPDATE parts SET announcement=? WHERE announcement=?", (new, each.id))
                for statement in _ANEW:
                    db.execute(statement, {"id": new, "now": now})
            db.executemany("DELETE FROM resends WHERE announcement=?", [(each.id,) for each in told])
            list_untold(db, [(each.topic, each.seq) for each in told if each.alone])

        await self._do(act)

    async def given_up(self, numbers: Sequence[int]) -> None:
        """These (ids) can't be told once more."""
        await self._do(many("DELETE FROM resends WHERE announcement=?", [(number,) for number in numbers]))


_OF = (
    "(chain, path) IN (SELECT chain, path FROM announcements WHERE id=:id"
    " UNION ALL SELECT chain, path FROM parts WHERE announcement=:id)"
)
_ANEW = (
    # who has it already is to get it again, and a deletion that is owed waits for that
    f"UPDATE transfers SET state='asked again', requested=:now WHERE {_OF} AND state IN ('done', 'given up')",
    f"DELETE FROM published WHERE {_OF}",
)
