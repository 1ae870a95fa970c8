"""The fetcher's promises, with real servers."""

import asyncio
import hashlib
import json
import os
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rig import Rig, Running, rig, until

from servers import s3
from servers.ftp import PASSWORD, USER, pyftpd
from servers.proxy import Fault, Proxy, Route
from servers.ssh import asyncsshd
from servers.web import web
from tranship.config.fetch import FetchConfig
from tranship.core.journey import Step
from tranship.roles.fetch import fetch
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose

PUBLISHED = 1004


class Desk:
    """A publisher of posttroll messages, a fetcher, and what that publishes."""

    def __init__(self, site: Rig) -> None:
        self.site = site
        self.publisher = MemoryBus(site.network).publisher("tcp://127.0.0.1:300", "somebody")
        site.ear.add(f"tcp://127.0.0.1:{PUBLISHED}", [""])

    async def start(self, **chain: Any) -> Running:
        config = FetchConfig.model_validate(
            {
                "role": "fetch",
                "journal": str(self.site.folder / "fetch.journal"),
                "publish": {"port": PUBLISHED},
                "chains": {
                    "c": {
                        "providers": ["127.0.0.1:300"],
                        "topics": ["/a"],
                        "directory": f"{self.site.outgoing}/{{kind}}",
                        **chain,
                    }
                },
            }
        )
        return await self.site.moving(config, fetch)

    def say(self, kind: str, topic: str = "/a/b", **items: Any) -> None:
        self.publisher.tell([compose(topic, "file", {"kind": kind, **items})])

    @property
    def done(self) -> dict[str, Message]:
        return {m.data["kind"]: m for m in self.site.heard if m.type == "file" and "kind" in m.data}

    def got(self, kind: str, name: str) -> bytes:
        return (self.site.outgoing / kind / name).read_bytes()


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    async with rig(folder) as site:
        yield Desk(site)


def test_no_link_leads_out_of_what_is_allowed_of_this_host(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            running = await it.start(allow=[f"FILE://{it.site.incoming}/**"])
            (tmp_path / "secret").write_text("secret")
            with zipfile.ZipFile(tmp_path / "secret.zip", "w") as archive:
                archive.writestr("secret", "secret")
            for name in ("secret", "secret.zip"):
                (it.site.incoming / name).symlink_to(tmp_path / name)
            it.say("plain", uri=str(it.site.incoming / "secret"))
            it.say("packed", uri=f"zip://secret::file://{it.site.incoming}/secret.zip")
            await until(lambda: len(running.story.of(Step.FAILED)) == 2, "given up")
            assert all("leads by a link" in str(f["reason"]) for _, f in running.story.of(Step.FAILED))
            it.say("good", uri=str(it.site.drop("good")))
            await until(lambda: it.done, "published")
            assert set(it.done) == {"good"}

    asyncio.run(main())


def test_where_a_folder_has_the_files_name_nothing_is_fetched_and_nobody_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            running = await it.start(allow=[f"file://{it.site.incoming}/**"])
            (it.site.outgoing / "k" / "a.dat").mkdir(parents=True)
            it.say("k", uri=str(it.site.drop("a.dat")))
            await until(lambda: running.story.of(Step.FAILED), "given up")
            assert not list((it.site.outgoing / "k" / "a.dat").iterdir())
            assert not it.done

    asyncio.run(main())


def test_files_come_from_wherever_they_lie(tmp_path: Path) -> None:
    content = os.urandom(300_000)

    async def main(http_port: int, ftp: Any, ssh: Any) -> None:
        async with desk(tmp_path) as it:
            served = tmp_path / "served"
            with zipfile.ZipFile(served / "a.zip", "w") as archive:
                archive.writestr("inside/m.dat", content)
            (ftp.folder / "f.dat").write_bytes(content)
            (ftp.folder / "a.zip").write_bytes((served / "a.zip").read_bytes())
            (ssh.folder / "s.dat").write_bytes(content)
            it.site.drop("l.dat", content)
            running = await it.start(
                allow=[
                    f"http://127.0.0.1:{http_port}/**",
                    f"ftp://127.0.0.1:{ftp.port}/**",
                    f"sftp://127.0.0.1:{ssh.port}/**",
                    f"file://{it.site.incoming}/**",
                ],
                login=f"{USER}:{PASSWORD}",
                connection_parameters=ssh.options(),
                publish_topic="/fetched/{kind}",
            )
            url = f"http://127.0.0.1:{http_port}/h.dat"
            it.say("http", uri=url, uid="h.dat", sensor="viirs")
            it.say("ftp", uri=f"ftp://somebody:{PASSWORD}@127.0.0.1:{ftp.port}/f.dat", uid="f.dat")
            it.say("local", uri=str(it.site.incoming / "l.dat"))
            base = f"sftp://{ssh.user}@127.0.0.1:{ssh.port}"
            it.say("sftp", uri=f"{base}{ssh.root}/s.dat")
            chained = f"zip://inside/m.dat::file://{it.site.incoming}/a.zip"
            (it.site.incoming / "a.zip").write_bytes((served / "a.zip").read_bytes())
            it.say("chained", uri=chained)
            described = {
                "cls": "fsspec.implementations.zip:ZipFileSystem",
                "protocol": "zip",
                "args": [],
                "fo": f"{it.site.incoming}/a.zip",
                "target_protocol": "file",
                "target_options": {},
            }
            it.say("json", filesystem=json.dumps(described), path="inside/m.dat")
            plain = {"cls": "fsspec.implementations.http:HTTPFileSystem", "protocol": "http", "args": []}
            it.say("object", filesystem=plain, path=url)
            kinds = {"http", "ftp", "local", "sftp", "chained", "json", "object"}
            await until(lambda: set(it.done) == kinds, "all are here", 30)
            names = {"http": "h.dat", "object": "h.dat", "ftp": "f.dat", "local": "l.dat", "sftp": "s.dat"}
            for kind in kinds:
                name = names.get(kind, "m.dat")
                assert it.got(kind, name) == content, kind
                told = it.done[kind]
                assert told.subject == f"/fetched/{kind}"
                assert told.data["uri"] == str(it.site.outgoing / kind / name)
                assert not {"filesystem", "path"} & told.data.keys()
            assert it.done["http"].data["sensor"] == "viirs"
            assert PASSWORD not in str(running.story.lines)
            sizes = {facts["size"] for _, facts in running.story.of(Step.PUBLISHED)}
            assert sizes == {len(content)}, "no message said it"

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "h.dat").write_bytes(content)
    with web(tmp_path / "served") as port, pyftpd() as ftp, asyncsshd() as ssh:
        asyncio.run(main(port, ftp, ssh))


