"""What an operator has resent goes its whole way once more, and once only."""

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from rig import Rig, Running, rig, until

from tranship.core.journey import Step
from tranship.journal import debts
from tranship.journal.resends import Choice, find, resend


def order(whom: Running, *names: str) -> int:
    """Have what whom knows by these names resent, as `tranship resend` does."""
    return resend(whom.journal.path, Choice(names), "anna", time.time())


def counts(site: Rig) -> Counter[str]:
    """How often clients have published each file."""
    return Counter(message.data["uid"] for message in site.published)


def announced(site: Rig, port: int) -> Counter[str]:
    """How often the server or mirror that is asked at port has announced each file."""
    told = [m for m in site.heard if m.type == "file" and "request_address" in m.fields]
    return Counter(m.data["uid"] for m in told if m.data["request_address"].endswith(f":{port}"))


async def published(site: Rig, **times: int) -> None:
    wanted = {f"{name}.dat": count for name, count in times.items()}
    await until(lambda: counts(site) == wanted, f"published: {wanted}")


async def settled(client: Running) -> None:
    """Wait until its journal knows of everything that was published."""
    await until(lambda: not owed(client), "all noted")


def owed(client: Running) -> int:
    with closing(sqlite3.connect(client.journal.path)) as db:
        return int(db.execute("SELECT count(*) FROM jobs WHERE state<>'done'").fetchone()[0])


def test_a_resend_of_a_server_or_a_mirror_goes_through_to_what_the_client_publishes(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=[f"file://{site.copies}/**"])
            mirror = await site.mirror(delete=False)
            client = await site.client(providers=["127.0.0.1:300"])
            site.drop("a.dat", b"first")
            site.drop("b.dat", b"other")
            gone = site.drop("gone.dat", b"gone")
            await published(site, a=1, b=1, gone=1)
            first = {message.data["uid"]: message.data["tranship"]["id"] for message in site.published}

            gone.unlink()
            (site.outgoing / "a.dat").unlink()
            (site.copies / "a.dat").write_bytes(b"broken")
            assert [known.file for known in find(server.journal.path, Choice(("a*", "gone*"))).known] == [
                "a.dat",
                "gone.dat",
            ]
            assert order(server, "a*", "gone*") == 2
            await published(site, a=2, b=1, gone=1)
            assert (site.outgoing / "a.dat").read_bytes() == b"first"
            assert (site.copies / "a.dat").read_bytes() == b"first"
            ids = {
                message.data["tranship"]["id"] for message in site.published if message.data["uid"] == "a.dat"
            }
            assert first["a.dat"] in ids
            assert len(ids) == 2
            [(path, facts)] = server.story.of(Step.FAILED)
            assert path == str(gone)
            assert "can't be resent" in str(facts["reason"])
            assert (announced(site, 101), announced(site, 301)) == (
                {"a.dat": 2, "b.dat": 1, "gone.dat": 1},
                {"a.dat": 2, "b.dat": 1, "gone.dat": 1},
            )

            await settled(client)
            await mirror.kill()
            assert order(mirror, "b*") == 1  # nobody runs: it is obeyed at the next start
            mirror = await site.mirror(delete=False)
            await published(site, a=2, b=2, gone=1)
            assert announced(site, 101)["b.dat"] == 1

            await settled(client)
            await client.kill()
            await server.kill()
            server = await site.server(allow=[f"file://{site.copies}/**"])
            client = await site.client(providers=["127.0.0.1:300"])
            site.drop("c.dat", b"c")
            await published(site, a=2, b=2, gone=1, c=1)
            with closing(sqlite3.connect(server.journal.path)) as db:
                told = db.execute("SELECT uid, seq FROM announcements ORDER BY id").fetchall()
                left = db.execute("SELECT count(*) FROM resends").fetchone()[0]
            assert told[2:] == [("a.dat", 4), ("c.dat", 5)]  # each stands where it was told last
            assert ({uid for uid, _ in told[:2]}, left) == ({"b.dat", "gone.dat"}, 0)
            with closing(sqlite3.connect(mirror.journal.path)) as db:
                orders = db.execute("SELECT who, what, files, heard FROM orders").fetchall()
            assert orders == [("anna", "resend b*", "b.dat", 1)]

    asyncio.run(main())


def test_a_resend_is_published_by_one_of_a_pair_or_by_the_client_that_it_was_ordered_from(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            primary = await site.client(1)
            spare = await site.client(
                2, providers=["127.0.0.1:100", "127.0.0.1:1001"], processing_delay="0.3 s"
            )
            await asyncio.sleep(1.1)  # the time in which whoever publishes waits for an audience
            site.drop("a.dat", b"a")
            await published(site, a=1)
            await until(lambda: spare.story.of(Step.SKIPPED), "left to the primary")
            await settled(primary)

            assert order(server, "a*") == 1
            await published(site, a=2)
            await until(lambda: len(spare.story.of(Step.SKIPPED)) == 2, "left to the primary once more")
            assert len(server.story.of(Step.MOVED)) == 2
            await settled(primary)

            assert order(spare, "a*") == 2  # both deliveries were the primary's
            await published(site, a=4)
            await settled(spare)
            await primary.kill()  # what it published before is no reason for the spare to leave it
            assert order(server, "a*") == 1
            await published(site, a=5)
            by = [message.data["tranship"]["client"] for message in site.published]
            assert by[0] == by[1] != by[2] == by[3] == by[4]

    asyncio.run(main())


def test_a_mirror_at_work_obeys_a_retry(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(allow=[])
            mirror = await site.mirror()
            client = await site.client(providers=["127.0.0.1:300"])
            site.drop("a.dat")
            await until(
                lambda: mirror.story.of(Step.FAILED) and client.story.of(Step.FAILED), "refused upstream"
            )
            config = site.server_config(allow=[f"file://{site.copies}/**"])
            assert await server.role.reload(type(server.role._config).model_validate(config)) == [
                "chain hrit changed"
            ]
            await until(lambda: debts.debts(mirror.journal.path)[0], "listed")
            assert debts.retry(mirror.journal.path, ["a*"], "anna", time.time()) == 1
            await until(lambda: mirror.story.of(Step.VERIFIED), "brought")

    asyncio.run(main())


def test_an_order_keeps_nothing_from_being_published_that_was_not_before_a_crash(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            client = await site.client()
            for name in ("a.dat", "b.dat", "c.dat"):
                site.drop(name)
            await published(site, a=1, b=1, c=1)
            await settled(client)
            await client.kill()
            await server.kill()
            with closing(sqlite3.connect(client.journal.path)) as db, db:  # as if it had come just before
                for message in site.published:
                    db.execute(
                        "UPDATE jobs SET state='delivered', outgoing=? WHERE uid=?",
                        (message.encode(), message.data["uid"]),
                    )
            client = await site.client(in_flight=1)
            await until(lambda: client.story.of(Step.REQUESTED), "asked who may publish; nobody answers")
            assert debts.retry(client.journal.path, ["none"], "anna", time.time()) == 0
            heard = "SELECT count(*) FROM orders WHERE heard=1"
            while not (await client.journal.do(lambda db: db.execute(heard).fetchone()))[0]:
                await asyncio.sleep(0.01)
            await site.server()
            await published(site, a=2, b=2, c=2)
            assert len({message.data["tranship"]["id"] for message in site.published}) == 3

    asyncio.run(main())
