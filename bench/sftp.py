"""`python -m bench.sftp`: SFTP and scp against OpenSSH's own tools and rclone, in one run, as ratios.

One sshd on loopback, and files in memory where there is /dev/shm, so that the disk is out of it. Runs are
interleaved, and write new names; every time is from start to end with connecting. Ours goes the whole way of an
upload (temporary name, size verified, renamed), the tools write to the name itself.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ssh import Ssh, sshd

from bench.contest import SMALL, Way, compare, files, in_memory, parser, rclone, share
from tranship_movers.contract import Mover
from tranship_movers.scp import ScpMover, ScpOptions
from tranship_movers.sftp import SftpMover, SftpOptions

FAST = "aes128-gcm@openssh.com"
OURS = "tranship"
PARTS = ["large", "back", "small"]


def main() -> None:
    """Measure, and print a report in Markdown."""
    options = parser("sftp", __doc__, PARTS, PARTS).parse_args()
    with in_memory() as folder, sshd() as server:
        (large,) = files(folder / "large", 1, options.size << 20)
        small = files(folder / "small", options.files, SMALL)
        bench, size = Bench(server, folder), options.size << 20
        if "large" in options.what:
            compare(f"one file of {options.size} MiB, there", bench.puts(large), options.runs, size)
        if "back" in options.what:
            compare(f"one file of {options.size} MiB, back", bench.gets(large), options.runs, size)
        if "small" in options.what:
            title = f"{options.files} files of 10 kB, there"
            compare(title, bench.smalls(small), options.runs, options.files * SMALL)


@dataclass(frozen=True)
class Bench:
    """One server, a folder of our own, and who can bring files over."""

    server: Ssh
    folder: Path

    def puts(self, source: Path) -> dict[str, Way]:
        """Ways to put the large file."""
        folder = self.server.root
        return {
            f"{OURS} sftp": Way(lambda: share(self._sftp, [source], folder)),
            f"{OURS} scp": Way(lambda: share(self._scp, [source], folder)),
            **self._tools("put", str(source), f"{folder}/{source.name}"),
        }

    def gets(self, source: Path) -> dict[str, Way]:
        """Ways to get it back."""
        shutil.copy(source, self.server.folder / "back")
        name, target = f"{self.server.root}/back", self.folder / "back"

        def get(connect: Callable[[], Mover]) -> None:
            with closing(connect()) as mover:
                mover.get(name, target)

        return {
            f"{OURS} sftp": Way(lambda: get(self._sftp)),
            f"{OURS} scp": Way(lambda: get(self._scp)),
            **self._tools("get", name, str(target)),
        }

    def smalls(self, sources: Sequence[Path]) -> dict[str, Way]:
        """Ways to put many small files."""
        target = f"{self.server.root}/small"
        (self.server.folder / "small").mkdir(exist_ok=True)
        batch = self.folder / "batch"
        batch.write_text(f"put {sources[0].parent}/* {target}/\n")
        whole, there = str(sources[0].parent), f"{self._login}:{self.server.root}"
        return {
            f"{OURS} sftp, 1 connection": Way(lambda: share(self._sftp, sources, target, 1)),
            f"{OURS} sftp, 4 connections": Way(lambda: share(self._sftp, sources, target, 4)),
            "scp": self._ran("scp", "-r", whole, there),
            f"scp {FAST}": self._ran("scp", "-c", FAST, "-r", whole, there),
            "scp -O": self._ran("scp", "-O", "-r", whole, there),
            "sftp -b": self._ran("sftp", "-b", str(batch), self._login),
            "rclone": Way(lambda: rclone("copy", whole, f"{self._remote}{target}")),
        }

    @property
    def _login(self) -> str:
        return f"{self.server.user}@{self.server.host}"

    @property
    def _remote(self) -> str:
        server = self.server
        return (
            f":sftp,host={server.host},port={server.port},user={server.user},key_file={server.key},"
            f"known_hosts_file={server.known_hosts},shell_type=unix:"
        )

    def _tools(self, act: str, source: str, target: str) -> dict[str, Way]:
        scp = (source, f"{self._login}:{target}") if act == "put" else (f"{self._login}:{source}", target)
        clone = (source, f"{self._remote}{target}") if act == "put" else (f"{self._remote}{source}", target)
        batch = self.folder / "batch"
        batch.write_text(f"{act} {source} {target}\n")
        return {
            "scp": self._ran("scp", *scp),
            f"scp {FAST}": self._ran("scp", "-c", FAST, *scp),
            f"scp -O {FAST}": self._ran("scp", "-O", "-c", FAST, *scp),
            "sftp -b": self._ran("sftp", "-b", str(batch), self._login),
            f"sftp -b {FAST}": self._ran("sftp", "-c", FAST, "-b", str(batch), self._login),
            "rclone": Way(lambda: rclone("copyto", *clone)),
        }

    def _ran(self, tool: str, *arguments: str) -> Way:
        known = ("-o", f"UserKnownHostsFile={self.server.known_hosts}", "-i", str(self.server.key), "-q")
        command = [tool, "-P", str(self.server.port), *known, *arguments]
        quiet = subprocess.DEVNULL

        def go() -> None:
            subprocess.run(command, check=True, stdin=quiet, stdout=quiet)

        return Way(go)

    def _sftp(self) -> Mover:
        return SftpMover(self.server.place(), SftpOptions.model_validate(self.server.options()))

    def _scp(self) -> Mover:
        return ScpMover(self.server.place("scp"), ScpOptions.model_validate(self.server.options()))


if __name__ == "__main__":
    main()
