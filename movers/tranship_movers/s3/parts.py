"""One file in several parts at once: who breaks off whom, and the bytes on the local side."""

import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from tranship_movers.contract import Progress
from tranship_movers.errors import Permanent, SourceChanged, of_system

T = TypeVar("T")

PIECE = 256 * 1024
"""Bytes that go over between two words of progress."""

SPARE = 1
"""Parts that are begun beside those that are under way, so that nobody waits for their order."""

Tell = Callable[[int], None]


class BrokenOff(Exception):
    """Another part failed, or progress raised."""


def unheeded(_: object) -> None:
    """What nobody asked for."""


class Heard:
    """Progress of several threads, told by one at a time. Once one has failed, all break off."""

    def __init__(self, progress: Progress) -> None:
        self.broken: BaseException | None = None
        """What was raised first."""
        self._progress = progress
        self._lock = threading.Lock()

    def part(self) -> Tell:
        """What one part calls with the number of its bytes so far; what is repeated is not told again."""
        reached = 0

        def tell(position: int) -> None:
            nonlocal reached
            with self._lock:
                self.go_on()
                more, reached = position - reached, max(position, reached)
                if more > 0:
                    with self.breaking():
                        self._progress(more)

        return tell

    def go_on(self) -> None:
        """Raise BrokenOff if somebody failed."""
        if self.broken is not None:
            raise BrokenOff

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """What is raised inside breaks all others off."""
        try:
            yield
        except BaseException as error:
            self.broken = self.broken or error
            raise


@contextmanager
def listening(progress: Progress) -> Iterator[Heard]:
    """Progress for several threads. What comes out is what was raised first."""
    heard = Heard(progress)
    try:
        yield heard
    except BaseException as error:
        if heard.broken is None or heard.broken is error:
            raise
        raise heard.broken from None


@dataclass(frozen=True, slots=True)
class Span:
    """Part number (from 1) of something: size bytes from start."""

    number: int
    start: int
    size: int


def spans_of(size: int, step: int, offset: int = 0) -> list[Span]:
    """The spans of step bytes that make up size bytes from offset on; the last may be shorter."""
    starts = range(offset, size, step)
    return [Span(number, start, min(step, size - start)) for number, start in enumerate(starts, 1)]


def at_once(
    act: Callable[[Span], T],
    spans: Sequence[Span],
    heard: Heard,
    threads: int,
    done: Callable[[Span], None] = unheeded,
) -> list[T]:
    """What act gives for each of spans, so many at once. The first failure ends them all.

    At most threads + SPARE of them, one after the other in their order, are begun and not there.
    done is called here with each of spans, in their order, as soon as it and all before it are there.
    """

    def run(span: Span) -> T:
        heard.go_on()
        with heard.breaking():
            return act(span)

    given: list[T] = []
    workers = max(1, min(threads, len(spans)))
    with ThreadPoolExecutor(workers, thread_name_prefix="s3") as pool, heard.breaking():
        left = iter(spans)
        begun = deque((span, pool.submit(run, span)) for span in islice(left, workers + SPARE))
        while begun:
            first, job = begun.popleft()
            given.append(job.result())
            begun.extend((span, pool.submit(run, span)) for span in islice(left, 1))
            done(first)
    return given


@dataclass(frozen=True, slots=True)
class Source:
    """A local file that is open for reading."""

    path: Path
    descriptor: int
    size: int
    mtime_ns: int

    def read(self, start: int, size: int) -> bytes:
        """Give size bytes from start. Raises SourceChanged if somebody wrote since it was opened."""
        try:
            piece = os.pread(self.descriptor, size, start)
            now = os.fstat(self.descriptor)
        except OSError as error:
            raise of_system(error, where=str(self.path)) from error
        if (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns) or len(piece) != size:
            raise SourceChanged("was written to while it was sent", where=str(self.path))
        return piece


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The local file path, for reading. Raises SourceGone if there is none, Permanent if it is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise of_system(error, where=str(path)) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Permanent("is no file", where=str(path))
        yield Source(path, descriptor, found.st_size, found.st_mtime_ns)
    finally:
        os.close(descriptor)


@contextmanager
def made(path: Path, keep: int = 0) -> Iterator[int]:
    """A descriptor of the local file path, made or cut to its first keep bytes, for writing and reading."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC), 0o666)
    except OSError as error:
        raise of_system(error, where=str(path), absent=Permanent) from error
    try:
        if keep:
            os.ftruncate(descriptor, keep)
        yield descriptor
    finally:
        os.close(descriptor)


class Stream(Protocol):
    """What bytes come out of."""

    def read(self, size: int, /) -> bytes:
        """At most size bytes; none at the end."""


Sum = Literal["md5", "none"]
"""What is computed of bytes on their way."""


def pour(body: Stream, file: int, start: int, tell: Tell, kind: Sum = "md5") -> str:
    """Write what comes out of body into file from start on, give its checksum; "" for none."""
    md5, position = hashlib.md5(usedforsecurity=False), 0
    while piece := body.read(PIECE):
        if kind == "md5":
            md5.update(piece)
        _write(file, piece, start + position)
        position += len(piece)
        tell(position)
    return md5.hexdigest() if kind == "md5" else ""


def _write(file: int, piece: bytes, start: int) -> None:
    view = memoryview(piece)
    try:
        while view:
            written = os.pwrite(file, view, start)
            view, start = view[written:], start + written
    except OSError as error:
        raise of_system(error, where="the local file", absent=Permanent) from error


class Md5s:
    """The MD5s of the parts of step bytes of what is in an open file, taken from its start, span by span."""

    def __init__(self, file: int, step: int) -> None:
        self._file = file
        self._step = step
        self._position = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._done: list[str] = []
        self._room = memoryview(bytearray(PIECE))

    def take(self, span: Span) -> None:
        """Go on with the bytes of span, which are in the file."""
        while more := min(PIECE, span.start + span.size - self._position, self._left):
            count = os.preadv(self._file, [self._room[:more]], self._position)
            if not count:
                break
            self._md5.update(self._room[:count])
            self._position += count
            if not self._left % self._step:
                self._done.append(self._md5.hexdigest())
                self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def _left(self) -> int:
        """Bytes to the end of this part."""
        return self._step - self._position % self._step

    @property
    def hexes(self) -> list[str]:
        """The MD5s of what was taken; the last part may be shorter. One at least."""
        is_over = self._done and not self._position % self._step
        return self._done if is_over else [*self._done, self._md5.hexdigest()]


def md5_of_file(file: int) -> str:
    """The MD5 of what is in the open file."""
    size = os.fstat(file).st_size
    md5s = Md5s(file, max(1, size))
    md5s.take(Span(1, 0, size))
    return md5s.hexes[0]


def digest_of_parts(digests: Sequence[str]) -> str:
    """The ETag of an object whose parts have these MD5s."""
    joined = b"".join(bytes.fromhex(digest) for digest in digests)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"
