"""`tranship trace FILE`: the way of one file, step by step, from the journals."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tranship.cli.ending import console, ended, explained
from tranship.cli.status import journal_of
from tranship.journal.survey import trace as passages_of


def trace(
    name: Annotated[
        str, typer.Argument(help="The file's name, or its full path at the server.", show_default=False)
    ],
    files: Annotated[list[Path], typer.Argument(help="Configurations, or journals.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what happened to a file: each step with its time and what is known of it."""
    with explained():
        journals = [journal_of(file) for file in files]
        found = sorted(
            ((passage, str(journal)) for journal in journals for passage in passages_of(journal, name)),
            key=lambda pair: pair[0].at,
        )
    if as_json:
        typer.echo(json.dumps([{**asdict(passage), "journal": journal} for passage, journal in found]))
    elif found:
        table = Table()
        several = len(set(journals)) > 1
        for column in (
            "time (UTC)",
            *(["journal"] if several else []),
            "step",
            "chain",
            "file",
            "what is known",
        ):
            table.add_column(column, overflow="fold")
        for passage, journal in found:
            at = datetime.fromtimestamp(passage.at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
            whose = [Path(journal).stem] if several else []
            cells = (*whose, passage.step, passage.chain, passage.file, passage.told)
            table.add_row(at, *map(escape, cells))
        console().print(table)
    if not found:
        asked = ", ".join(map(str, journals))
        raise ended(f"{name}: unknown to {asked}; give the file's name or its full path at the server")
