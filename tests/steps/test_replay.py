"""Both ends of a replay: page by page everything comes once, in order; what makes no sense is answered so."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tranship.core.values import Version
from tranship.journal import SERVER_SCHEMA, Announced, Journal, ServerBook
from tranship.steps import replay
from tranship.steps.replay import (
    Brought,
    Head,
    Replay,
    heads_of,
    heads_spoken,
    heads_told,
    life_of,
    number_of,
    numbered,
    read_replay,
    replay_request,
    spoken_heads,
)
from tranship.wire.contract import Question
from tranship.wire.messages import Message, compose, decode

TOLD = 12


def answers(folder: Path, *requests: Message, topic: str = "/t") -> list[Message]:
    """Of a server that announced 1 to 12 of /t (at 100, 110 …), and 1 of /other."""

    async def main() -> list[Message]:
        journal = Journal.open(folder / "j", SERVER_SCHEMA)
        try:
            book = ServerBook(journal)
            numbers = [("/t", n) for n in range(1, TOLD + 1)] + [("/other", 1)]
            await book.announce(
                [
                    Announced(
                        about,
                        n,
                        "c",
                        Version(f"{about}{n}", n, n),
                        str(n),
                        _frame(about, n),
                        0.0,
                        90.0 + 10 * n,
                    )
                    for about, n in numbers
                ]
            )
            return [await Replay(topic, book)(Question(request, 0)) for request in requests]
        finally:
            journal.close()

    return asyncio.run(main())


def _frame(topic: str, n: int) -> bytes:
    return compose(topic, "file", {"uri": f"/in/{n}", "uid": str(n)}).encode()


def brought(message: Message) -> Brought:
    page = read_replay(message)
    assert page is not None
    return page


def numbers(page: Brought) -> list[int]:
    return [int(message.data["uid"]) for message in page.messages]


@pytest.mark.parametrize("page", [1, 5, 6, 12, 500])
def test_page_by_page_everything_comes_once_and_in_order(
    tmp_path: Path, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PAGE", page)
    came: list[int] = []
    since, more, pages = 0, True, 0
    while more:
        folder = tmp_path / str(pages)
        folder.mkdir()
        [answer] = answers(folder, replay_request("/t", "1", since=since, time=0.0))
        got = brought(answer)
        came += numbers(got)
        assert len(got.messages) <= page
        assert got.head == TOLD
        assert got.last > since
        since, more, pages = got.last, got.more, pages + 1
    assert came == list(range(1, TOLD + 1))
    assert since == TOLD
    assert pages == -(-TOLD // page)


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ({"seq": 0}, 1),
        ({"seq": -5}, 1),
        ({"seq": 11}, 12),
        ({"seq": 12}, None),
        ({"seq": 99}, None),
        ({"time": 0}, 1),
        ({"time": 110}, 2),
        ({"time": 110.5}, 3),
        ({"time": 1e12}, None),
    ],
)
def test_it_begins_where_it_is_asked_to(tmp_path: Path, since: dict[str, float], first: int | None) -> None:
    [answer] = answers(tmp_path, compose("/t", "replay", {"since": since, "limit": 3}))
    page = brought(answer)
    assert numbers(page)[:1] == ([] if first is None else [first])
    assert page.more is (first is not None and first + 2 < TOLD)


@pytest.mark.parametrize(
    "data",
    [
        "",
        [],
        {"since": 3},
        {"since": {"seq": "3"}},
        {"since": {"seq": 1 << 63}},
        {"since": {"time": 1e300}},
        {"since": {"seq": 1}, "limit": 0},
        {"since": {"seq": 1}, "limit": -1},
        {"since": {"seq": 1}, "limit": "many"},
    ],
)
def test_what_makes_no_sense_is_answered_with_what_would(tmp_path: Path, data: Any) -> None:
    [answer] = answers(tmp_path, compose("/t", "replay", data))
    assert answer.type == "err"
    assert "a replay takes" in answer.data["reason"]
    assert read_replay(answer) is None


def test_a_chain_answers_about_its_own_topic_and_a_server_of_all_about_any(tmp_path: Path) -> None:
    request = replay_request("/other", "1", since=0, time=0.0)
    for topic, came in (("/t", TOLD), ("", 1)):
        (tmp_path / str(came)).mkdir()
        [answer] = answers(tmp_path / str(came), request, topic=topic)
        assert len(brought(answer).messages) == came


@pytest.mark.parametrize(
    "message",
    [
        None,
        compose("/t", "unknown"),
        compose("/t", "replay", "text"),
        compose("/t", "replay", {"messages": [], "last": 1, "head": 1}),
        compose("/t", "replay", {"messages": ["no message"], "last": 1, "head": 1, "more": False}),
        compose("/t", "replay", {"messages": [], "last": "x", "head": 1, "more": False}),
    ],
)
def test_who_can_t_replay_is_noticed(message: Message | None) -> None:
    assert read_replay(message) is None


def test_heads_are_read_as_they_are_told() -> None:
    beat = compose("/heartbeat/s", "beat", {"min_interval": 30})
    told = heads_told(beat, "server", "life", [("/t", 7, "host:9094"), ("/u", 0, "host:1")])
    assert [(h.server, h.topic, h.seq, h.request_address) for h in heads_of(told)] == [
        ("server", "/t", 7, "host:9094"),
        ("server", "/u", 0, "host:1"),
    ]
    assert life_of(told) == "life"
    assert (heads_of(beat), life_of(beat)) == ([], "")


@pytest.mark.parametrize(
    "head",
    [
        {"topic": "/t", "seq": -1, "request_address": "host:1"},
        {"topic": "/t", "seq": 1 << 63, "request_address": "host:1"},
        {"topic": "/t and more", "seq": 1, "request_address": "host:1"},
        {"topic": "/t", "seq": "1", "request_address": "host:1"},
        {"topic": "/t", "seq": 1, "request_address": "nowhere"},
        {"topic": "/t", "seq": 1},
        "head",
    ],
)
def test_heads_that_nobody_can_be_asked_about_are_left_out(head: Any) -> None:
    good = {"topic": "/t", "seq": 3, "request_address": "host:1"}
    beat = compose("/heartbeat/s", "beat", {"tranship": {"server": "s", "heads": [head, good]}})
    assert [each.seq for each in heads_of(beat)] == [3]


PROVIDER = "tcp://host:9020"


def test_a_message_s_number_is_read_as_it_is_told() -> None:
    message = compose("/t", "file", {"uri": "/out/a", "tranship": {"v": 1, "id": "x"}})
    told = numbered(message, "publisher", 7, 9021)
    assert number_of(told, PROVIDER) == Head("publisher", "/t", 7, "host:9021")
    assert number_of(told, "tcp://[::1]:9020") == Head("publisher", "/t", 7, "[::1]:9021")
    assert told.data["tranship"].pop("publisher") == {"id": "publisher", "seq": 7, "replay": 9021}
    assert told.data == message.data
    assert (told.time, told.sender) == (message.time, message.sender)
    assert number_of(message, PROVIDER) is None
    assert number_of(compose("/t", "file", {"uri": "/a"}), PROVIDER) is None


def test_a_publisher_s_heads_are_read_as_they_are_told_and_are_no_server_s() -> None:
    beat = compose("/heartbeat/c", "beat", {"min_interval": 30, "tranship": {"v": 1, "client": "c"}})
    told = heads_spoken(beat, "publisher", "life", 9021, [("/t", 7), ("/u", 1)])
    assert spoken_heads(told, PROVIDER) == (
        "life",
        [Head("publisher", "/t", 7, "host:9021"), Head("publisher", "/u", 1, "host:9021")],
    )
    assert (heads_of(told), life_of(told)) == ([], "")
    assert told.data["tranship"]["client"] == "c"
    assert spoken_heads(beat, PROVIDER) == ("", [])


@pytest.mark.parametrize(
    "block",
    [
        None,
        "publisher",
        [],
        {"id": "p", "seq": 1},
        {"id": 3, "seq": 1, "replay": 9021},
        {"id": "p", "seq": "1", "replay": 9021},
        {"id": "p", "seq": 0, "replay": 9021},
        {"id": "p", "seq": -1, "replay": 9021},
        {"id": "p", "seq": 1 << 63, "replay": 9021},
        {"id": "p", "seq": 1, "replay": 65536},
        {"id": "p", "seq": 1, "replay": -1},
        {"id": "p", "seq": 1, "replay": "host:1"},
        {"id": "\udc00", "seq": 1, "replay": 9021},
    ],
)
def test_numbers_that_nobody_can_be_asked_about_are_none(block: Any) -> None:
    told = '{"tranship": {"publisher": ' + json.dumps(block) + "}}"
    heard = decode(f"pytroll://t file a@b 2026-03-01T12:00:00 v1.01 application/json {told}".encode())
    assert number_of(heard, PROVIDER) is None


@pytest.mark.parametrize(
    "block",
    [
        {"id": "p", "life": "l", "replay": 9021, "heads": {}},
        {"id": "p", "life": "l", "replay": 9021, "heads": ["x", {}, {"topic": "/t", "seq": "1"}]},
        {"id": "p", "life": "l", "replay": 70000, "heads": [{"topic": "/t", "seq": 1}]},
        {"id": "p", "life": 1, "replay": 9021, "heads": [{"topic": "/t", "seq": 1}]},
        {"id": "p", "life": "l", "replay": 9021, "heads": [{"topic": "/t and more", "seq": 1}]},
    ],
)
def test_a_publisher_s_heads_that_make_no_sense_are_left_out(block: Any) -> None:
    beat = compose("/heartbeat/c", "beat", {"tranship": {"publisher": block}})
    assert spoken_heads(beat, PROVIDER)[1] == []
