"""A server that answers nonsense, and a client that asks for everything again and again, harm nobody else."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

from rig import TOPIC, Rig, Running, rig, until

from tranship.config.server import ServerConfig
from tranship.core.journey import Step
from tranship.wire.contract import Question
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1 << 63,
    1e400,
    float("nan"),
    "",
    "\ud800",
    "x\0y",
    [],
    [[]],
    {},
    "/../a",
)
"""What may stand where something else is expected."""


def put_in(data: Any, odd: Any) -> Iterator[Any]:
    """Data with odd in the place of each of its values, at any depth."""
    yield odd
    if isinstance(data, dict):
        for key, value in data.items():
            yield from ({**data, key: other} for other in put_in(value, odd))
    elif isinstance(data, list):
        for n, value in enumerate(data):
            yield from ([*data[:n], other, *data[n + 1 :]] for other in put_in(value, odd))


class Liar:
    """A server that numbers, at ports 200 and 201: it answers each request as it likes."""

    def __init__(self, site: Rig) -> None:
        bus = MemoryBus(site.network)
        self.site = site
        self.publisher = bus.publisher("tcp://127.0.0.1:200", "liar")
        self.answerer = bus.answerer("tcp://127.0.0.1:201")
        self.answered = 0
        self.replies = cycle(self._replies())
        self.work = asyncio.create_task(self._answer())

    def announce(self, number: int) -> None:
        facts = {"v": 1, "server": "liar", "seq": number, "size": 3, "mtime": number, "checksum": ""}
        data = {"uid": f"{number}.dat", "uri": f"/in/{number}.dat", "request_address": "127.0.0.1:201"}
        self.publisher.tell([compose(TOPIC, "file", {**data, "tranship": facts})])

    def beat(self, odd: Any) -> None:
        head = {"topic": TOPIC, "seq": 9, "request_address": "127.0.0.1:201"}
        for data in put_in(
            {"min_interval": 30, "tranship": {"server": "s", "life": "l", "heads": [head]}}, odd
        ):
            told = data if isinstance(data, dict) else {"odd": data}
            self.publisher.tell([compose("/heartbeat/liar", "beat", told)])

    def _replies(self) -> list[tuple[str, Any]]:
        ruling = {"right": "another", "client": "c", "seconds": 1.0, "at": 1.0}
        good = {
            "file": {"uri": "/in/x", "uid": "x.dat", "destination": "/out/", "tranship": {"ruling": ruling}},
            "err": {"reason": "why", "tranship": {"failure": "temporary", "about": "host"}},
            "replay": {
                "messages": [compose(TOPIC, "file").encode().decode()],
                "last": 3,
                "head": 9,
                "more": True,
            },
            "progress": {"bytes": 1, "total": 2},
            "published": {"files": 1},
        }
        return [(kind, odd) for kind, data in good.items() for each in ODD for odd in put_in(data, each)]

    def _reply(self, question: Question) -> Message:
        kind, data = next(self.replies)
        if isinstance(data, dict):
            facts = data.get("tranship")
            own = facts if isinstance(facts, dict) else {"odd": facts}
            data = {**data, "tranship": {**own, "id": question.message.ticket}}
        else:
            data = {"odd": data, "tranship": {"id": question.message.ticket}}
        return compose(TOPIC, kind, data)

    async def _answer(self) -> None:
        while True:
            for question in await self.answerer.asked():
                self.answered += 1
                self.answerer.answer(question, self._reply(question))


def troubles(running: Running) -> list[str]:
    """Why its chain failed and was started again."""
    return [part.trouble for part in running.health.report(0).parts if part.name == "hrit" and part.trouble]


def test_a_server_that_answers_nonsense_harms_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            liar = Liar(site)
            both = ["127.0.0.1:100", "127.0.0.1:200"]
            client = await site.client(providers=both, transfer_req_timeout="300 ms", req_timeout="100 ms")
            mirror = await site.mirror(providers=both, transfer_req_timeout="300 ms")
            await site.server(allow=["**"])
            for odd in ODD:
                liar.beat(odd)
            kinds = len(liar._replies())
            for number in range(1, kinds + 1):
                liar.announce(number)
                if number % 7 == 0:
                    await asyncio.sleep(0)
            await until(lambda: liar.answered >= kinds, "all nonsense was answered", 60)
            site.drop("a.dat")
            await until(lambda: [m for m in site.published if m.data["uid"] == "a.dat"], "an honest one")
            await until(
                lambda: [m for m in site.heard if ":301" in str(m.data.get("request_address"))],
                "by the mirror",
            )
            assert not troubles(client) + troubles(mirror)
            liar.work.cancel()

    asyncio.run(main())


def test_what_a_neighbour_says_in_a_servers_name_costs_nothing_of_that_server(tmp_path: Path) -> None:
    """Its id is in every announcement. Who says that it is far ahead keeps nobody from asking for what is missed."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            liar = Liar(site)
            both = ["127.0.0.1:100", "127.0.0.1:200"]
            client = await site.client(providers=both)
            await site.server()
            site.drop("a.dat")
            await until(lambda: site.published, "an honest one")
            server = next(m.data["tranship"]["server"] for m in site.heard if "request_address" in m.data)
            ahead = 1 << 62
            brought = {"messages": [], "last": ahead, "head": ahead, "more": False}
            liar.replies = cycle([("replay", brought)])
            facts = {"v": 1, "server": server, "seq": ahead, "size": 3, "mtime": 1, "checksum": ""}
            data = {"uid": "x.dat", "uri": "/in/x.dat", "request_address": "127.0.0.1:201"}
            liar.publisher.tell([compose(TOPIC, "file", {**data, "tranship": facts})])
            await until(lambda: client.story.of(Step.RETRIED) and liar.answered > 1, "the lie is believed")
            await client.stop()
            site.drop("b.dat")
            await until(lambda: [m for m in site.heard if m.data.get("uid") == "b.dat"], "it is announced")
            await site.client(providers=both)
            await until(lambda: [m for m in site.published if m.data["uid"] == "b.dat"], "what was missed")
            liar.work.cancel()

    asyncio.run(main())


