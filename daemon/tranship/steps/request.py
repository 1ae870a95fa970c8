"""request: a client asks for what was announced; a server decides whether it may have it. Both ends of it.

    client -> server   push   the announcement's data, `destination`, and under `tranship` an `id` (echoed)
    server -> client   file | dataset | collection   the same data, the destination without credentials
                       err    why not: a text for peers of the old kind; else {"reason", "tranship": {id, failure}}
                              and beside failure `about`: host or folder, if not the file but the place fails

The rules of the server: only what was announced, by this chain, may be asked for, and only to allowed destinations.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from tranship.core.allow import Allowed
from tranship.core.leases import Claimant, Teller
from tranship.core.places import About
from tranship.core.story import NO_FILE
from tranship.core.values import Version, Wanted
from tranship.journal import ServerBook, Told
from tranship.wire.contract import Question
from tranship.wire.messages import Message, clean_url, compose, files, reply
from tranship_movers.errors import (
    Fatal,
    MoverError,
    NoSpace,
    Permanent,
    ReadOnly,
    SourceChanged,
    TimedOut,
    Unreachable,
)
from tranship_movers.place import Place, shown


class Failure(StrEnum):
    """Why a request was not fulfilled, for our own clients (in `tranship.failure` of an err)."""

    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    FATAL = "fatal"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure, its reason in words, and what of the destination it is about (None: only this file)."""

    failure: Failure
    reason: str
    about: About | None = None


def fault_of(error: MoverError) -> Fault:
    """What an error of a mover means for a request."""
    failure, about = next(meaning for kind, meaning in _MEANINGS if isinstance(error, kind))
    return Fault(failure, str(error), about)


_MEANINGS: tuple[tuple[type[MoverError], tuple[Failure, About | None]], ...] = (
    (SourceChanged, (Failure.SUPERSEDED, None)),  # the new version is announced as soon as it is complete
    (NoSpace, (Failure.FATAL, About.FOLDER)),
    (ReadOnly, (Failure.FATAL, About.FOLDER)),
    (Fatal, (Failure.FATAL, About.HOST)),
    (Unreachable, (Failure.TEMPORARY, About.HOST)),
    (TimedOut, (Failure.TEMPORARY, About.HOST)),
    (Permanent, (Failure.PERMANENT, None)),
    (MoverError, (Failure.TEMPORARY, None)),
)


# The client's end


@dataclass(frozen=True, slots=True)
class Requests:
    """A request in two forms: as it is sent, and as it is published (the same without credentials)."""

    private: Message
    public: Message


