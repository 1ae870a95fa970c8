"""`python -m bench.hole`: what a destination that swallows everything costs the others, as ratios.

One server and one client have two chains. The files of one go to a folder: they are measured. The files of the other go
to a place that takes connections and says nothing; in every second run there are such files. Interleaved runs.
"""

import argparse
import os
import select
import shutil
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.contenders import DEADLINE, Tranship, free_port, listening

SIZE = 10_000


class Beside(Tranship):
    """Server and client with a second chain, whose files (below `swallowed`) go to the place at `hole`."""

    hole = 0

    def __post_init__(self) -> None:
        """Make the folders."""
        super().__post_init__()
        self.swallowed, self.second = self.folder / "swallowed", (free_port(), free_port())
        self.swallowed.mkdir(exist_ok=True)

    def server_chains(self) -> dict[str, dict[str, Any]]:
        """The second beside the first."""
        more = {
            "origin": f"{self.swallowed}/{{name}}.dat",
            "topic": "/hole",
            "request": self.second[0],
            "allow": [f"ftp://127.0.0.1:{self.hole}/**"],
        }
        return {**super().server_chains(), "hole": more}

    def client_chains(self) -> dict[str, dict[str, Any]]:
        """The second beside the first."""
        more = {
            "providers": [f"127.0.0.1:{self.announced}"],
            "topic": "/hole",
            "destination": f"ftp://127.0.0.1:{self.hole}/",
            "login": "user:password",
            "publish": self.second[1],
        }
        return {**super().client_chains(), "hole": more}


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.hole", description=__doc__)
    parser.add_argument("--folder", type=Path, help="the disk to measure on (default: the temporary folder)")
    parser.add_argument("--files", type=int, default=5000, help="files that are measured")
    parser.add_argument("--swallowed", type=int, default=500, help="files for the place that swallows them")
    parser.add_argument("--runs", type=int, default=7, help="pairs of runs")
    options = parser.parse_args()
    rates: dict[bool, list[float]] = {False: [], True: []}
    spent: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="tranship-bench-", dir=options.folder) as folder:
        for run in range(options.runs):
            for beside in (False, True) if run % 2 else (True, False):
                count = options.swallowed if beside else 0
                rate, cpu = _measured(Path(folder) / f"{run}-{beside}", options.files, count)
                rates[beside].append(rate)
                spent[beside].append(cpu)
    print(f"## {options.files} files of {SIZE} bytes, {options.runs} interleaved pairs of runs, medians\n")
    print("| | files/s | least to most | processor ms per file |\n|---|---|---|---|")
    for name, beside in (("alone", False), (f"beside {options.swallowed} files for a black hole", True)):
        each, cpu = rates[beside], statistics.median(spent[beside]) * 1000
        print(f"| {name} | {statistics.median(each):.0f} | {min(each):.0f} to {max(each):.0f} | {cpu:.2f} |")
    speed = statistics.median(b / a for b, a in zip(rates[True], rates[False], strict=True))
    cost = statistics.median(b / a for b, a in zip(spent[True], spent[False], strict=True))
    print(
        f"\nspeed beside : alone = {speed:.3f}; processor time beside : alone = {cost:.3f} (medians of the pairs)"
    )


def _measured(folder: Path, files: int, swallowed: int) -> tuple[float, float]:
    """Files per second, and processor seconds of server and client per file."""
    # connections are taken into its backlog, and nobody answers
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as hole:
        contender = Beside("tranship", folder)
        contender.hole = hole.getsockname()[1]
        with contender, listening(contender.port) as ear:
            _write(contender.swallowed, swallowed)
            if swallowed and not select.select([hole], [], [], DEADLINE)[0]:
                raise SystemExit("nobody has come to the black hole")
            before, begun = sum(usage.cpu for usage in contender.usage().values()), time.monotonic()
            _write(contender.incoming, files)
            ended = ear.until(files)
            after = sum(usage.cpu for usage in contender.usage().values())
    shutil.rmtree(folder)
    return files / (ended - begun), (after - before) / files


def _write(folder: Path, count: int) -> None:
    content = os.urandom(SIZE)
    for number in range(count):
        with open(folder / f"segment-{number:06d}.dat", "wb") as file:
            file.write(content)


if __name__ == "__main__":
    main()
