"""`tranship check FILE`: everything that is wrong with a configuration, before it runs."""

from pathlib import Path
from typing import Annotated

import typer

from tranship.config.findings import ConfigError
from tranship.config.load import load
from tranship.run.supervisor import Exit


def check(
    file: Annotated[Path, typer.Argument(help="The configuration: YAML, or an INI file of Trollmoves.")],
) -> None:
    """Say everything that is wrong with a configuration, with file and line."""
    try:
        loaded = load(file)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(int(Exit.CONFIG)) from None
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    config = loaded.config
    typer.echo(f"{file}: good, a {config.role} with {len(config.chains)} chains: {', '.join(config.chains)}")
