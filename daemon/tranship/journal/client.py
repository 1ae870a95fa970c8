"""The client's records: which deliveries it owes, how far each has come, and what it has heard of each server."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tranship.core.handover import Matter
from tranship.core.identity import apart
from tranship.core.retry import RetryPolicy
from tranship.journal.engine import Journal, Schema, many
from tranship.journal.orders import ORDERS, OrderBook
from tranship.journal.past import PastJobs
from tranship.journal.places import PLACES, PlaceBook

SCHEMA = Schema(
    "client",
    (
        """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, chain TEXT NOT NULL, identity TEXT NOT NULL,
    uid TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, destination TEXT NOT NULL,
    server TEXT NOT NULL, topic TEXT NOT NULL, request_address TEXT NOT NULL, many INTEGER NOT NULL,
    frame BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'wanted', attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '', outgoing BLOB,
    announced REAL NOT NULL, wanted REAL NOT NULL, requested REAL, delivered REAL, published REAL,
    UNIQUE (chain, identity));
CREATE INDEX jobs_open ON jobs (chain, state, due) WHERE state IN ('wanted', 'delivered');
CREATE INDEX jobs_state ON jobs (state);
CREATE TABLE sources (
    job INTEGER NOT NULL, request_address TEXT NOT NULL, many INTEGER NOT NULL, frame BLOB NOT NULL,
    PRIMARY KEY (job, request_address)) WITHOUT ROWID;
CREATE TABLE cursors (
    chain TEXT NOT NULL, server TEXT NOT NULL, topic TEXT NOT NULL, seq INTEGER NOT NULL, request_address TEXT NOT NULL,
    PRIMARY KEY (chain, server, topic)) WITHOUT ROWID;
CREATE TABLE firsts (
    chain TEXT NOT NULL, provider TEXT NOT NULL, started REAL NOT NULL, PRIMARY KEY (chain, provider)) WITHOUT ROWID
""",
        f"""
ALTER TABLE jobs ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN parked TEXT NOT NULL DEFAULT '';
UPDATE jobs SET again=1 WHERE attempts>0;
DROP INDEX jobs_open;
CREATE INDEX jobs_wanted ON jobs (chain, request_address, again, due, id) WHERE state='wanted' AND parked='';
CREATE INDEX jobs_parked ON jobs (chain, parked, id) WHERE state='wanted' AND parked<>'';
CREATE INDEX jobs_delivered ON jobs (chain, id) WHERE state='delivered';
{PLACES};
{ORDERS}
""",
        """
CREATE TABLE peers (
    chain TEXT NOT NULL, client TEXT NOT NULL, met REAL NOT NULL, PRIMARY KEY (chain, client)) WITHOUT ROWID
""",
        "CREATE INDEX jobs_unnumbered ON jobs (chain, id) WHERE server=''",
        "CREATE INDEX jobs_uid ON jobs (chain, uid)",
        """
CREATE TABLE untold (
    job INTEGER NOT NULL, request_address TEXT NOT NULL, PRIMARY KEY (job, request_address)) WITHOUT ROWID
""",
        "ALTER TABLE sources ADD COLUMN refused INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN resent INTEGER NOT NULL DEFAULT 0",
    ),
)


MEANWHILE = 600.0
"""Seconds within which servers of both kinds announce the same file."""

LOOKED_BACK = 10_000
"""So many deliveries of servers of the old kind tell where such servers are."""


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
    """Everything of (server, topic) up to seq has been recorded; replays are asked for at request_address."""

    chain: str
    server: str
    topic: str
    seq: int
    request_address: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery that is verified; outgoing is the message that is to be published.

    judge: the request address of the server that is then to be told; "": none is. size: bytes that have come, if
    the offer does not say it (0: it does, or nobody knows).
    """

    job: int
    outgoing: bytes
    requested: float
    delivered: float
    judge: str = ""
    size: int = 0


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


