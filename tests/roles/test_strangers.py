"""Whatever somebody announces, in whatever shape: no role that hears it fails, and honest files go on."""

import asyncio
import datetime as dt
import random
from pathlib import Path
from typing import Any

import pytest
from rig import TOPIC, Running, rig, until

from tranship.config.dispatcher import DispatcherConfig
from tranship.config.fetch import FetchConfig
from tranship.config.server import ServerConfig
from tranship.core.journey import Step
from tranship.roles.dispatcher import dispatcher
from tranship.roles.fetch import fetch
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, Unsendable, compose

SPEAKER = "127.0.0.1:700"

DEEP: Any = []
for _ in range(90):
    DEEP = [DEEP]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 5, 1 << 63, 10**400, 1e308, float("nan"), float("inf"), "", ".", "..", "/", "a/b",
    "/etc/passwd", "../../x", "%2e%2e/x", "~", "~root", "-rf", "x\0y", "x\ny", "x\r\nDELE y", "\ud800", "\u202e",
    "{x}", "{x.__class__}", "{0}", "%s%n", "{x:>1000000000}", "file:///etc/passwd", "sftp://u:p@127.0.0.1:1/x", "http://[",
    "zip://m::file:///etc/x.zip", "::1", "x" * 300, "y" * 60_000, "2020-01-01", "0001-01-01T00:00:00",
    "9999-12-31T23:59:59.999999", "2020-01-01T00:00:00+23:59", [], [[]], {}, DEEP, [1] * 2000,
    {"uri": "/x/y"}, [{"uri": "/x/y", "uid": "y"}] * 50, {"a": {"uri": 7, "uid": None}}, dt.datetime(1, 1, 1),
    "127.0.0.1:701", "127.0.0.1:0", "host:1:2", "[::1]:9", "169.254.169.254:80",
)  # fmt: skip
"""What may stand anywhere."""

KEYS = (
    "uri", "uid", "path", "request_address", "destination", "backup_targets", "origin", "filesystem", "dataset",
    "collection", "tranship", "server", "seq", "size", "mtime", "checksum", "resent", "client", "lease", "spare_of",
    "of", "lat", "time", "word", "list", "kind", "heads", "life", "min_interval", "topic", "id",
)  # fmt: skip
KINDS = ("file", "dataset", "collection", "push", "ack", "beat", "del", "info", "x")
FACTS = {
    "v": 1,
    "server": "s",
    "seq": 1,
    "size": 3,
    "mtime": 1,
    "checksum": "sha256:00",
    "client": "c",
    "lease": 1,
}


def good(number: int, path: Path) -> dict[str, Any]:
    address = {"uri": str(path), "uid": path.name, "request_address": "127.0.0.1:701"}
    fields = {"lat": 5.5, "time": dt.datetime(2026, 1, 1), "word": "w", "list": ["a"], "kind": "k"}
    return {**address, **fields, "tranship": {**FACTS, "seq": number}}


def spoiled(data: Any, chance: random.Random) -> Any:
    """Data with something odd in it, somewhere."""
    match chance.randrange(6):
        case 0 if isinstance(data, dict):
            return {**data, chance.choice(KEYS): chance.choice(ODD)}
        case 1 if isinstance(data, dict) and data:
            key = chance.choice(list(data))
            return {**data, key: spoiled(data[key], chance)}
        case 2 if isinstance(data, dict) and data:
            gone = chance.choice(list(data))
            return {key: value for key, value in data.items() if key != gone}
        case 3:
            return {"dataset": [data, chance.choice(ODD)], "request_address": "127.0.0.1:701"}
        case 4:
            return {"collection": [{"dataset": [data]}, spoiled({}, chance)], "request_address": SPEAKER}
    if isinstance(data, dict) and data:
        return {**data, chance.choice(list(data)): chance.choice(ODD)}
    return chance.choice(ODD)


def messages(seed: int, count: int, path: Path) -> list[Message]:
    chance = random.Random(seed)
    found: list[Message] = []
    while len(found) < count:
        data: Any = good(chance.randrange(1, 50), path)
        for _ in range(chance.choice((1, 1, 2, 4))):
            data = spoiled(data, chance)
        try:
            found.append(compose(TOPIC, chance.choice(KINDS), data))
        except (Unsendable, UnicodeEncodeError):
            continue
    return found


