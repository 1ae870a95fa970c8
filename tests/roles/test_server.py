"""The server's promises, one fault each."""

import asyncio
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rig import TOPIC, Rig, rig, until

from tranship.config.server import ServerConfig
from tranship.core.journey import Step
from tranship.core.values import Sighting
from tranship.flows import flights
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose


async def asked(site: Rig, *requests: Message, patience: float = 10.0) -> list[Message | None]:
    """The answers to requests, in their order."""
    bus = MemoryBus(site.network)
    asker = bus.asker("tcp://127.0.0.1:101", many=True)
    for request in requests:
        asker.ask(request, request.ticket or "", patience)
    answers: dict[str, Message | None] = {}
    while len(answers) < len(requests):
        answers |= {answer.ticket: answer.message for answer in await asker.answered()}
    bus.close()
    return [answers[request.ticket or ""] for request in requests]


def request(kind: str, ticket: str, **data: Any) -> Message:
    facts = data.pop("tranship", {})
    return compose(TOPIC, kind, {**data, "tranship": {**facts, "id": ticket}})


def test_links_that_lead_nowhere_hold_up_no_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            (site.incoming / "loop.dat").symlink_to("loop.dat")
            (site.incoming / "dead.dat").symlink_to("nothing")
            (path := site.drop("a.dat")).touch()
            os.utime(path, (1e9, 1e9))
            server = await site.server()
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")

    asyncio.run(main())


def test_a_folder_that_vanishes_disturbs_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(origin=f"{site.incoming}/{{day}}/{{name}}.dat")
            for n in range(50):
                (site.incoming / f"gone{n}").mkdir()
                (site.incoming / f"gone{n}").rmdir()
            (site.incoming / "day").mkdir()
            (site.incoming / "day" / "a.dat").write_bytes(b"content")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            assert not [part for part in server.health.report(0).parts if part.trouble]

    asyncio.run(main())


ODD = [
    request("push", "1", uri="/in/a\udcff.dat", uid="a", destination="file:///out/"),
    request("push", "2", uri="/in/a.dat", uid="a", destination="file:///out/\ud800/"),
    request("push", "3", uri="/in/a.dat", uid="a", path="\ud800", destination="file:///out/"),
    request("push", "4", uri="/in/a.dat", uid="a", destination="file:///out/", tranship={"seq": 10**30}),
    request("ack", "5", uri="/in/a\ud800.dat", uid="a"),
    request("ack", "6", uri="/in/a.dat", uid="a", tranship={"seq": 10**30, "size": 10**30}),
    request("replay", "7", since={"seq": 10**30}, limit=5),
    request("replay", "8", since={"time": 10**400}, limit=5),
    request("replay", "9", since={"time": float("nan")}, limit=5),
    request("replay", "10", since={"seq": 0}, limit=10**30),
    request("info", "11", max_count=10**30),
    request("push", "12", uri="/in/a.dat", uid="a", destination="file:///out/", backup_targets=["a:99999"]),
    request("push", "13", uri="http://[", uid="a", destination="file:///out/"),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.ticket)
def test_no_request_harms_the_chain(tmp_path: Path, odd: Message) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=["**"])
            answers = await asked(site, odd, request("ping", "last"))
            assert [answer and answer.type for answer in answers][1:] == ["pong"]
            assert not [part for part in server.health.report(0).parts if part.trouble]

    asyncio.run(main())


def test_a_chain_that_cannot_start_holds_up_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            MemoryBus(site.network).answerer("tcp://127.0.0.1:102")  # somebody has that port
            config = site.server_config()
            config["chains"]["other"] = {**config["chains"]["hrit"], "request": {"port": 102}}
            server = await site.serve(ServerConfig.model_validate(config))
            site.drop("a.dat")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")

    asyncio.run(main())


def test_a_clock_that_is_put_back_has_nothing_announced_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(watch="poll", poll_interval="50 ms", settle={"stable": "50 ms"})
            path = site.drop("a.dat", b"old")
            await until(lambda: len(server.story.of(Step.ANNOUNCED)) == 1, "announced")
            server.clock.shift = -86400
            path.write_bytes(b"newer")
            await until(lambda: len(server.story.of(Step.ANNOUNCED)) == 2, "announced anew")
            site.drop("b.dat", b"later")
            await until(lambda: [f for f, _ in server.story.of(Step.ANNOUNCED) if "b.dat" in f], "the next")
            assert len(server.story.of(Step.ANNOUNCED)) == 3

    asyncio.run(main())


def test_an_acknowledged_version_does_not_cost_the_next_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(delete=True, remove_delay="0 s")
            path = site.drop("a.dat", b"old")
            first = await until(lambda: [m for m in site.heard if m.type == "file"], "announced")
            path.write_bytes(b"newer")
            await until(lambda: len(server.story.of(Step.ANNOUNCED)) == 2, "announced anew")
            facts = first[0].data["tranship"]
            await asked(site, request("ack", "1", uri=str(path), uid="a.dat", tranship=facts))
            await asyncio.sleep(1.2)  # deletions are looked at every second
            assert path.read_bytes() == b"newer"

    asyncio.run(main())


