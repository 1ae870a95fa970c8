"""A server without a client: what it announces is rebuilt and read by fsspec itself."""

import asyncio
import bz2
import getpass
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pytroll_collectors.fsspec_to_message import extract_local_files_to_message_for_remote_use as theirs
from rig import TOPIC, Rig, rig, until

from servers import ssh
from tranship.core.journey import Step
from tranship.wire.messages import Message


@pytest.fixture(scope="module")
def host() -> Iterator[ssh.Ssh]:
    with ssh.sshd() as running:
        yield running


def packed(kind: str) -> bytes:
    """An archive of two files, one in a folder."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.txt", b"first")
            archive.writestr("sub/b.txt", b"second")
    else:
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in (("a.txt", b"first"), ("sub/b.txt", b"second")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def rebuilt(item: dict[str, Any]) -> Any:
    return fsspec.AbstractFileSystem.from_json(json.dumps(item["filesystem"]))


async def told(site: Rig, count: int) -> list[Message]:
    return await until(  # type: ignore[no-any-return]
        lambda: len(heard := [m for m in site.heard if "filesystem" in str(m.data)]) == count and heard,
        "announced",
    )


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_fsspec_reads_over_ssh_what_is_announced(
    tmp_path: Path, host: ssh.Ssh, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = {"host": "127.0.0.1", "port": host.port, "username": getpass.getuser()}
    for protocol in ("ssh", "sftp"):  # the login is the consumer's own
        monkeypatch.setitem(fsspec.config.conf, protocol, {"key_filename": str(host.key)})

    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(
                request=None,
                filesystem=reached,
                info={"sensor": "viirs"},
                origin=f"{site.incoming}/{{name}}.dat",
            )
            path = site.drop("a b.dat", b"plain content")
            [plain] = await told(site, 1)
            assert (plain.type, plain.data["sensor"], plain.data["name"]) == ("file", "viirs", "a b")
            assert plain.data["uri"] == f"ssh://{getpass.getuser()}@127.0.0.1:{host.port}{path}"
            assert "request_address" not in plain.data
            filesystem = await asyncio.to_thread(rebuilt, plain.data)
            assert await asyncio.to_thread(filesystem.cat, str(path)) == b"plain content"
            await server.stop()

            site.heard.clear()
            await site.server(
                request=None,
                filesystem={**reached, "archive": kind},
                origin=f"{site.incoming}/{{name}}.{kind}",
            )
            archive = site.drop(f"c.{kind}", packed(kind))
            [message] = await told(site, 1)
            assert (message.subject, message.type, message.data["name"]) == (TOPIC, "dataset", "c")
            other = theirs(str(archive), TOPIC, kind, target_protocol="ssh", target_options=reached).data[
                "dataset"
            ]
            ours = message.data["dataset"]
            for mine, peer in zip(ours, other, strict=True):
                assert mine["uri"] == peer["uri"]
                assert mine["uid"] == peer["uid"]
                facts = ("fo", "target_protocol", "target_options", "args")
                assert [mine["filesystem"].get(key) for key in facts] == [
                    peer["filesystem"].get(key) for key in facts
                ]
            contents = {}
            for item in ours:
                filesystem = await asyncio.to_thread(rebuilt, item)
                name = item["uid"].partition("://")[2]
                contents[name] = await asyncio.to_thread(filesystem.cat, name)
                with await asyncio.to_thread(fsspec.open, item["uri"]) as opened:  # the chained URL by itself
                    assert await asyncio.to_thread(opened.read) == contents[name]
            assert contents == {"a.txt": b"first", "sub/b.txt": b"second"}

    asyncio.run(main())


def test_archives_that_lead_out_or_are_none_are_refused_and_the_next_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(
                request=None,
                filesystem={"protocol": "file", "archive": "zip"},
                origin=f"{site.incoming}/{{name}}.zip",
            )
            for number, name in enumerate(("../x", "/etc/passwd", "a\n", "")):
                out = io.BytesIO()
                with zipfile.ZipFile(out, "w") as archive:
                    if name:
                        archive.writestr(name, b"")
                site.drop(f"bad{number}.zip", out.getvalue())
            site.drop("none.zip", b"no archive")
            good = site.drop("good.zip", packed("zip"))
            [message] = await told(site, 1)
            uris = [item["uri"] for item in message.data["dataset"]]
            assert uris == [f"zip://{name}::file://{good}" for name in ("a.txt", "sub/b.txt")]
            refused = await until(lambda: len(told := server.story.of(Step.FAILED)) >= 5 and told, "refused")
            assert {Path(file).name for file, _ in refused} == {
                *(f"bad{n}.zip" for n in range(4)),
                "none.zip",
            }

    asyncio.run(main())


def test_packed_files_are_announced_as_what_is_in_them(tmp_path: Path) -> None:
    """As by a Trollmoves server with `compression` and without `request_port`: one file, several, and an archive."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            work = tmp_path / "work"
            alone = {"request": None, "filesystem": {"protocol": "file"}, "scan_interval": 0.1}
            server = await site.server(
                **alone,
                origin=f"{site.incoming}/{{name}}.bz2",
                unpack={"format": "bzip2", "directory": str(work), "delete": True, "keep": 0.5},
            )
            packed_file = site.drop("a.bz2", bz2.compress(b"plain"))
            [one] = await told(site, 1)
            assert (one.type, one.data["uri"], one.data["name"]) == ("file", f"file://{work}/a", "a")
            assert one.data["filesystem"]["protocol"] == "file"
            assert one.data["tranship"]["size"] == len(b"plain")
            await until(lambda: not packed_file.exists() and not (work / "a").exists(), "both are deleted")
            await server.stop()

            site.heard.clear()
            server = await site.server(
                **alone,
                origin=f"{site.incoming}/{{name}}.tar",
                unpack={"format": "tar", "directory": str(work)},
            )
            site.drop("b.tar", packed("tar"))
            [several] = await told(site, 1)
            assert (several.type, several.data["name"]) == ("dataset", "b")
            lie = {}
            for item in several.data["dataset"]:
                filesystem = await asyncio.to_thread(rebuilt, item)
                lie[item["uri"]] = await asyncio.to_thread(filesystem.cat, item["uri"])
            assert lie == {f"file://{work}/a.txt": b"first", f"file://{work}/sub/b.txt": b"second"}
            await server.stop()

            site.heard.clear()
            await site.server(
                request=None,
                filesystem={"protocol": "file", "archive": "zip"},
                origin=f"{site.incoming}/{{name}}.zip.gz",
                unpack={"format": "gzip", "directory": str(work)},
                scan_interval=0.1,
            )
            site.drop("c.zip.gz", gzip.compress(packed("zip")))
            [members] = await told(site, 1)
            uris = [item["uri"] for item in members.data["dataset"]]
            assert uris == [f"zip://{name}::file://{work}/c.zip" for name in ("a.txt", "sub/b.txt")]
            with await asyncio.to_thread(fsspec.open, uris[1]) as opened:
                assert await asyncio.to_thread(opened.read) == b"second"

    asyncio.run(main())
