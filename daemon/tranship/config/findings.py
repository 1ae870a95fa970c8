"""What is wrong in a configuration file, so that it can be mended: file, line, key, problem, next move."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file: its line (from 1; 0: nowhere in it) and its key path."""

    line: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend, or to think about. Holds no secret."""

    file: str
    line: int
    key: str
    problem: str
    advice: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        told = f"{where}: {self.key}: {self.problem}" if self.key else f"{where}: {self.problem}"
        return f"{told}; {self.advice}" if self.advice else told


class ConfigError(Exception):
    """The file can't be used. `findings` holds all that is wrong with it, in the order of the file."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        """Take the findings; the text shows one per line."""
        super().__init__("\n".join(map(str, findings)))
        self.findings = tuple(findings)


@dataclass(slots=True)
class Report:
    """Collects findings while a file is read, so that all of them can be told at once."""

    file: str
    _errors: dict[Finding, None] = field(default_factory=dict)
    _warnings: dict[Finding, None] = field(default_factory=dict)

    def error(self, place: Place, problem: str, advice: str = "") -> None:
        """Something that stops the start."""
        self._errors[Finding(self.file, place.line, place.key, problem, advice)] = None

    def warn(self, place: Place, problem: str, advice: str = "") -> None:
        """Something that works, but probably not as it was meant."""
        self._warnings[Finding(self.file, place.line, place.key, problem, advice)] = None

    def withdraw(self, problem: str) -> None:
        """Forget the warnings that begin so: they do not hold."""
        self._warnings = {told: None for told in self._warnings if not told.problem.startswith(problem)}

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The errors, in the order of the file."""
        return _in_order(self._errors)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The warnings, in the order of the file."""
        return _in_order(self._warnings)

    def stop(self, place: Place, problem: str, advice: str = "") -> ConfigError:
        """The exception of an error after which nothing more can be found."""
        self.error(place, problem, advice)
        return ConfigError(self.errors)


def nearest(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """The one of words that word was probably meant to be; "" if none is near."""
    return next(iter(get_close_matches(word.lower(), sorted(words), n=1, cutoff=cutoff)), "")


def listed(words: Iterable[str]) -> str:
    """Words in one line: "a, b or c"."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    def by_line(finding: Finding) -> int:
        return finding.line

    return tuple(sorted(findings, key=by_line))
