"""acknowledge: a client tells that it has a file (or has it already); a server may then let its copy go. Both ends.

    client -> server   ack   the announcement's data, and `destination` (without credentials): where it is
    server -> client   ack   the same, the destination without credentials

and the client publishes the same `ack`, so that a spare knows that the file is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tranship.core.clock import Clock
from tranship.core.values import Version
from tranship.journal import Deletion, ServerBook
from tranship.wire.messages import Message, clean_url, compose


def acknowledgement(announcement: Message, client: str = "") -> Message:
    """That what announcement is about has arrived: to send to other servers that offer it; or to publish, by client."""
    if not client:
        return compose(announcement.subject, "ack", announcement.data)
    facts = announcement.data.get("tranship")
    told = {**(facts if isinstance(facts, dict) else {"v": 1}), "client": client}
    return compose(announcement.subject, "ack", {**announcement.data, "tranship": told})


def asked_acknowledgement(announcement: Message, ticket: str, destination: str = "") -> Message:
    """The same as a request with an id; if it is at a destination that the server knows, this says which."""
    facts = announcement.data.get("tranship")
    data = {
        **announcement.data,
        **({"destination": destination} if destination else {}),
        "tranship": {**(facts if isinstance(facts, dict) else {"v": 1}), "id": ticket},
    }
    return compose(announcement.subject, "ack", data)


def acknowledged(message: Message) -> Message:
    """The reply to an `ack` request."""
    data = message.data
    if isinstance(data, dict) and "destination" in data:
        data = {**data, "destination": clean_url(str(data["destination"]))}
    return compose(message.subject, "ack", data)


@dataclass(frozen=True, slots=True)
class LetGo:
    """What becomes of a chain's sources after they were acknowledged: deleted after a delay, or nothing.

    below: only sources below this folder are deleted.
    """

    chain: str
    delay: timedelta | None
    book: ServerBook
    clock: Clock
    below: str = "/"

    def deletions(self, versions: Sequence[Version]) -> list[Deletion]:
        """What is owed once versions are delivered."""
        if self.delay is None:
            return []
        due = self.clock.now() + self.delay.total_seconds()
        below = self.below.rstrip("/") + "/"
        return [Deletion(self.chain, v, due) for v in versions if v.path.startswith(below)]

    async def __call__(self, paths: list[str], seq: int | None = None) -> list[str]:
        """Record that the sources at paths were acknowledged; returns those that this chain never announced.

        seq: the number of the announcement that is meant, if it is known; what was announced since is kept.
        """
        told = await self.book.told(self.chain, paths)
        meant = [t.version for t in told.values() if seq is None or t.seq <= seq]
        await self.book.acknowledge(self.chain, list(told), self.deletions(meant), self.clock.now())
        return [path for path in paths if path not in told]
