"""Counting what a journal says, from another process: read only, beside the one that writes."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tranship.journal.engine import APPLICATION, JournalError
from tranship.journal.rules import BY_ANOTHER


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of one chain, by column."""

    chain: str
    numbers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a journal says: of a process in which role it is, its columns and rows, and why things failed."""

    journal: str
    role: str
    columns: Sequence[str]
    rows: list[Row]
    reasons: list[str]


_SERVER = {
    "announced": "SELECT chain, count(*) FROM announcements GROUP BY chain",
    "had": "SELECT chain, count(*) FROM announcements a WHERE EXISTS (SELECT 1 FROM transfers t"
    " WHERE t.chain=a.chain AND t.path=a.path AND state='done') OR acknowledged IS NOT NULL GROUP BY chain",
    "moving": "SELECT chain, count(*) FROM transfers WHERE state='moving' GROUP BY chain",
    "moved": "SELECT chain, count(*) FROM transfers WHERE state='done' GROUP BY chain",
    "failed": "SELECT chain, count(*) FROM transfers WHERE state IN ('failed', 'given up') GROUP BY chain",
    "to delete": "SELECT chain, count(*) FROM deletions GROUP BY chain",
}
_BY_ANOTHER = "published by another"
"""Column of clients alone: nobody else shares its work."""

_PAUSED = "SELECT chain, count(*) FROM jobs WHERE state='wanted' AND parked<>'' GROUP BY chain"
_CLIENT = {
    "wanted": "SELECT chain, count(*) FROM jobs WHERE state='wanted' GROUP BY chain",
    "of these retried": "SELECT chain, count(*) FROM jobs WHERE state='wanted' AND attempts>0 GROUP BY chain",
    "of these paused": _PAUSED,
    "delivered": "SELECT chain, count(*) FROM jobs WHERE state='delivered' GROUP BY chain",
    "published": f"SELECT chain, count(*) FROM jobs WHERE state='done' AND reason<>'{BY_ANOTHER}' GROUP BY chain",
    _BY_ANOTHER: "SELECT chain, count(*) FROM jobs"
    f" WHERE state='done' AND reason='{BY_ANOTHER}' GROUP BY chain",
    "given up": "SELECT chain, count(*) FROM jobs WHERE state='dead' GROUP BY chain",
    "dropped": "SELECT chain, count(*) FROM jobs WHERE state='dropped' GROUP BY chain",
    "superseded": "SELECT chain, count(*) FROM jobs WHERE state='superseded' GROUP BY chain",
}
_MIRROR = {
    "heard": "SELECT chain, count(*) FROM heard GROUP BY chain",
    "to announce": "SELECT chain, count(*) FROM heard WHERE seq IS NULL GROUP BY chain",
    **_SERVER,
    "to bring": _CLIENT["wanted"],
    "of these paused": _PAUSED,
    "brought": _CLIENT["published"],
    "not brought": _CLIENT["given up"],
}
_COUNTS = {"server": _SERVER, "client": _CLIENT, "mirror": _MIRROR}
_REASONS = {
    "server": (
        "SELECT path || ' -> ' || destination || ': ' || reason FROM transfers"
        " WHERE state IN ('failed', 'given up') ORDER BY moved DESC LIMIT 10",
    ),
    "client": (
        "SELECT 'chain ' || chain || ': place ' || place || ' is paused: ' || reason FROM places ORDER BY since",
        "SELECT uid || ' (' || state || ', attempt ' || attempts || '): ' || reason FROM jobs"
        " WHERE state IN ('wanted', 'dead') AND parked='' AND reason<>'' ORDER BY id DESC LIMIT 10",
    ),
}


def survey(path: Path) -> Survey:
    """Count what the journal at path says. Raises JournalError if it is none."""
    with reading(path) as db:
        kind = kind_of(db)
        role = role_of(db)
        alone = kind == "client" and role != "client"
        queries = {
            column: query for column, query in _COUNTS[kind].items() if not (alone and column == _BY_ANOTHER)
        }
        counts = {column: dict(db.execute(query).fetchall()) for column, query in queries.items()}
        chains = sorted({chain for count in counts.values() for chain in count})
        rows = [Row(chain, {column: counts[column].get(chain, 0) for column in queries}) for chain in chains]
        reasons = [
            str(row[0]) for part in _parts(kind) for query in _REASONS[part] for row in db.execute(query)
        ]
        return Survey(str(path), role, list(queries), rows, reasons)


@dataclass(frozen=True, slots=True)
class Passage:
    """One step of one file, as a journal has it; at in seconds since the epoch."""

    at: float
    step: str
    chain: str
    file: str
    told: str


_TRACES = {
    "server": (
        "SELECT detected, 'detected', chain, path, size || ' bytes' FROM announcements WHERE uid=:name OR path=:name",
        "SELECT announced, 'announced', chain, path, topic || ' number ' || seq || ', ' || checksum"
        " FROM announcements WHERE uid=:name OR path=:name",
        "SELECT acknowledged, 'acknowledged', chain, path, '' FROM announcements"
        " WHERE acknowledged IS NOT NULL AND (uid=:name OR path=:name)",
        "SELECT requested, 'requested', chain, path, 'to ' || destination || ', attempt ' || attempts FROM transfers"
        " WHERE path=:name OR path IN (SELECT path FROM announcements WHERE uid=:name)",
        "SELECT moved, CASE state WHEN 'done' THEN 'moved' ELSE state END, chain, path,"
        " CASE state WHEN 'done' THEN 'to ' || landed ELSE reason END FROM transfers"
        " WHERE moved IS NOT NULL AND (path=:name OR path IN (SELECT path FROM announcements WHERE uid=:name))",
        "SELECT due, 'to be deleted', chain, path, '' FROM deletions"
        " WHERE path=:name OR path IN (SELECT path FROM announcements WHERE uid=:name)",
    ),
    "client": (
        "SELECT wanted, 'wanted', chain, path, 'of ' || request_address FROM jobs WHERE uid=:name OR path=:name",
        "SELECT requested, 'requested', chain, path, '' FROM jobs"
        " WHERE requested IS NOT NULL AND (uid=:name OR path=:name)",
        "SELECT delivered, 'verified', chain, path, 'at ' || destination FROM jobs"
        " WHERE delivered IS NOT NULL AND (uid=:name OR path=:name)",
        "SELECT published, CASE reason WHEN '' THEN 'published' ELSE 'done' END, chain, path, reason FROM jobs"
        " WHERE published IS NOT NULL AND (uid=:name OR path=:name)",
        "SELECT max(since, wanted), 'paused', jobs.chain, path, jobs.reason FROM jobs JOIN places"
        " ON places.chain=jobs.chain AND places.place=parked WHERE state='wanted' AND (uid=:name OR path=:name)",
        "SELECT max(due, wanted), CASE state WHEN 'wanted' THEN 'due again' ELSE state END, chain, path,"
        " 'attempt ' || attempts || ': ' || reason FROM jobs"
        " WHERE attempts>0 AND state<>'done' AND parked='' AND (uid=:name OR path=:name)",
    ),
}


def trace(path: Path, name: str) -> list[Passage]:
    """The steps that the journal at path has of the file called name (or with that full path), oldest first.

    Raises JournalError if it is none.
    """
    with reading(path) as db:
        passages = [
            Passage(row[0], row[1], row[2], row[3], row[4] or "")
            for part in _parts(kind_of(db))
            for query in _TRACES[part]
            for row in db.execute(query, {"name": name})
        ]
    return sorted(passages, key=lambda passage: passage.at)


def _parts(kind: str) -> tuple[str, ...]:
    """The kinds whose tables a journal of kind has."""
    return ("server", "client") if kind == "mirror" else (kind,)


def must_be_there(path: Path) -> None:
    """Raise JournalError if there is nothing at path."""
    if not os.path.lexists(path):
        raise JournalError(f"{path}: there is no such journal; has its process run yet, and as this user?")


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The journal at path, to read. Raises JournalError."""
    must_be_there(path)
    db = None
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise JournalError(f"{path}: is no journal of Tranship; give a configuration, or its journal")
        yield db
    except sqlite3.Error as error:
        raise JournalError(
            f"{path}: can't be read as a journal: {error}; may this user read it, and write in its folder?"
        ) from error
    finally:
        if db is not None:
            db.close()


def kind_of(db: sqlite3.Connection) -> str:
    """Of which kind its tables are: a server's, a client's (of whoever moves files by itself) or a mirror's."""
    return str(db.execute("SELECT value FROM facts WHERE key='kind'").fetchone()[0])


def role_of(db: sqlite3.Connection) -> str:
    """Whose a journal is; of one of an older Tranship, that was not opened since, its kind."""
    query = "SELECT value FROM facts WHERE key IN ('role', 'kind') ORDER BY key='role' DESC"
    return str(db.execute(query).fetchone()[0])
