"""How publishers are found: their beats, posttroll's name server, and making oneself known to it.

    REQ   name server:5557    /oper/ns request {"service": name}   ->  /oper/ns info [{"URI", "service"}, …]
    SUB   name server:16543   /address/… info {"URI", "service", "status": false if it is gone}
    REQ   name server:21200   /address/<name> info {"URI", "service"}, every 2 s  ->  ok
    UDP   225.0.0.212:21200   the same message, to whatever name servers there are

All but UDP is encrypted where there are keys; posttroll's name server keeps its ports then, too.

Nothing here starts a task. What goes on for ever (`follow`, `register`, `multicast`) is for the role's TaskGroup;
a name server that is silent is told of once, and again after it has answered.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

from tranship.wire.contract import Asker, Bus, BusError, OnOddity, Subscription, host_and_port
from tranship.wire.messages import Message, compose

TELL_EVERY = 2.0
"""Seconds between two cards; a name server forgets who was silent for 10 minutes."""
ASK_EVERY = 60.0
"""Seconds between two questions for all publishers of a service, beside listening to changes."""
ASK_THE_SILENT_EVERY = 5.0
"""Seconds before a name server that did not answer is asked again."""
DATAGRAM = 1024
"""Bytes; posttroll's name server cuts off what is beyond, and chokes on the rest."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a name server is asked, tells of changes, and takes cards."""

    questions: int = 5557
    changes: int = 16543
    cards: int = 21200

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """As posttroll's settings say. Raises BusError for what is no port."""
        return cls(
            _number(settings, "nameserver_port", cls().questions),
            _number(settings, "address_publish_port", cls().changes),
            _number(settings, "broadcast_port", cls().cards),
        )


@dataclass(frozen=True, slots=True)
class Multicast:
    """Where cards go to if no name server is named. ttl counts routers; interface is an own IP address."""

    group: str = "225.0.0.212"
    port: int = 21200
    interface: str = ""
    ttl: int = 31

    def __post_init__(self) -> None:
        try:
            group = ipaddress.IPv4Address(self.group)
            _ = self.interface and ipaddress.IPv4Address(self.interface)
        except ValueError as error:
            raise BusError(f"multicast: {error}") from None
        if not group.is_multicast and self.group not in _BROADCASTS:
            raise BusError(f"multicast: {self.group} is no multicast group")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """As posttroll's settings say. Raises BusError for what can't be."""
        return cls(
            str(settings.get("mc_group") or cls().group),
            _number(settings, "broadcast_port", cls().port),
            str(settings.get("multicast_interface") or ""),
            _number(settings, "mc_ttl", cls().ttl),
        )


@dataclass(frozen=True, slots=True)
class Card:
    """What a publisher makes known of itself: its name, where it can be heard (and how), and its other names."""

    name: str
    address: str
    aliases: tuple[str, ...] = ()
    encrypted: bool = False

    def message(self) -> Message:
        """The card as it goes over the wire. Raises Unsendable if the name is not one word."""
        data = {
            "URI": told_address(self.address),
            "service": [self.name, *self.aliases],
            "supported_message_version": "v1.2",
            "backend": "secure_zmq" if self.encrypted else "unsecure_zmq",
        }
        return compose(f"/address/{self.name}", "info", data)


@dataclass(frozen=True, slots=True)
class Found:
    """A publisher that a name server tells of: where it can be heard, and the services it offers."""

    address: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A publisher has come, or (not `present`) has gone."""

    publisher: Found
    present: bool


class NameServerSilent(BusError):
    """A name server did not answer in time."""


def beat(name: str, interval: float) -> Message:
    """The heartbeat of a publisher that beats every so many seconds."""
    return compose(f"/heartbeat/{name}", "beat", {"min_interval": interval})


def min_interval(message: Message) -> float | None:
    """The interval that a heartbeat tells (seconds), or None."""
    told = message.fields.get("min_interval")
    return float(told) if isinstance(told, (int, float)) and abs(told) < 1e9 else None


async def publishers(bus: Bus, name_server: str, service: str, ports: Ports, patience: float) -> list[Found]:
    """The publishers of service ("": of any) that name_server knows now. Raises NameServerSilent."""
    with closing(bus.asker(_address(name_server, ports.questions), many=False)) as asker:
        return await _publishers(asker, name_server, service, patience)


async def follow(
    bus: Bus,
    name_server: str,
    services: Sequence[str],
    ports: Ports,
    on_oddity: OnOddity,
    every: float = ASK_EVERY,
    patience: float = 10.0,
) -> AsyncIterator[Change]:
    """The publishers of any of services (of all, if "" is among them): first those there are, then each change.

    For ever. Only what a name server says is gone is gone: that it forgot, or does not answer, changes nothing.
    """
    present: set[str] = set()
    told = _Once(on_oddity, name_server)
    loop = asyncio.get_running_loop()
    with (
        closing(bus.subscription()) as ears,
        closing(bus.asker(_address(name_server, ports.questions), many=False)) as asker,
    ):
        ears.add(_address(_host(name_server), ports.changes), ["/address"])
        while True:
            found = await _all_publishers(asker, name_server, services, patience, told)
            ask_again = loop.time() + (min(every, ASK_THE_SILENT_EVERY) if told.in_trouble else every)
            for publisher in found:
                for change in _news(Change(publisher, True), services, present):
                    yield change
            while loop.time() < ask_again:
                for change in await _heard_until(ears, ask_again):
                    for news in _news(change, services, present):
                        yield news


async def register(
    bus: Bus,
    card: Card,
    name_server: str,
    ports: Ports,
    on_oddity: OnOddity,
    every: float = TELL_EVERY,
    patience: float = 10.0,
) -> None:
    """Make card known to one name server, for ever (one such call for each)."""
    told = _Once(on_oddity, name_server)
    with closing(bus.asker(_address(name_server, ports.cards), many=False)) as asker:
        while True:
            asker.ask(card.message(), _TICKET, patience)
            [answer] = await asker.answered()
            told.note("" if answer.message else f"no name server takes cards there (within {patience:g} s)")
            await asyncio.sleep(every)


async def multicast(card: Card, where: Multicast, on_oddity: OnOddity, every: float = TELL_EVERY) -> None:
    """Make card known to all name servers around, for ever. A network that is away is told of once.

    Raises BusError if the card is too long for a datagram.
    """
    if len(card.message().encode()) > DATAGRAM:
        raise BusError(f"the name and services of {card.name} are too long to be multicast; shorten them")
    group = f"{where.group}:{where.port}"
    told = _Once(on_oddity, group)
    while True:
        try:
            _send_datagram(card.message().encode(), where)
        except OSError as error:
            told.note(f"no multicast: {error.strerror}")
        else:
            told.note("")
        await asyncio.sleep(every)


def told_address(address: str) -> str:
    """The address that others can reach: one bound to every interface gets this machine's IP."""
    scheme, _, rest = address.partition("://")
    host, port = rest.rpartition(":")[::2]
    if host in ("*", "0.0.0.0"):  # noqa: S104
        return f"{scheme}://{own_ip()}:{port}"
    if host == "[::]":
        return f"{scheme}://[{own_ip(socket.AF_INET6)}]:{port}"
    return address


