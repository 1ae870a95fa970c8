"""`tranship check`: everything that is wrong with a configuration; or which promises hold at a place of one's own."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from tranship.config.findings import ConfigError
from tranship.config.load import load
from tranship.run.supervisor import Exit
from tranship_movers.checks import Ground, run
from tranship_movers.errors import MoverError
from tranship_movers.place import Place
from tranship_movers.registry import connect, options_for

LOGIN = "TRANSHIP_LOGIN"
"""The variable that holds user[:password] for a place; a command line would show it to everybody."""


def check(
    target: Annotated[
        str,
        typer.Argument(
            help="A configuration file (YAML, or an INI file of Trollmoves); or a URL: a folder at a server of yours,"
            f" in which everything is tried that is promised. Its login stands in ${LOGIN}.",
            show_default=False,
        ),
    ],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="With a URL: an option of its mover, as key=value. Repeatable."),
    ] = None,
) -> None:
    """Say everything that is wrong with a configuration, or try the promises at a place."""
    if "://" in target:
        _check_place(target, option or [])
    else:
        _check_file(Path(target))


def _check_file(file: Path) -> None:
    try:
        loaded = load(file)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(int(Exit.CONFIG)) from None
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    config, chains = loaded.config, loaded.config.chains
    count = f"{len(chains)} chain{'' if len(chains) == 1 else 's'}"
    typer.echo(f"{file}: good, a {config.role} with {count}: {', '.join(chains)}")


def _check_place(url: str, given: list[str]) -> None:
    try:
        place = _with_login(Place.parse(url))
        options = options_for(place, dict(pair.partition("=")[::2] for pair in given))
        connect(place.at("/"), options).close()
        with tempfile.TemporaryDirectory(prefix="tranship-check-") as local:
            ground = Ground(lambda: connect(place.at("/"), options), place.path.rstrip("/"), Path(local))
            broken = 0
            for outcome in run(ground):
                typer.echo(f"{outcome.verdict:12} {outcome.title}{outcome.told and ': '}{outcome.told}")
                broken += outcome.verdict == "broken"
    except MoverError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{place}: {'every promise holds' if not broken else f'{broken} promises do not hold'}")
    raise typer.Exit(1 if broken else 0)


def _with_login(place: Place) -> Place:
    user, colon, password = os.environ.get(LOGIN, "").partition(":")
    if place.password is not None:
        typer.echo(
            f"warning: a password on the command line can be read by everybody here; use ${LOGIN}", err=True
        )
    if not user:
        return place
    return replace(place, user=user, password=SecretStr(password) if colon else None)
