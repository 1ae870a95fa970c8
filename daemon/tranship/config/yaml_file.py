"""YAML, read so that nothing is guessed: scalars stay text, duplicate keys are errors, all has its line."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import yaml

from tranship.config.findings import Place, Report
from tranship.config.tree import Loc, Plain, Tree

_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})


def read_yaml(text: str, report: Report) -> Tree | None:
    """What text says; None, and an error in the report, if it is no YAML mapping."""
    try:
        root = yaml.BaseLoader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        report.error(*_broken(error, text))
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        report.error(Place(line), "holds a character that no YAML file may hold", "remove it")
        return None
    if not isinstance(root, yaml.MappingNode):
        report.error(Place(1), "holds no options", "begin with `role: server` or `role: client`")
        return None
    reading = _Reading(report)
    value = reading.mapping(root, ())
    return Tree(value, reading.places)


class _Reading:
    """One walk through the nodes, which keeps the line of everything."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.places: dict[Loc, Place] = {(): Place(1)}
        self._open: set[int] = set()

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if id(node) in self._open:
            self.report.error(self.places[loc], "holds itself", "remove the alias")
            return None
        self._open.add(id(node))
        try:
            return self.mapping(node, loc) if isinstance(node, yaml.MappingNode) else self._list(node, loc)
        finally:
            self._open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        self._open.add(id(node))
        inherited: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = Place(_line(key_node), _key(loc, key_node))
            if not isinstance(key_node, yaml.ScalarNode):
                self.report.error(place, "a key has to be a word", "write it as key: value")
            elif key_node.value == "<<" and key_node.style is None:
                inherited |= self._merged(value_node, loc, place)
            elif key_node.value in own:
                first = self.places[*loc, key_node.value].line
                self.report.error(place, f"stands here twice (first in line {first})", "keep one of the two")
            else:
                self.places[*loc, key_node.value] = place
                own[key_node.value] = self.value(value_node, (*loc, key_node.value))
        return inherited | own

    def _merged(self, node: yaml.Node, loc: Loc, place: Place) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):
            if not isinstance(part, yaml.MappingNode) or id(part) in self._open:
                self.report.error(
                    place, "only another block of options can be merged", "name one by its alias"
                )
                continue
            before = dict(self.places)
            merged |= self.mapping(part, loc)
            self.places |= {known: at for known, at in before.items() if known[: len(loc)] == loc}
        return merged

    def _list(self, node: yaml.Node, loc: Loc) -> list[Any]:
        for n, item in enumerate(node.value):
            self.places[*loc, n] = Place(_line(item), self.places[loc].key)
        return [self.value(item, (*loc, n)) for n, item in enumerate(node.value)]


def _scalar(node: yaml.ScalarNode) -> str | None:
    if node.style is not None:
        return str(node.value)
    return None if node.value in _NOTHING else Plain(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _key(loc: Loc, node: yaml.Node) -> str:
    name = node.value if isinstance(node, yaml.ScalarNode) else ""
    return ".".join([*(part for part in loc if isinstance(part, str)), *filter(None, [name])])


# PyYAML's words quote what stands in the file, which may be a secret; these quote nothing.
_QUOTE_IT = "put the value in quotes"
_INDENT = "indent the keys of one block alike, with spaces"
_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "found undefined alias": ("a value that starts with * is an alias in YAML", _QUOTE_IT),
        "expected alphabetic or numeric character": ("a value can't start with * or &", _QUOTE_IT),
        "found character": ("a value can't start with this character", _QUOTE_IT),
        "mapping values are not allowed": ("a second `: ` in one value", f"{_QUOTE_IT}, or {_INDENT}"),
        "could not find expected ':'": ("a key without `:`", "write it as key: value"),
        "expected <block end>": ("this line does not fit the block above it", _INDENT),
        "expected ',' or": ("a bracket or brace is not closed", "close it, or put the value in quotes"),
        "found unexpected end of stream": ("a quote is not closed", "close it"),
        "but found another document": ("a second document (`---`) begins here", "keep one document"),
        "found duplicate anchor": ("two anchors have the same name", "rename one"),
    }
)


def _broken(error: yaml.MarkedYAMLError, text: str) -> tuple[Place, str, str]:
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark else 1
    lines = text.split("\n")
    line = lines[number - 1] if number <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Place(number), "a tab can't indent in YAML", "indent with spaces"
    told = next((words for start, words in _WORDS.items() if start in (error.problem or "")), None)
    return Place(number), *(
        told or ("this is no YAML", "compare it with an example in docs/configuration.md")
    )