class ClientBook:
    """The acts on a client's journal."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do
        self._trouble = journal.trouble
        self.places = PlaceBook(journal)
        self.orders = OrderBook(journal)
        self.past = PastJobs(journal)

    @property
    def trouble(self) -> str:
        """What keeps the journal from writing; "" when it writes."""
        return self._trouble.reason

    async def firsts(self, chain: str, providers: Sequence[str], now: float) -> dict[str, float]:
        """When this chain first listened to each of providers (now, if that is now)."""

        def act(db: sqlite3.Connection) -> dict[str, float]:
            db.executemany(
                "INSERT OR IGNORE INTO firsts VALUES (?,?,?)", [(chain, p, now) for p in providers]
            )
            return dict(db.execute("SELECT provider, started FROM firsts WHERE chain=?", (chain,)).fetchall())

        return await self._do(act)

    async def cursors(self, chain: str) -> list[Cursor]:
        """What was heard so far."""
        return await self._do(
            lambda db: [Cursor(*row) for row in db.execute("SELECT * FROM cursors WHERE chain=?", (chain,))]
        )

    async def want(
        self, offered: Sequence[NewJob], cursors: Sequence[Cursor]
    ) -> list[tuple[Verdict, Job, Before | None]]:
        """Record deliveries and how far the servers were heard, in one.

        Returns per offer what it is, the job (the earlier one, if there is), and of what is done that delivery.
        """

        def act(db: sqlite3.Connection) -> list[tuple[Verdict, Job, Before | None]]:
            verdicts = [_want(db, new) for new in offered]
            note_cursors(db, cursors)
            return verdicts

        return await self._do(act)

    async def taken(self, chain: str, identities: Sequence[str]) -> dict[str, bool]:
        """Those of identities that there are deliveries of, and whether each is done."""

        def act(db: sqlite3.Connection) -> dict[str, bool]:
            query = (
                "SELECT identity, state IN ('delivered', 'done') FROM jobs"
                " WHERE chain=? AND identity IN (SELECT value FROM json_each(?))"
            )
            return {row[0]: bool(row[1]) for row in db.execute(query, (chain, json.dumps(list(identities))))}

        return await self._do(act)

    async def waiting(
        self,
        chain: str,
        now: float,
        *,
        horizon: float,
        limit: int,
        busy: Collection[str] = (),
        taken: Collection[int] = (),
    ) -> tuple[list[Job], float | None]:
        """Deliveries that are owed and due, new ones before retries; and when the next one will be due.

        Not those that are taken, nor of the request addresses that are busy, nor what waits for a paused place.
        Nothing is ever put off by more than horizon (seconds): what is due later still was put off by another clock,
        and is due.
        """

        def act(db: sqlite3.Connection) -> tuple[list[Job], float | None]:
            due: list[tuple[int, float, int]] = []
            following: list[float] = []
            for address in _addresses(db, chain):
                for again in (0, 1):
                    key = (chain, address, again)
                    if address not in busy:
                        found = _due(db, key, now, now + horizon, limit + len(taken))
                        due += [(again, *row) for row in found if row[1] not in taken][:limit]
                    [(later,)] = db.execute(f"SELECT min(due) {_OPEN} AND due>?", (*key, now))
                    following += [] if later is None else [later]
            due.sort()
            return _jobs(db, [job for *_, job in due[:limit]]), min(following, default=None)

        return await self._do(act)

    async def take_up(self, chain: str, now: float, policy: RetryPolicy, held: float) -> None:
        """Shorten what an earlier life has put off, as its clock may have been ahead.

        To what comes after so many attempts, at most, or to held (seconds) if that is longer.
        """
        wait = "max(:held, min(:longest, :first * (1 << min(max(attempts - 1, 0), 32))))"
        values = {
            "chain": chain,
            "now": now,
            "held": held,
            "first": policy.first.total_seconds(),
            "longest": policy.longest.total_seconds(),
        }

        def act(db: sqlite3.Connection) -> None:
            db.execute(
                f"UPDATE jobs SET due=:now + {wait} WHERE chain=:chain AND state='wanted' AND parked=''"
                f" AND due>:now AND due>:now + {wait}",
                values,
            )

        await self._do(act)

    async def unpublished(self, chain: str) -> list[tuple[Job, bytes]]:
        """Deliveries that were verified, but perhaps not published, with their messages."""

        def act(db: sqlite3.Connection) -> list[tuple[Job, bytes]]:
            rows = db.execute(
                f"SELECT outgoing, {_JOB} FROM jobs WHERE chain=? AND state='delivered' ORDER BY id", (chain,)
            )
            return [(_job(row[1:]), row[0]) for row in rows]

        return await self._do(act)

    async def delivered(self, delivered: Sequence[Delivered]) -> None:
        """Record verified deliveries, before they are published."""

        def act(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE jobs SET state='delivered', reason='', parked='', outgoing=?, requested=?, delivered=?,"
                " size=max(size, ?) WHERE id=?",
                [(d.outgoing, d.requested, d.delivered, d.size, d.job) for d in delivered],
            )
            db.executemany(_TO_TELL, [(d.job, d.judge) for d in delivered if d.judge])

        await self._do(act)

    async def published(self, published: Sequence[tuple[int, float]]) -> None:
        """Record when the messages of jobs were published: (job, seconds since the epoch)."""
        rows = [(at, job) for job, at in published]
        await self._do(
            many("UPDATE jobs SET state='done', resent=0, outgoing=NULL, published=? WHERE id=?", rows)
        )

    async def to_tell(self, published: Sequence[tuple[int, str]]) -> None:
        """Record that servers are still to be told of what was published: (job, request address)."""
        await self._do(many(_TO_TELL, published))

    async def told(self, published: Sequence[tuple[int, str]]) -> None:
        """Record that servers were told."""
        await self._do(many("DELETE FROM untold WHERE job=? AND request_address=?", published))

    async def untold(self, chain: str) -> list[tuple[int, str, bytes]]:
        """What was published, and a server is still to be told: (job, request address, announcement)."""
        query = (  # CROSS: what is untold first, for all the rest was done long ago
            "SELECT id, untold.request_address, coalesce(sources.frame, jobs.frame)"
            " FROM untold CROSS JOIN jobs ON jobs.id=untold.job LEFT JOIN sources"
            " ON sources.job=untold.job AND sources.request_address=untold.request_address"
            " WHERE chain=? AND state='done' AND reason=''"
        )
        return await self._do(lambda db: db.execute(query, (chain,)).fetchall())

    async def failed(self, retries: Sequence[Retry]) -> None:
        """Record attempts that failed."""

        def act(db: sqlite3.Connection) -> None:
            for retry in retries:
                state = retry.state if retry.offer is None else _after(db, retry, retry.offer)
                db.execute(
                    "UPDATE jobs SET state=?, reason=?, due=?, attempts=attempts+1, again=1, parked=''"
                    " WHERE id=? AND state NOT IN ('delivered', 'done', 'dropped')",
                    (state, retry.reason, retry.due, retry.job),
                )

        await self._do(act)

    async def hasten(self, chain: str, now: float) -> None:
        """Make all retries of chain due now: whom they wait for is back."""
        statement = "UPDATE jobs SET due=? WHERE chain=? AND state='wanted' AND attempts>0 AND due>?"
        await self._do(many(statement, [(now, chain, now)]))

    # servers of the old kind, which don't number

    async def unnumbered(self, chain: str) -> list[tuple[str, str]]:
        """The (request address, topic) of each server of the old kind that was heard, the last ones first."""

        def act(db: sqlite3.Connection) -> list[tuple[str, str]]:
            rows = db.execute(
                "SELECT request_address, topic FROM jobs WHERE chain=? AND server='' ORDER BY id DESC LIMIT ?",
                (chain, LOOKED_BACK),
            )
            return list(dict.fromkeys((row[0], row[1]) for row in rows))

        return await self._do(act)

    async def unnumbered_frames(self, chain: str, address: str, topic: str, limit: int) -> list[bytes]:
        """The last announcements of topic by the server of the old kind at address, the newest first."""
        query = (
            "SELECT frame FROM jobs WHERE chain=? AND server='' AND request_address=? AND topic=?"
            " ORDER BY id DESC LIMIT ?"
        )
        return await self._do(
            lambda db: [row[0] for row in db.execute(query, (chain, address, topic, limit))]
        )

    async def known(self, chain: str, uids: Sequence[str]) -> set[str]:
        """Those of these file names of which a delivery was recorded, by whomever it was announced."""
        query = "SELECT uid FROM jobs WHERE chain=? AND uid IN (SELECT value FROM json_each(?))"
        return await self._do(
            lambda db: {row[0] for row in db.execute(query, (chain, json.dumps(list(uids))))}
        )

    # other clients of the section

    async def client(self, chain: str, fresh: str) -> tuple[str, list[str]]:
        """The id of this client's chain (fresh, unless the journal has one), and those that it has heard last."""

        def act(db: sqlite3.Connection) -> tuple[str, list[str]]:
            key = f"client {chain}"
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (key, fresh))
            [own] = db.execute("SELECT value FROM facts WHERE key=?", (key,)).fetchone()
            rows = db.execute("SELECT client FROM peers WHERE chain=? ORDER BY met DESC LIMIT 16", (chain,))
            return str(own), [row[0] for row in rows]

        return await self._do(act)

    async def meet(self, chain: str, client: str, now: float) -> None:
        """Remember another client that was heard."""
        await self._do(many("INSERT OR REPLACE INTO peers VALUES (?,?,?)", [(chain, client, now)]))

    async def hold(self, chain: str, held: Sequence[tuple[Matter, float]]) -> None:
        """Put off deliveries that another client has under way; it is given until then (seconds since the epoch)."""

        def act(db: sqlite3.Connection) -> None:
            for about, until in held:
                for job in _jobs_about(db, chain, about):
                    db.execute("UPDATE jobs SET due=? WHERE id=? AND state='wanted'", (until, job))

        await self._do(act)

    async def elsewhere(self, chain: str, told: Sequence[Matter], now: float) -> list[str]:
        """Strike off deliveries that another client has published; returns the paths of those that were owed."""

        def act(db: sqlite3.Connection) -> list[str]:
            paths = []
            for about in told:
                for job in _jobs_about(db, chain, about):
                    paths += _strike_off(db, job, now)
            return paths

        return await self._do(act)

    async def put_off(self, job: int, until: float) -> None:
        """Another client has this delivery under way; it is given until then (seconds since the epoch)."""
        statement = "UPDATE jobs SET state='wanted', due=? WHERE id=? AND state IN ('wanted', 'delivered')"
        await self._do(many(statement, [(until, job)]))

    async def struck_off(self, job: int, now: float) -> None:
        """Another client has published this delivery."""
        await self._do(lambda db: _strike_off(db, job, now))

    async def job(self, number: int) -> Job | None:
        """The delivery of this id, as far as it is still owed."""

        def act(db: sqlite3.Connection) -> Job | None:
            row = db.execute(f"SELECT {_JOB} FROM jobs WHERE id=? AND state='wanted'", (number,)).fetchone()
            return None if row is None else _job(row)

        return await self._do(act)

    async def owed(self, jobs: Sequence[int]) -> set[int]:
        """Those of jobs that are still wanted."""

        def act(db: sqlite3.Connection) -> set[int]:
            query = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND state='wanted'"
            return {row[0] for row in db.execute(query, (json.dumps(list(jobs)),))}

        return await self._do(act)

    async def sources(self, jobs: Sequence[int]) -> dict[int, list[Source]]:
        """The other servers that may be asked for each of jobs, as far as there are any."""
        return await self._do(lambda db: {job: found for job in jobs if (found := _sources(db, job))})

    async def offerers(self, jobs: Sequence[int]) -> dict[int, list[Source]]:
        """All servers that have offered each of jobs, those that then refused it included."""
        query = (
            "SELECT request_address, many, frame FROM jobs WHERE id=:job"
            " UNION ALL SELECT request_address, many, frame FROM sources WHERE job=:job"
        )
        return await self._do(lambda db: {job: _as_sources(db.execute(query, {"job": job})) for job in jobs})


