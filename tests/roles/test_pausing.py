"""Places that fail: what is owed there waits, one job probes, everything goes on by itself."""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rig import TOPIC, Rig, Running, Told, rig, until

from servers import ftp
from servers.moody import moody
from tranship.core.clock import SystemClock
from tranship.core.health import Health
from tranship.core.journey import Step
from tranship.core.places import About
from tranship.core.retry import RetryPolicy
from tranship.flows.around import Surroundings
from tranship.flows.outcomes import Failed
from tranship.flows.pausing import Pausing
from tranship.journal import CLIENT_SCHEMA, ClientBook, Job, Journal, NewJob, Retry, Source
from tranship.journal.survey import survey as surveyed
from tranship.journal.survey import trace
from tranship.run.log import LEVELS
from tranship.steps.request import Failure, Reply
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose
from tranship_movers.pool import Pool


async def started(site: Rig, server: ftp.Ftp) -> Running:
    """The client, of a server that moves `<folder>_<name>.dat` to the folder."""
    await site.server(origin=f"{site.incoming}/{{folder}}_{{name}}.dat", allow=["**"])
    client = await site.client(
        destination=f"ftp://127.0.0.1:{server.port}/{{folder}}/",
        login=f"{server.user}:{ftp.PASSWORD}",
        create_target_directory=False,
    )
    await asyncio.sleep(1.1)
    return client


def paused(client: Running) -> list[str]:
    """The paused places that the health tells of, with the reasons."""
    return [f"{part.name}: {part.trouble}" for part in client.health.report(0).parts if part.trouble]


async def rows(client: Running, query: str) -> list[tuple[Any, ...]]:
    return await client.journal.do(lambda db: db.execute(query).fetchall())  # type: ignore[no-any-return]


def test_a_full_folder_pauses_alone_and_goes_on_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        with moody() as (server, mood):
            async with rig(tmp_path) as site:
                mood.is_full = True
                client = await started(site, server)
                for n in range(40):
                    site.drop(f"full_{n:02}.dat")
                [told] = await until(lambda: paused(client), "paused")
                assert "hrit place ftp://127.0.0.1" in told
                assert "/full/ via 127.0.0.1:101: paused: " in told
                assert "Quota" in told or "full" in told.split("paused:")[1]
                waits = "SELECT count(*), max(attempts) FROM jobs WHERE parked<>'' AND state='wanted'"
                while (await rows(client, waits))[0][0] < 40:
                    await asyncio.sleep(0.05)
                assert not client.story.of(Step.RETRIED) + client.story.of(Step.SKIPPED)
                assert len(client.story.of(Step.PAUSED)) >= 40
                assert client.health.done("hrit paused") >= 40
                survey = surveyed(client.journal.path)
                assert survey.rows[0].numbers["of these paused"] == 40
                assert [line for line in survey.reasons if "full" in line] == survey.reasons[:1]
                [*_, step] = trace(client.journal.path, "full_07.dat")
                assert step.step == "paused"
                assert "Quota exceeded" in step.told
                stores = mood.stores
                await until(lambda: mood.stores >= stores + 5, "five probes")
                assert await rows(client, waits) == [(40, 0)]  # waiting uses up no attempt
                site.drop("other_1.dat")
                [other] = await until(lambda: site.published, "the other folder")
                assert other.data["uid"] == "other_1.dat"
                mood.is_full = False
                await until(lambda: len(site.published) == 41, "everything")
                assert (server.folder / "full" / "full_39.dat").read_bytes() == b"content"
                await until(lambda: client.health.report(client.clock.monotonic()).state == "idle", "idle")
                assert await rows(client, "SELECT * FROM places") == []
                assert await rows(client, "SELECT count(*) FROM jobs WHERE parked<>''") == [(0,)]

    asyncio.run(main())
    lines = [(r.levelname, r.getMessage()) for r in caplog.records if " place " in r.getMessage()]
    assert [level for level, _ in lines] == ["WARNING", "INFO"]
    assert "goes on after" in lines[1][1]
    assert LEVELS[Step.PAUSED] == logging.DEBUG


def test_a_place_that_goes_on_while_an_attempt_fails_keeps_nothing_waiting(tmp_path: Path) -> None:
    """What would wait for a place that is paused no more would wait for ever."""
    destination, address = "ftp://archive/in/a.x", "127.0.0.1:101"

    def new(name: str) -> NewJob:
        of_client = ("hrit", name, name, f"/{name}", 1, destination, "s", TOPIC, address, True)
        return NewJob(*of_client, _announced(1).encode(), 0.0, time.time(), 0.0)

    async def main() -> None:
        async with rig(tmp_path) as site:
            journal = Journal.open(tmp_path / "j", CLIENT_SCHEMA)
            book, health = ClientBook(journal), Health()
            around = Surroundings(
                MemoryBus(site.network), Pool(), SystemClock(), Told(), health, RetryPolicy(), lambda *_: None
            )
            resumed = asyncio.Event()
            pausing = Pausing("hrit", book, around, resumed.set)
            await pausing.load(0.0)
            first, late = [job for _, job, _ in await book.want([new("a"), new("b")], [])]

            def fails(job: Job) -> Failed:
                refused = Reply(None, failure=Failure.FATAL, reason="refused", about=About.HOST)
                return Failed(job, job.own_offer, refused)

            assert await pausing.failed([fails(first)]) == []  # it waits for its place
            probed, sources = asyncio.Event(), book.sources

            async def probe(job: Job, offer: Source) -> None:
                await pausing.arrived([(job, offer)])
                probed.set()

            async def meanwhile(jobs: Sequence[int]) -> dict[int, list[Source]]:
                if not probed.is_set() and jobs == [late.id]:
                    running = asyncio.create_task(pausing.run(probe))
                    pausing.look()
                    await until(resumed.is_set, "its place goes on")
                    running.cancel()
                return await sources(jobs)

            book.sources = meanwhile  # type: ignore[method-assign]
            assert [each.job.id for each in await pausing.failed([fails(late)])] == [late.id]
            waits = await journal.do(
                lambda db: db.execute("SELECT count(*) FROM jobs WHERE parked<>''").fetchone()
            )
            assert waits == (0,)
            journal.close()

    asyncio.run(main())


