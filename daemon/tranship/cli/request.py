"""`tranship request`: ask a server by hand: is it there, what has it announced, move this once more."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from tranship.cli.ending import ended, explained
from tranship.cli.login import VARIABLE, place_of, told_to
from tranship.cli.old_flags import RequestGroup
from tranship.config.checks import taken_on_trust
from tranship.config.curve import Curve, keys_of
from tranship.config.findings import ConfigError, Report
from tranship.config.legacy.posttroll import posttrolls_curve
from tranship.config.load import load
from tranship.run.supervisor import Exit
from tranship.steps.request import Failure, read_reply
from tranship.wire.contract import BusError, host_and_port
from tranship.wire.keys import Keys
from tranship.wire.messages import Message, Unsendable, compose
from tranship.wire.zeromq import ZeroMQBus

app = typer.Typer(cls=RequestGroup, help="Ask a server by hand.", no_args_is_help=True)


def _address(text: str) -> str:
    """host:port, without a scheme."""
    address = text.removeprefix("tcp://")
    try:
        host_and_port(f"tcp://{address}")
    except BusError:
        raise typer.BadParameter(
            f"{text!r} is no address; write it as host:port, like 192.0.2.1:9092"
        ) from None
    return address


def _extra(text: str) -> str:
    if any(":" not in pair for pair in text.split(",") if pair):
        raise typer.BadParameter(f"{text!r} is no list of pairs; write them as key:value,key2:value2")
    return text


def _topic(text: str) -> str:
    if text.split() != [text]:
        raise typer.BadParameter(f"{text!r} is no topic; write one word, like /1b/hrit")
    return text if text.startswith("/") else f"/{text}"


def _keys(config: Path | None) -> Keys | None:
    """The keys of a configuration; without one, those that posttroll's settings name."""
    with explained():
        if config is not None:
            return keys_of(load(config, folders=taken_on_trust).config.curve)
        report = Report("posttroll")
        named = posttrolls_curve(report, os.environ)
        if report.errors:
            raise ConfigError(report.errors)
        if named is None:
            return None
        named.pop("client_addresses", None)  # nobody comes here
        return keys_of(Curve.model_validate(named))


Server = Annotated[
    str,
    typer.Argument(help="host:port of the chain's request socket.", show_default=False, callback=_address),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the reply's data as JSON.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Connect by the keys of this configuration (`curve`), else by those that posttroll's settings name.",
        show_default=False,
    ),
]
Patience = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the reply, or a sign of progress.")
]

Extra = Annotated[
    str,
    typer.Option(
        "--extra",
        metavar="KEY:VALUE,…",
        help="More items for the request: numbers, true, false and null as in JSON, anything else text.",
        callback=_extra,
    ),
]
Spam = Annotated[
    float | None,
    typer.Option(
        "--spam", metavar="SECONDS", min=0.0, help="Ask again and again, with so many seconds in between."
    ),
]


@dataclass
class Addressee:
    """Who is asked, by which keys, and what was odd about it."""

    address: str
    keys: Keys | None
    trouble: str = ""

    def odd(self, peer: str, what: str) -> None:
        """Keep what is odd."""
        del peer
        self.trouble = f" It {what.partition(': ')[2]}."


@app.command()
def ping(
    server: Server,
    extra: Extra = "",
    spam: Spam = None,
    as_json: AsJson = False,
    timeout: Patience = 5.0,
    config: Config = None,
) -> None:
    """Ask whether a server is there, and which station it is."""
    there = Addressee(server, _keys(config))

    def ask() -> None:
        data = _asked(there, _composed("/ping", "ping", _items(extra)), "pong", timeout).fields
        station = data.get("station", "unknown")
        typer.echo(json.dumps(data) if as_json else f"{server}: here is station {station}")

    _repeated(ask, spam)


@app.command()
def info(
    server: Server,
    topic: Annotated[
        str, typer.Argument(help="Topics that begin so; all, if left out.", callback=_topic)
    ] = "/",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="So many names at most.")] = 20,
    extra: Extra = "",
    spam: Spam = None,
    as_json: AsJson = False,
    timeout: Patience = 5.0,
    config: Config = None,
) -> None:
    """List what a server has announced, newest first."""
    there = Addressee(server, _keys(config))

    def ask() -> None:
        request = _composed(topic, "info", {"max_count": count, **_items(extra)})
        data = _asked(there, request, "info", timeout).fields
        if as_json:
            typer.echo(json.dumps(data))
            return
        names = data.get("files") or []
        told = "newest first:" if names else f"nothing announced about {topic}"
        typer.echo(f"{server}: up for {data.get('uptime', '?')}; {told}")
        for name in names:
            typer.echo(f"  {name}")

    _repeated(ask, spam)


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
            help="Where to move it: a URL that the chain allows. With / at the end it is a folder."
            f" Its login, user[:password], stands in ${VARIABLE}.",
            show_default=False,
        ),
    ],
    topic: Annotated[
        str, typer.Option("--topic", help="The topic of the request.", callback=_topic)
    ] = "/request",
    once: Annotated[
        bool, typer.Option("--once", help="Don't move it again if it was moved there before.")
    ] = False,
    extra: Extra = "",
    spam: Spam = None,
    as_json: AsJson = False,
    timeout: Patience = 60.0,
    config: Config = None,
) -> None:
    """Have a server move an announced file (again), to reprocess it."""
    place = place_of(destination)
    if not path.startswith("/"):
        raise typer.BadParameter(
            f"{path!r} is no full path; give it as the server's log and `tranship trace` do"
        )
    there = Addressee(server, _keys(config))
    ours = _is_ours(there, timeout)
    data = {
        **_items(extra),
        "uri": path,
        "uid": os.path.basename(path),
        "destination": told_to(place, unquoting=ours),
        "tranship": {"v": 1, "id": _ticket(), "again": not once, "progress": True},
    }

    def ask() -> None:
        with _shown(path) as tell:
            reply = _answer(there, _composed(topic, "push", data), timeout, tell)
        told = read_reply(reply, timeout)
        if told.data is None:
            failure = told.failure if ours and told.failure else None
            raise ended(f"{server}: {_MEANING[failure]}: {told.reason}")
        where = f"{place}{os.path.basename(path)}" if place.path.endswith("/") else str(place)
        typer.echo(json.dumps(told.data) if as_json else f"{path}: moved to {where}")

    _repeated(ask, spam)


