"""The dispatcher's promises, one fault each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rig import TOPIC, Rig, Running, rig, until

from servers.ftp import PASSWORD, USER, pyftpd
from servers.proxy import Fault, Proxy, Route
from tranship.config.dispatcher import DispatcherConfig
from tranship.core.journey import Step
from tranship.roles.dispatcher import dispatcher
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose

PUBLISHED = 1003


class Desk:
    """A publisher of posttroll messages, a dispatcher, and what that publishes."""

    def __init__(self, site: Rig) -> None:
        self.site = site
        bus = MemoryBus(site.network)
        self.publisher = bus.publisher("tcp://127.0.0.1:300", "somebody")
        site.ear.add(f"tcp://127.0.0.1:{PUBLISHED}", ["/done"])

    def config(self, **targets: dict[str, Any]) -> DispatcherConfig:
        usual = {
            "providers": ["127.0.0.1:300"],
            "allow": [f"file://{self.site.incoming}/**", "file:///no/such/**"],
            "directory": str(self.site.outgoing),
            "publish_topic": "/done",
            "routes": [{"topics": ["/a"]}],
        }
        return DispatcherConfig.model_validate(
            {
                "role": "dispatcher",
                "journal": str(self.site.folder / "dispatcher.journal"),
                "publish": {"port": PUBLISHED},
                "chains": {name: {**usual, **target} for name, target in targets.items()},
            }
        )

    async def start(self, **targets: dict[str, Any]) -> Running:
        return await self.site.moving(self.config(**targets), dispatcher)

    def tell(self, *names: str, topic: str = "/a/b", **items: Any) -> None:
        """Write files and say that they are there."""
        for name in names:
            path = self.site.drop(name, name.encode())
            self.say({"uri": str(path), "uid": name, **items}, topic)

    def say(self, data: Any, topic: str = "/a/b", kind: str = "file") -> None:
        self.publisher.tell([compose(topic, kind, data)])

    @property
    def done(self) -> list[Message]:
        return [message for message in self.site.heard if message.subject.startswith("/done")]

    @property
    def told(self) -> dict[str, str]:
        """The file that each message id is about: a crash may repeat a message, with its id."""
        return {m.data["tranship"]["id"]: m.data["uri"] for m in self.done}

    @property
    def delivered(self) -> set[str]:
        return below(self.site.outgoing)


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.h5")}


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    async with rig(folder) as site:
        yield Desk(site)


def test_files_go_where_their_metadata_say(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            out = it.site.outgoing
            await it.start(
                archive={
                    "directory": f"{out}/archive/{{sensor}}",
                    "filepattern": "{product}_{start_time:%Y%m%d}_{file_creation_time:%Y}.h5",
                    "aliases": {"product": {"natural_color": "dnc"}},
                    "publish_topic": "/done/{sensor}",
                    "routes": [
                        {"topics": ["/a"], "conditions": [{"sensor": ["viirs"], "coverage": ">50"}]},
                        {"topics": ["/c"], "directory": f"{out}/other", "filepattern": "{uid}"},
                    ],
                },
                everything={"directory": f"{out}/all"},
            )
            items = {"sensor": "viirs", "product": "natural_color", "start_time": datetime(2026, 11, 22, 12)}
            it.tell("1.h5", **items, coverage=80)
            it.tell("2.h5", **items, coverage=20)
            it.tell("3.h5", topic="/c/x", **items)
            it.tell("4.h5", topic="/elsewhere", **items)
            await until(lambda: len(it.done) == 4, "published")
            name = f"dnc_20261122_{datetime.now().year}.h5"
            assert it.delivered == {f"archive/viirs/{name}", "all/1.h5", "all/2.h5", "other/3.h5"}
            assert (out / "archive/viirs" / name).read_bytes() == b"1.h5"
            [message] = [m for m in it.done if m.data["uri"].endswith(name)]
            assert message.subject == "/done/viirs"
            assert message.data["uri"] == f"{out}/archive/viirs/{name}"
            assert message.data["uid"] == "1.h5"
            assert message.data["product"] == "natural_color"
            assert message.dated["start_time"] == items["start_time"]

    asyncio.run(main())


def test_datasets_and_collections_go_file_by_file_and_nothing_goes_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            running = await it.start(t={"directory": f"{it.site.outgoing}/{{segment}}"})
            files = [{"uri": str(it.site.drop(f"{n}.h5")), "uid": f"{n}.h5"} for n in range(4)]
            it.say({"segment": "a", "dataset": files[:2]}, kind="dataset")
            collection = [{"segment": "b", "dataset": files[2:3]}, {"segment": "c", **files[3]}]
            for _ in range(2):
                it.say({"segment": "x", "collection": collection}, kind="collection")
            await until(lambda: len(it.done) == 4, "published")
            assert it.delivered == {"a/0.h5", "a/1.h5", "b/2.h5", "c/3.h5"}
            it.say({"segment": "x", "collection": collection}, kind="collection")
            await until(lambda: len(running.story.of(Step.SKIPPED)) == 2, "the repeats are noticed")
            it.site.drop("0.h5", b"a new version")
            it.say({"segment": "a", **files[0]})
            await until(lambda: (it.site.outgoing / "a/0.h5").read_bytes() == b"a new version", "new version")
            await until(lambda: len(it.done) == 5, "published")

    asyncio.run(main())


def test_a_target_that_was_away_gets_everything_once(tmp_path: Path) -> None:
    async def main() -> None:
        received: list[str] = []
        counted = pyftpd(on_file_received=lambda _, path: received.append(path))
        with counted as server, Proxy(Route((server.host, server.port)), fault=Fault("reset")) as proxy:
            async with desk(tmp_path) as it:
                there = {
                    "host": f"ftp://127.0.0.1:{proxy.port}",
                    "login": f"{USER}:{PASSWORD}",
                    "directory": "/in",
                }
                running = await it.start(away=there, here={})
                names = [f"{n}.h5" for n in range(30)]
                it.tell(*names)
                await until(lambda: len(it.done) == 30, "the other target has all")
                await until(lambda: "paused" in running.health.report(0.0).text, "it was tried in vain")
                assert len(running.story.of(Step.RETRIED)) < 30
                await running.kill()
                running = await it.start(away=there, here={})
                proxy.fault = Fault()
                await until(lambda: len(it.told) == 60, "all is delivered")
                lie = {path.name: path.read_bytes() for path in (server.folder / "in").iterdir()}
                assert lie == {name: name.encode() for name in names}
                await running.stop()
                assert sorted(set(it.told.values())) == sorted(it.told.values())
                assert len(received) == 30, "something was sent twice"
                sent = [m.data["uri"] for m in it.done if m.data["uri"].startswith("/in/")]
                assert sorted(sent) == sorted(f"/in/{name}" for name in names)  # no crash came after that
                assert not [m for m in it.done if PASSWORD.encode() in m.encode()]
                journal = (it.site.folder / "dispatcher.journal").read_bytes()
                assert PASSWORD.encode() not in journal

    asyncio.run(main())


def test_a_black_hole_leaves_nine_targets_unaffected(tmp_path: Path) -> None:
    async def main() -> None:
        with pyftpd() as server, Proxy(Route((server.host, server.port)), fault=Fault("black hole")) as proxy:
            async with desk(tmp_path) as it:
                waits = {"timeout": "60 s"}  # who waits for it even once has not all in time
                hole = {
                    "host": f"ftp://127.0.0.1:{proxy.port}",
                    "directory": "/",
                    "connection_parameters": waits,
                }
                good = {f"t{n}": {"directory": f"{it.site.outgoing}/{n}"} for n in range(9)}
                running = await it.start(hole=hole, **good)
                for n in range(4):
                    it.tell(f"first{n}.h5")
                    await until(lambda n=n: proxy.accepted > n, "the black hole holds one transfer more")
                it.tell(*(f"{n}.h5" for n in range(40)))
                await until(lambda: len(it.done) == 9 * 44, "nine targets have all, the tenth nothing")
                assert len(it.delivered) == 9 * 44
                assert not [m for m in it.done if m.data["uri"].startswith("/in/")]
                assert not running.story.of(Step.FAILED)
                assert not running.story.of(Step.RETRIED), "it has let go, so that this shows nothing"
                proxy.reset_all()

    asyncio.run(main())


def test_what_our_server_announced_meanwhile_is_dispatched(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            await it.site.server()
            target = {"providers": ["127.0.0.1:100"], "routes": [{"topics": [TOPIC]}]}
            running = await it.start(t=target)
            it.site.drop("0.dat")
            await until(lambda: len(it.done) == 1, "dispatched")
            await running.kill()
            for n in range(1, 6):
                it.site.drop(f"{n}.dat")
            announced = lambda: len([m for m in it.site.heard if m.subject == TOPIC]) == 6  # noqa: E731
            await until(announced, "announced while nobody listened")
            await it.start(t=target)
            await until(lambda: len(it.told) == 6, "replayed")
            assert sorted(it.told.values()) == [f"{it.site.outgoing}/{n}.dat" for n in range(6)]
            assert "request_address" not in it.done[-1].data

    asyncio.run(main())


def test_where_a_folder_has_the_files_name_the_message_names_the_file_in_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            await it.start(t={"filepattern": "{sensor}.h5"})
            (it.site.outgoing / "viirs.h5").mkdir()
            it.tell("1.h5", sensor="viirs")
            [message] = await until(lambda: it.done, "published")
            path = it.site.outgoing / "viirs.h5/1.h5"
            assert (message.data["uri"], path.read_bytes()) == (str(path), b"1.h5")

    asyncio.run(main())


def test_only_allowed_files_are_sent_and_no_link_leads_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            secret = tmp_path / "secret.h5"
            secret.write_text("secret")
            link, folder = it.site.incoming / "link.h5", it.site.incoming / "folder"
            link.symlink_to(secret)
            folder.symlink_to(tmp_path)
            running = await it.start(t={})
            named = [str(secret), f"file://{secret}", str(link), f"{folder}/secret.h5", f"//{secret}"]
            for uri in named:
                it.say({"uri": uri, "uid": "secret.h5"})
            it.say({"dataset": [{"uri": str(secret), "uid": "secret.h5"}]}, kind="dataset")
            it.say({"uri": str(secret), "uid": "secret.h5"}, topic="/of/no/concern")
            it.tell("good.h5")
            await until(lambda: it.done, "published")
            assert it.delivered == {"good.h5"}
            told = {str(facts["reason"]): facts["peer"] for _, facts in running.story.of(Step.REFUSED)}
            assert set(told) == {
                f"{secret} is not allowed; add it to `allow`, if that message may name it",
                *(
                    f"{path} leads by a link to {secret}, which is not allowed; add that to `allow`, if it is meant"
                    for path in (link, folder / "secret.h5")
                ),
            }
            assert all("@" in str(peer) for peer in told.values())
            counted = {part.name: part.done for part in running.health.report(0.0).parts}
            assert counted["t refused"] == len(named) + 1

    asyncio.run(main())


def test_a_link_that_took_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            with pyftpd() as server:
                proxy = Proxy(Route((server.host, server.port)), fault=Fault("reset"))
                with proxy:
                    there = {
                        "host": f"ftp://127.0.0.1:{proxy.port}",
                        "login": f"{USER}:{PASSWORD}",
                        "directory": "/in",
                    }
                    running = await it.start(t=there)
                    it.tell("a.h5")
                    await until(lambda: running.story.of(Step.RETRIED), "it waits for its target")
                    (tmp_path / "secret").write_text("secret")
                    (it.site.incoming / "a.h5").unlink()
                    (it.site.incoming / "a.h5").symlink_to(tmp_path / "secret")
                    proxy.fault = Fault()
                    await until(lambda: running.story.of(Step.FAILED), "given up")
                    [(_, facts)] = running.story.of(Step.FAILED)
                    assert "leads by a link" in str(facts["reason"])
                    assert not list(server.folder.rglob("*.h5"))

    asyncio.run(main())


def test_nothing_is_allowed_by_default(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            running = await it.start(t={"allow": []})
            it.tell("a.h5")
            await until(lambda: running.story.of(Step.REFUSED), "refused")
            assert not it.delivered

    asyncio.run(main())


HOSTILE: list[Any] = [
    {"uri": "../../etc/passwd", "uid": "x"},
    {"uri": "/in/../etc/passwd", "uid": "x"},
    {"uri": "relative", "uid": "x"},
    {"uri": "/in/a\0b", "uid": "x"},
    {"uri": "/in/a\nb", "uid": "x"},
    {"uri": "file:///in/%00", "uid": "x"},
    {"uri": "file:///in/%2e%2e/x", "uid": "x"},
    {"uri": "/in/\ud800", "uid": "x"},
    {"uri": ["/in/a"], "uid": "x"},
    {"uri": "", "uid": "x"},
    {"uri": "/in/", "uid": "x"},
    {"uri": "ssh://[broken/in/a", "uid": "x"},
    {"uri": "ssh://no.such.host.invalid/in/a.h5", "uid": "x"},
    {"uid": "x"},
    {"dataset": [{"uri": 1}]},
    [1, 2],
    "text",
]


def test_no_message_harms_the_dispatcher(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            out = it.site.outgoing
            running = await it.start(
                t={"directory": f"{out}/{{sensor}}", "filepattern": "{sensor}-{orbit:05d}.h5"}
            )
            for data in HOSTILE:
                it.say(data)
            good = it.site.drop("good.h5")
            values: list[Any] = [
                "{x.__class__}",
                "../..",
                "/etc",
                "a\nb",
                "a\0b",
                "x" * 500_000,
                [1],
                {"a": {}},
            ]
            for value in values:
                it.say({"uri": str(good), "uid": "good.h5", "sensor": value, "orbit": 1})
                it.say({"uri": str(good), "uid": "good.h5", "sensor": "viirs", "orbit": value})
            it.say({"uri": "/no/such/file.h5", "uid": "file.h5", "sensor": "viirs", "orbit": 7})
            await until(lambda: it.done, "published")
            it.say({"uri": str(good), "uid": "good.h5", "sensor": "viirs", "orbit": 7})
            await until(lambda: any("viirs" in m.data["uri"] for m in it.done), "still serving")
            lie = below(tmp_path)
            assert lie >= {
                "in/good.h5",
                "out/viirs/viirs-00007.h5",
                "out/{x.__class__}/{x.__class__}-00001.h5",
            }
            assert {path for path in lie if not path.startswith(("in/", "out/"))} == set()

            def refused() -> int:
                parts = running.health.report(0.0).parts
                return sum(part.done for part in parts if part.name == "t refused")

            # one of them waits until its host was looked up
            await until(lambda: refused() == len(HOSTILE), "all are refused, and counted", 60)
            reasons = [str(facts["reason"]) for _, facts in running.story.of(Step.FAILED)]
            for told in ("climb", "lead out", "NUL", "bytes long", "can't be filled in", "no such file"):
                assert [reason for reason in reasons if told in reason], told
            assert max(map(len, reasons)) < 400

    asyncio.run(main())
