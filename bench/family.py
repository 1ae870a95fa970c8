"""`python -m bench.family`: dispatcher, move and fetch beside those of Trollmoves, each with one file for both.

Messages name files that are there (move: files are dropped). Measured are files per second, from the first one to
the last message of the role, and processor time per file. Interleaved runs.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
import zmq

from bench.contenders import TOPIC, Contender, free_port, listening
from tranship.wire.messages import compose

SIZE = 10_000
SETTLED = 4.0
"""Seconds; Trollmoves says nowhere that it is ready, and looks at old files after 3 s."""


class Member(Contender):
    """One process that does one job. `whose`: "tranship" or "trollmoves"."""

    role = ""
    whose = ""

    def start(self) -> None:
        """Start it with its file."""
        self.source = free_port()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._said = self._context.socket(zmq.PUB)
        self._said.sndhwm = 0
        self._said.bind(f"tcp://127.0.0.1:{self.source}")
        file = self.folder / f"{self.role}.config"
        file.write_text(self.config())
        if self.whose == "tranship":
            os.environ["XDG_STATE_HOME"] = str(self.folder / "state")
            self.run(self.role, "-m", "tranship", self.role, str(file), *self.flags())
            self.until_said(self.role, " ready")
        else:
            script = Path(sys.executable).with_name(self.script)
            self.run(self.role, str(script), *self.flags(), str(file))
            time.sleep(SETTLED)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._context.destroy(0)

    script = ""

    @abstractmethod
    def config(self) -> str:
        """Its file, which both read."""

    def flags(self) -> Sequence[str]:
        """Its flags, which both know."""
        return ["-p", str(self.port)]

    def give(self, count: int) -> None:
        """Make files, then say that they are there."""
        _write(self.incoming, count)
        for number in range(count):
            name = f"segment-{number:06d}.dat"
            items = {"uri": str(self.incoming / name), "uid": name, "platform_name": "NOAA-20"}
            self._said.send(compose(TOPIC, "file", items).encode())


class Dispatching(Member):
    """Each file to a folder by its platform."""

    role, script = "dispatcher", "dispatcher.py"

    def config(self) -> str:
        """Its file, which both read."""
        target = {
            "host": "",
            "directory": f"{self.outgoing}/{{platform_name}}",
            "publish_topic": "/dispatched",
            "aliases": {"platform_name": {"NOAA-20": "j01"}},
            "dispatch_configs": [{"topics": [TOPIC]}],
        }
        heard = {"subscribe_addresses": [f"tcp://127.0.0.1:{self.source}"], "nameserver": False}
        return yaml.safe_dump({"posttroll_subscriber": heard, "target": target})

    def flags(self) -> Sequence[str]:
        """Its flags, which both know."""
        return ["-n", "localhost", "-p", str(self.port)] if self.whose == "trollmoves" else super().flags()


class Moving(Member):
    """Each file to a folder."""

    role, script = "move", "move_it.py"

    def config(self) -> str:
        """Its file, which both read."""
        return (
            f"[bench]\norigin={self.incoming}/{{name}}.dat\ndestinations=file://{self.outgoing}/\n"
            f"topic={TOPIC}\npublish_port={self.port}\n"
        )

    def give(self, count: int) -> None:
        """Drop files."""
        _write(self.incoming, count)


class Fetching(Member):
    """Each file from where a message says it is to a folder."""

    role, script = "fetch", "pytroll-fetcher"

    def config(self) -> str:
        """Its file, which both read."""
        heard = {"addresses": [f"tcp://127.0.0.1:{self.source}"], "topics": [TOPIC], "nameserver": False}
        told = {"name": "fetcher", "port": self.port, "nameservers": False}
        return yaml.safe_dump(
            {"destination": str(self.outgoing), "subscriber_config": heard, "publisher_config": told}
        )

    def flags(self) -> Sequence[str]:
        """None."""
        return []


def main() -> None:
    """Measure, and print what came of it."""
    kinds = {"dispatcher": Dispatching, "move": Moving, "fetch": Fetching}
    parser = argparse.ArgumentParser(prog="python -m bench.family", description=__doc__)
    parser.add_argument("roles", nargs="*", default=list(kinds), metavar="|".join(kinds))
    parser.add_argument("--folder", type=Path, help="the disk to measure on (default: the temporary folder)")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument(
        "--peer-files", type=int, default=800, help="files for Trollmoves (of more, it loses messages)"
    )
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs")
    options = parser.parse_args()
    counts = {"tranship": options.files, "trollmoves": options.peer_files}
    print(
        f"## {options.files} files of {SIZE} bytes (Trollmoves: {options.peer_files}),"
        f" medians of {options.runs} interleaved runs\n"
    )
    print("| role | tranship, files/s | trollmoves, files/s | speed, ours : theirs | processor ms per file |")
    print("|---|---|---|---|---|")
    with _in(options.folder) as root:
        for role in options.roles:
            rates: dict[str, list[float]] = {"tranship": [], "trollmoves": []}
            spent: dict[str, list[float]] = {"tranship": [], "trollmoves": []}
            for run in range(options.runs):
                for whose, count in counts.items():
                    rate, cpu = _measured(kinds[role], whose, root / f"{role}-{whose}-{run}", count)
                    rates[whose].append(rate)
                    spent[whose].append(cpu)
            ours, theirs = (statistics.median(values) for values in rates.values())
            ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
            cpu = " : ".join(f"{statistics.median(values) * 1000:.2f}" for values in spent.values())
            print(f"| {role} | {ours:.0f} | {theirs:.0f} | {ratio:.1f} | {cpu} |", flush=True)


def _measured(kind: type[Member], whose: str, folder: Path, files: int) -> tuple[float, float]:
    """Files per second, and processor seconds per file."""
    member = kind(whose, folder)
    member.whose = whose
    with member, listening(member.port) as ear:
        before, begun = sum(usage.cpu for usage in member.usage().values()), time.monotonic()
        member.give(files)
        ended = ear.until(files)
        after = sum(usage.cpu for usage in member.usage().values())
        if (arrived := sum(path.is_file() for path in member.outgoing.rglob("*"))) != files:
            raise SystemExit(f"{whose} {kind.role}: {arrived} of {files} files have arrived")
    shutil.rmtree(folder)
    return files / (ended - begun), (after - before) / files


def _write(folder: Path, count: int) -> None:
    content = os.urandom(SIZE)
    for number in range(count):
        (folder / f"segment-{number:06d}.dat").write_bytes(content)


@contextmanager
def _in(folder: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tranship-bench-", dir=folder) as made:
        yield Path(made)


if __name__ == "__main__":
    main()
