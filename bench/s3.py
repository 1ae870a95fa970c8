"""`python -m bench.s3`: S3 against rclone, in one run, as ratios.

One SeaweedFS on loopback. Runs are interleaved; every time is from start to end with connecting. Both sides
send 4 files at once and compare what arrived by its MD5: ours takes it from the reply to the PUT, rclone asks
for each object once more. `--profile` says where our time of the small files goes.
"""

import argparse
import cProfile
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.servers.s3 import BUCKET, KEY, S3, SECRET, seaweed

from tranship_movers.options import options_of
from tranship_movers.place import Place
from tranship_movers.s3 import S3Mover, S3Options
from tranship_movers.transfer import upload

OURS = "tranship"


def main() -> None:
    """Measure, and print a report in Markdown."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="tranship-bench-") as folder, seaweed() as server:
        bench = Bench(server, Path(folder), options.size << 20, options.files, options.runs)
        if options.profile:
            bench.profile()
            return
        if "large" in options.parts:
            _measure(bench, f"one file of {options.size} MiB, there", bench.puts(), bench.size)
        if "back" in options.parts:
            _measure(bench, f"one file of {options.size} MiB, back", bench.gets(), bench.size)
        if "small" in options.parts:
            title = f"{options.files} files of 10 kB, there"
            _measure(bench, title, bench.smalls(), options.files * 10_000)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.s3", description=__doc__)
    parser.add_argument("parts", nargs="*", default=["large", "back", "small"], metavar="large|back|small")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs")
    parser.add_argument("--size", type=int, default=512, help="MiB of the large file")
    parser.add_argument("--files", type=int, default=1000, help="small files")
    parser.add_argument("--profile", action="store_true", help="profile our small files instead")
    return parser.parse_args()


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took, in seconds: of the clock, and of the processors, for who sends and for the server."""

    clock: float
    sender: float
    server: float


def _measure(bench: "Bench", title: str, contenders: Mapping[str, Callable[[], None]], size: int) -> None:
    spent: dict[str, list[Spent]] = {name: [] for name in contenders}
    for _ in range(bench.runs):
        for name, run in contenders.items():
            spent[name].append(_spent(run, bench.server))
    rclone = _median(spent["rclone"], "clock")
    print(f"\n### {title}, medians of {bench.runs} interleaved runs\n")
    print("| | s | least to most | MB/s | speed / rclone | processor s: sender | server |")
    print("|---|---|---|---|---|---|---|")
    for name, runs in spent.items():
        clock, sender, server = (_median(runs, word) for word in ("clock", "sender", "server"))
        least, most = min(run.clock for run in runs), max(run.clock for run in runs)
        print(
            f"| {name} | {clock:.2f} | {least:.2f} to {most:.2f} | {size / clock / 1e6:.0f} "
            f"| {rclone / clock:.2f} | {sender:.2f} | {server:.2f} |",
            flush=True,
        )


def _median(runs: Sequence[Spent], word: str) -> float:
    return float(statistics.median(getattr(run, word) for run in runs))


def _spent(run: Callable[[], None], server: S3) -> Spent:
    clock, sender, served = time.perf_counter(), _sender(), _server(server)
    run()
    return Spent(time.perf_counter() - clock, _sender() - sender, _server(server) - served)


def _sender() -> float:
    # The running server is no part of it: children count when they have ended.
    ours, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return ours.ru_utime + ours.ru_stime + ended.ru_utime + ended.ru_stime


def _server(server: S3) -> float:
    fields = Path(f"/proc/{server.process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Bench:
    """One server, local files of two kinds, and who can bring them over."""

    server: S3
    folder: Path
    size: int
    files: int
    runs: int

    def puts(self) -> dict[str, Callable[[], None]]:
        """Ways to put the large file."""
        source = self._large()
        return {
            OURS: lambda: self._uploads([source], "ours", 1),
            "rclone": lambda: self._rclone(str(source), ":s3:archive/theirs"),
        }

    def gets(self) -> dict[str, Callable[[], None]]:
        """Ways to get it back."""
        source = self._large()
        self._uploads([source], "back", 1)
        target = self.folder / "returned"
        target.mkdir(exist_ok=True)

        def get(**told: str) -> None:
            with closing(self._connect(**told)) as mover:
                mover.get(f"/back/{source.name}", target / source.name)

        return {
            OURS: get,
            f"{OURS}, checksum: none": lambda: get(checksum="none"),
            "rclone": lambda: self._rclone(f":s3:archive/back/{source.name}", str(target)),
        }

    def smalls(self) -> dict[str, Callable[[], None]]:
        """Ways to put many small files."""
        sources = self._small()
        self._uploads(sources[:100], "ours", 4)
        return {
            f"{OURS}, 4 connections": lambda: self._uploads(sources, "ours", 4),
            f"{OURS}, 1 connection": lambda: self._uploads(sources, "ours", 1),
            "rclone": lambda: self._rclone(str(sources[0].parent), ":s3:archive/theirs"),
        }

    def profile(self) -> None:
        """Put the small files over one connection, and print what took the time."""
        sources, profiler = self._small(), cProfile.Profile()
        with closing(self._connect()) as mover:
            upload(mover, sources[0], "/ours/first")
            profiler.enable()
            for source in sources:
                upload(mover, source, f"/ours/{source.name}")
            profiler.disable()
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)

    def _connect(self, **more: str) -> S3Mover:
        told = {"endpoint_url": self.server.url, "key": KEY, "secret": SECRET}
        return S3Mover(Place.parse(f"s3://{BUCKET}/"), options_of(S3Options, told | more))

    def _uploads(self, sources: Sequence[Path], folder: str, connections: int) -> None:
        def work(share: Sequence[Path]) -> None:
            with closing(self._connect()) as mover:
                for source in share:
                    upload(mover, source, f"/{folder}/{source.name}")

        with ThreadPoolExecutor(connections) as threads:
            list(threads.map(work, (sources[number::connections] for number in range(connections))))

    def _rclone(self, source: str, target: str) -> None:
        told = {
            "PROVIDER": "SeaweedFS",
            "ENDPOINT": self.server.url,
            "ACCESS_KEY_ID": KEY,
            "SECRET_ACCESS_KEY": SECRET,
        }
        environment = {f"RCLONE_S3_{name}": value for name, value in told.items()}
        program = str(Path(sys.executable).with_name("rclone"))
        # Files that are there already would be left alone.
        command = [
            program,
            "copy",
            "--ignore-times",
            "--config",
            os.devnull,
            "--log-level",
            "ERROR",
            source,
            target,
        ]
        subprocess.run(command, check=True, env={**os.environ, "HOME": str(self.folder), **environment})

    def _large(self) -> Path:
        path = self.folder / "large"
        if not path.exists():
            with path.open("wb") as file:
                for start in range(0, self.size, 1 << 20):
                    file.write(os.urandom(min(1 << 20, self.size - start)))
        return path

    def _small(self) -> list[Path]:
        folder = self.folder / "small"
        folder.mkdir(exist_ok=True)
        for number in range(self.files):
            (folder / f"{number:05}.dat").write_bytes(os.urandom(10_000))
        return sorted(folder.iterdir())


if __name__ == "__main__":
    main()
