"""No secret at any log level: what a test says is searched for the passwords that the tests plant.

Searched are every log record, down to DEBUG; what was written to stdout and stderr, by processes, too; and the logs and
journals that processes of ours left in the test's folder. A test during which a password is told ends in an error. All
planted passwords hold one of the words below. What other people's servers write is theirs; what they log within the
test's process is known by its logger.
"""

import logging
import re
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

PLANTED = re.compile("Pl4nted|S3cret")
THEIRS = ("pyftpdlib", "asyncssh", "wsgidav", "cheroot")
LEFT = ("*.log", "*.journal*", "stderr*", "stdout*")
AROUND = 200


class Watch(logging.Handler):
    """Keeps the log records that tell a planted password."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at the message, and at the traceback that goes with it."""
        if record.name.partition(".")[0] in THEIRS:
            return
        texts = [record.getMessage()]
        if record.exc_info:
            texts += traceback.format_exception(*record.exc_info)
        self.told += [f"the log {record.name}: {excerpt}" for text in texts for excerpt in excerpts(text)]


def excerpts(text: str) -> Iterator[str]:
    """What stands around each planted password in text."""
    for found in PLANTED.finditer(text):
        yield text[max(0, found.start() - AROUND) : found.end() + AROUND]


WATCH = pytest.StashKey[Watch]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[WATCH] = watch = Watch()
    logging.getLogger().addHandler(watch)
    logging.getLogger().setLevel(logging.DEBUG)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Once everything is over that the test used, look at what was said."""
    yield
    watch = item.config.stash[WATCH]
    told, watch.told = watch.told, []
    for _, kind, content in item._report_sections:
        if kind != "log":
            told += [f"{kind}: {excerpt}" for excerpt in excerpts(content)]
    told += [
        f"{path}: {excerpt}"
        for path in left_by(item)
        for excerpt in excerpts(path.read_text(errors="replace"))
    ]
    assert not told, f"{len(told)} times a password was told, first by {told[0]}"


def left_by(item: pytest.Item) -> Iterator[Path]:
    """The logs and journals in the test's folder, and in the folders in it."""
    folder: Path | None = getattr(item, "funcargs", {}).get("tmp_path")
    if folder is not None:
        for pattern in LEFT:
            yield from (path for deep in ("", "*/") for path in folder.glob(deep + pattern) if path.is_file())
