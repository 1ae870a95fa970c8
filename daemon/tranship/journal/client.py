"""The client's records: which deliveries it owes, how far each has come, and what it has heard of each server."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence

from tranship.core.retry import RetryPolicy
from tranship.journal.engine import Journal, Schema, many
from tranship.journal.jobs import (
    JOB,
    Before,
    Cursor,
    Delivered,
    Job,
    NewJob,
    Retry,
    Source,
    Verdict,
    job_of,
    jobs_of,
    sources_of,
)
from tranship.journal.numbered import NUMBERED, NumberedBook, note_numbered
from tranship.journal.orders import ORDERS, OrderBook
from tranship.journal.past import PastJobs
from tranship.journal.places import PLACES, PlaceBook
from tranship.journal.rules import may_be_asked, state_after, wanted
from tranship.journal.section import SectionBook

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
        """
ALTER TABLE cursors RENAME TO cursors_of_all;
CREATE TABLE cursors (
    chain TEXT NOT NULL, provider TEXT NOT NULL, server TEXT NOT NULL, topic TEXT NOT NULL, seq INTEGER NOT NULL,
    request_address TEXT NOT NULL, PRIMARY KEY (chain, server, topic, provider)) WITHOUT ROWID;
INSERT INTO cursors SELECT chain, '', server, topic, seq, request_address FROM cursors_of_all;
DROP TABLE cursors_of_all
""",
        NUMBERED,
    ),
)


LOOKED_BACK = 10_000
"""So many deliveries of servers of the old kind tell where such servers are."""


class ClientBook:
    """The acts on a client's journal."""

    def __init__(self, journal: Journal) -> None:
        """Keep these records in journal."""
        self._do = journal.do
        self._trouble = journal.trouble
        self._journal = journal
        self.places = PlaceBook(journal)
        self.orders = OrderBook(journal)
        self.past = PastJobs(journal)
        self.section = SectionBook(journal)

    @property
    def trouble(self) -> str:
        """What keeps the journal from writing; "" when it writes."""
        return self._trouble.reason

    def numbered(self, publisher: str) -> NumberedBook:
        """What was published by number, by the publisher of this chain, or of the whole process ("")."""
        return NumberedBook(self._journal, publisher)

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
            verdicts = [wanted(db, new) for new in offered]
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
            return jobs_of(db, [job for *_, job in due[:limit]]), min(following, default=None)

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
                f"SELECT outgoing, {JOB} FROM jobs WHERE chain=? AND state='delivered' ORDER BY id", (chain,)
            )
            return [(job_of(row[1:]), row[0]) for row in rows]

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
            note_numbered(db, [(d.job, d.number, d.delivered, d.outgoing) for d in delivered if d.number])

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
                state = retry.state if retry.offer is None else state_after(db, retry, retry.offer)
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

    async def job(self, number: int) -> Job | None:
        """The delivery of this id, as far as it is still owed."""

        def act(db: sqlite3.Connection) -> Job | None:
            row = db.execute(f"SELECT {JOB} FROM jobs WHERE id=? AND state='wanted'", (number,)).fetchone()
            return None if row is None else job_of(row)

        return await self._do(act)

    async def owed(self, jobs: Sequence[int]) -> set[int]:
        """Those of jobs that are still wanted."""

        def act(db: sqlite3.Connection) -> set[int]:
            query = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND state='wanted'"
            return {row[0] for row in db.execute(query, (json.dumps(list(jobs)),))}

        return await self._do(act)

    async def versions(self, jobs: Sequence[Job]) -> dict[int, list[tuple[int, bytes]]]:
        """Per job the other versions of its file that are, or are to be, where it is to go: ids and announcements."""
        query = (
            "SELECT id, frame FROM jobs WHERE chain=? AND uid=? AND path=? AND destination=? AND id<>?"
            " AND state IN ('wanted', 'delivered', 'done')"
        )
        keys = [(job.new.chain, job.new.uid, job.new.path, job.new.destination, job.id) for job in jobs]
        return await self._do(lambda db: {key[-1]: db.execute(query, key).fetchall() for key in keys})

    async def sources(self, jobs: Sequence[int]) -> dict[int, list[Source]]:
        """The other servers that may be asked for each of jobs, as far as there are any."""
        return await self._do(lambda db: {job: found for job in jobs if (found := may_be_asked(db, job))})

    async def offerers(self, jobs: Sequence[int]) -> dict[int, list[Source]]:
        """All servers that have offered each of jobs, those that then refused it included."""
        query = (
            "SELECT request_address, many, frame FROM jobs WHERE id=:job"
            " UNION ALL SELECT request_address, many, frame FROM sources WHERE job=:job"
        )
        return await self._do(lambda db: {job: sources_of(db.execute(query, {"job": job})) for job in jobs})


def note_cursors(db: sqlite3.Connection, cursors: Sequence[Cursor]) -> None:
    """Within an act: record how far servers were heard."""
    db.executemany(
        "INSERT INTO cursors VALUES (?,?,?,?,?,?) ON CONFLICT (chain, server, topic, provider)"
        " DO UPDATE SET seq=excluded.seq, request_address=excluded.request_address",
        [(c.chain, c.provider, c.server, c.topic, c.seq, c.request_address) for c in cursors],
    )


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


_OPEN = "FROM jobs WHERE chain=? AND request_address=? AND again=? AND state='wanted' AND parked=''"
_TO_TELL = "INSERT OR IGNORE INTO untold VALUES (?,?)"
