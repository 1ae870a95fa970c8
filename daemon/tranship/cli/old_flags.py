"""Flags of Trollmoves that take any number of values, or perhaps one: `-p [PORT]`, `-n [HOST ...]`."""

import re
from collections.abc import Sequence

import typer
from typer.core import TyperCommand


class PublishingCommand(TyperCommand):
    """A command whose `-p` may lack its port (then any free one), and whose `-n` takes several hosts."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Write both as our own commands have them."""
        return super().parse_args(ctx, written_out(args))


def written_out(args: Sequence[str]) -> list[str]:
    """Each `-p` with a port, each host with a `-n` of its own. Hosts are taken only behind the file's name."""
    out: list[str] = []
    positional = False
    left = list(args)
    while left:
        word = left.pop(0)
        if word in ("-p", "--publish-port") and not (left and re.fullmatch(r"-?\d+", left[0])):
            out += [word, "0"]
        elif word in ("-n", "--publish-nameserver", "--nameservers") and positional:
            while left and not left[0].startswith("-"):
                out += [word, left.pop(0)]
        else:
            positional = positional or not word.startswith("-")
            out.append(word)
            if word in _VALUED and left:
                out.append(left.pop(0))
    return out


_VALUED = (
    "-p",
    "--publish-port",
    "-n",
    "-r",
    "--subscribe-nameserver",
    "--publish-nameserver",
    "--nameservers",
    "-c",
    "--log-config",
    "-l",
    "--log",
    "--metrics",
)
