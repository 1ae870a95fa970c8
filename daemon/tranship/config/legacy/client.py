"""An INI file of Trollmoves' client."""

from collections.abc import Mapping
from types import MappingProxyType

from tranship.config.findings import Report, nearest
from tranship.config.ini_file import Item, Section
from tranship.config.legacy.building import (
    CLOSE,
    YES,
    Building,
    Old,
    destination,
    heartbeat,
    is_off,
    open_socket,
    switch,
    tell_destination,
    text_of,
    unpacking,
)
from tranship.config.tree import Tree


def client_tree(sections: list[Section], report: Report) -> Tree:
    """A client's file."""
    return Building(report, {"role": "client"}).filled(sections, _section)


def _section(section: Section, building: Building) -> None:
    report = building.report
    items = section.items
    building.put(("publish",), open_socket("0"), section.place)
    building.put(("nameservers",), "multicast", section.place)
    building.put(("heartbeat_alarm_scale",), "0", section.place)
    report.warn(
        section.place,
        "publishes on all interfaces, as INI files always did",
        f"{CLOSE} with `bind` and `security` under `publish`",
    )
    for key, item in items.items():
        if key in CLIENT:
            building.take(CLIENT[key], item)
        elif key in _UNPACKING:
            _alone(key, item, section, report)
        elif key != "heartbeat":
            _replacement(key, item, building, report)
    _discovery(section, building)
    unpacking(section, building, "xritdecompressor")
    heartbeat(items, building, report)
    tell_destination(items, report)


def _discovery(section: Section, building: Building) -> None:
    """Make any free port known by multicast in any case: nobody could know it otherwise, as there."""
    named = section.items.get("nameservers")
    if named is not None and is_off(named.text) and int(_port(text_of(section, "publish_port"))) == 0:
        building.put(("nameservers",), "multicast", named.place)


def _alone(key: str, item: Item, section: Section, report: Report) -> None:
    """An option of unpacking, in a client."""
    if key in ("working_directory", "block_size"):
        report.warn(item.place, "is not needed: the work is done where the results go", "remove it")
    elif key != "compression" and not is_off(item.text) and is_off(text_of(section, "compression")):
        report.warn(item.place, "does nothing without `compression`", "remove it")


def _replacement(key: str, item: Item, building: Building, report: Report) -> None:
    building.put(("replace", key), _old_and_new(item.text), item.place)
    meant = nearest(key, [*CLIENT, *_UNPACKING, "heartbeat"], cutoff=0.8)
    if meant:
        report.warn(item.place, "replaces the metadata item of this name", f"or did you mean `{meant}`?")


def _old_and_new(text: str) -> str | dict[str, str]:
    """A constant, or old:new|old2:new2."""
    pairs = [part.split(":") for part in text.split("|")]
    return dict(pairs) if all(len(pair) == 2 for pair in pairs) else text


def _name_servers(text: str) -> str:
    return "multicast" if text.lower() in (*YES, "") else "no" if text == "0" else text


def _port(text: str) -> str:
    """A port; what is no number means any free one there."""
    return text if text.isdecimal() else "0"


def _delay(text: str) -> str:
    return text or "0"


def _login(text: str) -> str | None:
    return text or None


CLIENT: Mapping[str, Old] = MappingProxyType(
    {
        "providers": Old("providers", "a topic behind an address replaces the section's there"),
        "destination": Old(
            "destination", "no scheme: `file`; `file` and `scp`: always a folder", destination
        ),
        "login": Old("login", "", _login),
        "topic": Old("topic"),
        "publish_port": Old("publish.port", "no number: any free port", _port),
        "nameservers": Old(
            "nameservers", "not given, empty, or off and no `publish_port`: multicast", _name_servers
        ),
        "processing_delay": Old("processing_delay", "in seconds", _delay),
        "heartbeat_alarm_scale": Old("heartbeat_alarm_scale", "not given, or `heartbeat = False`: 0"),
        "req_timeout": Old("req_timeout", "in seconds"),
        "transfer_req_timeout": Old("transfer_req_timeout", "in seconds"),
        "create_target_directory": Old(
            "create_target_directory", "made with the umask, not with mode 0777", switch
        ),
        "ftp_root": Old("ftp_root"),
        "backup_targets": Old("backup_targets"),
    }
)


_UNPACKING = frozenset({"compression", "xritdecompressor", "working_directory", "delete", "block_size"})
