"""What came of a run: every file, every message and every journal against what was dropped."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .plan import PLACES
from .witness import Dropped, Ears, Said
from .world import World

FINISHED = ("done", "dead", "superseded")
"""States of a client's job in which nothing more is owed."""


@dataclass
class Report:
    """The figures of a run. Names of files stand in what is `wrong`."""

    seed: int
    files: int = 0
    versions: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    weather: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    unpublished: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    repeated: int = 0
    """Messages that were published again with the same id, by whomever …"""
    by_both: int = 0
    """… and how many of these by another client …"""
    repeats_by_both: list[str] = field(default_factory=list)
    """… and which."""
    undone: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    read: int = 0
    by: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    quiet_after: float = 0.0

    @property
    def wrong(self) -> list[str]:
        """Everything that breaks a promise, with its word."""
        kinds = ("lost", "torn", "untrue", "unpublished", "twice", "undone", "left_over", "broken")
        return [f"{kind}: {what}" for kind in kinds for what in getattr(self, kind)]

    @property
    def names(self) -> list[str]:
        """The files that something is wrong with."""
        found = [what.split(": ")[0] for what in (*self.lost, *self.torn, *self.untrue, *self.unpublished)]
        found += [what.split(": ")[0] for what in (*self.twice, *self.undone)]
        return [name for name in dict.fromkeys(found) if name.endswith(".dat")]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        counts = {
            key: len(value) if isinstance(value, list) else value for key, value in self.as_dict().items()
        }
        lines = [f"  {key:<12} {value}" for key, value in counts.items() if not isinstance(value, dict)]
        for key in ("kills", "weather", "by"):
            lines.append(f"  {key}: " + ", ".join(f"{what} {n}" for what, n in sorted(counts[key].items())))
        return "\n".join(lines)


def judge(world: World, dropped: Dropped, ears: Ears, report: Report) -> None:
    """Fill in what is lost, unpublished, published twice, undone and left over."""
    for name, versions in dropped.versions.items():
        last = versions[-1]
        path = world.outgoing(last.place) / name
        if not path.exists() or path.read_bytes() != last.content:
            report.lost.append(f"{name}: version {last.version} is not at {path}")
        if not ears.heard.get((name, last.version)):
            report.unpublished.append(f"{name}: version {last.version} was never published")
    for (name, version), said in ears.heard.items():
        report.repeated += len(said) - 1
        if len({s.client for s in said}) > 1:
            report.by_both += len({s.client for s in said}) - 1
            report.repeats_by_both.append(f"{name}: version {version} as {_told(said)}")
        if len({s.id for s in said}) > 1:
            report.twice.append(f"{name}: version {version} as {_told(said)}")
    report.by = dict(Counter(said.client for said in ears.said))
    report.undone = undone(world)
    report.left_over = [
        entry.name
        for place in PLACES
        for entry in os.scandir(world.outgoing(place))
        if entry.name not in dropped.versions and entry.name != ".ballast"
    ]


def _told(said: Iterable[Said]) -> str:
    return ", ".join(f"{s.id} by {s.client} at {s.at:.2f}" for s in said)


def undone(world: World) -> list[str]:
    """What the journals still owe: "file: what"."""
    found = _rows(
        world,
        "server",
        "SELECT path, 'transfer ' || state || ' ' || reason FROM transfers WHERE state='moving'",
    )
    found += _rows(world, "server", "SELECT path, 'deletion' FROM deletions")
    marks = ",".join("?" * len(FINISHED))
    for name in world.options.processes:
        if name != "server":
            query = f"SELECT path, state || ' ' || reason FROM jobs WHERE state NOT IN ({marks})"
            found += _rows(world, name, query, *FINISHED)
            found += _rows(world, name, "SELECT path, 'dead ' || reason FROM jobs WHERE state='dead'")
    return found


def _rows(world: World, process: str, query: str, *values: str) -> list[str]:
    with sqlite3.connect(f"file:{world.journal(process)}?mode=ro", uri=True, timeout=10) as db:
        rows = db.execute(query, values).fetchall()
    db.close()
    return [f"{os.path.basename(path)}: {what} ({process})" for path, what in rows]
