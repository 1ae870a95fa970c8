"""The INI files of Trollmoves' server and client, as they are, turned into our options.

What an option of theirs becomes stands in two tables, from which its documentation is made too. An INI file
says nothing of who may come and ask for what, so it keeps its old reach: every interface, every destination.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tranship.config.endpoints import EVERYWHERE, Security
from tranship.config.findings import Place, Report, nearest
from tranship.config.ini_file import Item, Section, read_ini
from tranship.config.kinds import given, is_no
from tranship.config.tree import Loc, Tree
from tranship.core.allow import EVERYTHING

Kind = Literal["server", "client", "mirror", "move", "clean"]

_PORT = 9010


@dataclass(frozen=True, slots=True)
class Old:
    """What an option of an INI file becomes: the key path in a chain, how its text is read, what differs."""

    becomes: str
    note: str = ""
    read: Callable[[str], object] = str


def kind_of(sections: list[Section]) -> Kind | None:
    """Whose file this is, by its options; None if nothing tells."""
    keys = {key for section in sections for key in section.items}
    both = any({"providers", "request_port"} <= set(section.items) for section in sections)
    if both or "client_topic" in keys:
        return "mirror"
    if "destinations" in keys:
        return "move"
    if {"base_dir", "templates"} & keys:
        return "clean"
    if {"providers", "destination"} & keys:
        return "client"
    return "server" if {"origin", "listen", "request_port"} & keys else None


def read_sections(text: str, report: Report) -> list[Section]:
    """The sections of an INI file; what is broken goes into the report."""
    sections = read_ini(text, report)
    if not sections:
        report.error(Place(1), "has no section", "add one per chain: [name]")
    return sections


def server_tree(sections: list[Section], report: Report, port: int | None) -> Tree:
    """A server's file; port is the one to publish on, from the command line (None: their default)."""
    port = _PORT if port is None else port
    building = _Building(report, {"role": "server", "publish": _open_socket(port)})
    report.warn(Place(1), f"publishes on port {port} of all interfaces, as INI files always did", _CLOSE)
    for section in sections:
        building.begin(section)
        _server_section(section, building, report, port)
    return building.tree


def client_tree(sections: list[Section], report: Report) -> Tree:
    """A client's file."""
    building = _Building(report, {"role": "client"})
    for section in sections:
        building.begin(section)
        _client_section(section, building, report)
    return building.tree


def mirror_tree(sections: list[Section], report: Report, port: int | None) -> Tree:
    """A mirror's file; port is the one to publish on, from the command line (None: their default)."""
    port = _PORT if port is None else port
    building = _Building(report, {"role": "mirror", "publish": _open_socket(port)})
    report.warn(Place(1), f"publishes on port {port} of all interfaces, as INI files always did", _CLOSE)
    for section in sections:
        building.begin(section)
        _mirror_section(section, building, report, port)
    return building.tree


def move_tree(sections: list[Section], report: Report, port: int | None) -> Tree:
    """A file of move_it; port is the one to publish on, from the command line (None: nobody is told)."""
    building = _Building(report, {"role": "move"} | ({} if port is None else {"publish": _open_socket(port)}))
    if port is not None:
        report.warn(Place(1), f"publishes on port {port} of all interfaces, as INI files always did", _CLOSE)
    for section in sections:
        building.begin(section)
        _move_section(section, building, report)
    return building.tree


_CLOSE = "to close it, write the file in YAML (docs/configuration.md)"
_LATER = "keep Trollmoves for this section until it is"


