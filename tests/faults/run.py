"""One run: everybody is started, files are dropped, processes die and the weather is bad; then all is compared."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from servers.proxy import Fault
from stage import Process, wait_for

from .books import undone
from .family import family
from .pair import pair
from .plan import Life, Options, Plan, Weather
from .verdict import Report, judge, unpublished
from .witness import Dropped, Ears, Reader, Thread
from .world import World

AHEAD = 3
"""The feeder is so many lives ahead of the deaths, so that whoever waits to die has something to do."""
TRICKLE = 0.15
"""Seconds between two files, at most, for the same reason."""


def run(folder: Path, options: Options) -> Report:
    """Do it all in folder, which holds the evidence afterwards."""
    plan = Plan.of(options)
    report = Report(options.seed, files=options.files, versions=len(plan.files))
    begun = time.monotonic()
    with (family if options.family else pair)(folder, options) as made:
        _Run(made, plan, report).do()
    report.broken += [f"still running: {told}" for told in made.running()]
    report.seconds = round(time.monotonic() - begun, 1)
    return report


class _Run:
    def __init__(self, made: World, plan: Plan, report: Report) -> None:
        self._world = made
        self._plan = plan
        self._report = report
        self._dropped = Dropped()
        self._kills: Counter[str] = Counter()
        self._weather: Counter[str] = Counter()
        self._lived = 0
        self._calm = threading.Event()
        self._lock = threading.Lock()

    def do(self) -> None:
        made, report = self._world, self._report
        reader, ears = Reader(made, self._dropped), Ears(made, self._dropped)
        weather = self._plan.weather()
        for name in made.options.processes:
            if name not in made.options.killed:
                made.start(name)
        try:
            with (
                Thread("reader", reader.look),
                Thread("ears", ears.listen),
            ):
                with contextlib.ExitStack() as stack:
                    lives = [
                        threading.Thread(target=self._live, args=(name, lives), daemon=True)
                        for name, lives in self._plan.lives.items()
                    ]
                    for thread in lives:
                        thread.start()
                    if made.options.weather:
                        stack.enter_context(Thread("weather", lambda: self._happen(next(weather))))
                    self._feed()
                    for thread in lives:
                        thread.join()
                    self._calm.set()
                self._settle(ears)
            report.torn, report.untrue, report.read = reader.torn, ears.untrue, reader.read
            report.kills, report.weather = dict(self._kills), dict(self._weather)
            judge(made, self._dropped, ears, report)
        finally:
            ears.close()

    # files

    def _feed(self) -> None:
        options = self._world.options
        begun, total = time.monotonic(), max(1, sum(map(len, self._plan.lives.values())))
        for number, file in enumerate(self._plan.files):
            latest = time.monotonic() + TRICKLE
            while self._lived < total and number > len(self._plan.files) * (self._lived + AHEAD) / total:
                if time.monotonic() > latest:
                    break
                time.sleep(0.01)
            time.sleep(max(0.0, begun + number / options.rate - time.monotonic()))
            self._dropped.add(file)
            (self._world.incoming[file.place] / file.name).write_bytes(file.content)

    # lives and deaths

    def _live(self, name: str, lives: list[Life]) -> None:
        for life in lives:
            if self._report.broken:
                self._lived += 1
                continue
            process = self._world.start(name, life.point, life.times)
            try:
                if not life.early:
                    self._world.until_ready(name, process)
                ended: int | None = process.popen.wait(life.seconds)
            except subprocess.TimeoutExpired:
                ended = None
                process.kill()
            process.close()
            with self._lock:
                self._lived += 1
                self._count(name, life, ended, process)
        if not self._report.broken:
            self._world.start(name)  # the others still need it

    def _count(self, name: str, life: Life, ended: int | None, process: Process) -> None:
        if ended is None:
            what = "random" if life.point is None else f"{life.point} (not reached)"
            self._kills[f"{name}: {what}"] += 1
        elif ended == -signal.SIGKILL and life.point is not None:
            self._kills[f"{name}: {life.point}"] += 1
        else:
            self._report.broken.append(f"{name} ended by itself with {ended}: {process.output[-1500:]}")

    # weather

    def _happen(self, weather: Weather) -> None:
        if self._calm.wait(weather.wait):
            return
        if weather.kind == "disk full" and self._world.small is None:
            return
        self._weather[weather.kind] += 1
        with self._while(weather):
            self._calm.wait(weather.seconds)

    @contextlib.contextmanager
    def _while(self, weather: Weather):  # type: ignore[no-untyped-def]
        made = self._world
        match weather.kind:
            case "freeze":
                made.freeze(weather.whom)
            case "cut bus":
                made.bus.reset_all()
            case "hole bus":
                made.bus.silence_all()
            case "cut link":
                made.link.reset_all()
            case "hole link":
                made.link.silence_all()
            case "stall link":
                made.fault_link(Fault("stall", at=int(weather.seconds * 20_000), seconds=weather.seconds))
            case "link away":
                made.cut_off()
            case "disk full":
                made.fill()
            case "clock":
                made.jump((weather.seconds - 3.0) * 1200)  # up to an hour, either way
        try:
            yield
        finally:
            made.thaw(weather.whom)
            made.fault_link(Fault())
            made.make_room()
            made.jump(0.0)

    # the end

    def _settle(self, ears: Ears) -> None:
        """Start everybody anew, and wait until nothing is owed any more."""
        made, begun = self._world, time.monotonic()
        for name in set(made.options.killed) & made.processes.keys():
            made.processes[name].kill()
            made.processes[name].close()
        for name, process in {name: made.start(name) for name in made.options.killed}.items():
            if not made.until_ready(name, process):
                self._report.broken.append(f"{name} did not come up: {process.output[-1500:]}")
            if "can't be listened on" in made.log(name).read_text(errors="replace"):
                self._report.broken.append(
                    f"{name}: a program that is none of this run has had one of its ports"
                )

        def quiet() -> bool:
            time.sleep(0.5)
            return not unpublished(made, self._dropped, ears) and not undone(made)

        with contextlib.suppress(AssertionError):
            wait_for(quiet, "all is quiet", made.options.deadline)
        self._report.quiet_after = round(time.monotonic() - begun, 1)
        time.sleep(2.0)  # whatever is said twice is said by now
        for name in made.options.processes:
            code = made.processes[name].stop(60)
            if code:
                self._report.broken.append(f"{name} ended with {code} when asked to")


def story(folder: Path, options: Options, name: str) -> str:
    """All that is known of a file: what `tranship trace` says, and the lines of the logs."""
    journals = [str(folder / f"{process}.journal") for process in options.processes]
    traced = subprocess.run(
        [sys.executable, "-m", "tranship", "trace", name, *journals],
        check=False,
        capture_output=True,
        text=True,
    )
    lines = [
        f"{process}: {line}"
        for process in options.processes
        for line in (folder / f"{process}.log").read_text(errors="replace").splitlines()
        if name in line
    ]
    return "\n".join([f"--- {name}", traced.stdout or traced.stderr, *lines[-60:]])
