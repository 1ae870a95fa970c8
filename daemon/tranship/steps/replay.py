"""replay: a subscriber that missed announcements asks for them. Both ends of it.

    client -> server   replay   {"since": {"seq": n} | {"time": seconds since the epoch}, "limit": n, "tranship": {id}}
    server -> client   replay   {"messages": [announcements, oldest first], "last": n, "head": n, "more": bool, …}

Everything of the topic up to `last` has then been brought; `head` is the last number that there is. Old peers
answer `unknown`. And how a subscriber notices: the server's heartbeats say its topics' heads (`heads_told`).

Who publishes what has arrived, been dispatched, fetched or moved is asked likewise, for its messages, if these say so:

    publisher -> all   file, …  `tranship`: publisher {id, seq, replay: the port at which to ask, at the same host}
                       beat     `tranship`: publisher {id, life, replay, heads: [{topic, seq}]}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tranship.journal import Page
from tranship.wire.contract import BusError, Question, host_and_port
from tranship.wire.messages import Message, Undecodable, compose, decode_whole

PAGE = 500

LARGEST = 1 << 63
"""What a journal can't hold any more."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A page of a replay as the client has it."""

    messages: list[Message]
    last: int
    head: int
    more: bool


@dataclass(frozen=True, slots=True)
class Head:
    """What a server or publisher (its id) says of one of its topics: a number that there is, and where to ask."""

    server: str
    topic: str
    seq: int
    request_address: str


# The client's end


def replay_request(topic: str, ticket: str, *, since: int | None, time: float) -> Message:
    """Ask for what topic announced after number since, or, if that is None, at or after time."""
    start = {"time": time} if since is None else {"seq": since}
    return compose(topic, "replay", {"since": start, "limit": PAGE, "tranship": {"v": 1, "id": ticket}})


def read_replay(message: Message | None) -> Brought | None:
    """What a server answered; None if it can't replay (or did not answer)."""
    if message is None or message.type != "replay" or not isinstance(message.data, dict):
        return None
    data = message.data
    try:
        messages = [decode_whole(str(frame)) for frame in data["messages"]]
        last, head = data["last"], data["head"]
        if not (isinstance(last, int) and isinstance(head, int) and 0 <= last < LARGEST):
            return None
        return Brought(messages, last, head, data["more"] is True)
    except (KeyError, TypeError, Undecodable):
        return None


def heads_of(beat: Message) -> list[Head]:
    """The heads that a heartbeat tells; none if its sender is of the old kind."""
    facts = beat.data.get("tranship") if isinstance(beat.data, dict) else None
    if not isinstance(facts, dict) or not isinstance(facts.get("heads"), list):
        return []
    heads = []
    for told in facts["heads"]:
        match told:
            case {"topic": str(topic), "seq": int(seq), "request_address": str(address)}:
                head = Head(str(facts.get("server", "")), topic, seq, address)
                if _can_be_asked(head):
                    heads.append(head)
    return heads


def _can_be_asked(head: Head) -> bool:
    try:
        host_and_port(f"tcp://{head.request_address}")
        (head.server + head.topic).encode()
    except (BusError, UnicodeEncodeError):
        return False
    return head.topic.split() == [head.topic] and 0 <= head.seq < LARGEST


def life_of(beat: Message) -> str:
    """Which life of its server a heartbeat comes from: another word after each start; "" of peers of the old kind."""
    facts = beat.fields.get("tranship")
    life = facts.get("life") if isinstance(facts, dict) else None
    return life if isinstance(life, str) else ""


def number_of(message: Message, provider: str) -> Head | None:
    """The number that a message, heard from provider (tcp://host:port), has at its publisher; None if it has none."""
    match _publisher(message):
        case {"id": str(publisher), "seq": int(seq), "replay": int(port)}:
            head = Head(publisher, message.subject, seq, _at(provider, port))
            return head if seq and _can_be_asked(head) else None
    return None


def turn_of(message: Message) -> tuple[str, int]:
    """Who has published a message, and as which of those about its subject; ("", 0) if it does not say."""
    match _publisher(message):
        case {"id": str(publisher), "seq": int(seq)}:
            return publisher, seq
    return "", 0


