"""Hosts and cables of our own: network namespaces, each pair joined by a cable that can be pulled. For root on Linux.

    with cabled(Cable("reception", "192.0.2.10", "mirror", "192.0.2.20")) as cables, host("mirror"):
        ...                # what is started in here (processes, threads) is on that host, for as long as it lives
        cables[0].pull()   # and .plug(): meanwhile packets vanish, and nobody is told

Namespaces have this process's number in their names, and are gone afterwards, whatever happened.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .running import absent

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Cable:
    """Between two hosts, each with an address on it; both in a network of 256 addresses."""

    one: str
    address: str
    other: str
    its_address: str

    def pull(self) -> None:
        """Let what either sends vanish, without an error at the first host."""
        _ip("-n", _space(self.other), "link", "set", self._end(self.its_address), "down")

    def plug(self) -> None:
        """Let packets through again."""
        _ip("-n", _space(self.other), "link", "set", self._end(self.its_address), "up")

    def lay(self) -> None:
        one, other = self._end(self.address), self._end(self.its_address)
        peer = ("peer", "name", other, "netns", _space(self.other))
        _ip("link", "add", one, "netns", _space(self.one), "type", "veth", *peer)
        for name, end, address in ((self.one, one, self.address), (self.other, other, self.its_address)):
            _ip("-n", _space(name), "addr", "add", f"{address}/24", "dev", end)
            _ip("-n", _space(name), "link", "set", end, "up")

    @staticmethod
    def _end(address: str) -> str:
        return "to" + address.replace(".", "")[-12:]  # 15 letters are the most


@contextmanager
def cabled(*cables: Cable) -> Iterator[tuple[Cable, ...]]:
    """These cables and the hosts at their ends. Skips where this user may not make any."""
    if shutil.which("ip") is None:
        absent("ip (iproute2)")
    if os.geteuid() != 0:
        absent("root, for network namespaces")
    hosts = sorted({name for cable in cables for name in (cable.one, cable.other)})
    try:
        for name in hosts:
            _ip("netns", "add", _space(name))
            _ip("-n", _space(name), "link", "set", "lo", "up")
        for cable in cables:
            cable.lay()
        yield cables
    finally:
        for name in hosts:
            subprocess.run(["ip", "netns", "del", _space(name)], check=False, capture_output=True)


@contextmanager
def host(name: str) -> Iterator[None]:
    """Be on that host: this thread, and all that it starts."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{_space(name)}", os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(home)
        os.close(there)
        os.close(home)


def _enter(space: int) -> None:
    if _libc.setns(space, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "this thread can't go to another host")


def _space(name: str) -> str:
    return f"tranship-{os.getpid()}-{name}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)