def test_what_is_in_a_bucket_comes_as_with_the_s3_downloader(tmp_path: Path) -> None:
    async def main(server: Any) -> None:
        async with desk(tmp_path) as it:
            server.client().put_object(Bucket="archive", Key="a.dat", Body=b"of the bucket")
            options = {
                "anon": False,
                "key": s3.KEY,
                "secret": s3.SECRET,
                "client_kwargs": {"endpoint_url": server.url},
            }
            running = await it.start(source="s3://archive/", connection_parameters=options)
            it.say("bucket", uri="s3://somewhere/else/a.dat", uid="a.dat", tst=1)
            await until(lambda: "bucket" in it.done, "it is here", 30)
            assert it.got("bucket", "a.dat") == b"of the bucket"
            assert "tst" not in it.done["bucket"].data
            it.say("absent", uri="s3://archive/no.dat")
            await until(lambda: running.story.of(Step.FAILED), "what is not there is told")
            assert s3.SECRET not in str(running.story.lines)

    with s3.seaweed() as server:
        asyncio.run(main(server))


def test_a_cut_line_a_crash_and_a_wrong_size_leave_nothing_torn(tmp_path: Path) -> None:
    content = os.urandom(200_000)

    async def main(server: Any, proxy: Proxy) -> None:
        async with desk(tmp_path) as it:
            for n in range(10):
                (server.folder / f"{n}.dat").write_bytes(content)
            login = {"login": f"{USER}:{PASSWORD}", "allow": [f"ftp://127.0.0.1:{proxy.port}/**"]}
            running = await it.start(**login)
            for n in range(10):
                it.say(str(n), uri=f"ftp://127.0.0.1:{proxy.port}/{n}.dat")
            await until(lambda: "paused" in running.health.report(0.0).text, "the place is away")
            await running.kill()
            running = await it.start(**login)
            proxy.fault = Fault()
            await until(lambda: len(it.done) == 10, "all are here")
            facts = {"v": 1, "size": len(content) - 1, "mtime": 1}
            it.say("wrong", uri=f"ftp://127.0.0.1:{proxy.port}/1.dat", tranship=facts)
            it.say("0", uri=f"ftp://127.0.0.1:{proxy.port}/0.dat", tranship={"checksum": "sha256:00"})
            await until(lambda: len(running.story.of(Step.RETRIED)) >= 2, "neither is what was said")
            assert all(it.got(str(n), f"{n}.dat") == content for n in range(10))
            assert not (it.site.outgoing / "wrong").exists() or not list(
                (it.site.outgoing / "wrong").iterdir()
            )
            assert PASSWORD.encode() not in (it.site.folder / "fetch.journal").read_bytes()

    with pyftpd() as server, Proxy(Route((server.host, server.port)), fault=Fault("reset")) as proxy:
        asyncio.run(main(server, proxy))


