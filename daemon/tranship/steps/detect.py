"""detect: which files have something new to say, told by the kernel (watchdog) and by scanning.

The watch is quick and can miss (a full event queue, a folder that filled up before it was watched, a file system
without events); the scan is sure and slow. Both only point at files; whether one is complete, `settle` judges, and
whether it is news, the journal.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyObserver

from tranship.core.mounts import Mount, mounts_of, touching
from tranship.core.origin import Origin
from tranship.core.values import Sighting

_SCAN_BATCH = 1000
_MOST_SEEN = 100_000
"""Events that wait to be looked at; what comes beyond is found by a scan."""
MOUNTS = "/proc/self/mountinfo"
_OVERFLOW_LOGGERS = ("watchdog.observers.inotify_c", "watchdog.observers.inotify")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the watch has seen: files closed or moved in, new folders, and whether events were lost."""

    closed: list[str]
    folders: list[str]
    overflow: bool


class Watch:
    """Watches one origin by the kernel's events. `close` ends it.

    Raises OSError, naming the folder, if root can't be watched (absent, or no watches left).
    """

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        """Start to watch; what is seen is handed to loop."""
        self._closed: deque[str] = deque()
        self._folders: deque[str] = deque()
        self._overflow = False
        self._news = asyncio.Event()
        self._woken = False
        self._loop = loop
        self._prefix = origin.root.rstrip("/") + "/"
        self._path = origin.root
        self._root = identity(origin.root)
        # With full events what is moved in from elsewhere is a move; else it looks like a file that is only begun.
        self._observer: BaseObserver = InotifyObserver(generate_full_events=True)
        self._alarm = _OverflowAlarm(self._overflown)
        self._alarm.set_up()
        deep = origin.depth > 0
        wanted: list[type[FileSystemEvent]] = [FileClosedEvent, FileMovedEvent]
        if deep:
            wanted += [DirCreatedEvent, DirMovedEvent]
        try:
            self._observer.schedule(_Pointer(self), origin.root, recursive=deep, event_filter=wanted)
            self._observer.start()
        except (
            BaseException
        ):  # it is tried again every few seconds, and holds one of the kernel's few instances
            self._alarm.take_down()
            self._observer.stop()
            raise

    async def news(self) -> None:
        """Wait until something was seen."""
        await self._news.wait()

    def seen(self) -> Seen:
        """Everything that was seen since the last time."""
        self._news.clear()
        self._woken = False
        overflow, self._overflow = self._overflow, False
        return Seen(_drained(self._closed), _drained(self._folders), overflow)

    def lost(self) -> str:
        """Why it sees nothing more of what is at its root now; "" if it does. Blocking."""
        if not all(thread.is_alive() for thread in (self._observer, *self._observer.emitters)):
            return "observer died"
        return "" if self._root == identity(self._path) else "folder or mount replaced"

    def close(self) -> None:
        """Watch no more. May wait for the observer's thread for a moment."""
        self._alarm.take_down()
        self._observer.stop()
        self._observer.join(2)

    # Called by watchdog's thread:

    def point(self, path: str, *, folder: bool) -> None:
        """Something happened at path."""
        if not path.startswith(self._prefix):
            return  # moved out, or away
        seen = self._folders if folder else self._closed
        if len(seen) < _MOST_SEEN:
            seen.append(path)
        else:
            self._overflow = True
        self._wake()

    def _overflown(self) -> None:
        self._overflow = True
        self._wake()

    def _wake(self) -> None:
        if not self._woken and not self._loop.is_closed():
            self._woken = True
            self._loop.call_soon_threadsafe(self._news.set)


def scan(
    origin: Origin, now: float, below: str | None = None, changed_since: float = 0.0
) -> Iterator[list[Sighting]]:
    """The files of origin that are there at this moment (now), a thousand at a time.

    Below the folder `below` only, if one is given; those only that were made, moved in or changed since (seconds
    since the epoch).

    Folders that vanish or may not be read, and links that lead nowhere, are passed over; raises OSError if the
    origin's root itself can't be read.
    """
    start = below or origin.root
    if start != origin.root and not os.path.isdir(start):
        return
    found: list[Sighting] = []
    for path, entry in _walk(start, origin.depth - (start.count("/") - origin.root.rstrip("/").count("/"))):
        if not origin.covers(path):
            continue
        try:
            facts = entry.stat()
        except OSError:
            continue  # gone again
        if facts.st_ctime < changed_since:
            continue
        found.append(Sighting(path, facts.st_size, facts.st_mtime_ns, now))
        if len(found) == _SCAN_BATCH:
            yield found
            found = []
    if found:
        yield found


def _walk(folder: str, depth: int) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    deeper = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if depth > 0:
                if _is(entry.is_dir):
                    deeper.append(entry.path)
            elif _is(entry.is_file):
                yield entry.path, entry
    for path in deeper:
        with contextlib.suppress(OSError):
            yield from _walk(path, depth - 1)


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:
        return False  # a link in a circle


class _Pointer(FileSystemEventHandler):
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def dispatch(self, event: FileSystemEvent) -> None:
        moved = isinstance(event, FileMovedEvent | DirMovedEvent)
        path = event.dest_path if moved else event.src_path  # none: moved out
        self._watch.point(os.fsdecode(path), folder=event.is_directory)


class _OverflowAlarm(logging.Filter):
    """watchdog tells of a full event queue by its log only; this hears it there."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def set_up(self) -> None:
        for name in _OVERFLOW_LOGGERS:
            logging.getLogger(name).addFilter(self)

    def take_down(self) -> None:
        for name in _OVERFLOW_LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if "overflow" in str(record.msg):
            self._tell()
        return True


def identity(folder: str) -> tuple[int, int, list[Mount]] | None:
    """Which folder is at that path, and what is mounted there and below; None if there is none. Blocking."""
    try:
        facts = os.stat(folder)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, _mounts(folder)


def silent(folder: str) -> Mount | None:
    """A file system at folder or below, in which files can appear without an event; None if there is none. Blocking."""
    return next((mount for mount in _mounts(folder) if mount.is_silent), None)


def _mounts(folder: str) -> list[Mount]:
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as table:
            return touching(os.path.realpath(folder), mounts_of(table.read()))
    except OSError:
        return []  # no Linux, or no /proc


def _drained(queue: deque[str]) -> list[str]:
    drained = []
    while queue:
        drained.append(queue.popleft())
    return drained
