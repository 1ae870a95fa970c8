"""Which mover speaks which scheme: ours and everybody else's, found by entry points.

The group is `tranship.movers`. An entry point's name is a scheme, its object a class with `options` (a
model derived from MoverOptions) that is built as `Class(place, options)`; building connects. The one called
`fsspec` takes every other scheme that fsspec knows.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from tranship_movers.contract import Mover
from tranship_movers.errors import Misconfigured
from tranship_movers.options import MoverOptions, options_of
from tranship_movers.place import Place

GROUP = "tranship.movers"
_FALL_BACK = "fsspec"
_EXTRAS = {"paramiko": "ssh", "boto3": "s3", "botocore": "s3", "h11": "webdav", "fsspec": "fsspec"}


class MoverClass(Protocol):
    """What an entry point names."""

    options: type[MoverOptions]

    def __call__(self, place: Place, options: MoverOptions, /) -> Mover:
        """Connect to place (blocking, within `options.timeout`)."""


def connect(place: Place, options: MoverOptions | None = None) -> Mover:
    """A new connection to place, with its scheme's default options if none are given.

    Raises Misconfigured if nobody speaks the scheme, and whatever the mover raises.
    """
    made = mover_class(place.scheme)
    return made(place, made.options() if options is None else options)


def options_for(place: Place, mapping: Mapping[str, object]) -> MoverOptions:
    """The options that mapping means for place. Raises Misconfigured, naming the key and the nearest key."""
    return options_of(mover_class(place.scheme).options, mapping, where=str(place))


def mover_class(scheme: str) -> MoverClass:
    """The class that speaks scheme.

    Raises Misconfigured that names the known schemes, or the package extra whose library is missing.
    """
    found = _installed()
    if scheme in found and scheme != _FALL_BACK:
        return _loaded(scheme, found[scheme])
    if scheme in _fsspec_schemes() and _FALL_BACK in found:
        return _loaded(scheme, found[_FALL_BACK])
    known = ", ".join(sorted(known_schemes()))
    raise Misconfigured(
        f"no mover speaks `{scheme}`; known are {known} (and what fsspec knows, if it is installed)"
    )


def known_schemes() -> frozenset[str]:
    """The schemes that have movers of their own, whether or not their libraries are installed."""
    return frozenset(_installed()) - {_FALL_BACK}


@cache
def _installed() -> Mapping[str, EntryPoint]:
    # Whoever installs another mover for a scheme of ours means it.
    found = sorted(
        entry_points(group=GROUP), key=lambda entry: not entry.value.startswith("tranship_movers.")
    )
    return {entry.name: entry for entry in reversed(found)}


@cache
def _fsspec_schemes() -> frozenset[str]:
    try:
        return frozenset(import_module("fsspec").available_protocols())
    except ImportError:
        return frozenset()


def _loaded(scheme: str, entry: EntryPoint) -> MoverClass:
    try:
        return cast(MoverClass, entry.load())
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRAS:
            raise
        advice = f"pip install 'tranship[{_EXTRAS[library]}]'"
        raise Misconfigured(f"`{scheme}` needs {library}, which is not installed: {advice}") from error
