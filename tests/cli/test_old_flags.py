"""Command lines of Trollmoves: what they say to its own parsers, they say to ours."""

from typing import Any

import pytest
import typer
from trollmoves import dispatcher, move_it_req, s3downloader

from tranship import cli
from tranship.cli.old_flags import as_command, with_its_file, written_out

pytestmark = pytest.mark.filterwarnings("ignore:.*pending deprecation:RuntimeWarning")


def ours(command: str, *args: str) -> dict[str, Any]:
    """What a command of ours makes of args."""
    group = typer.main.get_command(cli.app)
    return group.commands[command].make_context(command, list(args)).params  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line",
    [
        "a.yaml",
        "a.yaml -p",
        "-p 9 a.yaml",
        "-p9 a.yaml",
        "--publish-port=9 a.yaml",
        "-n x y -p 9 a.yaml",
        "-n x y -p -- a.yaml",
        "a.yaml -n x y",
        "a.yaml -p -n x",
        "-v a.yaml -c log.yaml",
        "-vl log a.yaml",
    ],
)
def test_the_dispatchers(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["dispatcher.py", *line.split()])
    told = dispatcher.parse_args()
    said = ours("dispatcher", *line.split())
    assert (str(said["file"]), said["port"]) == (told.config_file, told.pub_port)
    assert list(said["name_servers"] or []) == (told.pub_nameservers or [])
    assert (said["log_config"], said["log_file"]) == (told.log_config, told.log)
    assert said["verbose"] is (told.verbose is not False)  # theirs is [] when it was given


@pytest.mark.parametrize(
    "line",
    [
        "-c a.yaml",
        "-ca.yaml",
        "--config-file a.yaml -l x.log",
        "--config-file=a.yaml",
        "-n x y -c a.yaml",
        "-c a.yaml -n x y -r ns",
        "-r ns --nameservers x --config-file a.yaml",
    ],
)
def test_the_s3_downloaders(line: str) -> None:
    told = s3downloader.parse_args(line.split())
    said = ours("fetch", *line.split())
    assert str(said["file"]) == told.config_file
    assert said["log_config"] is None
    assert list(said["name_servers"] or []) == (told.nameservers or [])
    assert (said["subscribe_name_server"] or "localhost") == told.subscribe_nameserver
    assert str(said["log_file"] or "") == (told.log or "")


@pytest.mark.parametrize(
    "line",
    [
        "--ping",
        "--ping tcp://h:1",
        "--info /a h:1",
        "--info=/a",
        "-v --spam 2 --ping h:1",
        "--info a --extra k:v",
    ],
)
def test_those_of_requests(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["move_it_req.py", *line.split()])
    told = move_it_req.parse_args()
    kind, *rest = as_command(line.split())
    group = typer.main.get_command(cli.app).commands["request"]  # type: ignore[attr-defined]
    said = group.commands[kind].make_context(kind, rest).params
    assert kind == ("ping" if told.ping else "info")
    assert f"tcp://{said['server']}" == told.server
    assert (said["spam"], said["extra"]) == (told.spam, told.extra or "")
    if kind == "info":
        assert said["topic"].lstrip("/") == told.info.lstrip("/")


def test_of_requests_everything_is_listed_only_if_much_is_to_be_said() -> None:
    assert as_command(["--info", "/a", "h:1", "-v"]) == ["info", "h:1", "/a", "--count", "2256"]
    assert as_command(["--info", "/a", "h:1"]) == ["info", "h:1", "/a"]


@pytest.mark.parametrize("line", ["ping h:1 --spam 2", "--help", "push h:1 /x -d file:///y/"])
def test_our_own_requests_stay_what_they_are(line: str) -> None:
    assert as_command(line.split()) == line.split()


def test_our_own_ways_of_saying_it() -> None:
    assert written_out(["-n", "x", "a.yaml"]) == ["-n", "x", "a.yaml"]
    assert written_out(["-p", "a.yaml", "-v"]) == ["-p", "0", "a.yaml", "-v"]
    assert with_its_file(["a.yaml", "-c", "log.yaml"]) == ["a.yaml", "-c", "log.yaml"]
    assert with_its_file(["-c", "log.yaml", "a.yaml"]) == ["-c", "log.yaml", "a.yaml"]
    assert with_its_file(["--config-file", "a.yaml", "-c", "log.yaml"]) == ["a.yaml", "-c", "log.yaml"]
    assert with_its_file(["-c"]) == ["-c"]
