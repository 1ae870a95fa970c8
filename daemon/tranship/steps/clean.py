"""clean: delete what is old below a folder, and folders that this leaves empty.

Every folder is opened below the one before it, and no link is followed: whatever somebody puts there meanwhile, nothing
outside is looked into or deleted. A link to a file is as old as the younger of the two: one to what is written anew and
anew stays.
"""

import fnmatch
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Times(StrEnum):
    """The times that a file has."""

    CTIME = "ctime"
    MTIME = "mtime"
    ATIME = "atime"


_DEEPEST = 500
"""Folders below each other: so many are open at once."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is old. templates: shell patterns below base; recursive: their last part holds in all folders below.

    A template that ends with / means folders, unless it is recursive.
    """

    base: str
    templates: tuple[str, ...]
    older_than: timedelta
    time: Times = Times.CTIME
    recursive: bool = False
    include_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """Something that was deleted, or would be: a file, or an empty folder; size in bytes, and why."""

    path: str
    size: int
    folder: bool
    reason: str


@dataclass(slots=True)
class Cleaned:
    """What became of one rule. errors: (path, why it could not be deleted, or looked at)."""

    gone: list[Gone] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)


def clean(rule: Rule, now: float, *, remove: bool, gone: Callable[[Gone], None] = lambda _: None) -> Cleaned:
    """Delete (or, unless remove, find) what is older than the rule says at the moment now. Blocking.

    gone is told each as it happens. What can't be deleted is an error of its own, and ends nothing.
    """
    sweep = _Sweep(rule, now, remove, gone)
    try:
        with _opened(rule.base) as base:
            for template in rule.templates:
                *folders, last = [part for part in template.split("/") if part not in ("", ".")] or [""]
                for folder, path in _folders(base, rule.base.rstrip("/") or "/", folders, sweep):
                    if rule.recursive:
                        sweep.below(folder, path, last)
                    else:
                        sweep.here(folder, path, last, files=not template.endswith("/"))
    except FileNotFoundError as error:
        sweep.outcome.errors.append((rule.base, f"{error.strerror}; is it mounted, and the path right?"))
    except OSError as error:
        sweep.outcome.errors.append((rule.base, error.strerror or str(error)))
    return sweep.outcome


@dataclass(slots=True)
class _Sweep:
    rule: Rule
    now: float
    remove: bool
    told: Callable[[Gone], None]
    outcome: Cleaned = field(default_factory=Cleaned)
    _done: set[str] = field(default_factory=set)

    def here(self, folder: int, path: str, pattern: str, *, files: bool = True) -> None:
        """Delete what fits the pattern in the folder (open) at path, and is old; of folders only, unless files."""
        for name in self.names(folder, path, pattern):
            whole = os.path.join(path, name)
            if not name.endswith(".keep") and whole not in self._done and (files or _is_folder(folder, name)):
                self._consider(folder, name, whole)

    def below(self, folder: int, path: str, pattern: str, depth: int = 0) -> None:
        """The same in all folders below, the deepest first; folders that are empty then go, but for the first."""
        if depth > _DEEPEST:
            self.error(path, OSError(0, f"more than {_DEEPEST} folders deep: it is left as it is"))
            return
        inner = [name for name in self.names(folder, path, "*", hidden=True) if _is_folder(folder, name)]
        for name in inner:
            whole = os.path.join(path, name)
            try:
                with _opened(name, folder) as deeper:
                    before = len(self.outcome.gone)
                    old = self._age(os.stat(deeper)) is not None
                    self.below(deeper, whole, pattern, depth + 1)
                    emptied = len(self.outcome.gone) > before
                    left = [n for n in os.listdir(deeper) if os.path.join(whole, n) not in self._done]
                if not left and (emptied or old) and whole not in self._done:
                    self._delete(folder, name, Gone(whole, 0, True, "empty"))
            except FileNotFoundError:
                continue
            except OSError as error:
                self.error(whole, error)
        self.here(folder, path, pattern)

    def names(self, folder: int, path: str, pattern: str, *, hidden: bool = False) -> list[str]:
        """The names in folder that fit pattern."""
        try:
            found = sorted(os.listdir(folder))
        except OSError as error:
            self.error(path, error)
            return []
        hidden = hidden or self.rule.include_hidden or pattern.startswith(".")
        return [n for n in found if fnmatch.fnmatchcase(n, pattern) and (hidden or not n.startswith("."))]

    def _consider(self, folder: int, name: str, path: str) -> None:
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            why = self._age(facts)
            if why is None or (stat.S_ISLNK(facts.st_mode) and self._leads_to_new(folder, name)):
                return
            if stat.S_ISDIR(facts.st_mode):
                with _opened(name, folder) as inner:
                    left = [n for n in os.listdir(inner) if os.path.join(path, n) not in self._done]
                if not left:
                    self._delete(folder, name, Gone(path, 0, True, f"empty, and {why}"))
            else:
                self._delete(folder, name, Gone(path, facts.st_size, False, why))
        except FileNotFoundError:
            return  # somebody else was quicker
        except OSError as error:
            self.error(path, error)

    def _leads_to_new(self, folder: int, name: str) -> bool:
        try:
            facts = os.stat(name, dir_fd=folder)
        except OSError:  # to nothing
            return False
        return not stat.S_ISDIR(facts.st_mode) and self._age(facts) is None

    def _delete(self, folder: int, name: str, gone: Gone) -> None:
        if self.remove and gone.folder:
            os.rmdir(name, dir_fd=folder)
        elif self.remove:
            os.unlink(name, dir_fd=folder)
        self._done.add(gone.path)
        self.outcome.gone.append(gone)
        self.told(gone)

    def _age(self, facts: os.stat_result) -> str | None:
        """Why it is old; None if it is not."""
        age = self.now - getattr(facts, f"st_{self.rule.time}")
        if age <= self.rule.older_than.total_seconds():
            return None
        return f"{self.rule.time} {_days(age)} ago, more than {_days(self.rule.older_than.total_seconds())}"

    def error(self, path: str, error: OSError) -> None:
        """Path could not be deleted, or looked at."""
        self.outcome.errors.append((path, error.strerror or str(error)))


def _folders(folder: int, path: str, patterns: list[str], sweep: _Sweep) -> Iterator[tuple[int, str]]:
    """The folders below folder whose names fit patterns, one pattern per level: each open, and its path."""
    if not patterns:
        yield folder, path
        return
    for name in sweep.names(folder, path, patterns[0]):
        whole = os.path.join(path, name)
        if _is_folder(folder, name):
            try:
                with _opened(name, folder) as deeper:
                    yield from _folders(deeper, whole, patterns[1:], sweep)
            except FileNotFoundError:
                continue
            except OSError as error:
                sweep.error(whole, error)


def _is_folder(folder: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextmanager
def _opened(name: str, folder: int | None = None) -> Iterator[int]:
    """A folder, open; below another one it is not a link."""
    links = 0 if folder is None else os.O_NOFOLLOW
    opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | links, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


def _days(seconds: float) -> str:
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"
