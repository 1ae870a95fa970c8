"""What the servers of the tests have in common: programs that may be absent, private folders, processes that end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import NoReturn

import pytest

START_SECONDS = 60.0
END_SECONDS = 20.0


def absent(what: str, advice: str = "") -> NoReturn:
    """Skip the test; with TRANSHIP_TEST_STRICT=1, where nothing may be skipped, fail it."""
    if os.environ.get("TRANSHIP_TEST_STRICT") == "1":
        pytest.fail(f"{what} is missing, and TRANSHIP_TEST_STRICT=1 demands it")
    pytest.skip(f"{what} is missing{advice}")


def of_wheel(name: str, package: str) -> str:
    """A program of a package from PyPI, which lies beside the interpreter, or the system's."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or absent(package)


def of_debian(name: str, package: str, *folders: Path) -> Path:
    """A daemon of the system's, or one that lies in one of folders."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, folders)])
    found = shutil.which(name, path=path)
    return Path(found or absent(package))


@contextmanager
def folders(prefix: str) -> Iterator[tuple[Path, Path]]:
    """A private folder for a server's own files, and in it the one that it serves."""
    with tempfile.TemporaryDirectory(prefix=f"{prefix}-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        work.chmod(0o755)
        served = work / "served"
        served.mkdir()
        yield work, served


def accepts(port: int) -> Callable[[], bool]:
    """Whether somebody listens on port of loopback."""

    def look() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return look


@contextmanager
def running(
    command: Sequence[str | Path],
    serves: Callable[[], bool],
    work: Path,
    environment: Mapping[str, str] | None = None,
    *,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[int]:
    """A process that serves, its id; its home is work, and its output in output.log there. It is ended by `end`."""
    told = {**os.environ, "HOME": str(work), **(environment or {})}
    output = work / "output.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=told, cwd=work
        )
        try:
            _wait_for(process, serves, work)
            yield process.pid
        finally:
            process.send_signal(end)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            process.kill()
            process.wait(END_SECONDS)


def _wait_for(process: subprocess.Popen[bytes], serves: Callable[[], bool], work: Path) -> None:
    """Wait until it serves; the pause between two tries ends at once if it dies."""
    end = monotonic() + START_SECONDS
    while monotonic() < end:
        if serves():
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            break
    told = "".join(log.read_text(errors="replace") for log in sorted(work.glob("*.log")))
    raise RuntimeError(f"{process.args!r} does not serve: {told}")
