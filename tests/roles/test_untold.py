"""What no message can tell of, as it would be too long: it fails, with a reason and a way out, and is kept."""

import asyncio
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig import TOPIC, Rig, Running, rig, until

from tranship.config.dispatcher import DispatcherConfig
from tranship.config.fetch import FetchConfig
from tranship.config.move import MoveConfig
from tranship.core.journey import Step
from tranship.journal import debts
from tranship.roles.dispatcher import dispatcher
from tranship.roles.fetch import fetch
from tranship.roles.move import move
from tranship.wire.contract import LONGEST_TOLD, MAX_MESSAGE
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import compose

MEMBERS = 2500


def of_many_files() -> bytes:
    """An archive of so many files that no message can name them all."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for number in range(MEMBERS):
            packed.addfile(tarfile.TarInfo(f"{number:0240d}"), io.BytesIO())
    return out.getvalue()


def of_few_files() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name in ("a", "b"):
            packed.addfile(tarfile.TarInfo(name), io.BytesIO())
    return out.getvalue()


async def is_listed(running: Running, name: str) -> None:
    """The one thing that failed is name's, and `tranship failed` says what to do."""
    await until(lambda: running.story.of(Step.FAILED), "given up")
    [(_, facts)] = running.story.of(Step.FAILED)
    assert str(LONGEST_TOLD) in str(facts["reason"])
    assert "nobody was told" in str(facts["reason"])
    assert "`tranship retry`" in str(facts["reason"])
    assert not running.story.of(Step.PUBLISHED)
    listed = await until(lambda: debts.debts(running.journal.path)[0], "listed")
    [(file, reason, state)] = [(debt.file, debt.reason, debt.state) for debt in listed]
    assert state == "given up"
    assert file.endswith(name)
    assert reason == facts["reason"]


def test_a_client_keeps_what_it_could_tell_nobody_of(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server(origin=f"{site.incoming}/{{name}}.tar")
            client = await site.client(unpack={"format": "tar", "delete": True})
            site.drop("many.tar", of_many_files())
            await is_listed(client, "many.tar")
            assert (site.outgoing / "many.tar").exists()  # to be unpacked again
            site.drop("few.tar", of_few_files())
            await until(lambda: [m.data["name"] for m in site.published] == ["few"], "still serving")
            await client.stop()
            client = await site.client(unpack={"format": "tar", "delete": True})
            site.drop("again.tar", of_few_files())
            await until(lambda: [m.data["name"] for m in site.published] == ["few", "again"], "as ever")

    asyncio.run(main())


def test_a_mover_keeps_what_it_could_tell_nobody_of(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            chain = {
                "origin": f"{site.incoming}/{{name}}.tar",
                "destinations": [f"{site.outgoing}/"],
                "topic": TOPIC,
                "unpack": {"format": "tar"},
                "delete": True,
            }
            running = await site.moving(config_of(site, "move", MoveConfig, chain), move)
            many = site.drop("many.tar", of_many_files())
            await is_listed(running, "many.tar")
            few = site.drop("few.tar", of_few_files())
            await until(lambda: not few.exists(), "still serving")
            assert [m.data["name"] for m in site.published] == ["few"]
            assert many.exists()

    asyncio.run(main())


HEARS: list[tuple[str, Any, Any, dict[str, Any]]] = [
    ("dispatcher", DispatcherConfig, dispatcher, {"publish_topic": TOPIC, "routes": [{"topics": ["/a"]}]}),
    ("fetch", FetchConfig, fetch, {"publish_topic": TOPIC, "topics": ["/a"]}),
]


@pytest.mark.parametrize(("role", "config", "make", "options"), HEARS, ids=["dispatcher", "fetch"])
def test_who_hears_keeps_what_it_could_tell_nobody_of(
    tmp_path: Path, role: str, config: Any, make: Callable[..., Any], options: dict[str, Any]
) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            publisher = MemoryBus(site.network).publisher("tcp://127.0.0.1:400", "somebody")
            chain = {"providers": ["127.0.0.1:400"], "directory": str(site.outgoing), **options}
            chain |= {"allow": [f"file://{site.incoming}/**"]}
            running = await site.moving(config_of(site, role, config, chain), make)

            def say(name: str, **items: str) -> None:
                path = site.drop(name)
                publisher.tell([compose("/a", "file", {"uri": str(path), "uid": name, **items})])

            say("long.dat", note="x" * (MAX_MESSAGE - 1000))
            await is_listed(running, "long.dat")
            assert (site.outgoing / "long.dat").exists()
            say("short.dat")
            await until(lambda: [m.data["uid"] for m in site.published] == ["short.dat"], "still serving")

    asyncio.run(main())


def test_a_server_says_what_it_could_announce_to_nobody_and_no_number_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            unpack = {"format": "tar", "directory": str(tmp_path / "work")}
            server = await site.server(origin=f"{site.incoming}/{{name}}.tar", unpack=unpack)
            client = await site.client()
            site.drop("many.tar", of_many_files())
            await until(lambda: server.story.of(Step.FAILED), "given up")
            [(file, facts)] = server.story.of(Step.FAILED)
            assert file.endswith("many.tar")
            assert str(LONGEST_TOLD) in str(facts["reason"])
            await until(lambda: not [p for p in (tmp_path / "work").rglob("*") if p.is_file()], "swept")
            site.drop("few.tar", of_few_files())
            await until(lambda: site.published, "still serving")
            [message] = [m for m in site.heard if m.type == "dataset" and "request_address" in m.data]
            assert message.data["tranship"]["seq"] == 1
            assert not client.story.of(Step.FAILED)

    asyncio.run(main())


def test_what_is_heard_and_can_be_announced_by_nobody_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            mirror = await site.mirror(providers=["127.0.0.1:400"])
            publisher = MemoryBus(site.network).publisher("tcp://127.0.0.1:400", "somebody")
            items = {"uri": "/in/a.dat", "uid": "a.dat", "request_address": "127.0.0.1:401"}
            publisher.tell([compose(TOPIC, "file", {**items, "note": "x" * (MAX_MESSAGE - 1000)})])
            await until(lambda: mirror.story.of(Step.REFUSED), "refused")
            [(_, facts)] = mirror.story.of(Step.REFUSED)
            assert str(LONGEST_TOLD) in str(facts["reason"])

    asyncio.run(main())


def config_of(site: Rig, role: str, config: Any, chain: dict[str, Any]) -> Any:
    journal = str(site.folder / f"{role}.journal")
    return config.model_validate(
        {"role": role, "journal": journal, "publish": {"port": 1001}, "chains": {"c": chain}}
    )
