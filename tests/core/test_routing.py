"""Conditions, aliases and paths: the same as in Trollmoves' dispatcher, but for its defects."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posttroll.message import Message as Theirs
from trollmoves.dispatcher import check_conditions

from tranship.core.routing import (
    Route,
    Verdict,
    aliases_of,
    all_of,
    conditions_of,
    filled_in,
    with_aliases,
)

KEYS = st.sampled_from(["product", "sensor", "coverage", "level", "absent"])
PLAIN = st.sampled_from(["viirs", "avhrr", "", 1, 2, 2.5, True, None])
COMPARED = st.builds(
    "{}{}".format,
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.sampled_from([1, 2, 2.5, -3, "1e1"]),
)
VALUES = st.one_of(PLAIN.filter(lambda value: value != ""), st.lists(PLAIN, max_size=3), COMPARED)
SETS = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=3),
    lambda inner: st.builds(
        lambda own, block: {**own, "except": block}, st.dictionaries(KEYS, VALUES, max_size=2), inner
    ),
    max_leaves=3,
)
NUMBERS = st.sampled_from([1, 2, 2.5, "2", -3, True])
DATA = st.fixed_dictionaries(
    {}, optional={"product": PLAIN, "sensor": PLAIN, "coverage": NUMBERS, "level": NUMBERS}
)


@given(st.lists(SETS, max_size=2), DATA)
def test_conditions_are_those_of_trollmoves(sets: list[dict[str, Any]], data: dict[str, Any]) -> None:
    logging.disable(logging.WARNING)
    message = Theirs("/a", "file", {**data, "uri": "/x"})
    try:
        theirs = check_conditions(message, {"conditions": sets})
    except (ValueError, TypeError, NameError):  # it dies of what is no number; here the set does not hold
        theirs = None
    ours = any(all_of(conditions_of(told), message.data) is Verdict.HOLDS for told in sets)
    assert theirs is None or ours == theirs
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("value", ["", "warm", [1], {"a": 1}, None, "nan", "1" * 1_000_000 + "x"])
def test_what_is_no_number_compares_with_none(value: Any) -> None:
    for sign in ("<", "!=", ">="):
        assert all_of(conditions_of({"coverage": f"{sign}3"}), {"coverage": value}) is Verdict.UNKNOWN


@pytest.mark.parametrize("text", ["=3", "<", "<x", ">__import__('os')", "!3", "<3 or True", "<1e"])
def test_a_comparison_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no comparison"):
        conditions_of({"coverage": text})


def test_aliases_change_an_item_or_make_a_new_one() -> None:
    told = {
        "product": {"natural_color": "dnc", "3": "three"},
        "sensor": [{"viirs": "v"}, {"_alias_name": "instrument", "viirs": "VIIRS"}],
        "absent": {"a": "b"},
    }
    aliases = aliases_of(told)
    for _ in range(2):  # there, the second message finds no `_alias_name` any more
        found = with_aliases({"product": "natural_color", "sensor": "viirs"}, aliases)
        assert found == {"product": "dnc", "sensor": "v", "instrument": "VIIRS"}
    assert with_aliases({"product": 3, "sensor": ["viirs"]}, aliases)["product"] == "three"
    assert with_aliases({"product": "other", "sensor": ["viirs"]}, aliases) == {
        "product": "other",
        "sensor": ["viirs"],
        "instrument": ["viirs"],
    }


def route(directory: str = "/in", name: str | None = None) -> Route:
    return Route(("/a",), None, "", directory, name)


def test_a_path_is_filled_in_from_the_message() -> None:
    data = {"sensor": "viirs", "orbit": 7, "uid": "x.h5"}
    assert route("/in/{sensor}").destination(data, "a.h5") == "/in/viirs/a.h5"
    assert route("/in/", "{orbit:05d}_{uid}").destination(data, "a.h5") == "/in/00007_x.h5"
    assert route("in", "a").destination(data, "b") == "/in/a"
    assert route("/in", "/elsewhere/{uid}").destination(data, "b") == "/elsewhere/x.h5"


def test_the_files_own_name_is_never_taken_for_a_pattern() -> None:
    assert route().destination({}, "{uid.__class__}{x}.h5") == "/in/{uid.__class__}{x}.h5"
    assert filled_in("/in/{uid}", {"uid": "{self.__class__}"}) == "/in/{self.__class__}"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("{x}", "../../etc/passwd", "climb"),
        ("{x}", "..", "climb"),
        ("{x}", "/etc/passwd", "lead out"),
        ("{x}", "a\0b", "NUL"),
        ("{x}", "a\nDELE b", "line break"),
        ("{x}", "x" * 1_000_000, "bytes long"),
        ("{x}", "\ud800", "Unicode"),
        ("{x}", "", "no file's name"),
        ("{x}", "folder/", "no file's name"),
        ("{x:05d}", "text", "can't be filled in"),
        ("{x.year}", "text", "can't be filled in"),
        ("{x[9]}", "text", "can't be filled in"),
        ("{y}", "text", "lacks"),
        ("{x!u}", [1], "can't be filled in"),
    ],
)
def test_hostile_values_are_refused(name: str, value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        route("/in", name).destination({"x": value}, "a.h5")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("name", ["..", "a\0", "a\nb", "x" * 5000, "a\ud800"])
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the file's name"):
        route().destination({}, name)


def test_topics_are_prefixes_and_no_condition_takes_all() -> None:
    assert route().takes("/abc", {})
    assert not route().takes("/b", {})
    assert not Route(("/a",), (), "", "/in", None).takes("/a", {})
