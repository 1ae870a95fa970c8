"""The named moments at which a process can be made to die: every one is there, and only the environment arms them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import tranship
from tranship.faultpoints import (
    CLIENT,
    DISPATCHER,
    FETCH,
    MIRROR,
    MOVE,
    RESENDING,
    SERVER,
    VARIABLE,
    Point,
)

PACKAGE = Path(tranship.__file__).parent
COME_TO = """
from tranship.faultpoints import Point, reached
for n in range(3):
    print(n, flush=True)
    reached(Point.TOLD)
"""


def come_to(**environment: str) -> subprocess.CompletedProcess[str]:
    """A process that comes to a point three times, and says before which time it is."""
    clean = {key: value for key, value in os.environ.items() if key != VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", COME_TO],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_point_stands_once_in_the_code() -> None:
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path != PACKAGE / "faultpoints.py")
    assert {point.name: code.count(f"reached(Point.{point.name})") for point in Point} == {
        point.name: 1 for point in Point
    }
    assert set(Point) == SERVER | CLIENT | MIRROR | DISPATCHER | FETCH | MOVE | RESENDING


def test_a_point_ends_the_process_at_the_time_that_is_asked_for() -> None:
    ended = come_to(**{VARIABLE: f"{Point.TOLD}:2"})
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "0\n1\n"


def test_another_point_or_none_ends_nothing() -> None:
    assert come_to().returncode == 0
    assert come_to(**{VARIABLE: f"{Point.DONE}:1"}).returncode == 0


def test_what_is_no_point_stops_the_start() -> None:
    for odd in ("lunch:1", f"{Point.TOLD}", f"{Point.TOLD}:0", ""):
        ended = come_to(**{VARIABLE: odd})
        assert ended.returncode == 1
        assert "say `point:times`" in ended.stderr
