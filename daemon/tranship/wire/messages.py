"""The messages that peers exchange: one line of text each, as posttroll writes it.

    pytroll:/<subject> <type> <user@host> <ISO time> <version> [<mime-type> <data>]

`compose` makes a new message, `decode` reads a frame; a `Message` is the same thing either way: a frame with
its head read. The data is read when somebody looks at it, and what is only passed on keeps its very text.
"""

import datetime as dt
import json
import os
import pwd
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

MAX_DEPTH = 100
"""Levels of dicts and lists in each other; data nested deeper is refused, both ways."""

_MAGIC = "pytroll:/"
_PLAIN = "v1.01"  # its times are written without an offset
_DATED = "v1.2"  # the newest version there is; its times keep their offset
_JSON = "application/json"
_TEXT = "text/ascii"
_BINARY = "binary/octet-stream"
_UNREAD: Final = object()


class Undecodable(ValueError):
    """What came is no message; the text says why, without quoting it (it may hold secrets)."""


class Unsendable(ValueError):
    """This can't be written as a message; the text says why."""


class Message:
    """One message. Never changes: neither assign to it nor change the data that it gives.

    subject  normally starts with "/"; no white space
    type     what it is about: "file", "push", "ack", "beat" …
    sender   user@host
    time     when it was made; aware (a time that came without an offset is UTC)
    version  "v1.01", or "v1.2" if its data may hold datetimes with offsets
    """

    __slots__ = (
        "_data",
        "_dated",
        "_frame",
        "_mime",
        "_text",
        "sender",
        "subject",
        "time",
        "type",
        "version",
    )

    def __init__(
        self,
        subject: str,
        type: str,  # noqa: A002 (the word of the wire)
        sender: str,
        time: dt.datetime,
        version: str,
        mime: str,
        text: str,
        frame: bytes,
    ) -> None:
        """For `compose` and `decode`, which vouch for the parts and for the frame they stand in."""
        self.subject: Final = subject
        self.type: Final = type
        self.sender: Final = sender
        self.time: Final = time
        self.version: Final = version
        self._mime = mime
        self._text = text
        self._frame = frame
        self._data: Any = _UNREAD
        self._dated: Any = _UNREAD

    @property
    def data(self) -> Any:
        """The data as plain JSON values, dates as the text they came in; "" if there is none.

        str for `text/ascii`, bytes for `binary/octet-stream`. Raises Undecodable if it is no JSON.
        """
        if self._data is _UNREAD:
            self._data = _read(self._mime, self._text, self._frame)
        return self._data

    @property
    def dated(self) -> Any:
        """The data with every ISO date in it as a datetime, as posttroll reads it. Raises Undecodable."""
        if self._dated is _UNREAD:
            data = self.data
            dated = self._mime == _JSON and _LIKE_A_DATE.search(self._text)
            self._dated = _with_dates_in_dicts(data) if dated else data
        return self._dated

    @property
    def fields(self) -> Mapping[str, Any]:
        """The data if it is a dict, else an empty one. Raises Undecodable."""
        data = self.data
        return data if isinstance(data, dict) else {}

    @property
    def ticket(self) -> str | None:
        """The id by which a request and its replies know each other, or None. Raises Undecodable."""
        ours = self.fields.get("tranship")
        ticket = ours.get("id") if isinstance(ours, dict) else None
        return ticket if isinstance(ticket, str) else None

    def encode(self) -> bytes:
        """The frame; for a message that was decoded, the very bytes that came."""
        return self._frame

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self._frame == other._frame

    def __hash__(self) -> int:
        return hash(self._frame)

    def __repr__(self) -> str:
        return f"<Message {self.subject} {self.type} {self.sender} {self.time.isoformat()}>"


