"""Going on: what a cut line, or a crash, left is used, and never for anything else."""

import os
import random
from collections.abc import Callable
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
)
from tranship_movers.checksum import checksum
from tranship_movers.contract import Powers
from tranship_movers.errors import Mangled, SourceChanged, Unreachable
from tranship_movers.temporary import new_token
from tranship_movers.transfer import RESUMED_FROM, Expected, download, upload

ASKED_AGAIN = 1 << 16
"""Bytes that a mover may ask for again, to see whether they are the same."""

LARGEST = 16 << 20
"""Bytes of a file that is made here; where more can't be trusted (large parts at once), nothing is saved."""


def resumes(powers: Powers) -> bool:
    """Whether files can be put there, and `get` can go on."""
    return powers.writing and powers.resumes is not None


@promise("putting goes on where it stopped", lambda powers: powers.append)
def _append(ground: Ground) -> None:
    content, name = random.randbytes(300_000), f"{ground.folder}/appended.dat"
    with ground.line() as mover:
        mover.put(ground.file("begun", content[:123_457]), name)
        told: list[int] = []
        mover.put(ground.file("whole", content), name, offset=123_457, progress=told.append)
        expect(read(ground, mover, name) == content, "other bytes are there")
        expect(sum(told) == 300_000 - 123_457, f"{sum(told)} bytes went over")


@promise("an upload after a cut line goes on where it stopped", lambda powers: powers.append)
def _resume(ground: Ground) -> None:
    size, token = RESUMED_FROM * 3, new_token()
    source, name = ground.file("resumed", random.randbytes(size)), f"{ground.folder}/resumed.dat"
    with ground.line() as mover, refusal(Unreachable, "an upload over a cut line"):
        upload(mover, source, name, token=token, progress=cut_after(size // 2))
    with ground.line() as mover:
        told: list[int] = []
        upload(mover, source, name, token=token, progress=told.append)
        expect(sum(told) < size, "everything was sent again")
        expect(read(ground, mover, name) == source.read_bytes(), "other bytes arrived")
        expect(names_in(mover, ground.folder) == {"resumed.dat"}, "a temporary is left")


@promise("getting goes on where it stopped: in the middle, at the last byte, at the end", resumes)
def _get_on(ground: Ground) -> None:
    content, name = random.randbytes(300_000), f"{ground.folder}/got-on.dat"
    target = ground.local / f"{ground.word}-got-on"
    with ground.line() as mover:
        mover.put(ground.file("whole", content), name)
        for rest in (176_543, 1, 0):
            target.write_bytes(content[: 300_000 - rest])
            told: list[int] = []
            mover.get(name, target, offset=300_000 - rest, progress=told.append)
            expect(target.read_bytes() == content, f"with a rest of {rest} bytes, other bytes are here")
            expect(sum(told) <= rest + ASKED_AGAIN, f"{sum(told)} bytes went over for a rest of {rest}")
        target.write_bytes(content + content)
        mover.get(name, target, offset=100_000)
        expect(target.read_bytes() == content, "what was behind is still there")


@promise("getting does not go on with a file that has become shorter", resumes)
def _get_on_too_far(ground: Ground) -> None:
    name, target = f"{ground.folder}/shorter.dat", ground.local / f"{ground.word}-too-far"
    target.write_bytes(b"longer" * 1000)
    with ground.line() as mover:
        mover.put(ground.file("shorter", b"shorter"), name)
        try:
            mover.get(name, target, offset=6000)
        except (SourceChanged, Mangled):
            return
        expect(target.read_bytes() == b"shorter", "bytes of two files are here")


@promise("a download after a cut line goes on where it stopped", resumes)
def _download_resumed(ground: Ground) -> None:
    name, token = f"{ground.folder}/down.dat", new_token()
    target = ground.local / ground.word / "down.dat"
    with ground.line() as mover:
        unsure = mover.powers.resumes or 0
    size = max(3 * RESUMED_FROM, min(3 * unsure, LARGEST))
    source = ground.file("down", random.randbytes(size))
    expected = Expected(checksum=checksum(source, "xxh128"))
    with ground.line() as mover:
        mover.put(source, name)
        with refusal(Unreachable, "a download over a cut line"):
            download(mover, name, target, token=token, progress=cut_after(size * 3 // 4), expected=expected)
    with ground.line() as mover:
        told: list[int] = []
        download(mover, name, target, token=token, progress=told.append, expected=expected)
    expect(target.read_bytes() == source.read_bytes(), "other bytes arrived")
    expect(os.listdir(target.parent) == ["down.dat"], f"beside it are {os.listdir(target.parent)}")
    expect(sum(told) < size or unsure > size // 2, "everything came again")


@promise("a download goes on with no other version than it began with", resumes)
def _download_mixed(ground: Ground) -> None:
    name, token, size = f"{ground.folder}/versions.dat", new_token(), 3 * RESUMED_FROM
    target = ground.local / ground.word / "versions.dat"
    first, second = (_dated(ground, seconds, size) for seconds in (1_234_567_890, 1_234_567_891))
    with ground.line() as mover:
        mover.put(first, name)
        with refusal(Unreachable, "a download over a cut line"):
            download(mover, name, target, token=token, progress=cut_after(size * 3 // 4))
    with ground.line() as mover:
        mover.put(second, name)
        download(mover, name, target, token=token)
    expect(target.read_bytes() == second.read_bytes(), "bytes of two versions are here")
    expect(os.listdir(target.parent) == ["versions.dat"], f"beside it are {os.listdir(target.parent)}")


def cut_after(size: int) -> Callable[[int], None]:
    """Progress that cuts the line once size bytes have gone over."""
    return raising_after(size, Unreachable("cut on purpose"))


def _dated(ground: Ground, seconds: int, size: int) -> Path:
    path = ground.file(f"of-{seconds}", random.randbytes(size))
    os.utime(path, (seconds, seconds))
    return path


CHECKS = collected(globals())
