"""`tranship server`, `client`, `mirror`, `dispatcher`, `fetch`, `move`: build the role, run it, exit with a meaning."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NoReturn

import typer

from tranship import __version__
from tranship.config.curve import keys_of
from tranship.config.load import Overrides, load
from tranship.config.server import Watch
from tranship.core.clock import SystemClock
from tranship.core.health import Health
from tranship.core.retry import RetryPolicy
from tranship.faultpoints import wrong_clock
from tranship.flows.around import Surroundings
from tranship.flows.bringing import Books
from tranship.journal import (
    CLIENT_SCHEMA,
    MIRROR_SCHEMA,
    SERVER_SCHEMA,
    ClientBook,
    Journal,
    MirrorBook,
    ServerBook,
    held,
)
from tranship.journal.engine import Schema
from tranship.roles import client as client_role
from tranship.roles import dispatcher as dispatcher_role
from tranship.roles import fetch as fetch_role
from tranship.roles import mirror as mirror_role
from tranship.roles import move as move_role
from tranship.roles import server as server_role
from tranship.run.log import STORY, Lines, quoted, set_up
from tranship.run.metrics import registry, served
from tranship.run.reload import Source
from tranship.run.supervisor import Exit, Role, run_process, supervise
from tranship.run.systemd import Notify
from tranship.wire.keys import Keys
from tranship.wire.zeromq import ZeroMQBus
from tranship_movers.pool import Pool

log = logging.getLogger("tranship")

CLOSING = 3.0
"""Seconds in which the journal writes what waits, at the end; a disk that hangs must not hold up the exit."""


@dataclass(frozen=True, slots=True)
class Made:
    """How the role of one name is made: the tables of its journal, its acts on these, what works with both."""

    schema: Schema
    book: Callable[[Journal], Any]
    role: Callable[[Any, Any, Surroundings], Role[Any]]


ROLES: Mapping[str, Made] = MappingProxyType(
    {
        "server": Made(SERVER_SCHEMA, ServerBook, server_role.server),
        "client": Made(CLIENT_SCHEMA, ClientBook, client_role.client),
        "mirror": Made(
            MIRROR_SCHEMA, lambda j: Books(ServerBook(j), ClientBook(j), MirrorBook(j)), mirror_role.mirror
        ),
        "dispatcher": Made(CLIENT_SCHEMA, ClientBook, dispatcher_role.dispatcher),
        "fetch": Made(CLIENT_SCHEMA, ClientBook, fetch_role.fetch),
        "move": Made(CLIENT_SCHEMA, ClientBook, move_role.move),
    }
)

File = Annotated[
    Path, typer.Argument(help="The configuration: YAML, or an INI file of Trollmoves.", show_default=False)
]
LogConfig = Annotated[
    Path | None, typer.Option("-c", "--log-config", help="A YAML file for logging.config.dictConfig.")
]
LogFile = Annotated[
    Path | None, typer.Option("-l", "--log", help="Log into this file (at its end), instead of stderr.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log every step of every file.")]
Metrics = Annotated[
    int | None,
    typer.Option("--metrics", min=1, max=65535, help="Serve Prometheus metrics on this port of loopback."),
]
PublishPort = Annotated[
    int | None, typer.Option("-p", "--port", min=0, max=65535, help="The port to publish on.")
]
NameServers = Annotated[
    list[str] | None,
    typer.Option(
        *("-n", "--publish-nameserver", "--nameservers"),
        help="A name server to make the publisher known at. Repeatable.",
    ),
]
Watchdog = Annotated[bool, typer.Option("-w", "--watchdog", help="Poll instead of using inotify.")]
OfTheOld = Annotated[
    int | None,
    typer.Option(hidden=True, help="Of Trollmoves; not needed: chains are kept alive without end."),
]


def server(
    file: File,
    port: PublishPort = None,
    disable_backlog: Annotated[
        bool, typer.Option("--disable-backlog", help="Announce only what comes after the start.")
    ] = False,
    watchdog: Watchdog = False,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
    chain_check_interval: OfTheOld = None,
    max_notifier_restarts: OfTheOld = None,
) -> None:
    """Watch directories, announce what appears, move what is asked for."""
    del chain_check_interval, max_notifier_restarts
    overrides = Overrides(
        publish_port=port, watch=Watch.POLL if watchdog else None, backlog=False if disable_backlog else None
    )
    _run("server", file, overrides, Telling(log_config, log_file, verbose, metrics))


def client(
    file: File,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
) -> None:
    """Hear announcements, ask for the files, publish what has arrived."""
    _run("client", file, Overrides(), Telling(log_config, log_file, verbose, metrics))


def mirror(
    file: File,
    port: PublishPort = None,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
) -> None:
    """Announce what others announce, bring it when it is asked for, move it on."""
    overrides = Overrides(publish_port=port)
    _run("mirror", file, overrides, Telling(log_config, log_file, verbose, metrics))


def dispatcher(
    file: File,
    port: Annotated[
        int | None, typer.Option("-p", "--publish-port", min=0, max=65535, help="Publish, on this port.")
    ] = None,
    name_servers: NameServers = None,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
) -> None:
    """Hear of files on this host, and send each to the targets that want it."""
    overrides = Overrides(publish_port=port, name_servers=tuple(name_servers) if name_servers else None)
    _run("dispatcher", file, overrides, Telling(log_config, log_file, verbose, metrics))


def fetch(
    file: File,
    name_servers: NameServers = None,
    subscribe_name_server: Annotated[
        str | None,
        typer.Option(
            "-r", "--subscribe-nameserver", help="The name server to ask whom to hear, instead of the file's."
        ),
    ] = None,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
) -> None:
    """Hear of files elsewhere, bring them here, tell that they are here."""
    overrides = Overrides(
        name_servers=tuple(name_servers) if name_servers else None, lookup=subscribe_name_server
    )
    _run("fetch", file, overrides, Telling(log_config, log_file, verbose, metrics))


def move(
    file: File,
    port: PublishPort = None,
    disable_backlog: Annotated[
        bool, typer.Option("--disable-backlog", help="Move only what comes after the start.")
    ] = False,
    watchdog: Watchdog = False,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
    chain_check_interval: OfTheOld = None,
    max_notifier_restarts: OfTheOld = None,
) -> None:
    """Watch directories, move what appears to one place or several, without a client."""
    del chain_check_interval, max_notifier_restarts
    overrides = Overrides(
        publish_port=port, watch=Watch.POLL if watchdog else None, backlog=False if disable_backlog else None
    )
    _run("move", file, overrides, Telling(log_config, log_file, verbose, metrics))


@dataclass(frozen=True, slots=True)
class Telling:
    """Where a process tells what, besides what its configuration says."""

    log_config: Path | None
    log_file: Path | None
    verbose: bool
    metrics: int | None


def _run(role: str, file: Path, overrides: Overrides, telling: Telling) -> NoReturn:
    log_into(telling.log_file)

    async def main() -> Exit:
        set_up("DEBUG" if telling.verbose else "INFO", telling.log_config)
        source = Source(lambda: _read(file, role, overrides), [file])
        config = source.load()
        keys = keys_of(config.curve)
        with held(Path(config.journal)):
            return await _work(role, file, source, config, keys, telling)

    run_process(main)


async def _work(
    role: str, file: Path, source: Source[Any], config: Any, keys: Keys | None, telling: Telling
) -> Exit:
    made, health = ROLES[role], Health()
    journal = Journal.open(Path(config.journal), made.schema, role)
    bus = ZeroMQBus(odd, keys)
    story = Lines(logging.getLogger(STORY))
    around = Surroundings(
        bus, Pool(), wrong_clock(os.environ) or SystemClock(), story, health, RetryPolicy(), odd
    )
    log.info("tranship %s %s of %s, journal %s", __version__, role, file, config.journal)
    bulletin = Path(f"{config.journal}.health")
    try:
        with served_if(telling.metrics, health, role, bus):
            code = await supervise(
                made.role(config, made.book(journal), around),
                source,
                notify=Notify.from_environment(os.environ, os.getpid()),
                bulletin=bulletin,
            )
    finally:
        bus.close()
        written = await _closed(journal)
    return code if written else max(code, Exit.UNFINISHED)


def _read(file: Path, role: str, overrides: Overrides) -> Any:
    """The configuration of a role; what is odd about it is logged."""
    loaded = load(file, role, overrides=overrides)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.config


def log_into(file: Path | None) -> None:
    """Have all that goes to stderr go to the end of file: what the interpreter says of its own death, too."""
    if file is None:
        return
    try:
        opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    except OSError as error:
        raise typer.BadParameter(f"--log: {file} can't be written: {error.strerror}") from None
    os.dup2(opened, 2)
    os.close(opened)


async def _closed(journal: Journal) -> bool:
    """Have the journal write what waits; whether it could, in time."""
    closing = threading.Thread(target=journal.close, name="closing the journal", daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, CLOSING)
    unwritten = closing.is_alive() or bool(journal.trouble.reason)
    if unwritten:
        reason = journal.trouble.reason or f"{journal.path}: does not write; does its disk hang?"
        log.error("left with something unwritten, which is found again: %s", reason)
    return not unwritten


def odd(peer: str, what: str) -> None:
    """Log what a peer did that it should not."""
    log.warning("odd peer=%s reason=%s", peer, quoted(what))


@contextmanager
def served_if(port: int | None, health: Health, role: str, bus: ZeroMQBus) -> Iterator[None]:
    """Serve metrics meanwhile, if there is a port for them."""
    if port is None:
        yield
        return
    with served(registry(health, role=role, version=__version__, counts=bus.counts), port=port) as url:
        log.info("metrics at %s", url)
        yield