def own_ip(family: socket.AddressFamily = socket.AF_INET) -> str:
    """The IP this machine talks to the world with, or to itself if it has none. Sends nothing."""
    world, alone = _WORLD[family]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((world, 80))
        except OSError:
            return alone
        return str(probe.getsockname()[0])


_TICKET = "the one under way"  # an old peer echoes none, and is asked one thing at a time
_BROADCASTS = ("0.0.0.0", "255.255.255.255")  # noqa: S104
_WORLD = {
    socket.AF_INET: ("8.8.8.8", "127.0.0.1"),
    socket.AF_INET6: ("2001:4860:4860::8888", "::1"),
}


class _Once:
    """Tells of a trouble when it begins."""

    def __init__(self, on_oddity: OnOddity, peer: str) -> None:
        self._on_oddity = on_oddity
        self._peer = peer
        self.in_trouble = False

    def note(self, trouble: str) -> None:
        """How it went; "" is well."""
        if trouble and not self.in_trouble:
            self._on_oddity(self._peer, trouble)
        self.in_trouble = bool(trouble)


async def _publishers(asker: Asker, name_server: str, service: str, patience: float) -> list[Found]:
    asker.ask(compose("/oper/ns", "request", {"service": service}), _TICKET, patience)
    [answer] = await asker.answered()
    if answer.message is None:
        raise NameServerSilent(f"no name server answers at {name_server} (within {patience:g} s)")
    told = answer.message.data
    found = [_found(item) for item in told if isinstance(item, dict)] if isinstance(told, list) else []
    return [publisher for publisher in found if publisher]


async def _all_publishers(
    asker: Asker, name_server: str, services: Sequence[str], patience: float, told: _Once
) -> list[Found]:
    found: list[Found] = []
    try:
        for service in [""] if "" in services else services:
            found += await _publishers(asker, name_server, service, patience)
    except NameServerSilent as error:
        told.note(str(error))
    else:
        told.note("")
    return found


async def _heard_until(ears: Subscription, when: float) -> list[Change]:
    try:
        async with asyncio.timeout_at(when):
            heard = await ears.heard()
    except TimeoutError:
        return []
    changes = []
    for item in heard:
        publisher = _found(item.message.fields)
        if publisher and item.message.type == "info":
            changes.append(Change(publisher, bool(item.message.fields.get("status", True))))
    return changes


def _news(change: Change, services: Sequence[str], present: set[str]) -> list[Change]:
    """The change, if it is one to what is present (which it then changes) and is about one of services."""
    publisher = change.publisher
    if change.present is (publisher.address in present):
        return []
    if not change.present:
        present.remove(publisher.address)
    elif "" in services or set(services) & set(publisher.services):
        present.add(publisher.address)
    else:
        return []
    return [change]


def _found(item: Mapping[str, Any]) -> Found | None:
    """A publisher as a name server tells of it; None if what it tells can't be used."""
    address, services = item.get("URI"), item.get("service")
    if isinstance(services, str):
        services = [services]
    try:
        host_and_port(address if isinstance(address, str) else "")
    except BusError:
        return None
    named = [name for name in services if isinstance(name, str)] if isinstance(services, list) else []
    return Found(str(address), tuple(named))


def _address(name_server: str, port: int) -> str:
    """host, host:port or tcp://host:port as an address; the port that is told wins. Raises BusError."""
    host = name_server.removeprefix("tcp://")
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    address = f"tcp://{host}" if re.search(r"[^:\]]:[0-9]+$|]:[0-9]+$", host) else f"tcp://{host}:{port}"
    host_and_port(address)
    return address


def _host(name_server: str) -> str:
    host = host_and_port(_address(name_server, 1))[0]
    return f"[{host}]" if ":" in host else host


def _send_datagram(datagram: bytes, where: Multicast) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        if where.group in _BROADCASTS:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            out.sendto(datagram, ("<broadcast>", where.port))
            return
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, where.ttl)
        if where.interface:
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(where.interface))
        out.sendto(datagram, (where.group, where.port))


def _number(settings: Mapping[str, Any], name: str, default: int) -> int:
    told = settings.get(name)
    if told in (None, ""):
        return default
    try:
        return int(told)
    except (TypeError, ValueError):
        raise BusError(f"posttroll's {name} is {told!r}, which is no number") from None
