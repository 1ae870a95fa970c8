"""`tranship status`: what the journals and the running processes say of themselves."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tranship.config.findings import ConfigError
from tranship.config.load import load
from tranship.journal.engine import JournalError
from tranship.journal.survey import Survey, survey
from tranship.run.health import posted


def status(
    files: Annotated[list[Path], typer.Argument(help="Configurations, or journals.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what processes have done, what they owe, and whether they are well."""
    seen = [_seen(file) for file in files]
    if as_json:
        typer.echo(json.dumps([{**asdict(found), "health": health} for found, health in seen]))
        return
    console = Console()
    for found, health in seen:
        table = Table(title=_title(found, health), title_justify="left")
        table.add_column("chain")
        for column in found.columns:
            table.add_column(column, justify="right")
        for row in found.rows:
            table.add_row(row.chain, *(str(row.numbers[column]) for column in found.columns))
        console.print(table)
        for line in found.reasons:
            console.print(f"  {line}", highlight=False, markup=False)


def _seen(file: Path) -> tuple[Survey, dict[str, Any] | None]:
    with explained():
        journal = journal_of(file)
        return survey(journal), posted(Path(f"{journal}.health"), time.time())


def journal_of(file: Path) -> Path:
    """The journal that file is, or that the configuration file names. Raises ConfigError."""
    return file if _is_journal(file) else Path(load(file).config.journal)


@contextmanager
def explained() -> Iterator[None]:
    """Known errors are one line and exit code 1."""
    try:
        yield
    except (ConfigError, JournalError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _is_journal(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(15) == b"SQLite format 3"
    except OSError:
        return False


def _title(found: Survey, health: dict[str, Any] | None) -> str:
    running = f"running, {health['text']}" if health else "not running"
    return f"{found.kind} ({found.journal}): {running}"
