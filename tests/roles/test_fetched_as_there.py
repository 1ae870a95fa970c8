"""What pytroll-fetcher and s3downloader.py do with a file of their own, ours does with the same: files and messages."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from posttroll.message import Message
from pytroll_watchers.publisher import _create_message
from rig import rig, until
from test_fetch import PUBLISHED
from trollmoves.fetcher import fetch_from_message
from trollmoves.s3downloader import S3Downloader

from tranship.config import Overrides, load
from tranship.roles.fetch import fetch
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import compose

ITEMS: dict[str, Any] = {
    "platform_name": "Metop-B",
    "start_time": "2026-11-22T12:05:00",
    "filename": "what",
    "compress": "bzip2",
    "tst": 1,
    "file_list": ["a"],
    "nested": {"when": "2026-11-22T12:06:00", "list": [1, None]},
    "sensor": ["avhrr", "mhs"],
}
LOCAL = {"cls": "fsspec.implementations.local.LocalFileSystem", "protocol": "file", "args": []}


def told(message: Any, *out: Path) -> tuple[str, str, dict[str, str]]:
    """Subject, type and items, as posttroll reads them, without what only ours says."""
    wire = message.encode()
    read = Message(rawstr=wire.decode() if isinstance(wire, bytes) else wire)
    items = {key: repr(value) for key, value in read.data.items() if key != "tranship"}
    for folder in out:
        items = {key: value.replace(str(folder), "OUT") for key, value in items.items()}
    return read.subject, read.type, items


async def ours(site: Any, config: dict[str, Any], *heard: Message) -> list[Any]:
    file = site.folder / "fetch.yaml"
    file.write_text(yaml.safe_dump(config))
    loaded = load(file, "fetch", overrides=Overrides(name_servers=())).config
    socket = loaded.publish.model_copy(update={"port": PUBLISHED})
    journal = site.folder / "fetch.journal"
    await site.moving(loaded.model_copy(update={"publish": socket, "journal": journal}), fetch)
    publisher = MemoryBus(site.network).publisher("tcp://127.0.0.1:300", "somebody")
    site.ear.add(f"tcp://127.0.0.1:{PUBLISHED}", [""])
    publisher.tell([compose(m.subject, m.type, m.data) for m in heard])

    def done() -> list[Any]:
        return [message for message in site.heard if message.type == "file"]

    await until(lambda: len(done()) == len(heard), "fetched and published", 30)
    return done()


@pytest.mark.parametrize("by", ["uri", "path"])
def test_pytroll_fetcher(tmp_path: Path, by: str) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            path = site.drop("a b.dat", b"content")
            where = (
                {"uri": f"file://{path}", "request_address": "192.0.2.9:9092"}
                if by == "uri"
                else {"path": str(path), "filesystem": LOCAL}
            )
            heard = Message(rawstr=str(Message("/a/b", "file", ITEMS | where | {"uid": "a b.dat"})))
            theirs = tmp_path / "theirs"
            item = fetch_from_message(heard, f"{theirs}/{{platform_name}}/{{start_time:%Y%m%d}}")
            data = {k: v for k, v in heard.data.items() if k not in ("filesystem", "path", "uid", "uri")}
            data.pop("request_address", None)  # there is nothing to be asked for
            expected = _create_message(item, {"subject": heard.subject, "atype": "file", "data": data}, {})
            config = {
                "destination": f"{site.outgoing}/{{platform_name}}/{{start_time:%Y%m%d}}",
                "subscriber_config": {"addresses": ["tcp://127.0.0.1:300"], "nameserver": False},
                "publisher_config": {"name": "fetched"},
            }
            [message] = await ours(site, config, heard)
            assert told(message, site.outgoing) == told(expected, theirs)
            assert (site.outgoing / item.relative_to(theirs)).read_bytes() == item.read_bytes() == b"content"

    asyncio.run(main())


def test_s3_downloader(tmp_path: Path) -> None:
    """The bucket is a folder here: what counts is what is told."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            site.drop("a.dat", b"content")
            there = {
                "request_address": "192.0.2.9:9092",
                "uri": "s3://archive/a.dat",
                "uid": "a.dat",
                "path": "archive/a.dat",
                "filesystem": LOCAL,
            }
            heard = Message(rawstr=str(Message("/a/b", "file", ITEMS | there)))
            theirs = S3Downloader(argparse.Namespace())
            theirs.config = {"download_destination": str(site.incoming), "publish-topic": "/idnt"}
            sent = theirs._generate_message_if_file_exists_after_download("a.dat", heard)
            expected = told(Message(rawstr=sent), site.incoming)
            chain = {
                "providers": ["127.0.0.1:300"],
                "topics": ["/a"],
                "source": f"file://{site.incoming}/",
                "directory": str(site.outgoing),
                "publish_topic": "/idnt",
            }
            [message] = await ours(
                site, {"role": "fetch", "publish": PUBLISHED, "chains": {"c": chain}}, heard
            )
            subject, kind, items = told(message, site.outgoing)
            assert items.pop("uid") == "'a.dat'"  # theirs tells none
            assert "request_address" not in items
            for key in (
                "request_address",
                "filesystem",
            ):  # what is here is neither asked for, nor read from there
                expected[2].pop(key)
            assert (subject, kind, items) == expected

    asyncio.run(main())
