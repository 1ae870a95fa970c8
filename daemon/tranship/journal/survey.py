"""Counting what a journal says, from another process: read only, beside the one that writes."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tranship.journal.engine import APPLICATION, JournalError


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of one chain, by column."""

    chain: str
    numbers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a journal says: of which kind of process it is, its columns and rows, and why things failed."""

    journal: str
    kind: str
    columns: Sequence[str]
    rows: list[Row]
    reasons: list[str]


_SERVER = {
    "announced": "SELECT chain, count(*) FROM announcements GROUP BY chain",
    "acknowledged": "SELECT chain, count(*) FROM announcements WHERE acknowledged IS NOT NULL GROUP BY chain",
    "moving": "SELECT chain, count(*) FROM transfers WHERE state='moving' GROUP BY chain",
    "moved": "SELECT chain, count(*) FROM transfers WHERE state='done' GROUP BY chain",
    "failed": "SELECT chain, count(*) FROM transfers WHERE state='failed' GROUP BY chain",
    "to delete": "SELECT chain, count(*) FROM deletions GROUP BY chain",
}
_CLIENT = {
    "wanted": "SELECT chain, count(*) FROM jobs WHERE state='wanted' GROUP BY chain",
    "of these retried": "SELECT chain, count(*) FROM jobs WHERE state='wanted' AND attempts>0 GROUP BY chain",
    "delivered": "SELECT chain, count(*) FROM jobs WHERE state='delivered' GROUP BY chain",
    "published": "SELECT chain, count(*) FROM jobs WHERE state='done' GROUP BY chain",
    "given up": "SELECT chain, count(*) FROM jobs WHERE state='dead' GROUP BY chain",
    "superseded": "SELECT chain, count(*) FROM jobs WHERE state='superseded' GROUP BY chain",
}
_REASONS = {
    "server": "SELECT path || ' -> ' || destination || ': ' || reason FROM transfers WHERE state='failed'"
    " ORDER BY moved DESC LIMIT 10",
    "client": "SELECT uid || ' (' || state || ', attempt ' || attempts || '): ' || reason FROM jobs"
    " WHERE state IN ('wanted', 'dead') AND reason<>'' ORDER BY id DESC LIMIT 10",
}


def survey(path: Path) -> Survey:
    """Count what the journal at path says. Raises JournalError if it is none."""
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}; has the process run yet?") from error
    try:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise JournalError(f"{path}: is no journal of Tranship")
        kind = str(db.execute("SELECT value FROM facts WHERE key='kind'").fetchone()[0])
        queries = _SERVER if kind == "server" else _CLIENT
        counts = {column: dict(db.execute(query).fetchall()) for column, query in queries.items()}
        chains = sorted({chain for count in counts.values() for chain in count})
        rows = [Row(chain, {column: counts[column].get(chain, 0) for column in queries}) for chain in chains]
        reasons = [str(row[0]) for row in db.execute(_REASONS[kind])]
        return Survey(str(path), kind, list(queries), rows, reasons)
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}") from error
    finally:
        db.close()
