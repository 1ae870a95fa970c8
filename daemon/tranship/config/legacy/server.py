"""An INI file of Trollmoves' server."""

from collections.abc import Mapping
from types import MappingProxyType

from tranship.config.findings import Report, nearest
from tranship.config.ini_file import Item, Section
from tranship.config.legacy.building import (
    BARE,
    CLOSE,
    NESTED,
    Building,
    Old,
    connection_parameters,
    is_off,
    open_for_requests,
    publishing,
    text_of,
    unpacking,
    whole,
)
from tranship.config.tree import Tree
from tranship.core.allow import EVERY_FILE


def server_tree(sections: list[Section], report: Report, port: int | None) -> Tree:
    """A server's file; port is the one to publish on, from the command line (None: their default)."""
    return publishing("server", port, report).filled(sections, _section)


def _section(section: Section, building: Building) -> None:
    items = section.items
    listens = "listen" in items and "origin" not in items
    if "request_port" in items:
        open_for_requests(section, building)
    for key, item in items.items():
        if key in SERVER:
            building.take(SERVER[key], item)
        elif key == "unpack" and "request_port" not in items:
            building.put(("filesystem", "archive"), _archive(item.text), item.place)
        elif key in LISTEN and listens:
            _listening(key, item, section, building)
        elif key not in BARE and not key.startswith(NESTED):
            not_taken(key, item, section, building)
    if listens:
        _listen_somewhere(section, building)
        _listen_to_all(section, building)
    unpacking(section, building, "prog")
    connection_parameters(items, building)


def _archive(text: str) -> str | None:
    return None if is_off(text) else text


def _listen_to_all(section: Section, building: Building) -> None:
    """Announce whatever messages name, as always; and say so."""
    building.put(("listen", "allow"), [EVERY_FILE], section.place)
    building.report.warn(
        section.place,
        "announces whatever file of this host a message names, as INI files always did",
        f"{CLOSE} with `allow` under `listen`",
    )


def _listen_somewhere(section: Section, building: Building) -> None:
    """Ask the name server of this host, unless the section says whom else, or `addresses` and that it wants none."""
    said = text_of(section, "nameserver")
    if not said or (is_off(said) and not text_of(section, "addresses")):
        building.put(("listen", "nameserver"), "localhost", section.items.get("nameserver", section).place)


def _listening(key: str, item: Item, section: Section, building: Building) -> None:
    """An option of a chain that listens."""
    if key == "nameserver":
        building.put(("listen", "nameserver"), "no" if is_off(item.text) else item.text, item.place)
    elif key in _LISTEN_IDLE:
        building.report.warn(item.place, "changes nothing here", "remove it")
    elif not (key == "listen" and "topics" in section.items):
        building.take(LISTEN[key], item)


def not_taken(key: str, item: Item, section: Section, building: Building) -> None:
    """An option that is no matter of ours, or of nobody: say so."""
    report, port = building.report, building.tree.value["publish"]["port"]
    needs = NEEDS.get(key)
    if key in ("publish_port", "publisher_port"):
        if item.text != str(port):
            report.warn(item.place, f"is not read; the port is {port}", "give another one with -p")
    elif key == "unpack":
        report.warn(item.place, "does nothing beside `request_port`", "remove it")
    elif key == "origin_inotify_base_dir_skip_levels":
        report.warn(item.place, "is not needed", "directories with fields are watched anyway; remove it")
    elif needs and not is_off(item.text) and is_off(text_of(section, needs)):
        report.warn(item.place, f"does nothing without `{needs}`", "remove it")
    elif not needs and key != "compression":
        meant = nearest(key, [*SERVER, *NEEDS, "listen", "compression"])
        report.warn(item.place, "is read by nobody", f"did you mean `{meant}`?" if meant else "remove it")


def _info(text: str) -> dict[str, object]:
    """k=v;k2=a,b: a value with commas is a list."""
    pairs = [part.split("=", 1) for part in text.split(";") if part.strip()]
    if any(len(pair) < 2 for pair in pairs):
        raise ValueError("a part has no `=`", "write it as key=value;key2=a,b")
    return {key.strip(): value.strip().split(",") if "," in value else value.strip() for key, value in pairs}


SERVER: Mapping[str, Old] = MappingProxyType(
    {
        "origin": Old("origin", "from where the process is started, if it is no full path", whole),
        "topic": Old("topic"),
        "info": Old("info", "`k=v;k2=a,b`", _info),
        "station": Old("station"),
        "request_port": Old("request.port"),
        "request_address": Old("request_address"),
        "delete": Old("delete"),
        "remove_delay": Old("remove_delay", "in seconds"),
        "watchdog_timeout": Old("poll_interval", "in seconds; polling is chosen with `-w`"),
    }
)


LISTEN: Mapping[str, Old] = MappingProxyType(
    {
        "listen": Old("listen.topics", "a topic, unless `topics` is given"),
        "topics": Old("listen.topics"),
        "addresses": Old("listen.addresses"),
        "services": Old("listen.services"),
        "nameserver": Old(
            "listen.nameserver", "not given: localhost; so with `False`, if there are no `addresses`"
        ),
        **{key: Old("", "changes nothing here") for key in ("addr_listener", "timeout", "translate")},
    }
)


_LISTEN_IDLE = frozenset({"addr_listener", "timeout", "translate"})
NEEDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("prog", "working_directory"), "compression"),
        **dict.fromkeys(
            ("topics", "services", "addresses", "nameserver", "addr_listener", "timeout"), "listen"
        ),
        "translate": "listen",
    }
)
