"""Who talks to whom: hosts, sockets and what protects them, providers, name servers."""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tranship.config.kinds import Default, Options, Port, Wanted, given, is_no, refuse, words
from tranship.wire.contract import Guard

EVERYWHERE = "*"
"""The address of all interfaces of this host."""


class Security(StrEnum):
    """What keeps strangers from a socket."""

    LOOPBACK = "loopback"
    TRUSTED_NETWORK = "trusted-network"
    CURVE = "curve"


def _host(text: str) -> str:
    bare = text[1:-1] if re.fullmatch(r"\[.*\]", text) else text
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", bare) or _is_ip(bare):
        return bare
    shown = re.sub(
        r":(?!\d{1,5}$).*", ":…", text
    )  # no port: it may be a password that was cut off before its @
    raise refuse(f"{given(shown)} is no host", "give a name or an IP address, without a port")


def _bind(text: str) -> str:
    address = "127.0.0.1" if text == "localhost" else text.removeprefix("[").removesuffix("]")
    if address != EVERYWHERE and not _is_ip(address):
        raise refuse(f"{given(text)} is no IP address", 'give one of this host, or "*" for all')
    return address


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


Host = Annotated[str, AfterValidator(_host), Wanted("a host name or IP address")]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(words), Wanted("a list of hosts")]
Bind = Annotated[str, AfterValidator(_bind), Wanted('an IP address of this host, or "*" for all')]


class Socket(Options):
    """A socket that others connect to; a plain number is its port."""

    port: Port = Field(description="TCP port.")
    bind: Bind = Field(
        default="127.0.0.1",
        description="The address it listens on. By default only programs on this host reach it.",
    )
    security: Annotated[
        Security | None,
        Default("`loopback`; with a block `curve`: that"),
        Wanted("loopback, trusted-network or curve"),
    ] = Field(
        default=None,
        description="What keeps strangers away: `loopback` (only this host reaches it), `curve` (only who has a key "
        "gets in, see there), or `trusted-network` (everybody who reaches the address is trusted). One of the last "
        "two has to be named to bind to anything but loopback.",
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_port(cls, value: object) -> object:
        return {"port": value} if isinstance(value, str | int) else value

    @model_validator(mode="after")
    def _names_its_security(self) -> "Socket":
        if self.security in (None, Security.LOOPBACK) and not self.is_loopback:
            raise refuse(
                f"{self.bind} can be reached from other machines, and no security is named",
                "add `security: curve` to let in who has a key, `security: trusted-network` if everybody there may"
                " be trusted, or bind to 127.0.0.1",
                key="bind",
            )
        return self

    @property
    def guard(self) -> Guard:
        """What keeps strangers away, in the words of the wire."""
        if self.security is None:
            return Guard.IF_ANY
        return Guard.KEYS if self.security is Security.CURVE else Guard.NONE

    @property
    def is_loopback(self) -> bool:
        """Whether only this host reaches it."""
        return self.bind != EVERYWHERE and ipaddress.ip_address(self.bind).is_loopback

    @property
    def address(self) -> str:
        """Where to bind, tcp://host:port."""
        return f"tcp://{_bracketed(self.bind)}:{self.port}"

    def clashes(self, other: "Socket") -> bool:
        """Whether the two can't both be bound on one host."""
        everywhere = {EVERYWHERE, "0.0.0.0", "::"}  # noqa: S104
        same_address = self.bind == other.bind or not everywhere.isdisjoint({self.bind, other.bind})
        return self.port != 0 and self.port == other.port and same_address


Replay = Annotated[
    Socket | None,
    Default("what is not heard is lost"),
    Wanted("a socket"),
    Field(
        description="The socket at which Tranship's dispatchers and fetchers ask for what was published while they did "
        "not listen, as far back as `keep`. They ask at the host where they hear it."
    ),
]


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody to listen to; topic None: the chain's own."""

    host: str
    port: int
    topic: str | None = None

    @property
    def address(self) -> str:
        """Where to connect, tcp://host:port."""
        return f"tcp://{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class NameServers:
    """Where a publisher makes itself known: by multicast, at these hosts, or (neither) nowhere."""

    hosts: tuple[str, ...] = ()
    multicast: bool = False

    def __bool__(self) -> bool:
        """Whether it makes itself known at all."""
        return self.multicast or bool(self.hosts)


_PROVIDER = re.compile(r"(?:tcp://)?(?P<host>\[[^\]]+\]|[^:/@\[\]]+):(?P<port>\d{1,5})(?P<topic>/[^\s@]*)?")


def provider(value: object) -> Provider:
    """host:port, or host:port/topic. Refuses anything else."""
    if isinstance(value, Provider):
        return value
    match = _PROVIDER.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 0 < int(match["port"]) < 65536:
        raise refuse(f"{given(value)} is no provider", "give host:port, or host:port/topic")
    return Provider(_host(match["host"]), int(match["port"]), match["topic"])


def _name_servers(value: object) -> NameServers:
    if isinstance(value, NameServers):
        return value
    if is_no(value):
        return NameServers()
    if value == "multicast":
        return NameServers(multicast=True)
    hosts = words(value)
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ValueError("neither a word nor a list of hosts")
    return NameServers(tuple(map(_host, hosts)))


Providers = Annotated[
    tuple[Annotated[Provider, BeforeValidator(provider)], ...],
    BeforeValidator(words),
    Field(min_length=1),
    Wanted("a list of host:port or host:port/topic"),
]
Discovery = Annotated[
    NameServers, BeforeValidator(_name_servers), Wanted("no, multicast, or a list of hosts")
]
