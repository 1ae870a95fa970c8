"""What lies in packed files comes to lie under its own names; hostile ones write nothing, and nowhere."""

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import sys
import tarfile
import threading
import tracemalloc
import zipfile
import zlib
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard

from tranship.packed import Broken, Format, Hostile, Plan, Stuck
from tranship.steps.unpack import unpack

WHOLE = os.urandom(70_000)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as packed:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size, info.mtime, info.mode = len(member[1]), 1e9, 0o4777
                packed.addfile(info, io.BytesIO(member[1]))
            else:
                packed.addfile(member)
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_gives_its_files_in_its_order(tmp_path, mode):
    path = tar(
        tmp_path / "a.tar", ("z.nc", WHOLE), special("deep", tarfile.DIRTYPE), ("deep/a.nc", b"a"), mode=mode
    )
    packed = path.read_bytes()
    assert unpack(str(path), Plan(Format.TAR)) == ("z.nc", "deep/a.nc")
    assert contents(tmp_path) == {"a.tar": packed, "z.nc": WHOLE, "deep/a.nc": b"a"}
    facts = (tmp_path / "z.nc").stat()
    assert facts.st_mtime == 1e9
    assert not facts.st_mode & (stat.S_ISUID | stat.S_IXUSR)  # rights are ours, whatever the archive says


def test_again_gives_the_same(tmp_path):
    path = tar(tmp_path / "a.tar", ("z.nc", WHOLE))
    unpack(str(path), Plan(Format.TAR))
    before = (tmp_path / "z.nc").stat().st_mtime_ns
    leaving = tmp_path / ".tranship-unpack-left"
    unpack(str(path), Plan(Format.TAR))
    assert (tmp_path / "z.nc").stat().st_mtime_ns == before
    assert not leaving.exists()


def test_links_within_become_files(tmp_path):
    path = tar(
        tmp_path / "a.tar",
        ("d/z.nc", WHOLE),
        special("d/same", tarfile.SYMTYPE, "z.nc"),
        special("hard", tarfile.LNKTYPE, "d/z.nc"),
    )
    assert unpack(str(path), Plan(Format.TAR)) == ("d/z.nc", "d/same", "hard")
    assert (tmp_path / "d/same").read_bytes() == (tmp_path / "hard").read_bytes() == WHOLE
    assert not (tmp_path / "d/same").is_symlink()


@pytest.mark.parametrize(
    ("format_", "name", "pack"),
    [
        (Format.GZIP, "x.nc.gz", gzip.compress),
        (Format.BZIP2, "x.nc.bz2", bz2.compress),
        (Format.XZ, "x.nc.xz", lzma.compress),
        (Format.ZSTD, "x.nc.zst", zstandard.compress),
    ],
)
def test_one_file_compressed(tmp_path, format_, name, pack):
    path = tmp_path / name
    path.write_bytes(pack(WHOLE))
    os.utime(path, (1e9, 1e9))
    plan = Plan(format_)
    assert plan.covers(name)
    assert not plan.covers("x.nc")
    assert unpack(str(path), plan) == ("x.nc",)
    assert (tmp_path / "x.nc").read_bytes() == WHOLE
    assert (tmp_path / "x.nc").stat().st_mtime == 1e9
    path.write_bytes(pack(WHOLE)[:-9])  # cut off
    (tmp_path / "x.nc").write_bytes(b"old")
    with pytest.raises(Broken, match=name):
        unpack(str(path), plan)
    assert contents(tmp_path)["x.nc"] == b"old"
    path.write_bytes(WHOLE)
    with pytest.raises(Broken, match="not compressed"):
        unpack(str(path), plan)


