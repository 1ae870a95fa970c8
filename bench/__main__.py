"""`python -m bench`: the main job side by side with the peer and with a bare loop, in one run, as ratios.

Small files end to end; latency from closed to published at a given rate; starting over many files that are there.
"""

import argparse
import multiprocessing
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.contenders import Bare, Contender, Ear, Tranship, Trollmoves, Usage, listening

SIZE = 10_000


def main() -> None:
    """Measure, and print a report in Markdown."""
    options = _options()
    print(_machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="tranship-bench-", dir=options.folder) as folder:
        root = Path(folder)
        if "speed" in options.parts:
            _speed(root, options.files, options.peer_files, options.runs)
        if "latency" in options.parts:
            _latency(root, options.rate, options.seconds)
        if "start" in options.parts:
            _start(root, options.existing)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=["speed", "latency", "start"], metavar="speed|latency|start"
    )
    parser.add_argument("--folder", type=Path, help="the disk to measure on (default: the temporary folder)")
    parser.add_argument("--files", type=int, default=3000, help="files for us and for the bare loop")
    parser.add_argument(
        "--peer-files", type=int, default=200, help="files for Trollmoves (it is slow, at a steady rate)"
    )
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs")
    parser.add_argument("--rate", type=float, default=50.0, help="files per second for the latency")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--existing", type=int, default=100_000)
    return parser.parse_args()


def _machine() -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{now}; {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()};"
        f" trollmoves {version('trollmoves')}, posttroll {version('posttroll')}\n"
    )


# small files


def _speed(root: Path, files: int, peer_files: int, runs: int) -> None:
    rates: dict[str, list[float]] = {"tranship": [], "bare loop": [], "trollmoves": []}
    used: dict[str, list[Usage]] = {}
    for run in range(runs):
        for name, kind, count in (
            ("tranship", Tranship, files),
            ("bare loop", Bare, files),
            ("trollmoves", Trollmoves, peer_files),
        ):
            with kind(name, root / f"speed-{name}-{run}") as contender:
                rates[name].append(_rate(contender, count))
                for process, usage in contender.usage().items():
                    per_file = Usage(usage.cpu / count, usage.peak)
                    used.setdefault(f"{name} {process}", []).append(per_file)
            shutil.rmtree(contender.folder)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    print(
        f"## {files} files of {SIZE} bytes (Trollmoves: {peer_files}), medians of {runs} interleaved runs\n"
    )
    print("| | files/s | least to most |\n|---|---|---|")
    for name, values in rates.items():
        print(f"| {name} | {middle[name]:.0f} | {min(values):.0f} to {max(values):.0f} |")
    bare = statistics.median(a / b for a, b in zip(rates["tranship"], rates["bare loop"], strict=True))
    print(f"\ntranship : trollmoves = {middle['tranship'] / middle['trollmoves']:.0f}")
    print(f"tranship : bare loop = {bare:.2f} (median of the pairs)\n")
    print("| process | CPU ms per file | peak MB |\n|---|---|---|")
    for name, values in used.items():
        cpu = statistics.median(usage.cpu for usage in values) * 1000
        print(f"| {name} | {cpu:.2f} | {max(usage.peak for usage in values):.0f} |")
    print(flush=True)


def _rate(contender: Contender, count: int) -> float:
    with listening(contender.port) as ear:
        content = os.urandom(SIZE)
        begun = time.monotonic()
        writer = multiprocessing.Process(target=_write, args=(contender.incoming, count, content))
        writer.start()
        ended = ear.until(count)
        writer.join()
    return count / (ended - begun)


def _write(folder: Path, count: int, content: bytes) -> None:
    for number in range(count):
        with open(folder / f"segment-{number:06d}.dat", "wb") as file:
            file.write(content)


# latency


def _latency(root: Path, rate: float, seconds: float) -> None:
    print(f"## Latency from closed to published at the client, {rate:g} files/s for {seconds:g} s\n")
    print("| | p50 ms | p99 ms | max ms | delivered |\n|---|---|---|---|---|")
    middles = {}
    for name, kind in (("tranship", Tranship), ("trollmoves", Trollmoves)):
        with kind(name, root / f"latency-{name}") as contender, listening(contender.port) as ear:
            closed = _drop_at(contender.incoming, rate, seconds)
            _until_quiet(ear, len(closed))
            times = sorted((ear.heard[file] - at) * 1000 for file, at in closed.items() if file in ear.heard)
        middles[name] = _quantile(times, 0.5)
        told = " | ".join(f"{_quantile(times, q):.1f}" for q in (0.5, 0.99, 1.0))
        print(f"| {name} | {told} | {len(times)} of {len(closed)} |", flush=True)
    print(f"\ntrollmoves : tranship, p50 = {middles['trollmoves'] / middles['tranship']:.0f}\n", flush=True)


def _drop_at(folder: Path, rate: float, seconds: float) -> dict[str, float]:
    """Write files at this rate; when each was closed (monotonic seconds)."""
    content, closed, begun = os.urandom(SIZE), {}, time.monotonic()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        name = f"segment-{number:06d}.dat"
        with open(folder / name, "wb") as file:
            file.write(content)
        closed[name] = time.monotonic()
    return closed


def _until_quiet(ear: Ear, count: int) -> None:
    """Wait until all were heard of, or nothing more comes for 15 s."""
    last = time.monotonic()
    before = -1
    while len(ear.heard) < count and time.monotonic() - last < 15:
        if len(ear.heard) != before:
            before, last = len(ear.heard), time.monotonic()
        time.sleep(0.05)


def _quantile(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


# start


def _start(root: Path, existing: int) -> None:
    print(f"## Starting a server over {existing} files that are there\n")
    print("| | until all are announced, s | announced again at the next start | peak MB |\n|---|---|---|---|")
    for name, kind in (("tranship", Tranship), ("trollmoves", Trollmoves)):
        contender = kind(name, root / f"start-{name}")
        _write(contender.incoming, existing, b"x" * 100)
        first, peak = _announced(contender, existing)
        again, _ = _announced_again(contender)
        print(f"| {name} | {first:.1f} | {again} | {peak:.0f} |", flush=True)
        shutil.rmtree(contender.folder)
    print(flush=True)


def _announced(contender: Tranship | Trollmoves, count: int) -> tuple[float, float]:
    with listening(contender.announced) as ear:
        begun = time.monotonic()
        try:
            contender.start_server()
            ended = ear.until(count)
            peak = contender.usage()["server"].peak
        finally:
            contender.__exit__()
    return ended - begun, peak


def _announced_again(contender: Tranship | Trollmoves) -> tuple[int, float]:
    with listening(contender.announced) as ear:
        try:
            contender.start_server()
            _until_quiet(ear, 1 << 30)
        finally:
            contender.__exit__()
        return len(ear.heard), 0.0


if __name__ == "__main__":
    main()
