"""Bytes and names: what is put is what is got."""

import os
import random
from pathlib import Path

from tranship_movers.checks.ground import (
    Ground,
    collected,
    expect,
    names_in,
    promise,
    read,
    refusal,
    size_of,
    writing,
)
from tranship_movers.checksum import digest
from tranship_movers.errors import (
    MoverError,
    NameRefused,
    Permanent,
)
from tranship_movers.transfer import (
    download,
    upload,
)

ODD_NAMES = (
    "two words",
    "Größe-Ärger-ß",
    "日本-Ω",
    "100%",
    "a%20b",
    "a#b",
    "a+b",
    "a?b=c",
    "a&b",
    "it's",
    'say "so"',
    "-leading-dash",
    "~tilde",
    "$HOME",
    "a;b",
    "(x) [y] {z}",
    "12:30:00,5=x",
    "star*",
    "n" * 200,
)
"""Names that must work like any other."""


@promise("what is put is got again, byte by byte", writing)
def _round_trip(ground: Ground) -> None:
    with ground.line() as mover:
        for size in (0, 1, 10_000, 65_536, 65_537, 300_001):
            content = random.randbytes(size)
            name = f"{ground.folder}/r{size}.dat"
            mover.put(ground.file("sent", content), name)
            expect(read(ground, mover, name) == content, f"{size} bytes came back changed")
            expect(size_of(mover, name) == size, f"stat says {size_of(mover, name)} bytes of {size}")


@promise("names with blanks, umlauts, %, #, quotes, 200 letters are names like any other")
def _odd_names(ground: Ground) -> None:
    with ground.line() as mover:
        for name in ODD_NAMES:
            full = f"{ground.folder}/{name}"
            upload(mover, ground.file("odd", name.encode()), full)
            expect(read(ground, mover, full) == name.encode(), f"{name!r} came back with other bytes")
        listed = names_in(mover, ground.folder)
        expect(listed == set(ODD_NAMES), f"the listing differs by {sorted(listed ^ set(ODD_NAMES))}")
        for name in ODD_NAMES:
            mover.remove(f"{ground.folder}/{name}")
        expect(
            not names_in(mover, ground.folder), f"{sorted(names_in(mover, ground.folder))} can't be removed"
        )


@promise("a name of 255 bytes can be uploaded, if the place has such names", writing)
def _longest_name(ground: Ground) -> None:
    full = f"{ground.folder}/{'l' * 255}"
    with ground.line() as mover:
        try:
            mover.put(ground.file("long", b"plain"), full)
        except MoverError:
            return  # this place has no such names
        upload(mover, ground.file("long", b"uploaded"), full)
        expect(read(ground, mover, full) == b"uploaded", "the upload did not replace it")


@promise("a name that can't be is refused as such", writing)
def _refused_names(ground: Ground) -> None:
    with ground.line() as mover, refusal(NameRefused, "put at a name with a NUL"):
        mover.put(ground.file("nul", b"nul"), f"{ground.folder}/a\0b")


@promise("a line break in a name is a letter or refused, never a second command")
def _line_break(ground: Ground) -> None:
    with ground.line() as mover:
        mover.put(ground.file("victim", b"victim"), f"{ground.folder}/victim")
        name = f"x\r\nDELE {ground.folder}/victim\nrm {ground.folder}/victim".replace("/", "_")
        try:
            mover.put(ground.file("break", b"break"), f"{ground.folder}/{name}")
        except Permanent:
            pass
        else:
            back = read(ground, mover, f"{ground.folder}/{name}")
            expect(back == b"break", "it came back with other bytes")
        expect(size_of(mover, f"{ground.folder}/victim") == 6, "another file is gone")


@promise("putting a shorter file over a longer one leaves nothing of the longer", writing)
def _shorter(ground: Ground) -> None:
    name = f"{ground.folder}/shrinks.dat"
    with ground.line() as mover:
        mover.put(ground.file("longer", b"longer" * 1000), name)
        mover.put(ground.file("short", b"short"), name)
        expect(read(ground, mover, name) == b"short", "the old end is still there")


@promise("progress is told, and sums up to the size", writing)
def _progress(ground: Ground) -> None:
    source, name = ground.file("progress", random.randbytes(200_000)), f"{ground.folder}/progress.dat"
    with ground.line() as mover:
        told: list[int] = []
        mover.put(source, name, progress=told.append)
        expect(sum(told) == 200_000, f"put told of {sum(told)} bytes of 200000")
        told = []
        mover.get(name, ground.local / f"{ground.word}-got", progress=told.append)
        expect(sum(told) == 200_000, f"get told of {sum(told)} bytes of 200000")


@promise("a large file arrives whole", writing)
def _large(ground: Ground) -> None:
    source, name = ground.local / f"{ground.word}-large", f"{ground.folder}/large.dat"
    _write_large(source, ground.big)
    try:
        with ground.line() as mover:
            told: list[int] = []
            receipt = upload(mover, source, name, progress=told.append)
            expect(sum(told) == ground.big, f"progress told of {sum(told)} bytes of {ground.big}")
            expect(receipt.size == ground.big, f"the receipt says {receipt.size} bytes of {ground.big}")
            back = ground.local / f"{ground.word}-large-back"
            download(mover, name, back)
            expect(digest(back, "xxh128") == digest(source, "xxh128"), "it came back with other bytes")
            os.remove(back)
    finally:
        os.remove(source)


def _write_large(path: Path, size: int) -> None:
    block = random.randbytes(1 << 20)
    with path.open("wb") as file:
        for number in range(-(-size // len(block))):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece[: size - number * len(block)])


CHECKS = collected(globals())
