"""Free TCP ports of loopback, for servers that must be told theirs.

They lie below the range from which the kernel gives ports to whoever asks for any, and apart for each worker of
pytest-xdist, so that nobody takes one between the moment it is found and the moment it is bound. Another run on
the same machine sees which ones this run was given lately.
"""

import itertools
import os
import socket

_FIRST, _LAST = 10_000, 32_000
_WORKERS = 8
_EACH = (_LAST - _FIRST) // _WORKERS
_BASE = _FIRST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS * _EACH
_KEPT = 200
"""So many ports stay marked as ours."""

_numbers = itertools.count(os.getpid() * 37)
_marks: dict[int, int] = {}
"""By port, the descriptor of the mark that other runs see; the system takes it away when we end."""


def free_port() -> int:
    """A port that nobody listens on now."""
    for number in itertools.islice(_numbers, _EACH):
        port = _BASE + number % _EACH
        if not _marked(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port is free between {_BASE} and {_BASE + _EACH}")


def _marked(port: int) -> bool:
    """Whether port is marked as ours now: False if another run has it."""
    if port in _marks:
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mark:
        try:
            mark.bind(f"\0tranship-test-port-{port}")
        except OSError:
            return False
        _marks[port] = mark.detach()
    if len(_marks) > _KEPT:
        os.close(_marks.pop(next(iter(_marks))))
    return True
