"""Runs one role from its start to its end: signals, reload, health, the service manager, exit codes.

    start -> ready -> serve (reload on request or change) -> stop asked for -> drain -> leave

The one broad `except` of a process stands in `run_process`.
"""

import asyncio
import faulthandler
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from tranship.config.findings import ConfigError
from tranship.core.health import Health
from tranship.journal.engine import JournalError
from tranship.run import signals
from tranship.run.health import POST_EVERY, post, withdraw
from tranship.run.log import LogConfigError, Once, redacted
from tranship.run.reload import Source, due
from tranship.run.systemd import NOBODY, Notify
from tranship.wire.contract import BusError
from tranship_movers.errors import MoverError

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)

log = logging.getLogger("tranship.run")


class Exit(IntEnum):
    """How a process ended: the numbers of sysexits.h, which systemd shows by name.

    Beside these: 2, the command line was wrong; 128 + n, a second signal n asked to leave at once.
    """

    DONE = 0
    """Stopped when asked to, or had nothing left to do."""
    UNAVAILABLE = 69
    """An address, the journal or a place can't be used."""
    BUG = 70
    """Something that was not foreseen; the log holds the traceback."""
    UNFINISHED = 75
    """Asked to stop, and not done in time; the journal holds the rest."""
    CONFIG = 78
    """The configuration can't be used."""


KNOWN: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.CONFIG),
    (LogConfigError, Exit.CONFIG),
    (BusError, Exit.UNAVAILABLE),
    (JournalError, Exit.UNAVAILABLE),
    (MoverError, Exit.UNAVAILABLE),
)
"""Errors that explain themselves: one line, no traceback."""


class Role(Protocol[C_contra]):
    """What is run."""

    @property
    def health(self) -> Health:
        """Kept by the role while it works."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled, or until there is nothing left to do. Calls ready once it serves."""

    async def drain(self) -> None:
        """Take nothing new, finish what is under way, and let `run` end (or it is cancelled)."""

    async def reload(self, config: C_contra) -> list[str]:
        """Take over config, touching only what changed; what that was, in words. Called only after ready."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take (seconds)."""

    drain: float = 20.0
    """From the signal to stop until what is under way is broken off."""
    grace: float = 3.0
    """For cleaning up after draining, and again after breaking off."""
    beat: float = 1.0
    """From one look at health and files to the next."""
    quiet: float = 0.3
    """For changed files and repeated requests to come to rest."""
    start: float = 60.0
    """By this much the service manager's patience with the start is renewed at each beat."""


async def supervise(
    role: Role[C],
    source: Source[C] | None = None,
    *,
    notify: Notify = NOBODY,
    pace: Pace = Pace(),
    bulletin: Path | None = None,
) -> Exit:
    """Run role until it ends or a signal ends it. In the main thread.

    source is read again on SIGHUP and when its files change (None: never). bulletin is a file in which
    `status` finds the health. Raises what the role raises.
    """
    asked = signals.Asked()
    beat = _Beat(role.health, notify, pace)
    with signals.heard(asked):
        work = asyncio.create_task(role.run(beat.ready))
        stop = asyncio.create_task(asked.stop.wait())
        reloads = asyncio.create_task(_reloads(role, source, asked, beat))
        beside = {asyncio.create_task(beat.go_on()), asyncio.create_task(_bulletins(role.health, bulletin))}
        try:
            ended, _ = await asyncio.wait({work, stop, reloads, *beside}, return_when=asyncio.FIRST_COMPLETED)
            if stop not in ended:
                _raise_first(ended)
                return Exit.DONE
            await _cancelled({reloads}, pace.grace)
            return await _leave(role, work, asked.by, beat)
        finally:
            await _cancelled({work, stop, reloads, *beside}, pace.grace)


def run_process(main: Callable[[], Coroutine[Any, Any, Exit]], *, grace: float = Pace().grace) -> NoReturn:
    """Run main in an event loop and end the process with its exit code, whatever happens.

    Known errors are one line each, others a traceback. Threads that hang hold nothing up for longer than
    twice the grace (seconds). If the process dies of SIGABRT (systemd's watchdog), it says where each thread stood.
    """
    faulthandler.enable()
    _collect_rarely()
    loop = asyncio.new_event_loop()
    try:
        code = int(loop.run_until_complete(main()))
    except KeyboardInterrupt:
        code = 128 + signals.STOP[1]
    except Exception as error:  # noqa: BLE001 - the one broad except of a process
        code = int(explained(error))
    last_resort = threading.Timer(2 * grace, os._exit, (code,))
    last_resort.daemon = True
    last_resort.start()
    loop.run_until_complete(_tidied(grace))
    loop.close()
    logging.shutdown()
    raise SystemExit(code)


def _collect_rarely() -> None:
    """Spare the garbage collector what stays for good, and thousands of looks at files on their way.

    References are counted: it is needed for circles only, and took up to a tenth of the time of a burst.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _tidied(grace: float) -> None:
    """End what main has left behind."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    await _cancelled({task for task in left if task is not None}, grace)
    await asyncio.get_running_loop().shutdown_asyncgens()


def explained(error: BaseException) -> Exit:
    """Log error, in one line per cause if it is known, with its traceback if not; and what to exit with."""
    causes = tuple(_causes(error))
    exits = [_exit_of(cause) for cause in causes]
    if Exit.BUG in exits:
        log.critical("unexpected, and so a bug; please report it: %s", error, exc_info=error)
        return Exit.BUG
    for text in dict.fromkeys(str(cause) for cause in causes):
        log.critical("%s", text)
    return exits[0]


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _causes(part)
    else:
        yield error


