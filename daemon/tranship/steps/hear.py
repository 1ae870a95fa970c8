"""hear: what a subscription brings, sorted: announcements to act on, beats, and what other clients say.

An announcement holds `request_address`. A `push` or an `ack`, or a file message without `request_address`, comes from
another client of the same section (a spare hears its primary): it says what that one has under way, has at its
destination, or has published.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeGuard

from tranship.core.handover import Event, Matter
from tranship.core.identity import apart, identity
from tranship.core.values import Wanted
from tranship.wire.contract import BusError, Heard, host_and_port
from tranship.wire.messages import Message, decode_whole, files

_FILE_TYPES = ("file", "dataset", "collection")


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something that can be requested.

    about: which delivery that is (what is resent is another one). seq: its number at its server (0: one of the old
    kind), request_address: host:port. resent: the mark of one that is told once more, on purpose ("": it is not).
    provider: from whom it was heard (tcp://host:port; "": it was not heard just now).
    """

    message: Message
    files: tuple[Wanted, ...]
    about: Matter
    seq: int
    request_address: str
    resent: str = ""
    provider: str = ""

    @property
    def server(self) -> str:
        """The stable id of its server ("" for a peer of the old kind)."""
        return self.about.server

    @property
    def many(self) -> bool:
        """Whether its server takes many requests at once."""
        return bool(self.server)


@dataclass(frozen=True, slots=True)
class Said:
    """What another client said of a delivery: what happened to it there (None: that it lives, about nothing).

    client: its id ("" of the old kind); lease: how long it is to be given (seconds; 0 if it does not say); where: the
    server that it asks; many: whether that is one of ours. provider: from whom it was heard (tcp://host:port).
    """

    event: Event | None
    about: Matter
    client: str
    lease: float
    where: str
    many: bool
    message: Message
    provider: str = ""


@dataclass(slots=True)
class Sorted:
    """What was heard, by what it is for."""

    announcements: list[Announcement] = field(default_factory=list)
    beats: list[Heard] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    odd: list[tuple[Heard, str]] = field(default_factory=list)


def sort(heard: Iterable[Heard]) -> Sorted:
    """Sort messages, in their order."""
    out = Sorted()
    for item in heard:
        message = item.message
        match message.type:
            case "beat":
                out.beats.append(item)
                if "client" in _facts(message):
                    out.said.append(said(None, item))
            case "push":
                out.said.append(said(Event.PUSHED, item))
            case "ack":
                out.said.append(said(Event.ACKED, item))
            case kind if kind in _FILE_TYPES:
                if "request_address" not in message.fields:
                    out.said.append(said(Event.TOLD, item))
                    continue
                announcement = announcement_of(message, item.provider)
                if announcement is None:
                    out.odd.append((item, "an announcement without a usable uri, uid or request_address"))
                else:
                    out.announcements.append(announcement)
            case _:
                pass  # of no concern to a client
    return out


def announcement_of(message: Message, provider: str = "") -> Announcement | None:
    """The announcement that message is, heard from provider, or None if it lacks what makes one."""
    data = message.fields
    address = data.get("request_address")
    if not isinstance(address, str) or not _is_address(address):
        return None
    facts = data.get("tranship")
    ours = facts if isinstance(facts, dict) else {}
    server, seq = ours.get("server"), ours.get("seq")
    if not (isinstance(server, str) and _is_number(seq)):
        server, seq, ours = "", 0, {}
    wanted = tuple(_wanted(item, ours) for item in files(data) if "uid" in item and "uri" in item)
    resent = _mark(ours)
    if not wanted or any(not _is_name(file.uid) for file in wanted) or not _is_text(server + resent, wanted):
        return None
    about = Matter(_identity(wanted, resent), server, wanted[0].path)
    return Announcement(message, wanted, about, seq, address, resent, provider)


def noted(frame: bytes) -> Announcement:
    """The announcement that was written down as frame; it has no files if by today's rules it is none."""
    message = decode_whole(frame)
    return announcement_of(message) or Announcement(message, (), Matter(""), 0, "")


