"""docs/configuration.md, made from the options: `python -m tranship.config.reference`."""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize, Secret, SecretStr
from pydantic.fields import FieldInfo

from tranship.config.clean import CleanChain, CleanConfig, Mail
from tranship.config.client import ClientChain, ClientConfig
from tranship.config.curve import Curve
from tranship.config.dispatcher import DispatcherChain, DispatcherConfig, DispatcherRoute
from tranship.config.elsewhere import Filesystem, Listen
from tranship.config.endpoints import Socket
from tranship.config.fetch import FetchChain, FetchConfig
from tranship.config.findings import listed
from tranship.config.judge import marks
from tranship.config.kinds import Default, Wanted
from tranship.config.legacy.building import Old
from tranship.config.legacy.client import CLIENT
from tranship.config.legacy.mirror import MIRROR
from tranship.config.legacy.move import MOVE
from tranship.config.legacy.server import LISTEN, SERVER
from tranship.config.mirror import MirrorChain, MirrorConfig
from tranship.config.move import MoveChain, MoveConfig, MoveDestination
from tranship.config.retry import RetryOptions
from tranship.config.server import ServerChain, ServerConfig
from tranship.config.unpack import Unpack
from tranship_movers.options import MoverOptions
from tranship_movers.registry import known_schemes, mover_class


def page() -> str:
    """The whole page, as Markdown."""
    parts = [
        _INTRODUCTION,
        "## Server",
        _SERVER_EXAMPLE,
        _table(ServerConfig),
        "### Each chain of a server",
        _table(ServerChain),
        "### `listen`, of a chain of a server",
        _table(Listen),
        "### `filesystem`, of a chain of a server",
        _table(Filesystem),
        "## Mirror",
        "`docs/roles/mirror.md` says what it does. At the top of the file stand:",
        _table(MirrorConfig),
        "### Each chain of a mirror",
        _table(MirrorChain),
        "## Client",
        _CLIENT_EXAMPLE,
        _table(ClientConfig),
        "### Each chain of a client",
        _table(ClientChain),
        "## Dispatcher",
        _DISPATCHER,
        _table(DispatcherConfig),
        "### Each target of a dispatcher",
        _table(DispatcherChain),
        "### Each route of a target",
        _table(DispatcherRoute),
        "## Fetch",
        _FETCH,
        _table(FetchConfig),
        "### Each chain of a fetcher",
        _table(FetchChain),
        "## Move",
        _MOVE,
        _table(MoveConfig),
        "### Each chain of a mover",
        _table(MoveChain),
        "### Each of its `destinations`",
        _table(MoveDestination),
        "## Trying again: `retry`",
        _table(RetryOptions),
        "## Clean",
        _CLEAN_EXAMPLE,
        _table(CleanConfig),
        "### Each folder that is cleaned",
        _table(CleanChain),
        "### `mail`",
        _table(Mail),
        "## Sockets: `publish` and `request`",
        _SOCKETS,
        _table(Socket),
        "## Keys: `curve`",
        _CURVE,
        _table(Curve),
        "## Packed files: `unpack`",
        _UNPACK,
        _table(Unpack),
        "## Connection parameters",
        _PARAMETERS,
        _mover_table("every mover", MoverOptions, set()),
        *_mover_tables(),
        "## INI files of Trollmoves",
        _INI,
        "### Server",
        _old_table(SERVER),
        _INI_SERVER,
        "### A section of a server with `listen`",
        _old_table(LISTEN),
        "### Client",
        _old_table(CLIENT),
        _INI_CLIENT,
        "### Mirror",
        _old_table(MIRROR),
        "### Move",
        _old_table(MOVE),
        _INI_MOVE,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(block: type[BaseModel]) -> str:
    rows = (
        [f"`{name}`", _kind(field), _default(field), field.description or ""]
        for name, field in _fields(block)
    )
    return _rows(_HEAD, rows)


def _mover_tables() -> Iterator[str]:
    """One table per protocol, of what it has beyond every mover."""
    by_model: dict[type[MoverOptions], list[str]] = {}
    for scheme in sorted(known_schemes() - {"memory"}):
        by_model.setdefault(mover_class(scheme).options, []).append(f"`{scheme}`")
    for model, schemes in by_model.items():
        yield _mover_table(", ".join(schemes), model, MoverOptions.model_fields.keys())


def _mover_table(title: str, model: type[MoverOptions], known: Collection[str]) -> str:
    rows = [
        [f"`{name}`", _parameter_kind(field.annotation), _default(field), field.description or ""]
        for name, field in _fields(model)
        if name not in known
    ]
    return f"### Parameters of {title}\n\n{_rows(_HEAD, rows)}"


def _parameter_kind(annotation: object) -> str:
    """What may be given, by the type alone."""
    plain = _KINDS.get(annotation)
    if plain:
        return str(plain)
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is Annotated:
        return _parameter_kind(inner[0])
    if get_origin(annotation) is Literal:
        return listed(map(str, inner))
    if get_origin(annotation) is tuple:
        return "a list"
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(_parameter_kind, inner))
    return "a block"


