"""`python -m bench.webdav`: WebDAV against `rclone copy`, on the servers that are installed, in one run, as ratios.

The servers are on loopback, and files in memory where there is /dev/shm, so that the disk is out of it. Runs are
interleaved, each into a new folder; every time is from start to end with connecting; inf means that not all files
arrived. Ours goes the whole way of an upload (temporary name, size verified, renamed; `server=…`: no temporary
name); rclone writes to the name itself and verifies the size. Small files go over 4 connections on both sides,
rclone's default.
"""

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from tests.servers import dav
from tests.servers.dav import PASSWORD, USER, Dav

from bench.contest import SMALL, Way, compare, files, in_memory, obscured, parser, rclone, share
from tranship_movers.place import Place
from tranship_movers.webdav import WebdavMover, WebdavOptions

SERVERS = {"nginx": dav.nginx, "apache": dav.apache, "rclone": dav.rclone, "wsgidav": dav.wsgidav}
RCLONE = "rclone copy"
UNPACED = "rclone copy, without its pauses"


def main() -> None:
    """Measure, and print a report in Markdown."""
    options = parser("webdav", __doc__, list(SERVERS), ["nginx", "apache", "rclone"]).parse_args()
    with in_memory() as folder:
        large = files(folder / "large", 1, options.size << 20)
        small = files(folder / "small", options.files, SMALL)
        for name in options.what:
            with SERVERS[name]() as server:
                bench = Bench(server)
                for title, sources, connections in (
                    (f"{name}: one file of {options.size} MiB", large, (1,)),
                    (f"{name}: {options.files} files of 10 kB", small, (1, 4)),
                ):
                    ways = bench.ways(sources, connections)
                    size = sum(source.stat().st_size for source in sources)
                    compare(title, ways, options.runs, size, (RCLONE, UNPACED))


@dataclass(frozen=True)
class Bench:
    """One server, and who can bring files there."""

    server: Dav
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def ways(self, sources: Sequence[Path], connections: Sequence[int]) -> dict[str, Way]:
        """Ways to put sources into a new folder of the server."""
        known = ("any", self.server.kind) if self.server.kind in ("nginx", "apache") else ("any",)
        ours = {
            f"tranship, {count} connection{'s' * (count > 1)}, server={kind}": self._ours(
                sources, kind, count
            )
            for kind, count in itertools.product(known, connections)
        }
        # rclone waits between two requests unless it is told not to.
        unpaced = self._rclone(sources, "--webdav-pacer-min-sleep", "0")
        return {**ours, RCLONE: self._rclone(sources), UNPACED: unpaced}

    def _ours(self, sources: Sequence[Path], kind: str, connections: int) -> Way:
        place = Place("webdav", "127.0.0.1", "/", self.server.port, USER, SecretStr(PASSWORD))
        options = WebdavOptions.model_validate({"server": kind})
        folder = f"/{next(self.numbers)}"

        def go() -> None:
            with closing(WebdavMover(place, options)) as mover:
                mover.make_folders(folder)
            share(lambda: WebdavMover(place, options), sources, folder, connections)

        return Way(go, lambda: self._whole(folder, len(sources)))

    def _rclone(self, sources: Sequence[Path], *flags: str) -> Way:
        remote = {
            "RCLONE_CONFIG_DAV_TYPE": "webdav",
            "RCLONE_CONFIG_DAV_URL": f"http://127.0.0.1:{self.server.port}",
            "RCLONE_CONFIG_DAV_VENDOR": "other",
            "RCLONE_CONFIG_DAV_USER": USER,
            "RCLONE_CONFIG_DAV_PASS": obscured(PASSWORD),
        }
        folder, source = f"/{next(self.numbers)}", str(sources[0].parent)
        return Way(
            lambda: rclone("copy", source, f"dav:{folder}", *flags, **remote),
            lambda: self._whole(folder, len(sources)),
        )

    def _whole(self, folder: str, count: int) -> bool:
        """Whether everything arrived; then it goes, to leave the memory free and the folder empty."""
        arrived = list((self.server.folder / folder[1:]).iterdir())
        for file in arrived:
            file.unlink()
        return len(arrived) == count


if __name__ == "__main__":
    main()