def test_a_server_that_moves_to_another_address_is_heard_from_where_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server, client = await site.server(), await site.client()
            site.drop("a.dat")
            await until(lambda: site.published, "the first")
            await client.stop()
            site.drop("b.dat")
            await until(lambda: [m for m in site.heard if m.data.get("uid") == "b.dat"], "it is announced")
            await server.stop()
            config = site.server_config(request={"port": 401})
            await site.serve(ServerConfig.model_validate({**config, "publish": {"port": 400}}))
            await site.client(providers=["127.0.0.1:400"], ahead=3600.0)  # so that no time helps
            await until(lambda: [m for m in site.published if m.data["uid"] == "b.dat"], "what was missed")

    asyncio.run(main())


def requests(path: Path, site: Rig) -> list[tuple[str, Any]]:
    file = {"uri": str(path), "uid": path.name}
    client = {"v": 1, "client": "c", "lease": 5.0, "spare_of": ["d"], "seq": 1, "size": 7, "mtime": 1}
    place = f"file://{site.outgoing}/"
    return [
        ("push", {**file, "path": "sub", "destination": place, "backup_targets": ["h"], "tranship": client}),
        ("push", {"dataset": [file], "destination": place, "tranship": {**client, "again": True}}),
        ("ack", {**file, "destination": place, "tranship": client}),
        ("published", {"files": [{"uri": str(path), "size": 7, "mtime": 1}], "tranship": client}),
        ("replay", {"since": {"seq": 0}, "limit": 5}),
        ("replay", {"since": {"time": 1.0}, "limit": 5}),
        ("info", {"max_count": 5}),
        ("ping", {}),
    ]


def test_a_client_that_asks_nonsense_or_everything_again_harms_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=["**"])
            path = site.drop("a.dat")
            [told] = await until(lambda: [m for m in site.heard if m.type == "file"], "announced")
            asker = MemoryBus(site.network).asker("tcp://127.0.0.1:101", many=True)
            tickets: set[str] = set()

            def ask(kind: str, data: Any) -> None:
                ticket = f"{kind} {len(tickets)}"
                facts = data.get("tranship") if isinstance(data, dict) else data
                own = {**(facts if isinstance(facts, dict) else {"odd": facts}), "id": ticket}
                told = {**(data if isinstance(data, dict) else {"odd": data}), "tranship": own}
                asker.ask(compose(TOPIC, kind, told), ticket, 60.0)
                tickets.add(ticket)

            for kind, data in requests(path, site):
                for odd in ODD:
                    for each in put_in(data, odd):
                        ask(kind, each)
            facts = told.data["tranship"]
            published = {"uri": str(path), "size": facts["size"], "mtime": facts["mtime"]}
            push = {**told.data, "destination": f"file://{site.outgoing}/"}
            for number in range(300):
                client = {"client": f"invented {number}", "lease": 3600.0, "spare_of": ["p"] * 1000}
                ask("push", {**push, "tranship": {**facts, **client}})
                ask("published", {"files": [published], "tranship": client})
            ask("push", {**push, "tranship": facts})
            last = f"push {len(tickets) - 1}"
            while tickets:
                for answer in await asker.answered():
                    assert answer.message is not None, answer.ticket
                    assert answer.ticket != last or answer.message.type == "file"
                    tickets.discard(answer.ticket)
            assert not troubles(server)
            with closing(sqlite3.connect(server.journal.path)) as db:
                assert db.execute("SELECT count(*) FROM published").fetchone()[0] <= 8
            [chain] = server.role._chains
            leases = chain._requests._leases
            assert all(len(each) <= 8 for each in (*leases._told.values(), *leases._held.values()))

    asyncio.run(main())
