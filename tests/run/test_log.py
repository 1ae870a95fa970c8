"""What a process says: one line per file and step, no password, the same oddity once."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tranship.core.journey import Step
from tranship.core.story import Silent, Story
from tranship.run.log import LEVELS, STORY, Lines, LogConfigError, Once, Redacting, redacted, set_up


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.levels: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.levels.append(record.levelno)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def logger(kept: Kept) -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.run")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(kept)
    yield logger
    logger.removeHandler(kept)


def test_a_line_has_always_the_same_keys_in_the_same_order(logger, kept):
    story: Story = Lines(logger)
    story.tell(Step.ANNOUNCED, "/in/a.dat", "sat", ms=3.14159, size=10240)
    story.tell(Step.MOVED, "/in/a.dat", "sat", reason="why not", zeta=1, to="sftp://archive/in", alpha=True)
    assert kept.lines == [
        "announced file=/in/a.dat chain=sat size=10240 ms=3.142",
        'moved file=/in/a.dat chain=sat size=- ms=- to=sftp://archive/in reason="why not" alpha=True zeta=1',
    ]


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        'a"b',
        "a\nb",
        "a\rb",
        "a\x1b[31mb",
        "a\u2028b",
        "a\x85b",
        "\udcff.dat",
        "a\tb",
        "",
        "a\u202eb",
        "é ü",
    ],
)
def test_no_value_breaks_its_line_or_looks_like_another(logger, kept, name):
    Lines(logger).tell(Step.MOVED, name, "sat", size=1)
    (line,) = kept.lines
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    value = line.removeprefix("moved file=").removesuffix(" chain=sat size=1 ms=-")
    assert json.loads(value) == name
    assert line.encode()


def test_plain_names_stay_plain(logger, kept):
    Lines(logger).tell(Step.MOVED, "/in/Zürich=1\\x.dat", "sat")
    assert kept.lines == ["moved file=/in/Zürich=1\\x.dat chain=sat size=- ms=-"]


def test_every_step_has_its_level(logger, kept):
    story = Lines(logger)
    for step in Step:
        story.tell(step, "f", "c")
    assert kept.levels == [LEVELS[step] for step in Step]
    assert LEVELS[Step.DETECTED] == LEVELS[Step.REQUESTED] == logging.DEBUG
    assert LEVELS[Step.PUBLISHED] == logging.INFO
    assert LEVELS[Step.FAILED] == logging.WARNING
    logger.setLevel(logging.INFO)
    story.tell(Step.DETECTED, "f", "c")
    assert len(kept.lines) == len(Step)
    Silent().tell(Step.FAILED, "f", "c", reason="nobody hears")


@pytest.mark.parametrize(
    ("said", "kept_of_it"),
    [
        ("to ftp://me:secret@host/in now", "to ftp://me:***@host/in now"),
        ("ftp://me@site.org:secret@host", "ftp://me@site.org:***@host"),
        ("ftp://me:se/c:r@e\"t'@host:21/x", "ftp://me:***@host:21/x"),
        ("ftp://:secret@host", "ftp://:***@host"),
        ("ftp://me:12345@host", "ftp://me:***@host"),
        ("sftp+x://a:secret@h,ftp://b:secret@i", "sftp+x://a:***@i"),
        ("tcp://host:9010,ftp://b:secret@i", "tcp://host:9010,ftp://b:***@i"),
        ("('ftp://a:secret@h', 'x')", "('ftp://a:***@h', 'x')"),
        ("tcp://host:9010/topic@v2 and a@b", "tcp://host:9010/topic@v2 and a@b"),
        ("pytroll://a/b file me@host 2026", "pytroll://a/b file me@host 2026"),
        ("ssh://git@host:22", "ssh://git@host:22"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("no address, a:b@c", "no address, a:b@c"),
    ],
)
def test_passwords_are_taken_out_and_nothing_else(said, kept_of_it):
    assert redacted(said) == kept_of_it


def test_hostile_text_costs_no_time():
    redacted("@" + "://a:" * 200_000)
    redacted("://:" * 200_000 + "@")


def test_no_password_passes_in_any_part_of_a_record(logger, kept):
    kept.addFilter(Redacting())
    kept.setFormatter(logging.Formatter("%(message)s %(place)s", defaults={"place": ""}))
    url = "sftp://me:pl4nted@host/in"
    try:
        raise OSError(f"can't reach {url}")
    except OSError:
        logger.exception("moving to %s: %s", url, {"to": url}, extra={"place": url}, stack_info=True)
    logger.warning("%d files", "wrong argument", extra={"place": url})
    logger.warning("sftp://me:pl4nted@host/in", stack_info=True)  # the stack shows this line
    text = "\n".join(kept.lines)
    assert "pl4nted" not in text
    assert text.count("sftp://me:***@host/in") == 7
    assert "Traceback" in text
    assert "wrong argument" in text


def test_once_per_key_and_never_more_than_the_limit_in_a_window():
    now = [0.0]
    once = Once(limit=3, window=100, now=lambda: now[0])
    assert [once(("peer", kind)) for kind in "aabbca"] == [True, False, True, False, True, False]
    assert not any(once(number) for number in range(1000))
    now[0] = 100.0
    assert once("new")
    assert once(("peer", "a"))
    assert not once("new")


SAY = """
import logging, sys
from pathlib import Path
from tranship.core.journey import Step
from tranship.run.log import STORY, Lines, set_up
set_up("debug", Path(sys.argv[1]) if len(sys.argv) > 1 else None)
logging.getLogger("tranship.x").warning("two\\nlines to ftp://me:pl4nted@host")
Lines(logging.getLogger(STORY)).tell(Step.MOVED, "f", "c")
logging.getLogger("botocore").debug("Authorization: ...")
logging.getLogger("tranship.x").debug("-")
"""


def said(*arguments: str, shell: str = 'exec "$0" "$@"', folder: Path) -> str:
    """What a process says on stderr."""
    with (folder / "stderr").open("w+b") as stderr:
        subprocess.run(
            ["sh", "-c", shell, sys.executable, "-c", SAY, *arguments], stderr=stderr, check=True, timeout=60
        )
        stderr.seek(0)
        return stderr.read().decode()


def test_on_a_terminal_lines_have_time_and_level(tmp_path):
    first, second, third, last = said(folder=tmp_path).splitlines()
    time, level, text = first.split(maxsplit=2)
    assert len(time) == len("2026-01-02T03:04:05.678Z")
    assert time.endswith("Z")
    assert (level, text) == ("WARNING", "two")
    assert second == "lines to ftp://me:***@host"
    assert third.endswith("INFO     moved file=f chain=c size=- ms=-")
    assert last.endswith("DEBUG    -")  # and nothing of the library


def test_under_journald_every_line_has_a_priority_and_no_time(tmp_path):
    journald = 'JOURNAL_STREAM=$(stat -L -c %d:%i /dev/fd/2) exec "$0" "$@"'
    assert said(shell=journald, folder=tmp_path).splitlines() == [
        "<4>two",
        "<4>lines to ftp://me:***@host",
        "<6>moved file=f chain=c size=- ms=-",
        "<7>-",
    ]


def test_another_stream_than_the_journals_has_time(tmp_path):
    assert "Z WARNING" in said(shell='JOURNAL_STREAM=1:1 exec "$0" "$@"', folder=tmp_path)


def test_the_log_configuration_of_trollmoves_is_obeyed_and_redacted(tmp_path):
    config = tmp_path / "log.yaml"
    config.write_text(f"""
version: 1
formatters: {{pytroll: {{format: "[%(levelname)s: %(name)s] %(message)s"}}}}
handlers:
  file: {{class: logging.handlers.TimedRotatingFileHandler, filename: {tmp_path}/log, formatter: pytroll}}
loggers:
  {STORY}: {{level: WARNING}}
root: {{level: WARNING, handlers: [file]}}
""")
    assert said(str(config), folder=tmp_path) == ""
    assert (tmp_path / "log").read_text().splitlines() == [
        "[WARNING: tranship.x] two",
        "lines to ftp://me:***@host",
    ]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "version: 2", "{version: 1, handlers: {a: {class: no.such.Handler}}}", None],
)
def test_a_log_configuration_that_is_no_good_names_itself(tmp_path, text):
    config = tmp_path / "log.yaml"
    if text is not None:
        config.write_text(text)
    before = logging.getLogger().handlers[:]
    with pytest.raises(LogConfigError, match=r"log\.yaml: this log configuration can't be used: ."):
        set_up("INFO", config)
    assert logging.getLogger().handlers == before


def test_an_unknown_level_names_the_known():
    with pytest.raises(LogConfigError, match="no log level 'LOUD'; take DEBUG, INFO, WARNING or ERROR"):
        set_up("LOUD")
