"""What a process says: set up once; one line per file and step; no password ever; the same oddity once.

announced file=/in/a.dat chain=sat size=10240 ms=3.1
failed file=/in/b.dat chain=sat size=10240 ms=- to=sftp://archive/in reason="password refused"
"""

import json
import logging
import logging.config
import os
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import yaml

from tranship.core.journey import Step

STORY = "tranship.story"
"""The logger of the lines per file and step."""

LEVELS = {
    Step.DETECTED: logging.DEBUG,
    Step.SETTLED: logging.DEBUG,
    Step.ANNOUNCED: logging.INFO,
    Step.REQUESTED: logging.DEBUG,
    Step.MOVED: logging.INFO,
    Step.VERIFIED: logging.DEBUG,
    Step.ACKNOWLEDGED: logging.DEBUG,
    Step.PUBLISHED: logging.INFO,
    Step.REFUSED: logging.WARNING,
    Step.SKIPPED: logging.INFO,
    Step.FAILED: logging.WARNING,
    Step.RETRIED: logging.WARNING,
    Step.PAUSED: logging.DEBUG,  # its place says so once, and counts
    Step.REPLAYED: logging.INFO,
    Step.DELETED: logging.DEBUG,
}

_LEVELS = {step.value: level for step, level in LEVELS.items()}
"""By plain words, as these hash faster."""

FACTS = ("size", "ms", "seq", "attempt", "topic", "peer", "to", "reason")
"""The order of facts in a line. The first two always stand there (`-`: not known); others follow by name."""


class LogConfigError(Exception):
    """The log configuration can't be used; the text names the file and says why."""


def set_up(level: str, config_file: Path | None = None) -> None:
    """Log to stderr from level (DEBUG, INFO, WARNING, ERROR) on, or as config_file says.

    level is ours: libraries are heard from WARNING on, as some show secrets when they are asked to debug.
    config_file is YAML in the form of logging.config.dictConfig; level then counts for nothing. Whatever
    handlers come out of it, no password of a URL reaches them. Raises LogConfigError.
    """
    if config_file is None:
        # our lines say nothing of these; finding them out costs a third of each record
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        ours = _level(level)
        logging.basicConfig(level=max(ours, logging.WARNING), handlers=[_stderr()], force=True)
        logging.getLogger("tranship").setLevel(ours)
    else:
        _configure(config_file)
    redacting = Redacting()
    for handler in _handlers():
        handler.addFilter(redacting)


def redacted(text: str) -> str:
    """The text, without the passwords of URLs in it (`scheme://user:password@host`)."""
    if "://" not in text or "@" not in text:
        return text
    return _ADDRESS.sub(_without_password, text)


_ADDRESS = re.compile(r"://\S*")
_USER = re.compile(r"""://[^/:]*:(?![0-9]{1,5}(?:[/"',;)\]}]|$))""")
"""All up to a password (a user may hold an @). What is a port and then the end or a path is none."""


def _without_password(address: re.Match[str]) -> str:
    """Cut out all between the user and the last @, as a password may hold anything. Linear in time."""
    text = address[0]
    end = text.rfind("@")
    user = _USER.search(text)
    if user is None or user.end() > end:
        return text
    return f"{text[: user.end()]}***{text[end:]}"


class Lines:
    """A `Story`, written down as log records. The hot path."""

    def __init__(self, logger: logging.Logger) -> None:
        """Write to logger."""
        self._logger = logger

    def tell(self, step: Step, file: str, chain: str, **facts: object) -> None:
        """Log one line; a fact that holds spaces, quotes or control characters is quoted as in JSON."""
        logger = self._logger
        word = str.__str__(step)
        level = _LEVELS[word]
        if not logger.isEnabledFor(level):
            return
        told = [f" {key}={quoted(facts.get(key))}" for key in _order(tuple(facts))]
        line = f"{word} file={quoted(file)} chain={quoted(chain)}{''.join(told)}"
        logger.handle(logging.LogRecord(logger.name, level, "", 0, line, None, None))


