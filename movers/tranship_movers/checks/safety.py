"""Whole or not at all: what readers see, what is left of a failure, what goes on after one."""

import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tranship_movers.checks.ground import (
    Ground,
    collected,
    expect,
    names_in,
    promise,
    raising_after,
    read,
    refusal,
    size_of,
    writing,
)
from tranship_movers.contract import Mover
from tranship_movers.errors import (
    MoverError,
    SourceGone,
    Temporary,
)
from tranship_movers.temporary import sweep
from tranship_movers.transfer import (
    download,
    upload,
)


@promise("an upload makes the folders, and tells of what is there", writing)
def _upload(ground: Ground) -> None:
    content, name = random.randbytes(10_000), f"{ground.folder}/made/by/upload.dat"
    with ground.line() as mover:
        receipt = upload(mover, ground.file("upload", content), name)
        expect((receipt.name, receipt.size) == (name, 10_000), f"the receipt says {receipt}")
        expect(read(ground, mover, name) == content, "other bytes arrived")
        if mover.powers.listing:
            left = names_in(mover, f"{ground.folder}/made/by")
            expect(left == {"upload.dat"}, f"beside it are {sorted(left)}")


@promise("a download is whole, and leaves no temporary", writing)
def _download(ground: Ground) -> None:
    content, name = random.randbytes(100_000), f"{ground.folder}/down.dat"
    target = ground.local / ground.word / "down.dat"
    with ground.line() as mover:
        mover.put(ground.file("down", content), name)
        download(mover, name, target, sync="file")
        expect(target.read_bytes() == content, "other bytes arrived")
        expect(os.listdir(target.parent) == ["down.dat"], f"beside it are {os.listdir(target.parent)}")


@promise(
    "who reads while a file is put, broken off or replaced sees nothing, the old or the new, whole", writing
)
def _overwrite(ground: Ground) -> None:
    name, versions = f"{ground.folder}/live.dat", (b"old!" * 80_000, b"newer" * 50_000)
    sources = [ground.file(f"v{number}", version) for number, version in enumerate(versions)]
    seen, done = _Seen(), threading.Event()
    reader = threading.Thread(target=_poll, args=(ground, name, seen, done), daemon=True)
    reader.start()
    try:
        with ground.line() as writer:
            for round_ in range(10):
                if round_ % 4 == 1:
                    _break_off(ground, sources[round_ % 2], name)
                upload(writer, sources[round_ % 2], name)
                seen.shown.set()
            seen.once.wait(60)
            replaces = writer.powers.replace
    finally:
        done.set()
        reader.join(60)
    expect(not reader.is_alive(), "the reader hangs")
    expect(not seen.foreign, f"the reader got {seen.foreign[:1]}")
    torn = [content for content in seen.contents if content not in versions]
    expect(not torn, f"{len(torn)} of {len(seen.contents)} reads were torn")
    expect(bool(seen.contents), "nothing could be read in 60 s")
    expect(not (seen.absent and replaces), f"the name was absent {seen.absent} times")


@promise("a name that is replaced is absent for no moment", lambda powers: powers.writing and powers.replace)
def _no_gap(ground: Ground) -> None:
    name, source = f"{ground.folder}/steady.dat", ground.file("steady", b"steady")
    done, absent = threading.Event(), threading.Event()
    with ground.line() as writer, ground.line() as looker:
        upload(writer, source, name)
        reader = threading.Thread(target=_miss, args=(looker, name, absent, done), daemon=True)
        reader.start()
        try:
            for _ in range(10):
                upload(writer, source, name)
            replaces = writer.powers.replace
        finally:
            done.set()
            reader.join(60)
    expect(not (replaces and absent.is_set()), "it was absent")


@promise("an upload that is broken off leaves neither the name nor a temporary")
def _broken_off(ground: Ground) -> None:
    name = f"{ground.folder}/half.dat"
    source = ground.file("half", random.randbytes(1 << 20))
    with ground.line() as mover, refusal(_Enough, "an upload whose progress raises"):
        upload(mover, source, name, progress=_enough_after(1))
    with ground.line() as mover:
        expect(mover.stat(name) is None, "the name is there")
        sweep(mover, ground.folder)
        left = names_in(mover, ground.folder)
        expect(not left, f"it left {sorted(left)}")
        upload(mover, source, name)
        expect(size_of(mover, name) == 1 << 20, "the next attempt did not arrive")


class _Enough(Exception):
    """Raised by progress to break a transfer off."""


@dataclass
class _Seen:
    """What a polling reader saw; absent counts once the name was shown."""

    contents: list[bytes] = field(default_factory=list)
    absent: int = 0
    foreign: list[str] = field(default_factory=list)
    shown: threading.Event = field(default_factory=threading.Event)
    once: threading.Event = field(default_factory=threading.Event)


def _poll(ground: Ground, name: str, seen: _Seen, done: threading.Event) -> None:
    target = ground.local / f"{ground.word}-polled"
    with ground.line() as mover:
        while not done.is_set():
            shown = seen.shown.is_set()
            try:
                mover.get(name, target)
                seen.contents.append(target.read_bytes())
                seen.once.set()
            except SourceGone:
                seen.absent += shown
            except Temporary:
                continue  # told that it went wrong, the reader has nothing torn in hand
            except Exception as error:  # noqa: BLE001 - told by the check, in its own thread
                seen.foreign.append(f"{type(error).__name__}: {error}")
                seen.once.set()
                return


def _miss(mover: Mover, name: str, absent: threading.Event, done: threading.Event) -> None:
    """Set absent if name is missing once."""
    while not done.is_set():
        with suppress(MoverError):
            if mover.stat(name) is None:
                absent.set()


def _break_off(ground: Ground, source: Path, name: str) -> None:
    with suppress(_Enough), ground.line() as mover:
        upload(mover, source, name, progress=_enough_after(1))


def _enough_after(size: int) -> Callable[[int], None]:
    return raising_after(size, _Enough("broken off on purpose"))


CHECKS = collected(globals())