def test_what_never_fits_holds_up_nothing_that_does(tmp_path: Path) -> None:
    async def main() -> None:
        with moody() as (server, mood):
            async with rig(tmp_path) as site:
                mood.is_full, mood.room_for = True, "small.dat"
                client = await started(site, server)
                site.drop("full_0_large.dat")
                await until(lambda: paused(client), "paused")
                for n in range(1, 6):
                    site.drop(f"full_{n}_small.dat")
                await until(lambda: len(site.published) == 5, "what has room")
                assert not (server.folder / "full" / "full_0_large.dat").exists()

    asyncio.run(main())


def test_a_refused_login_pauses_the_host_over_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        with moody() as (server, mood):
            async with rig(tmp_path) as site:
                mood.refuses_login = True
                client = await started(site, server)
                site.drop("full_1.dat")
                site.drop("other_1.dat")
                [told] = await until(lambda: paused(client), "paused")
                assert f"127.0.0.1:{server.port}/ via" in told
                assert ftp.PASSWORD not in told
                await client.kill()
                client = await site.client(
                    destination=f"ftp://127.0.0.1:{server.port}/{{folder}}/",
                    login=f"{server.user}:{ftp.PASSWORD}",
                    create_target_directory=False,
                )
                assert await until(lambda: paused(client), "still paused") == [told]
                mood.refuses_login = False
                await until(lambda: len(site.published) == 2, "both")
                await until(lambda: not paused(client), "no alarm any more")

    asyncio.run(main())


def test_what_waits_too_long_for_a_place_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        with moody() as (server, mood):
            async with rig(tmp_path) as site:
                mood.is_full = True
                client = await started(site, server)
                for n in range(5):
                    site.drop(f"full_{n}.dat")
                await until(lambda: paused(client), "paused")
                client.clock.shift = 3 * 86400.0
                await until(lambda: len(client.story.of(Step.FAILED)) == 5, "given up")
                dead = await rows(client, "SELECT state, reason FROM jobs")
                assert {state for state, _ in dead} == {"dead"}
                assert all("Quota" in reason or "full" in reason for _, reason in dead)
                await until(lambda: not paused(client), "nothing waits there any more")

    asyncio.run(main())


def test_what_another_server_reaches_is_asked_for_there(tmp_path: Path) -> None:
    async def main() -> None:
        with moody() as (server, _):
            async with rig(tmp_path) as site:
                origin = f"{site.incoming}/{{folder}}_{{name}}.dat"
                bad = {"connection_parameters": {"tls": "explicit"}}
                await site.server(1, origin=origin, allow=["**"], **bad)
                await site.server(2, origin=origin, allow=["**"])
                await site.client(
                    providers=["127.0.0.1:100", "127.0.0.1:200"],
                    destination=f"ftp://127.0.0.1:{server.port}/{{folder}}/",
                    login=f"{server.user}:{ftp.PASSWORD}",
                    create_target_directory=False,
                )
                await asyncio.sleep(1.1)
                for n in range(10):
                    site.drop(f"other_{n}.dat")
                await until(lambda: len(site.published) == 10, "by way of the other server")

    asyncio.run(main())


def test_retries_leave_room_for_new_files(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus = MemoryBus(site.network)
            silent = bus.publisher("tcp://127.0.0.1:200", "silent")
            bus.answerer("tcp://127.0.0.1:201")
            client = await site.client(providers=["127.0.0.1:200"])
            silent.tell([_announced(n) for n in range(10)])
            await until(lambda: len(client.story.of(Step.REQUESTED)) == 10, "asked")
            await client.kill()
            await _failed_once(tmp_path / "client1.journal")
            client = await site.client(providers=["127.0.0.1:200"], in_flight=4)
            await until(lambda: len(client.story.of(Step.REQUESTED)) == 3, "as many as there may be")
            silent.tell([_announced(10)])
            *_, (last, _) = await until(lambda: client.story.of(Step.REQUESTED)[3:], "the new one")
            assert last == "/10.x"

    asyncio.run(main())


def _announced(number: int) -> Message:
    facts = {"server": "x", "seq": number + 1, "size": 1, "mtime": 1, "checksum": ""}
    data = {
        "uid": f"{number}.x",
        "uri": f"/{number}.x",
        "request_address": "127.0.0.1:201",
        "tranship": facts,
    }
    return compose(TOPIC, "file", data)


async def _failed_once(journal: Path) -> None:
    opened = Journal.open(journal, CLIENT_SCHEMA)
    numbers = await opened.do(lambda db: [row[0] for row in db.execute("SELECT id FROM jobs")])
    await ClientBook(opened).failed([Retry(number, "cut", "wanted") for number in numbers])
    opened.close()
