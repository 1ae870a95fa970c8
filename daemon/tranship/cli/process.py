"""`tranship server` and `tranship client`: build the role, run it, exit with a meaning."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from tranship import __version__
from tranship.config.client import ClientConfig
from tranship.config.dispatcher import DispatcherConfig
from tranship.config.fetch import FetchConfig
from tranship.config.load import Loaded, Overrides, load
from tranship.config.mirror import MirrorConfig
from tranship.config.move import MoveConfig
from tranship.config.server import ServerConfig, Watch
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
)
from tranship.roles import client as client_role
from tranship.roles import dispatcher as dispatcher_role
from tranship.roles import fetch as fetch_role
from tranship.roles import mirror as mirror_role
from tranship.roles import move as move_role
from tranship.roles import server as server_role
from tranship.run.log import STORY, Lines, set_up
from tranship.run.metrics import registry, served
from tranship.run.reload import Source
from tranship.run.supervisor import Exit, Role, run_process, supervise
from tranship.run.systemd import Notify
from tranship.wire.zeromq import ZeroMQBus
from tranship_movers.pool import Pool

log = logging.getLogger("tranship")

CLOSING = 3.0
"""Seconds in which the journal writes what waits, at the end; a disk that hangs must not hold up the exit."""

C = TypeVar("C", ServerConfig, ClientConfig, MirrorConfig, DispatcherConfig, FetchConfig, MoveConfig)

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
    watchdog: Annotated[
        bool, typer.Option("-w", "--watchdog", help="Poll instead of using inotify.")
    ] = False,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
    chain_check_interval: OfTheOld = None,
    max_notifier_restarts: OfTheOld = None,
) -> None:
    """Watch directories, announce what appears, move what is asked for."""
    del chain_check_interval, max_notifier_restarts
    log_into(log_file)
    overrides = Overrides(
        publish_port=port, watch=Watch.POLL if watchdog else None, backlog=False if disable_backlog else None
    )

    def make(config: ServerConfig, journal: Journal, around: Surroundings) -> Role[ServerConfig]:
        return server_role.server(config, ServerBook(journal), around)

    _run(
        "server",
        lambda: load(file, "server", overrides=overrides),
        file,
        SERVER_SCHEMA,
        make,
        log_config,
        verbose,
        metrics,
    )


def client(
    file: File,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
) -> None:
    """Hear announcements, ask for the files, publish what has arrived."""
    log_into(log_file)

    def make(config: ClientConfig, journal: Journal, around: Surroundings) -> Role[ClientConfig]:
        return client_role.client(config, ClientBook(journal), around)

    _run("client", lambda: load(file, "client"), file, CLIENT_SCHEMA, make, log_config, verbose, metrics)


def mirror(
    file: File,
    port: PublishPort = None,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
) -> None:
    """Announce what others announce, bring it when it is asked for, move it on."""
    log_into(log_file)
    overrides = Overrides(publish_port=port)

    def make(config: MirrorConfig, journal: Journal, around: Surroundings) -> Role[MirrorConfig]:
        books = Books(ServerBook(journal), ClientBook(journal), MirrorBook(journal))
        return mirror_role.mirror(config, books, around)

    _run(
        "mirror",
        lambda: load(file, "mirror", overrides=overrides),
        file,
        MIRROR_SCHEMA,
        make,
        log_config,
        verbose,
        metrics,
    )


def dispatcher(
    file: File,
    port: Annotated[
        int | None, typer.Option("-p", "--publish-port", min=0, max=65535, help="Publish, on this port.")
    ] = None,
    name_servers: Annotated[
        list[str] | None,
        typer.Option(
            "-n", "--publish-nameserver", help="A name server to make the publisher known at. Repeatable."
        ),
    ] = None,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
) -> None:
    """Hear of files on this host, and send each to the targets that want it."""
    log_into(log_file)
    overrides = Overrides(publish_port=port, name_servers=tuple(name_servers) if name_servers else None)

    def make(config: DispatcherConfig, journal: Journal, around: Surroundings) -> Role[DispatcherConfig]:
        return dispatcher_role.dispatcher(config, ClientBook(journal), around)

    _run(
        "dispatcher",
        lambda: load(file, "dispatcher", overrides=overrides),
        file,
        CLIENT_SCHEMA,
        make,
        log_config,
        verbose,
        metrics,
    )


def fetch(
    file: File,
    name_servers: Annotated[
        list[str] | None,
        typer.Option(
            "-n", "--publish-nameserver", help="A name server to make the publisher known at. Repeatable."
        ),
    ] = None,
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
    log_into(log_file)
    overrides = Overrides(
        name_servers=tuple(name_servers) if name_servers else None, lookup=subscribe_name_server
    )

    def make(config: FetchConfig, journal: Journal, around: Surroundings) -> Role[FetchConfig]:
        return fetch_role.fetch(config, ClientBook(journal), around)

    _run(
        "fetch",
        lambda: load(file, "fetch", overrides=overrides),
        file,
        CLIENT_SCHEMA,
        make,
        log_config,
        verbose,
        metrics,
    )


def move(
    file: File,
    port: PublishPort = None,
    disable_backlog: Annotated[
        bool, typer.Option("--disable-backlog", help="Move only what comes after the start.")
    ] = False,
    watchdog: Annotated[
        bool, typer.Option("-w", "--watchdog", help="Poll instead of using inotify.")
    ] = False,
    log_config: LogConfig = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
    metrics: Metrics = None,
    chain_check_interval: OfTheOld = None,
    max_notifier_restarts: OfTheOld = None,
) -> None:
    """Watch directories, move what appears to one place or several, without a client."""
    del chain_check_interval, max_notifier_restarts
    log_into(log_file)
    overrides = Overrides(
        publish_port=port, watch=Watch.POLL if watchdog else None, backlog=False if disable_backlog else None
    )

    def make(config: MoveConfig, journal: Journal, around: Surroundings) -> Role[MoveConfig]:
        return move_role.move(config, ClientBook(journal), around)

    _run(
        "move",
        lambda: load(file, "move", overrides=overrides),
        file,
        CLIENT_SCHEMA,
        make,
        log_config,
        verbose,
        metrics,
    )


def _run(
    role: str,
    read: Callable[[], Loaded[C]],
    file: Path,
    schema: Any,
    make: Callable[[C, Journal, Surroundings], Role[C]],
    log_config: Path | None,
    verbose: bool,
    metrics: int | None,
) -> NoReturn:
    async def main() -> Exit:
        set_up("DEBUG" if verbose else "INFO", log_config)
        source = Source(_telling(read), [file])
        config = source.load()
        health = Health()
        journal = Journal.open(Path(config.journal), schema)
        bus = ZeroMQBus(odd)
        story = Lines(logging.getLogger(STORY))
        around = Surroundings(
            bus, Pool(), wrong_clock(os.environ) or SystemClock(), story, health, RetryPolicy(), odd
        )
        log.info("tranship %s %s of %s, journal %s", __version__, role, file, config.journal)
        bulletin = Path(f"{config.journal}.health")
        try:
            with served_if(metrics, health, role, bus):
                code = await supervise(
                    make(config, journal, around),
                    source,
                    notify=Notify.from_environment(os.environ, os.getpid()),
                    bulletin=bulletin,
                )
        finally:
            bus.close()
            written = await _closed(journal)
        return code if written else max(code, Exit.UNFINISHED)

    run_process(main)


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


def _telling(read: Callable[[], Loaded[C]]) -> Callable[[], C]:
    """Read, and log what is odd about the configuration."""

    def load() -> C:
        loaded = read()
        for warning in loaded.warnings:
            log.warning("%s", warning)
        return loaded.config

    return load


def odd(peer: str, what: str) -> None:
    """Log what a peer did that it should not."""
    log.warning("odd peer=%s reason=%s", peer, what)


@contextmanager
def served_if(port: int | None, health: Health, role: str, bus: ZeroMQBus) -> Iterator[None]:
    """Serve metrics meanwhile, if there is a port for them."""
    if port is None:
        yield
        return
    with served(registry(health, role=role, version=__version__, counts=bus.counts), port=port) as url:
        log.info("metrics at %s", url)
        yield
