"""`tranship resend`: deliver and publish once more what was delivered, to have it processed again."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from tranship.cli.ending import ended, explained
from tranship.cli.failed import File, Names, who
from tranship.cli.status import journal_of
from tranship.journal import debts
from tranship_movers.units import duration


def _moment(text: str | None) -> float | None:
    """Seconds since the epoch, of an ISO time (UTC, if it does not say) or of how long ago."""
    if text is None:
        return None
    try:
        return time.time() - duration(text).total_seconds()
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; write it like 2026-11-22T12:00 (UTC), or `2 h` for two hours ago"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


Moment = Annotated[
    str | None, typer.Option(help="Announced then or later (before): 2026-11-22T12:00 (UTC), or 2 h (ago).")
]


def resend(
    file: File,
    names: Names = None,
    topic: Annotated[str, typer.Option("--topic", help="Topics that begin so.")] = "",
    since: Moment = None,
    until: Moment = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be resent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Have what was delivered delivered and published once more, beside a running process or without.

    All that is given has to fit. What still lies whole at its destination is published again; what does not is
    fetched again, and then published. The log and the journal keep who said so.
    """
    if not (names or topic or since or until):
        raise typer.BadParameter("give names, patterns, --topic, --since or --until")
    begin, end = _moment(since), _moment(until)
    choice = debts.Choice(names or (), topic, 0.0 if begin is None else begin, 1e12 if end is None else end)
    with explained():
        journal = journal_of(file)
        found = debts.delivered(journal, choice)
    if dry_run or not yes:
        for each in found:
            at = datetime.fromtimestamp(each.announced, UTC).strftime("%Y-%m-%d %H:%M:%S")
            typer.echo(f"{each.id}  {at}  {each.topic}  {each.file}  {each.destination}")
    if not found:
        raise ended("nothing of that kind was delivered (what failed: `tranship failed`)")
    if dry_run:
        typer.echo(f"would resend {len(found)}")
        return
    if not yes:
        typer.confirm(f"Resend {len(found)}?", abort=True)
    with explained():
        count = debts.resend(journal, choice, who(), time.time())
    typer.echo(f"{count} resent")
