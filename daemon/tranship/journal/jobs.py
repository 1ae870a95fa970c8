"""The words of a client's records: deliveries, who offers them, and what becomes of them."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tranship.journal.numbered import Numbered


class Verdict(StrEnum):
    """What an announcement turned out to be."""

    NEW = "new"
    SOURCE = "another source"
    KNOWN = "heard before"
    DONE = "delivered before"


@dataclass(frozen=True, slots=True)
class NewJob:
    """A delivery that an announcement (frame) offers; times in seconds since the epoch.

    Without a destination (""), as the announcement leads to none, it is dead from its beginning.
    """

    chain: str
    identity: str
    uid: str
    path: str
    size: int
    destination: str
    server: str
    topic: str
    request_address: str
    many: bool
    frame: bytes
    announced: float
    wanted: float
    due: float
    seq: int = 0
    """The number of the announcement; 0: its server does not number."""
    names: str = ""
    """The identity by which a server of the old kind would offer the same; "" if it would not (several files)."""
    mtime: float = 0.0
    """When the file was last written (seconds since the epoch); 0: its server does not say."""


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery that is owed; attempts that have failed so far; again: it had its turn, and comes after new ones.

    resent: an operator wants it once more, whoever has published it before.
    """

    id: int
    new: NewJob
    attempts: int = 0
    again: bool = False
    resent: bool = False

    @property
    def own_offer(self) -> "Source":
        """The offer that it was first heard from."""
        return Source(self.new.request_address, self.new.many, self.new.frame)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything of (server, topic) up to seq that came from provider has been recorded.

    Replays are asked for at request_address. What one provider says of a server counts for no other.
    """

    chain: str
    provider: str
    server: str
    topic: str
    seq: int
    request_address: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery that is verified; outgoing is the message that is to be published.

    judge: the request address of the server that is then to be told; "": none is. size: bytes that have come, if
    the offer does not say it (0: it does, or nobody knows). number: that of the message, if it has one.
    """

    job: int
    outgoing: bytes
    requested: float
    delivered: float
    judge: str = ""
    size: int = 0
    number: Numbered | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt that failed, and what follows.

    state "wanted": again, when due (seconds since the epoch); "dead": given up; "superseded": a newer version comes.
    offer: whose answer that is; what it will never deliver, another may. None: it is final, whoever offers it.
    """

    job: int
    reason: str
    state: str
    due: float = 0.0
    offer: "Source | None" = None


@dataclass(frozen=True, slots=True)
class Source:
    """A server that offers a delivery, and its announcement."""

    request_address: str
    many: bool
    frame: bytes


@dataclass(frozen=True, slots=True)
class Before:
    """An earlier delivery: when (seconds since the epoch), where to, and what else there is to say."""

    at: float
    destination: str
    reason: str


FIELDS = (
    "chain, identity, uid, path, size, destination, server, topic,"
    " request_address, many, frame, announced, wanted, due"
)
"""The columns of what a NewJob says."""

JOB = f"id, attempts, again, resent, {FIELDS}"
"""The columns of a Job."""


def job_of(row: Sequence[object]) -> Job:
    """The job of a row of the columns JOB."""
    fields = list(row[4:])
    fields[9] = bool(fields[9])
    return Job(row[0], NewJob(*fields), row[1], bool(row[2]), bool(row[3]))  # type: ignore[arg-type]  # typed by the schema


def jobs_of(db: sqlite3.Connection, ids: Sequence[int]) -> list[Job]:
    """The jobs of these ids, in that order."""
    query = f"SELECT {JOB} FROM jobs WHERE id=?"
    return [job_of(row) for each in ids for row in db.execute(query, (each,))]


def sources_of(rows: Iterable[tuple[str, int, bytes]]) -> list[Source]:
    """The sources of rows of address, kind and announcement."""
    return [Source(address, bool(many), frame) for address, many, frame in rows]
