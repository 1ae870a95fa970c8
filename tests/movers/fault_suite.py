"""Random faults between a mover and its server, and of the server itself: what must hold whatever happens.

A transfer ends in success or in an error, in time. Success is one. After an error the name is absent, old, or new and
whole; the same transfer without the fault then arrives; a sweep leaves no temporary. `test_faults` has the servers.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from servers.proxy import Fault, Kind, Proxy
from tranship_movers.contract import Mover
from tranship_movers.errors import Busy, Fatal, MoverError, Temporary
from tranship_movers.temporary import new_token, sweep
from tranship_movers.transfer import download, upload

PATIENCE = "600 ms"
"""The timeout of movers that go through the proxies."""

DEADLINE_SECONDS = 15.0
"""In which one transfer must have ended, and in which what a broken one left must be gone."""

ROUND = 10
OLD = b"old" * 1000

Way = Literal["put", "replace", "get"]
Refusal = Callable[[random.Random], AbstractContextManager[object]]
"""Lets the server refuse something, in the block; what, is drawn."""


@dataclass(frozen=True, slots=True)
class Line:
    """One way to the server: `login` bytes go up, and down, before a file does; `carries` files or commands only."""

    proxy: Proxy
    login: int
    carries: Literal["files", "commands"] = "files"

    def fault(self, draw: random.Random, way: Way, size: int) -> Fault:
        """A fault somewhere in what goes over when a file of size bytes goes this way."""
        direction = draw.choice(("up", "down"))
        carried = size if self.carries == "files" and (direction == "down") == (way == "get") else 0
        kinds: tuple[Kind, ...] = ("reset", "cut", "stall", "short", "black hole", "drip")
        kind = draw.choice(kinds)
        at = draw.randrange(self.login + carried + 1)
        if kind == "drip":  # so many bytes one at a time, and no more: a large file would take minutes
            at = max(at, carried - 20_000)
        return Fault(kind, at, direction, seconds=0.1)


@dataclass(frozen=True)
class Front:
    """Where faults are tried: how to connect directly and through the lines, and how to look past the mover.

    `folder` is a folder at the place; `hand` connects to lay files out there, and to sweep. `truth` sees the same as
    `true_folder`. `parts` tells what else a broken transfer may have left (parts of objects), after having cleared it
    away.
    """

    direct: Callable[[], Mover]
    broken: Callable[[], Mover]
    hand: Callable[[], Mover]
    lines: Sequence[Line]
    folder: str
    truth: Mover
    true_folder: str
    refusals: Sequence[Refusal] = ()
    ways: Sequence[Way] = ("put", "put", "replace", "get")
    sizes: Sequence[int] = (0, 5, 40_000, 1_500_000)
    parts: Callable[[], Iterable[str]] = tuple
    secrets: Sequence[str] = ()


def round_of_faults(front: Front, name: str, number: int, local: Path) -> Counter[str]:
    """Try ten faults, drawn from name and number; how often each kind of fault ended in success, or was told."""
    draw, endings = random.Random(f"{name} {number}"), Counter[str]()
    with closing(front.hand()) as hand:
        for attempt in range(ROUND):
            endings[_attempt(front, hand, draw, f"{number}-{attempt}", local / str(attempt))] += 1
    return endings


def _attempt(front: Front, hand: Mover, draw: random.Random, word: str, local: Path) -> str:
    """One transfer with one fault, and then the same without; the kind of the fault, and how it ended."""
    local.mkdir()
    name, true_name = f"{front.folder}/{word}/a file.dat", f"{front.true_folder}/{word}/a file.dat"
    new = local / "new"
    new.write_bytes(draw.randbytes(draw.choice(front.sizes)))
    (local / "old").write_bytes(OLD)
    way = draw.choice(front.ways)
    hand.make_folders(os.path.dirname(name))
    if way != "put":
        hand.put(new if way == "get" else local / "old", name)
    attempt = _get if way == "get" else _put
    told, fault = _drawn(front, draw, way, new.stat().st_size)
    began, token, failure = time.monotonic(), new_token(), None
    with fault:
        try:
            attempt(front.broken, new, name, token)
        except MoverError as error:
            failure = error
    assert failure is None or isinstance(failure, Temporary) or told.startswith("refused"), (
        f"{told}: {failure!r}"
    )
    assert not any(
        secret in f"{failure} {failure!r} {failure and failure.__cause__!r}" for secret in front.secrets
    )
    assert time.monotonic() - began < DEADLINE_SECONDS, f"{told} went past the deadline"
    if way == "get":
        _check_here(new, told, failure)
    else:
        allowed = {new.read_bytes()} | ({OLD if way == "replace" else None} if failure else set())
        _check_there(front, true_name, local / "seen", allowed, told)
    _at_last(lambda: attempt(front.direct, new, name, token))
    if way != "get":
        _check_there(front, true_name, local / "seen", {new.read_bytes()}, f"the next attempt after {told}")
    _check_nothing_is_left(front, hand, os.path.dirname(name), os.path.dirname(true_name), told)
    hand.remove(name)
    return f"{told.split()[0]} {'told' if failure else 'survived'}"


def _drawn(
    front: Front, draw: random.Random, way: Way, size: int
) -> tuple[str, AbstractContextManager[object]]:
    """A fault, of the server in one of four cases (if it has any), else of the line; and what to call it."""
    if front.refusals and draw.random() < 0.25:
        refusal = draw.choice(front.refusals)
        return f"refused: {way} of {size} bytes", refusal(draw)
    line = draw.choice(front.lines)
    fault = line.fault(draw, way, size)
    return f"{fault.kind.replace(' ', '-')} in a {way} of {size} bytes: {fault}", _broken(line.proxy, fault)


@contextmanager
def _broken(proxy: Proxy, fault: Fault) -> Iterator[None]:
    proxy.fault = fault
    try:
        yield
    finally:
        proxy.fault = Fault()
        proxy.reset_all()  # sooner or later a server hears from the network that a client in a black hole is gone


def _at_last(act: Callable[[], None]) -> None:
    """Do what must succeed.

    A place that is paused is probed again (SeaweedFS may forget its bucket for a moment), and so is one that is busy
    (rclone keeps the temporary locked until it notices that the line was cut).
    """
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return act()
        except (Fatal, Busy):
            if time.monotonic() > end:
                raise


def _put(connect: Callable[[], Mover], new: Path, name: str, token: str) -> None:
    with closing(connect()) as mover:
        upload(mover, new, name, token=token)


def _get(connect: Callable[[], Mover], new: Path, name: str, token: str) -> None:
    with closing(connect()) as mover:
        download(mover, name, new.parent / "got" / "file")


def _check_here(new: Path, told: str, failure: MoverError | None) -> None:
    """What a download gave is whole, or not there, without any rest."""
    folder = new.parent / "got"
    there = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}
    whole = {"file": new.read_bytes()}
    assert there in ((whole,) if failure is None else ({}, whole)), f"{told}, {failure}: {sorted(there)}"


def _check_there(front: Front, name: str, seen: Path, allowed: set[bytes | None], told: str) -> None:
    content = None
    if front.truth.stat(name) is not None:
        front.truth.get(name, seen)
        content = seen.read_bytes()
    size = None if content is None else len(content)
    assert content in allowed, (
        f"{told}: there are {size} bytes, allowed are {[len(c or '') for c in allowed]}"
    )


def _check_nothing_is_left(front: Front, hand: Mover, folder: str, true_folder: str, told: str) -> None:
    """Nothing but the file is left after a sweep, as soon as the server has noticed that its clients are gone."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        with suppress(Temporary):  # rclone can't list what vanishes meanwhile
            sweep(hand, folder)
        left = {facts.name for facts in front.truth.list(true_folder)} - {"a file.dat"}
        parts = set(front.parts())
        if not left and not parts:
            return
        assert time.monotonic() < end, f"{told} left {sorted(left | parts)}"
