"""Which host this is, and how a publisher on it makes itself known, and shows that it lives."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from tranship.config.endpoints import NameServers
from tranship.config.legacy.posttroll import posttrolls_settings
from tranship.wire.contract import Bus, OnOddity, Publisher
from tranship.wire.discovery import Card, Multicast, Ports, beat, multicast, register
from tranship.wire.messages import Message


async def make_known(
    bus: Bus, publisher: Publisher, name: str, name_servers: NameServers, on_oddity: OnOddity
) -> None:
    """Make the publisher, by this name, known to name_servers, for ever. Returns if there are none."""
    settings = await _settings()
    ports = Ports.of(settings)
    card = Card(name, publisher.address, encrypted=publisher.encrypted)
    async with asyncio.TaskGroup() as tasks:
        for host in name_servers.hosts:
            tasks.create_task(register(bus, card, host, ports, on_oddity))
        if name_servers.multicast:
            tasks.create_task(multicast(card, Multicast.of(settings), on_oddity))


async def name_server_ports() -> Ports:
    """Where name servers are asked, and tell of changes, as posttroll's settings say. Raises BusError."""
    return Ports.of(await _settings())


async def _settings() -> Mapping[str, Any]:
    return await asyncio.to_thread(posttrolls_settings, os.environ)


async def beating(
    publisher: Publisher,
    name: str,
    interval: timedelta,
    completed: Callable[[Message], Message] = lambda message: message,
    *,
    every: timedelta | None = None,
) -> None:
    """Publish heartbeats of name, for ever, at the interval that they tell; more often, if `every` says so.

    completed: what else is told with each.
    """
    while True:
        publisher.tell([completed(beat(name, interval.total_seconds()))])
        await asyncio.sleep((every or interval).total_seconds())


@lru_cache(maxsize=256)
def is_own_host(host: str) -> bool:
    """Whether host (a name or an IP address; "" too) is this machine. May ask the resolver, once per host."""
    if host.lower() in ("", "localhost", "127.0.0.1", "::1", socket.gethostname().lower()):
        return True
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)}
    except OSError:
        return False
    return any(_is_own(str(address)) for address in found)


def _is_own(address: str) -> bool:
    """Whether a socket can be bound to address: then it is one of this machine's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
