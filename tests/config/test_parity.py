"""docs/parity.md names every option and flag of Trollmoves, and tests that are there."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from trollmoves import client, dispatcher, mirror, move_it_req, remove_it, s3downloader, server

from tranship.config.clean import CLEAN
from tranship.config.legacy.client import CLIENT
from tranship.config.legacy.mirror import MIRROR
from tranship.config.legacy.move import MOVE
from tranship.config.legacy.server import LISTEN, SERVER

HERE = Path(__file__).parents[2]
PAGE = (HERE / "docs/parity.md").read_text()
WORDS = {word for told in re.findall(r"`([^`]+)`", PAGE) for word in (told, *told.split())}


@pytest.mark.parametrize("options", [SERVER, LISTEN, CLIENT, MIRROR, MOVE, CLEAN])
def test_every_option_that_is_read_stands_there(options):
    assert options.keys() - WORDS == set()


class Caught(Exception):
    """A parser, before it parses."""


PARSERS: tuple[Callable[[], object], ...] = (
    server.parse_args,
    client.parse_args,
    mirror.parse_args,
    dispatcher.parse_args,
    move_it_req.parse_args,
    remove_it.parse_args,
    lambda: s3downloader.parse_args([]),
)


@pytest.mark.parametrize("parse", PARSERS)
def test_every_flag_of_their_own_parsers_stands_there(parse, monkeypatch):
    def caught(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Caught(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", caught)
    with pytest.raises(Caught) as told:
        parse()
    parser = told.value.args[0]
    flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
    assert flags
    assert flags - WORDS == set()


def test_every_test_that_it_names_is_there():
    named = sorted(word for word in WORDS if word.endswith(".py") or ".py::" in word)
    tests = [word for word in named if "/" in word]
    assert len(tests) > 50
    for name in tests:
        file, _, test = name.partition("::")
        code = (HERE / "tests" / file).read_text()
        assert f"def {test}(" in code or not test, name