def compose(
    subject: str,
    type: str,  # noqa: A002
    data: Any = "",
    *,
    sender: str = "",
    time: dt.datetime | None = None,
) -> Message:
    """A new message, from this user and host and of now unless told otherwise.

    data: anything JSON can hold, and datetimes; or text; or bytes. Empty data ({}, [], None …) is none, as
    with posttroll. Raises Unsendable.
    """
    sender = sender or own_sender()
    for name, word in (("subject", subject), ("type", type), ("sender", sender)):
        if not isinstance(word, str) or word.split() != [word]:
            raise Unsendable(f"a message's {name} must be one word without white space, not {word!r}")
    time = dt.datetime.now(dt.UTC) if time is None else time.astimezone(dt.UTC)
    version, mime, text, charset = _write(data)
    told = time.isoformat()
    if version != _DATED:
        told = told.removesuffix("+00:00")
    head = f"{_MAGIC}{subject} {type} {sender} {told} {version}"
    if charset != "utf-8" and not head.isascii():
        raise Unsendable(f"{subject} {type}: bytes that are not UTF-8 can't go with a head that is not ASCII")
    try:
        frame = (f"{head} {mime} {text}" if mime else head).encode(charset)
    except UnicodeEncodeError:
        raise Unsendable(f"{subject!r} {type!r}: head and text must be valid Unicode") from None
    return Message(subject, type, sender, time, version, mime, text, frame)


def reply(request: Message, type: str, data: Any = "") -> Message:  # noqa: A002
    """A message in answer to request: same subject, and the request's ticket, if it has one, among the data.

    Text can't hold a ticket; to a peer that sent one it becomes {"reason": text}, if there is any. Raises Unsendable.
    """
    ticket = request.ticket
    if ticket is not None:
        data = dict(data) if isinstance(data, Mapping) else {"reason": data} if data else {}
        ours = data.get("tranship")
        data["tranship"] = {**(ours if isinstance(ours, dict) else {}), "id": ticket}
    return compose(request.subject, type, data)


def decode(frame: bytes | str) -> Message:
    """Read the head of a frame; the data is left for later. Raises Undecodable, and nothing else."""
    if isinstance(frame, str):
        frame = _bytes_of(frame)
    try:
        line = frame.decode()
    except UnicodeDecodeError:
        line = frame.decode("iso-8859-1")
    if not line.startswith(_MAGIC):
        raise Undecodable(f"does not start with {_MAGIC}")
    parts = line.split(None, 6)
    if len(parts) < 5:
        raise Undecodable(f"only {len(parts)} of the 5 words of a message's head")
    subject = parts[0][len(_MAGIC) :]
    if not subject:
        raise Undecodable("no subject")
    version = parts[4]
    if version > _DATED:
        raise Undecodable(f"version {version[:12]} is newer than {_DATED}")
    time = _time_of(parts[3])
    mime = parts[5].lower() if len(parts) > 5 else ""
    if mime not in _MIMES:
        raise Undecodable(f"unknown mime-type {mime[:36]}")
    return Message(
        subject, parts[1], parts[2], time, version, mime, parts[6] if len(parts) > 6 else "", frame
    )


def decode_whole(frame: bytes | str) -> Message:
    """Read a frame with its data, so that nothing of the message raises any more. Raises Undecodable."""
    message = decode(frame)
    _ = message.data
    return message


@cache
def own_sender() -> str:
    """user@host of this process."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's made-up user
        user = str(os.getuid())
    return "_".join(f"{user}@{socket.gethostname()}".split())


def prefix(topic: str) -> bytes:
    """What a frame about topic starts with, which is what ZeroMQ subscribes to; "" is every message."""
    if topic.startswith(_MAGIC):
        return topic.encode()
    if topic and not topic.startswith("/"):
        topic = "/" + topic
    return (_MAGIC + topic).encode()


def files(data: Any) -> Iterator[dict[str, Any]]:
    """The files a message is about: every dict that holds `uri` or `uid`, at any depth and in order."""
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "uri" in item or "uid" in item:
                yield item
            waiting.extend(reversed([value for key, value in item.items() if key != "tranship"]))
        elif isinstance(item, list):
            waiting.extend(reversed(item))


def clean_url(url: str) -> str:
    """The URL without what may be secret: user, password, query and fragment. The port stays."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    login = _LOGIN.match(rest)
    return scheme + mark + _TAIL.sub("", rest[login.end() :] if login else rest)