def _exit_of(error: BaseException) -> Exit:
    return next((code for kind, code in KNOWN if isinstance(error, kind)), Exit.BUG)


@dataclass(slots=True)
class _Beat:
    """Looks at the health again and again, from the event loop, and passes it on."""

    health: Health
    notify: Notify
    pace: Pace
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    _told: str = ""
    _alarm: frozenset[tuple[str, bool]] = frozenset()
    """The parts that are degraded, or stuck (True)."""
    _blocked: Once = field(default_factory=lambda: Once(limit=1, window=60.0))

    def ready(self) -> None:
        """The role serves."""
        if not self.serving.is_set():
            self.serving.set()
            self.notify.ready(self.text())
            log.info("ready")

    async def go_on(self) -> None:
        """Beat, for ever: ping the watchdog while healthy, tell what has changed, measure the loop's lag."""
        loop = asyncio.get_running_loop()
        every = min(self.pace.beat, (self.notify.watchdog or 3600.0) / 3)
        while True:
            self._look(loop.time())
            planned = loop.time() + every
            await asyncio.sleep(every)
            self._late(loop.time() - planned)

    def text(self) -> str:
        """How it stands, in one line."""
        return redacted(("stopping; " if self.stopping else "") + self.health.report(time.monotonic()).text)

    def _look(self, now: float) -> None:
        report = self.health.report(now)
        if report.healthy:
            self.notify.ping()
            if not self.serving.is_set():
                self.notify.extend(self.pace.start)
        alarm = frozenset((part.name, part.stuck) for part in report.parts if part.stuck or part.trouble)
        if alarm - self._alarm or bool(alarm) != bool(self._alarm):
            log.log(logging.WARNING if alarm else logging.INFO, "health: %s", report.text)
        self._alarm = alarm
        if self.text() != self._told:
            self._told = self.text()
            self.notify.status(self._told)

    def _late(self, seconds: float) -> None:
        self.health.lagged(max(0.0, seconds))
        if seconds > 1.0 and self._blocked("lag"):
            log.warning("the event loop stood still for %.1f s; something blocks it", seconds)


async def _reloads(role: Role[C], source: Source[C] | None, asked: signals.Asked, beat: _Beat) -> None:
    """Reload, whenever it is due, from the moment the role serves."""
    await beat.serving.wait()
    if source is None:
        await asyncio.Event().wait()
        return
    async with aclosing(due(source, asked.reload, every=beat.pace.beat, quiet=beat.pace.quiet)) as reasons:
        async for reason in reasons:
            beat.notify.reloading()
            await _reload(role, source, reason)
            beat.notify.ready(beat.text())


async def _reload(role: Role[C], source: Source[C], reason: str) -> None:
    """Take over what source holds now; if it can't be used, everything stays as it was."""
    try:
        config = await asyncio.to_thread(source.load)
    except ConfigError as error:
        log.error("configuration (%s): refused, the old one is kept: %s", reason, error)
        role.health.degrade(
            "configuration", f"the new one is refused, the old one is kept: {_first_line(error)}"
        )
        return
    try:
        changes = await role.reload(config)
    except tuple(kind for kind, _ in KNOWN) as error:
        log.error("configuration (%s): taken over only in part: %s", reason, error)
        role.health.degrade("configuration", f"taken over only in part: {_first_line(error)}")
        return
    role.health.forget("configuration")
    log.info("configuration (%s): %s", reason, "; ".join(changes) or "nothing changed")


async def _leave(role: Role[Any], work: asyncio.Task[None], by: str, beat: _Beat) -> Exit:
    """Drain within the deadline, then break off."""
    pace = beat.pace
    log.info("%s: finishing what is under way, for at most %g s", by, pace.drain)
    beat.stopping = True
    beat.notify.stopping(beat.text())
    beat.notify.extend(pace.drain + 4 * pace.grace)
    drain = asyncio.create_task(role.drain())
    deadline = time.monotonic() + pace.drain
    await asyncio.wait({drain, work}, timeout=pace.drain, return_when=asyncio.FIRST_COMPLETED)
    if not drain.done() and not _failed(work):
        await asyncio.wait({drain}, timeout=deadline - time.monotonic())
    in_time = drain.done()
    if in_time:
        await asyncio.wait({work}, timeout=pace.grace)
    await _cancelled({drain, work}, pace.grace)
    _raise_first(task for task in (work, drain) if task.done())
    if in_time:
        log.info("stopped; everything under way was finished")
        return Exit.DONE
    log.warning("stopped; not everything was finished in %g s, the journal holds the rest", pace.drain)
    return Exit.UNFINISHED


async def _cancelled(tasks: set[asyncio.Task[Any]], grace: float) -> None:
    """Cancel tasks and wait for their end, but no longer than grace (seconds)."""
    for task in tasks:
        task.cancel()
    _, left = await asyncio.wait(tasks, timeout=grace) if tasks else (set(), set())
    for task in left:
        log.warning("%s does not end; it is left behind", task.get_coro())


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _raise_first(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        if _failed(task):
            task.result()


async def _bulletins(health: Health, bulletin: Path | None) -> None:
    """Post the health now and then, in a thread: a disk that hangs must not look like a loop that does."""
    if bulletin is None:
        await asyncio.Event().wait()
        return
    told_once = Once(window=3600.0)
    try:
        while True:
            report = health.report(time.monotonic())
            try:
                await asyncio.to_thread(post, report, bulletin, time.time())
            except OSError as error:
                if told_once(error.errno):
                    log.warning("%s: can't write the health for `status`: %s", bulletin, error.strerror)
            await asyncio.sleep(POST_EVERY)
    finally:
        withdraw(bulletin)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