def test_a_zip(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("b/", "")
        packed.writestr("b/one.nc", WHOLE)
        packed.writestr("two.nc", b"2")
    assert unpack(str(path), Plan(Format.ZIP)) == ("b/one.nc", "two.nc")
    assert (tmp_path / "b/one.nc").read_bytes() == WHOLE


def test_results_may_go_elsewhere(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "work").mkdir()
    path = tar(tmp_path / "in/a.tar", ("z.nc", WHOLE))
    assert unpack(str(path), Plan(Format.TAR, folder=str(tmp_path / "work"))) == ("z.nc",)
    assert list(contents(tmp_path / "in")) == ["a.tar"]
    assert list(contents(tmp_path / "work")) == ["z.nc"]


ASTRAY = [
    ".tranship-unpack-0123456789abcdef/x",
    ".x.dat.abcdef-012345.part",
    "/tmp/planted",
    "../planted",
    "a/../../planted",
    "a\nb",
    "..",
    "a\\..\\b",
    "x" * 300,
    "/".join("a" * 40),
]


def zip_of(path: Path, name: str, mode: int = 0o100644, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("y" * len(name))
        info.external_attr = mode << 16
        packed.writestr(info, content)
    path.write_bytes(path.read_bytes().replace(b"y" * len(name), name.encode()))
    return path


def pax_bomb(path: Path) -> Path:
    """A header that says it is 1 GB."""
    info = special("././@PaxHeader", tarfile.XHDTYPE)
    info.size = 1 << 30
    with gzip.open(path, "wb") as out:
        out.write(info.tobuf())
        for _ in range(8):
            out.write(bytes(1 << 20))
    return path


HOSTILE = {
    **{
        f"tar {name[:20]!r}": lambda path, name=name: tar(path, ("good", b"1"), (name, b"x"))
        for name in ASTRAY
    },
    **{f"zip {name[:20]!r}": lambda path, name=name: zip_of(path, name) for name in ASTRAY},
    "symlink out": lambda path: tar(path, special("a", tarfile.SYMTYPE, "/etc"), ("a/planted", b"x")),
    "symlink up": lambda path: tar(path, special("a", tarfile.SYMTYPE, "../../"), ("a/planted", b"x")),
    "hard link out": lambda path: tar(path, special("a", tarfile.LNKTYPE, "../secret")),
    "hard link to an absolute path": lambda path: tar(path, special("a", tarfile.LNKTYPE, "/etc/passwd")),
    "link to what comes later": lambda path: tar(path, special("a", tarfile.SYMTYPE, "b"), ("b", b"x")),
    "device": lambda path: tar(path, special("a", tarfile.CHRTYPE)),
    "fifo": lambda path: tar(path, special("a", tarfile.FIFOTYPE)),
    "zip with a link": lambda path: zip_of(path, "a", 0o120777, b"/etc/passwd"),
    "itself": lambda path: tar(path, (path.name, b"x")),
    "header": pax_bomb,
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_writes_nothing(tmp_path, make, request):
    folder = tmp_path / "deep/in"
    folder.mkdir(parents=True)
    (tmp_path / "deep/secret").write_bytes(b"secret")
    format_ = Format.ZIP if "zip" in request.node.callspec.id else Format.TAR
    path = make(folder / f"a.{format_}")
    before = contents(tmp_path)
    with pytest.raises(Hostile, match=r"a\.(tar|zip)|^'.*' (is|would)"):
        unpack(str(path), Plan(format_))
    assert contents(tmp_path) == before
    assert not Path("/tmp/planted").exists()
    assert os.listdir(folder) == [path.name]


def test_bombs_stop_at_the_bounds(tmp_path):
    zeros = bytes(4 << 20)
    bomb = tmp_path / "x.gz"
    with gzip.open(bomb, "wb", 9) as out:
        for _ in range(32):
            out.write(zeros)
    with pytest.raises(Hostile, match="grows to more than 67108864 bytes"):  # 128 MiB of 128 kB
        unpack(str(bomb), Plan(Format.GZIP, ratio=100))
    with pytest.raises(Hostile, match="grows to more than 1000000 bytes"):
        unpack(str(bomb), Plan(Format.GZIP, size=1_000_000))
    packed = tmp_path / "x.zip"
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out,
        out.open("big", "w", force_zip64=True) as big,
    ):
        for _ in range(32):
            big.write(zeros)
    with pytest.raises(Hostile, match="grows to more than 67108864 bytes"):
        unpack(str(packed), Plan(Format.ZIP, ratio=100))
    sparse = tmp_path / "s.tar.gz"
    info = tarfile.TarInfo("sparse")
    info.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(1 << 40), "GNU.sparse.name": "sparse",
    }  # fmt: skip
    with tarfile.open(sparse, "w:gz", format=tarfile.PAX_FORMAT) as out:
        out.addfile(info)
    with pytest.raises(Hostile, match="grows to more than 67108864 bytes"):
        unpack(str(sparse), Plan(Format.TAR))
    assert sorted(os.listdir(tmp_path)) == ["s.tar.gz", "x.gz", "x.zip"]


def member(kind: bytes, body: bytes = b"") -> bytes:
    info = special("x", kind)
    info.size = len(body)
    return info.tobuf() + body + bytes(-len(body) % 512)


def holes(more: int) -> bytes:
    """A sparse file of the old kind, that says so many times more where its holes are."""
    head = bytearray(special("x", tarfile.GNUTYPE_SPARSE).tobuf(format=tarfile.GNU_FORMAT))
    hole = b"%011o\0%011o\0" % (1, 1)
    head[386 : 386 + 96], head[482] = hole * 4, 1
    head[148:156] = b"%06o\0 " % (256 + sum(head[:148]) + sum(head[156:]))
    return bytes(head) + (hole * 21 + b"\1" + bytes(7)) * more


def pax(**said: str) -> bytes:
    records = [f" {key}={value}\n" for key, value in said.items()]
    return member(tarfile.XHDTYPE, "".join(f"{len(r) + 2}{r}" for r in records).encode())


ODD_TARS = {
    "chain of headers": pax(a="b") * 5000 + member(tarfile.REGTYPE),
    "chain of names": member(tarfile.GNUTYPE_LONGNAME, b"abcd\0") * 5000 + member(tarfile.REGTYPE),
    "holes without end": holes(10_000),
    "holes cut off": holes(3)[:-600],
    "holes of letters": pax(**{"GNU.sparse.map": "a,b", "GNU.sparse.size": "9"}) + member(tarfile.REGTYPE),
    "headers only": (pax(a="b" * 80) * 40 + member(tarfile.REGTYPE)) * 150,
}


@pytest.mark.parametrize("content", ODD_TARS.values(), ids=ODD_TARS.keys())
def test_what_tarfile_stumbles_over_is_refused_in_little_memory(tmp_path, content):
    path = tmp_path / "a.tar"
    path.write_bytes(gzip.compress(content, 1))
    tracemalloc.start()
    try:
        with pytest.raises((Broken, Hostile), match=r"a\.tar"):
            unpack(str(path), Plan(Format.TAR, members=1000))
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_zipfile_would_unpack_in_memory_is_refused(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("x", WHOLE)
    with pytest.raises(Broken, match="another method"):
        unpack(str(path), Plan(Format.ZIP))


def test_an_xz_takes_only_so_much_memory(tmp_path):
    path = tmp_path / "x.xz"
    packed = bytearray(lzma.compress(WHOLE))
    length = 4 * (packed[12] + 1)
    packed[packed.index(b"\x21\x01", 12) + 2] = 37  # a dictionary of 1.5 GiB
    packed[8 + length : 12 + length] = struct.pack("<I", zlib.crc32(packed[12 : 8 + length]))
    path.write_bytes(packed)
    with pytest.raises(Broken, match="Memory usage limit"):
        unpack(str(path), Plan(Format.XZ))


def test_an_xz_of_several_streams(tmp_path):
    path = tmp_path / "x.xz"
    path.write_bytes(lzma.compress(WHOLE) + bytes(8) + lzma.compress(b"2" * 3_000_000) + lzma.compress(b""))
    assert unpack(str(path), Plan(Format.XZ)) == ("x",)
    assert (tmp_path / "x").read_bytes() == WHOLE + b"2" * 3_000_000
    path.write_bytes(lzma.compress(WHOLE) + b"rest")
    with pytest.raises(Broken):
        unpack(str(path), Plan(Format.XZ))


def test_a_damaged_bzip2_is_not_tried_again(tmp_path):
    path = tmp_path / "x.bz2"
    packed = bytearray(bz2.compress(WHOLE))
    packed[100:110] = bytes(10)
    path.write_bytes(packed)
    with pytest.raises(Broken):
        unpack(str(path), Plan(Format.BZIP2))


def test_no_link_that_lies_there_is_followed(tmp_path):
    """Whoever may put archives there may often put links there, too."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "in"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "sub").symlink_to(elsewhere)
    path = tar(folder / "a.tar", ("sub/planted", b"x"))
    with pytest.raises(Broken, match="leads over a link"):
        unpack(str(path), Plan(Format.TAR))
    assert not list(elsewhere.iterdir())


def test_a_million_members(tmp_path):
    path = tmp_path / "many.tar.gz"
    header = tarfile.TarInfo("x").tobuf()
    with gzip.open(path, "wb", 1) as out:
        for _ in range(1000):
            out.write(header * 1000)
    with pytest.raises(Hostile, match="holds more than 10000 files"):
        unpack(str(path), Plan(Format.TAR))
    packed = tmp_path / "many.zip"
    entry = b"PK\1\2" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"x"
    table = entry * 1_000_000
    packed.write_bytes(table + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, len(table), 0, 0))
    with pytest.raises(Hostile, match="table of contents"):
        unpack(str(packed), Plan(Format.ZIP))
    assert sorted(os.listdir(tmp_path)) == ["many.tar.gz", "many.zip"]


def test_what_is_in_the_way(tmp_path):
    path = tar(tmp_path / "a.tar", ("one", b"new"), ("two", b"new"))
    (tmp_path / "one").write_bytes(b"old")
    (tmp_path / "two").mkdir()
    with pytest.raises(Broken, match="two is a folder"):
        unpack(str(path), Plan(Format.TAR))
    assert (tmp_path / "one").read_bytes() == b"old"
    with pytest.raises(Broken, match="holds no file"):
        unpack(str(tar(tmp_path / "b.tar")), Plan(Format.TAR))
    with pytest.raises(Stuck, match=r"nowhere\.tar: can't be unpacked: No such file"):
        unpack(str(tmp_path / "nowhere.tar"), Plan(Format.TAR))


# ---- programs


def program(folder: Path, text: str) -> tuple[str, ...]:
    script = folder / "program.py"
    script.write_text(text)
    return sys.executable, str(script)


DECOMPRESS = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
pathlib.Path(path.name[:-2] + "__").write_bytes(path.read_bytes()[::-1])
pathlib.Path("log").write_text("not wanted")
"""


def test_an_xrit_segment(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/H-000-MSG4__-C_"
    path.write_bytes(b"123")
    os.utime(path, (1e9, 1e9))
    plan = Plan(Format.XRIT, command=program(tmp_path, DECOMPRESS))
    assert plan.covers(path.name)
    assert not plan.covers("H-000-MSG4__-__")
    assert unpack(str(path), plan) == ("H-000-MSG4__-__",)
    assert contents(tmp_path / "in") == {path.name: b"123", "H-000-MSG4__-__": b"321"}
    assert (tmp_path / "in/H-000-MSG4__-__").stat().st_mtime == 1e9
    with pytest.raises(Stuck, match="has made no H-000-MSG4__-__"):
        unpack(str(path), Plan(Format.XRIT, command=program(tmp_path, "")))


def test_any_program(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a; touch planted"
    path.write_bytes(b"x")
    two = "import sys; open('b', 'w').write(sys.argv[2]); open('a', 'w')"
    plan = Plan(Format.PROGRAM, command=(*program(tmp_path, two), "--from={file}", "{file}"))
    assert unpack(str(path), plan) == ("a", "b")
    assert (tmp_path / "in/b").read_text() == str(path)  # one argument, whatever its name
    assert sorted(os.listdir(tmp_path / "in")) == ["a", path.name, "b"]


@pytest.mark.parametrize(
    "text",
    [
        "n = 0\nwhile True:\n    n += 1\n    open(f'{n % 1000}', 'ab').write(bytes(1 << 16))",
        "n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'w')",
    ],
    ids=["bytes", "files"],
)
def test_a_program_that_fills_the_disk_is_stopped(tmp_path, text):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a"
    path.write_bytes(b"x")
    plan = Plan(Format.PROGRAM, command=program(tmp_path, text), size=1 << 20)
    with pytest.raises(Hostile, match="grows to more"):
        unpack(str(path), plan)
    assert os.listdir(tmp_path / "in") == ["a"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print('no such channel'); raise SystemExit(3)", "ended with 3: no such channel"),
        ("import time; time.sleep(100)", "took too long"),
        ("import os; os.abort()", "ended with -6"),
    ],
)
def test_a_program_that_fails_leaves_nothing(tmp_path, text, told):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a"
    path.write_bytes(b"x")
    plan = Plan(Format.PROGRAM, command=program(tmp_path, text), deadline=timedelta(seconds=1))
    with pytest.raises(Stuck, match=told):
        unpack(str(path), plan)
    assert os.listdir(tmp_path / "in") == ["a"]


def test_a_programs_link_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a"
    path.write_bytes(b"x")
    plan = Plan(Format.PROGRAM, command=program(tmp_path, "import os; os.symlink('/etc/passwd', 'x')"))
    with pytest.raises(Hostile, match="'x' came out of it"):
        unpack(str(path), plan)
    with pytest.raises(Stuck, match="no-such can't be started"):
        unpack(str(path), Plan(Format.PROGRAM, command=("/no-such",)))
    assert os.listdir(tmp_path / "in") == ["a"]


def test_two_at_once_are_not_in_each_others_way(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a"
    path.write_bytes(b"x")
    os.mkfifo(tmp_path / "go")
    waiting = f"open('started', 'w'); open({str(tmp_path / 'go')!r}).read(); open('b', 'w').write('done')"
    plan = Plan(Format.PROGRAM, command=program(tmp_path, waiting))
    first = threading.Thread(target=unpack, args=(str(path), plan))
    first.start()
    # "go" opens when the first one is at work
    with open(tmp_path / "go", "w"), pytest.raises(Stuck, match="another process"):
        unpack(str(path), plan)
    first.join(20)
    assert (tmp_path / "in/b").read_text() == "done"