class _Building:
    """A tree, filled option by option."""

    def __init__(self, report: Report, top: dict[str, Any]) -> None:
        self.report = report
        self.places: dict[Loc, Place] = {(): Place(1), ("chains",): Place(1)}
        self.tree = Tree(top | {"chains": {}}, self.places, glue=" ", old=True)
        self._chain: Loc = ()

    def begin(self, section: Section) -> None:
        self._chain = ("chains", section.name)
        self.tree.value["chains"][section.name] = {}
        self.places[self._chain] = section.place

    def drop(self) -> None:
        del self.tree.value["chains"][self._chain[1]]

    def put(self, path: Loc, value: object, place: Place) -> None:
        *blocks, name = path
        block = self.tree.at(self._chain)
        for step in blocks:
            block = block.setdefault(step, {})
        block[name] = value
        self.places[*self._chain, *blocks, name] = place

    def take(self, old: Old, item: Item) -> None:
        try:
            self.put(tuple(old.becomes.split(".")), old.read(item.text), item.place)
        except ValueError as error:
            self.report.error(item.place, *error.args)


def _open_socket(port: int | str) -> dict[str, Any]:
    return {"port": port, "bind": EVERYWHERE, "security": Security.TRUSTED_NETWORK}


def _server_section(section: Section, building: _Building, report: Report, port: int) -> None:
    items = section.items
    listens = "listen" in items and "origin" not in items
    if "request_port" in items:
        _open_for_requests(section, building)
    for key, item in items.items():
        if key in SERVER:
            building.take(SERVER[key], item)
        elif key == "unpack" and "request_port" not in items:
            building.put(("filesystem", "archive"), _archive(item.text), item.place)
        elif key in LISTEN and listens:
            _listening(key, item, section, building)
        elif key not in _BARE and not key.startswith(_NESTED):
            _not_taken(key, item, section, report, port)
    if listens:
        _listen_somewhere(section, building)
    _unpacking(section, building, "prog")
    _connection_parameters(items, building)


def _open_for_requests(section: Section, building: _Building) -> None:
    building.put(("request",), _open_socket("0"), section.place)
    building.put(("allow",), [EVERYTHING], section.place)
    building.report.warn(
        section.place,
        f"port {section.items['request_port'].text} takes requests on all interfaces, for every destination,"
        " as INI files always did",
        f"{_CLOSE} with `allow`, and with `bind` and `security` under `request`",
    )


def _archive(text: str) -> str | None:
    return None if _is_off(text) else text


def _listen_somewhere(section: Section, building: _Building) -> None:
    if not {"nameserver", "addresses"} & set(section.items):
        building.put(("listen", "nameserver"), "localhost", section.place)


def _listening(key: str, item: Item, section: Section, building: _Building) -> None:
    """An option of a chain that listens."""
    if key == "nameserver":
        nobody = _is_off(item.text) or item.text.strip() == "0"
        building.put(("listen", "nameserver"), "no" if nobody else item.text, item.place)
    elif key in _LISTEN_IDLE:
        building.report.warn(item.place, "changes nothing here", "remove it")
    elif not (key == "listen" and "topics" in section.items):
        building.take(LISTEN[key], item)


def _mirror_section(section: Section, building: _Building, report: Report, port: int) -> None:
    items = section.items
    building.put(("heartbeat_alarm_scale",), "0", section.place)
    building.put(("delete",), "no", section.place)
    if "request_port" in items:
        _open_for_requests(section, building)
    else:
        report.error(Place(section.place.line, f"{section.place.key} request_port"), "is missing", "add it")
    for key, item in items.items():
        if key in MIRROR:
            building.take(MIRROR[key], item)
        elif key == "compression" and not _is_off(item.text):
            report.warn(
                item.place, "unpacks nothing at a mirror; it deletes its copies", "write `delete = True`"
            )
            building.put(("delete",), "yes", item.place)
        elif key not in _BARE and key not in _IDLE and not key.startswith(_NESTED):
            _not_taken(key, item, section, report, port)
    _connection_parameters(items, building)
    _heartbeat(items, building, report)
    _tell_destination(items, report)


