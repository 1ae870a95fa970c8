"""info: a client asks a server of the old kind, which can't replay, what it has announced lately. The client's end.

    client -> server   info   the topic as subject
    server -> client   info   {"files": ["<topic>/<name>", …], …}: newest first, at most 2256, since the server's start

Names are all that it tells. What else an announcement said is known as far as the earlier ones had it in common.
"""

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tranship.wire.messages import Message, compose

SAMPLE = 100
"""So many earlier announcements tell what they have in common."""


def info_request(topic: str, ticket: str) -> Message:
    """Ask what was announced of topic."""
    return compose(topic, "info", {"tranship": {"v": 1, "id": ticket}})


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server has announced of a topic since it started (seconds since the epoch, by its clock; 0: unknown).

    names: newest first, as often as each was announced.
    """

    names: Sequence[str]
    started: float


def listing_in(answer: Message | None, topic: str) -> Listing:
    """What an answer lists of topic itself; nothing if it is none."""
    if answer is None or answer.type != "info" or not isinstance(answer.fields.get("files"), list):
        return Listing((), 0.0)
    split = [text.rpartition("/") for text in answer.fields["files"] if isinstance(text, str)]
    names = [name for folder, _, name in split if folder == topic and name]
    up = _UPTIME.fullmatch(str(answer.fields.get("uptime")))
    if up is None:
        return Listing(names, 0.0)
    days, hours, minutes, seconds = (float(part or 0) for part in up.groups())
    return Listing(names, answer.time.timestamp() - (((days * 24 + hours) * 60 + minutes) * 60 + seconds))


def missed(listing: Listing, known: Collection[str], met: float) -> list[str]:
    """The names that were not heard, oldest first. met: when the server was heard (seconds, by its clock).

    If that was before its start, these are all that are not known. Else only what was announced after the oldest
    known name: before that this client did not listen yet, or has forgotten.
    """
    heard = [n for n, name in enumerate(listing.names) if name in known]
    since = listing.names[: heard[-1]] if heard and met >= listing.started else listing.names
    return list(dict.fromkeys(name for name in reversed(since) if name not in known))


_UPTIME = re.compile(r"(?:([0-9]+) days?, )?([0-9]+):([0-9]+):([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Common:
    """What earlier announcements of one topic and server have in common.

    folder: where the files lay; None if not in one. items: what was the same in all of them, but for dates, with the
    place in the name where it stood (None: it did not stand there). keys: of everything that any of them said.
    """

    folder: str | None
    items: Mapping[str, tuple[Any, int | None]]
    keys: frozenset[str]

    def announcement(self, topic: str, name: str, address: str) -> Message:
        """The announcement of the file name, as far as it is known. address: whom to ask for it (host:port)."""
        told = {
            key: value for key, (value, at) in self.items.items() if at is None or _stands(value, at, name)
        }
        data = {
            **told,
            "uri": posixpath.join(self.folder or "", name),
            "uid": name,
            "request_address": address,
        }
        return compose(topic, "file", {**data, "tranship": {"v": 1, _BY: "info"}})

    def lacking(self, made: Message) -> frozenset[str]:
        """The keys of what an announcement that was made does not say, and an earlier one did."""
        return self.keys.difference(made.fields)


def common(earlier: Sequence[Message]) -> Common:
    """What announcements have in common; those that were made of an `info` themselves are not counted."""
    heard = [message for message in earlier if not _is_made(message) and _is_of_one_file(message)]
    folders = {posixpath.dirname(str(message.data["uri"])) for message in heard}
    keys = {key for message in heard for key in message.data} - _OWN
    items: dict[str, tuple[Any, int | None]] = {}
    if len({message.data["uid"] for message in heard}) > 1:
        first = heard[0]
        for key in keys:
            value = first.data.get(key)
            same = all(key in message.data and message.data[key] == value for message in heard)
            if same and first.dated[key] == value:
                items[key] = value, _place(value, [str(message.data["uid"]) for message in heard])
    return Common(folders.pop() if len(folders) == 1 else None, items, frozenset(keys))


_OWN = frozenset({"uri", "uid", "request_address", "tranship"})
_BY = "by"


def _is_made(message: Message) -> bool:
    facts = message.fields.get("tranship")
    return isinstance(facts, dict) and _BY in facts


def _is_of_one_file(message: Message) -> bool:
    return "uri" in message.fields and "uid" in message.fields


def _place(value: Any, names: Sequence[str]) -> int | None:
    """Where value stands in all names: it was read there, perhaps, and the next name may have another one."""
    at = names[0].find(str(value))
    return at if at >= 0 and all(_stands(value, at, name) for name in names) else None


def _stands(value: Any, at: int, name: str) -> bool:
    return name.startswith(str(value), at)
