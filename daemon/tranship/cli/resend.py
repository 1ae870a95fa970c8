"""`tranship resend`: announce, or deliver and publish, once more what was before, to have it processed again."""

import os
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from tranship.cli.ending import ended, explained
from tranship.cli.failed import File, Names, who
from tranship.cli.status import journal_of
from tranship.journal import resends
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


_TIMES = "2026-11-22T12:00 (UTC), or how long ago (2 h)."
Since = Annotated[str | None, typer.Option("--since", help=f"What was announced then or later: {_TIMES}")]
Until = Annotated[str | None, typer.Option("--until", help=f"What was announced before: {_TIMES}")]


def resend(
    file: File,
    names: Names = None,
    topic: Annotated[str, typer.Option("--topic", help="Topics that begin so.")] = "",
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be resent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Have what was announced (a server's, a mirror's) or delivered (anybody else's) go its way once more.

    All that is given has to fit. A server or mirror announces it again, marked, so that Tranship's clients ask for it,
    deliver and publish it once more. Anybody else publishes again what still lies whole at its destination; what
    does not is moved again, and then published. It may run or not. The log and the journal keep who said so.
    """
    if not (names or topic or since or until):
        raise typer.BadParameter("give names, patterns, --topic, --since or --until")
    begin, end = _moment(since), _moment(until)
    choice = resends.Choice(names or (), topic, 0.0 if begin is None else begin, 1e12 if end is None else end)
    with explained():
        journal = journal_of(file)
        found = resends.find(journal, choice)
    gone = _gone(found)
    if dry_run or not yes:
        for each in found.known:
            at = datetime.fromtimestamp(each.announced, UTC).strftime("%Y-%m-%d %H:%M:%S")
            lost = "  (gone)" if each in gone else ""
            typer.echo(f"{each.id}  {at}  {each.topic}  {each.file}  {each.where}{lost}")
    left = len(found.known) - len(gone)
    but = f"; {len(gone)} gone from here" if gone else ""
    if not left:
        none = f"nothing to resend{but}" if gone else "nothing of that kind is known"
        raise ended(f"{none} (what failed: `tranship failed`)")
    if dry_run:
        typer.echo(f"would resend {left}{but}")
        return
    if not yes:
        typer.confirm(f"Resend {left}?", abort=True)
    with explained():
        resends.resend(journal, choice, who(), time.time())
    typer.echo(f"{left} resent{but}")


def _gone(found: resends.Found) -> set[resends.Known]:
    """What a server announced and has no more; whatever else is gone can perhaps be had again."""
    if found.kind != "server":
        return set()
    return {each for each in found.known if not os.path.lexists(each.where)}