FILLED = "{kind}/{lat:05.1f}/{time:%Y}/{time.year}/{word!u}/{list[0]}"


@pytest.mark.parametrize("seed", range(4))
def test_no_stranger_harms_anybody(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus = MemoryBus(site.network)
            speaker, asked = bus.publisher(f"tcp://{SPEAKER}", "speaker"), bus.answerer("tcp://127.0.0.1:701")
            moving = {"providers": [SPEAKER], "publish_topic": "/told/{word!u}"}
            sent, fetched = site.outgoing / "sent", site.outgoing / "fetched"
            both = [SPEAKER, "127.0.0.1:100"]
            quick: dict[str, Any] = {"transfer_req_timeout": "300 ms", "req_timeout": "100 ms"}
            reach = {"allow": [f"file://{site.incoming}/**"]}
            listen = {"origin": None, "listen": {"addresses": [SPEAKER], "topics": ["/"], **reach}}
            listening = site.server_config(2, **listen)
            disp = {"role": "dispatcher", "journal": str(tmp_path / "d.journal"), "publish": {"port": 1003}}
            fetching = {"role": "fetch", "journal": str(tmp_path / "f.journal"), "publish": {"port": 1004}}
            roles: list[Running] = [
                await site.client(
                    1, providers=both, destination=f"file://{site.outgoing}/{FILLED}/", **quick
                ),
                await site.client(2, providers=both, **quick),
                await site.mirror(providers=both, **quick),
                await site.serve(ServerConfig.model_validate(listening)),
                await site.moving(
                    DispatcherConfig.model_validate(
                        {
                            **disp,
                            "chains": {
                                "c": {
                                    **moving,
                                    **reach,
                                    "directory": f"{sent}/{FILLED}",
                                    "routes": [{"topics": ["/"]}],
                                }
                            },
                        }
                    ),
                    dispatcher,
                ),
                await site.moving(
                    FetchConfig.model_validate(
                        {
                            **fetching,
                            "chains": {
                                "c": {
                                    **moving,
                                    "directory": f"{fetched}/{FILLED}",
                                    "topics": ["/"],
                                    **reach,
                                }
                            },
                        }
                    ),
                    fetch,
                ),
            ]
            server = await site.server()
            answering = asyncio.create_task(nothing_but_nonsense(asked, seed))
            named = site.drop("named.txt")
            for message in messages(seed, 600, named):
                speaker.tell([message])
                await asyncio.sleep(0)
            site.drop("honest.dat")
            last = site.drop("last.txt")
            plain = {key: value for key, value in good(1, last).items() if key != "request_address"}
            speaker.tell([compose(TOPIC, "file", {**plain, "tranship": {}})])
            arrived = ("sent", "fetched")
            await until(
                lambda: (
                    [m for m in site.published if m.data.get("uid") == "honest.dat"]
                    and all(list((site.outgoing / folder).rglob("last.txt")) for folder in arrived)
                    and [m for m in site.heard if "last.txt" in str(m.data) and ":201" in str(m.data)]
                ),
                "honest files go on",
                60,
            )
            failed = [
                (part.name, part.trouble)
                for running in (*roles, server)
                for part in running.health.report(0).parts
                if "Error" in part.trouble or "Exception" in part.trouble
            ]
            assert failed == []
            told = (Step.REFUSED, Step.FAILED, Step.SKIPPED)
            assert [any(running.story.of(step) for step in told) for running in roles] == [True] * 6
            answering.cancel()

    asyncio.run(main())
    places = [tmp_path / name for name in ("in", "out", "copies")]
    strays = [p for p in tmp_path.rglob("*") if p.is_file() and "journal" not in p.name]
    assert all(any(p.is_relative_to(place) for place in places) for p in strays)


async def nothing_but_nonsense(answerer: Any, seed: int) -> None:
    chance = random.Random(seed)
    while True:
        for question in await answerer.asked():
            data = spoiled({"tranship": {"id": question.message.ticket}, "messages": []}, chance)
            if isinstance(data, dict):
                data["tranship"] = {"id": question.message.ticket}
            try:
                answer = compose(TOPIC, chance.choice((*KINDS, "replay", "err")), data)
            except (Unsendable, UnicodeEncodeError):
                continue
            answerer.answer(question, answer)
