"""What is announced: news only, as it is at that moment, numbered, written down before it is said."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tranship.core.clock import SystemClock
from tranship.core.journey import Step
from tranship.core.origin import Origin
from tranship.core.values import Sighting
from tranship.journal import SERVER_SCHEMA, Journal, ServerBook
from tranship.steps.announce import Announce, Numbers, Wording, retold
from tranship.wire.messages import Message, compose


@dataclass
class Listener:
    """A publisher and a story that keep what they are told."""

    said: list[Message] = field(default_factory=list)
    steps: list[tuple[Step, str]] = field(default_factory=list)

    def publish(self, messages: Sequence[Message]) -> None:
        self.said += messages

    def tell(self, *told: Any, **facts: object) -> None:
        if len(told) == 1:
            self.publish(told[0])
        else:
            self.steps.append((told[0], told[1]))

    def close(self) -> None:
        """Nothing to do."""


def seen(path: Path) -> Sighting:
    facts = path.stat()
    return Sighting(str(path), facts.st_size, facts.st_mtime_ns, 100.0)


def played(
    folder: Path,
    play: Callable[[Announce, ServerBook, Listener], Awaitable[None]],
    checksum: str = "none",
    **more: Any,
) -> None:
    async def main() -> None:
        journal = Journal.open(folder / "j", SERVER_SCHEMA)
        try:
            book, listener = ServerBook(journal), Listener()
            wording = Wording("c", "/t", Origin(f"{folder}/{{name}}.dat"), {"sensor": "abi"}, "host:9094")
            numbers, clock = Numbers("server", {"/t": 6}), SystemClock()
            await play(
                Announce(wording, checksum, numbers, book, listener, clock, listener, **more), book, listener
            )
        finally:
            journal.close()

    asyncio.run(main())


def test_a_file_is_told_with_its_fields_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(b"content")

    async def play(announce: Announce, book: ServerBook, listener: Listener) -> None:
        assert await announce([seen(path)]) == (1, [])
        [message] = listener.said
        assert (message.subject, message.type) == ("/t", "file")
        facts = message.data.pop("tranship")
        assert message.data == {
            "sensor": "abi",
            "name": "a",
            "uri": str(path),
            "uid": "a.dat",
            "request_address": "host:9094",
        }
        assert {key: facts[key] for key in ("v", "server", "seq", "size", "mtime")} == {
            "v": 1,
            "server": "server",
            "seq": 7,
            "size": 7,
            "mtime": path.stat().st_mtime_ns,
        }
        assert facts["checksum"].partition(":")[0] == "sha256"
        page = await book.replay("/t", since=0, limit=9)
        assert page.frames == [message.encode()]
        assert announce.numbers.told == {"/t": 7}

    played(tmp_path, play, checksum="sha256")


def test_only_news_is_told_and_each_path_once(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"

    async def play(announce: Announce, book: ServerBook, listener: Listener) -> None:
        counts = []
        for content in (b"1", None, b"22", None):
            if content is not None:
                path.write_bytes(content)
            counts.append((await announce([seen(path), seen(path)]))[0])
        assert counts == [1, 0, 1, 0]
        os.utime(path, ns=(1, 1))
        assert (await announce([seen(path)]))[0] == 1
        assert [message.data["tranship"]["seq"] for message in listener.said] == [7, 8, 9]

    played(tmp_path, play)


def test_what_changed_since_it_was_seen_is_settled_anew_and_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    changed, gone = tmp_path / "changed.dat", tmp_path / "gone.dat"
    for path in (changed, gone):
        path.write_bytes(b"1")

    async def play(announce: Announce, book: ServerBook, listener: Listener) -> None:
        before = [seen(changed), seen(gone)]
        changed.write_bytes(b"22")
        gone.unlink()
        assert await announce(before) == (0, [str(changed)])
        assert listener.said == []
        assert (await book.replay("/t", since=0, limit=9)).frames == []

    played(tmp_path, play)


def test_what_can_t_be_read_is_told_as_such_and_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "bad.dat").mkdir()  # what is no file can't be read
    (tmp_path / "good.dat").write_bytes(b"1")

    async def play(announce: Announce, book: ServerBook, listener: Listener) -> None:
        assert await announce([seen(tmp_path / "bad.dat"), seen(tmp_path / "good.dat")]) == (1, [])
        assert (Step.FAILED, str(tmp_path / "bad.dat")) in listener.steps
        assert [message.data["uid"] for message in listener.said] == ["good.dat"]

    played(tmp_path, play, checksum="sha256")


def test_what_the_pattern_does_not_cover_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"1")

    async def play(announce: Announce, book: ServerBook, listener: Listener) -> None:
        assert await announce([seen(tmp_path / "a.txt")]) == (0, [])
        assert listener.said == []

    played(tmp_path, play)


def test_it_is_written_down_before_it_is_said_and_brought_later_if_it_never_is(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"1")

    async def play(announce: Announce, book: ServerBook, listener: Listener) -> None:
        said = asyncio.create_task(announce([seen(tmp_path / "a.dat")]))
        while announce.numbers.heads["/t"] != 7:
            await asyncio.sleep(0)
        said.cancel()
        await asyncio.wait([said])
        assert listener.said == []
        assert announce.numbers.told == {"/t": 7}
        assert len((await book.replay("/t", since=0, limit=9)).frames) == 1

    played(tmp_path, play)


def test_files_that_came_out_of_one_are_one_announcement(tmp_path: Path) -> None:
    packed, *results = (tmp_path / name for name in ("p.dat", "x.nc", "y.nc"))
    for path in (packed, *results):
        path.write_bytes(b"1")

    async def play(announce: Announce, book: ServerBook, listener: Listener) -> None:
        assert await announce.unpacked(seen(packed), [seen(path) for path in results], lambda versions: [])
        [message] = listener.said
        assert (message.type, message.data["name"]) == ("dataset", "p")
        assert [part["uid"] for part in message.data["dataset"]] == ["x.nc", "y.nc"]
        results[1].unlink()
        results[1].write_bytes(b"22")
        stale = [seen(results[0]), Sighting(str(results[1]), 1, 1, 0.0)]
        assert not await announce.unpacked(seen(packed), stale, lambda versions: [])
        assert len(listener.said) == 1

    played(tmp_path, play)


@pytest.mark.parametrize(
    ("address", "resent", "kept"),
    [("here:1", "", {"request_address": "here:1"}), ("", "mark", {"request_address": "there:2"})],
)
def test_what_was_told_before_is_told_as_one_s_own(address: str, resent: str, kept: dict[str, str]) -> None:
    facts = {"v": 1, "server": "theirs", "seq": 99, "size": 3, "mtime": 4, "checksum": "x:1", "odd": 1}
    told = compose("/t", "file", {"uri": "/a", "request_address": "there:2", "tranship": facts})
    message = retold(told, address, "ours", 5, resent)
    assert message.data["request_address"] == kept["request_address"]
    own = {"v": 1, "server": "ours", "seq": 5, "size": 3, "mtime": 4, "checksum": "x:1"}
    assert message.data["tranship"] == {**own, **({"resent": resent} if resent else {})}
