"""`tranship status`: what the journals and the running processes say of themselves."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tranship.cli.ending import console, ended, explained
from tranship.config.checks import taken_on_trust
from tranship.config.clean import CleanConfig
from tranship.config.findings import ConfigError
from tranship.config.load import default_journal, load
from tranship.journal.survey import Survey, survey
from tranship.run.health import posted
from tranship.run.supervisor import Exit

SERVICES = Path("/var/lib/tranship")
"""Where the journals of services are (`StateDirectory=` of the units), which a shell is not told."""


def status(
    files: Annotated[list[Path], typer.Argument(help="Configurations, or journals.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what processes have done, what they owe, and whether they are well."""
    seen = [_seen(file) for file in files]
    if as_json:
        typer.echo(json.dumps([{**asdict(found), "health": health} for found, health in seen]))
        return
    out = console()
    for found, health in seen:
        out.print(_title(found, health), highlight=False, markup=False)
        table = Table()
        table.add_column("chain")
        for column in found.columns:
            table.add_column(column, justify="right")
        for row in found.rows:
            table.add_row(row.chain, *(str(row.numbers[column]) for column in found.columns))
        out.print(table if found.rows else "  nothing yet")
        for line in found.reasons:
            out.print(f"  {line}", highlight=False, markup=False)


def _seen(file: Path) -> tuple[Survey, dict[str, Any] | None]:
    with explained():
        journal = journal_of(file)
        return survey(journal), posted(Path(f"{journal}.health"), time.time())


def journal_of(file: Path) -> Path:
    """The journal that file is, or that its configuration names. Of what names none, ends the command."""
    if _is_journal(file):
        return file
    try:
        config = load(file, folders=taken_on_trust).config
    except ConfigError as error:
        hint = "\nuntil that is mended, give the journal instead" if file.is_file() else ""
        raise ended(f"{error}{hint}", Exit.CONFIG) from None
    if isinstance(config, CleanConfig):
        raise ended(
            f"{file}: `tranship clean` keeps no journal, as it does one pass and ends; its log (journalctl -u"
            f" 'tranship-clean@*') says what it deleted, `tranship clean --dry-run {file}` what it would delete now"
        )
    journal = Path(config.journal)
    of_service = SERVICES / journal.name
    left_to_us = journal == default_journal(file) and not os.path.exists(journal)
    return of_service if left_to_us and os.path.exists(of_service) else journal


def _is_journal(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(15) == b"SQLite format 3"
    except OSError:
        return False


def _title(found: Survey, health: dict[str, Any] | None) -> str:
    running = f"running, {health['text']}" if health else "not running"
    return f"{found.role} ({found.journal}): {running}"
