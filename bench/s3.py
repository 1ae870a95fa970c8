"""`python -m bench.s3`: S3 against rclone, in one run, as ratios.

One SeaweedFS on loopback. Runs are interleaved; every time is from start to end with connecting. Both sides
send 4 files at once and compare what arrived by its MD5: ours takes it from the reply to the PUT, rclone asks
for each object once more. `--profile` says where our time of the small files goes.
"""

import cProfile
import pstats
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.servers.s3 import BUCKET, KEY, S3, SECRET, seaweed

from bench.contest import SMALL, Way, compare, files, in_memory, parser, rclone, share
from tranship_movers.options import options_of
from tranship_movers.place import Place
from tranship_movers.s3 import S3Mover, S3Options
from tranship_movers.transfer import upload

PARTS = ["large", "back", "small"]


def main() -> None:
    """Measure, and print a report in Markdown."""
    made = parser("s3", __doc__, PARTS, PARTS)
    made.add_argument("--profile", action="store_true", help="profile our small files instead")
    options = made.parse_args()
    with in_memory() as folder, seaweed() as server:
        (large,) = files(folder / "large", 1, options.size << 20)
        small = files(folder / "small", options.files, SMALL)
        bench = Bench(server, folder)
        if options.profile:
            bench.profile(small)
            return
        size = options.size << 20
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

    server: S3
    folder: Path

    def puts(self, source: Path) -> dict[str, Way]:
        """Ways to put the large file."""
        return {
            "tranship": Way(lambda: share(self._connect, [source], "/ours")),
            "rclone": Way(lambda: self._rclone(str(source), ":s3:archive/theirs")),
        }

    def gets(self, source: Path) -> dict[str, Way]:
        """Ways to get it back."""
        share(self._connect, [source], "/back")
        target = self.folder / "returned"
        target.mkdir(exist_ok=True)

        def get(**told: str) -> None:
            with closing(self._connect(**told)) as mover:
                mover.get(f"/back/{source.name}", target / source.name)

        return {
            "tranship": Way(get),
            "tranship, checksum: none": Way(lambda: get(checksum="none")),
            "rclone": Way(lambda: self._rclone(f":s3:archive/back/{source.name}", str(target))),
        }

    def smalls(self, sources: Sequence[Path]) -> dict[str, Way]:
        """Ways to put many small files."""
        share(self._connect, sources[:100], "/ours", 4)
        return {
            "tranship, 4 connections": Way(lambda: share(self._connect, sources, "/ours", 4)),
            "tranship, 1 connection": Way(lambda: share(self._connect, sources, "/ours", 1)),
            "rclone": Way(lambda: self._rclone(str(sources[0].parent), ":s3:archive/theirs")),
        }

    def profile(self, sources: Sequence[Path]) -> None:
        """Put the small files over one connection, and print what took the time."""
        profiler = cProfile.Profile()
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

    def _rclone(self, source: str, target: str) -> None:
        remote = {
            "RCLONE_S3_PROVIDER": "SeaweedFS",
            "RCLONE_S3_ENDPOINT": self.server.url,
            "RCLONE_S3_ACCESS_KEY_ID": KEY,
            "RCLONE_S3_SECRET_ACCESS_KEY": SECRET,
        }
        rclone("copy", source, target, **remote)


if __name__ == "__main__":
    main()