def _is_forgotten(db: sqlite3.Connection, new: NewJob) -> bool:
    """Whether new was recorded and forgotten: up to a cursor everything was recorded."""
    row = db.execute("SELECT value FROM facts WHERE key='forgotten'").fetchone()
    if row is None or not new.seq or new.announced >= float(row[0]):
        return False
    cursor = db.execute(
        "SELECT seq FROM cursors WHERE chain=? AND server=? AND topic=?", (new.chain, new.server, new.topic)
    ).fetchone()
    return cursor is not None and int(cursor[0]) >= new.seq


def note_cursors(db: sqlite3.Connection, cursors: Sequence[Cursor]) -> None:
    """Within an act: record how far servers were heard."""
    db.executemany(
        "INSERT INTO cursors VALUES (?,?,?,?,?) ON CONFLICT (chain, server, topic)"
        " DO UPDATE SET seq=excluded.seq, request_address=excluded.request_address",
        [(c.chain, c.server, c.topic, c.seq, c.request_address) for c in cursors],
    )


_FIELDS = (
    "chain, identity, uid, path, size, destination, server, topic,"
    " request_address, many, frame, announced, wanted, due"
)
_JOB = f"id, attempts, again, resent, {_FIELDS}"
_EARLIER = "server, path, id, state, request_address, delivered, published, destination, reason"
_Earlier = tuple[str, str, int, str, str, float, float, str, str]
_OPEN = "FROM jobs WHERE chain=? AND request_address=? AND again=? AND state='wanted' AND parked=''"


