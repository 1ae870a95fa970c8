"""What no single option can tell: chains in each other's way, places that are not there, open doors."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tranship.config.client import ClientConfig
from tranship.config.endpoints import Socket
from tranship.config.findings import Place, Report, listed
from tranship.config.kinds import Options
from tranship.config.mirror import MirrorChain, MirrorConfig
from tranship.config.parameters import check_movable, check_scheme, meant_parameters
from tranship.config.server import ServerChain, ServerConfig
from tranship.config.tree import Loc, Tree
from tranship.config.values import Parameters
from tranship.core.allow import EVERY_FILE, EVERYTHING
from tranship.core.origin import Origin

S = TypeVar("S", ServerChain, MirrorChain)

Folders = Callable[[Path], str]
"""What is wrong with a folder that is to be watched, in words; "" if nothing is."""

_ON_A_HOST = frozenset({"file", "scp", "sftp", "ftp", "ftps"})
_SECRET_KEY = re.compile(r"secret|passw|passphrase|token")


def on_disk(folder: Path) -> str:
    """What is wrong with folder on this host, for the user that this process runs as."""
    if not folder.exists():
        return f"there is no folder {folder}"
    if not folder.is_dir():
        return f"{folder} is no folder"
    return (
        ""
        if os.access(folder, os.R_OK | os.X_OK, effective_ids=True)
        else f"the folder {folder} may not be read by this user"
    )


def taken_on_trust(folder: Path) -> str:
    """Nothing is wrong with any folder: for files that are checked on another host than they are for."""
    del folder
    return ""


def check_server(config: ServerConfig, tree: Tree, report: Report, folders: Folders) -> ServerConfig:
    """Report what is wrong with a server, or probably not meant. Returns it with parameters that mean something."""
    check_chains(config.chains, tree, report)
    check_ports(_server_sockets(config), tree, report)
    for name, chain in config.chains.items():
        place = tree.place(("chains", name, "origin"))
        wrong = folders(Path(Origin(chain.origin).root)) if chain.origin else ""
        if wrong:
            report.error(place, wrong, "make it, or mend the path")
        if chain.request is not None:
            _check_allowed(chain, tree, ("chains", name, "allow"), report)
        if chain.listen is not None:
            check_reach(chain.listen.allow, tree, ("chains", name, "listen", "allow"), report)
    chains = {name: _with_meant(chain, tree, name, report) for name, chain in config.chains.items()}
    return config.model_copy(update={"chains": chains})


def check_client(config: ClientConfig, tree: Tree, report: Report) -> None:
    """Report what is wrong with a client, or probably not meant."""
    check_chains(config.chains, tree, report)
    check_ports(_client_sockets(config), tree, report)
    for name, chain in config.chains.items():
        check_scheme(chain.destination, tree.place(("chains", name, "destination")), report)
        if chain.unpack and chain.destination.partition(":")[0] not in _ON_A_HOST:
            report.error(
                tree.place(("chains", name, "unpack")),
                "needs files on this host, which this destination has not",
                "leave it out, or deliver to a folder of this host",
            )
        last = chain.destination.rpartition("/")[2]
        if last and not {"{", "}"} & set(last):
            place = tree.place(("chains", name, "destination"))
            report.warn(place, "gives every file the same name", "end it with / if it is a folder")
        if chain.publish.port == 0 and not chain.nameservers:
            place = tree.place(("chains", name, "publish"))
            report.warn(
                place, "publishes on any free port, which nobody can know", "give a port, or name servers"
            )


def check_mirror(config: MirrorConfig, tree: Tree, report: Report) -> MirrorConfig:
    """Report what is wrong with a mirror, or probably not meant. Returns it with parameters that mean something."""
    check_chains(config.chains, tree, report)
    check_ports(_server_sockets(config), tree, report)
    for name, chain in config.chains.items():
        check_scheme(chain.destination, tree.place(("chains", name, "destination")), report)
        if chain.destination.partition("://")[0].lower() not in PATHS:
            place = tree.place(("chains", name, "destination"))
            report.error(
                place, "is no place on this host, where a mirror keeps its copies", f"give {listed(PATHS)}"
            )
        _check_allowed(chain, tree, ("chains", name, "allow"), report)
    chains = {name: _with_meant(chain, tree, name, report) for name, chain in config.chains.items()}
    return config.model_copy(update={"chains": chains})


PATHS = ("file", "scp", "sftp", "ftp", "ftps")
"""Schemes whose paths are paths of their host."""


def check_secrecy(config: Options, path: Path, report: Report) -> None:
    """Warn if path holds a password and others may read it."""
    if _holds_secret(config) and open_to_others(path):
        report.warn(
            Place(0), "holds a password, and everybody on this host may read it", f"chmod o-rwx {path}"
        )


def open_to_others(path: Path) -> bool:
    """Whether everybody on this host may read path."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def check_chains(chains: Mapping[str, Any], tree: Tree, report: Report) -> None:
    """Report that there is no chain, or a topic that is probably not meant."""
    if not chains and not report.errors:
        report.error(tree.place(("chains",)), "holds no chain", "add one")
    for name in chains:
        loc = ("chains", name, "topic")
        text = tree.at(loc)
        if isinstance(text, str) and text and not text.startswith("/"):
            report.warn(tree.place(loc), f"begins without /, and is taken as /{text}", "write the slash")


