"""Free TCP ports of loopback, for servers that must be told theirs.

They lie below the range from which the kernel gives ports to whoever asks for any, and apart for each worker of
pytest-xdist, so that nobody takes one between the moment it is found and the moment it is bound.
"""

import itertools
import os
import socket

_FIRST, _LAST = 10_000, 32_000
_WORKERS = 8
_EACH = (_LAST - _FIRST) // _WORKERS
_BASE = _FIRST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS * _EACH
_numbers = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """A port that nobody listens on now."""
    for number in itertools.islice(_numbers, _EACH):
        port = _BASE + number % _EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port is free between {_BASE} and {_BASE + _EACH}")
