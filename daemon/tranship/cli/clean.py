"""`tranship clean`: delete what is old, once, and tell of it."""

import asyncio
import getpass
import logging
import smtplib
import socket
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

import typer

from tranship.cli.ending import NO, ended, explained
from tranship.cli.process import File, LogFile, Verbose, log_into, odd
from tranship.config.clean import CleanChain, CleanConfig, Mail
from tranship.config.curve import keys_of
from tranship.config.load import load
from tranship.core.clock import SystemClock
from tranship.roles import clean as role
from tranship.run.log import STORY, Lines, set_up
from tranship.run.supervisor import Exit
from tranship.steps.clean import clean as sweep
from tranship.wire.keys import Keys
from tranship.wire.zeromq import ZeroMQBus

log = logging.getLogger("tranship")

LATEST = 20.0
"""Seconds that the mail server has."""


def clean(
    file: File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be deleted, and why.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("-c", "--config-item", help="Only this section; may be given again.")
    ] = None,
    mail: Annotated[
        bool, typer.Option("-m", "--mail", help="Mail what could not be deleted, as the file says.")
    ] = False,
    log_file: LogFile = None,
    verbose: Verbose = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Log only what went wrong.")] = False,
) -> None:
    """Delete what is old, once (a timer starts it again), and publish it."""
    log_into(log_file)
    with explained():
        set_up("DEBUG" if verbose else "WARNING" if quiet else "INFO")
        loaded = load(file, "clean")
    config: CleanConfig = loaded.config
    for warning in loaded.warnings:
        log.warning("%s", warning)
    chains = _chosen(config, only or [], file)
    if dry_run:
        errors = _list(chains)
        for path, reason in errors:
            typer.echo(f"{path}: {reason}", err=True)
    else:
        with explained():
            summary = asyncio.run(_run(config, chains, keys_of(config.curve)))
        errors = summary.errors
        typer.echo(f"{file}: deleted {summary}")
    if errors and mail and not dry_run:
        _mail(config.mail, file, errors)
    if errors:
        raise ended(f"{file}: {len(errors)} could not be cleaned", NO)


def _chosen(config: CleanConfig, only: list[str], file: Path) -> Mapping[str, CleanChain]:
    unknown = [name for name in only if name not in config.chains]
    if unknown:
        there = ", ".join(config.chains)
        raise ended(f"{file}: has no section {', '.join(unknown)}; there are {there}", Exit.CONFIG)
    return {name: chain for name, chain in config.chains.items() if not only or name in only}


def _list(chains: Mapping[str, CleanChain]) -> list[tuple[str, str]]:
    errors, summary = [], role.Summary()
    for chain in chains.values():
        outcome = sweep(role.rule_of(chain), SystemClock().now(), remove=False)
        for gone in outcome.gone:
            typer.echo(f"{gone.path}: {gone.reason}")
        errors += outcome.errors
        summary.gone += outcome.gone
    typer.echo(f"would delete {summary}")
    return errors


async def _run(config: CleanConfig, chains: Mapping[str, CleanChain], keys: Keys | None) -> role.Summary:
    bus = ZeroMQBus(odd, keys)
    try:
        return await role.run(config, chains, bus, SystemClock(), Lines(logging.getLogger(STORY)), odd)
    finally:
        bus.close()


def _mail(mail: Mail | None, file: Path, errors: list[tuple[str, str]]) -> None:
    if mail is None:
        typer.echo(f"{file}: does not say where to mail to: `mail` (mailhost, to, subject)", err=True)
        return
    user, host = getpass.getuser(), socket.gethostname()
    message = EmailMessage()
    message["From"] = f"{user}@{host}"
    message["To"] = ", ".join(mail.to)
    message["Subject"] = mail.subject.replace("{user}", user).replace("{hostname}", host)
    lines = (f"{path.encode(errors='replace').decode()}: {reason}" for path, reason in errors)
    message.set_content("\n".join(lines) + "\n")
    try:
        with smtplib.SMTP(mail.host, mail.port, timeout=LATEST) as server:
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        typer.echo(f"{mail.host}: takes no mail: {error}", err=True)
