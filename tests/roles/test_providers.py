"""Several providers of one file, and what counts as the same file."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from rig import TOPIC, Rig, Running, rig, until

from servers import ssh
from tranship.core.journey import Step
from tranship.wire.contract import Answerer, Publisher
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose, reply

BOTH = ["127.0.0.1:100", "127.0.0.1:200"]


class Old:
    """A server of the old kind at ports 200 and 201: it moves nothing, and says that it has."""

    def __init__(self, site: Rig) -> None:
        bus = MemoryBus(site.network)
        self.publisher: Publisher = bus.publisher("tcp://127.0.0.1:200", "old")
        self.answerer: Answerer = bus.answerer("tcp://127.0.0.1:201")
        self.asked: list[Message] = []
        self.work = asyncio.create_task(self._answer())

    def announce(self, path: Path) -> None:
        data = {"uid": path.name, "uri": str(path), "request_address": "127.0.0.1:201"}
        self.publisher.tell([compose(TOPIC, "file", data)])

    def heard(self, kind: str) -> list[Message]:
        return [message for message in self.asked if message.type == kind]

    async def _answer(self) -> None:
        while True:
            for question in await self.answerer.asked():
                self.asked.append(question.message)
                done = {"push": "file", "ack": "ack"}.get(question.message.type, "unknown")
                self.answerer.answer(question, reply(question.message, done, question.message.data))


def count(running: Running, part: str) -> int:
    """How often that was counted, in the health and so in the metrics."""
    report = running.health.report(running.clock.monotonic())
    return sum(each.done for each in report.parts if each.name == f"hrit {part}")


def test_a_server_that_dies_while_it_moves_is_replaced_by_another_and_both_may_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            (tmp_path / "in2").mkdir()
            free: dict[str, Any] = {"delete": True, "remove_delay": "0 s"}
            slow = {"connection_parameters": {"bandwidth": "4 MB"}}
            first = await site.server(1, **free, **slow)
            await site.server(2, origin=f"{tmp_path}/in2/{{name}}.dat", **free)
            await site.client(providers=BOTH, transfer_req_timeout="500 ms")
            one, two = site.drop("a.dat", content := bytes(16 << 20)), tmp_path / "in2" / "a.dat"
            [chain] = first.role._chains
            await until(lambda: any(f.moved for f in chain._requests._flights), "under way")
            two.write_bytes(content)
            await first.kill()
            [message] = await until(lambda: site.published, "published")
            assert message.data["origin"] == "127.0.0.1:201"
            await until(lambda: not two.exists(), "the one that delivered let go")
            first = await site.server(1, **free, **slow)
            await until(lambda: not one.exists(), "and the other one, when it was back")
            assert (site.outgoing / "a.dat").read_bytes() == content
            assert len(site.published) == 1

    asyncio.run(main())


def test_servers_of_both_kinds_are_sources_of_one_delivery(tmp_path: Path) -> None:
    """Whoever announces first is asked, the other one gets an `ack`; new content is delivered again."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            old = Old(site)
            server = await site.server(1, delete=True, remove_delay="0 s")
            client = await site.client(providers=BOTH)
            await asyncio.sleep(1.1)

            site.drop("a.dat")
            await until(lambda: site.published, "the first one, from ours")
            old.announce(site.incoming / "a.dat")
            await until(lambda: old.heard("ack"), "acknowledged at the old one")
            assert not old.heard("push")

            path = site.incoming / "b.dat"
            (site.outgoing / "b.dat").write_bytes(b"content")
            old.announce(path)
            await until(lambda: len(site.published) == 2, "the second one, from the old one")
            written_before(path, b"content")
            await until(lambda: not path.exists(), "ours let go of it")
            assert len(site.published) == 2
            assert len(server.story.of(Step.MOVED)) == 1
            assert count(client, "delivered before") == 2
            told = [str(facts["reason"]) for _, facts in client.story.of(Step.SKIPPED)]
            assert all(f"to file://{site.outgoing}/" in reason for reason in told)
            assert all("delivered before, at 20" in reason for reason in told)
            assert "told by its name alone" in told[1]

            site.drop("b.dat", b"new content")
            await until(lambda: len(site.published) == 3, "the new version")
            assert (site.outgoing / "b.dat").read_bytes() == b"new content"
            old.announce(site.incoming / "b.dat")
            await until(lambda: count(client, "delivered before") == 3, "which the old one can't tell apart")
            old.work.cancel()

    asyncio.run(main())