def requests(
    announcement: Message, destination: str, login: str, about: Mapping[str, Any], extra: Mapping[str, Any]
) -> Requests:
    """The request that announcement be moved to destination (URL without credentials), by login (user[:password]).

    about: what is said of the request itself: its `id`; `again`, if it is to be moved even if it was before.
    """
    data = {**announcement.data, **extra, "destination": destination}
    facts = data.get("tranship")
    data["tranship"] = {**(facts if isinstance(facts, dict) else {"v": 1}), **about}
    public = compose(announcement.subject, "push", data)
    scheme, _, rest = destination.partition("://")
    if not login or rest.startswith("/"):  # without a host there is nobody to log in to
        return Requests(public, public)
    private = compose(announcement.subject, "push", {**data, "destination": f"{scheme}://{login}@{rest}"})
    return Requests(private, public)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: data of a success, or else failure, reason, and what that is about (see Fault)."""

    data: Mapping[str, Any] | None
    type: str = ""
    failure: Failure | None = None
    reason: str = ""
    about: About | None = None


def read_reply(message: Message | None, patience: float) -> Reply:
    """What the answer to a request means; None is no answer within patience (seconds)."""
    if message is None:
        return Reply(None, failure=Failure.TEMPORARY, reason=f"no answer within {patience:g} s")
    data = message.data
    if message.type in ("file", "dataset", "collection") and isinstance(data, dict):
        return Reply(data, message.type)
    if isinstance(data, dict) and isinstance(data.get("tranship"), dict):
        failure = data["tranship"].get("failure")
        if failure in Failure.__members__.values():
            about = data["tranship"].get("about")
            return Reply(
                None,
                failure=Failure(failure),
                reason=_readable(data.get("reason", "")),
                about=About(about) if about in About.__members__.values() else None,
            )
    # A peer of the old kind does not say whether trying again can help.
    return Reply(None, failure=Failure.TEMPORARY, reason=f"{message.type}: {_readable(data)}")


def _readable(reason: object) -> str:
    """A reason as it can be written down, and read: JSON can say what is no valid Unicode."""
    return str(reason)[:500].encode(errors="backslashreplace").decode()


# The server's end


@dataclass(frozen=True, slots=True)
class Move:
    """One file version that is to go to a place.

    clean is its URL without password, as the journal has it: for another user, the same path may be another place.
    """

    version: Version
    place: Place
    clean: str
    backups: tuple[str, ...] = ()


@dataclass(slots=True)
class Order:
    """A request that is granted: everything that it wants moved. `again`: even what was delivered before.

    claimant: who asks. tellers: who has published what it wants, as of when it was granted; moved: whether some of it
    had been moved.
    """

    question: Question
    moves: list[Move]
    again: bool = False
    claimant: Claimant = field(default_factory=Claimant)
    tellers: Sequence[Teller] = ()
    moved: bool = False
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not granted. `kind` is the same for all requests that are refused for the same cause."""

    question: Question
    failure: Failure
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Decides on the requests to one chain."""

    chain: str
    allowed: Allowed
    book: ServerBook

    async def __call__(self, questions: Sequence[Question]) -> tuple[list[Order], list[Refusal]]:
        """Which of these `push` requests are granted."""
        orders: list[Order] = []
        refusals: list[Refusal] = []
        asked = []
        for question in questions:
            try:
                asked.append((question, _asked(question.message)))
            except _RefusedError as refused:
                refusals.append(Refusal(question, Failure.REFUSED, refused.kind, refused.reason))
        told = await self.book.told(self.chain, [path for _, wanted in asked for path in wanted.paths])
        for question, wanted in asked:
            try:
                orders.append(Order(question, self._moves(wanted, told), wanted.again))
            except _RefusedError as refused:
                refusals.append(Refusal(question, refused.failure, refused.kind, refused.reason))
        return orders, refusals

    def _moves(self, wanted: "_Asked", told: Mapping[str, Told]) -> list[Move]:
        moves = []
        for path, folder in wanted.paths.items():
            place = _below(wanted.destination, folder)
            for target in (place, *(_backup(place, backup) for backup in wanted.backups)):
                if not self.allowed(target):
                    told_so = f"destination {target} is not allowed; add it to `allow` of chain {self.chain}"
                    raise _RefusedError("destination", told_so)
            announced = told.get(path)
            if announced is None:
                raise _RefusedError(
                    "not announced", f"{path} not reachable: chain {self.chain} never announced it"
                )
            if wanted.seq is not None and wanted.seq < announced.seq and wanted.differs(announced.version):
                raise _RefusedError(
                    "superseded",
                    f"{path} was announced anew with number {announced.seq}",
                    Failure.SUPERSEDED,
                )
            moves.append(Move(announced.version, place, place.passwordless, wanted.backups))
        return moves


def granted(order: Order, about: Mapping[str, Any]) -> Message:
    """The reply to a request that was fulfilled. about: what is said, for peers of ours, of who may publish it."""
    message = order.question.message
    data = {**message.data, "destination": clean_url(str(message.data["destination"]))}
    if about:
        facts = data.get("tranship")
        data["tranship"] = {**(facts if isinstance(facts, dict) else {"v": 1}), **about}
    kind = next((kind for key, kind in _KINDS.items() if key in data), message.type)
    return compose(message.subject, kind, data)


def not_granted(question: Question, fault: Fault) -> Message:
    """The reply to a request that was not fulfilled, in the form that its sender understands."""
    data = question.message.data
    facts = data.get("tranship") if isinstance(data, dict) else None
    if isinstance(facts, dict) and "id" in facts:
        about = {} if fault.about is None else {"about": str(fault.about)}
        said = {"v": 1, "id": facts["id"], "failure": str(fault.failure), **about}
        return compose(question.message.subject, "err", {"reason": fault.reason, "tranship": said})
    return compose(question.message.subject, "err", fault.reason)


def progress_of(question: Question, moved: int, total: int) -> Message | None:
    """How far a transfer is (bytes), for a peer that asked to be told (`tranship.progress`); else None."""
    facts = question.message.fields.get("tranship")
    if not isinstance(facts, dict) or facts.get("progress") is not True:
        return None
    return reply(question.message, "progress", {"bytes": moved, "total": total})


_KINDS = {"uri": "file", "dataset": "dataset", "collection": "collection"}


class _RefusedError(Exception):
    def __init__(self, kind: str, reason: str, failure: Failure = Failure.REFUSED) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.failure = failure


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request says: source paths with the folders (relative, or "") that they go to; where; which version."""

    paths: dict[str, str]
    destination: Place
    seq: int | None
    size: Any
    mtime_ns: Any
    again: bool
    backups: tuple[str, ...]

    def differs(self, version: Version) -> bool:
        return (self.size, self.mtime_ns) != (version.size, version.mtime_ns)


