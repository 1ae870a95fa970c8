"""An INI file of Trollmoves' move_it."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from tranship.config.findings import Report, nearest
from tranship.config.ini_file import Section
from tranship.config.legacy.building import (
    BARE,
    CREDENTIALS,
    NESTED,
    Building,
    Old,
    connection_parameters,
    folder,
    is_off,
    publishing,
    text_of,
    unpacking,
    whole,
)
from tranship.config.legacy.server import NEEDS, SERVER
from tranship.config.tree import Tree


def move_tree(sections: list[Section], report: Report, port: int | None) -> Tree:
    """A file of move_it; port is the one to publish on, from the command line (None: nobody is told)."""
    building = Building(report, {"role": "move"}) if port is None else publishing("move", port, report)
    return building.filled(sections, _section)


def _section(section: Section, building: Building) -> None:
    report = building.report
    for key, item in section.items.items():
        if key in MOVE:
            building.take(MOVE[key], item)
        elif key == "listen":
            report.error(
                item.place,
                "is not done by `tranship move`, and with `move_it.py` nothing is moved, either",
                "use `tranship dispatcher`, which hears messages",
            )
        elif key in ("publish_port", "publisher_port"):
            report.warn(item.place, "is not read", "give the port with -p; without it nobody is told")
        elif key in ("prog", "working_directory") and is_off(text_of(section, "compression")):
            report.warn(item.place, "does nothing without `compression`", "remove it")
        elif key not in BARE and not key.startswith(NESTED) and key not in ("compression", *NEEDS):
            meant = nearest(key, MOVE)
            report.warn(item.place, "is read by nobody", f"did you mean `{meant}`?" if meant else "remove it")
    unpacking(section, building, "prog")
    connection_parameters(section.items, building)


def _destinations(text: str) -> list[dict[str, str]]:
    """URLs with blanks between them, each perhaps with its login."""
    return [_with_login(word) for word in text.split()]


def _with_login(text: str) -> dict[str, str]:
    if not re.match(r"/|[A-Za-z][A-Za-z0-9+.-]*:", text):
        return {"url": folder(whole(text))}
    match = CREDENTIALS.match(text)
    login = {"login": match["login"].removesuffix("@")} if match else {}
    return {"url": folder(text), **login}


MOVE: Mapping[str, Old] = MappingProxyType(
    {
        **{key: SERVER[key] for key in ("origin", "topic", "info")},
        "destinations": Old(
            "destinations",
            "a login in a URL becomes `login`; always folders, from where the process is started if no full paths",
            _destinations,
        ),
        "delete": Old("delete", "when every destination has the file; there: when one has, or none"),
        "watchdog_timeout": SERVER["watchdog_timeout"],
    }
)
