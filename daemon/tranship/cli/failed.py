"""`tranship failed`, `retry`, `drop`: what could not be delivered, and what is to become of it."""

import json
import os
import pwd
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tranship.cli.ending import console, ended, explained
from tranship.cli.status import journal_of
from tranship.core.words import counted
from tranship.journal import debts
from tranship.run.log import redacted

SHOWN = 200
"""Rows of the table, at most; the newest."""

EVERYTHING = ("*",)

File = Annotated[Path, typer.Argument(help="A configuration, or a journal.", show_default=False)]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Ids, as `tranship failed` tells them, or patterns of file names or full paths (`H-000*`).",
        show_default=False,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Everything that `tranship failed` lists.")]


def failed(file: File, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List what was given up, with the reason, what waits to be tried again, and which places are paused."""
    with explained():
        found, paused = debts.debts(journal_of(file))
    if as_json:
        places = [{"chain": p.chain, **asdict(p.pause), "jobs": p.jobs} for p in paused]
        typer.echo(redacted(json.dumps({"jobs": [asdict(debt) for debt in found], "places": places})))
        return
    for place in paused:
        pause = place.pause
        wait = "1 delivery waits" if place.jobs == 1 else f"{place.jobs} deliveries wait"
        typer.echo(
            f"chain {place.chain}: place {pause.place} paused since {_time(pause.since)}: {redacted(pause.reason)};"
            f" {wait}, the next probe is at {_time(pause.due)}"
        )
    if found:
        console().print(_table(found[-SHOWN:]))
    if len(found) > SHOWN:
        typer.echo(f"and {counted(len(found) - SHOWN, 'older one')} (--json has them all)")
    if not found and not paused:
        typer.echo("nothing has failed")


def retry(
    file: File,
    names: Names = None,
    everything: All = False,
    now: Annotated[
        bool, typer.Option("--now", help="Of what waits to be tried again, and of paused places: now.")
    ] = False,
) -> None:
    """Try again what was given up; with --now, what waits to be tried again. Without names, --now is about all."""
    chosen = _chosen(names, everything or (now and not names))
    with explained():
        act = debts.hasten if now else debts.retry
        count = act(journal_of(file), chosen, who(), time.time())
    _tell(count, "tried now" if now else "tried again", chosen)


def drop(
    file: File,
    names: Names = None,
    everything: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Never try again what was given up, or waits to be tried again. The journal and the log keep who said so."""
    chosen = _chosen(names, everything)
    if not yes:
        what = "everything that `tranship failed` lists" if everything else " ".join(chosen)
        typer.confirm(f"Never deliver {what}?", abort=True)
    with explained():
        count = debts.drop(journal_of(file), chosen, who(), time.time())
    _tell(count, "dropped", chosen)


def _chosen(names: Sequence[str] | None, everything: bool) -> Sequence[str]:
    if bool(names) == everything:
        raise typer.BadParameter("give ids or patterns (`tranship failed` lists them), or --all")
    return names or EVERYTHING


def _tell(count: int, what: str, names: Sequence[str]) -> None:
    if not count:
        raise ended(
            f"{' '.join(names)}: nothing of that kind can be {what}; `tranship failed` lists what there is"
            " (what has no destination can only be told anew)"
        )
    typer.echo(f"{count} {what}")


def who() -> str:
    """Who gives the order, behind sudo too."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    before = os.environ.get("SUDO_USER")
    return f"{before} as {user}" if before and before != user else user


def _table(found: Sequence[debts.Debt]) -> Table:
    table = Table()
    for column in (
        "id",
        "since (UTC)",
        "state",
        "file",
        "topic",
        "destination",
        "attempts",
        "reason",
        "next (UTC)",
    ):
        table.add_column(column, overflow="fold")
    for debt in found:
        reason = "its place is paused" if debt.state == "paused" else redacted(debt.reason)
        cells = (
            *(str(debt.id), _time(debt.since), debt.state, debt.file, debt.topic, debt.destination),
            *(str(debt.attempts), reason, _time(debt.due)),
        )
        table.add_row(*map(escape, cells))
    return table


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