def _move_section(section: Section, building: _Building, report: Report) -> None:
    for key, item in section.items.items():
        if key in MOVE:
            building.take(MOVE[key], item)
        elif key == "listen":
            report.error(
                item.place,
                "is not done by `tranship move`",
                "use `tranship dispatcher`, which hears messages",
            )
        elif key in ("publish_port", "publisher_port"):
            report.warn(item.place, "is not read", "give the port with -p; without it nobody is told")
        elif key in ("prog", "working_directory") and _is_off(_text(section, "compression")):
            report.warn(item.place, "does nothing without `compression`", "remove it")
        elif key not in _BARE and not key.startswith(_NESTED) and key not in ("compression", *_NEEDS):
            meant = nearest(key, MOVE)
            report.warn(item.place, "is read by nobody", f"did you mean `{meant}`?" if meant else "remove it")
    _unpacking(section, building, "prog")
    _connection_parameters(section.items, building)


def _not_taken(key: str, item: Item, section: Section, report: Report, port: int) -> None:
    needs = _NEEDS.get(key)
    if key in ("publish_port", "publisher_port"):
        if item.text != str(port):
            report.warn(item.place, f"is not read; the port is {port}", "give another one with -p")
    elif key == "unpack":
        report.warn(item.place, "does nothing beside `request_port`", "remove it")
    elif key == "origin_inotify_base_dir_skip_levels":
        report.warn(item.place, "is not needed", "directories with fields are watched anyway; remove it")
    elif needs and not _is_off(item.text) and _is_off(_text(section, needs)):
        report.warn(item.place, f"does nothing without `{needs}`", "remove it")
    elif not needs and key != "compression":
        meant = nearest(key, [*SERVER, *_NEEDS, "listen", "compression"])
        report.warn(item.place, "is read by nobody", f"did you mean `{meant}`?" if meant else "remove it")


def _connection_parameters(items: Mapping[str, Item], building: _Building) -> None:
    for key, item in items.items():
        if key in _BARE:
            building.put(("connection_parameters", key), item.text, item.place)
        elif key.startswith(_NESTED):
            try:
                building.put(tuple(key.split("__")), _switched(item.text), item.place)
            except (AttributeError, TypeError):
                building.report.error(item.place, "is a block and a value at once", "rename one of the two")


def _client_section(section: Section, building: _Building, report: Report) -> None:
    items = section.items
    building.put(("publish",), _open_socket("0"), section.place)
    building.put(("nameservers",), "multicast", section.place)
    building.put(("heartbeat_alarm_scale",), "0", section.place)
    report.warn(
        section.place,
        "publishes on all interfaces, as INI files always did",
        f"{_CLOSE} with `bind` and `security` under `publish`",
    )
    for key, item in items.items():
        if key in CLIENT:
            building.take(CLIENT[key], item)
        elif key in _UNPACKING:
            _alone(key, item, section, report)
        elif key != "heartbeat":
            _replacement(key, item, building, report)
    _unpacking(section, building, "xritdecompressor")
    _heartbeat(items, building, report)
    _tell_destination(items, report)


def _alone(key: str, item: Item, section: Section, report: Report) -> None:
    """An option of unpacking, in a client."""
    if key in ("working_directory", "block_size"):
        report.warn(item.place, "is not needed: the work is done where the results go", "remove it")
    elif key != "compression" and not _is_off(item.text) and _is_off(_text(section, "compression")):
        report.warn(item.place, "does nothing without `compression`", "remove it")


