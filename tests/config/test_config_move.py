"""A mover's files: ours, and the INI files of move_it as they are."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from posttroll.message import Message
from trollmoves.move_it import process_notify

from tranship.config import ConfigError, Loaded, Overrides, Watch, load, taken_on_trust
from tranship.config.load import convert
from tranship.config.unpack import Unpack

INI = """[hrit]
origin = /in/H-000-{series:_<6s}-__
destinations = /out ftp://anna:planted@archive.example/in file:///other/
topic = /1b/hrit
info = sensors=seviri;stream=a,b
delete = True
connection_uptime = 30
compression = False
prog = /usr/bin/decompress
publish_port =
"""
OURS: dict[str, Any] = {
    "role": "move",
    "chains": {
        "c": {"origin": "/in/{name}.dat", "destinations": ["/out", "sftp://h.example/in/"], "topic": "/a"}
    },
}


def loaded(tmp_path: Path, text: str, **overrides: Any) -> Loaded[Any]:
    file = tmp_path / "it.conf"
    file.write_text(text)
    file.chmod(0o600)
    return load(file, overrides=Overrides(**overrides), folders=taken_on_trust)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, text)
    return [str(finding).split("it.conf")[1] for finding in refused.value.findings]


def with_(**options: Any) -> str:
    return yaml.safe_dump({**OURS, "chains": {"c": {**OURS["chains"]["c"], **options}}})


def test_move_its_file(tmp_path: Path) -> None:
    told = loaded(tmp_path, INI, publish_port=9050, watch=Watch.POLL)
    config = told.config
    assert (config.role, config.name, config.publish.address) == ("move", "move_it", "tcp://*:9050")
    chain = config.chains["hrit"]
    assert [each.url for each in chain.destinations] == [
        "file:///out/",
        "ftp://archive.example/in/",
        "file:///other/",
    ]
    logins = [each.login.get_secret_value() if each.login else None for each in chain.destinations]
    assert logins == [None, "anna:planted", None]
    assert chain.info == {"sensors": "seviri", "stream": ["a", "b"]} or chain.info["stream"] == ("a", "b")
    assert (chain.topic, chain.delete, chain.watch) == ("/1b/hrit", True, Watch.POLL)
    assert [(w.key, w.problem) for w in told.warnings] == [
        ("", "publishes on port 9050 of all interfaces, as INI files always did"),
        ("[hrit] prog", "does nothing without `compression`"),
        ("[hrit] publish_port", "is not read"),
    ]
    assert "planted" not in repr(told)
    assert loaded(tmp_path, INI).config.publish is None


def test_move_its_file_as_yaml_means_the_same(tmp_path: Path) -> None:
    same = loaded(tmp_path, INI).config
    assert loaded(tmp_path, convert(tmp_path / "it.conf")).config.chains == same.chains


def test_its_compression_unpacks_and_its_delete_waits_for_every_destination(tmp_path: Path) -> None:
    text = INI.replace("compression = False", "compression = xrit") + "working_directory = /work\n"
    told = loaded(tmp_path, text, backlog=False)
    chain = told.config.chains["hrit"]
    assert chain.unpack == Unpack(format="xrit", command="/usr/bin/decompress", directory="/work")
    assert (chain.delete, chain.backlog) == (True, False)
    assert [w.key for w in told.warnings] == ["[hrit] publish_port"]
    assert loaded(tmp_path, convert(tmp_path / "it.conf")).config.chains["hrit"].unpack == chain.unpack
    bare = loaded(
        tmp_path, INI.replace("compression = False\nprog = /usr/bin/decompress", "compression = bzip")
    )
    assert bare.config.chains["hrit"].unpack.plan.folder == tempfile.gettempdir()  # as there


def test_without_messages_there_need_be_no_topic(tmp_path: Path) -> None:
    text = INI.replace("topic = /1b/hrit\n", "")
    assert loaded(tmp_path, text).config.chains["hrit"].topic is None
    with pytest.raises(ConfigError, match=r":1: \[hrit\] topic: is missing, and what is moved"):
        loaded(tmp_path, text, publish_port=9050)


def test_relative_paths_are_seen_from_where_it_is_started(tmp_path: Path) -> None:
    text = INI.replace("origin = /in/", "origin = in/").replace("= /out ", "= out ")
    chain = loaded(tmp_path, text).config.chains["hrit"]
    assert chain.origin.startswith(f"{Path.cwd()}/in/")
    assert chain.destinations[0].url == f"file://{Path.cwd()}/out/"


def test_a_listening_section_moves_nothing_there_either(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "a.dat").touch()
    message = Message("/x", "file", {"uri": f"{tmp_path}/a.dat", "uid": "a.dat"})
    process_notify(message, None, {"destinations": f"file://{tmp_path}/out/", "delete": False})
    assert list((tmp_path / "out").iterdir()) == []


def test_ours(tmp_path: Path) -> None:
    chain = loaded(tmp_path, yaml.safe_dump(OURS)).config.chains["c"]
    assert [each.url for each in chain.destinations] == ["file:///out/", "sftp://h.example/in/"]
    assert not chain.delete
    one = loaded(tmp_path, with_(destinations={"url": "ftp://h/in", "login": "u:planted"})).config.chains["c"]
    assert one.destinations[0].login.get_secret_value() == "u:planted"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            INI.replace("compression = False", "compression = gzip"),
            ":8: [hrit] compression: 'gzip' does not fit",
        ),
        (
            with_(unpack={"format": "tar", "directory": "/in/work"}),
            "unpack.directory: lies in what is watched",
        ),
        (
            with_(unpack={"format": "tar", "delete": "yes"}),
            "unpack.delete: does nothing here; the chain has a",
        ),
        (INI + "listen = /a\n", ":11: [hrit] listen: is not done by `tranship move`"),
        (
            yaml.safe_dump({**OURS, "publish": 9050}).replace("topic: /a", ""),
            "topic: is missing, and what is moved",
        ),
        (yaml.safe_dump({**OURS, "replay": 9051}), ": replay: does nothing here, as nothing is published"),
        (
            yaml.safe_dump({**OURS, "publish": 9050, "replay": 9050}),
            ": replay.port: port 9050 is taken already, for publishing",
        ),
        (with_(destinations=["/in"]), ": chains.c.destinations: is a folder whose files `origin` takes"),
        (with_(destinations=["/out", "/out/"]), ": chains.c.destinations: names a folder twice"),
        (with_(destinations=["/out/{name}/"]), "holds a field, and is to be one folder"),
        (with_(destinations=["gopher://h/in/"]), "no mover speaks `gopher`"),
        (with_(destinations=["ftp://u:planted@h/in/"]), "holds credentials; put them into `login`"),
        (with_(destinations=[]), "does not fit; give a list of folders' URLs"),
    ],
)
def test_refused(tmp_path: Path, text: str, line: str) -> None:
    found = problems(tmp_path, text)
    assert any(line in each for each in found), found
    assert "planted" not in "".join(found)