def spoken_heads(beat: Message, provider: str) -> tuple[str, list[Head]]:
    """Which life of its publisher a heartbeat comes from, and the heads that it tells; "" and none if it does not."""
    match _publisher(beat):
        case {"id": str(publisher), "life": str(life), "replay": int(port), "heads": list(told)}:
            heads = [
                Head(publisher, topic, seq, _at(provider, port))
                for each in told
                if isinstance(each, dict)
                and isinstance(topic := each.get("topic"), str)
                and isinstance(seq := each.get("seq"), int)
            ]
            return life, [head for head in heads if _can_be_asked(head)]
    return "", []


def _publisher(message: Message) -> object:
    facts = message.fields.get("tranship")
    return facts.get("publisher") if isinstance(facts, dict) else None


def _at(provider: str, port: int) -> str:
    """A port of the host of provider, host:port."""
    return f"{provider.removeprefix('tcp://').rpartition(':')[0]}:{port}"


# The server's end


def numbered(message: Message, publisher: str, seq: int, port: int) -> Message:
    """The message, with its number at publisher, and the port at which that replays."""
    return _with(message, {"id": publisher, "seq": seq, "replay": port})


def heads_spoken(
    beat: Message, publisher: str, life: str, port: int, heads: Sequence[tuple[str, int]]
) -> Message:
    """The heartbeat, with which life of publisher it is and its heads (topic, last number)."""
    told = [{"topic": topic, "seq": seq} for topic, seq in heads]
    return _with(beat, {"id": publisher, "life": life, "replay": port, "heads": told})


def _with(message: Message, publisher: Mapping[str, Any]) -> Message:
    facts = message.data.get("tranship", {"v": 1})
    told = {**message.data, "tranship": {**facts, "publisher": publisher}}
    return compose(message.subject, message.type, told, sender=message.sender, time=message.time)


def heads_told(beat: Message, server: str, life: str, heads: Sequence[tuple[str, int, str]]) -> Message:
    """The heartbeat, with which life of server it is and its heads (topic, last number, request address)."""
    told = [{"topic": topic, "seq": seq, "request_address": address} for topic, seq, address in heads]
    return compose(
        beat.subject,
        beat.type,
        {**beat.data, "tranship": {"v": 1, "server": server, "life": life, "heads": told}},
    )


class Book(Protocol):
    """Where it is written down what was told."""

    async def replay(
        self, topic: str, *, since: int | None = None, at: float = 0.0, limit: int = PAGE
    ) -> Page:
        """What was told of topic after number since, or at or after the time `at`; at most limit messages."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Answers for one chain, about its own topic only; if that is "", about every topic that is asked for."""

    topic: str
    book: Book

    async def __call__(self, question: Question) -> Message:
        """The reply to a `replay` request; `err` if it makes no sense."""
        message = question.message
        data = message.data if isinstance(message.data, dict) else {}
        facts = data.get("tranship")
        echo: Mapping[str, Any] = {"v": 1, "id": facts.get("id")} if isinstance(facts, dict) else {"v": 1}
        limit, topic = data.get("limit", PAGE), self.topic or message.subject
        match data.get("since"):
            case {"seq": int(seq)} if isinstance(limit, int) and limit > 0 and abs(seq) < LARGEST:
                page = await self.book.replay(topic, since=seq, limit=min(limit, PAGE))
            case {"time": int(time) | float(time)} if (
                isinstance(limit, int) and limit > 0 and abs(time) < LARGEST
            ):
                page = await self.book.replay(topic, at=time, limit=min(limit, PAGE))
            case _:
                reason = 'a replay takes {"since": {"seq": number} or {"time": seconds}, "limit": number}'
                return compose(message.subject, "err", {"reason": reason, "tranship": echo})
        return compose(message.subject, "replay", _told(page, echo))


def _told(page: Page, echo: Mapping[str, Any]) -> dict[str, Any]:
    frames = [frame.decode() for frame in page.frames]
    return {
        "messages": frames,
        "last": page.last,
        "head": page.head,
        "more": page.more,
        "tranship": dict(echo),
    }
