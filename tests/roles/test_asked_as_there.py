"""What a client asks for, and tells of what came, held against the real Trollmoves: host, user, nesting, types."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from posttroll.message import Message as Theirs
from rig import rig, until
from trollmoves import client as theirs

from tranship.config.legacy.building import destination as read
from tranship.core.handover import Matter
from tranship.flows.arrival import is_here, with_user
from tranship.flows.destinations import destination_of
from tranship.steps.publish import local_message
from tranship.steps.request import requests
from tranship.wire.messages import compose
from tranship_movers.place import Place

HERE = socket.gethostname()
DESTINATIONS = (
    "/out/",
    "/out",
    "file:///out/{sensor}/",
    "file://localhost/out/",
    "scp:///out/",
    "scp://localhost/out",
    f"scp://{HERE}/out/",
    "scp://192.0.2.7:2222/out/{start_time:%Y%m%d}/",
    "sftp:///out/",
    "sftp://192.0.2.7/out/",
    "ftp:///out/{sensor}/",
    "ftp://192.0.2.7:2121/out/",
    "s3://bucket/",
    "s3://bucket/msg/{sensor}/",
)
ITEMS: dict[str, Any] = {
    "sensor": "seviri",
    "start_time": "2026-11-22T12:05:00",
    "list": ["a", 1, None, {"deep": "2026-11-22T12:05:00+02:00"}],
    "request_address": "192.0.2.9:9092",
    "other": {"orbit": 3},
}


def item(name: str) -> dict[str, str]:
    return {"uri": f"/in/{name}", "uid": name}


SHAPES: dict[str, dict[str, Any]] = {
    "file": ITEMS | item("a.dat"),
    "dataset": ITEMS | {"dataset": [item("a.dat"), item("b.dat")]},
    "collection": ITEMS
    | {"collection": [{"dataset": [item("a.dat")], "end": 1}, {"dataset": [item("b.dat"), item("c.dat")]}]},
}


@pytest.mark.parametrize("login", ["", "user", "user:password"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("destination", DESTINATIONS)
def test_it_asks_and_tells_as_there(destination: str, shape: str, login: str) -> None:
    if login and destination.startswith("s3:"):
        login = ""  # theirs takes it for a part of the bucket's name
    heard = Theirs(rawstr=str(Theirs("/1b/hrit", shape, SHAPES[shape])))
    said = theirs._compose_destination(destination, heard)
    asked, public = theirs.create_push_req_message(heard, said, login)
    answer = Theirs(rawstr=str(Theirs("/1b/hrit", shape, asked.data)))
    told = theirs.unpack_and_create_local_message(answer, "/out")
    told = theirs._update_local_message(told, said, login, answer, sensor="seviri:SEVIRI|x:y")

    ours = compose("/1b/hrit", shape, SHAPES[shape])
    url, reason = destination_of(ours, read(destination))
    assert not reason
    pair = requests(ours, url, login, {"id": "1"}, {})
    assert differences(pair.private, asked) == {}
    assert differences(pair.public, public) == {}
    assert str(Place.parse(pair.private.fields["destination"])) == str(
        Place.parse(url)
    )  # as our server reads it
    place = Place.parse(url)
    local = local_message(
        "/1b/hrit",
        shape,
        {**ours.data, "request_address": ITEMS["request_address"]},
        place=with_user(place, login),
        local=is_here(place),
        about=Matter("i", "s", "/in"),
        client="c",
        replace={"sensor": {"seviri": "SEVIRI", "x": "y"}},
    )
    assert differences(local, told) == {}


def differences(ours: Any, theirs: Any) -> dict[str, tuple[str, str]]:
    """What the two say differently, item by item."""
    a, b = plain(ours), plain(theirs)
    return {key: (a.get(key, ""), b.get(key, "")) for key in a.keys() | b.keys() if a.get(key) != b.get(key)}


def plain(message: Any) -> dict[str, str]:
    """Subject, type, and items with their types, as posttroll reads them, without what only ours says.

    Theirs names the host of a file destination, which means nothing there.
    """
    wire = message.encode()
    message = Theirs(rawstr=wire.decode() if isinstance(wire, bytes) else wire)
    data = {key: value for key, value in message.data.items() if key != "tranship"}
    url = data.get("destination", "")
    if url.startswith("file://"):
        data["destination"] = "file:///" + url.removeprefix("file://").split("/", 1)[1].rstrip("/")
    elif url.startswith("scp:"):
        data["destination"] = url.rstrip("/")  # a folder in any case
    return {key: repr(value) for key, value in data.items()} | {
        "type": message.type,
        "subject": message.subject,
    }


def test_a_client_names_its_own_host_to_servers(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            await site.client(destination=f"sftp://{tmp_path}/out/")
            site.drop("a.dat")
            await until(lambda: [message for message in site.heard if message.type == "push"], "asked")
            [asked, *_] = [message for message in site.heard if message.type == "push"]
            assert asked.data["destination"] == f"sftp://{HERE}{tmp_path}/out/"

    asyncio.run(main())
