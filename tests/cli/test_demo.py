"""The demo runs to its end, and leaves nothing behind, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

from stage import Process, wait_for


def _demo(folder: Path, *words: str) -> Process:
    return Process([sys.executable, "-m", "tranship", "demo", *words], folder / "log", TMPDIR=str(folder))


def _left(folder: Path) -> list[str]:
    """The folders, and the processes that work in them."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [
        *map(str, folder.glob("tranship-demo-*")),
        *(line for line in listed.splitlines() if str(folder) in line),
    ]


def test_demo_shows_the_main_job(tmp_path: Path) -> None:
    demo = _demo(tmp_path, "--bursts", "1")
    try:
        assert demo.popen.wait(60) == 0, demo.output
        told = " ".join(demo.output.split())
        assert "88 files arrived, the same names and sizes as received" in told
        assert "tranship trace" in told
        assert _left(tmp_path) == []
    finally:
        demo.close()


def test_demo_that_is_broken_off(tmp_path: Path) -> None:
    demo = _demo(tmp_path, "--bursts", "50")
    try:
        wait_for(lambda: list(tmp_path.glob("tranship-demo-*/processing/*/*")), "files arrive")
        assert demo.stop() == 128 + signal.SIGTERM
        assert "Traceback" not in demo.output
        assert _left(tmp_path) == []
    finally:
        demo.close()
