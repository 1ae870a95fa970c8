"""Packed files on their way: unpacked on arrival by a client, before announcing by a server."""

import asyncio
import io
import os
import signal
import sys
import tarfile
from pathlib import Path

from rig import rig, until

from stage import Site
from tranship.core.journey import Step
from tranship.faultpoints import VARIABLE


def tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size, info.mtime = len(content), 1e9
            packed.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_a_client_unpacks_what_arrives(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server(origin=f"{site.incoming}/{{name}}.{{end}}")
            client = await site.client(
                unpack={"format": "tar", "delete": True}, replace={"name": {"one": "erste"}}
            )
            site.drop("many.tar", tar(a=b"1", deep__b=b"22"))
            site.drop("one.tar", tar(c=b"333"))
            site.drop("plain.dat", b"4444")
            site.drop("bad.tar", tar(**{"..__planted": b"x"}))
            site.drop("odd.tar", b"no tar at all")
            await until(lambda: len(site.published) == 3, "published")
            await until(lambda: len(client.story.of(Step.FAILED)) == 2, "given up")
            by_name = {message.data["name"]: message for message in site.published}
            out = site.outgoing
            many = by_name["many"]
            assert many.type == "dataset"
            assert many.data["dataset"] == [
                {"uri": f"{out}/a", "uid": "a"},
                {"uri": f"{out}/deep/b", "uid": "b"},
            ]
            assert "uri" not in many.data
            assert "uid" not in many.data
            assert set(many.data["tranship"]) == {"v", "id", "client", "of"}
            one = by_name["erste"]
            assert (one.type, one.data["uri"], one.data["uid"]) == ("file", f"{out}/c", "c")
            assert (by_name["plain"].type, by_name["plain"].data["uid"]) == ("file", "plain.dat")
            await until(lambda: not {"many.tar", "one.tar"} & set(os.listdir(out)), "deleted")
            found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
            refused = {name: found.pop(name) for name in ("bad.tar",) if name in found}
            assert found == {"a": b"1", "deep/b": b"22", "c": b"333", "plain.dat": b"4444"} | {
                "odd.tar": b"no tar at all"
            }
            assert list(refused) == ["bad.tar"]  # it stays, to be looked at
            reasons = sorted(str(facts["reason"]) for _, facts in client.story.of(Step.FAILED))
            assert "leads" in reasons[0] or "outside" in reasons[0]
            assert "no whole tar file" in reasons[1]

    asyncio.run(main())


def test_what_came_apart_before_a_crash_is_published_after_it(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.pattern = "{name}.tar"
        site.client_options["unpack"] = {"format": "tar", "delete": True}
        ear = site.ear(site.client_port, "/1b")
        site.start_server()
        site.drop("many.tar", tar(a=b"1", b=b"2"))
        for point in ("verified, not journaled", "delivered, not published"):
            config = site.write("client.yaml", site.client_config())
            client = site.tranship("client", "client", str(config), **{VARIABLE: f"{point}:1"})
            assert client.popen.wait(30) == -signal.SIGKILL, client.output
            assert set(site.delivered()) == {"many.tar", "a", "b"}
        site.start_client()
        message = ear.until(1, "dataset")[-1]
        assert [item["uid"] for item in message.data["dataset"]] == ["a", "b"]
        assert site.delivered() == {"a": b"1", "b": b"2"}


PROGRAM = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
pathlib.Path(path.name[:-2] + "__").write_bytes(path.read_bytes()[::-1])
"""


def test_a_server_decompresses_before_it_announces(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            work, program = tmp_path / "work", tmp_path / "program"
            program.write_text(PROGRAM)
            unpack = {
                "format": "xrit",
                "command": [sys.executable, str(program)],
                "directory": str(work),
                "delete": True,
            }
            options = {
                "origin": f"{site.incoming}/{{day}}/H-000-{{segment}}-{{compressed:2s}}",
                "unpack": unpack,
                "remove_delay": 0,
                "scan_interval": 0.2,
            }
            for name in ("mon/H-000-01-C_", "mon/H-000-02-__", "tue/H-000-01-C_"):
                (site.incoming / name).parent.mkdir(exist_ok=True)
                site.drop(name, name.encode())
            server = await site.server(**options)
            await site.client(destination=f"file://{site.outgoing}/{{day}}/")
            await until(lambda: len(site.published) == 3, "published")
            assert {
                str(p.relative_to(site.outgoing)): p.read_bytes()
                for p in site.outgoing.rglob("*")
                if p.is_file()
            } == {
                "mon/H-000-01-__": b"mon/H-000-01-C_"[::-1],
                "mon/H-000-02-__": b"mon/H-000-02-__",
                "tue/H-000-01-__": b"tue/H-000-01-C_"[::-1],
            }
            fields = {(m.data["day"], m.data["segment"], m.data["compressed"]) for m in site.published}
            assert fields == {("mon", "01", "C_"), ("mon", "02", "__"), ("tue", "01", "C_")}
            await until(lambda: not [p for p in work.rglob("*") if p.is_file()], "results deleted")
            left = [p.name for p in site.incoming.rglob("*") if p.is_file()]
            assert left == ["H-000-02-__"]  # it was no packed one, and is nobody's to delete
            await server.stop()
            await site.server(**options)
            site.drop("mon/H-000-03-C_", b"3")
            await until(lambda: len(site.published) == 4, "published after a restart, and nothing else again")
            assert len(server.story.of(Step.ANNOUNCED)) == 3

    asyncio.run(main())


def test_a_server_announces_an_archive_as_a_dataset(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(
                origin=f"{site.incoming}/{{name}}.tar",
                unpack={"format": "tar", "directory": str(tmp_path / "work")},
                scan_interval=0.1,
            )
            await site.client()
            site.drop("slot.tar", tar(a=b"1", b=b"22"))
            site.drop("bad.tar", b"no tar")
            await until(lambda: site.published, "published")
            (message,) = site.published
            assert message.type == "dataset"
            assert message.data["name"] == "slot"
            assert [item["uri"] for item in message.data["dataset"]] == [
                f"{site.outgoing}/a",
                f"{site.outgoing}/b",
            ]
            assert {p.name: p.read_bytes() for p in site.outgoing.iterdir()} == {"a": b"1", "b": b"22"}
            await until(lambda: server.story.of(Step.FAILED), "told")
            site.drop("next.tar", tar(c=b"1"))
            await until(lambda: len(site.published) == 2, "published")
            assert [file for file, _ in server.story.of(Step.FAILED)] == [
                str(site.incoming / "bad.tar")
            ]  # once
            assert "slot.tar" in os.listdir(site.incoming)

    asyncio.run(main())