def test_a_version_that_was_replaced_before_it_was_fetched_is_owed_no_more(tmp_path: Path) -> None:
    async def main(port: int) -> None:
        async with desk(tmp_path) as it:
            running = await it.start(allow=[f"http://127.0.0.1:{port}/**"])
            served = tmp_path / "served"

            def say(kind: str, version: int, **more: object) -> None:
                facts: dict[str, object] = {"v": 1, "size": len(b"version 1"), **(more or {"mtime": version})}
                facts["checksum"] = f"md5:{hashlib.md5(b'version %d' % version).hexdigest()}"
                it.say(kind, uri=f"http://127.0.0.1:{port}/{kind}.dat", tranship=facts)

            (served / "replay.dat").write_bytes(b"version 2")  # whose first version is told last
            say("replay", 2)
            await until(lambda: "replay" in it.done, "it is here")
            say("replay", 1)
            await until(lambda: running.story.of(Step.SKIPPED), "it is outdated")
            (served / "late.dat").write_bytes(b"version 1")  # whose second version is told before it is there
            say("late", 1)
            await until(lambda: "late" in it.done, "it is here")
            say("late", 2)
            await until(lambda: len(running.story.of(Step.RETRIED)) >= 2, "it is waited for")
            (served / "late.dat").write_bytes(b"version 2")
            await until(lambda: it.got("late", "late.dat") == b"version 2", "it is fetched")
            assert it.got("replay", "replay.dat") == b"version 2"
            assert len(running.story.of(Step.SKIPPED)) == 1
            (served / "turn.dat").write_bytes(
                b"version 2"
            )  # likewise; its publisher tells numbers, and no times
            for version in (2, 1):
                say("turn", version, publisher={"id": "abc", "seq": version, "replay": 1})
                await until(lambda: "turn" in it.done, "it is here")
            await until(lambda: len(running.story.of(Step.SKIPPED)) == 2, "its first version is outdated")
            assert it.got("turn", "turn.dat") == b"version 2"
            assert not running.story.of(Step.FAILED)

    (tmp_path / "served").mkdir()
    with web(tmp_path / "served") as port:
        asyncio.run(main(port))


EVIL = {"cls": "subprocess:Popen", "protocol": "zip", "args": [["touch", "/x"]], "fo": "http://127.0.0.1:1/a"}
HOSTILE: list[dict[str, Any]] = [
    {"uri": "file:///etc/passwd"},
    {"uri": "/etc/passwd"},
    {"uri": "local:///etc/passwd"},
    {"uri": "memory://x/y"},
    {"uri": "http://127.0.0.1:1/../../etc/passwd"},
    {"uri": "ftp://elsewhere.invalid/a.dat"},
    {"uri": "http://127.0.0.1:1/a\0b"},
    {"uri": "http://127.0.0.1:1/folder/"},
    {"uri": "zip://m::zip://n::http://127.0.0.1:1/a.zip"},
    {"uri": "zip://m::/etc/a.zip"},
    {"uri": "dir://m::http://127.0.0.1:1/a"},
    {"filesystem": "{", "path": "x"},
    {"filesystem": {"protocol": "file"}, "path": "/etc/passwd"},
    {"filesystem": {"protocol": ["file"]}, "path": "/etc/passwd"},
    {"filesystem": {"protocol": "dir", "path": "/etc", "fs": {}}, "path": "passwd"},
    {"filesystem": {"protocol": "zip", "args": [], "fo": "/etc/x.zip"}, "path": "m"},
    {"filesystem": {"protocol": "zip", "args": ["/etc/x.zip"]}, "path": "m"},
    {"filesystem": {"protocol": "http"}, "path": "file:///etc/passwd"},
    {"filesystem": {"protocol": "http"}, "path": 7},
    {"filesystem": {"protocol": "zip", "fo": "http://127.0.0.1:1/a.zip"}, "path": "m\udcff"},
    {
        "filesystem": {"protocol": "zip", "fo": {"fs": {"protocol": "http"}, "path": "http://a/b"}},
        "path": "m",
    },
    {"filesystem": {"protocol": "zip", "fo": "/a.zip", "target_protocol": ["http"]}, "path": "m"},
    {"filesystem": {"protocol": "zip", "fo": "http://127.0.0.1:1/a%3A%3Ab.zip"}, "path": "m"},
    {"filesystem": {"protocol": "generic"}, "path": "/etc/passwd"},
    {"uri": "generic:///etc/passwd"},
    {"uri": "dir:///etc/passwd"},
    {"uri": "reference://x/y"},
]


