"""An old file as YAML: the same options, in our words, with a comment wherever something means something else."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any

from tranship.config.findings import Finding
from tranship.config.tree import Loc, Plain, Tree


def converted(tree: Tree, findings: Iterable[Finding]) -> str:
    """The YAML file that means what tree says; findings are what loading it told."""
    comments = _comments(tree, findings)
    lines = [*(f"# {line}" for line in comments.get((), [])), *_block(tree.value, (), comments)]
    return "\n".join(lines) + "\n"


_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "allow": "everything, as with the old file: name what is needed",
        "delete": "after a verified delivery or an `ack`, over restarts, and only if it is still that version",
        "nameservers": "as in the old file, or as there if it said nothing; here the default is `no`",
        "heartbeat_alarm_scale": "as in the old file, or as there if it said nothing; here the default is 10",
        "create_target_directory": "folders are made by the umask, not with mode 0777",
        "transfer_req_timeout": "without a sign of life, not for the whole transfer",
        "unpack": "links, devices and names that lead out are refused; a server announces nothing that it can't unpack",
        "poll_interval": "polling is chosen by `watch: poll`, or -w",
        "replace": "a value that no table holds stays as it is",
        "login": "may stand in a file of its own: `login_file`",
        "recursive": "folders that become empty go; links are not followed",
    }
)
"""What is to be said of an option, wherever it stands."""


def _comments(tree: Tree, findings: Iterable[Finding]) -> dict[Loc, list[str]]:
    """What is to be said, by where it is said."""
    found: dict[Loc, list[str]] = {}
    order = [loc for loc in _locs(tree.value, ()) if loc in tree.places]
    for finding in findings:
        where = next((loc for loc in order if _is_at(tree, loc, finding)), ())
        old = f"line {finding.line}: " if finding.line > 1 else ""
        advice = _IN_YAML.sub("change it here", finding.advice)
        found.setdefault(where, []).append(f"{old}{finding.problem}; {advice}")
    for loc in _locs(tree.value, ()):
        said = _MEANINGS.get(str(loc[-1])) if loc[:1] == ("chains",) and len(loc) == 3 else None
        if said:
            found.setdefault(loc, []).append(said)
    return found


def _is_at(tree: Tree, loc: Loc, finding: Finding) -> bool:
    place = tree.places[loc]
    return bool(loc) and place.line == finding.line and place.key == finding.key


def _locs(value: Any, loc: Loc) -> Iterator[Loc]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*loc, key)
            yield from _locs(inner, (*loc, key))


def _block(value: Mapping[str, Any], loc: Loc, comments: Mapping[Loc, list[str]]) -> Iterator[str]:
    """The lines of a block, not indented."""
    for key, inner in value.items():
        here = (*loc, key)
        if loc in ((), ("chains",)) and key != next(iter(value)):
            yield ""
        yield from (f"# {line}" for line in comments.get(here, []))
        name = _scalar(str(key))
        if isinstance(inner, Mapping) and inner:
            yield f"{name}:"
            yield from (f"  {line}" if line else "" for line in _block(inner, here, comments))
        elif _is_list(inner) and any(isinstance(item, Mapping) for item in inner):
            yield f"{name}:"
            yield from (f"  {line}" for line in _items(inner, here, comments))
        else:
            yield f"{name}:" if inner is None else f"{name}: {_flow(inner, here)}"


def _items(items: Sequence[Any], loc: Loc, comments: Mapping[Loc, list[str]]) -> Iterator[str]:
    for item in items:
        lines = (
            list(_block(item, loc, comments)) if isinstance(item, Mapping) and item else [_flow(item, loc)]
        )
        yield from (f"{'- ' if n == 0 else '  '}{line}" for n, line in enumerate(lines))


def _flow(value: Any, loc: Loc) -> str:
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_scalar(str(key))}: {_flow(inner, loc)}" for key, inner in value.items()) + "}"
        )
    if _is_list(value):
        return "[" + ", ".join(_flow(item, loc) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str) and not isinstance(value, Plain) and _ANY_VALUE & set(loc):
        return _quoted(value)  # a text there, even if it looks like a number
    return _scalar(str(value))


_IN_YAML = re.compile(r"write the file in YAML( \(docs/configuration\.md\))?")

_ANY_VALUE = frozenset({"info", "replace", "connection_parameters", "conditions", "aliases"})
"""Blocks in which no option says whether 12 is a text or a number."""

_SAFE = re.compile(r"[A-Za-z0-9_/.+-][A-Za-z0-9_/.+@=-]*(:[A-Za-z0-9_/.+@=-]+)*( [A-Za-z0-9_/.+=-]+)*")


def _scalar(text: str) -> str:
    """A scalar that any YAML reader takes for this text."""
    plain = _SAFE.fullmatch(text) and text not in ("-", "null", "Null", "NULL") and not text.startswith("- ")
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """A text in quotes; what no YAML file may hold as it is, escaped."""
    return _UNSAID.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


_UNSAID = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