def _unpacking(section: Section, building: _Building, program: str) -> None:
    """`compression` and what goes with it; program: the option that names the program for xrit."""
    items = section.items
    compression = items.get("compression")
    if compression is None or _is_off(compression.text):
        return
    known = _FORMATS if program == "xritdecompressor" else {k: v for k, v in _FORMATS.items() if k != "tar"}
    form = known.get(compression.text.strip())
    if form is None:
        building.report.error(
            compression.place, f"{given(compression.text)} does not fit", f"give {' or '.join(known)}"
        )
        return
    if form == "xrit" and program not in items:
        building.report.error(compression.place, f"needs `{program}`", "give the full path of the program")
        return
    building.put(("unpack", "format"), form, compression.place)
    if program in items and form == "xrit":
        building.put(("unpack", "command"), [items[program].text], items[program].place)
    elif program in items:
        building.report.warn(items[program].place, "does nothing without `compression = xrit`", "remove it")
    if (
        "delete" in items and building.tree.value["role"] != "move"
    ):  # there the chain's own does it, at the end
        building.put(("unpack", "delete"), items["delete"].text, items["delete"].place)
    if "remove_delay" in items and "origin" in items and "request_port" not in items:  # a stand-alone server
        building.put(("unpack", "keep"), items["remove_delay"].text, items["remove_delay"].place)
    if program == "prog":
        given_folder = items.get("working_directory")
        folder = given_folder.text if given_folder else tempfile.gettempdir()
        place = (given_folder or compression).place
        building.put(("unpack", "directory"), folder, place)


def _replacement(key: str, item: Item, building: _Building, report: Report) -> None:
    building.put(("replace", key), _old_and_new(item.text), item.place)
    meant = nearest(key, [*CLIENT, *_UNPACKING, "heartbeat"], cutoff=0.8)
    if meant:
        report.warn(item.place, "replaces the metadata item of this name", f"or did you mean `{meant}`?")


def _heartbeat(items: Mapping[str, Item], building: _Building, report: Report) -> None:
    item = items.get("heartbeat")
    if item and item.text.lower() in ("0", "no", "false", "off"):
        building.put(("heartbeat_alarm_scale",), "0", item.place)
    elif item and item.text.lower() not in _YES:
        report.error(item.place, f"{given(item.text)} does not fit", "give True or False")


def _tell_destination(items: Mapping[str, Item], report: Report) -> None:
    item = items.get("destination")
    if item and _CREDENTIALS.match(item.text):
        report.warn(item.place, "holds credentials, which are not used", "put them into `login`")
    elif item and re.search(r"\s", item.text):
        report.warn(item.place, "is one path with a blank in it", "for two destinations, write two sections")


def _text(section: Section, key: str) -> str:
    return section.items[key].text if key in section.items else ""


def _is_off(text: str) -> bool:
    return text.strip().lower() in ("", "0") or is_no(text.strip())


# ---- how their texts are read


def _info(text: str) -> dict[str, object]:
    """k=v;k2=a,b: a value with commas is a list."""
    pairs = [part.split("=", 1) for part in text.split(";") if part.strip()]
    if any(len(pair) < 2 for pair in pairs):
        raise ValueError("a part has no `=`", "write it as key=value;key2=a,b")
    return {key.strip(): value.strip().split(",") if "," in value else value.strip() for key, value in pairs}


def _old_and_new(text: str) -> str | dict[str, str]:
    """A constant, or old:new|old2:new2."""
    pairs = [part.split(":") for part in text.split("|")]
    return dict(pairs) if all(len(pair) == 2 for pair in pairs) else text


def _switched(text: str) -> bool | str:
    return {"0": False, "false": False, "1": True, "true": True}.get(text.lower(), text)


def _name_servers(text: str) -> str:
    return "multicast" if text.lower() in _YES else "no" if text == "0" else text


def _login(text: str) -> str | None:
    return text or None


_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z0-9+.-]+://)(?P<login>[^/]*@)")


def _destination(text: str) -> str:
    """Theirs may lack the scheme; a file or scp destination is a folder in any case."""
    url = _CREDENTIALS.sub(r"\g<scheme>", f"file://{text}" if text.startswith("/") else text)
    folder = url.startswith(("file:", "scp:")) and not url.endswith("/")
    return f"{url}/" if folder else url


def _folder(text: str) -> str:
    url = _destination(text)
    return url if url.endswith("/") else f"{url}/"


