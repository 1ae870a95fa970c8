"""The options of encryption by keys (CURVE), one block for a process; and the keys that they name."""

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from tranship.config.endpoints import Provider, Socket
from tranship.config.findings import Report
from tranship.config.kinds import Default, FullPath, Options, Wanted, given, refuse, words
from tranship.config.tree import Loc, Tree
from tranship.wire.contract import Guard
from tranship.wire.keys import Door, KeyFileError, Keys, read_pair, read_public

PLAIN = "plain"
"""What stands for a server without keys."""


def _key_file(text: str) -> str:
    path = os.path.expanduser(text)
    if not os.path.isabs(path) and not re.fullmatch(r"[A-Za-z0-9._-]+", path):
        raise refuse(f"{given(text)} is no full path", "begin it with /, or give a name of `LoadCredential=`")
    return path


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise refuse(f"{given(text)} is no IP address", "give addresses, not names") from None


KeyFile = Annotated[
    str, AfterValidator(_key_file), Wanted("a full path, or a name given by systemd (`LoadCredential=`)")
]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_ip)], ...], BeforeValidator(words), Wanted("a list of IP addresses")
]


class Curve(Options):
    """With this block everything is encrypted, what is bound and what connects, unless a socket says otherwise."""

    secret_key_file: KeyFile = Field(
        description="The file with the keys of this process, `NAME.key_secret`; nobody else may read it."
    )
    clients: Annotated[FullPath | None, Default("none: nothing can be bound")] = Field(
        default=None,
        description="The folder with the public keys, `*.key`, of those who may connect. Looked at every 2 s: who "
        "is added may come, who is removed is cut off.",
    )
    client_addresses: Annotated[Addresses, Default("any")] = Field(
        default=(), description="The IP addresses from which they may connect."
    )
    server_key_file: Annotated[KeyFile | None, Default("none")] = Field(
        default=None, description="The public key of those that this process connects to."
    )
    server_keys: Annotated[
        Mapping[str, KeyFile], Default("none"), Wanted("a block of `host: file` or `host:port: file`")
    ] = Field(
        default={},
        description="The same where servers have keys of their own, by host, or host and port, as they stand in "
        "`providers`, in name servers' answers and in announcements (`request_address`). `plain`: without keys.",
    )
    client_secret_key_file: Annotated[KeyFile | None, Default("that of `secret_key_file`")] = Field(
        default=None, description="The file with the keys by which this process connects, if they are others."
    )


CurveOrNone = Annotated[
    Curve | None,
    Default("none: nothing is encrypted"),
    Wanted("a block of options"),
    Field(description="The keys by which connections are encrypted, and strangers kept out (see below)."),
]


def keys_of(curve: Curve | None) -> Keys | None:
    """The keys in the files that curve names. Raises KeyFileError, which says what is wrong with which file."""
    if curve is None:
        return None
    own = read_pair(_path("secret_key_file", curve.secret_key_file))
    connecting = curve.client_secret_key_file
    return Keys(
        read_pair(_path("client_secret_key_file", connecting)) if connecting else own,
        Door(own, curve.clients, frozenset(curve.client_addresses)) if curve.clients else None,
        read_public(_path("server_key_file", curve.server_key_file)) if curve.server_key_file else None,
        {
            host: None if file == PLAIN else read_public(_path("server_keys", file))
            for host, file in curve.server_keys.items()
        },
    )


def check_curve(config: Any, tree: Tree, report: Report) -> None:
    """Report doors that can't be closed, and servers whose keys are not named, in the configuration of any role."""
    curve: Curve | None = config.curve
    if curve is None and tree.at(("curve",)) is not None:
        return  # what is wrong with it has been told
    for loc, socket in _sockets(config):
        if curve is None and socket.guard is Guard.KEYS:
            report.error(
                tree.place((*loc, "security")),
                "is curve, and no keys are named",
                "add a block `curve`, with `secret_key_file` and `clients` (docs/security.md)",
            )
        if curve is not None and socket.guard is not Guard.NONE and curve.clients is None:
            report.error(
                tree.place(("curve", "clients")),
                f"is missing, and nobody could connect to {'.'.join(map(str, loc))}",
                "name a folder with their .key files, or let that socket say `security: loopback`",
            )
    if curve is None or curve.server_key_file:
        return
    for loc, host, port in _servers(config):
        if host not in curve.server_keys and f"{host}:{port}" not in curve.server_keys:
            report.error(
                tree.place(loc),
                f"names {host}, whose public key is not known",
                "name its file in `curve`, as `server_key_file` or under `server_keys`",
            )


def _path(option: str, file: str) -> Path:
    """The path of a key file; of one that systemd gives, where that is."""
    if os.path.isabs(file):
        return Path(file)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise KeyFileError(
            f"curve.{option}: {file} can't be looked at, as $CREDENTIALS_DIRECTORY is not set;"
            " give a full path, or start by systemd"
        )
    return Path(folder, file)


def _sockets(config: Any) -> Iterator[tuple[Loc, Socket]]:
    """All that is bound."""
    for loc, block in _blocks(config):
        for option in ("publish", "request", "replay"):
            socket = getattr(block, option, None)
            if socket is not None:
                yield (*loc, option), socket


def _servers(config: Any) -> Iterator[tuple[Loc, str, int | str]]:
    """Whom it is going to connect to, as far as the configuration says: (where it says so, host, port)."""
    for loc, block in _blocks(config):
        listen = getattr(block, "listen", None)
        named: list[tuple[str, tuple[Provider | str, ...]]] = [
            ("providers", getattr(block, "providers", ())),
            ("lookup", getattr(block, "lookup", ())),
            ("nameservers", getattr(getattr(block, "nameservers", None), "hosts", ())),
            ("listen", listen.addresses if listen else ()),
            ("listen", (listen.nameserver,) if listen and listen.nameserver else ()),
        ]
        for option, hosts in named:
            for host in hosts:
                if isinstance(host, Provider):
                    yield (*loc, option), host.host, host.port
                else:
                    yield (*loc, option), host, "*"


def _blocks(config: Any) -> Iterator[tuple[Loc, Any]]:
    yield (), config
    for name, chain in config.chains.items():
        yield ("chains", name), chain