def _job(row: Sequence[object]) -> Job:
    fields = list(row[4:])
    fields[9] = bool(fields[9])
    return Job(row[0], NewJob(*fields), row[1], bool(row[2]), bool(row[3]))  # type: ignore[arg-type]  # typed by the schema


def _addresses(db: sqlite3.Connection, chain: str) -> Iterator[str]:
    """The request addresses of which something is wanted: one step in the index for each, whatever waits there."""
    query = "SELECT min(request_address) FROM jobs WHERE chain=? AND request_address>? AND state='wanted' AND parked=''"
    [(address,)] = db.execute(query, (chain, ""))
    while address is not None:
        yield address
        [(address,)] = db.execute(query, (chain, address))


def _due(
    db: sqlite3.Connection, key: tuple[str, str, int], now: float, horizon: float, limit: int
) -> list[tuple[float, int]]:
    """When these are due, and their ids: the index says it, so that passing over many costs little."""
    return [
        row
        for due, time in (("due<=?", now), ("due>?", horizon))
        for row in db.execute(
            f"SELECT due, id {_OPEN} AND {due} ORDER BY due, id LIMIT ?", (*key, time, limit)
        )
    ]


def _jobs(db: sqlite3.Connection, ids: Sequence[int]) -> list[Job]:
    """The jobs of these ids, in that order."""
    query = f"SELECT {_JOB} FROM jobs WHERE id=?"
    return [_job(row) for each in ids for row in db.execute(query, (each,))]


