"""Group commit: whoever writes hands in an act and waits; one thread does all acts that wait in one transaction.

SQLite in WAL mode with synchronous=NORMAL: a commit survives the death of the process at any moment; a power cut
may take the last moments, and takes them whole (records and cursors alike), so that what is lost there is found
again by the reconcile scan and by replay. When the disk is full or the file can't be written, acts wait and are
tried again: nothing goes on as if it were written.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Act = Callable[[sqlite3.Connection], T]
"""What is done inside a transaction. It touches nothing but the connection, for it may be done again."""

APPLICATION = 0x54524E53
"""SQLite's application_id of our journals ("TRNS")."""

_GROUP = 512
_WAITS = (0.05, 0.2, 1.0, 5.0)


class JournalError(Exception):
    """The journal can't be used; the text names the file, says why and what to do."""


def many(statement: str, rows: Sequence[Sequence[Any]]) -> Act[None]:
    """The act of doing statement once for each of rows."""

    def act(db: sqlite3.Connection) -> None:
        db.executemany(statement, rows)

    return act


@dataclass(slots=True)
class _Entry(Generic[T]):
    act: Act[T]
    loop: asyncio.AbstractEventLoop
    outcome: "asyncio.Future[T]"


@dataclass(slots=True)
class Trouble:
    """What keeps the journal from writing, for health: "" when it writes."""

    reason: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one kind of journal: `steps[n]` leads from version n to n + 1.

    parts: schemas whose tables it has as well, each with a version of its own.
    """

    kind: str
    steps: tuple[str, ...]
    parts: tuple["Schema", ...] = ()


@dataclass
class Journal:
    """An open journal. Use `Journal.open`; `close` writes what still waits."""

    path: Path
    trouble: Trouble = field(default_factory=Trouble)
    _queue: "queue.SimpleQueue[_Entry[Any] | None]" = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _closing: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def open(cls, path: Path, schema: Schema, role: str = "") -> "Journal":
        """Open or make the journal at path, of a process in this role, and bring its tables to the present version.

        role: several have tables of the same kind; "": the one that the kind is named after. A journal that does not
        say its role, as an older Tranship made it, is from then on that of the one who opens it.

        Raises JournalError if it is another role's, is newer than this program, or can't be written.
        Operators' orders are written by processes of their own; whose journal it is, `held` says.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        journal = cls(path)
        try:
            connection = _connect(path)
            _migrate(connection, schema, role or schema.kind, path)
        except sqlite3.Error as error:
            raise JournalError(f"{path}: {error}; {_advice(error)}") from error
        journal._thread = threading.Thread(
            target=journal._write, args=(connection,), name=f"journal {path.name}", daemon=True
        )
        journal._thread.start()
        return journal

    async def do(self, act: Act[T]) -> T:
        """Do act in the next group; return its result when it is on disk. Raises what act raises.

        Raises JournalError if the journal is closed, or is being closed and can't be written any more.
        """
        if self._closing.is_set():
            raise self._closed()
        loop = asyncio.get_running_loop()
        entry = _Entry(act, loop, loop.create_future())
        self._queue.put(entry)
        result: T = await entry.outcome
        return result

    def close(self) -> None:
        """Write what waits and close the file. What can't be written then is given up: `trouble` says why.

        Whoever waits for that gets a JournalError.
        """
        if self._thread is not None:
            self._closing.set()
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _write(self, connection: sqlite3.Connection) -> None:
        open_ = True
        while open_:
            group = []
            entry = self._queue.get()
            while True:
                if entry is None:
                    open_ = False
                    break
                group.append(entry)
                if len(group) == _GROUP:
                    break
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._commit(connection, group)
        connection.close()
        with contextlib.suppress(queue.Empty):
            while (late := self._queue.get_nowait()) is not None:
                _hand_over([late], [self._closed()])

    def _closed(self) -> JournalError:
        return JournalError(
            f"{self.path}: is closed; what was to be written is found again at the next start"
        )

    def _commit(self, connection: sqlite3.Connection, group: list[_Entry[Any]]) -> None:
        tries = 0
        while True:
            try:
                results = _transaction(connection, group)
            except sqlite3.Error as error:
                # Full disk, I/O error, somebody's lock, damage: nothing of the group is written, and it is done again.
                self.trouble.since = self.trouble.since or time.time()
                self.trouble.reason = f"{self.path}: {error}; {_advice(error)}"
                if self._closing.is_set():
                    results = [JournalError(self.trouble.reason)] * len(group)
                    break
                self._closing.wait(_WAITS[min(tries, len(_WAITS) - 1)])
                tries += 1
            else:
                self.trouble.reason, self.trouble.since = "", 0.0
                break
        _hand_over(group, results)