_MEANING: Mapping[Failure | None, str] = {
    Failure.REFUSED: "refused",
    Failure.SUPERSEDED: "refused",
    Failure.TEMPORARY: "failed, and may work later",
    Failure.PERMANENT: "failed",
    Failure.FATAL: "failed, and nothing can be moved there until somebody mends it",
    None: "refused or failed",
}


def _items(extra: str) -> dict[str, Any]:
    """The items that `--extra` gives."""
    pairs = (pair.partition(":")[::2] for pair in extra.split(",") if pair)
    return {key.strip(): _meant(value.strip()) for key, value in pairs}


def _meant(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float | None) else text


def _repeated(ask: Callable[[], None], pause: float | None) -> None:
    """Ask once; or, with a pause (seconds) between, until somebody interrupts it or it fails."""
    with suppress(KeyboardInterrupt):
        ask()
        while pause is not None:
            time.sleep(pause)
            ask()


def _ticket() -> str:
    return f"by-hand-{os.getpid()}"


def _is_ours(server: Addressee, timeout: float) -> bool:
    """Whether server answers as ours do, with the id of the request. Ends the command if none is there."""
    pong = _asked(
        server, compose("/ping", "ping", {"tranship": {"v": 1, "id": _ticket()}}), "pong", min(timeout, 5.0)
    )
    return pong.ticket == _ticket()


def _asked(server: Addressee, message: Message, wanted: str, timeout: float) -> Message:
    """The reply to message, of the type that is wanted; else the command ends by saying what came instead."""
    reply = _answer(server, message, timeout)
    if reply.type != wanted:
        reason = reply.fields.get("reason") or reply.data or "it does not know such requests"
        raise ended(f"{server.address}: answers a {message.type} with {reply.type}: {reason}")
    return reply


Tell = Callable[[int, int], None]
"""Called with the bytes that are moved, and all that there are."""


def _answer(
    server: Addressee, message: Message, timeout: float, tell: Tell = lambda moved, total: None
) -> Message:
    """Whatever server replies to message; the command ends if that is nothing."""
    with explained():
        reply = asyncio.run(_ask(server, message, timeout, tell))
    if reply is None:
        raise ended(
            f"{server.address}: no answer within {timeout:g} s; does a server take requests there"
            " (`tranship status` on its host, `request` in its configuration)?" + server.trouble,
            Exit.UNAVAILABLE,
        )
    return reply


async def _ask(server: Addressee, message: Message, timeout: float, tell: Tell) -> Message | None:
    bus = ZeroMQBus(server.odd, server.keys)
    try:
        asker = bus.asker(f"tcp://{server.address}", many=False)
        asker.ask(message, _ticket(), timeout)
        while True:
            for answer in await asker.answered():
                told = answer.message
                if told is None or told.type != "progress":
                    return told
                asker.keep_waiting(_ticket(), timeout)
                _pass_on(told.fields, tell)
    finally:
        bus.close()


def _pass_on(progress: Mapping[str, Any], tell: Tell) -> None:
    moved, total = progress.get("bytes"), progress.get("total")
    if isinstance(moved, int) and isinstance(total, int):
        tell(moved, total)


def _composed(topic: str, kind: str, data: Mapping[str, Any]) -> Message:
    try:
        return compose(topic, kind, data)
    except Unsendable as error:
        raise ended(f"this can't be asked: {error}") from None


@contextmanager
def _shown(path: str) -> Iterator[Tell]:
    """Show on stderr how far it is: a bar on a terminal, else a line each time."""
    name = os.path.basename(path)
    if not sys.stderr.isatty():
        yield lambda moved, total: typer.echo(f"{name}: {moved / 1e6:.1f} of {total / 1e6:.1f} MB", err=True)
        return
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda moved, total: bar.update(task, completed=moved, total=total)