def _want(db: sqlite3.Connection, new: NewJob) -> tuple[Verdict, Job, Before | None]:
    key = new.identity
    row = _earlier(db, new.chain, key)
    if row is not None and row[0] == new.server and new.server and row[1] != new.path:
        key = apart(key, new.path)  # the same name and bytes in another directory: a file of its own
        row = _earlier(db, new.chain, key)
    if row is None and _is_forgotten(db, new):
        return Verdict.KNOWN, Job(0, new), None
    by_name = row is None and new.names != ""
    if by_name:
        row = _of_other_kind(db, new)
    if row is None:
        number = db.execute(
            f"INSERT INTO jobs (state, {_FIELDS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                "wanted" if new.destination else "dead",
                *(new.chain, key, new.uid, new.path, new.size, new.destination, new.server, new.topic),
                *(new.request_address, new.many, new.frame, new.announced, new.wanted, new.due),
            ),
        ).lastrowid
        return Verdict.NEW, Job(number or 0, new), None
    _, _, number, state, address, delivered, published, destination, reason = row
    job = Job(number, new)
    if state in ("delivered", "done"):
        told = "told by its name alone" if by_name else reason
        return Verdict.DONE, job, Before(published or delivered, destination, told)
    own = address == new.request_address
    if own:  # announced anew, perhaps, as it is now: that is what is to be asked for
        known = db.execute("UPDATE jobs SET frame=? WHERE id=? AND frame<>?", (new.frame, number, new.frame))
        if not known.rowcount:
            return Verdict.KNOWN, job, None
    else:
        db.execute(
            "INSERT OR REPLACE INTO sources VALUES (?,?,?,?,0)",
            (number, new.request_address, new.many, new.frame),
        )
    if new.destination and (state == "dead" or (own and state == "superseded")):  # a new chance
        db.execute(
            "UPDATE jobs SET state='wanted', destination=?, wanted=?, due=?, attempts=0, again=0 WHERE id=?",
            (new.destination, new.wanted, new.due, number),
        )
        return Verdict.NEW, job, None
    return Verdict.KNOWN if own else Verdict.SOURCE, job, None


