"""The command line: one file per command (or family of commands)."""

import typer

from tranship import __version__
from tranship.cli import check, clean, convert, demo, failed, keys, process, request, resend, status, trace
from tranship.cli.old_flags import FetchCommand, PublishingCommand

app = typer.Typer(
    name="tranship",
    help="Moves files between machines the moment they appear, and tells everyone who should know.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("server")(process.server)
app.command("client")(process.client)
app.command("mirror")(process.mirror)
app.command("dispatcher", cls=PublishingCommand)(process.dispatcher)
app.command("fetch", cls=FetchCommand)(process.fetch)
app.command("move")(process.move)
app.command("dispatch", cls=PublishingCommand, hidden=True)(process.dispatcher)
app.command("clean")(clean.clean)
app.command("check")(check.check)
app.command("convert")(convert.convert)
app.command("keys")(keys.keys)
app.add_typer(request.app, name="request")
app.command("status")(status.status)
app.command("trace")(trace.trace)
app.command("failed")(failed.failed)
app.command("retry")(failed.retry)
app.command("drop")(failed.drop)
app.command("resend")(resend.resend)
app.command("demo")(demo.demo)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True),
) -> None:
    if version:
        typer.echo(f"tranship {__version__}")
        raise typer.Exit


def main() -> None:
    """The command `tranship`."""
    app()
