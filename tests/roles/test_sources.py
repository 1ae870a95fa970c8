"""What becomes of a request whose source changes or goes, and of a client that has it from elsewhere."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from rig import Rig, rig, until

from tranship.core.journey import Step


def test_a_source_that_changes_while_it_is_moved_arrives_in_its_new_version_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(connection_parameters={"bandwidth": "4 MB"})
            await site.client()
            path = site.drop("a.dat", old := bytes(12 << 20))
            [chain] = server.role._chains
            await until(lambda: any(f.moved for f in chain._requests._flights), "under way")
            with path.open("ab") as file:
                file.write(b"and more")
            [message] = await until(lambda: site.published, "published")
            assert message.data["tranship"]["size"] == len(old) + 8
            assert (site.outgoing / "a.dat").read_bytes() == old + b"and more"
            assert [entry.name for entry in site.outgoing.iterdir()] == ["a.dat"]
            assert "written to while it was sent" in str(server.story.of(Step.FAILED))

    asyncio.run(main())


def test_a_source_that_is_gone_is_a_dead_letter_with_its_reason(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            client = await site.client(processing_delay="500 ms")
            path = site.drop("a.dat")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            path.unlink()
            [(_, told)] = await until(lambda: client.story.of(Step.FAILED), "given up")
            assert str(path) in str(told["reason"])
            assert jobs(site) == [("dead", told["reason"])]
            assert not client.story.of(Step.RETRIED)
            assert list(site.outgoing.iterdir()) == []

    asyncio.run(main())


def test_who_offers_what_another_server_delivered_may_let_it_go(tmp_path: Path) -> None:
    """The first server does not deliver, the second one does: the first learns of it, and deletes its own."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            (tmp_path / "in2").mkdir()
            server = await site.server(1, delete=True, remove_delay="0 s")
            [chain] = server.role._chains
            await chain.drain()  # from now on it takes no request, and answers acknowledgements
            await site.server(2, origin=f"{tmp_path}/in2/{{name}}.dat")
            await site.client(providers=["127.0.0.1:100", "127.0.0.1:200"])
            first = site.drop("a.dat")
            (tmp_path / "in2" / "a.dat").write_bytes(first.read_bytes())
            await until(lambda: site.published, "published")
            await until(lambda: not first.exists(), "deleted")

    asyncio.run(main())


def jobs(site: Rig) -> list[tuple[str, str]]:
    """The state and reason of each job of the client's journal."""
    with closing(sqlite3.connect(f"file:{site.folder}/client1.journal?mode=ro", uri=True)) as db:
        return db.execute("SELECT state, reason FROM jobs").fetchall()