class Once:
    """Says whether something is new, so that an oddity is told once per peer and kind, not once per message.

    Remembers at most `limit` keys; when more come, they are told no more until the `window` (seconds) is over
    and everything is forgotten. So there are never more than `limit` lines in a window, whoever sends what.
    """

    def __init__(
        self, *, limit: int = 1000, window: float = 86400.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Remember nothing yet. now gives monotonic seconds."""
        self._limit = limit
        self._window = window
        self._now = now
        self._since = now()
        self._seen: set[Hashable] = set()

    def __call__(self, key: Hashable) -> bool:
        """Whether key is to be told: it is new, and there is room."""
        if key not in self._seen and len(self._seen) < self._limit:
            self._seen.add(key)
            return True
        if self._now() - self._since < self._window:
            return False
        self._seen = {key}
        self._since = self._now()
        return True


class Redacting(logging.Filter):
    """Takes the passwords of URLs out of a record: message, traceback, stack, extras. The last net only."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place; it always passes."""
        record.msg = redacted(_message(record))
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = _PLAIN.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redacted(record.exc_text)
        if record.stack_info:
            record.stack_info = redacted(record.stack_info)
        if len(record.__dict__) > _USUAL:
            _redact_extras(record.__dict__)
        return True


_PLAIN = logging.Formatter()
_USUAL = len(logging.LogRecord("", 0, "", 0, "", None, None).__dict__)


def _message(record: logging.LogRecord) -> str:
    """The message; one whose arguments don't fit it must not cost the line."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args!r}"


def _redact_extras(fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if isinstance(value, str):
            fields[key] = redacted(value)


def quoted(value: object) -> str:
    """Value as it stands in a line: on one line, and one word."""
    if value is None:
        return "-"
    if type(value) is float:
        return repr(round(value, 3))
    text = value if type(value) is str else str(value)
    if not text.isprintable():
        return json.dumps(text)
    if not text or " " in text or '"' in text:
        return json.dumps(text, ensure_ascii=False)
    return text


@lru_cache(maxsize=256)
def _order(keys: tuple[str, ...]) -> tuple[str, ...]:
    known = [key for key in FACTS if key in FACTS[:2] or key in keys]
    return (*known, *sorted(set(keys).difference(FACTS)))


class _Stderr(logging.Formatter):
    """`2026-01-02T03:04:05.678Z INFO     message`, in UTC."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._date = ""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        second = int(record.created)
        if second != self._second:
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._date}.{int(record.msecs):03d}Z {record.levelname:<8} {record.message}"


class _Journald(logging.Formatter):
    """`<6>message`: the journal has its own time, and takes the priority from each line's beginning."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return prefix + super().format(record).replace("\n", "\n" + prefix)


_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


def _stderr() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Journald() if _is_journal(sys.stderr, os.environ.get("JOURNAL_STREAM", "")) else _Stderr()
    )
    return handler


def _is_journal(stream: TextIO, journal: str) -> bool:
    """Whether stream goes to journald: it says in $JOURNAL_STREAM (device:inode) which stream it reads."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal == f"{status.st_dev}:{status.st_ino}"


def _level(level: str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise LogConfigError(f"there is no log level {level!r}; take DEBUG, INFO, WARNING or ERROR")
    return number


def _configure(config_file: Path) -> None:
    try:
        settings = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise TypeError("it must be a mapping, in the form of logging.config.dictConfig")
        logging.config.dictConfig({"disable_existing_loggers": False} | settings)
    except (OSError, yaml.YAMLError, ValueError, TypeError, AttributeError, ImportError) as error:
        reason = f"{error} ({error.__cause__})" if error.__cause__ else str(error)
        raise LogConfigError(f"{config_file}: this log configuration can't be used: {reason}") from error


def _handlers() -> Iterator[logging.Handler]:
    """Every handler of every logger."""
    yield from logging.getLogger().handlers
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
