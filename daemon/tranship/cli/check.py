"""`tranship check`: everything that is wrong with a configuration; or which promises hold at a place of one's own."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tranship.cli.ending import NO, ended, explained
from tranship.cli.login import VARIABLE, place_of
from tranship.config.curve import Curve, keys_of
from tranship.config.findings import ConfigError, Finding
from tranship.config.load import load
from tranship.core.words import counted
from tranship.run.supervisor import Exit
from tranship.wire.doorman import read_clients
from tranship.wire.keys import KeyFileError
from tranship_movers.checks import Ground, run
from tranship_movers.errors import Misconfigured
from tranship_movers.place import Place
from tranship_movers.registry import connect, options_for

GROUND = "tranship-check"
"""The folder below the URL in which everything is tried."""


def check(
    target: Annotated[
        str,
        typer.Argument(
            help="A configuration file (YAML, or an INI file of Trollmoves); or a URL: a folder at a server of yours,"
            f" below which everything is tried that is promised. Its login stands in ${VARIABLE}.",
            show_default=False,
        ),
    ],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="With a URL: an option of its mover, as key=value. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say everything that is wrong with a configuration, or try the promises at a place."""
    if "://" in target:
        with explained():
            _check_place(place_of(target), _pairs(option or []), as_json=as_json)
    elif option:
        raise typer.BadParameter(f"--option belongs to a URL, and {target} is none")
    else:
        _check_file(Path(target), as_json=as_json)


def _pairs(given: list[str]) -> Mapping[str, str]:
    for pair in given:
        if "=" not in pair:
            raise typer.BadParameter(f"option `{pair}` has no value; write it as {pair}=value")
    return dict(pair.partition("=")[::2] for pair in given)


def _check_file(file: Path, *, as_json: bool) -> None:
    told: dict[str, Any] = {"file": str(file), "good": True, "errors": [], "warnings": []}
    try:
        loaded = load(file)
        _check_keys(loaded.config.curve, file)
    except ConfigError as error:
        if as_json:
            told |= {"good": False, "errors": [asdict(finding) for finding in error.findings]}
            typer.echo(json.dumps(told))
        raise ended(str(error), Exit.CONFIG) from None
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    role, chains = loaded.config.role, list(loaded.config.chains)
    count = counted(len(chains), "chain")
    told |= {"role": role, "chains": chains, "warnings": [asdict(warning) for warning in loaded.warnings]}
    typer.echo(json.dumps(told) if as_json else f"{file}: good, role {role}, {count}: {', '.join(chains)}")


def _check_keys(curve: Curve | None, file: Path) -> None:
    """Read the files of keys, and those of clients. Raises ConfigError."""
    try:
        keys = keys_of(curve)
        if keys and keys.door:
            for path, why in read_clients(keys.door.clients).broken.items():
                raise KeyFileError(f"{path}: {why}")
    except KeyFileError as error:
        raise ConfigError([Finding(str(file), 0, "curve", str(error))]) from None


def _check_place(place: Place, given: Mapping[str, str], *, as_json: bool) -> None:
    try:
        options = options_for(place, given)
    except Misconfigured as error:
        raise typer.BadParameter(str(error)) from None
    connect(place.at("/"), options).close()
    folder, secret = place.below(GROUND), place.password.get_secret_value() if place.password else ""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="tranship-check-") as local:
        ground = Ground(
            lambda: connect(place.at("/"), options), folder.path.rstrip("/"), Path(local), secret=secret
        )
        for outcome in run(ground):
            outcomes.append(outcome)
            if not as_json:
                typer.echo(f"{outcome.verdict:12} {outcome.title}{outcome.told and ': '}{outcome.told}")
    if as_json:
        typer.echo(json.dumps({"place": str(place), "promises": [asdict(outcome) for outcome in outcomes]}))
    verdicts = [outcome.verdict for outcome in outcomes]
    if "broken" in verdicts:
        raise ended(f"{place}: {verdicts.count('broken')} of {len(verdicts)} promises do not hold", NO)
    if not as_json:
        offered = len(verdicts) - verdicts.count("not offered")
        typer.echo(
            f"{place}: all {offered} promises that it can make hold; empty folders are left at {folder}"
        )