def _destinations(text: str) -> list[dict[str, str]]:
    """URLs with blanks between them, each perhaps with its login."""
    return [_with_login(word) for word in text.split()]


def _with_login(text: str) -> dict[str, str]:
    match = _CREDENTIALS.match(text)
    login = {"login": match["login"].removesuffix("@")} if match else {}
    return {"url": _folder(text), **login}


SERVER: Mapping[str, Old] = MappingProxyType(
    {
        "origin": Old("origin"),
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

CLIENT: Mapping[str, Old] = MappingProxyType(
    {
        "providers": Old("providers", "a topic behind an address replaces the section's there"),
        "destination": Old(
            "destination", "no scheme: `file`; `file` and `scp`: always a folder", _destination
        ),
        "login": Old("login", "", _login),
        "topic": Old("topic"),
        "publish_port": Old("publish.port"),
        "nameservers": Old("nameservers", "not given: multicast", _name_servers),
        "processing_delay": Old("processing_delay", "in seconds"),
        "heartbeat_alarm_scale": Old("heartbeat_alarm_scale", "not given, or `heartbeat = False`: 0"),
        "req_timeout": Old("req_timeout", "in seconds"),
        "transfer_req_timeout": Old("transfer_req_timeout", "in seconds"),
        "create_target_directory": Old("create_target_directory", "made with the umask, not with mode 0777"),
        "ftp_root": Old("ftp_root"),
        "backup_targets": Old("backup_targets"),
    }
)

LISTEN: Mapping[str, Old] = MappingProxyType(
    {
        "listen": Old("listen.topics", "a topic, unless `topics` is given"),
        "topics": Old("listen.topics"),
        "addresses": Old("listen.addresses"),
        "services": Old("listen.services"),
        "nameserver": Old("listen.nameserver", "not given, and no `addresses`: localhost"),
        **{key: Old("", "changes nothing here") for key in ("addr_listener", "timeout", "translate")},
    }
)

_LISTEN_IDLE = frozenset({"addr_listener", "timeout", "translate"})

MIRROR: Mapping[str, Old] = MappingProxyType(
    {
        **{key: SERVER[key] for key in SERVER if key not in ("origin", "topic", "info", "watchdog_timeout")},
        **{
            key: CLIENT[key]
            for key in CLIENT
            if key not in ("topic", "publish_port", "nameservers", "processing_delay", "backup_targets")
        },
        "client_topic": Old("topic", "not given, and no topic behind a provider: an error"),
        "destination": Old("destination", "no scheme: `file`; always a folder", _folder),
        "delay": Old("delay", "in seconds"),
        "delete": Old("delete", "not given: no, copies stay"),
    }
)

MOVE: Mapping[str, Old] = MappingProxyType(
    {
        **{key: SERVER[key] for key in ("origin", "topic", "info")},
        "destinations": Old(
            "destinations", "a login in a URL becomes `login`; always folders", _destinations
        ),
        "delete": Old("delete", "when every destination has the file; there: when one has, or none"),
        "watchdog_timeout": SERVER["watchdog_timeout"],
    }
)

_IDLE = frozenset({"origin", "topic", "info", "listen", "heartbeat", "watchdog_timeout"})
"""What their mirror needs, or takes, beside these, and what changes nothing."""

_NESTED = "connection_parameters__"
_BARE = frozenset({"connection_uptime", "ssh_key_filename", "ssh_connection_timeout", "ssh_private_key_file"})
_NEEDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("prog", "working_directory"), "compression"),
        **dict.fromkeys(
            ("topics", "services", "addresses", "nameserver", "addr_listener", "timeout"), "listen"
        ),
        "translate": "listen",
    }
)
_FORMATS: Mapping[str, str] = MappingProxyType({"tar": "tar", "xrit": "xrit", "bzip": "bzip2"})
_UNPACKING = frozenset({"compression", "xritdecompressor", "working_directory", "delete", "block_size"})
_YES = frozenset({"1", "yes", "true", "on"})
