"""Every command explains itself, and README.md tells of commands and configurations that are."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from tranship.cli import app
from tranship.config import load, taken_on_trust

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMAND = get_command(app)


def _commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, *path, name)


@pytest.mark.parametrize("path", list(_commands(COMMAND)), ids=" ".join)
def test_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output
    assert CliRunner().invoke(app, [*path, "-h"]).output == result.output


def test_every_command_and_option_has_help() -> None:
    for path in _commands(COMMAND):
        command: click.Command = COMMAND
        for name in path:
            command = command.commands[name]  # type: ignore[attr-defined]
        assert command.help, path
        silent = [each.name for each in command.params if not getattr(each, "help", "")]
        assert not silent, (path, silent)


def test_version() -> None:
    assert re.fullmatch(r"tranship \d+\.\d+.*\n", CliRunner().invoke(app, ["--version"]).output)


def _blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [block for word, block in fenced if word == language]


def _told_commands() -> list[list[str]]:
    """The commands of README.md: in its shell blocks, and between backquotes."""
    lines = [line for block in _blocks("") for line in block.splitlines()]
    lines += re.findall(r"`(tranship [^`]+)`", README)
    words = [shlex.split(line.rstrip("& "), comments=True) for line in lines]
    return [told[1:] for told in words if told and told[0] == "tranship"]


def test_commands_of_the_readme_are_commands_of_the_cli() -> None:
    told = _told_commands()
    assert len(told) >= 7
    for words in told:
        command: click.Command = COMMAND
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert command is not COMMAND, words
        with click.Context(command) as context:
            command.parse_args(context, words)  # raises UsageError for what it does not know


def test_configurations_of_the_readme_load(tmp_path: Path) -> None:
    roles = []
    for block in _blocks("yaml"):
        file = tmp_path / f"{yaml.safe_load(block)['role']}.yaml"
        file.write_text(block)
        loaded = load(file, folders=taken_on_trust)
        assert loaded.warnings == ()
        roles.append(loaded.config.role)
    assert roles == ["server", "client"]
