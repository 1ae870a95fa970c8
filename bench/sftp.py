"""`python -m bench.sftp`: SFTP and scp against OpenSSH's own tools and rclone, in one run, as ratios.

One sshd on loopback, and files in memory where there is /dev/shm, so that the disk is out of it. Runs are
interleaved, and write new names; every time is from start to end with connecting. Ours goes the whole way of an
upload (temporary name, size verified, renamed), the tools write to the name itself.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ssh import Ssh, sshd

from tranship_movers.contract import Mover
from tranship_movers.scp import ScpMover, ScpOptions
from tranship_movers.sftp import SftpMover, SftpOptions
from tranship_movers.transfer import upload

FAST = "aes128-gcm@openssh.com"
OURS = "tranship"


def main() -> None:
    """Measure, and print a report in Markdown."""
    options = _options()
    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"
    with sshd() as server, tempfile.TemporaryDirectory() as folder:
        bench = Bench(server, Path(folder), options.size << 20, options.files)
        if "large" in options.parts:
            _measure(f"one file of {options.size} MiB, there", bench.puts(), options.runs, bench.size)
        if "back" in options.parts:
            _measure(f"one file of {options.size} MiB, back", bench.gets(), options.runs, bench.size)
        if "small" in options.parts:
            _measure(
                f"{options.files} files of 10 kB, there", bench.smalls(), options.runs, options.files * 10_000
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.sftp", description=__doc__)
    parser.add_argument("parts", nargs="*", default=["large", "back", "small"], metavar="large|back|small")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs")
    parser.add_argument("--size", type=int, default=512, help="MiB of the large file")
    parser.add_argument("--files", type=int, default=1000, help="small files")
    return parser.parse_args()


def _measure(title: str, contenders: Mapping[str, Callable[[], None]], runs: int, size: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = min(median for name, median in medians.items() if OURS not in name)
    print(f"\n### {title}\n\n| | s (median of {runs}) | MB/s | speed / best tool |\n|---|---|---|---|")
    for name, median in sorted(medians.items(), key=lambda pair: pair[1]):
        print(f"| {name} | {median:.2f} | {size / median / 1e6:.0f} | {best / median:.2f} |", flush=True)


@dataclass(frozen=True)
class Bench:
    """One server, local files of two kinds, and who can bring them over."""

    server: Ssh
    folder: Path
    size: int
    files: int

    def puts(self) -> dict[str, Callable[[], None]]:
        """Ways to put the large file."""
        source, name = self._large(), f"{self.server.root}/large"
        tools = self._tools("put", str(source), name)
        return {
            f"{OURS} sftp": lambda: self._upload(self._sftp(), source, name),
            f"{OURS} scp": lambda: self._upload(self._scp(), source, name),
            **tools,
        }

    def gets(self) -> dict[str, Callable[[], None]]:
        """Ways to get it back."""
        shutil.copy(self._large(), self.server.folder / "large")
        name, target = f"{self.server.root}/large", self.folder / "back"

        def get(connect: Callable[[], Mover]) -> None:
            with closing(connect()) as mover:
                mover.get(name, target)

        tools = self._tools("get", name, str(target))
        return {f"{OURS} sftp": lambda: get(self._sftp), f"{OURS} scp": lambda: get(self._scp), **tools}

    def smalls(self) -> dict[str, Callable[[], None]]:
        """Ways to put many small files."""
        sources = self._small()
        target = f"{self.server.root}/small"
        (self.server.folder / "small").mkdir(exist_ok=True)
        batch = self.folder / "batch"
        batch.write_text(f"put {sources[0].parent}/* {target}/\n")
        login = f"{self.server.user}@{self.server.host}"
        whole = str(sources[0].parent)
        return {
            f"{OURS} sftp, 1 connection": lambda: self._uploads(sources, target, 1),
            f"{OURS} sftp, 4 connections": lambda: self._uploads(sources, target, 4),
            "scp": lambda: self._ran("scp", "-r", whole, f"{login}:{self.server.root}"),
            f"scp {FAST}": lambda: self._ran("scp", "-c", FAST, "-r", whole, f"{login}:{self.server.root}"),
            "scp -O": lambda: self._ran("scp", "-O", "-r", whole, f"{login}:{self.server.root}"),
            "sftp -b": lambda: self._ran("sftp", "-b", str(batch), login),
            **self._rclone("copy", whole, target),
        }

    def _tools(self, act: str, source: str, target: str) -> dict[str, Callable[[], None]]:
        login = f"{self.server.user}@{self.server.host}"
        there = (source, f"{login}:{target}") if act == "put" else (f"{login}:{source}", target)
        batch = self.folder / "batch"
        batch.write_text(f"{act} {source} {target}\n")
        return {
            "scp": lambda: self._ran("scp", *there),
            f"scp {FAST}": lambda: self._ran("scp", "-c", FAST, *there),
            f"scp -O {FAST}": lambda: self._ran("scp", "-O", "-c", FAST, *there),
            "sftp -b": lambda: self._ran("sftp", "-b", str(batch), login),
            f"sftp -b {FAST}": lambda: self._ran("sftp", "-c", FAST, "-b", str(batch), login),
            **self._rclone("copyto", source, target, reverse=act == "get"),
        }

    def _ran(self, tool: str, *arguments: str) -> None:
        known = ("-o", f"UserKnownHostsFile={self.server.known_hosts}", "-i", str(self.server.key), "-q")
        subprocess.run(
            [tool, "-P", str(self.server.port), *known, *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def _rclone(
        self, verb: str, source: str, target: str, *, reverse: bool = False
    ) -> dict[str, Callable[[], None]]:
        beside = Path(sys.executable).with_name("rclone")
        program = str(beside) if beside.exists() else shutil.which("rclone")
        if program is None:
            return {}
        server = self.server
        remote = (
            f":sftp,host={server.host},port={server.port},user={server.user},key_file={server.key},"
            f"known_hosts_file={server.known_hosts},shell_type=unix:"
        )
        ends = (f"{remote}{source}", target) if reverse else (source, f"{remote}{target}")

        def run() -> None:
            # Files that are there already would be left alone.
            command = [
                program,
                verb,
                "--ignore-times",
                "--config",
                "/dev/null",
                "--log-level",
                "ERROR",
                *ends,
            ]
            subprocess.run(command, check=True, env={**os.environ, "HOME": str(self.folder)})

        return {"rclone": run}

    def _sftp(self) -> Mover:
        return SftpMover(self.server.place(), SftpOptions.model_validate(self.server.options()))

    def _scp(self) -> Mover:
        return ScpMover(self.server.place("scp"), ScpOptions.model_validate(self.server.options()))

    def _upload(self, mover: Mover, source: Path, name: str) -> None:
        with closing(mover):
            upload(mover, source, name)

    def _uploads(self, sources: Sequence[Path], folder: str, connections: int) -> None:
        def work(share: Sequence[Path]) -> None:
            with closing(self._sftp()) as mover:
                for source in share:
                    upload(mover, source, f"{folder}/{source.name}")

        with ThreadPoolExecutor(connections) as threads:
            list(threads.map(work, (sources[number::connections] for number in range(connections))))

    def _large(self) -> Path:
        path = self.folder / "large"
        if not path.exists():
            with path.open("wb") as file:
                for piece in self._random(self.size):
                    file.write(piece)
        return path

    def _small(self) -> list[Path]:
        folder = self.folder / "small"
        folder.mkdir(exist_ok=True)
        for number in range(self.files):
            (folder / f"{number:05}.dat").write_bytes(os.urandom(10_000))
        return sorted(folder.iterdir())

    @staticmethod
    def _random(size: int) -> Iterator[bytes]:
        for start in range(0, size, 1 << 20):
            yield os.urandom(min(1 << 20, size - start))


if __name__ == "__main__":
    main()
