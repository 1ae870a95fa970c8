"""told: the files that a message tells of, one by one: of a file, a dataset, a collection.

Each has the items that stand around it, the nearer ones first: what holds for a collection holds for its files.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from tranship.core.values import Unusable
from tranship.wire.messages import Message, Unsendable, compose

FILE_TYPES = ("file", "dataset", "collection")

MOST = 64 << 20
"""Bytes that the files of one message may take, with their items, when they are written down one by one."""

_NESTED = ("dataset", "collection")


@dataclass(frozen=True, slots=True)
class Told:
    """One file, as a message of its own. data as it came, dated with datetimes; uri is told, and is a text.

    A login in uri is left out: it is of no use here, and what is told may be written down.
    """

    message: Message
    uri: str
    name: str

    @property
    def dated(self) -> dict[str, Any]:
        """Its items, with datetimes."""
        return dict(self.message.dated)


def told(message: Message) -> list[Told]:
    """The files that message tells of. Raises Unusable if one of them can't be used."""
    data = message.data
    if not isinstance(data, dict):
        raise Unusable("the message holds no items")
    each = list(_each(data))
    if not each:
        raise Unusable("the message names no `uri`")
    if len(each) * len(message.encode()) > MOST and len(each) > 1:
        raise Unusable(f"{len(each)} files with all their items are too much for one message")
    return [_told(message, items) for items in each]


def path_of(uri: str) -> str:
    """The path that a uri means at its host. Raises Unusable."""
    try:
        path = unquote(urlsplit(uri).path) if "://" in uri else uri
    except ValueError:
        raise Unusable("its `uri` is none") from None
    if not path.startswith("/") or ".." in path.split("/"):
        raise Unusable(f"its `uri` {_short(uri)} is no full path without `..`")
    if any(letter in path for letter in "\0\r\n"):
        raise Unusable("its `uri` holds a NUL or a line break")
    return posixpath.normpath(path)


def _each(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    around = {key: value for key, value in data.items() if key not in _NESTED}
    nested = [item for key in _NESTED for item in _list(data.get(key)) if isinstance(item, dict)]
    if "uri" in data and not nested:
        yield around
    general = {key: value for key, value in around.items() if key not in ("uri", "uid")}
    for item in nested:
        yield from _each({**general, **item})


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _told(message: Message, items: dict[str, Any]) -> Told:
    uri = items["uri"]
    if not isinstance(uri, str) or not uri:
        raise Unusable("its `uri` is no text")
    uri = _LOGIN.sub(r"\g<scheme>", uri)
    items = {**items, "uri": uri}
    try:
        uri.encode()
        one = compose(message.subject, "file", items, sender=message.sender, time=message.time)
    except (UnicodeEncodeError, Unsendable):
        raise Unusable("it holds no valid Unicode") from None
    if any(letter in uri for letter in "\0\r\n"):
        raise Unusable("its `uri` holds a NUL or a line break")
    name = posixpath.basename(unquote(_path(uri)))
    if name in ("", ".", ".."):
        raise Unusable(f"its `uri` {_short(uri)} names no file")
    return Told(one, uri, name)


_LOGIN = re.compile(r"(?P<scheme>(^|::)[A-Za-z][A-Za-z0-9+.-]*://)[^/]*@")


def _path(uri: str) -> str:
    try:
        return urlsplit(uri).path if "://" in uri else uri
    except ValueError:
        raise Unusable("its `uri` is none") from None


def _short(uri: str) -> str:
    scheme, mark, rest = uri.partition("://")
    clean = f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri
    return repr(clean if len(clean) <= 100 else f"{clean[:100]}…")
