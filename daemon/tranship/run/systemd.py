"""What we tell systemd (sd_notify): one datagram of VAR=value lines to the socket in $NOTIFY_SOCKET."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

_PATIENCE = 0.2
"""Seconds that a full socket may hold us up; then the notice is lost."""


@dataclass(frozen=True, slots=True)
class Notify:
    """The way to the service manager. Without one (address is empty) everything is told to nobody.

    `address` is a path, or @name for an abstract socket. `watchdog` is the number of seconds within which the
    service manager wants a `ping`; None: it does not care.
    """

    address: str = ""
    watchdog: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> "Notify":
        """As systemd's environment variables say. A watchdog that is meant for another pid is not ours."""
        address = environment.get("NOTIFY_SOCKET", "")
        usec = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        watchdog = int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) > 0 else None
        return cls(address if address.startswith(("/", "@")) else "", watchdog)

    def ready(self, status: str) -> bool:
        """We serve (after the start, or again after a reload)."""
        return self._tell("READY=1", _status(status))

    def status(self, status: str) -> bool:
        """One line for `systemctl status`."""
        return self._tell(_status(status))

    def reloading(self) -> bool:
        """A reload has begun; `ready` says that it is over."""
        return self._tell(
            "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    def stopping(self, status: str) -> bool:
        """We are on our way out."""
        return self._tell("STOPPING=1", _status(status))

    def ping(self) -> bool:
        """We are alive and well."""
        return self._tell("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """The start, or the stop, takes up to this many seconds from now."""
        return self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _tell(self, *lines: str) -> bool:
        """Send; whether it went out. A service manager that does not listen is no reason to stop working."""
        if not self.address:
            return False
        to = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.settimeout(_PATIENCE)
            try:
                line.sendto("\n".join(lines).encode("utf-8", "backslashreplace"), to)
            except OSError:
                return False
        return True


NOBODY = Notify()
"""No service manager."""


def _status(text: str) -> str:
    """A line of its own: what stands in the text must not be read as another variable."""
    return "STATUS=" + "".join(char if char.isprintable() else " " for char in text)
