"""`defaults`: options that every chain of a YAML file has, unless it says otherwise itself."""

from typing import Any

from tranship.config.findings import Report
from tranship.config.tree import Loc, Tree

_SOCKETS = frozenset({"request", "publish"})
_ONE_CHOICE = frozenset({"settle", "replace", "unpack"})


def with_defaults(tree: Tree, report: Report) -> Tree:
    """The tree without `defaults`, whose options stand in every chain. Blocks are joined option by option."""
    if "defaults" not in tree.value:
        return tree
    defaults = tree.value["defaults"]
    rest = {key: value for key, value in tree.value.items() if key != "defaults"}
    if not isinstance(defaults, dict):
        report.error(tree.place(("defaults",)), "does not fit", "give a block of options for every chain")
        return Tree(rest, tree.places)
    chains = rest.get("chains")
    if not isinstance(chains, dict):
        return Tree(rest, tree.places)
    places = dict(tree.places)
    for name, chain in chains.items():
        for loc, place in tree.places.items():
            if loc[:1] == ("defaults",) and len(loc) > 1:
                places.setdefault(_moved(loc, str(name)), place)
        chains[name] = _joined(defaults, chain) if isinstance(chain, dict) else chain
    return Tree(rest | {"chains": chains}, places)


def _moved(loc: Loc, chain: str) -> Loc:
    return ("chains", chain, *loc[1:])


def _joined(defaults: dict[str, Any], chain: dict[str, Any]) -> dict[str, Any]:
    joined = defaults | chain
    for key in defaults.keys() & chain.keys() - _ONE_CHOICE:
        general = defaults[key]
        own = {"port": chain[key]} if key in _SOCKETS and isinstance(chain[key], str) else chain[key]
        if isinstance(general, dict) and isinstance(own, dict):
            joined[key] = general | own
    return joined
