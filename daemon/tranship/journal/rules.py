"""What an announcement, a failure, another client's word mean for what is owed: the rules, each within an act."""

import sqlite3

from tranship.core.handover import Matter
from tranship.core.identity import apart
from tranship.journal.jobs import FIELDS, Before, Job, NewJob, Retry, Source, Verdict, sources_of

MEANWHILE = 600.0
"""Seconds within which servers of both kinds announce the same file."""

BY_ANOTHER = "by another client"
"""Why a job is done that this client has not published."""

_EARLIER = "server, path, id, state, request_address, delivered, published, destination, reason"
_Earlier = tuple[str, str, int, str, str, float, float, str, str]


def wanted(db: sqlite3.Connection, new: NewJob) -> tuple[Verdict, Job, Before | None]:
    """Record what is offered: what it turned out to be, its job, and of what is done that delivery."""
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
            f"INSERT INTO jobs (state, {FIELDS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
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


def _is_forgotten(db: sqlite3.Connection, new: NewJob) -> bool:
    """Whether new was recorded and forgotten: up to the lowest cursor everything was recorded, whoever told of it."""
    row = db.execute("SELECT value FROM facts WHERE key='forgotten'").fetchone()
    if row is None or not new.seq or new.announced >= float(row[0]):
        return False
    cursor = db.execute(
        "SELECT min(seq) FROM cursors WHERE chain=? AND server=? AND topic=?",
        (new.chain, new.server, new.topic),
    ).fetchone()
    return cursor[0] is not None and int(cursor[0]) >= new.seq


def state_after(db: sqlite3.Connection, retry: Retry, offer: Source) -> str:
    """The state of a job after offer has failed: it is over only when nobody else offers it, nor offer anew."""
    if retry.state == "wanted":
        return "wanted"
    own = db.execute("SELECT request_address, frame FROM jobs WHERE id=?", (retry.job,)).fetchone()
    others = {source.request_address: source for source in may_be_asked(db, retry.job)}
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


def may_be_asked(db: sqlite3.Connection, job: int) -> list[Source]:
    """The other servers that may be asked for job."""
    query = "SELECT request_address, many, frame FROM sources WHERE job=? AND refused=0"
    return sources_of(db.execute(query, (job,)))


def jobs_about(db: sqlite3.Connection, chain: str, about: Matter) -> list[int]:
    """The delivery that another client speaks of, if it was announced here too."""
    row = _earlier(db, chain, about.identity)
    if row is not None and about.server and about.path and row[0] == about.server and row[1] != about.path:
        row = _earlier(db, chain, apart(about.identity, about.path))
    return [] if row is None else [row[2]]


def strike_off(db: sqlite3.Connection, job: int, now: float) -> list[str]:
    """Another client has published job; its path, if it was owed."""
    rows = db.execute(
        "UPDATE jobs SET state='done', reason=?, outgoing=NULL, published=?"
        " WHERE id=? AND state IN ('wanted', 'delivered', 'dead') AND resent=0 RETURNING path",
        (BY_ANOTHER, now, job),
    ).fetchall()
    if rows:
        db.execute("DELETE FROM numbered WHERE job=?", (job,))
    return [row[0] for row in rows]


def _earlier(db: sqlite3.Connection, chain: str, key: str) -> _Earlier | None:
    row: _Earlier | None = db.execute(
        f"SELECT {_EARLIER} FROM jobs WHERE chain=? AND identity=?", (chain, key)
    ).fetchone()
    return row