def _old_table(options: Mapping[str, Old]) -> str:
    rows = ([f"`{name}`", f"`{old.becomes}`", old.note] for name, old in options.items())
    return _rows(["INI", "YAML", "note"], rows)


def _rows(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _fields(block: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    yield from block.model_fields.items()


def _kind(field: FieldInfo) -> str:
    wanted = next(marks(field, Wanted), None)
    return str(wanted.words) if wanted else "a socket"


def _default(field: FieldInfo) -> str:
    told = next(marks(field, Default), None)
    if told:
        return str(told.words)
    if field.is_required():
        return "required"
    written = _written(field.get_default(call_default_factory=True, validated_data={}))
    return f"`{written}`" if written else "none"


def _written(value: object) -> str:
    """A value as a user writes it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return _time(value)
        case ByteSize():
            return value.human_readable(separator=" ")
        case tuple():
            return " ".join(map(str, value))
        case None | Secret():
            return ""
        case Enum():
            return str(value.value)
        case Socket():
            return f"port: {value.port}"
        case float():
            return f"{value:g}"
        case {}:
            return "{}"
    return str(value)


def _time(value: timedelta) -> str:
    days = value / timedelta(days=1)
    return f"{days:g} d" if days.is_integer() and days else f"{value.total_seconds():g} s"


_HEAD = ["option", "give", "default", "what for"]
_KINDS: Mapping[object, str] = MappingProxyType(
    {
        bool: "yes or no",
        int: "a number",
        float: "a number",
        str: "a text",
        timedelta: "a duration",
        ByteSize: "a size like 16 MiB",
        Path: "a path",
        SecretStr: "a secret",
    }
)

_INTRODUCTION = """
# Configuration

This page is made from the options themselves (`make docs`); a test holds the two together.

Each process reads one file: YAML as described here, or an INI file of Trollmoves as it is (told apart by
content, see below). `tranship check FILE` reads a file as the process would, and tells everything that
is wrong with it at once: file, line, key, problem, next move. A process does not start with a file that
holds an error. A running one reads its file again when it changes, or on SIGHUP; it touches only the
chains that changed, and keeps the old configuration if the new one holds an error.

How values are written:

- **Text stays text.** Quotes are needed only where YAML needs them (a value that starts with `*`, `{`,
  `[`, `&`, `!`, `%`, `@`, or holds `: ` or ` #`). `12:30`, `no` and `010` mean what they say.
- **Yes and no**: `yes`, `no`, `true`, `false`, `on`, `off`, in quotes or without.
- **Durations**: `30 s`, `5 min`, `200 ms`, `2 h`, `1 d`; a plain number is seconds.
- **Lists** may also be written in one line with blanks: `a:9010 b:9010`.
- **`defaults`**, beside `chains`, holds options for every chain of the file; what a chain says itself
  wins. Blocks such as `request` and `info` are joined option by option.
- **Metadata** (`info`, `replace`) keeps its type: numbers, `true`, `false`, text, lists, blocks.

Keep passwords in a file of their own (`login_file`). A file that holds one should be readable for nobody
else; there is a warning if it is. Passwords never appear in messages, logs or errors.
"""

_SERVER_EXAMPLE = """
`config/server.yaml` is a complete example. At the top of the file stand:
"""

_CLIENT_EXAMPLE = """
`config/client.yaml` is a complete example. At the top of the file stand:
"""

_CLEAN_EXAMPLE = """
`config/clean.yaml` is a complete example; [roles/clean.md](roles/clean.md) says how it works. At the
top of the file stand:
"""

_DISPATCHER = """
See [roles/dispatcher.md](roles/dispatcher.md). At the top of the file stand:
"""

_FETCH = """
See [roles/fetch.md](roles/fetch.md). At the top of the file stand:
"""

_MOVE = """
See [roles/move.md](roles/move.md). At the top of the file stand:
"""

_SOCKETS = """
`publish: 9010` is short for `publish: {port: 9010}`. By default a socket is reached from its own host
only. To bind it to anything else, say what keeps strangers away:

```yaml
publish: {port: 9010, bind: 192.0.2.7, security: curve}              # keys, see below
publish: {port: 9010, bind: 192.0.2.7, security: trusted-network}
```
"""

_CURVE = """
One block at the top of the file, for everything that the process binds and connects to. [security.md](security.md)
says how keys are made, handed out and taken back; `config/closed.yaml` is an example.

```yaml
curve:
  secret_key_file: /etc/tranship/keys/sat.key_secret
  clients: /etc/tranship/keys/clients              # who may connect: their *.key
  server_key_file: /etc/tranship/keys/hub.key      # whom we connect to
  server_keys: {192.0.2.9: /etc/tranship/keys/other.key, 127.0.0.1: plain}
publish: {port: 9010, bind: "*", security: curve}
```

A socket that is to stay plain all the same says so: `security: loopback` or `trusted-network`. A file without this
block takes posttroll's settings, if they ask for encryption (`POSTTROLL_BACKEND=secure_zmq`); an empty `curve:` keeps
them out. The block takes effect at the start only; the folder of the clients' keys is looked at all the time.
"""

_UNPACK = """
A client unpacks what has arrived and is verified, before it publishes it; a server, before it announces it; a mover,
before it moves it, for each destination. One file takes the packed one's place in the message (`uri`, `uid`); several
become its `dataset`.

```yaml
unpack: tar
unpack: {format: tar, delete: yes, names: "*.tgz"}
unpack: {format: xrit, command: /opt/xRITDecompress}
unpack: {format: program, names: "*.bufr.Z", command: [/usr/bin/decode, --quiet, "{file}"], deadline: 1 min}
```

The results appear whole, under their names, when everything is unpacked. No archive can write anywhere else, make
links or devices, or grow beyond the bounds below: such a one is refused for good, and stays packed.
"""

_PARAMETERS = """
A server moves the files, so its chains hold the options of the movers, under `connection_parameters`. One that no
mover of the chain's destinations knows is an error. Instead of a password, name a file that holds it, or a key.
"""

_INI = """
The files of `move_it_server.py` and `move_it_client.py` run as they are: `tranship server FILE`,
`tranship client FILE`. `[DEFAULT]` is inherited by every section, `%` has no meaning, keys may be
written in any case. What differs:

- **Old reach.** Nothing in such a file says who may come and ask for what. It therefore binds to all
  interfaces, and a server allows every destination; a warning at start says so. To close it, write the
  file in YAML. (What was not announced can't be requested here either way.)
- **A broken section is an error**, where Trollmoves drops it and goes on: a section that lacks an
  option, a value that can't be read, a section or option that stands there twice, a directory that does
  not exist.
"""

_INI_SERVER = """
`connection_parameters__a__b = x` becomes a block in a block; `connection_uptime`, `ssh_key_filename`,
`ssh_connection_timeout` and `ssh_private_key_file` may stand without the prefix. The port to publish on
comes from `-p` (9010 if it is not given), not from the file. `compression`, `prog`, `working_directory` and `delete`
become `unpack`; without a `working_directory` it is the one for temporary files. Keys that no Trollmoves reads get a
warning.
"""

_INI_CLIENT = """
Any other key replaces the metadata item of its name in the outgoing message: by a constant, or by a
table `old:new|old2:new2`, which leaves a value alone that it does not hold. A key that is nearly an
option gets a warning. `compression`, `xritdecompressor` and `delete` become `unpack`.
"""

_INI_MOVE = """
The port to publish on comes from `-p`; without it nobody is told. `compression` (xrit, bzip), `prog` and
`working_directory` become `unpack`. `listen` is an error: messages are heard by a dispatcher.
"""

if __name__ == "__main__":
    sys.stdout.write(page())
