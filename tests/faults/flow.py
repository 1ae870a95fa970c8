"""Many small files through one server and one client, and what both need for it meanwhile.

    PYTHONPATH=tests python -m faults.flow --files 1000000 --keep "10 min"

Sources are deleted by the server after delivery, arrivals as they are published, so that no disk fills up. Prints a
row of figures per part of the files: seconds, memory of both (MB), size of both journals (MB).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stage import Process, Site

UNDER_WAY = 2000
"""Files that are dropped and not published yet, at most."""


@dataclass(frozen=True)
class Row:
    """Figures after so many files: seconds since the start, memory (MB, now) and journals (MB) of both."""

    files: int
    seconds: float
    server: float
    client: float
    server_journal: float
    client_journal: float

    def __str__(self) -> str:
        figures = (self.server, self.client, self.server_journal, self.client_journal)
        return f"| {self.files} | {self.seconds:.0f} | " + " | ".join(f"{n:.1f}" for n in figures) + " |"


@dataclass(frozen=True)
class Flow:
    """What came of it. wrong: files that were not published exactly once."""

    rows: list[Row]
    wrong: list[str]


def flow(folder: Path, files: int, rows: int, told: Callable[[Row], None], keep: str = "7 d") -> Flow:
    """Send so many files of 100 bytes through, each once, in so many rows of figures; the journals keep for `keep`."""
    with Site(folder) as site:
        site.chain_options = {"delete": True, "remove_delay": "0 s"}
        site.server_options = {"keep": keep}
        ear = site.ear(site.client_port, site.topic)
        quiet = site.write("log.yaml", {"version": 1, "root": {"level": "WARNING"}})
        site.start_server()
        site.start_client()
        site.server.close()
        site.client.close()
        site.write("client.yaml", {**site.client_config(), "keep": keep})
        site.tranship("server", "server", str(folder / "server.yaml"), "-c", str(quiet))
        server = site.processes[-1]
        site.tranship("client", "client", str(folder / "client.yaml"), "-c", str(quiet))
        client = site.processes[-1]
        counts = bytearray(files)
        dropped = published = 0
        made: list[Row] = []
        begun = last = time.monotonic()
        while published < files:
            while dropped < files and dropped - published < UNDER_WAY:
                (site.incoming / f"f{dropped:07d}.dat").write_bytes(b"%099d\n" % dropped)
                dropped += 1
                if not dropped % 100:
                    break
            for message in ear.listen():
                if message.type == "file":
                    name = message.data["uid"]
                    content = (site.outgoing / name).read_bytes()
                    assert content == b"%099d\n" % int(name[1:8]), name
                    (site.outgoing / name).unlink()
                    counts[int(name[1:8])] += 1
                    published += 1
                    last = time.monotonic()
                    if not published % max(1, files // rows):
                        made.append(_row(site, published, last - begun, server, client))
                        told(made[-1])
            ear.messages.clear()
            assert time.monotonic() - last < 120, f"{published} of {files} published, and no more come"
            time.sleep(0.001)
    return Flow(made, [f"f{n:07d}.dat: {count}" for n, count in enumerate(counts) if count != 1])


def _row(site: Site, files: int, seconds: float, server: Process, client: Process) -> Row:
    return Row(files, seconds, _memory(server), _memory(client), _size(site, "server"), _size(site, "client"))


def _memory(process: Process) -> float:
    pages = int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)


def _size(site: Site, name: str) -> float:
    return sum(path.stat().st_size for path in site.folder.glob(f"{name}.journal*")) / (1 << 20)


def main() -> int:
    """Run once; 0 if every file was published once."""
    asked = argparse.ArgumentParser(prog="faults.flow", description=__doc__)
    asked.add_argument("--files", type=int, default=200_000)
    asked.add_argument("--rows", type=int, default=10)
    asked.add_argument("--keep", default="7 d", help="how long the journals keep what is settled")
    asked.add_argument(
        "--folder", type=Path, help="where to do it (a new folder in it); else the temporary one"
    )
    said = asked.parse_args()
    print("| files | seconds | server MB | client MB | server's journal MB | client's journal MB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="flow-", dir=said.folder) as folder:
        done = flow(Path(folder), said.files, said.rows, lambda row: print(row, flush=True), said.keep)
    print(*done.wrong[:20], sep="\n")
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
