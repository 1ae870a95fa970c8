"""What no single option of a role that moves files itself can tell."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tranship.config.checks import Folders, check_chains, check_ports, check_reach
from tranship.config.dispatcher import DispatcherChain, DispatcherConfig
from tranship.config.fetch import FetchConfig
from tranship.config.findings import Report
from tranship.config.logins import Unseen, with_login
from tranship.config.move import MoveChain, MoveConfig
from tranship.config.moving import Moves
from tranship.config.parameters import check_movable, meant_parameters
from tranship.config.tree import Loc, Tree
from tranship.config.values import Parameters
from tranship.core.allow import EVERYTHING
from tranship.core.origin import Origin


def check_dispatcher(
    config: DispatcherConfig, tree: Tree, report: Report, unseen: Unseen
) -> DispatcherConfig:
    """Report what is wrong, or probably not meant. Returns it with its logins, and parameters that mean something."""
    check_chains(config.chains, tree, report)
    _check_sockets(config, tree, report)
    chains = {}
    for name, chain in config.chains.items():
        loc: Loc = ("chains", name)
        chains[name] = _target(chain, tree, loc, report, unseen)
        check_reach(chain.allow, tree, (*loc, "allow"), report)
        if config.publish is not None and chain.publish_topic is None:
            told = "has no `publish_topic`, so that nobody is told of its files"
            report.warn(tree.place(loc), told, "add one, or ignore this")
        if config.publish is None and chain.publish_topic is not None:
            told = "is not used, as nothing is published"
            report.warn(tree.place((*loc, "publish_topic")), told, "add `publish`, or start with -p")
    return config.model_copy(update={"chains": chains})


def check_fetch(config: FetchConfig, tree: Tree, report: Report, unseen: Unseen) -> FetchConfig:
    """Report what is wrong, or probably not meant. Returns it with its logins, and parameters that mean something."""
    check_chains(config.chains, tree, report)
    _check_sockets(config, tree, report)
    chains = {}
    for name, chain in config.chains.items():
        loc: Loc = ("chains", name)
        known = with_login(chain, tree.place((*loc, "login_file")), report, unseen)
        urls = (*chain.allow, *((chain.source,) if chain.source else ()))
        if not urls:
            told = "allows no source, so that nothing is fetched"
            report.warn(tree.place((*loc, "allow")), told, "add URL patterns")
        for url in urls:
            if url != EVERYTHING:
                check_movable(url, tree.place((*loc, "allow")), report)
        if not report.errors:
            parameters = meant_parameters(
                chain.connection_parameters, urls, tree, (*loc, "connection_parameters"), report
            )
            known = known.model_copy(update={"connection_parameters": parameters})
        chains[name] = known
    return config.model_copy(update={"chains": chains})


def check_move(
    config: MoveConfig, tree: Tree, report: Report, folders: Folders, unseen: Unseen
) -> MoveConfig:
    """Report what is wrong, or probably not meant. Returns it with its logins, and parameters that mean something."""
    check_chains(config.chains, tree, report)
    _check_sockets(config, tree, report)
    chains = {}
    for name, chain in config.chains.items():
        wrong = folders(Path(Origin(chain.origin).root))
        if wrong:
            report.error(tree.place(("chains", name, "origin")), wrong, "make it, or mend the path")
        if config.publish is not None and chain.topic is None:
            told = "is missing, and what is moved is to be published"
            report.error(tree.place(("chains", name, "topic")), told, "give a topic like /1b/hrit")
        chains[name] = _moved(chain, tree, ("chains", name), report, unseen)
    return config.model_copy(update={"chains": chains})


def _check_sockets(config: Moves, tree: Tree, report: Report) -> None:
    if config.replay is None:
        return
    if config.publish is None:
        told = "does nothing here, as nothing is published"
        report.error(tree.place(("replay",)), told, "add `publish`, or leave it out")
        return
    both = (
        (("publish", "port"), "publishing", config.publish),
        (("replay", "port"), "replaying", config.replay),
    )
    check_ports(both, tree, report)


def _moved(chain: MoveChain, tree: Tree, loc: Loc, report: Report, unseen: Unseen) -> MoveChain:
    destinations = []
    for n, destination in enumerate(chain.destinations):
        place = (*loc, "destinations", n)
        check_movable(destination.url, tree.place(place), report)
        if _comes_back(chain.origin, destination.url):
            told = "is a folder whose files `origin` takes, so that they would be moved again and again"
            report.error(tree.place(place), told, "name another folder")
        known = with_login(destination, tree.place((*place, "login_file")), report, unseen)
        destinations.append(known)
    work = chain.unpack.directory if chain.unpack else None
    if work and f"{work}/".startswith(Origin(chain.origin).root.rstrip("/") + "/"):
        told = "lies in what is watched, so that results would be found there"
        report.error(tree.place((*loc, "unpack", "directory")), told, "name another folder")
    changes: dict[str, Any] = {"destinations": tuple(destinations)}
    if not report.errors:
        urls = [destination.url for destination in chain.destinations]
        changes["connection_parameters"] = meant_parameters(
            chain.connection_parameters, urls, tree, (*loc, "connection_parameters"), report
        )
    return chain.model_copy(update=changes)


def _comes_back(origin: str, url: str) -> bool:
    """Whether a file that is moved to the folder url fits origin again, as far as its folder tells."""
    scheme, _, path = url.partition("://")
    return scheme.lower() == "file" and Origin(str(Path(origin).parent)).covers(str(Path(path)))


def _target(chain: DispatcherChain, tree: Tree, loc: Loc, report: Report, unseen: Unseen) -> DispatcherChain:
    chain = with_login(chain, tree.place((*loc, "login_file")), report, unseen)
    routes = tuple(
        with_login(route, tree.place((*loc, "routes", n, "login_file")), report, unseen)
        for n, route in enumerate(chain.routes)
    )
    chain = chain.model_copy(update={"routes": routes})
    hosts = {chain.host, *(route.host for route in routes if route.host is not None)}
    for n, route in enumerate(routes):
        if route.host:
            check_movable(route.host, tree.place((*loc, "routes", n, "host")), report)
        elif route.login or route.login_file:
            place = tree.place((*loc, "routes", n, "login"))
            report.error(place, "belongs to no host of this route", "add `host`, or put it to the target")
    if chain.host:
        check_movable(chain.host, tree.place((*loc, "host")), report)
    for host, logins in _by_host(chain).items():
        if len(logins) > 1:
            told = f"has several logins for {host or 'this host'}"
            report.error(tree.place(loc), told, "make a target of its own for each")
    if report.errors:
        return chain
    return _with_parameters(chain, hosts, tree, loc, report)


def _with_parameters(
    chain: DispatcherChain, hosts: set[str], tree: Tree, loc: Loc, report: Report
) -> DispatcherChain:
    """The target with parameters that mean something, its own and those of its routes."""
    key = "connection_parameters"
    urls = {host or "file://" for host in hosts}
    changes: dict[str, Any] = {
        key: meant_parameters(chain.connection_parameters, urls, tree, (*loc, key), report)
    }
    routes = list(chain.routes)
    for n, route in enumerate(routes):
        if route.connection_parameters is not None:
            url = {(chain.host if route.host is None else route.host) or "file://"}
            meant = meant_parameters(route.connection_parameters, url, tree, (*loc, "routes", n, key), report)
            routes[n] = route.model_copy(update={key: meant})
    chain = chain.model_copy(update=changes | {"routes": tuple(routes)})
    for host, several in _parameters_by_host(chain).items():
        if any(each != several[0] for each in several):
            told = f"has several `{key}` for {host or 'this host'}"
            report.error(tree.place(loc), told, "make a target of its own for each")
    return chain


def parameters_of(chain: DispatcherChain) -> Mapping[str, Parameters]:
    """The parameters for each host of a target."""
    return {host: several[0] for host, several in _parameters_by_host(chain).items()}


def _parameters_by_host(chain: DispatcherChain) -> dict[str, list[Parameters]]:
    found: dict[str, list[Parameters]] = {}
    for route in chain.routes:
        own = route.connection_parameters
        host = chain.host if route.host is None else route.host
        found.setdefault(host, []).append(chain.connection_parameters if own is None else own)
    return found


def logins_of(chain: DispatcherChain) -> Mapping[str, SecretStr]:
    """The login for each host of a target, as far as it has one."""
    return {host: SecretStr(next(iter(logins))) for host, logins in _by_host(chain).items() if logins}


def _by_host(chain: DispatcherChain) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for host, block in _blocks(chain):
        if block.login is not None:
            found.setdefault(host, set()).add(block.login.get_secret_value())
    return found


def _blocks(chain: DispatcherChain) -> Iterator[tuple[str, Any]]:
    yield chain.host, chain
    yield from ((route.host, route) for route in chain.routes if route.host is not None)
