"""What the movers of a chain's places say to its `connection_parameters`.

A chain may use several movers; a parameter has to mean something to one of them. An INI file may hold some that
meant something to Trollmoves only: they are left out, with a warning.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from tranship.config.findings import Place, Report, listed, nearest
from tranship.config.tree import Loc, Tree
from tranship.config.values import Parameters
from tranship.core.allow import EVERYTHING
from tranship_movers.errors import Misconfigured
from tranship_movers.options import MoverOptions, keys_of
from tranship_movers.registry import known_schemes, mover_class


def check_scheme(url: str, place: Place, report: Report) -> None:
    """Report a URL that no mover speaks, here or anywhere."""
    scheme = url.partition("://")[0].lower()
    if scheme in known_schemes():
        return
    try:
        mover_class(scheme)
    except Misconfigured:
        meant = nearest(scheme, known_schemes())
        advice = f"did you mean `{meant}`?" if meant else f"there are {listed(sorted(known_schemes()))}"
        report.error(place, f"no mover speaks `{scheme}`", advice)


def check_movable(url: str, place: Place, report: Report) -> None:
    """Report a URL whose mover can't be used on this host."""
    before = report.errors
    check_scheme(url, place, report)
    if report.errors == before:
        try:
            mover_class(url.partition("://")[0].lower())
        except Misconfigured as error:
            report.error(place, error.reason, "install it")


def meant_parameters(
    parameters: Parameters, urls: Collection[str], tree: Tree, loc: Loc, report: Report
) -> Parameters:
    """The parameters that mean something to a mover of urls (or patterns); what is wrong goes into the report."""
    kept = {}
    for key, given in parameters.plain().items():
        value, refusal = _judged(key, given, urls, tree, loc, report)
        place = tree.place((*loc, key))
        if refusal is None:
            kept[key] = value
        elif tree.old and refusal.whole:
            report.warn(place, f"is not used: {refusal.problem}", "remove it")
        else:
            report.error(place, refusal.problem, refusal.advice)
    return Parameters(kept)


def _judged(
    key: str, value: object, urls: Collection[str], tree: Tree, loc: Loc, report: Report
) -> "tuple[object, _Refusal | None]":
    """The value, and why it is not taken; of an old file's block, without what of it means nothing."""
    refusal = _refusal(key, value, _models(urls))
    if not (tree.old and refusal and isinstance(value, dict) and refusal.idle in value):
        return value, refusal
    report.warn(tree.place((*loc, key, refusal.idle)), f"is not used: {refusal.problem}", "remove it")
    left = {inner: told for inner, told in value.items() if inner != refusal.idle}
    return _judged(key, left, urls, tree, loc, report)


_MEANS_NOTHING = re.compile(r"`(\w+)` means nothing here")
_SEE = "see docs/configuration.md#connection-parameters"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a parameter is not taken; whole: whatever its value; idle: because of this of it, which means nothing."""

    problem: str
    advice: str
    whole: bool
    idle: str = ""


def _refusal(key: str, value: object, models: Iterator[type[MoverOptions]]) -> _Refusal | None:
    """None if the first mover that knows key takes value."""
    known: set[str] = set()
    for model in models:
        known |= keys_of(model)
        try:
            model.model_validate({key: value})
        except ValidationError as error:
            told = error.errors(include_url=False, include_input=False)[0]
            if told["type"] == "extra_forbidden" and told["loc"] == (key,):
                continue
            said = told["msg"].removeprefix("Value error, ")
            idle = _MEANS_NOTHING.match(said)
            if isinstance(value, dict):
                return _Refusal(said, _SEE, idle is not None and idle[1] == key, idle[1] if idle else "")
            return _Refusal(said, _SEE, whole=told["loc"] == ())
        return None
    meant = nearest(key, known)
    advice = f"did you mean `{meant}`?" if meant else _SEE
    return _Refusal("no mover of these destinations knows it", advice, whole=True)


def _models(patterns: Collection[str]) -> Iterator[type[MoverOptions]]:
    named = {pattern.partition("://")[0].lower() for pattern in patterns if pattern != EVERYTHING}
    schemes = known_schemes() if EVERYTHING in patterns else named
    for scheme in sorted(schemes, key=lambda scheme: (scheme == "s3", scheme)):  # boto3 takes long to load
        try:
            yield mover_class(scheme).options
        except Misconfigured:  # not installed, which has been told where it matters
            continue
