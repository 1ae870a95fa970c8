"""What a client publishes of arrived and unpacked files, and what replaces what, held against the real Trollmoves."""

import bz2
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from posttroll.message import Message
from trollmoves import client as theirs
from trollmoves import server as their_server

from tranship.config import ClientChain, load
from tranship.core.handover import Matter
from tranship.packed import Format, Plan
from tranship.steps.publish import local_message
from tranship.steps.unpack import unpack
from tranship_movers.place import Place


def tar(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def item(name: str) -> dict[str, str]:
    return {"uri": f"/in/{name}", "uid": name}


ABOUT = Matter("i", "s", "/in")

SHAPES: dict[str, dict[str, Any]] = {
    "file": {**item("many.tar"), "orbit": 1},
    "one": item("one.tar"),
    "plain": item("plain.dat"),
    "dataset": {"dataset": [item("one.tar"), item("plain.dat")], "orbit": 1},
    "dataset of archives": {"dataset": [item("many.tar"), item("one.tar")]},
    "collection": {"collection": [{"dataset": [item("one.tar")]}, item("many.tar")], "x": {"y": [1, 2]}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_unpacked_files_are_told_as_there(tmp_path, shape):
    out = tmp_path / "out"
    out.mkdir()
    archives = [tar(out / "many.tar", a=b"1", b=b"2"), tar(out / "one.tar", c=b"3")]
    (out / "plain.dat").write_bytes(b"4")
    data = SHAPES[shape]
    kind = next((kind for kind in ("dataset", "collection") if kind in data), "file")
    told = theirs.unpack_and_create_local_message(Message("/t", kind, data), str(out), compression="tar")
    told = theirs.make_uris(told, f"file://{out}/")
    ours = local_message(
        "/t",
        kind,
        data,
        place=Place.parse(f"file://{out}/"),
        local=True,
        about=ABOUT,
        client="c",
        replace={},
        unpacked={str(path): unpack(str(path), Plan(Format.TAR)) for path in archives},
    )
    plain = {key: value for key, value in ours.data.items() if key not in ("origin", "tranship")}
    assert (ours.type, plain) == (told.type, told.data)


def test_bzip2_gives_the_name_that_it_gives_there(tmp_path):
    (tmp_path / "x.nc.bz2").write_bytes(bz2.compress(b"content"))
    assert theirs.unpack_bzip(str(tmp_path / "x.nc.bz2")) == f"{tmp_path}/x.nc"
    (tmp_path / "x.nc").unlink()
    assert unpack(str(tmp_path / "x.nc.bz2"), Plan(Format.BZIP2)) == ("x.nc",)


def chain(tmp_path: Path, *lines: str) -> ClientChain:
    file = tmp_path / "client.ini"
    head = ("[a]", "providers = h:1", "topic = /t", "destination = /out", "publish_port = 9020")
    file.write_text("\n".join((*head, *lines)) + "\n")
    (only,) = load(file).config.chains.values()
    return only


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("constant", "old"),
        ("old:new", "old"),
        ("old:new|other:x", "other"),
        ("old:new|broken", "old"),
        ("a:b:c", "old"),
        ("12", 5),
        ("", "old"),
        ("a b, c", "old"),
    ],
)
def test_items_are_replaced_as_there(tmp_path, option, value):
    data = {"uri": "/in/a", "uid": "a", "item": value, "kept": value, "nested": {"item": value}}
    told = theirs.replace_mda(Message("/t", "file", dict(data)), {"item": option, "absent": "x"})
    options = chain(tmp_path, f"item = {option}", "absent = x")
    ours = local_message(
        "/t",
        "file",
        data,
        place=Place.parse("file:///out/"),
        local=True,
        about=ABOUT,
        client="c",
        replace=options.replace,
    )
    assert {key: ours.data[key] for key in ("item", "kept", "nested")} == {
        key: told.data[key] for key in ("item", "kept", "nested")
    }
    assert "absent" not in ours.data


@pytest.mark.parametrize("info", ["a=1", "sensor=viirs,cris", "a=b;c=d,e", "a=b; c=d", "a=", "a=,b"])
def test_info_items_are_read_as_there(tmp_path, info):
    file = tmp_path / "server.ini"
    file.write_text(f"[a]\norigin = {tmp_path}/{{n}}.dat\ntopic = /a\nrequest_port = 9092\ninfo = {info}\n")
    (ours,) = load(file).config.chains.values()
    told = their_server._collect_attribute_info({"info": info})
    assert {key: list(v) if isinstance(v, tuple) else v for key, v in ours.info.items()} == told
