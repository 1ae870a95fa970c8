"""Our messages held against posttroll's own, in both directions; and what must never come through."""

import datetime as dt
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from posttroll.message import Message as Theirs
from posttroll.message import MessageError
from posttroll.subscriber import Subscriber as TheirSubscriber

from tranship.wire.messages import (
    MAX_DEPTH,
    Undecodable,
    Unsendable,
    clean_url,
    compose,
    decode,
    decode_whole,
    files,
    own_sender,
    prefix,
    reply,
)

HEAD = "pytroll://sat/a file me@here 2026-01-02T03:04:05.000006 v1.01"

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda word: word.split() == [word]
)
offsets = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))])
dates = st.datetimes(timezones=offsets)
date_like = st.one_of(
    dates.map(dt.datetime.isoformat),
    st.sampled_from(
        ["20260102", "2026-01-02", "2026W01", "2026-W01-1", "2026-01-02T03Z", "12345678", "2026-13-01"]
    ),
    st.from_regex(r"[0-9]{4}-?[0-9W]{2}-?[0-9]{2}[ T]?[0-9:]{0,8}", fullmatch=True),
)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20), date_like
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=12,
    )


containers = nested(plain).filter(lambda data: isinstance(data, (dict, list)))


@given(words, words, containers | st.text(max_size=30))
@example("/s", "file", {"when": "2026-01-02T03:04:05", "list": ["2026-01-02"]})
@example("/s", "file", ["2026-01-02", {"when": "2026-01-02"}, ["2026-01-02"]])
def test_posttroll_reads_what_we_write(subject: str, kind: str, data: Any) -> None:
    ours = compose("/" + subject, kind, data)
    theirs = Theirs.decode(ours.encode())
    assert (theirs.subject, theirs.type, theirs.sender) == (ours.subject, ours.type, own_sender())
    assert theirs.version == "v1.01"
    assert theirs.time.replace(tzinfo=dt.UTC) == ours.time
    assert theirs.data == decode(ours.encode()).dated
    assert ours.data == (data or "")


@given(words, words, containers | st.text(max_size=30).filter(lambda text: text == text.lstrip()))
@pytest.mark.parametrize("version", ["v1.01", "v1.2"])
def test_we_read_what_posttroll_writes(version: str, subject: str, kind: str, data: Any) -> None:
    theirs = Theirs("/" + subject, kind, data, version=version)
    frame = theirs.encode().encode()
    ours = decode(frame)
    read = Theirs.decode(frame)
    assert (ours.subject, ours.type, ours.sender, ours.version) == (
        read.subject,
        read.type,
        read.sender,
        version,
    )
    assert ours.time == theirs.time
    assert ours.dated == read.data
    assert ours.data == (data or "")
    assert ours.encode() == frame


@given(nested(plain | dates).filter(lambda data: isinstance(data, (dict, list))))
@example({"start_time": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "end_time": dt.datetime(2026, 1, 2)})
def test_datetimes_keep_their_offset_and_raise_the_version(data: Any) -> None:
    ours = compose("/s", "file", data)
    theirs = Theirs.decode(ours.encode())
    dated = "datetime.datetime(" in repr(data)
    assert ours.version == theirs.version == ("v1.2" if dated else "v1.01")
    assert theirs.time == (ours.time if dated else ours.time.replace(tzinfo=None))
    assert ours.dated == theirs.data
    assert _offsets(ours.dated) == _offsets(theirs.data)
    if dated:
        same = Theirs("/s", "file", data, version="v1.2").encode()
        assert ours.encode().decode().split(None, 5)[5] == same.split(None, 5)[5]


def _offsets(data: Any) -> list[Any]:
    if isinstance(data, dt.datetime):
        return [data.utcoffset()]
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [offset for item in inner for offset in _offsets(item)]


