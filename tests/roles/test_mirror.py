"""The mirror's promises, between real servers and clients."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from rig import DEADLINE, TOPIC, Rig, Running, rig, until

from servers.ports import free_port
from tranship.core.journey import Step
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose


async def asked(site: Rig, port: int, *requests: Message) -> list[Message]:
    """The answers to requests at port, in their order."""
    bus = MemoryBus(site.network)
    asker = bus.asker(f"tcp://127.0.0.1:{port}", many=True)
    for request in requests:
        asker.ask(request, request.ticket or "", DEADLINE)
    answers: dict[str, Message] = {}
    while len(answers) < len(requests):
        for answer in await asker.answered():
            assert answer.message is not None
            if answer.message.type != "progress":
                answers[answer.ticket] = answer.message
    bus.close()
    return [answers[request.ticket or ""] for request in requests]


def request(kind: str, ticket: str, data: Any = None, subject: str = TOPIC, **more: Any) -> Message:
    told = {**(data or {}), **more}
    facts = told.get("tranship")
    return compose(
        subject, kind, {**told, "tranship": {**(facts if isinstance(facts, dict) else {}), "id": ticket}}
    )


def by_mirror(site: Rig) -> list[Message]:
    """What the mirror announced."""
    return [m for m in site.heard if str(m.fields.get("request_address", "")).endswith(":301")]


def pushes(site: Rig, message: Message, *tickets: str) -> list[Message]:
    """Requests to have what message is about moved, each to a folder of its own."""
    return [
        request("push", ticket, message.data, destination=f"file://{site.outgoing}/{ticket}/")
        for ticket in tickets
    ]


def test_a_file_goes_through_the_mirror_by_one_transfer_and_its_copy_is_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=[f"file://{site.copies}/**"])
            mirror = await site.mirror(remove_delay="1 s")
            await site.client(providers=["127.0.0.1:300"])
            source = site.drop("a.dat", bytes(100_000))
            [told] = await until(lambda: by_mirror(site), "announced by the mirror")
            [original] = [m for m in site.heard if m.fields.get("request_address", "").endswith(":101")]
            ours, theirs = told.data["tranship"], original.data["tranship"]
            assert {**told.data, "tranship": 0, "request_address": 0} == {
                **original.data,
                "tranship": 0,
                "request_address": 0,
            }
            assert ours["seq"] == 1
            assert ours["server"] not in ("", theirs["server"])
            assert [ours[key] for key in ("size", "mtime", "checksum")] == [
                theirs[key] for key in ("size", "mtime", "checksum")
            ]
            [published] = await until(lambda: site.published, "published")
            assert (site.outgoing / "a.dat").read_bytes() == source.read_bytes()
            assert published.data["uri"] == str(site.outgoing / "a.dat")
            answers = await asked(site, 301, *pushes(site, told, "x", "y", "z"))
            assert [answer.type for answer in answers] == ["file"] * 3
            assert {path.parent.name for path in site.outgoing.glob("*/a.dat")} == {"x", "y", "z"}
            assert len(server.story.of(Step.MOVED)) == 1
            assert len(mirror.story.of(Step.VERIFIED)) == 1
            await until(lambda: not (site.copies / "a.dat").exists(), "the copy is deleted")
            assert source.exists()
            [again] = await asked(site, 301, *pushes(site, told, "later"))
            assert again.type == "file", again.data
            assert (site.outgoing / "later" / "a.dat").read_bytes() == source.read_bytes()

    asyncio.run(main())


def test_killed_in_the_middle_the_mirror_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=[f"file://{site.copies}/**"])
            mirror = await site.mirror(delay="1 h")
            site.drop("a.dat", b"waits")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            await until(lambda: _heard(mirror), "heard")
            await mirror.kill()
            site.drop("b.dat", b"missed")  # while the mirror is dead
            await until(lambda: len(server.story.of(Step.ANNOUNCED)) == 2, "announced while nobody hears it")
            mirror = await site.mirror()
            await until(lambda: _heard(mirror) == 2, "what was missed is replayed")
            [(file, facts)] = await until(lambda: mirror.story.of(Step.REPLAYED), "it says so")
            assert (file, facts["topic"], facts["reason"]) == ("-", TOPIC, "1 announcement")
            mirror.clock.shift = 7200  # as if the delay were over
            told = await until(lambda: len(by_mirror(site)) == 2 and by_mirror(site), "both announced")
            assert [m.data["tranship"]["seq"] for m in told] == [1, 2]
            assert {m.data["uid"] for m in told} == {"a.dat", "b.dat"}
            [first] = await asked(site, 301, *pushes(site, told[0], "x"))
            assert first.type == "file"
            await mirror.kill()
            mirror = await site.mirror()
            second, replayed = await asked(
                site, 301, *pushes(site, told[0], "y"), request("replay", "r", since={"seq": 0}, limit=10)
            )
            assert second.type == "file"
            assert len(server.story.of(Step.MOVED)) == 1  # the copy was still trusted
            assert [
                compose(TOPIC, "file").subject,
                replayed.data["last"],
                len(replayed.data["messages"]),
            ] == [TOPIC, 2, 2]
            await asyncio.sleep(0)
            assert len(by_mirror(site)) == 2  # nothing is announced twice

    asyncio.run(main())


def _heard(mirror: Any) -> int:
    """How much the mirror has heard, by its journal."""
    return int(sqlite3.connect(mirror.journal.path).execute("SELECT count(*) FROM heard").fetchone()[0])


def test_a_copy_that_came_when_nobody_waited_for_it_any_more_is_not_kept_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            allow = [f"file://{site.copies}/**"]
            server = await site.server(allow=allow)
            mirror = await site.mirror(transfer_req_timeout="100 ms")
            site.drop("a.dat", b"asked for while its server was away")
            [told] = await until(lambda: by_mirror(site), "announced by the mirror")
            await server.kill()
            [answer] = await asked(site, 301, *pushes(site, told, "x"))
            assert answer.type == "err"
            await mirror.kill()
            await site.server(allow=allow)
            mirror = await site.mirror()
            await until(lambda: mirror.story.of(Step.VERIFIED), "brought all the same")
            mirror.clock.shift = 3 * 86400
            await until(
                lambda: not (site.copies / "a.dat").exists(), "who failed to get it is not waited for"
            )

    asyncio.run(main())


def test_two_servers_of_one_file_are_told_once_and_stand_in_for_each_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            first = await site.server(1, allow=[f"file://{site.copies}/**"])
            second = await site.server(2, allow=[f"file://{site.copies}/**"])
            mirror = await site.mirror(
                providers=["127.0.0.1:100", "127.0.0.1:200"], transfer_req_timeout="300 ms"
            )
            site.drop("a.dat")
            site.drop("b.dat")
            told = await until(lambda: len(by_mirror(site)) == 2 and by_mirror(site), "announced")
            await until(lambda: len(mirror.story.of(Step.SKIPPED)) == 2, "the other server's is no news")
            await first.kill()
            answers = await asked(site, 301, *(push for m in told for push in pushes(site, m, m.data["uid"])))
            assert [answer.type for answer in answers] == ["file"] * 2
            assert len(second.story.of(Step.MOVED)) + len(first.story.of(Step.MOVED)) == 2
            assert len(by_mirror(site)) == 2

    asyncio.run(main())


def test_what_upstream_refuses_is_told_and_acknowledgements_are_passed_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=[], delete=True, remove_delay="0 s")
            await site.mirror()
            path = site.drop("a.dat")
            [told] = await until(lambda: by_mirror(site), "announced")
            push, never, info, ping, dance = await asked(
                site,
                301,
                *pushes(site, told, "x"),
                request("push", "n", told.data, uri="/etc/passwd", destination=f"file://{site.outgoing}/"),
                request("info", "i"),
                request("ping", "p"),
                request("dance", "d"),
            )
            assert (push.type, push.data["tranship"]["failure"]) == ("err", "refused")
            assert "not allowed" in push.data["reason"]
            assert (never.type, never.data["tranship"]["failure"]) == ("err", "refused")
            assert info.data["files"] == [f"{TOPIC}/a.dat"]
            assert ping.type == "pong"
            assert (dance.type, dance.data) == ("unknown", {"tranship": {"id": "d"}})
            assert path.exists()
            [ack] = await asked(site, 301, request("ack", "k", told.data))
            assert ack.type == "ack"
            await until(lambda: not path.exists(), "upstream let it go")
            await until(lambda: server.story.of(Step.DELETED), "said so")

    asyncio.run(main())


def test_a_copy_stays_while_somebody_who_failed_to_get_it_asks_again(tmp_path: Path) -> None:
    """Upstream has let its own go: nobody could bring it anew."""

    def due(mirror: Running) -> float:
        with closing(sqlite3.connect(mirror.journal.path)) as db:
            return float(db.execute("SELECT due FROM deletions").fetchone()[0])

    async def main() -> None:
        async with rig(tmp_path) as site:
            dead = f"ftp://127.0.0.1:{free_port()}"  # nobody is there
            server = await site.server(allow=[f"file://{site.copies}/**"], delete=True, remove_delay="0 s")
            mirror = await site.mirror(remove_delay="0 s", allow=["**"])
            path = site.drop("a.dat")
            [told] = await until(lambda: by_mirror(site), "announced")
            [failed] = await asked(site, 301, request("push", "1", told.data, destination=f"{dead}/in/"))
            assert failed.data["tranship"]["failure"] == "temporary"
            [moved] = await asked(site, 301, *pushes(site, told, "x"))
            assert moved.type == "file"
            await until(lambda: not path.exists(), "upstream let it go")
            await until(lambda: 10 < due(mirror) - time.time() < 100, "the deletion is put off")
            assert (site.copies / "a.dat").exists()
            [ack] = await asked(site, 301, request("ack", "2", told.data, destination=f"{dead}/in/"))
            assert ack.type == "ack"
            mirror.clock.shift = 100
            await until(lambda: not (site.copies / "a.dat").exists(), "deleted when all have it")
            assert len(server.story.of(Step.MOVED)) == 1

    asyncio.run(main())


def spoken(site: Rig, **data: Any) -> Message:
    """An announcement as a stranger might make it."""
    good = {"uri": f"{site.incoming}/a.dat", "uid": "a.dat", "request_address": "127.0.0.1:101"}
    return compose(TOPIC, "file", {**good, **data})


def test_of_each_provider_its_topic_is_passed_on_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus = MemoryBus(site.network)
            choosy = bus.publisher("tcp://127.0.0.1:100", "one")
            open_ = bus.publisher("tcp://127.0.0.1:200", "other")
            await site.mirror(providers=["127.0.0.1:100/1b/hrit", "127.0.0.1:200"], topic="")
            for publisher, topic, uid in (
                *((choosy, "/1b/else", "no.dat"), (choosy, "/1b/hrit", "a.dat")),
                *((open_, "/1b/else", "b.dat"), (choosy, "/1b/hrit/more", "c.dat")),
            ):
                data = spoken(site, uid=uid, uri=f"/in/{uid}").data
                publisher.tell([compose(topic, "file", data)])
            told = await until(
                lambda: len(by_mirror(site)) >= 3 and by_mirror(site), "announced by the mirror"
            )
            assert {message.data["uid"] for message in told} == {"a.dat", "b.dat", "c.dat"}

    asyncio.run(main())


def test_an_older_version_that_is_heard_of_after_the_newer_one_is_not_told_on(tmp_path: Path) -> None:
    """As when the older one was missed, and is replayed: a client that heard of it last would be refused the newer."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            server = MemoryBus(site.network).publisher("tcp://127.0.0.1:100", "server")
            mirror = await site.mirror()

            def tell(*numbers: int) -> None:
                facts = {"v": 1, "server": "s", "mtime": 1, "checksum": ""}
                told = [{**facts, "seq": number, "size": number} for number in numbers]
                server.tell([spoken(site, tranship=each) for each in told])

            tell(2)
            await until(lambda: len(by_mirror(site)) == 1, "the newer one is told on")
            tell(1)
            await until(lambda: mirror.story.of(Step.SKIPPED), "the older one is not")
            tell(3, 4)
            await until(lambda: len(by_mirror(site)) == 3, "the next ones are, in their order")
            assert [message.data["tranship"]["size"] for message in by_mirror(site)] == [2, 3, 4]

    asyncio.run(main())


