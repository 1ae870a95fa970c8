"""A spare beside a primary that says what it does, and falls silent anywhere."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rig import TOPIC, Rig, Running, rig, until

from tranship.core.journey import Step
from tranship.journal.survey import survey
from tranship.wire.contract import Publisher
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose

PRIMARY = "127.0.0.1:1001"
LEASE = 4.0


class Section:
    """A server, its spare client, and a primary of the old kind: all that it does is what the test has it say."""

    def __init__(self, site: Rig, spare: Running, primary: Publisher, options: dict[str, Any]) -> None:
        self.site = site
        self.options = options
        self.spare = spare
        self._primary = primary

    async def announced(self, name: str) -> dict[str, Any]:
        """Drop a file; the data of its announcement."""
        self.site.drop(f"{name}.dat", name.encode())
        [data] = await until(lambda: self._announcements(name), "announced")
        return dict(data)

    def _announcements(self, name: str) -> list[Any]:
        return [
            message.data
            for message in self.site.heard
            if message.type == "file"
            and message.data["uid"] == f"{name}.dat"
            and "request_address" in message.data
        ]

    def say(self, kind: str, data: dict[str, Any]) -> None:
        self._primary.tell([compose(TOPIC, kind, data)])

    def say_it_is_published(self, data: dict[str, Any], **other: Any) -> None:
        told = {key: value for key, value in data.items() if key != "request_address"}
        self.say(
            "file", {**told, "uri": f"/elsewhere/{data['uid']}", "origin": data["request_address"], **other}
        )

    def published(self, name: str) -> list[Message]:
        return [
            m
            for m in self.site.published
            if m.data["uid"] == f"{name}.dat" and "/elsewhere" not in m.data["uri"]
        ]

    def told(self, step: Step, name: str) -> list[dict[str, Any]]:
        return [facts for path, facts in self.spare.story.of(step) if path.endswith(f"/{name}.dat")]


def played(folder: Path, play: Callable[[Section], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with section(folder, **options) as site:
            await play(site)

    asyncio.run(main())


@asynccontextmanager
async def section(folder: Path, **options: Any) -> AsyncIterator[Section]:
    async with rig(folder) as site:
        primary = MemoryBus(site.network).publisher(f"tcp://{PRIMARY}", "move_it_hrit")
        await site.server()
        options = {"processing_delay": "0.3 s", "lease": f"{LEASE} s", **options}
        options["providers"] = ["127.0.0.1:100", PRIMARY]
        spare = await site.client(2, **options)
        await asyncio.sleep(1.1)
        yield Section(site, spare, primary, options)


def test_the_spare_takes_over_wherever_the_primary_falls_silent(tmp_path: Path) -> None:
    async def play(site: Section) -> None:
        silent = await site.announced("silent")  # before its push
        pushed = await site.announced("pushed")
        site.say("push", pushed)
        acked = await site.announced("acked")
        site.say("push", acked)
        site.say("ack", acked)
        done = await site.announced("done")
        site.say("push", done)
        site.say("ack", done)
        site.say_it_is_published(done)
        for data in (silent, pushed, acked):
            name = data["uid"].removesuffix(".dat")
            await until(lambda name=name: site.published(name), f"{name} published by the spare")
        assert [len(site.published(name)) for name in ("silent", "pushed", "acked", "done")] == [1, 1, 1, 0]
        [left] = await until(lambda: site.told(Step.SKIPPED, "done"), "done left to the primary")
        assert not site.told(Step.REQUESTED, "done")
        assert left["reason"] == "published by another client"
        assert [bool(site.told(Step.RETRIED, name)) for name in ("silent", "pushed", "acked")] == [
            False,
            True,
            True,
        ]
        parts = {part.name: part.done for part in site.spare.health.report(0).parts}
        assert (parts["hrit publish"], parts["hrit left to another client"]) == (3, 1)
        journal = site.spare.journal.path
        await until(lambda: survey(journal).rows[0].numbers["delivered"] == 0, "the journal knows all")
        [row] = survey(journal).rows
        assert (row.numbers["published"], row.numbers["published by another"]) == (3, 1)
        assert (parts["hrit taken over"], parts["hrit left to another client"]) == (2, 1)

    played(tmp_path, play)


def test_what_the_primary_said_before_the_announcement_came_counts(tmp_path: Path) -> None:
    async def play(site: Section) -> None:
        await site.spare.kill()  # it comes back, and replays what was announced meanwhile
        data = await site.announced("early")
        site.spare = await site.site.client(2, **site.options)
        site.say("push", data)
        site.say_it_is_published(data)
        await until(lambda: site.told(Step.SKIPPED, "early"), "left to the primary")
        assert not site.published("early")

    played(tmp_path, play)


def test_a_primary_that_unpacks_has_published_under_other_names(tmp_path: Path) -> None:
    async def play(site: Section) -> None:
        data = await site.announced("packed")
        site.say("push", data)
        site.say("ack", data)
        site.say_it_is_published(data, uid="unpacked")
        await until(lambda: site.told(Step.SKIPPED, "packed"), "left to the primary")
        assert not site.told(Step.REQUESTED, "packed")

    played(tmp_path, play)


def test_two_live_clients_that_do_not_hear_each_other_are_judged_by_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            primary = await site.client(1, lease="12 s")
            both = ["127.0.0.1:100", PRIMARY]
            spare = await site.client(2, lease="12 s", processing_delay="5 s", providers=both)
            site.drop("met.dat")
            await until(lambda: spare.story.of(Step.SKIPPED), "the spare has met its primary")
            await spare.kill()
            spare = await site.client(2, lease="12 s", providers=["127.0.0.1:100"])  # deaf
            names = [f"{number}.dat" for number in range(50)]
            for name in names:
                site.drop(name)
            wanted = sorted([*names, "met.dat"])
            await until(lambda: sorted(m.data["uid"] for m in site.published) == wanted, "all published")
            await until(lambda: _ended(primary) >= set(names), "the primary knows of all")
            await until(lambda: _ended(spare) >= set(names), "the spare knows of all")
            told = [path for client in (primary, spare) for path, _ in client.story.of(Step.PUBLISHED)]
            assert sorted(path.rpartition("/")[2] for path in told) == wanted

    asyncio.run(main())


def _ended(client: Running) -> set[str]:
    """The files of which a client knows that they are published."""
    steps = (*client.story.of(Step.PUBLISHED), *client.story.of(Step.SKIPPED))
    return {path.rpartition("/")[2] for path, _ in steps}


def test_a_primary_that_was_frozen_after_its_transfer_asks_again_before_it_publishes(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            primary = await site.client(1, lease="10 s")
            await asyncio.sleep(1.1)
            tell = primary.story.tell

            def time_passes(step: Step, file: str, chain: str, **facts: object) -> None:
                tell(step, file, chain, **facts)
                primary.clock.shift = 60.0  # from the first thing that it does on: it has asked

            primary.story.tell = time_passes  # type: ignore[method-assign]
            site.drop("a.dat")
            await until(lambda: site.published, "published")
            assert len(primary.story.of(Step.REQUESTED)) == 2
            assert len(site.published) == 1

    asyncio.run(main())


def test_what_a_server_died_without_being_told_is_not_published_by_a_primary_that_never_hears(
    tmp_path: Path,
) -> None:
    """Neither server nor spare lives when the primary comes back; what the spare has published it tells later."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            both = ["127.0.0.1:100", PRIMARY]
            spare = await site.client(2, lease="60 s", processing_delay="0.3 s", providers=both)
            primary = await site.client(1, lease="60 s")
            site.drop("met.dat")
            await until(lambda: spare.story.of(Step.SKIPPED), "the spare has met its primary")
            await primary.kill()
            site.drop("a.dat")
            await until(lambda: len(site.published) == 2, "the spare has published")
            await server.kill()
            done = "SELECT 1 FROM jobs WHERE uid='a.dat' AND state='done'"
            await until(lambda: _rows(site, "client2", done), "the spare has nothing to publish again")
            await spare.kill()
            told = "SELECT 1 FROM published WHERE path LIKE '%/a.dat'"
            assert not _rows(site, "server1", told)

            await site.server()
            primary = await site.client(1, lease="60 s")
            waits = "SELECT 1 FROM jobs WHERE uid='a.dat' AND due > wanted + 10"
            await until(lambda: _rows(site, "client1", waits), "the primary is told to wait")
            await site.client(2, lease="60 s", processing_delay="0.3 s", providers=both)
            await until(lambda: _rows(site, "server1", told), "the server is told")
            await until(lambda: not _rows(site, "client2", "SELECT 1 FROM untold"), "which the spare notes")
            assert len(site.published) == 2

    asyncio.run(main())


def _rows(site: Rig, journal: str, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(site.folder / f"{journal}.journal")) as db:
        return db.execute(query).fetchall()