@given(st.binary(min_size=1, max_size=40))
def test_bytes_go_as_octet_stream(data: bytes) -> None:
    try:
        ours = compose("/s", "info", data)
    except Unsendable:
        # what starts with what somebody takes for white space would come out cut
        assert (data.decode() if _is_utf8(data) else data.decode("iso-8859-1"))[0].isspace()
        return
    assert decode(ours.encode()).data == data
    theirs = Theirs.decode(ours.encode())
    assert theirs.binary
    assert theirs.data.encode("utf-8" if _is_utf8(data) else "iso-8859-1") == data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_their_binary_messages_are_bytes_here() -> None:
    assert decode(Theirs("/s", "info", "räw bytes", binary=True).encode()).data == "räw bytes".encode()


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: HEAD.encode() + b" " + tail))
@example(b"pytroll:/")
@example(HEAD.encode() + b" ")
@example(HEAD.encode() + b" text/ascii")
@example(HEAD.encode() + b" application/json")
@example(b"pytroll:/ /s file me@here 2026-01-02T03:04:05 v1.01")
@example(b"pytroll://s file me@here 0001-01-01T00:00:00+23:59 v1.01")
@example(HEAD.encode() + b' application/json {"a": "0001-01-01T00:00:00+23:59"}')
@example(HEAD.encode() + b' application/json ["2026-01-02\\ud800"]')
@example(HEAD.encode() + b' application/json {"a": "2026-01-02\\ud80003:04:05"}')
def test_arbitrary_bytes_are_read_as_posttroll_reads_them_or_refused(frame: bytes) -> None:
    try:
        ours = decode_whole(frame)
        dated, encoded = ours.dated, ours.encode()
    except Undecodable:
        with pytest.raises((MessageError, ValueError, IndexError)):
            Theirs.decode(frame)
        return
    assert encoded == frame
    try:
        theirs = Theirs.decode(frame)
    except IndexError:  # its own slip: white space, or a mime-type, and then nothing
        assert ours.data in ("", b"")
    else:
        assert (ours.subject, ours.type, ours.sender) == (theirs.subject, theirs.type, theirs.sender)
        if not theirs.binary:
            assert repr(dated) == repr(theirs.data)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "does not start with pytroll:/"),
        (b"hello", "does not start with pytroll:/"),
        (b"pytroll://s file", "only 2 of the 5 words"),
        (b"pytroll:/ /s file me@here 2026-01-02T03:04:05 v1.01", "no subject"),
        (b"pytroll://s file me@here yesterday v1.01", "no ISO time"),
        (b"pytroll://s file me@here 2026-01-02T03:04:05 v1.3", "version v1.3 is newer than v1.2"),
        (HEAD.encode() + b" text/html <p>", "unknown mime-type text/html"),
        (HEAD.encode() + b" application/json {", "no JSON"),
        (HEAD.encode() + b" application/json " + b"[" * 100_000, "nested deeper than"),
        (HEAD.encode() + b" application/json " + b"[" * 101 + b"]" * 101, "nested deeper than"),
        (HEAD.encode() + b' application/json {"a": ' + b"9" * 5000 + b"}", "no JSON"),
        ("pytroll://\ud800 file", "not valid Unicode"),
    ],
)
def test_what_is_no_message_is_undecodable_and_says_why(frame: bytes | str, reason: str) -> None:
    with pytest.raises(Undecodable, match=re.escape(reason)):
        decode_whole(frame)


def test_a_reason_quotes_nothing_of_the_data() -> None:
    with pytest.raises(Undecodable) as refused:
        decode_whole(HEAD + ' application/json {"destination": "ftp://me:hunter2@there/"')
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(decode(HEAD + ' application/json "ftp://me:hunter2@there/"'))


def test_the_data_is_read_only_when_somebody_looks() -> None:
    message = decode(HEAD + " application/json {")
    assert message.encode() == (HEAD + " application/json {").encode()
    with pytest.raises(Undecodable):
        _ = message.data


def test_depth_as_deep_as_allowed_passes_both_ways() -> None:
    data: Any = "leaf"
    for _ in range(MAX_DEPTH):
        data = [data]
    assert decode(compose("/s", "info", data).encode()).data == data
    with pytest.raises(Unsendable, match="nested deeper"):
        compose("/s", "info", [data])


def test_many_shallow_items_are_not_deep() -> None:
    data = {"dataset": [{"uri": f"/a/{number}", "uid": str(number)} for number in range(500)]}
    assert decode(compose("/s", "dataset", data).encode()).data == data


def test_not_a_number_passes_as_with_posttroll() -> None:
    frame = Theirs("/s", "info", {"a": float("nan"), "b": float("inf")}).encode()
    assert repr(decode(frame).data) == "{'a': nan, 'b': inf}"


def test_latin_1_is_a_fall_back() -> None:
    message = decode(HEAD.encode() + " text/ascii Malmö".encode("iso-8859-1"))
    assert message.data == "Malmö"


def test_no_data_is_a_line_that_ends_after_the_version() -> None:
    for data in ("", {}, [], None, b""):
        message = compose("/s", "ping", data)
        assert message.encode().endswith(b" v1.01")
        assert (message.data, message.fields, message.ticket) == ("", {}, None)
    assert decode(HEAD + "   ").data == ""


@pytest.mark.parametrize("text", ["two\nlines  and   spaces ", "tab\there", "2026-01-02T03:04:05"])
def test_text_keeps_its_spaces_and_stays_text(text: str) -> None:
    message = compose("/s", "err", text)
    assert b" text/ascii " in message.encode()
    assert decode(message.encode()).data == decode(message.encode()).dated == text
    assert Theirs.decode(message.encode()).data == text


@pytest.mark.parametrize("text", [" leading", "\n", "   "])
def test_text_that_starts_with_space_keeps_it(text: str) -> None:
    assert decode(compose("/s", "err", text).encode()).data == text
    assert Theirs.decode(compose("/s", "err", text).encode()).data == text


