"""The YAML files of Trollmoves' dispatcher, fetcher and S3 downloader, as they are, turned into our options.

They say nothing of who may hear or be heard, so they keep their old reach: name servers, every interface.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import yaml

from tranship.config.endpoints import EVERYWHERE, Security
from tranship.config.findings import Place, Report, nearest
from tranship.config.kinds import is_no
from tranship.config.tree import Loc, Plain, Tree
from tranship.core.allow import EVERY_FILE, EVERYTHING
from tranship_movers.errors import Misconfigured
from tranship_movers.registry import mover_class

_HOST = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://((?P<login>.*)@)?(?P<host>[^@/]*)/*(?P<path>[^@]*)"
)


def modernised(
    tree: Tree, report: Report, port: int | None, name_servers: tuple[str, ...] | None
) -> Tree | None:
    """The tree of an old file in our words; None if it is none. port, name_servers: of the command line, to publish."""
    for is_it, read in _KINDS:
        if "role" not in tree.value and is_it(tree.value):
            reading = _Reading(tree, report, port, name_servers)
            read(reading)
            return Tree(reading.value, reading.places, old=True)
    return None


class _Reading:
    """An old tree, and the new one that it becomes."""

    def __init__(
        self, old: Tree, report: Report, port: int | None, name_servers: tuple[str, ...] | None
    ) -> None:
        self.old = old
        self.report = report
        self.port = port
        self.name_servers = name_servers
        self.value: dict[str, Any] = {}
        self.places: dict[Loc, Place] = {(): Place(1)}

    def put(self, loc: Loc, value: object, place: Place) -> None:
        """Set the value at loc, which stands at place in the old file."""
        *blocks, name = loc
        block: Any = self.value
        for step in blocks:
            block = block.setdefault(step, {}) if isinstance(block, dict) else block[int(step)]
        block[name] = value
        self.places[loc] = place

    def take(self, new: Loc, old: Loc, read: Callable[[Any], Any] = lambda value: value) -> None:
        """Set the value at new to what read makes of the old one, with all its lines; nothing, if there is none."""
        value = self.old.at(old)
        if value is None:
            return
        self.put(new, read(value), self.old.place(old))
        for loc, place in self.old.places.items():
            if loc[: len(old)] == old:
                self.places[(*new, *loc[len(old) :])] = place

    def publish(self, port: int) -> None:
        """Publish at port, as they always did."""
        self.value["publish"] = {"port": port, "bind": EVERYWHERE, "security": Security.TRUSTED_NETWORK}
        named = self.name_servers
        self.value["nameservers"] = "multicast" if named is None else list(named) if named else "no"
        told = "publishes on all interfaces, as these files always did"
        self.report.warn(Place(1), told, "to close it, write the file in our YAML (docs/configuration.md)")

    def hear(self, chain: Loc, block: Loc, addresses: str, server: str, services: str) -> None:
        """Whom a chain hears: addresses, and what a name server (this host's, if nothing is said) knows."""
        self.take((*chain, "providers"), (*block, addresses), _addresses)
        named = self.old.at((*block, server))
        if not is_no(named) or not self.old.at((*block, addresses)):
            asked = "localhost" if not named or is_no(named) else named
            self.put((*chain, "lookup"), [asked], self.old.place((*block, server)))
        found = self.old.at((*block, services))
        if found:
            names = [found] if isinstance(found, str) else found
            self.put((*chain, "services"), names, self.old.place((*block, services)))

    def host(self, new: Loc, old: Loc) -> None:
        """A host, whose URL may hold a login, and a path that was never used."""
        url = self.old.at(old)
        match = _HOST.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            self.take(new, old)
            return
        place = self.old.place(old)
        self.put(new, f"{match['scheme']}://{match['host']}", place)
        if match["login"] is not None:
            self.put((*new[:-1], "login"), unquote(match["login"]), place)
        if match["path"]:
            self.report.warn(
                place, "holds a path, which is not used", "put it into `directory`, if it is meant"
            )

    def unread(self, block: Loc, known: tuple[str, ...]) -> None:
        """Warn of keys that nobody reads."""
        inside = self.old.at(block) if block else self.old.value
        for key in inside if isinstance(inside, dict) else ():
            if key not in known:
                meant = nearest(key, known)
                advice = f"did you mean `{meant}`?" if meant else "remove it"
                self.report.warn(self.old.place((*block, key)), "is read by nobody", advice)


# ---- dispatcher

_SUBSCRIBER = "posttroll_subscriber"
_TARGET = (
    *("host", "directory", "filepattern", "publish_topic", "aliases", "connection_parameters"),
    "dispatch_configs",
)
_ROUTE = ("topics", "conditions", "host", "directory", "filepattern", "aliases", "connection_parameters")


def _is_dispatcher(value: Mapping[str, Any]) -> bool:
    return any(isinstance(block, dict) and "dispatch_configs" in block for block in value.values())


def _dispatcher(reading: _Reading) -> None:
    reading.value |= {"role": "dispatcher", "chains": {}}
    if reading.port is not None:
        reading.publish(reading.port)
    told = "sends whatever file of this host a message names, as these files always did"
    reading.report.warn(Place(1), told, "to close it, write the file in our YAML, with `allow`")
    reading.unread((_SUBSCRIBER,), ("subscribe_addresses", "nameserver", "subscribe_services"))
    for name, block in reading.old.value.items():
        if name == _SUBSCRIBER:
            continue
        if not isinstance(block, dict):
            place = reading.old.place((name,))
            reading.report.error(place, "is no block of options", "give a target's, or remove it")
            continue
        _target(reading, name, block)


def _target(reading: _Reading, name: str, block: dict[str, Any]) -> None:
    chain: Loc = ("chains", name)
    reading.put(chain, {}, reading.old.place((name,)))
    reading.put((*chain, "allow"), [EVERY_FILE], Place(1))
    reading.unread((name,), _TARGET)
    reading.hear(chain, (_SUBSCRIBER,), "subscribe_addresses", "nameserver", "subscribe_services")
    reading.host((*chain, "host"), (name, "host"))
    for key in ("filepattern", "connection_parameters"):
        reading.take((*chain, key), (name, key))
    reading.take((*chain, "directory"), (name, "directory"), _folder_at(block.get("host")))
    if reading.port is not None:
        reading.take((*chain, "publish_topic"), (name, "publish_topic"))
    reading.take((*chain, "aliases"), (name, "aliases"), _typed)
    configs = block.get("dispatch_configs")
    place = reading.old.place((name, "dispatch_configs"))
    if not isinstance(configs, list):
        reading.put((*chain, "routes"), configs, place)
        return
    reading.put((*chain, "routes"), [{} for _ in configs], place)
    for n in range(len(configs)):
        old, new = (name, "dispatch_configs", n), (*chain, "routes", n)
        if not isinstance(configs[n], dict):
            continue
        reading.places[new] = reading.old.place(old)
        reading.unread(old, _ROUTE)
        reading.host((*new, "host"), (*old, "host"))
        for key in ("topics", "filepattern", "connection_parameters"):
            reading.take((*new, key), (*old, key))
        at = _folder_at(configs[n].get("host", block.get("host")))
        reading.take((*new, "directory"), (*old, "directory"), at)
        for key in ("conditions", "aliases"):
            reading.take((*new, key), (*old, key), _typed)


def _folder_at(host: object) -> Callable[[Any], Any]:
    """How a folder at host is read: on this one, it may be seen from where the process is started."""
    return lambda text: (
        text if host or not isinstance(text, str) or text[:1] in ("/", "{", "") else _full(text)
    )


# ---- fetcher


def _is_fetcher(value: Mapping[str, Any]) -> bool:
    return {"destination", "subscriber_config"} <= value.keys()


def _fetcher(reading: _Reading) -> None:
    chain = _fetching(reading, "fetcher")
    reading.unread((), ("destination", "subscriber_config", "publisher_config"))
    known = ("addresses", "nameserver", "services", "topics", "message_filter", "translate", "timeout")
    reading.unread(("subscriber_config",), (*known, "addr_listener", "port"))
    reading.hear(chain, ("subscriber_config",), "addresses", "nameserver", "services")
    reading.take((*chain, "topics"), ("subscriber_config", "topics"))
    if reading.old.at(("subscriber_config", "topics")) is None:
        reading.put((*chain, "topics"), [""], reading.old.place(("subscriber_config",)))
    reading.take((*chain, "directory"), ("destination",), _full)
    publisher = reading.old.at(("publisher_config",))
    settings = publisher if isinstance(publisher, dict) else {}
    reading.unread(("publisher_config",), ("name", "port", "nameservers", "address", *_UNUSED_TO_PUBLISH))
    reading.publish(settings.get("port") or 0)
    reading.take(("name",), ("publisher_config", "name"))
    named = settings.get("nameservers")
    place = reading.old.place(("publisher_config", "nameservers"))
    if is_no(named) and settings.get("address"):  # counts for something only then, as there
        reading.take(("publish", "port"), ("publisher_config", "address"), _port_of)
    if named and reading.name_servers is None:
        if is_no(named) and reading.value["publish"]["port"] in (0, "0"):
            named = "multicast"  # as there: nobody could know it otherwise
        reading.put(("nameservers",), "no" if is_no(named) else named, place)


def _port_of(address: str) -> str:
    """The port of tcp://host:port; of anything else, what is no port, to be told."""
    return address.rpartition(":")[2] if address.startswith("tcp://") else address


_UNUSED_TO_PUBLISH = ("aliases", "broadcast_interval", "min_port", "max_port")

# ---- S3 downloader


def _is_downloader(value: Mapping[str, Any]) -> bool:
    return "subscribe-topic" in value


def _downloader(reading: _Reading) -> None:
    chain = _fetching(reading, "s3downloader")
    known = ("subscribe-topic", "publish-topic", "bucket", "download_destination", "s3_kwargs", "services")
    reading.unread((), (*known, "subscriber_addresses", "nameserver", "logging"))
    if "logging" in reading.old.value:
        advice = "`-v` says more, `-l FILE` says it to a file, which logrotate turns"
        reading.report.warn(reading.old.place(("logging",)), "is not used", advice)
    reading.take((*chain, "topics"), ("subscribe-topic",))
    reading.take((*chain, "publish_topic"), ("publish-topic",))
    reading.hear(chain, (), "subscriber_addresses", "nameserver", "services")
    reading.take((*chain, "source"), ("bucket",), lambda bucket: f"s3://{str(bucket).strip('/')}/")
    reading.put((*chain, "directory"), os.path.abspath("."), Place(1))
    reading.take((*chain, "directory"), ("download_destination",), _full)
    reading.take((*chain, "connection_parameters"), ("s3_kwargs",))
    reading.publish(0)


def _fetching(reading: _Reading, name: str) -> Loc:
    chain: Loc = ("chains", name)
    reading.value |= {"role": "fetch", "name": name, "chains": {}}
    reading.put(chain, {}, Place(1))
    reading.put((*chain, "allow"), _unlimited(), Place(1))
    told = "fetches whatever a message says, files of this host too, as these files always did"
    reading.report.warn(Place(1), told, "to close it, write the file in our YAML, with `allow`")
    return chain


def _unlimited() -> list[str]:
    """Every place: `**`, and what it does not cover, files of this host and the stores that only fsspec reads."""
    stores = [scheme for scheme in ("gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs") if _is_read(scheme)]
    return [EVERYTHING, EVERY_FILE, *(f"{scheme}://*/**" for scheme in stores)]


def _is_read(scheme: str) -> bool:
    try:
        mover_class(scheme)
    except Misconfigured:
        return False
    return True


def _full(value: Any) -> Any:
    """A path, as seen from where the process is started."""
    return os.path.abspath(value.removeprefix("file://")) if isinstance(value, str) else value


def _addresses(value: Any) -> Any:
    return re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else value


def _typed(value: Any) -> Any:
    """A value as PyYAML would have read it: there `yes` is a truth value, and 010 is 8."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return yaml.safe_load(value) if isinstance(value, Plain) else value


_KINDS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[_Reading], None]], ...] = (
    (_is_dispatcher, _dispatcher),
    (_is_fetcher, _fetcher),
    (_is_downloader, _downloader),
)
