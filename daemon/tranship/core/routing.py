"""Which files go where: topics, conditions, aliases, and the destination that is composed from a message.

A target's routes are tried one by one; each that matches gives a destination. Conditions: the sets of a list are
alternatives, inside a set all must hold; `except` is a set that must not hold.

    - product: [green_snow, overview]
      coverage: '>50'
      except: {platform_name: NOAA-15}

Patterns are the configuration's, values are strangers': a value is filled in, never taken for a pattern.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

from trollsift import compose

LONGEST = 4096
"""Bytes that a composed path may have: what a file system takes."""

UNFILLABLE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What trollsift raises where a pattern and a value don't fit (KeyError: a value that is lacking)."""

Data = Mapping[str, Any]


class Verdict(Enum):
    """What a set of conditions says of a message."""

    HOLDS = auto()
    FAILS = auto()
    UNKNOWN = auto()
    """The message lacks what the set asks for (or has no number where one is compared)."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The item is one of values."""

    key: str
    values: tuple[Any, ...]

    def __call__(self, data: Data) -> Verdict:
        """Whether that holds for data."""
        if self.key not in data:
            return Verdict.UNKNOWN
        return Verdict.HOLDS if data[self.key] in self.values else Verdict.FAILS


@dataclass(frozen=True, slots=True)
class Compared:
    """The item, as a number, compares so with another. Raises ValueError if text is no comparison."""

    key: str
    text: str

    def __post_init__(self) -> None:
        if _COMPARISON.fullmatch(self.text) is None:
            raise ValueError(f"{self.text!r} is no comparison like <30 or >=0.5")

    def __call__(self, data: Data) -> Verdict:
        """Whether that holds for data."""
        sign, number = _parts(self.text)
        try:
            value = float(data[self.key])
        except (KeyError, TypeError, ValueError, OverflowError):
            return Verdict.UNKNOWN
        if math.isnan(value):  # nobody can say
            return Verdict.UNKNOWN
        return Verdict.HOLDS if _SIGNS[sign](value, number) else Verdict.FAILS


@dataclass(frozen=True, slots=True)
class Unless:
    """These conditions don't hold all together; what is unknown counts as if they did."""

    conditions: "tuple[Condition, ...]"

    def __call__(self, data: Data) -> Verdict:
        """Whether that holds for data."""
        return Verdict.HOLDS if all_of(self.conditions, data) is Verdict.FAILS else Verdict.FAILS


Condition = AnyOf | Compared | Unless


def all_of(conditions: Sequence[Condition], data: Data) -> Verdict:
    """What a set of conditions says: the first that does not hold decides."""
    verdicts = (condition(data) for condition in conditions)
    return next((verdict for verdict in verdicts if verdict is not Verdict.HOLDS), Verdict.HOLDS)


def conditions_of(told: Mapping[str, Any]) -> tuple[Condition, ...]:
    """The set that a block of a configuration means. Raises ValueError, with the reason."""
    found: list[Condition] = []
    for key, value in told.items():
        if key == "except":
            if not isinstance(value, Mapping):
                raise ValueError("`except` is no block of conditions")
            found.append(Unless(conditions_of(value)))
        elif isinstance(value, list | tuple):
            found.append(AnyOf(key, tuple(value)))
        elif isinstance(value, str) and value[:1] in ("<", ">", "=", "!"):
            found.append(Compared(key, value))
        else:
            found.append(AnyOf(key, (value,)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Alias:
    """Another word for what the item key says; under the name `name`, the item itself staying if that is another."""

    key: str
    name: str
    words: Mapping[str, Any]

    def __call__(self, data: Data) -> Any:
        """The word for data's item, which is its own if there is no other."""
        value = data[self.key]
        if isinstance(value, str | int | float):
            return self.words.get(str(value), value)
        return value  # a list or a block: no alias can be meant


def aliases_of(told: Mapping[str, Any]) -> tuple[Alias, ...]:
    """The aliases that a block means: per item a table, or several, of which some name a new item (`_alias_name`).

    Raises ValueError, with the reason.
    """
    found = []
    for key, tables in told.items():
        for table in tables if isinstance(tables, list | tuple) else [tables]:
            if not isinstance(table, Mapping):
                raise ValueError(f"the aliases of {key} are no table, nor a list of tables")
            words = {word: other for word, other in table.items() if word != "_alias_name"}
            found.append(Alias(key, str(table.get("_alias_name", key)), MappingProxyType(words)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a target: which messages take it, and where their files go.

    host       a URL without path ("": this host)
    directory  a pattern
    name       a pattern; None: the file keeps its name
    conditions  None: every message of these topics
    aliases    other words for what directory and name are filled in with
    """

    topics: tuple[str, ...]
    conditions: tuple[tuple[Condition, ...], ...] | None
    host: str
    directory: str
    name: str | None
    aliases: Sequence[Alias] = ()

    def takes(self, subject: str, data: Data) -> bool:
        """Whether a message about subject with data takes this way."""
        if not subject.startswith(self.topics):
            return False
        if self.conditions is None:
            return True
        return any(all_of(conditions, data) is Verdict.HOLDS for conditions in self.conditions)

    def destination(self, data: Data, name: str) -> str:
        """The path, on the target, of a file that is called name. Raises ValueError, with the reason."""
        data = with_aliases(data, self.aliases)
        folder = filled_in(self.directory, data)
        last = _usable(name, "the file's name") if self.name is None else filled_in(self.name, data)
        if not last or last.endswith("/"):
            raise ValueError(f"{_short(last)} is no file's name")
        if not last.startswith("/"):
            return "/" + f"{folder.rstrip('/')}/{last}".lstrip("/")
        if self.name is None or not self.name.startswith("/"):  # a value has made it so
            raise ValueError(f"{_short(last)} would lead out of the directory")
        return last


def with_aliases(data: Data, aliases: Sequence[Alias]) -> dict[str, Any]:
    """Data, with other words where there are any."""
    return {**data, **{alias.name: alias(data) for alias in aliases if alias.key in data}}


def filled_in(pattern: str, data: Data) -> str:
    """The path that pattern gives with data. Raises ValueError, with the reason, for none that can be used."""
    try:
        path = str(compose(pattern, data)) if "{" in pattern else pattern
    except KeyError as error:
        raise ValueError(f"{pattern} needs {error}, which the message lacks") from None
    except UNFILLABLE as error:
        raise ValueError(f"{pattern} can't be filled in: {_short(str(error))}") from None
    return _usable(path, pattern)


def _usable(path: str, what: str) -> str:
    if any(letter in path for letter in "\0\r\n"):
        raise ValueError(f"{what} would hold a NUL or a line break")
    if ".." in path.split("/"):
        raise ValueError(f"{what} would climb, to {_short(path)}")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} would be no valid Unicode") from None
    if size > LONGEST:
        raise ValueError(f"{what} would be {size} bytes long; {LONGEST} are possible")
    return path


_COMPARISON = re.compile(
    r"\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*"
)
_SIGNS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    }
)


def _parts(text: str) -> tuple[str, float]:
    match = _COMPARISON.fullmatch(text)
    assert match is not None  # noqa: S101 - said when it was made
    return match["sign"], float(match["number"])


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
