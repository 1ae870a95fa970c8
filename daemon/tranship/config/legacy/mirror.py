"""An INI file of Trollmoves' mirror."""

from collections.abc import Mapping
from types import MappingProxyType

from tranship.config.findings import Place, Report
from tranship.config.ini_file import Section
from tranship.config.legacy.building import (
    BARE,
    NESTED,
    Building,
    Old,
    connection_parameters,
    folder,
    heartbeat,
    is_off,
    open_for_requests,
    publishing,
    tell_destination,
)
from tranship.config.legacy.client import CLIENT
from tranship.config.legacy.server import SERVER, not_taken
from tranship.config.tree import Tree


def mirror_tree(sections: list[Section], report: Report, port: int | None) -> Tree:
    """A mirror's file; port is the one to publish on, from the command line (None: their default)."""
    return publishing("mirror", port, report).filled(sections, _section)


def _section(section: Section, building: Building) -> None:
    report = building.report
    items = section.items
    building.put(("heartbeat_alarm_scale",), "0", section.place)
    building.put(("delete",), "no", section.place)
    if "request_port" in items:
        open_for_requests(section, building)
    else:
        report.error(Place(section.place.line, f"{section.place.key} request_port"), "is missing", "add it")
    for key, item in items.items():
        if key in MIRROR:
            building.take(MIRROR[key], item)
        elif key == "compression" and not is_off(item.text):
            report.warn(
                item.place, "unpacks nothing at a mirror; it deletes its copies", "write `delete = True`"
            )
            building.put(("delete",), "yes", item.place)
        elif key not in BARE and key not in _IDLE and not key.startswith(NESTED):
            not_taken(key, item, section, building)
    connection_parameters(items, building)
    heartbeat(items, building, report)
    tell_destination(items, report)


MIRROR: Mapping[str, Old] = MappingProxyType(
    {
        **{key: SERVER[key] for key in SERVER if key not in ("origin", "topic", "info", "watchdog_timeout")},
        **{
            key: CLIENT[key]
            for key in CLIENT
            if key not in ("topic", "publish_port", "nameservers", "processing_delay", "backup_targets")
        },
        "client_topic": Old("topic", "not given, and no topic behind a provider: an error"),
        "destination": Old("destination", "no scheme: `file`; always a folder", folder),
        "delay": Old("delay", "in seconds"),
        "delete": Old("delete", "not given: no, copies stay"),
    }
)


_IDLE = frozenset({"origin", "topic", "info", "listen", "heartbeat", "watchdog_timeout"})
"""What their mirror needs, or takes, beside these, and what changes nothing."""