def about_of(message: Message) -> Matter:
    """What a message of a server or a client is about; identity "" if it names no file, or not in words."""
    facts = _facts(message)
    told = facts.get("of")
    if isinstance(told, dict):
        parts = [str(told.get(key)) for key in ("identity", "server", "path")]
        return Matter(*parts) if _is_text("".join(parts)) else Matter("")
    given = facts.get("server")
    server = given if isinstance(given, str) else ""
    ours = facts if server else {}
    wanted = [_wanted(item, ours) for item in files(message.data) if "uid" in item]
    if not wanted or not _is_text(server + _mark(ours), wanted):
        return Matter("")
    path = wanted[0].path if "request_address" in message.fields else ""
    return Matter(_identity(wanted, _mark(ours)), server, path)


def _identity(wanted: Iterable[Wanted], resent: str) -> str:
    return apart(identity(wanted), resent) if resent else identity(wanted)


def _mark(facts: Mapping[str, object]) -> str:
    """The mark of what is resent, as far as it makes sense; "" if there is none."""
    mark = facts.get("resent")
    return mark if isinstance(mark, str) and len(mark) < _LONGEST_ID else ""


def likeness(message: Message) -> str:
    """What a client's messages about one file have in common even if it unpacks it: everything but names.

    A digest; "" if that is nothing.
    """
    data = message.fields
    facts = _facts(message)
    told = [(key, str(value)) for key, value in data.items() if key not in _NAMES]
    told += [(key, str(facts[key])) for key in ("server", "seq") if key in facts]
    if not told:
        return ""
    where = data.get("request_address", data.get("origin", ""))
    alike = f"{message.subject} {where} {sorted(told)}"
    return hashlib.blake2b(alike.encode(errors="backslashreplace"), digest_size=16).hexdigest()


_NAMES = frozenset(
    {
        *("uid", "uri", "dataset", "collection", "tranship"),
        *("request_address", "origin", "destination", "backup_targets"),
    }
)


_LONGEST_ID = 64
_LONGEST_LEASE = 3600.0
"""Of what another client says of itself: more is not believed."""


def said(event: Event | None, heard: Heard) -> Said:
    """What heard says of a delivery: that this has happened to it."""
    message = heard.message
    facts = _facts(message)
    client, lease, where = facts.get("client"), facts.get("lease"), message.fields.get("request_address")
    return Said(
        event,
        Matter("") if event is None else about_of(message),
        client if isinstance(client, str) and len(client) < _LONGEST_ID and _is_text(client) else "",
        min(lease, _LONGEST_LEASE) if isinstance(lease, (int, float)) and lease > 0 else 0.0,
        where if isinstance(where, str) and _is_address(where) else "",
        isinstance(facts.get("server"), str),
        message,
        heard.provider,
    )


def _facts(message: Message) -> dict[str, object]:
    facts = message.fields.get("tranship")
    return facts if isinstance(facts, dict) else {}


def _wanted(item: dict[str, object], facts: dict[str, object]) -> Wanted:
    own, folder = item.get("tranship"), item.get("path")
    facts = own if isinstance(own, dict) else facts
    size, mtime, checksum = facts.get("size"), facts.get("mtime"), facts.get("checksum")
    return Wanted(
        str(item["uid"]),
        str(item.get("uri", "")),
        size if _is_number(size) else -1,
        mtime if _is_number(mtime) else -1,
        checksum if isinstance(checksum, str) else "",
        folder if isinstance(folder, str) else "",
    )


def _is_number(value: object) -> TypeGuard[int]:
    """Whether value is a number that a journal can hold."""
    return isinstance(value, int) and 0 <= value < 1 << 63


def _is_text(server: str, wanted: Iterable[Wanted] = ()) -> bool:
    """Whether all of it can be written down: JSON can say what is no valid Unicode."""
    try:
        told = "".join(text for file in wanted for text in (file.uid, file.path, file.folder, file.checksum))
        return b"\0" not in (server + told).encode()
    except UnicodeEncodeError:
        return False


@lru_cache(maxsize=1024)
def _is_address(address: str) -> bool:
    try:
        host_and_port(f"tcp://{address}")
    except BusError:
        return False
    return True


def _is_name(uid: str) -> bool:
    """Whether uid is one file name: it becomes part of a path here."""
    return uid not in ("", ".", "..") and _NOT_IN_NAMES.isdisjoint(uid)


_NOT_IN_NAMES = frozenset("/\0\n\r")
