"""What a program makes of a packed file, in the workshop."""

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time

from tranship.packed.made import Made
from tranship.packed.plan import Hostile, Plan, Stuck


def run_xrit(path: str, plan: Plan, made: Made) -> None:
    """The program leaves the segment beside itself, its name ending with __ instead of C_."""
    name = os.path.basename(path)
    wanted = f"{name.removesuffix('C_')}__"
    run(path, plan, made)
    if wanted not in made.names:
        raise Stuck(f"{path}: {plan.command[0]} has made no {wanted}")
    os.utime(os.path.join(made.work, wanted), ns=(os.stat(path).st_mtime_ns,) * 2)
    made.names.clear()
    made.names[wanted] = None


def run(path: str, plan: Plan, made: Made) -> None:
    """Run the program in the workshop; what it leaves there are the results."""
    command = [argument.replace("{file}", path) for argument in plan.command]
    if command == list(plan.command):
        command.append(path)
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - an argument list from the configuration, without a shell
                command,
                cwd=made.work,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={key: os.environ[key] for key in _ENVIRONMENT if key in os.environ},
            )
        except OSError as error:
            raise Stuck(f"{path}: {command[0]} can't be started: {error.strerror}") from error
        _bound(process, made.bounds.most)
        code = _ended(process, plan.deadline.total_seconds(), made)
        if code == _TOO_MUCH:
            raise Hostile(f"{path}: grows to more than {made.bounds.most} bytes, which it may not")
        if code:
            said.seek(0)
            words = said.read(2000).decode(errors="replace").strip()[-500:]
            ended = "was stopped: it took too long" if code == _TOO_LONG else f"ended with {code}"
            raise Stuck(f"{path}: {command[0]} {ended}{words and ': '}{words}")
    made.find()


_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
_TOO_LONG = -1000
_TOO_MUCH = -1001
_LOOK_EVERY = 2.0
"""Seconds between looks at what it has written."""


def _bound(process: "subprocess.Popen[bytes]", most: int) -> None:
    """Let it write no file of more than so many bytes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))


def _ended(process: "subprocess.Popen[bytes]", seconds: float, made: Made) -> int:
    """The exit code of process; or else why it had to be killed. None of its process group is left."""
    end, wait = time.monotonic() + seconds, 0.1
    while True:
        left = end - time.monotonic()
        try:
            code = process.wait(max(0.0, min(left, wait)))
            break
        except subprocess.TimeoutExpired:
            code = _TOO_MUCH if made.is_too_much else _TOO_LONG
            if code == _TOO_MUCH or left <= wait:
                break
            wait = min(2 * wait, _LOOK_EVERY)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return code
