"""INI as Python's configparser reads it (no interpolation), but with every line, and all errors at once.

Sections in brackets, `key = value` or `key: value`, keys in lower case, whole-line comments with # or ;.
Lines that are indented deeper go on with the value above. What stands in [DEFAULT], every section inherits.
"""

import re
from dataclasses import dataclass, field

from tranship.config.findings import Place, Report

_HEADER = re.compile(r"\[(?P<name>.+)\]")
_OPTION = re.compile(r"(?P<key>.*?)\s*[=:]\s*(?P<value>.*)$")
_STARTS_INI = re.compile(r"\s*\[[^\[\]]+\]\s*([#;].*)?$|\w+\s*=")


@dataclass(frozen=True, slots=True)
class Item:
    """One option's text, and where it stands."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Section:
    """One section, what it inherits included."""

    name: str
    place: Place
    items: dict[str, Item]


def looks_like_ini(text: str) -> bool:
    """Whether text is INI rather than YAML: its first line that says something is `[section]` or `key =`."""
    said = (line for line in text.split("\n") if line.strip() and line.strip()[0] not in "#;")
    return _STARTS_INI.match(next(said, "")) is not None


def read_ini(text: str, report: Report) -> list[Section]:
    """The sections of text, in order; what is broken goes into the report."""
    reading = _Reading(report)
    for number, line in enumerate(text.split("\n"), start=1):
        reading.take(number, line)
    defaults = reading.sections.pop("DEFAULT", _Open(Place(1, "[DEFAULT]")))
    inherited = defaults.items()
    return [Section(name, part.place, inherited | part.items()) for name, part in reading.sections.items()]


@dataclass(slots=True)
class _Open:
    """A section while it is read: the lines of each option's value."""

    place: Place
    lines: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    def items(self) -> dict[str, Item]:
        return {key: Item("\n".join(said).rstrip(), self.places[key]) for key, said in self.lines.items()}


class _Reading:
    """Takes the lines in order."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.sections: dict[str, _Open] = {}
        self._section: _Open | None = None
        self._value: list[str] | None = None
        self._indent = 0

    def take(self, number: int, line: str) -> None:
        said = line.strip()
        if said.startswith(("#", ";")):
            return
        if not said:
            if self._value is not None:
                self._value.append("")
            return
        indent = len(line) - len(line.lstrip())
        if self._value is not None and indent > self._indent:
            self._value.append(said)
            return
        self._indent = indent
        if header := _HEADER.match(said):
            self._begin(number, header["name"])
        else:
            self._option(number, said)

    def _begin(self, number: int, name: str) -> None:
        self._value = None
        place = Place(number, f"[{name}]")
        if name in self.sections and name != "DEFAULT":
            first = self.sections[name].place.line
            self.report.error(place, f"stands here twice (first in line {first})", "merge or rename one")
            self._section = _Open(place)
        else:
            self._section = self.sections.setdefault(name, _Open(place))

    def _option(self, number: int, said: str) -> None:
        option = _OPTION.match(said)
        if self._section is None:
            self.report.error(Place(number), "stands before the first [section]", "put it into one")
            return
        inside = self._section.place.key
        if option is None or not option["key"]:
            self.report.error(Place(number, inside), "a line without `key = value`", "complete or remove it")
            return
        key = option["key"].rstrip().lower()
        place = Place(number, f"{inside} {key}")
        self._value = [option["value"].strip()]
        if key in self._section.lines:
            first = self._section.places[key].line
            self.report.error(place, f"stands here twice (first in line {first})", "keep one of the two")
            return
        self._section.lines[key] = self._value
        self._section.places[key] = place