def test_hostile_announcements_are_refused_and_counted_and_the_next_one_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus = MemoryBus(site.network)
            stranger = bus.publisher("tcp://127.0.0.1:100", "stranger")
            mirror = await site.mirror()
            item = {"uri": f"{site.incoming}/b.dat", "uid": "b.dat"}
            hostile = [
                spoken(site, uri="/in/../../etc/passwd"),
                spoken(site, uri="relative.dat"),
                spoken(site, uri="/in/a\n.dat"),
                spoken(site, uri="/in/a\0.dat"),
                spoken(site, uid="../a.dat"),
                spoken(site, uid="/etc/passwd"),
                spoken(site, uid="a\n.dat"),
                spoken(site, path="../.."),
                spoken(site, path="/etc"),
                spoken(site, uri="http://["),
                spoken(site, uri=7),
                spoken(site, request_address="no address"),
                spoken(site, tranship={"server": "s", "seq": 10**30, "size": "x"}, uri="no/path"),
                compose(
                    TOPIC,
                    "dataset",
                    {"dataset": [item, {**item, "path": ".."}], "request_address": "127.0.0.1:1"},
                ),
            ]
            stranger.tell([*hostile, compose(TOPIC, "file", "text"), *hostile])
            good = spoken(site, platform="{x.__class__} %s {0}", big="x" * 500_000)
            stranger.tell([good])
            [told] = await until(lambda: by_mirror(site), "the good one is announced")
            assert told.data["platform"] == "{x.__class__} %s {0}"
            assert told.data["uid"] == "a.dat"
            parts = {part.name: part.done for part in mirror.health.report(0).parts}
            refused = parts["hrit refused announcements"] + parts["hrit odd messages"]
            assert refused == 2 * len(hostile)
            assert 5 <= len(mirror.story.of(Step.REFUSED)) <= len(hostile)
            assert not [part for part in mirror.health.report(0).parts if part.trouble]
            [pong] = await asked(site, 301, request("ping", "p"))
            assert pong.type == "pong"

    asyncio.run(main())


