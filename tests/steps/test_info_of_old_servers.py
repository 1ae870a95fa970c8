"""What can be told of files that a server of the old kind announced unheard."""

import datetime as dt

import pytest

from tranship.steps.info import Listing, common, listing_in, missed
from tranship.wire.messages import Message, compose

TOPIC, ADDRESS = "/1b/hrit", "host:9094"
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def listing(*names: str, uptime: str = "1 day, 2:00:00.5") -> Listing:
    data = {"files": [f"{TOPIC}/{name}" for name in names] + ["/1b/hrit-2/x", "/1b/hrit/sub/y", 7]}
    return listing_in(compose(TOPIC, "info", {**data, "uptime": uptime}, time=NOW), TOPIC)


def announcement(name: str, folder: str = "/in", **items: object) -> Message:
    data = {"uid": name, "uri": f"{folder}/{name}", "request_address": ADDRESS, **items}
    return compose(TOPIC, "file", data)


def test_a_listing_is_of_one_topic_and_says_since_when() -> None:
    told = listing("b", "a", "a")
    assert told.names == ["b", "a", "a"]
    assert told.started == (NOW - dt.timedelta(days=1, hours=2, seconds=0.5)).timestamp()
    assert listing("a", uptime="for ever").started == 0.0
    assert listing_in(compose(TOPIC, "unknown"), TOPIC) == listing_in(None, TOPIC) == Listing((), 0.0)


@pytest.mark.parametrize(
    ("names", "since_its_start", "unheard"),
    [
        (("e", "d", "c", "b", "a"), True, ["c", "e"]),  # what is older than b: from before the first contact
        (("d", "b", "e", "c", "b", "a"), True, ["c", "e"]),  # announced twice: its first time counts
        (("e", "d", "c", "b", "a"), False, ["a", "c", "e"]),  # a server that started since, in any order
        (("e", "c"), True, ["c", "e"]),
        (("d", "b"), True, []),
        ((), True, []),
    ],
)
def test_what_was_missed(names: tuple[str, ...], since_its_start: bool, unheard: list[str]) -> None:
    told = listing(*names)
    met = told.started + (10 if since_its_start else -10)
    assert missed(told, {"b", "d"}, met) == unheard


def test_only_what_cannot_differ_is_taken_over() -> None:
    earlier = [
        announcement(
            f"MSG4-{n:04d}-202601011200.dat",
            sensor="seviri",
            channels=["HRV", "IR_108"],
            series="MSG4",
            segment=n,
            start_time="2026-01-01T12:00:00",
        )
        for n in (1, 2)
    ]
    shared = common(earlier)
    made = shared.announcement(TOPIC, "MSG4-0003-202601011215.dat", ADDRESS)
    assert {key: value for key, value in made.data.items() if key != "tranship"} == {
        "uid": "MSG4-0003-202601011215.dat",
        "uri": "/in/MSG4-0003-202601011215.dat",
        "request_address": ADDRESS,
        "sensor": "seviri",
        "channels": ["HRV", "IR_108"],
        "series": "MSG4",
    }
    assert shared.lacking(made) == {"segment", "start_time"}
    strange = shared.announcement(TOPIC, "MSG3-0003-202601011215.dat", ADDRESS)
    assert shared.lacking(strange) == {"segment", "start_time", "series"}
    assert common([*earlier, made]) == shared  # what was made proves nothing
    assert common(earlier[:1]).items == {}
    assert common([*earlier, announcement("MSG4-0004-202601011200.dat", "/in/other")]).folder is None