def test_a_clock_that_was_put_back_puts_no_deletion_off(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(delete=True, remove_delay="100 s")
            path = site.drop("a.dat", b"1")
            first = await until(lambda: [m for m in site.heard if m.type == "file"], "announced")
            facts = first[0].data["tranship"]
            await asked(site, request("ack", "1", uri=str(path), uid="a.dat", tranship=facts))
            server.clock.shift = -86400

            def due() -> list[float]:
                with closing(sqlite3.connect(server.journal.path)) as db:
                    rows = db.execute("SELECT due FROM deletions").fetchall()
                return [row[0] for row in rows if row[0] < server.clock.now() + 101]

            await until(due, "due 100 s from now, not from tomorrow")
            assert path.exists()
            server.clock.shift += 101
            await until(lambda: not path.exists(), "deleted")

    asyncio.run(main())


def test_a_new_version_is_not_taken_for_the_one_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            path = site.drop("a.dat", b"old")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            chain = next(iter(server.role._chains))
            gate = asyncio.Event()
            move = chain._delivery.__class__.__call__
            started: list[bytes] = []

            def held(self: Any, moves: Any, progress: Any) -> Any:
                started.append(path.read_bytes())
                if len(started) == 1:
                    asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(10)
                return move(self, moves, progress)

            loop = asyncio.get_running_loop()
            kind = chain._delivery.__class__
            kind.__call__ = held
            try:
                place = f"file://{site.outgoing}/"
                first = asyncio.create_task(
                    asked(site, request("push", "1", uri=str(path), destination=place))
                )
                await until(lambda: started, "moving")
                path.write_bytes(b"newer")
                await until(lambda: len(server.story.of(Step.ANNOUNCED)) == 2, "announced anew")
                second = asyncio.create_task(
                    asked(site, request("push", "2", uri=str(path), destination=place))
                )
                await until(lambda: len(started) == 2 or second.done(), "the second")
                [answer] = await second
                gate.set()
                assert answer is not None
                assert answer.type == "file", answer.data
                assert (site.outgoing / "a.dat").read_bytes() == b"newer"
                [answer] = await first
                assert answer is not None
                assert answer.type == "err"
            finally:
                gate.set()
                kind.__call__ = move

    asyncio.run(main())


def test_a_large_file_that_is_noticed_twice_is_announced_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            path = site.drop("a.dat", bytes(64 << 20))  # nothing is announced in the first second
            facts = path.stat()
            [chain] = server.role._chains
            chain._reception._line_up([Sighting(str(path), facts.st_size, facts.st_mtime_ns, 0.0)] * 2)
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            await until(lambda: not len(chain._reception._large), "nothing waits")
            site.drop("b.dat", bytes(64 << 20))
            await until(lambda: len({f for f, _ in server.story.of(Step.ANNOUNCED)}) == 2, "the next")
            assert len(server.story.of(Step.ANNOUNCED)) == 2

    asyncio.run(main())


def test_a_file_that_cannot_be_read_is_told_and_left_to_the_next_scan(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            (site.incoming / "a.dat").symlink_to(
                "/proc/self/mem"
            )  # its beginning can't be read, whoever asks
            server = await site.server(announce_empty_after="0 s")
            await until(lambda: server.story.of(Step.FAILED), "told")
            site.drop("b.dat")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            assert len(server.story.of(Step.FAILED)) == 1

    asyncio.run(main())


def waiting(chain: Any) -> int:
    """How many moves wait for their turn."""
    return sum(len(lane.waiting) for lane in chain._requests._flights._lanes._lanes.values())


def test_a_place_where_too_much_waits_takes_no_more_and_the_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "LINED_UP", 2)

    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=["**"], transfers=1)
            paths = [site.drop(f"{n}.dat") for n in range(6)]
            await until(lambda: len(server.story.of(Step.ANNOUNCED)) == len(paths), "announced")
            with socket.create_server(("127.0.0.1", 0)) as hole:  # takes connections, and says nothing
                place = f"ftp://a:b@127.0.0.1:{hole.getsockname()[1]}/"
                [chain] = server.role._chains
                first, *more = [request("push", str(p), uri=str(p), destination=place) for p in paths[:3]]
                held = [asyncio.create_task(asked(site, first))]
                await until(lambda: chain._requests._open and not waiting(chain), "one is under way")
                held.append(asyncio.create_task(asked(site, *more)))
                await until(lambda: waiting(chain) == 2, "two wait")
                there = f"file://{site.outgoing}/"
                refused, granted = await asked(
                    site,
                    request("push", "more", uri=str(paths[3]), destination=place),
                    request("push", "here", uri=str(paths[4]), destination=there),
                )
                assert refused is not None
                assert refused.data["tranship"]["failure"] == "temporary"
                assert "too much waits" in refused.data["reason"]
                assert granted is not None
                assert granted.type == "file"
                for task in held:
                    task.cancel()
                await server.kill()

    asyncio.run(main())


def test_a_changed_chain_finishes_what_is_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            path = site.drop("a.dat", bytes(3 << 20))
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            place = f"file://{site.outgoing}/"
            chain = next(iter(server.role._chains))
            answer = asyncio.create_task(asked(site, request("push", "1", uri=str(path), destination=place)))
            await until(lambda: chain._requests._open or answer.done(), "under way")
            config = ServerConfig.model_validate(site.server_config(station="other"))
            assert await server.role.reload(config) == ["chain hrit changed"]
            [told] = await answer
            assert told is not None
            assert told.type == "file"
            assert [part.name for part in server.health.report(0).parts if part.waiting] == []

    asyncio.run(main())


def test_a_clock_that_is_put_forward_ends_no_lease(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            path = site.drop("a.dat")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            rights = []
            for client, spare_of in (("p", []), ("s", ["p"])):
                facts = {"client": client, "spare_of": spare_of, "lease": 60.0}
                place = f"file://{site.outgoing}/"
                push = request("push", client, uri=str(path), destination=place, tranship=facts)
                [answer] = await asked(site, push)
                assert answer is not None
                rights.append(answer.data["tranship"]["ruling"]["right"])
                server.clock.shift += 3600.0
            assert rights == ["yours", "another"]

    asyncio.run(main())