def test_an_archive_is_read_only_where_it_is_allowed(tmp_path: Path) -> None:
    """What a message says of a file system is not what fsspec is told: it could read elsewhere, and write."""

    async def main() -> None:
        async with desk(tmp_path) as it:
            folder = it.site.incoming
            secret, victim, good = tmp_path / "secret.zip", folder / "victim.zip", folder / "good.zip"
            for path in (secret, victim, good):
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("m.dat", path.name)
            before = victim.read_bytes()
            locked = bytearray(good.read_bytes())
            locked[6] |= 1  # encrypted, it says
            locked[locked.rfind(b"PK\1\2") + 8] |= 1
            (folder / "locked.zip").write_bytes(locked)
            (folder / "junk.tar").write_bytes(locked)
            running = await it.start(allow=[f"file://{folder}/**"])
            url = f"file://{good}"
            for told in (
                {"fo": f"file://{secret}::{url}", "target_protocol": "file"},
                {"fo": f"file://{secret}::{url}"},
                {"fo": str(victim), "target_protocol": "file", "mode": "w"},
                {"fo": url, "target_options": [1]},
                {"fo": url, "target_options": {"client_kwargs": 7}},
                {"fo": url, "args": {"a": 1}, "extra": {"cls": "antigravity:x"}},
            ):
                it.say("odd", filesystem={"protocol": "zip", **told}, path="m.dat")
            it.say("locked", uri=f"zip://m.dat::file://{folder}/locked.zip")
            it.say("junk", uri=f"tar://m.dat::file://{folder}/junk.tar")
            it.say("good", uri=f"zip://m.dat::{url}")
            await until(lambda: "good" in it.done, "still serving", 30)
            assert it.got("good", "m.dat") == b"good.zip"
            await until(lambda: len(running.story.of(Step.RETRIED)) >= 2, "what can't be read is told")
            assert secret.name.encode() not in b"".join(p.read_bytes() for p in it.site.outgoing.glob("*/*"))
            assert victim.read_bytes() == before
            assert not [p.trouble for p in running.health.report(0).parts if p.name == "c" and p.trouble]

    asyncio.run(main())


def test_no_message_harms_the_fetcher(tmp_path: Path) -> None:
    async def main(port: int) -> None:
        async with desk(tmp_path) as it:
            running = await it.start(
                allow=["http://127.0.0.1:1/**", f"http://127.0.0.1:{port}/**"],
                directory=f"{it.site.outgoing}/{{kind}}",
                filepattern="{name}",
            )
            for items in HOSTILE:
                it.say("bad", **items, name="n")
            it.say("bad", filesystem=EVIL, path="m", name="n")
            url = f"http://127.0.0.1:{port}/h.dat"
            for name in ("../../x", "/etc/x", "a\0b", "x" * 400_000, ""):
                it.say("bad", uri=url, name=name)
            it.say("../bad", uri=url, name="x")
            it.say("good", uri=url, name="{name.__class__}")
            await until(lambda: "good" in it.done, "still serving", 30)
            assert it.got("good", "{name.__class__}") == b"good"
            assert set(it.done) == {"good"}
            await until(lambda: len(running.story.of(Step.FAILED)) >= 6, "all is told")
            assert not (it.site.outgoing / "bad").exists()

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "h.dat").write_bytes(b"good")
    with web(tmp_path / "served") as port:
        asyncio.run(main(port))
