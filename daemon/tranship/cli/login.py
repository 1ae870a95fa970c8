"""The login of a place: never from the command line, which everybody on the host can read."""

import os
from dataclasses import replace
from urllib.parse import quote

import typer
from pydantic import SecretStr

from tranship_movers.errors import Misconfigured
from tranship_movers.place import Place

VARIABLE = "TRANSHIP_LOGIN"
"""The variable that holds user[:password]."""


def place_of(url: str) -> Place:
    """The place that url means, with the login of the environment, if there is one.

    Raises typer.BadParameter for what is no URL, or has a password in it.
    """
    if "://" not in url:
        raise typer.BadParameter(f"{url!r} is no URL; write it as scheme://host/path, or file:///path")
    try:
        place = Place.parse(url)
    except Misconfigured as error:
        raise typer.BadParameter(str(error)) from None
    if place.password is not None:
        raise typer.BadParameter(
            f"{place} came with a password, which everybody on this host can read;"
            f" put user:password into ${VARIABLE} instead"
        )
    user, colon, password = os.environ.get(VARIABLE, "").partition(":")
    return replace(place, user=user, password=SecretStr(password) if colon else None) if user else place


def told_to(place: Place, *, unquoting: bool) -> str:
    """The URL of place with its login, for a server; peers of the old kind take it as it is, without unquoting."""
    user, password = place.user, place.password.get_secret_value() if place.password else None
    if unquoting:
        user, password = quote(user, safe=""), None if password is None else quote(password, safe="")
    login = user if password is None else f"{user}:{password}"
    scheme, _, rest = str(place).partition("://")
    return f"{scheme}://{login}@{rest}" if login else f"{scheme}://{rest}"
