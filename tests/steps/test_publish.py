"""What downstream is told: where it lies now, whence it came, and the same id whoever says it."""

from typing import Any

import pytest

from tranship.core.handover import Matter
from tranship.steps.publish import local_message, named, uri_at
from tranship_movers.place import Place

ABOUT = Matter("identity", "server", "/in/a.dat")
DATA: dict[str, Any] = {
    "uri": "/in/a.dat",
    "uid": "a.dat",
    "request_address": "host:9094",
    "sensor": "seviri",
    "tranship": {"v": 1, "server": "s", "seq": 4, "size": 3, "mtime": 5, "checksum": "x:1"},
}


def told(data: dict[str, Any], place: str = "file:///out/", **more: Any) -> Any:
    options: dict[str, Any] = {"local": True, "about": ABOUT, "client": "me", "replace": {}, **more}
    return local_message("/t", "file", data, place=Place.parse(place), **options)


@pytest.mark.parametrize(
    ("place", "folder", "local", "uri"),
    [
        ("file:///out/", "", True, "/out/a.dat"),
        ("file:///out/", "deep/er", True, "/out/deep/er/a.dat"),
        ("file:///out/new.dat", "", True, "/out/new.dat"),
        ("file:///out/new.dat", "deep", True, "/out/new.dat/deep/a.dat"),
        ("sftp://host/out/", "", False, "sftp://host/out/a.dat"),
        ("sftp://anna@host/out/", "", False, "sftp://anna@host/out/a.dat"),
        ("sftp://anna:secret@host:2222/out/", "", False, "sftp://anna@host:2222/out/a.dat"),
        ("sftp://anna:secret@host/out/", "", True, "/out/a.dat"),
    ],
)
def test_where_it_lies(place: str, folder: str, local: bool, uri: str) -> None:
    assert uri_at(Place.parse(place), folder, "a.dat", local=local) == uri


def test_it_tells_whence_and_not_how_it_was_asked_for() -> None:
    message = told({**DATA, "destination": "file:///out/", "backup_targets": ["b"]})
    assert (message.subject, message.type) == ("/t", "file")
    assert message.data["origin"] == "host:9094"
    assert message.data["sensor"] == "seviri"
    assert not message.data.keys() & {"request_address", "destination", "backup_targets"}


def test_of_the_server_s_facts_only_those_of_the_bytes_are_passed_on() -> None:
    facts = told(DATA).data["tranship"]
    assert facts == {
        "v": 1,
        "size": 3,
        "checksum": "x:1",
        "id": named(ABOUT),
        "client": "me",
        "of": {"identity": "identity", "server": "server", "path": "/in/a.dat"},
    }


def test_the_id_is_the_same_whoever_says_it_and_another_for_a_namesake() -> None:
    ids = {told(DATA, client=client).data["tranship"]["id"] for client in ("me", "spare")}
    assert len(ids) == 1
    assert named(Matter("identity", "other server", "/in/b.dat")) in ids
    assert named(Matter("identity", "server", "/elsewhere/a.dat")) not in ids
    assert named(Matter("other", "server", "/in/a.dat")) not in ids


@pytest.mark.parametrize(
    ("replace", "sensor"),
    [
        ({"sensor": "abi"}, "abi"),
        ({"sensor": {"seviri": "abi"}}, "abi"),
        ({"sensor": {"avhrr": "abi"}}, "seviri"),
        ({"other": "abi"}, "seviri"),
        ({"sensor": 7}, 7),
    ],
)
def test_metadata_are_replaced(replace: dict[str, Any], sensor: object) -> None:
    assert told(DATA, replace=replace).data["sensor"] == sensor


def test_every_file_of_a_dataset_is_told_where_it_lies() -> None:
    parts = [{"uri": f"/in/{name}", "uid": name, "path": "sub"} for name in ("a", "b")]
    message = told({"dataset": parts, "request_address": "host:1"})
    assert [part["uri"] for part in message.data["dataset"]] == ["/out/sub/a", "/out/sub/b"]


@pytest.mark.parametrize(
    ("names", "kind", "uris"),
    [
        (["x.nc"], "file", ["/out/x.nc"]),
        (["sub/x.nc", "y.nc"], "dataset", ["/out/sub/x.nc", "/out/y.nc"]),
    ],
)
def test_what_was_packed_is_told_as_what_came_out(names: list[str], kind: str, uris: list[str]) -> None:
    message = told(DATA, unpacked={"/out/a.dat": names})
    assert message.type == kind
    parts = message.data.get("dataset", [message.data])
    assert [part["uri"] for part in parts] == uris
    assert "size" not in message.data["tranship"]
    assert message.data["sensor"] == "seviri"
