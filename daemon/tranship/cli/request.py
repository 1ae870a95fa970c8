"""`tranship request`: ask a server by hand: is it there, what has it announced, move this once more."""

import asyncio
import json
import os
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tranship.wire.contract import BusError
from tranship.wire.messages import Message, compose
from tranship.wire.zeromq import ZeroMQBus

app = typer.Typer(help="Ask a server by hand.", no_args_is_help=True)

Server = Annotated[str, typer.Argument(help="host:port of the chain's request socket.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the reply's data as JSON.")]
Patience = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the reply.")]


@app.command()
def ping(server: Server, as_json: AsJson = False, timeout: Patience = 5.0) -> None:
    """Ask whether a server is there, and which station it is."""
    data = _asked(server, compose("/ping", "ping"), "pong", timeout).fields
    typer.echo(json.dumps(data) if as_json else f"{server}: here is station {data.get('station', 'unknown')}")


@app.command()
def info(
    server: Server,
    topic: Annotated[str, typer.Argument(help="Topics that begin so; all, if left out.")] = "/",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="So many names at most.")] = 20,
    as_json: AsJson = False,
    timeout: Patience = 5.0,
) -> None:
    """List what a server has announced, newest first."""
    data = _asked(server, compose(topic, "info", {"max_count": count}), "info", timeout).fields
    if as_json:
        typer.echo(json.dumps(data))
        return
    table = Table(title=f"{server}: up for {data.get('uptime', '?')}", title_justify="left")
    table.add_column("announced, newest first")
    for name in data.get("files", []):
        table.add_row(name)
    Console().print(table)


@app.command()
def push(
    server: Server,
    path: Annotated[
        str, typer.Argument(help="The file on the server, as it was announced.", show_default=False)
    ],
    destination: Annotated[
        str,
        typer.Option(
            "--destination",
            "-d",
            help="Where to move it: a URL that the chain allows. Credentials are not taken from here.",
            show_default=False,
        ),
    ],
    topic: Annotated[str, typer.Option("--topic", help="The topic of the request.")] = "/request",
    login: Annotated[
        str,
        typer.Option(envvar="TRANSHIP_LOGIN", help="user[:password] for the destination; set the variable."),
    ] = "",
    once: Annotated[
        bool, typer.Option("--once", help="Don't move it again if it was moved there before.")
    ] = False,
    as_json: AsJson = False,
    timeout: Patience = 60.0,
) -> None:
    """Have a server move an announced file (again), to reprocess it."""
    if login:
        scheme, _, rest = destination.partition("://")
        destination = f"{scheme}://{login}@{rest}"
    data: dict[str, Any] = {
        "uri": path,
        "uid": os.path.basename(path),
        "destination": destination,
        "tranship": {"v": 1, "id": f"by-hand-{os.getpid()}", "again": not once},
    }
    reply = _asked(server, compose(topic, "push", data), "file", timeout)
    fields = reply.fields
    typer.echo(json.dumps(fields) if as_json else f"{path}: moved to {fields.get('destination')}")


def _asked(server: str, message: Message, wanted: str, timeout: float) -> Message:
    """The reply to message, of the type that is wanted; else an error that says what came instead."""
    try:
        reply = asyncio.run(_ask(server.removeprefix("tcp://"), message, timeout))
    except BusError as error:
        raise _failed(str(error)) from None
    if reply is None:
        waited = timedelta(seconds=timeout)
        raise _failed(f"{server}: no answer within {waited.total_seconds():g} s; does a server answer there?")
    if reply.type != wanted:
        reason = reply.fields.get("reason") or reply.data or "it does not know such requests"
        raise _failed(f"{server}: {reply.type}: {reason}")
    return reply


async def _ask(server: str, message: Message, timeout: float) -> Message | None:
    bus = ZeroMQBus()
    try:
        asker = bus.asker(f"tcp://{server}", many=False)
        asker.ask(message, "by-hand", timeout)
        while True:
            for answer in await asker.answered():
                if answer.message is None or answer.message.type != "progress":
                    return answer.message
    finally:
        bus.close()


def _failed(text: str) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(1)