def written_before(path: Path, content: bytes) -> None:
    """Have path there as if it had been written a minute ago."""
    (path.parent / ".new").write_bytes(content)
    os.utime(path.parent / ".new", ns=(0, time.time_ns() - 60_000_000_000))
    (path.parent / ".new").rename(path)


def test_a_new_version_under_a_name_that_an_old_server_has_just_told_is_taken(tmp_path: Path) -> None:
    """What it told of was another size; or the same path was written to since."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            old = Old(site)
            await site.client(providers=BOTH)
            await site.server(1)
            await asyncio.sleep(1.1)
            for number, (name, new) in enumerate({"a.dat": b"is longer", "b.dat": b"CONTENT"}.items()):
                (site.outgoing / name).write_bytes(b"content")
                old.announce(site.incoming / name)
                await until(lambda n=number: len(site.published) == 2 * n + 1, "from the old one")
                if name == "a.dat":
                    written_before(site.incoming / name, new)
                else:
                    site.drop(name, new)
                await until(lambda n=number: len(site.published) == 2 * n + 2, "the new one, from ours")
                assert (site.outgoing / name).read_bytes() == new
            old.work.cancel()

    asyncio.run(main())


def test_what_counts_as_the_same_file(tmp_path: Path) -> None:
    """One name in two folders is two files, new content is a new file, and what failed was not delivered."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            pattern = f"{site.incoming}/{{place}}/{{name}}.dat"
            for place in ("one", "two"):
                (site.incoming / place).mkdir()
            server = await site.server(1, origin=pattern)
            client = await site.client(destination=f"file://{site.outgoing}/{{place}}/")
            blocked = site.outgoing / "two"
            blocked.write_bytes(b"a file where the folder should be")
            site.drop("one/a.dat")
            site.drop("two/a.dat")
            await until(lambda: client.story.of(Step.RETRIED) or client.story.of(Step.FAILED), "failed")
            await until(lambda: len(site.published) == 1, "the other one")
            assert count(client, "delivered before") == 0
            blocked.unlink()
            await until(lambda: len(site.published) == 2, "and the second one, when it could be")
            site.drop("one/a.dat", b"CONTENT")
            await until(lambda: len(site.published) == 3, "new content")
            lie = {str(p.relative_to(site.outgoing)): p.read_bytes() for p in site.outgoing.glob("*/*")}
            assert lie == {"one/a.dat": b"CONTENT", "two/a.dat": b"content"}
            assert len({message.data["tranship"]["id"] for message in site.published}) == 3
            assert not client.story.of(Step.SKIPPED)
            del server

    asyncio.run(main())


def test_a_file_that_another_root_hides_is_not_missed(tmp_path: Path) -> None:
    """What ours has verified at the destination is not doubted; of an old one, scp's success is."""

    async def main(host: ssh.Ssh) -> None:
        async with rig(tmp_path) as site:
            old = Old(site)
            keys = {"ssh_key_filename": str(host.key), "known_hosts": str(host.known_hosts)}
            there = f"{host.host}:{host.port}{site.outgoing}/"
            allowed = [f"{scheme}://{there}**" for scheme in ("sftp", "scp")]
            await site.server(1, allow=allowed, connection_parameters=keys)
            for number, scheme in ((1, "sftp"), (2, "scp")):
                place, login = f"{scheme}://{there}", f"{host.user}:"
                client = await site.client(number, destination=place, providers=BOTH, login=login)
            (site.outgoing / "a.dat").write_bytes(b"another file, outside")
            site.drop("a.dat")
            site.drop("b.dat")
            await until(lambda: len(site.published) == 4, "published")
            assert (site.outgoing / "a.dat").read_bytes() == b"another file, outside"
            old.announce(site.incoming / "c.dat")
            [(_, told)] = await until(lambda: client.story.of(Step.RETRIED)[:1], "not there")
            assert "nothing arrived there" in str(told["reason"])
            old.work.cancel()

    with ssh.asyncsshd() as host:
        asyncio.run(main(host))
