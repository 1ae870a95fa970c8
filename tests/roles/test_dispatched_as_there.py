"""What dispatcher.py does with a file of its own, ours does with the same: files, subjects, items."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from posttroll.message import Message
from rig import rig, until
from test_dispatcher import PUBLISHED, Desk, below
from trollmoves.dispatcher import Dispatcher, PublisherReporter

from tranship.config import Overrides, load
from tranship.roles.dispatcher import dispatcher

TARGET: dict[str, Any] = {
    "host": "",
    "directory": "OUT/{sensor}",
    "publish_topic": "/done/{sensor}",
    "dispatch_configs": [{"topics": ["/a"]}],
}
WAY = TARGET["dispatch_configs"][0]
PRODUCT = {"product": {"natural_color": "dnc", "overview": "ovw"}}

TARGETS: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {"t": TARGET},
    "a file: host": {"t": TARGET | {"host": "file:///"}},
    "a host with a path": {"t": TARGET | {"host": "file:///never/used/"}},
    "two targets": {"t": TARGET, "u": TARGET | {"directory": "OUT/u", "publish_topic": "/done/u"}},
    "a name": {"t": TARGET | {"filepattern": "{product}_{start_time:%Y%m%d_%H%M}_{orbit:06d}.h5"}},
    "the file's time": {"t": TARGET | {"filepattern": "{uid}_{file_creation_time:%Y%m%d%H%M}.h5"}},
    "aliases": {"t": TARGET | {"filepattern": "{product}_{uid}", "aliases": PRODUCT}},
    "aliases of a new item": {
        "t": TARGET
        | {
            "directory": "OUT/{folder}",
            "filepattern": "{product}_{uid}",
            "aliases": {"product": [{"_alias_name": "folder", "natural_color": "nc"}, {"natural_color": "dnc"}]},
        }
    },
    "aliases of a way": {
        "t": TARGET
        | {
            "filepattern": "{product}_{uid}",
            "aliases": {"product": {"natural_color": "not this"}},
            "dispatch_configs": [WAY | {"aliases": PRODUCT}],
        }
    },
    "all of a way": {
        "t": TARGET
        | {
            "directory": "OUT/no",
            "host": "ftp://nowhere.example",
            "dispatch_configs": [
                WAY
                | {
                    "directory": "OUT/yes",
                    "host": "",
                    "filepattern": "{product}.h5",
                    "connection_parameters": {"connection_uptime": 20},
                }
            ],
        }
    },
    "conditions": {
        "t": TARGET | {"dispatch_configs": [WAY | {"conditions": [{"sensor": ["x", ["viirs"]], "orbit": ">5"}]}]},
        "u": TARGET | {"dispatch_configs": [WAY | {"conditions": [{"sensor": "other"}]}]},
    },
    "an item that is a time": {"t": TARGET | {"publish_topic": "/done/{start_time:%Y/%m}/{orbit:05d}"}},
    "no topic": {"t": {key: value for key, value in TARGET.items() if key != "publish_topic"}, "u": TARGET | {
        "directory": "OUT/u"}},
}  # fmt: skip
ITEMS: dict[str, Any] = {
    "sensor": "viirs",
    "product": "natural_color",
    "start_time": "2026-11-22T12:05:00",
    "orbit": 12345,
    "list": ["a", 1, None],
    "nested": {"when": "2026-11-22T12:06:00", "what": 0.5},
    "origin": "10.0.0.1:9010",
}


class Said:
    """Where the peer publishes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: str) -> None:
        self.messages.append(Message(rawstr=message))


def written(path: Path, out: Path, targets: dict[str, dict[str, Any]]) -> Path:
    heard = {"posttroll_subscriber": {"subscribe_addresses": ["tcp://127.0.0.1:300"], "nameserver": False}}
    path.write_text(yaml.safe_dump(heard | targets, sort_keys=False).replace("OUT", str(out)))
    return path


def messages(folder: Path) -> list[Message]:
    """A file, and two datasets; and a file that nobody wants."""
    for name in ("1.h5", "2.h5", "3.h5"):
        (folder / name).write_text(name)
    items = [{"uri": f"{folder}/{name}.h5", "uid": f"{name}.h5"} for name in "123"]
    all_of_them = [
        Message("/a/b", "file", ITEMS | items[0]),
        Message("/a/c", "dataset", ITEMS | {"product": "overview", "orbit": 7, "dataset": items[1:2]}),
        Message("/a/d", "dataset", ITEMS | {"product": "other", "orbit": 8, "dataset": items[2:]}),
        Message("/elsewhere", "file", ITEMS | items[0]),
    ]
    return [Message(rawstr=str(message)) for message in all_of_them]  # as it is heard


def theirs(folder: Path, targets: dict[str, dict[str, Any]], heard: list[Message]) -> tuple[Any, Any]:
    out, said = folder / "theirs", Said()
    file = str(written(folder / "theirs.yaml", out, targets))
    for message in heard:  # a new one for each, as it forgets `_alias_name` at the first
        before = signal.getsignal(signal.SIGTERM)
        try:
            it = Dispatcher(file, messages=[message])
        finally:
            signal.signal(signal.SIGTERM, before)
        it.config.pop("posttroll_subscriber")  # as when it begins to listen
        it.publisher = PublisherReporter.__new__(PublisherReporter)
        it.publisher.config, it.publisher.publisher = it.config, said
        it.run()
    return below(out), told(said.messages, out)


def told(messages: list[Any], out: Path) -> list[tuple[str, str, str]]:
    """Subject, type and items, as far as both have them."""
    plain = [
        (m.subject, m.type, repr(sorted((k, v) for k, v in m.data.items() if k != "tranship")))
        for m in messages
    ]
    return sorted((subject, kind, data.replace(str(out), "OUT")) for subject, kind, data in plain)


@pytest.mark.parametrize("case", TARGETS)
def test_the_same_file_sends_the_same(tmp_path: Path, case: str) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            it = Desk(site)
            heard = messages(site.incoming)
            files, expected = theirs(tmp_path, TARGETS[case], heard)
            file = written(tmp_path / "ours.yaml", site.outgoing, TARGETS[case])
            config = load(
                file, "dispatcher", overrides=Overrides(publish_port=PUBLISHED, name_servers=())
            ).config
            config = config.model_copy(update={"journal": tmp_path / "ours.journal"})
            await site.moving(config, dispatcher)
            for message in heard:
                it.say(message.data, message.subject, message.type)
            await until(lambda: len(it.done) >= len(expected) and it.delivered >= files, "all is sent")
            assert it.delivered == files
            as_posttroll = [Message(rawstr=message.encode().decode()) for message in it.done]
            assert told(as_posttroll, site.outgoing) == expected

    asyncio.run(main())
