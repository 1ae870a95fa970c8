"""Each command about what has become of files, for each role, with its process running and without."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stage import wait_for
from tranship.cli import app
from whole_family import MOVERS, ROLES, Family

RUNS = ("running", "stopped")
DELIVERING = (*MOVERS, "mirror")


def said(*words: str, code: int = 0) -> str:
    """What `tranship …` says, and ends with code."""
    result = CliRunner().invoke(app, words, env={"COLUMNS": "250"}, catch_exceptions=False)
    assert result.exit_code == code, f"{words}: {result.exit_code}: {result.output}"
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module", params=RUNS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    """The whole family, through which good_1.dat has gone; each that delivers has given something up."""
    with Family(tmp_path_factory.mktemp("family")) as made:
        made.start("server", "alone", "mirror", "dispatcher", "fetch", "move", "client")
        made.feed("good_1.dat")
        for name in ROLES:
            wait_for(lambda n=name: made.told(n, "good_1.dat"), f"good_1.dat is told by {name}")
        made.spoil()
        for name in MOVERS:
            asked = ("resend", str(made.members[name].file), "good*", "--dry-run")
            wait_for(lambda a=asked: CliRunner().invoke(app, a).exit_code == 0, f"{name} has noted it")
        if request.param == "stopped":
            made.stop(*ROLES)
        made.state = request.param  # type: ignore[attr-defined]
        yield made
        made.close()


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_status(family: Family, role: str) -> None:
    member = family.members[role]
    is_running = family.state == "running"  # type: ignore[attr-defined]
    for file in (member.file, member.journal):
        told = said("status", str(file))
        assert told.startswith(
            f"{member.command} ({member.journal}): {'running, ' if is_running else 'not running'}"
        )
        [seen] = json.loads(said("status", str(file), "--json"))
        assert (seen["role"], bool(seen["health"])) == (member.command, is_running)
        numbers = seen["rows"][0]["numbers"]
        good = {"server": "had", "mirror": "had", "alone": "announced"}.get(role, "published")
        assert numbers[good] >= 1
        if role in DELIVERING:
            assert numbers["not brought" if role == "mirror" else "given up"] >= 1
            assert any("_1.dat" in line for line in seen["reasons"])
        if role == "alone":
            assert numbers["had"] == 0


def test_trace(family: Family, role: str) -> None:
    member = family.members[role]
    steps = [each["step"] for each in json.loads(said("trace", "good_1.dat", str(member.file), "--json"))]
    last = {"server": "moved", "mirror": "published", "alone": "announced"}.get(role, "published")
    assert last in steps, steps
    assert "unknown to" in said("trace", "none.dat", str(member.file), code=1)


def test_failed_retry_and_drop(family: Family, role: str) -> None:
    member = family.members[role]
    file = str(member.file)
    if role not in DELIVERING:
        for words in (("failed", file), ("retry", file, "*"), ("drop", file, "*", "--yes")):
            assert "holds no deliveries" in said(*words, code=1)
        return

    def given_up() -> list[int]:
        return [
            j["id"] for j in json.loads(said("failed", file, "--json"))["jobs"] if j["state"] == "given up"
        ]

    for order in ("retry", "drop"):
        more = ("--yes",) if order == "drop" else ()
        assert "nothing of that kind" in said(order, file, "none*", *more, code=1)
        said(order, file, *more, code=2)
    before = given_up()
    assert before
    assert "1.dat" in said("failed", file)
    assert said("retry", file, str(before[0])) == "1 tried again\n"
    if family.state == "running":  # type: ignore[attr-defined]
        assert member.process is not None
        member.process.until(f"retry {before[0]}, 1 file: ")
        wait_for(lambda: given_up() == before, "it is given up once more")
    else:
        assert given_up() == before[1:]
    assert said("drop", file, "--all", "--yes") == f"{len(before)} dropped\n"
    assert said("failed", file) == "nothing has failed\n"
    assert said("retry", file, str(before[0])) == "1 tried again\n"  # by its id, dropped or not


def test_resend(family: Family, role: str) -> None:
    """By name, topic and time; listed first; said in the log; past all memory of it, with the same id or a new one."""
    member, name = family.members[role], "good_1.dat"
    file, topic = str(member.file), {"alone": "/alone", "move": "/moved"}.get(role, family.topic)
    said("resend", file, code=2)
    for nothing in (("none*",), ("*", "--topic", "/none"), ("*", "--until", "2020-01-01")):
        assert "nothing of that kind" in said("resend", file, *nothing, "--dry-run", code=1)
    chosen = ("good*", "--topic", topic[:3], "--since", "1 h")
    *listed, count = said("resend", file, *chosen, "--dry-run").splitlines()
    assert {tuple(line.split()[3:5]) for line in listed} == {(topic, name)}
    assert count == f"would resend {len(listed)}"
    before = family.told(role, name)
    assert said("resend", file, *chosen, "--yes") == f"{len(listed)} resent\n"
    if family.state == "stopped":  # type: ignore[attr-defined]
        if role in MOVERS:
            assert "nothing of that kind" in said("resend", file, *chosen, "--dry-run", code=1)  # it is owed
        return
    wait_for(lambda: len(family.told(role, name)) == len(before) + len(listed), "told once more")
    assert member.process is not None
    member.process.until("ordered by ").until(f"resend good* topic {topic[:3]} ")
    number = "id" if role in MOVERS else "seq"
    known = {message["tranship"][number] for message in before}
    for again in family.told(role, name)[len(before) :]:
        assert (again["tranship"][number] in known) == (role in MOVERS)


@pytest.mark.parametrize(
    "words",
    [
        ("status", "FILE"),
        ("trace", "a.dat", "FILE"),
        ("failed", "FILE"),
        ("retry", "FILE", "*"),
        ("drop", "FILE", "*", "--yes"),
        ("resend", "FILE", "*", "--yes"),
    ],
)
def test_a_clean_keeps_no_journal(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "clean.yaml"
    file.write_text(
        f"role: clean\nchains: {{in: {{base_dir: {tmp_path}, templates: ['*'], older_than: 1 d}}}}\n"
    )
    told = said(*(str(file) if word == "FILE" else word for word in words), code=1)
    assert f"tranship clean --dry-run {file}" in told