def _asked(message: Message) -> _Asked:
    data = message.data
    if not isinstance(data, dict):
        raise _RefusedError("no data", "the request has no data; it takes `uri` and `destination`")
    destination = data.get("destination")
    if not isinstance(destination, str) or not _is_text(destination):
        raise _RefusedError("no destination", "the request has no usable `destination`")
    try:
        place = _place(destination)
    except MoverError as error:
        raise _RefusedError("bad destination", str(error)) from error
    if place.scheme == "file":
        place = replace(place, host="")  # it lies on this file system, whatever host an old peer names
    paths = {path_of(item["uri"]): _folder(item.get("path")) for item in files(data) if "uri" in item}
    if not paths:
        raise _RefusedError("no uri", "the request names no `uri`")
    facts = data.get("tranship")
    facts = facts if isinstance(facts, dict) else {}
    return _Asked(
        paths,
        place,
        seq_of(data),
        facts.get("size"),
        facts.get("mtime"),
        facts.get("again") is True,
        _backups(data.get("backup_targets")),
    )


_place = lru_cache(maxsize=256)(Place.parse)


def path_of(uri: object) -> str:
    """The path that a uri of an announcement means at its server. Raises _RefusedError for what is none."""
    text = str(uri)
    try:
        path = unquote(urlsplit(text).path) if "://" in text else text
    except ValueError:
        path = ""
    if not _is_text(path) or not path.startswith("/") or ".." in path.split("/"):
        raise _RefusedError("bad uri", f"{shown(text)[:200]} not reachable: it is no full path without `..`")
    return posixpath.normpath(path)


def why_unusable(file: Wanted) -> str:
    """Why a file of an announcement can't be passed on; "" if it can. The names are the announcer's."""
    try:
        path_of(file.path)
        _folder(file.folder)
    except _RefusedError as refused:
        return refused.reason
    if any(ord(letter) < ord(" ") for letter in file.path + file.folder):
        return "its path holds a control character"
    return ""


def _is_text(path: str) -> bool:
    """Whether path can be a name and be written down: JSON can say what is no valid Unicode."""
    try:
        return b"\0" not in path.encode()
    except UnicodeEncodeError:
        return False


def _folder(path: object) -> str:
    if path is None or path == "":
        return ""
    if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/") or not _is_text(path):
        raise _RefusedError("bad path", f"path {str(path)[:200]!r} leads out of the destination")
    if any(letter in path for letter in "\r\n"):
        raise _RefusedError("bad path", f"path {path[:200]!r} holds a line break")
    return path


_BACKUPS = 16
"""Each is tried for as long as a host that does not answer takes."""


def _backups(targets: object) -> tuple[str, ...]:
    if targets is None:
        return ()
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise _RefusedError("bad backup_targets", "`backup_targets` is no list of hosts")
    if len(targets) > _BACKUPS:
        raise _RefusedError("bad backup_targets", f"`backup_targets` names more than {_BACKUPS} hosts")
    return tuple(targets)


def _backup(place: Place, target: str) -> Place:
    host, _, port = target.rpartition(":") if re.search(r":[0-9]{1,9}$", target) else (target, "", "")
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]", host):
        raise _RefusedError(
            "bad backup_targets", f"{target.rpartition('@')[2][:100]!r} in `backup_targets` is no host"
        )
    return replace(place, host=host.strip("[]"), port=_port(port) if port else place.port)


def _port(text: str) -> int:
    if not 0 < int(text) < 65536:
        raise _RefusedError("bad backup_targets", f"{text[:20]} in `backup_targets` is no port")
    return int(text)


def _below(place: Place, folder: str) -> Place:
    return place.below(folder.rstrip("/") + "/") if folder else place


def seq_of(data: object) -> int | None:
    """The number of the announcement that the data of a request repeats; None if its sender does not say."""
    facts = data.get("tranship") if isinstance(data, dict) else None
    seq = facts.get("seq") if isinstance(facts, dict) else None
    return seq if isinstance(seq, int) else None


def destined(message: Message) -> list[tuple[str, str]]:
    """The source paths that an `ack` names, each with its destination (without credentials), if it names that."""
    try:
        wanted = _asked(message)
    except _RefusedError:
        return []
    return [(path, str(_below(wanted.destination, folder))) for path, folder in wanted.paths.items()]


def first_path(data: object) -> str:
    """The first path that data names, for a log line; no file, if it names none."""
    return next(paths_of(data), NO_FILE)[:4096]  # no path is longer


def paths_of(data: object) -> Iterator[str]:
    """The source paths that the data of an `ack` names; what is no path is left out."""
    for item in files(data):
        if "uri" in item:
            try:
                yield path_of(item["uri"])
            except _RefusedError:
                continue