_MIMES: Final = frozenset({"", _JSON, _TEXT, _BINARY})
_DECODER: Final = json.JSONDecoder()
_JSON_SPACE: Final = " \t\n\r"
# A JSON string that may be one: fromisoformat wants four digits first (or, escaped by somebody, who knows).
_LIKE_A_DATE: Final = re.compile(r'"(?:[0-9]{4}|\\u)')
_TAIL: Final = re.compile("[?#].*", re.DOTALL)
# Up to the last @ before the path; or, where a password holds what ends a host, up to the last @ of all.
_LOGIN: Final = re.compile(r"[^/?#]*@|[^/?#:\[]*:(?![0-9]*(?:[/?#]|$)).*@", re.DOTALL)


def _bytes_of(frame: str) -> bytes:
    try:
        return frame.encode()
    except UnicodeEncodeError:
        raise Undecodable("not valid Unicode") from None


def _time_of(text: str) -> dt.datetime:
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Undecodable("no ISO time in the head") from None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _read(mime: str, text: str, frame: bytes) -> Any:
    if mime == _JSON:
        try:
            data, end = _DECODER.raw_decode(text)  # `loads` spends half of its time on white space
        except ValueError:
            raise Undecodable("the data is no JSON") from None
        except RecursionError:
            raise Undecodable(f"the data is nested deeper than {MAX_DEPTH} levels") from None
        if text[end:].strip(_JSON_SPACE):
            raise Undecodable("the data is no JSON")
        if _too_deep(data, text):
            raise Undecodable(f"the data is nested deeper than {MAX_DEPTH} levels")
        return data
    if mime == _BINARY:
        return frame[-len(text.encode(_charset_of(frame))) :] if text else b""
    return text


def _charset_of(frame: bytes) -> str:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "utf-8"


def _too_deep(data: Any, text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _inside(item)]
    return any(isinstance(item, (dict, list, tuple)) for item in level)


def _inside(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, (list, tuple)) else ()


def _with_dates_in_dicts(data: Any) -> Any:
    """As posttroll does it: in a dict everything counts; in a list that is in no dict, only dicts do."""
    if isinstance(data, dict):
        return _with_dates(data)
    return [_with_dates_in_dicts(item) for item in data] if isinstance(data, list) else data


def _with_dates(value: Any) -> Any:
    if isinstance(value, str):
        # fromisoformat, on what can't be a date, costs more than all the rest
        if len(value) < 7 or not "0" <= value[0] <= "9":
            return value
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {key: _with_dates(item) for key, item in value.items()}
    return [_with_dates(item) for item in value] if isinstance(value, list) else value


def _write(data: Any) -> tuple[str, str, str, str]:
    """The version, mime-type, text and charset that data takes."""
    if isinstance(data, bytes):
        charset = _charset_of(data)
        text = data.decode(charset)
        if text[:1].isspace():
            raise Unsendable("bytes can't start with white space, which would be lost")
        return _PLAIN, _BINARY if data else "", text, charset
    if not data:
        return _PLAIN, "", "", "utf-8"
    if isinstance(data, str) and not data[0].isspace():  # leading space would be lost: then as JSON
        return _PLAIN, _TEXT, data, "utf-8"
    try:
        version, text = _dump(data)
    except (TypeError, ValueError) as error:
        raise Unsendable(f"data that JSON can't hold: {error}") from None
    except RecursionError:
        raise Unsendable(f"data nested deeper than {MAX_DEPTH} levels") from None
    if _too_deep(data, text):
        raise Unsendable(f"data nested deeper than {MAX_DEPTH} levels")
    return version, _JSON, text, "utf-8"


def _dump(data: Any) -> tuple[str, str]:
    version = _PLAIN

    def iso(value: Any) -> str:
        nonlocal version
        if isinstance(value, (dt.date, dt.time)):
            version = _DATED
            return value.isoformat()
        raise TypeError(f"{type(value).__name__} is not JSON serializable")

    text = json.JSONEncoder(default=iso).encode(data)
    return version, text
