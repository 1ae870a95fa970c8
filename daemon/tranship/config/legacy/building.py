"""What the INI files of all roles have in common: a tree filled option by option, and how texts are read."""

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tranship.config.endpoints import EVERYWHERE, Security
from tranship.config.findings import Place, Report
from tranship.config.ini_file import Item, Section
from tranship.config.kinds import given, is_no
from tranship.config.tree import Loc, Tree
from tranship.core.allow import EVERYTHING

_PORT = 9010

CLOSE = "to close it, write the file in YAML (docs/configuration.md)"


@dataclass(frozen=True, slots=True)
class Old:
    """What an option of an INI file becomes: the key path in a chain, how its text is read, what differs."""

    becomes: str
    note: str = ""
    read: Callable[[str], object] = str


class Building:
    """A tree, filled option by option."""

    def __init__(self, report: Report, top: dict[str, Any]) -> None:
        self.report = report
        self.places: dict[Loc, Place] = {(): Place(1), ("chains",): Place(1)}
        self.tree = Tree(top | {"chains": {}}, self.places, glue=" ", old=True)
        self._chain: Loc = ()

    def filled(self, sections: list[Section], fill: Callable[[Section, "Building"], None]) -> Tree:
        """The tree, a chain for each of sections, of which fill takes the options."""
        for section in sections:
            self._begin(section)
            fill(section, self)
        return self.tree

    def _begin(self, section: Section) -> None:
        self._chain = ("chains", section.name)
        self.tree.value["chains"][section.name] = {}
        self.places[self._chain] = section.place

    def put(self, path: Loc, value: object, place: Place) -> None:
        """Set the option at path, of the chain; it stands at place in the file."""
        *blocks, name = path
        block = self.tree.at(self._chain)
        for n, step in enumerate(blocks, start=1):
            block = block.setdefault(step, {})
            self.places.setdefault((*self._chain, *blocks[:n]), place)
        block[name] = value
        self.places[*self._chain, *blocks, name] = place

    def take(self, old: Old, item: Item) -> None:
        """Set what an old option becomes."""
        try:
            self.put(tuple(old.becomes.split(".")), old.read(item.text), item.place)
        except ValueError as error:
            self.report.error(item.place, *error.args)


def publishing(role: str, port: int | None, report: Report) -> Building:
    """A tree to be filled, of a role that publishes; port: from the command line (None: their default)."""
    port = _PORT if port is None else port
    report.warn(Place(1), f"publishes on port {port} of all interfaces, as INI files always did", CLOSE)
    return Building(report, {"role": role, "publish": open_socket(port)})


def open_socket(port: int | str) -> dict[str, Any]:
    """A socket that whoever reaches the host can use, as always."""
    return {"port": port, "bind": EVERYWHERE, "security": Security.TRUSTED_NETWORK}


def open_for_requests(section: Section, building: Building) -> None:
    """Take requests from everybody, for every destination, as always; and say so."""
    building.put(("request",), open_socket("0"), section.place)
    building.put(("allow",), [EVERYTHING], section.place)
    building.report.warn(
        section.place,
        f"port {section.items['request_port'].text} takes requests on all interfaces, for every destination,"
        " as INI files always did",
        f"{CLOSE} with `allow`, and with `bind` and `security` under `request`",
    )


def connection_parameters(items: Mapping[str, Item], building: Building) -> None:
    """The options of movers among items. An empty one says nothing."""
    for key, item in items.items():
        if not item.text:
            continue
        if key in BARE:
            building.put(("connection_parameters", key), item.text, item.place)
        elif key.startswith(NESTED):
            try:
                building.put(tuple(key.split("__")), _switched(item.text), item.place)
            except (AttributeError, TypeError):
                building.report.error(item.place, "is a block and a value at once", "rename one of the two")


def unpacking(section: Section, building: Building, program: str) -> None:
    """`compression` and what goes with it; program: the option that names the program for xrit."""
    items = section.items
    compression = items.get("compression")
    if compression is None or is_off(compression.text):
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
        building.put(("unpack", "delete"), switch(items["delete"].text), items["delete"].place)
    if "remove_delay" in items and "origin" in items and "request_port" not in items:  # a stand-alone server
        building.put(("unpack", "keep"), items["remove_delay"].text, items["remove_delay"].place)
    if program == "prog":
        folder, place = (
            text_of(section, "working_directory"),
            items.get("working_directory", compression).place,
        )
        building.put(("unpack", "directory"), whole(folder) if folder else tempfile.gettempdir(), place)


def heartbeat(items: Mapping[str, Item], building: Building, report: Report) -> None:
    """`heartbeat`: whether missed ones of a provider are of any concern."""
    item = items.get("heartbeat")
    if item and item.text.lower() in ("", "0", "no", "false", "off"):
        building.put(("heartbeat_alarm_scale",), "0", item.place)
    elif item and item.text.lower() not in YES:
        report.error(item.place, f"{given(item.text)} does not fit", "give True or False")


def tell_destination(items: Mapping[str, Item], report: Report) -> None:
    """Say what is odd about a destination."""
    item = items.get("destination")
    if item and CREDENTIALS.match(item.text):
        report.warn(item.place, "holds credentials, which are not used", "put them into `login`")
    elif item and re.search(r"\s", item.text):
        report.warn(item.place, "is one path with a blank in it", "for two destinations, write two sections")


def text_of(section: Section, key: str) -> str:
    """The text of an option; "" if it is not there."""
    return section.items[key].text if key in section.items else ""


def switch(text: str) -> str:
    """The text of a switch, of which an empty one is off."""
    return text or "no"


def whole(text: str) -> str:
    """A path, as seen from where the process is started."""
    return text if text.startswith("/") or not text else os.path.abspath(text)


def is_off(text: str) -> bool:
    """Whether text means no, or nothing."""
    return text.strip().lower() in ("", "0") or is_no(text.strip())


def _switched(text: str) -> bool | str:
    return {"0": False, "false": False, "1": True, "true": True}.get(text.lower(), text)


CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z0-9+.-]+://)(?P<login>[^/]*@)")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>/.*)", re.DOTALL)


def destination(text: str) -> str:
    """Theirs may lack the scheme, or its two slashes; a file or scp destination is a folder in any case.

    So is a whole bucket.
    """
    match = _SCHEME.fullmatch(text)
    scheme, rest = (match["scheme"].lower(), match["rest"]) if match else ("file", text)
    if not rest.startswith("/"):
        return text
    url = CREDENTIALS.sub(r"\g<scheme>", f"{scheme}:{'' if match and rest.startswith('//') else '//'}{rest}")
    is_folder = scheme in ("file", "scp") or (scheme == "s3" and "/" not in url.removeprefix("s3://"))
    return f"{url}/" if is_folder and not url.endswith("/") else url


def folder(text: str) -> str:
    """The same, as a folder in any case."""
    url = destination(text)
    return url if url.endswith("/") else f"{url}/"


NESTED = "connection_parameters__"
BARE = frozenset({"connection_uptime", "ssh_key_filename", "ssh_connection_timeout", "ssh_private_key_file"})
_FORMATS: Mapping[str, str] = MappingProxyType({"tar": "tar", "xrit": "xrit", "bzip": "bzip2"})
YES = frozenset({"1", "yes", "true", "on"})
