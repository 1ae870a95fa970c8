"""`tranship convert`: an old file of Trollmoves as YAML."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from tranship.cli.ending import ended, explained
from tranship.config.checks import taken_on_trust
from tranship.config.load import Overrides, load
from tranship.config.load import convert as converted
from tranship.run.supervisor import Exit


def convert(
    file: Annotated[Path, typer.Argument(help="A configuration file of Trollmoves.", show_default=False)],
    port: Annotated[
        int | None,
        typer.Option("-p", "--port", min=0, max=65535, help="The port to publish on, where it came by -p."),
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", help="Whose file it is, where it does not tell.")
    ] = None,
) -> None:
    """Print the YAML that means what an old file does, with a comment wherever something means something else.

    Save it beside the old file, under the same name but for its end: then it goes on with the same journal.
    """
    overrides = Overrides(publish_port=port)
    with explained():
        text = converted(file, role, overrides=overrides)
        before = load(file, role, overrides=overrides, folders=taken_on_trust).config
        if _differs(before, _reread(text)):
            raise ended(f"{file}: could not be converted without a change; please report it", Exit.BUG)
    typer.echo(text, nl=False)


def _reread(text: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "converted.yaml")
        path.touch(0o600)  # it may hold a password
        path.write_text(text, encoding="utf-8")
        return load(path, folders=taken_on_trust).config


def _differs(before: Any, after: Any) -> bool:
    """Whether two configurations differ in more than the default of their journals, which comes of their names."""
    named = {"journal": getattr(before, "journal", None)} if hasattr(before, "journal") else {}
    return bool(before != after.model_copy(update=named))