def test_a_dataset_goes_through_with_its_folders(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus = MemoryBus(site.network)
            old = bus.publisher("tcp://127.0.0.1:100", "of the old kind")
            answerer = bus.answerer("tcp://127.0.0.1:101")
            served: list[Message] = []
            moving = asyncio.create_task(_move_as_the_old(answerer, served))
            await site.mirror()
            items = []
            for folder, name in (("", "a.dat"), ("sub", "b.dat")):
                path = site.drop(name, name.encode())
                items.append({"uri": str(path), "uid": name, **({"path": folder} if folder else {})})
            old.tell([compose(TOPIC, "dataset", {"dataset": items, "request_address": "127.0.0.1:101"})])
            [told] = await until(lambda: by_mirror(site), "announced")
            assert (told.type, told.data["dataset"]) == ("dataset", items)
            [answer] = await asked(site, 301, *pushes(site, told, "x"))
            assert answer.type == "dataset", answer.data
            assert (site.outgoing / "x" / "a.dat").read_bytes() == b"a.dat"
            assert (site.outgoing / "x" / "sub" / "b.dat").read_bytes() == b"b.dat"
            assert len(served) == 1
            moving.cancel()

    asyncio.run(main())


def _copy(message: Message) -> None:
    root = Path(message.data["destination"].removeprefix("file://"))
    for item in message.data["dataset"]:
        target = root / item.get("path", "") / item["uid"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(item["uri"]).read_bytes())


async def _move_as_the_old(answerer: Any, served: list[Message]) -> None:
    """Move what is asked for, as a server of the old kind does."""
    while True:
        for question in await answerer.asked():
            message = question.message
            if message.type == "push":
                served.append(message)
                await asyncio.to_thread(_copy, message)
            data = {key: value for key, value in message.data.items() if key != "tranship"}
            answerer.answer(
                question, compose(message.subject, "dataset" if message.type == "push" else "ack", data)
            )
