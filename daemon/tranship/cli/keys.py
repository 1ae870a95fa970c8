"""`tranship keys`: a pair of keys for connections that are encrypted."""

from pathlib import Path
from typing import Annotated

import typer

from tranship.cli.ending import explained
from tranship.wire.keys import make_pair


def _name(text: str) -> str:
    if not text or "/" in text or text.startswith("."):
        raise typer.BadParameter(f"{text!r} is no name for two files; the folder is given by --directory")
    return text


def keys(
    name: Annotated[
        str,
        typer.Argument(help="What the two files are called.", show_default=False, callback=_name),
    ],
    directory: Annotated[Path, typer.Option("-d", "--directory", help="Where they go.")] = Path(),
) -> None:
    """Make a pair of keys: NAME.key for others, NAME.key_secret to be kept (docs/security.md)."""
    with explained():
        public, secret = make_pair(name, directory)
    typer.echo(f"{secret}: for `secret_key_file`, here; hand it to nobody")
    typer.echo(f"{public}: for the others: to go into their `clients` folders, or as their `server_key_file`")
