"""How a command ends: what it has to say in one line, and an exit code that means something."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from tranship.journal.debts import NoDeliveries
from tranship.run.supervisor import KNOWN

NO = 1
"""The exit code of a command whose answer is no: unknown, refused, broken."""

_WIDE = 200
"""Columns of what goes into a file or another program, which has no width of its own."""


def ended(text: str, code: int = NO) -> typer.Exit:
    """Say text on stderr; raise what this returns."""
    typer.echo(text, err=True)
    return typer.Exit(int(code))


@contextmanager
def explained() -> Iterator[None]:
    """Known errors end the command with what they say of themselves, and the exit code that they have everywhere."""
    try:
        yield
    except NoDeliveries as error:
        raise ended(str(error)) from None
    except tuple(kind for kind, _ in KNOWN) as error:
        code = next(code for kind, code in KNOWN if isinstance(error, kind))
        raise ended(str(error), code) from None


def console() -> Console:
    """Where tables go: stdout."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)
