"""What came of a run: every file, every message and every journal against what was dropped."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from .books import undone
from .plan import File
from .witness import Dropped, Ears, Said
from .world import BALLAST, End, World


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
    """… and how many of these by another process …"""
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
    for end, last in due(world, dropped):
        path = end.folder / last.name
        if not path.exists() or path.read_bytes() != last.content:
            report.lost.append(f"{last.name}: version {last.version} is not at {path}")
    for end, last in unpublished(world, dropped, ears):
        report.unpublished.append(f"{last.name}: version {last.version} was never published at {end.name}")
    for (end_name, name, version), said in ears.heard.items():
        report.repeated += len(said) - 1
        if len({s.by for s in said}) > 1:
            report.by_both += len({s.by for s in said}) - 1
            report.repeats_by_both.append(f"{name}: version {version} as {_told(said)}")
        if len({s.id for s in said}) > 1:
            report.twice.append(f"{name}: version {version} at {end_name} as {_told(said)}")
    report.by = dict(Counter(said.by for said in ears.said))
    report.undone = undone(world)
    names = {*dropped.versions, BALLAST}
    report.left_over = [
        entry.path
        for folder in {*world.folders, *world.emptied}
        for entry in os.scandir(folder)
        if folder in world.emptied or entry.name not in names
    ]


def due(world: World, dropped: Dropped) -> Iterator[tuple[End, File]]:
    """The last version of every file, and each end where it is to lie."""
    for versions in list(dropped.versions.values()):
        for end in world.ends:
            if end.kept and versions and end.place == versions[-1].place:
                yield end, versions[-1]


def unpublished(world: World, dropped: Dropped, ears: Ears) -> list[tuple[End, File]]:
    """Those of which nobody has published that they lie there."""
    return [
        (end, last)
        for end, last in due(world, dropped)
        if end.speakers and (end.name, last.name, last.version) not in ears.heard
    ]


def _told(said: Iterable[Said]) -> str:
    return ", ".join(f"{s.id} by {s.by} at {s.at:.2f}" for s in said)