def _of_other_kind(db: sqlite3.Connection, new: NewJob) -> _Earlier | None:
    """The delivery of the same file that a server of the other kind has offered: of the old kind, names alone count.

    What a server that numbers tells of a name may be new content; it is what an old one offered if that was just now,
    no other version was told since, what came has the same size (as far as that is known), and the very same path was
    not written to after it was offered.
    """
    if not new.server:
        query = f"SELECT {_EARLIER} FROM jobs WHERE chain=? AND uid=? ORDER BY id DESC LIMIT 1"
        row: _Earlier | None = db.execute(query, (new.chain, new.uid)).fetchone()
        return row
    row = _earlier(db, new.chain, new.names)
    if row is None or row[0]:
        return None
    taken_over = db.execute(
        "UPDATE jobs SET identity=? WHERE id=? AND abs(announced-?)<=? AND size IN (0, ?)"
        " AND NOT (path=? AND announced<?)",
        (new.identity, row[2], new.announced, MEANWHILE, new.size, new.path, new.mtime),
    )
    return row if taken_over.rowcount else None


_TO_TELL = "INSERT OR IGNORE INTO untold VALUES (?,?)"


def _jobs_about(db: sqlite3.Connection, chain: str, about: Matter) -> list[int]:
    """The delivery that another client speaks of, if it was announced here too."""
    row = _earlier(db, chain, about.identity)
    if row is not None and about.server and about.path and row[0] == about.server and row[1] != about.path:
        row = _earlier(db, chain, apart(about.identity, about.path))
    return [] if row is None else [row[2]]


def _strike_off(db: sqlite3.Connection, job: int, now: float) -> list[str]:
    rows = db.execute(
        "UPDATE jobs SET state='done', reason='by another client', outgoing=NULL, published=?"
        " WHERE id=? AND state IN ('wanted', 'delivered', 'dead') AND resent=0 RETURNING path",
        (now, job),
    )
    return [row[0] for row in rows]


def _after(db: sqlite3.Connection, retry: Retry, offer: Source) -> str:
    """The state of a job after offer has failed: it is over only when nobody else offers it, nor offer anew."""
    if retry.state == "wanted":
        return "wanted"
    own = db.execute("SELECT request_address, frame FROM jobs WHERE id=?", (retry.job,)).fetchone()
    others = {source.request_address: source for source in _sources(db, retry.job)}
    if offer.request_address == own[0]:
        anew = own[1] != offer.frame
    else:
        anew = others.get(offer.request_address, offer).frame != offer.frame
    if anew:
        return "wanted"
    if retry.state == "superseded":  # an old version must not come after the new one
        return retry.state
    if offer.request_address == own[0] and not others:
        return retry.state
    db.execute(
        "INSERT OR REPLACE INTO sources VALUES (?,?,?,?,1)",  # it is still to be told that it is here
        (retry.job, offer.request_address, offer.many, offer.frame),
    )
    if offer.request_address != own[0]:
        return "wanted"
    other = next(iter(others.values()))
    db.execute("DELETE FROM sources WHERE job=? AND request_address=?", (retry.job, other.request_address))
    db.execute(
        "UPDATE jobs SET request_address=?, many=?, frame=? WHERE id=?",
        (other.request_address, other.many, other.frame, retry.job),
    )
    return "wanted"


def _sources(db: sqlite3.Connection, job: int) -> list[Source]:
    query = "SELECT request_address, many, frame FROM sources WHERE job=? AND refused=0"
    return _as_sources(db.execute(query, (job,)))


def _as_sources(rows: Iterable[tuple[str, int, bytes]]) -> list[Source]:
    return [Source(address, bool(many), frame) for address, many, frame in rows]


def _earlier(db: sqlite3.Connection, chain: str, key: str) -> _Earlier | None:
    row: _Earlier | None = db.execute(
        f"SELECT {_EARLIER} FROM jobs WHERE chain=? AND identity=?", (chain, key)
    ).fetchone()
    return row