def _transaction(connection: sqlite3.Connection, group: list[_Entry[Any]]) -> list[Any]:
    """Results of the acts; an exception that an act raised for reasons of its own stands in its place."""
    results: list[Any] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for entry in group:
            if len(group) > 1:
                connection.execute("SAVEPOINT act")
            try:
                results.append(entry.act(connection))
            except sqlite3.OperationalError:
                raise
            except Exception as error:  # noqa: BLE001 - it is handed to the one who waits for it
                results.append(error)
                if len(group) > 1:
                    connection.execute("ROLLBACK TO act")
                else:
                    connection.rollback()
                    return results
            if len(group) > 1:
                connection.execute("RELEASE act")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return results


def _hand_over(group: list[_Entry[Any]], results: list[Any]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for entry, result in zip(group, results, strict=True):
        by_loop.setdefault(entry.loop, []).append((entry.outcome, result))
    for loop, pairs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for outcome, result in pairs:
        if outcome.done():
            continue
        if isinstance(result, Exception):
            outcome.set_exception(result)
        else:
            outcome.set_result(result)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """The journal at path is this process's meanwhile, as long as it lives. Raises JournalError if it is another's.

    What is locked is `<path>.lock`: a lock on SQLite's own file would be lost with the first connection that is closed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise JournalError(f"{path}.lock: {error.strerror}; can this user write there?") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise JournalError(
            f"{path}: another process uses it; is this one started twice? Each process needs a `journal` of its own"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            os.close(lock)
            raise JournalError(f"{path}.lock: {error.strerror}") from error
        # a file system without locks has to do without
    try:
        yield
    finally:
        os.close(lock)


def _connect(path: Path) -> sqlite3.Connection:
    fresh = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)
    if fresh:
        os.chmod(path, 0o640)  # it names files and places
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA locking_mode=NORMAL")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    connection.execute("PRAGMA journal_size_limit=67108864")
    return connection


def _migrate(connection: sqlite3.Connection, schema: Schema, role: str, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application != APPLICATION:
        raise JournalError(f"{path}: is an SQLite file of another program; choose another `journal`")
    connection.execute("BEGIN EXCLUSIVE")
    if not tables:
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        connection.execute("INSERT INTO facts VALUES ('kind', ?)", (schema.kind,))
    facts = dict(connection.execute("SELECT key, value FROM facts WHERE key IN ('kind', 'role')"))
    if facts["kind"] != schema.kind or facts.get("role", role) != role:
        connection.rollback()
        raise JournalError(
            f"{path}: is the journal of a {facts.get('role', facts['kind'])}, not of a {role}: each process needs a"
            " `journal` of its own; choose another"
        )
    connection.execute("INSERT OR IGNORE INTO facts VALUES ('role', ?)", (role,))
    if version > len(schema.steps):
        connection.rollback()
        raise JournalError(
            f"{path}: written by a newer Tranship (version {version}, this one knows {len(schema.steps)});"
            " use that one, or another `journal`"
        )
    for part in schema.parts:
        _migrate_part(connection, part, path)
    _take_steps(connection, schema.steps[version:])
    connection.execute(f"PRAGMA user_version={len(schema.steps)}")
    connection.commit()


def _migrate_part(connection: sqlite3.Connection, part: Schema, path: Path) -> None:
    for inner in part.parts:
        _migrate_part(connection, inner, path)
    key = f"version of {part.kind}"
    known = connection.execute("SELECT value FROM facts WHERE key=?", (key,)).fetchone()
    version = int(known[0]) if known else 0
    if version > len(part.steps):
        connection.rollback()
        raise JournalError(f"{path}: written by a newer Tranship; use that one, or another `journal`")
    _take_steps(connection, part.steps[version:])
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?,?)", (key, str(len(part.steps))))


def _take_steps(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    for step in steps:
        for statement in step.split(";\n"):
            connection.execute(statement)


def _advice(error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text:
        return "make room on that disk; the work goes on by itself"
    if "locked" in text:
        return "another process uses it: each process needs a `journal` of its own"
    if "not a database" in text or "malformed" in text:
        return "the file is damaged: move it away, and the state is found again by scan and replay"
    return "can this user write there, and is there room on that disk?"
