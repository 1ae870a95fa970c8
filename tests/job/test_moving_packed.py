"""move_it.py of Trollmoves and ours, from the same INI file: packed files are unpacked and moved alike.

Theirs tells nobody of what it has unpacked: it looks for the result's name in `origin`. Ours does.
Beside it what only ours does: archives of several files, refusals, and a crash in the middle.
"""

import bz2
import io
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from posttroll.message import Message as Theirs

from stage import Ear, Process, Site, free_port, wait_for
from tranship.faultpoints import VARIABLE, Point
from tranship.flows.emptying import mark_of
from tranship.flows.uploading import owner_of

PROGRAM = """\
#!/bin/sh
name=$(basename "$1" C_)
rev "$1" > "${name}__"
"""
INI = """\
[bzip]
origin = {folder}/in/bz/{{name}}.bz2
destinations = {folder}/out-a/ file://{folder}/out-b/
compression = bzip
working_directory = {folder}/work
topic = /moved/bzip
info = sensor=seviri
delete = True

[xrit]
origin = {folder}/in/xrit/H-000-{{segment}}-C_
destinations = {folder}/out-a/
compression = xrit
prog = {folder}/decompress
working_directory = {folder}/work
topic = /moved/xrit
"""


def said(ear: Ear, folder: Path) -> list[dict[str, Any]]:
    """What the messages say, as posttroll reads it, without what only ours has and where the site lies."""
    told = []
    for message in ear.of("file"):
        theirs = Theirs(rawstr=message.encode().decode())
        data = {key: str(value) for key, value in theirs.data.items() if key != "tranship"}
        if not data["uid"].startswith("try"):
            told.append({"subject": theirs.subject, **data, "uri": data["uri"].replace(str(folder), "")})
    return sorted(told, key=str)


def prepared(folder: Path) -> Path:
    for name in ("in/bz", "in/xrit", "out-a", "out-b", "work"):
        (folder / name).mkdir(parents=True)
    program = folder / "decompress"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    file = folder / "move_it.ini"
    file.write_text(INI.format(folder=folder))
    return file


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_packed_files_are_moved_as_by_trollmoves_and_told_of(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        done = {}
        for kind in ("trollmoves", "tranship"):
            folder, port = tmp_path / kind, free_port()
            file, ear = prepared(folder), site.ear(port)
            if kind == "tranship":
                site.tranship(kind, "move", str(file), "-p", str(port), XDG_STATE_HOME=str(folder / "state"))
            else:
                script = str(Path(sys.executable).with_name("move_it.py"))
                site.run(kind, [sys.executable, script, str(file), "-p", str(port)])

            def works(folder: Path = folder) -> bool:
                (folder / "in/bz/try.bz2").write_bytes(bz2.compress(b"try"))
                return (folder / "out-b/try").exists()

            wait_for(works, f"a first file by {kind}")
            for n in range(3):
                (folder / f"in/bz/f{n}.bz2").write_bytes(bz2.compress(b"bytes %d" % n))
                (folder / f"in/xrit/H-000-{n}-C_").write_bytes(b"bytes %d" % n)
            wait_for(lambda folder=folder: len(files(folder / "out-a")) == 7, f"all are moved by {kind}")
            wait_for(lambda folder=folder: not list((folder / "in/bz").iterdir()), "packed ones are deleted")
            wait_for(
                lambda folder=folder: not files(folder / "work"), "nothing is left where it was unpacked"
            )
            done[kind] = {name: files(folder / name) for name in ("out-a", "out-b", "in/xrit")}
        assert done["tranship"] == done["trollmoves"]
        assert done["tranship"]["out-b"] == {f"f{n}": b"bytes %d" % n for n in range(3)} | {"try": b"try"}
        assert done["tranship"]["out-a"]["H-000-0-__"] == b"0 setyb"
        wait_for(lambda: len(said(ear, folder)) == 9, "all are told of")
        packed = {"subject": "/moved/bzip", "sensor": "seviri"}
        assert said(ear, folder) == sorted(
            [
                *(
                    {**packed, "name": f"f{n}", "uri": f"/{out}/f{n}", "uid": f"f{n}"}
                    for n in range(3)
                    for out in ("out-a", "out-b")
                ),
                *(
                    {
                        "subject": "/moved/xrit",
                        "segment": str(n),
                        "uri": f"/out-a/H-000-{n}-__",
                        "uid": f"H-000-{n}-__",
                    }
                    for n in range(3)
                ),
            ],
            key=str,
        )


def tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_archives_become_datasets_hostile_ones_stay_and_a_crash_repeats_nothing(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        port, work = free_port(), tmp_path / "work"
        chain = {
            "origin": f"{site.incoming}/{{name}}.tar",
            "destinations": [f"{site.outgoing}/a/", f"{site.outgoing}/b/"],
            "topic": "/moved",
            "unpack": {"format": "tar", "directory": str(work), "members": 3},
            "delete": True,
        }
        journal = str(tmp_path / "move.journal")
        config = {"role": "move", "journal": journal, "publish": port, "chains": {"tar": chain}}
        file, ear = site.write("move.yaml", config), site.ear(port)
        old = site.drop("old.tar", tar(old=b"old"))

        def start(name: str, *flags: str, **environment: str) -> Process:
            process = site.tranship(name, "move", str(file), *flags, **environment)
            wait_for(lambda: [process.said(" ready"), ear.listen()][0], "it is ready")
            return process

        process = start("first", "--disable-backlog", **{VARIABLE: f"{Point.VERIFIED}:1"})
        site.drop("slot.tar", tar(**{"b": b"second", "sub__a": b"first"}))
        wait_for(
            lambda: process.popen.poll() is not None, "it dies with a destination served, and not journaled"
        )
        leavings = Path(tempfile.mkdtemp(prefix=mark_of(owner_of(journal), "tar"), dir=work))
        (leavings / "half").write_bytes(b"half")
        assert old.exists()  # it came before the start

        process = start("second", "--disable-backlog")
        site.drop("evil.tar", tar(**{"..__evil": b"evil"}))
        site.drop("many.tar", tar(**{str(n): b"" for n in range(4)}))
        (site.incoming / "bad.tar").write_bytes(b"no archive")
        process.until(" failed ", 6)
        wait_for(lambda: not (site.incoming / "slot.tar").exists(), "what is everywhere is deleted")
        told = {m.data["dataset"][0]["uri"]: m for m in ear.until(2, "dataset")}
        assert {m.subject for m in told.values()} == {"/moved"}
        for folder in (site.outgoing / "a", site.outgoing / "b"):
            parts = [{"uri": f"{folder}/b", "uid": "b"}, {"uri": f"{folder}/sub/a", "uid": "a"}]
            assert told[f"{folder}/b"].data["dataset"] == parts
            assert "uri" not in told[f"{folder}/b"].data
            assert files(folder) == {"b": b"second", "sub/a": b"first"}
        assert len({m.data["tranship"]["id"] for m in ear.of("dataset")}) == 2  # what repeats has its id
        assert {p.name for p in site.incoming.iterdir()} == {"old.tar", "evil.tar", "many.tar", "bad.tar"}
        assert not (tmp_path / "evil").exists()
        assert not list(work.iterdir())
        process.stop()

        start("third")
        wait_for(lambda: not old.exists(), "without the flag, what came before the start is moved, too")
        assert files(site.outgoing / "a")["old"] == b"old"
