"""lease: which of several clients of one section publishes a file. Both ends of what client and server say about it.

    client -> server   push        `tranship`: client (its id), lease (seconds), spare_of (ids of other clients)
    server -> client   file | …    `tranship`: ruling {right: yours | another | told, client, seconds, at}
    client -> all      push, ack, file and beat: `tranship`: client; in push lease and spare_of too; in file what it is
                                   about, of: {identity, server, path}
    client -> server   published   {"files": [{"uri", "size", "mtime"}], "tranship": {id, client, spare_of}}
    server -> client   published   the same

A client may publish what it was answered `yours` about, for as long as the lease that it asked for lasts from then.
Peers of the old kind say and are told nothing of this; a push without `client` counts as that of a client "".
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tranship.core.leases import UNTOLD_LEASE, Claimant, Right, Ruling
from tranship.core.values import Version, Wanted
from tranship.wire.messages import Message, compose, files

AT_ONCE = 500
"""Files in one `published` request, at most."""

_LONGEST = 3600.0
_LONGEST_ID = 64
_SPARES = 32
"""Of what a client says of itself: more is not believed."""


# The client's end


def claim(claimant: Claimant) -> dict[str, Any]:
    """What a request says of who asks."""
    told: dict[str, Any] = {"client": claimant.client, "lease": claimant.lease}
    return {**told, "spare_of": sorted(claimant.spare_of)} if claimant.spare_of else told


def signed(message: Message, client: str) -> Message:
    """A message (a heartbeat) with the id of the client that publishes it."""
    return compose(message.subject, message.type, {**message.data, "tranship": {"v": 1, "client": client}})


def read_ruling(data: Mapping[str, Any]) -> Ruling | None:
    """What the data of a reply says of who may publish; None if its server does not judge."""
    facts = data.get("tranship")
    told = facts.get("ruling") if isinstance(facts, dict) else None
    if not isinstance(told, dict) or told.get("right") not in Right.__members__.values():
        return None
    client = told.get("client")
    return Ruling(
        Right(told["right"]),
        client if isinstance(client, str) else "",
        _number(told.get("seconds"), _LONGEST),
        _number(told.get("at"), math.inf),
    )


def published_request(topic: str, ticket: str, claimant: Claimant, wanted: Iterable[Wanted]) -> Message:
    """Tell a server what was published."""
    told = [{"uri": file.path, "size": file.size, "mtime": file.mtime_ns} for file in wanted]
    return compose(topic, "published", {"files": told, "tranship": {"v": 1, "id": ticket, **claim(claimant)}})


# The server's end


def claimant_of(message: Message) -> Claimant:
    """Who sends a request."""
    facts = message.fields.get("tranship")
    if not isinstance(facts, dict) or not _is_id(facts.get("client")):
        return Claimant()
    spare_of = facts.get("spare_of")
    return Claimant(
        facts["client"],
        frozenset(filter(_is_id, spare_of[:_SPARES])) if isinstance(spare_of, list) else frozenset(),
        _number(facts.get("lease"), _LONGEST) or UNTOLD_LEASE,
    )


def told_ruling(ruling: Ruling) -> dict[str, Any]:
    """What the reply to a request says of the ruling."""
    told: dict[str, Any] = {"right": str(ruling.right)}
    if ruling.right is Right.ANOTHER:
        told |= {"client": ruling.client, "seconds": round(ruling.seconds, 3)}
    elif ruling.right is Right.TOLD:
        told |= {"client": ruling.client, "at": ruling.at}
    return {"ruling": told}


def published_versions(message: Message) -> Sequence[Version]:
    """What a `published` request is about, as far as it makes sense."""
    return [
        Version(item["uri"], item["size"], item["mtime"])
        for item in files(message.data)
        if _is_text(item.get("uri"))
        and all(isinstance(item.get(key), int) and abs(item[key]) < 1 << 63 for key in ("size", "mtime"))
    ][:AT_ONCE]


def _is_text(value: object) -> bool:
    """Whether value can be written down: JSON can say what is no valid Unicode."""
    return isinstance(value, str) and value.encode(errors="replace") == value.encode(errors="ignore")


def _is_id(value: object) -> bool:
    """Whether value can be a client's id."""
    return isinstance(value, str) and len(value) <= _LONGEST_ID and value.isprintable()


def _number(value: object, most: float) -> float:
    if isinstance(value, (int, float)) and math.isfinite(value) and value > 0:
        return min(float(value), most)
    return 0.0
