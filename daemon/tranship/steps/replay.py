"""replay: a subscriber that missed announcements asks for them. Both ends of it.

    client -> server   replay   {"since": {"seq": n} | {"time": seconds since the epoch}, "limit": n, "tranship": {id}}
    server -> client   replay   {"messages": [announcements, oldest first], "last": n, "head": n, "more": bool, …}

Everything of the topic up to `last` has then been brought; `head` is the last number that there is. Old peers
answer `unknown`. And how a subscriber notices: the server's heartbeats say its topics' heads (`heads_told`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tranship.journal import Page, ServerBook
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
    """What a server says of one of its topics: its last number, and where to ask."""

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


# The server's end


def heads_told(beat: Message, server: str, life: str, heads: Sequence[tuple[str, int, str]]) -> Message:
    """The heartbeat, with which life of server it is and its heads (topic, last number, request address)."""
    told = [{"topic": topic, "seq": seq, "request_address": address} for topic, seq, address in heads]
    return compose(
        beat.subject,
        beat.type,
        {**beat.data, "tranship": {"v": 1, "server": server, "life": life, "heads": told}},
    )


@dataclass(frozen=True, slots=True)
class Replay:
    """Answers for one chain, about its own topic only; if that is "", about every topic that is asked for."""

    topic: str
    book: ServerBook

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
