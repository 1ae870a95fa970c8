"""A server that announces what messages name, instead of what appears in a folder."""

import asyncio
import socket
from pathlib import Path
from typing import Any

from rig import TOPIC, Rig, Running, rig, until

from tranship.core.journey import Step
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose


def listen(site: Rig, **more: Any) -> dict[str, Any]:
    """The options of a chain that listens."""
    heard = {"addresses": ["127.0.0.1:50"], "topics": ["/new"], "allow": [f"file://{site.incoming}/**"]}
    return {"origin": None, "listen": heard, "info": {"sensor": "x"}, **more}


def said(site: Rig) -> list[Message]:
    """What the server announced."""
    return [
        m
        for m in site.heard
        if m.type in ("file", "dataset") and str(m.fields.get("request_address", "")).endswith(":101")
    ]


def parts(server: Running) -> dict[str, int]:
    return {part.name.removeprefix("hrit "): part.done for part in server.health.report(0).parts}


def named(file: Any, **more: Any) -> dict[str, Any]:
    return {"uri": str(file), "uid": Path(str(file)).name, **more}


def test_files_that_messages_name_are_announced_moved_and_published(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            speaker = MemoryBus(site.network).publisher("tcp://127.0.0.1:50", "speaker")
            server = await site.server(**listen(site))
            await site.client()
            first, second, third = (site.drop(f"{name}.dat", name.encode()) for name in "abc")
            url = f"ssh://{socket.gethostname()}{first}"
            dataset = {"dataset": [named(second), named(third, path="sub")], "platform": "P"}
            speaker.tell([compose("/new/x", "file", {**named(first), "uri": url, "platform": "P"})])
            speaker.tell([compose("/new/x", "dataset", dataset), compose("/old", "file", named(third))])
            told = await until(lambda: len(said(site)) == 2 and said(site), "announced")
            assert [(m.subject, m.type, m.data["platform"], m.data["sensor"]) for m in told] == [
                (TOPIC, "file", "P", "x"),
                (TOPIC, "dataset", "P", "x"),
            ]
            assert told[0].data["uri"] == url
            assert told[0].data["tranship"]["size"] == 1
            assert told[1].data["dataset"] == dataset["dataset"]
            await until(lambda: len(site.published) == 2, "both published")
            found = {str(p.relative_to(site.outgoing)): p.read_bytes() for p in site.outgoing.rglob("*.dat")}
            assert found == {"a.dat": b"a", "b.dat": b"b", "sub/c.dat": b"c"}
            speaker.tell([compose("/new/x", "dataset", dataset)])  # the same once more
            speaker.tell([compose("/new/x", "file", named(site.drop("d.dat")))])
            await until(lambda: [m for m in said(site) if m.data.get("uid") == "d.dat"], "the next")
            assert len(said(site)) == 3
            assert not [part for part in server.health.report(0).parts if part.trouble]

    asyncio.run(main())


def test_what_is_not_here_or_hostile_is_skipped_and_counted_and_said_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            speaker = MemoryBus(site.network).publisher("tcp://127.0.0.1:50", "speaker")
            server = await site.server(**listen(site, settle={"companion": "{name}.ok"}))
            path = site.drop("a.dat")
            site.drop("a.dat.ok")
            far = [
                named(path) | {"uri": f"ssh://192.0.2.1{path}"},
                named(path) | {"uri": f"s3://bucket{path}"},
            ]
            hostile = [
                named("/in/../etc/passwd"),
                named("relative"),
                named(path) | {"uid": "../../a.dat"},
                named(path) | {"uid": "other"},
                named("/in/a\n.dat"),
                named("/in/a\0.dat"),
                named(path, path="/etc"),
                named(path, path="../x"),
                named(path, path=7),
                named(path) | {"uri": "http://["},
                named(path) | {"uri": {"a": 1}},
                {"dataset": [named(path), named("/in/../x")]},
                {"nothing": "named"},
            ]
            speaker.tell([compose("/new", "file", data) for data in [*far, *hostile, *far]])
            late = site.incoming / "late.dat"
            speaker.tell(
                [
                    compose("/new", "file", named(late)),
                    compose("/new", "file", named(path, odd="{0.__class__}")),
                ]
            )
            [told] = await until(lambda: said(site), "announced")
            assert told.data["odd"] == "{0.__class__}"
            counts = parts(server)
            assert counts["messages of other hosts"] == 4
            assert counts["refused messages"] + counts["odd messages"] == len(hostile)
            said_so = {str(facts["reason"]): file for file, facts in server.story.of(Step.SKIPPED)}
            assert [file for reason, file in said_so.items() if "not here" in reason] == [str(path)] * 2
            assert said_so["it names no file"] == "-"
            assert {facts["topic"] for _, facts in server.story.of(Step.SKIPPED)} == {"/new"}
            late.write_bytes(b"later")  # not there when it was named; complete with its companion
            site.drop("late.dat.ok")
            await until(lambda: len(said(site)) == 2, "the late one")

    asyncio.run(main())


def test_only_allowed_files_are_announced_and_no_link_leads_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            speaker = MemoryBus(site.network).publisher("tcp://127.0.0.1:50", "speaker")
            server = await site.server(**listen(site))
            secret, link = tmp_path / "secret", site.incoming / "secret"
            secret.write_text("secret")
            link.symlink_to(secret)
            good = site.drop("a.dat")
            both = {"dataset": [named(good), named(secret)]}
            told = [compose("/new", "file", named(secret)), compose("/new", "dataset", both)]
            speaker.tell([*told, compose("/new", "file", named(link)), compose("/new", "file", named(good))])
            [message] = await until(lambda: said(site), "announced")
            assert message.data["uri"] == str(good)
            await until(lambda: parts(server)["refused messages"] == 3, "counted")
            reasons = {(str(f["reason"]), f["peer"]) for _, f in server.story.of(Step.SKIPPED)}
            peer = "tcp://127.0.0.1:50"
            assert reasons == {
                (f"{secret} is not allowed; add it to `allow`, if that message may name it", peer),
                (
                    f"{link} leads by a link to {secret}, which is not allowed; add that to `allow`, if it is meant",
                    peer,
                ),
            }
            assert len(said(site)) == 1

    asyncio.run(main())
