"""What the journals of a run say, read beside their processes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from .world import World

FINISHED = ("done", "dead", "superseded")
"""States of a job in which nothing more is owed."""


def undone(world: World) -> list[str]:
    """What the journals still owe: "file: what"."""
    return [told for name in world.options.processes for told in _owed(world, name)]


def _owed(world: World, process: str) -> Iterator[str]:
    tables = _tables(world, process)
    if "transfers" in tables:
        told = "SELECT path, 'transfer ' || state || ' ' || reason FROM transfers WHERE state='moving'"
        yield from _rows(world, process, told)
        yield from _rows(world, process, "SELECT path, 'deletion' FROM deletions")
    if "heard" in tables:
        told = "SELECT path, 'not announced' FROM offers JOIN heard ON heard.id=heard WHERE seq IS NULL"
        yield from _rows(world, process, told)
    if "jobs" in tables:
        marks = ",".join("?" * len(FINISHED))
        told = f"SELECT path, state || ' ' || reason FROM jobs WHERE state NOT IN ({marks})"
        yield from _rows(world, process, told, *FINISHED)
        yield from _rows(world, process, "SELECT path, 'dead ' || reason FROM jobs WHERE state='dead'")


def _tables(world: World, process: str) -> set[str]:
    with _opened(world, process) as db:
        return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}


def _rows(world: World, process: str, query: str, *values: str) -> list[str]:
    with _opened(world, process) as db:
        rows = db.execute(query, values).fetchall()
    return [f"{os.path.basename(path)}: {what} ({process})" for path, what in rows]


def _opened(world: World, process: str) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{world.journal(process)}?mode=ro", uri=True, timeout=10))