@pytest.mark.parametrize("word", ["", " ", "two words", " x", "x\n", "a\u00a0b", "x\x1f"])
def test_a_head_that_would_break_apart_cannot_be_made(word: str) -> None:
    with pytest.raises(Unsendable, match="subject"):
        compose(word, "file")
    with pytest.raises(Unsendable, match="type"):
        compose("/s", word)
    if word:
        with pytest.raises(Unsendable, match="sender"):
            compose("/s", "file", sender=word)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"a": object()}, "object is not JSON"),
        ({("a",): 1}, "keys must be"),
        ("\ud800", "valid Unicode"),
        (b" x", "white space"),
    ],
)
def test_data_that_cannot_be_written_is_unsendable(data: Any, reason: str) -> None:
    with pytest.raises(Unsendable, match=reason):
        compose("/s", "file", data)


def test_data_that_holds_itself_is_unsendable() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(Unsendable):
        compose("/s", "file", data)


def test_bytes_that_would_change_how_the_head_is_read_are_unsendable() -> None:
    assert decode(compose("/malmo", "info", b"\xff").encode()).subject == "/malmo"
    with pytest.raises(Unsendable, match="not ASCII"):
        compose("/malmö", "info", b"\xff")


def test_a_message_is_a_snapshot_of_its_data() -> None:
    data = {"uid": "a"}
    message = compose("/s", "file", data)
    data["uid"] = "b"
    assert message.data == {"uid": "a"}


def test_file_names_that_are_not_unicode_survive() -> None:
    name = b"caf\xe9.nc".decode("utf-8", "surrogateescape")
    assert decode(compose("/s", "file", {"uid": name}).encode()).data["uid"] == name


def test_a_reply_carries_the_ticket_of_its_request() -> None:
    asked = compose("/s", "push", {"uid": "a", "tranship": {"id": "t-1", "progress": True}})
    assert asked.ticket == "t-1"
    assert reply(asked, "file", {"uid": "a"}).data == {"uid": "a", "tranship": {"id": "t-1"}}
    assert reply(asked, "file", {"tranship": {"seq": 4}}).data == {"tranship": {"seq": 4, "id": "t-1"}}
    assert reply(asked, "err", "no such file").data == {"reason": "no such file", "tranship": {"id": "t-1"}}
    assert reply(asked, "pong").ticket == "t-1"


def test_a_reply_to_an_old_peer_is_what_it_was_told_to_be() -> None:
    for data in ({"uid": "a"}, "", {"tranship": "?"}, {"tranship": {"id": 7}}):
        asked = compose("/s", "push", data)
        assert reply(asked, "err", "no such file").data == "no such file"


@pytest.mark.parametrize("topic", ["/a/b", "a/b", "pytroll://a/b", "pytroll:/"])
def test_topics_subscribe_as_posttroll_does(topic: str) -> None:
    assert [prefix(topic).decode()] == TheirSubscriber._magickfy_topics(topic)


def test_an_empty_topic_is_every_message() -> None:
    assert prefix("") == b"pytroll:/"
    assert compose("error", "error").encode().startswith(prefix(""))


def test_files_are_found_at_any_depth_and_in_order() -> None:
    data = {
        "uri": "/0",
        "collection": [
            {"dataset": [{"uri": "/1", "uid": "1"}, {"uid": "2"}]},
            {"a": {"b": [[{"uri": "/3"}]]}},
        ],
        "tranship": {"uri": "not a file"},
    }
    assert [item.get("uri", item.get("uid")) for item in files(data)] == ["/0", "/1", "2", "/3"]
    assert list(files("text")) == list(files([])) == list(files(None)) == []


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("ftp://user:secret@host/dir/", "ftp://host/dir/"),
        ("sftp://user@host:2222/dir/{field}", "sftp://host:2222/dir/{field}"),
        ("ftp://user:s@cret@host/a@b", "ftp://host/a@b"),
        ("ftp://user:pa/ss?w#d@host/dir", "ftp://host/dir"),
        ("s3://bucket/key?X-Amz-Signature=secret#secret", "s3://bucket/key"),
        ("https://host:8443/dir/a@b", "https://host:8443/dir/a@b"),
        ("ftp://u:secret@[fe80::1]:21/dir", "ftp://[fe80::1]:21/dir"),
        ("ftp://[fe80::1]/dir/a@b", "ftp://[fe80::1]/dir/a@b"),
        ("ftp://u:secret@[broken/dir", "ftp://[broken/dir"),
        ("file:///data/in", "file:///data/in"),
        ("/data/in", "/data/in"),
        ("", ""),
    ],
)
def test_a_clean_url_has_no_secrets(url: str, clean: str) -> None:
    assert clean_url(url) == clean


def test_the_time_of_a_message_is_aware() -> None:
    assert decode(HEAD).time == dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    when = dt.datetime(2026, 1, 2, 5, 4, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert compose("/s", "file", time=when).encode().split()[3] == b"2026-01-02T03:04:00"


def test_json_of_posttroll_is_byte_for_byte_ours() -> None:
    data = {"ü": [1, 2.5, None, True], "nested": {"a": "b"}}
    text = compose("/s", "file", data).encode().decode().split(None, 6)[6]
    assert text == Theirs("/s", "file", data).encode().split(None, 6)[6] == json.dumps(data)