def _server_sockets(config: ServerConfig | MirrorConfig) -> Iterator[tuple[Loc, str, Socket]]:
    yield ("publish", "port"), "publishing", config.publish
    for name, chain in config.chains.items():
        if chain.request is not None:
            yield ("chains", name, "request", "port"), f"taking the requests of {name}", chain.request


def _client_sockets(config: ClientConfig) -> Iterator[tuple[Loc, str, Socket]]:
    for name, chain in config.chains.items():
        yield ("chains", name, "publish", "port"), f"publishing for {name}", chain.publish
        if chain.replay is not None:
            yield ("chains", name, "replay", "port"), f"replaying for {name}", chain.replay


def check_ports(sockets: Iterable[tuple[Loc, str, Socket]], tree: Tree, report: Report) -> None:
    """Report ports that are bound twice: sockets are (where that is said, what for, which)."""
    before: list[tuple[str, Socket]] = []
    for loc, purpose, socket in sockets:
        taken = next((other for other, bound in before if socket.clashes(bound)), None)
        if taken:
            report.error(
                tree.place(loc), f"port {socket.port} is taken already, for {taken}", "choose another"
            )
        before.append((purpose, socket))


def _check_allowed(chain: ServerChain | MirrorChain, tree: Tree, loc: Loc, report: Report) -> None:
    if not chain.allow:
        report.warn(
            tree.place(loc), "allows no destination, so that every `push` is refused", "add URL patterns"
        )
    for n, pattern in enumerate(chain.allow):
        if pattern != EVERYTHING:
            check_movable(pattern, tree.place((*loc, n)), report)
        elif not tree.old:  # of an INI file this has been told already
            report.warn(tree.place((*loc, n)), "allows every destination", "name those that are needed")


def check_reach(allow: Sequence[str], tree: Tree, loc: Loc, report: Report) -> None:
    """Report if messages may name no file of this host, or every one."""
    if not allow:
        told = "allows no file, so that every message is refused"
        report.warn(tree.place(loc), told, "add URL patterns like file:///data/**")
    if EVERY_FILE in allow and not tree.old:  # of an old file this has been told already
        told = "allows every file that this user may read to whoever publishes"
        report.warn(tree.place(loc), told, "name the folders that are needed")


def _with_meant(chain: S, tree: Tree, name: str, report: Report) -> S:
    loc = ("chains", name, "connection_parameters")
    parameters = meant_parameters(chain.connection_parameters, chain.allow, tree, loc, report)
    return chain.model_copy(update={"connection_parameters": parameters})


def _holds_secret(part: object) -> bool:
    """Whether a password stands in part of a configuration itself."""
    if isinstance(part, Parameters):
        return _has_secret_key(part)
    if isinstance(part, Mapping | tuple):
        return any(map(_holds_secret, part.values() if isinstance(part, Mapping) else part))
    if not isinstance(part, Options):
        return False
    options = {name: getattr(part, name) for name in type(part).model_fields}
    login = options.pop("login", None)
    if login is not None and not options.get("login_file") and ":" in login.get_secret_value():
        return True
    return any(map(_holds_secret, options.values()))


def _has_secret_key(parameters: Mapping[str, Any]) -> bool:
    return any(
        _has_secret_key(value) if isinstance(value, Mapping) else bool(_SECRET_KEY.search(key))
        for key, value in parameters.items()
    )
