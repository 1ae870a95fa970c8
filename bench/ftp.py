"""`python -m bench.ftp`: FTP against curl, lftp and rclone, as far as they are installed, in one run, as ratios.

The servers are on loopback, and files in memory where there is /dev/shm, so that the disk is out of it. Runs
are interleaved, each into a new folder; every time is from start to end, with connecting; inf means that not all
files arrived. `upload` goes the whole way (temporary name, size verified, modification time, renamed); `put`
writes to the name itself, as the others do, and keeps the modification time. Everybody has one connection;
rclone verifies the size.
"""

import argparse
import itertools
import math
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from tests.servers.ftp import PASSWORD, SERVERS, Ftp

from tranship_movers.ftp import FtpMover, FtpOptions
from tranship_movers.place import Place
from tranship_movers.transfer import upload

Way = Callable[[str, Sequence[Path]], None]


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
                bench = Bench(server, Path(folder))
                _measure(f"{name}: one file of {options.size} MiB", bench.runs(large), options.runs)
                _measure(f"{name}: {options.files} files of 10 kB", bench.runs(small), options.runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ftp", description=__doc__)
    parser.add_argument("servers", nargs="*", default=["vsftpd", "vsftpd-tls"], metavar="|".join(SERVERS))
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs")
    parser.add_argument("--size", type=int, default=512, help="MiB of the large file")
    parser.add_argument("--files", type=int, default=1000, help="small files")
    return parser.parse_args()


def _measure(title: str, runs: Mapping[str, Callable[[], float]], count: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            seconds[name].append(run())
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = min(median for name, median in medians.items() if not name.startswith("tranship"))
    print(f"\n### {title}\n\n| | s (median of {count}) | speed / best of the others |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.3f} | {best / median:.2f} |", flush=True)


@dataclass(frozen=True)
class Bench:
    """One server, and who can bring files there; `work` is a private folder."""

    server: Ftp
    work: Path
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def runs(self, sources: Sequence[Path]) -> dict[str, Callable[[], float]]:
        """By name, what puts sources into a new folder of the server and gives the seconds it took."""
        ways: dict[str, Way] = {"tranship, upload": self._upload, "tranship, put": self._put}
        for name, way in (("curl", self._curl), ("lftp", self._lftp), ("rclone copy", self._rclone)):
            # rclone does not go on with the TLS session, which servers demand.
            if shutil.which(name.split()[0]) and (name != "rclone copy" or not self.server.authority):
                ways[name] = way
        return {name: self._timed(way, sources) for name, way in ways.items()}

    def _timed(self, way: Way, sources: Sequence[Path]) -> Callable[[], float]:
        def run() -> float:
            name = f"{next(self.numbers)}"
            folder = self.server.folder / name
            folder.mkdir()
            folder.chmod(0o777)
            started = time.perf_counter()
            way(f"{self.server.base}/{name}", sources)
            seconds = time.perf_counter() - started
            arrived = [file.stat().st_size for file in folder.iterdir()]
            shutil.rmtree(folder)
            return seconds if arrived == [sources[0].stat().st_size] * len(sources) else math.inf

        return run

    def _connected(self) -> FtpMover:
        server = self.server
        place = Place(server.scheme, server.host, "/", server.port, server.user, SecretStr(PASSWORD))
        tls = {"tls": server.tls, "ca_file": server.authority} if server.authority else {}
        return FtpMover(place, FtpOptions.model_validate(tls))

    def _upload(self, folder: str, sources: Sequence[Path]) -> None:
        with closing(self._connected()) as mover:
            for source in sources:
                upload(mover, source, f"{folder}/{source.name}")

    def _put(self, folder: str, sources: Sequence[Path]) -> None:
        with closing(self._connected()) as mover:
            for source in sources:
                mover.put(source, f"{folder}/{source.name}")

    def _curl(self, folder: str, sources: Sequence[Path]) -> None:
        server = self.server
        netrc = self.work / "netrc"
        netrc.write_text(f"machine {server.host} login {server.user} password {PASSWORD}\n")
        command = ["curl", "--silent", "--netrc-file", str(netrc)]
        if server.authority:
            command += ["--ssl-reqd", "--cacert", str(server.authority)]
        names = ",".join(str(source) for source in sources)
        scheme = "ftps" if server.tls == "implicit" else "ftp"
        command += ["--upload-file", f"{{{names}}}" if len(sources) > 1 else names]
        subprocess.run(
            [*command, f"{scheme}://{server.host}:{server.port}/%2F{folder[1:]}/"],
            check=False,
            stdout=subprocess.DEVNULL,
        )

    def _lftp(self, folder: str, sources: Sequence[Path]) -> None:
        server = self.server
        script = self.work / "lftp"
        tls = "true" if server.authority else "false"
        lines = [
            "set cmd:fail-exit true",
            "set ftp:use-feat true",
            f"set ftp:ssl-allow {tls}; set ftp:ssl-force {tls}; set ftp:ssl-protect-data {tls}",
            *([f"set ssl:ca-file {server.authority}"] if server.authority else []),
            f"open -u {server.user},{PASSWORD} -p {server.port} ftp://{server.host}",
            f"mput -O {folder} {sources[0].parent}/*",
        ]
        script.write_text("\n".join(lines) + "\n")
        home = {**os.environ, "HOME": str(self.work)}
        subprocess.run(["lftp", "-f", str(script)], check=True, stdout=subprocess.DEVNULL, env=home)

    def _rclone(self, folder: str, sources: Sequence[Path]) -> None:
        server = self.server
        hidden = subprocess.run(
            ["rclone", "obscure", "-"], input=PASSWORD, capture_output=True, text=True, check=True
        )
        remote = {
            "RCLONE_CONFIG_THERE_TYPE": "ftp",
            "RCLONE_CONFIG_THERE_HOST": server.host,
            "RCLONE_CONFIG_THERE_PORT": str(server.port),
            "RCLONE_CONFIG_THERE_USER": server.user,
            "RCLONE_CONFIG_THERE_PASS": hidden.stdout.strip(),
        }
        command = ["rclone", "copy", "--config", "/dev/null", "--log-level", "ERROR", "--transfers", "1"]
        subprocess.run(
            [*command, str(sources[0].parent), f"there:{folder}"], check=True, env={**os.environ, **remote}
        )


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
