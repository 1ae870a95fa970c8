"""Runs of the harness: whoever is killed, wherever, nothing is lost, torn, or published twice."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from faults.flow import flow
from faults.plan import File, Options, Plan, points_of
from faults.run import run, story
from faults.verdict import Report
from faults.witness import Dropped, Reader
from tranship.faultpoints import Point

RARE = {Point.ACKNOWLEDGED}
"""Reached only when something that is done is announced again."""


def kept(folder: Path, options: Options) -> Report:
    """The report of a run that kept every promise; fails with the stories of the files that it did not."""
    report = run(folder, options)
    print(report)
    if report.wrong:
        stories = [story(folder, options, name) for name in report.names[:3]]
        raise AssertionError("\n".join([str(report), *report.wrong[:20], *stories, f"evidence: {folder}"]))
    return report


def test_a_seed_says_all_that_will_happen() -> None:
    one, other = (Plan.of(Options(seed=5, files=300, kills=40)) for _ in range(2))
    assert one == other
    weather = one.weather(), other.weather()
    assert [next(weather[0]) for _ in range(50)] == [next(weather[1]) for _ in range(50)]
    assert Plan.of(Options(seed=6, files=300, kills=40)).lives != one.lives


def test_the_reader_sees_what_is_torn_and_what_is_old(tmp_path: Path) -> None:
    old, new = (File(1, "local", "l1.dat", version, 5000 + version) for version in (1, 2))
    dropped, place = Dropped(), SimpleNamespace(folders=[tmp_path])
    dropped.add(old)
    dropped.add(new)
    reader = Reader(place, dropped)  # type: ignore[arg-type]
    for content, wrong in ((old.content, 0), (new.content, 0), (new.content[:-1], 1), (old.content, 2)):
        (tmp_path / "l1.dat").unlink(missing_ok=True)
        (tmp_path / "l1.dat").write_bytes(content)
        reader.look()
        assert len(reader.torn) == wrong
    assert "5001 bytes" in reader.torn[0]
    assert "version 1 came after version 2" in reader.torn[1]


def test_work_lost_between_taking_it_and_its_outcome(tmp_path: Path) -> None:
    """Server and client die at random moments and at boundaries of the steps."""
    report = kept(tmp_path, Options(seed=1, files=200, kills=6, weather=0.0, deadline=60.0))
    assert sum(report.kills.values()) == 6


def test_every_role_dies_twice_and_nothing_is_lost_on_the_way(tmp_path: Path) -> None:
    """Server, mirror, client, dispatcher, move and fetch, each at a random moment and at a boundary."""
    report = kept(tmp_path, Options(seed=1, files=60, kills=12, weather=0.0, family=True, deadline=60.0))
    assert sum(report.kills.values()) == 12


@pytest.mark.soak
@pytest.mark.parametrize("process", ["mirror", "dispatcher", "move", "fetch"])
def test_the_family_at_every_boundary_of_the_steps_five_times(tmp_path: Path, process: str) -> None:
    points = tuple(point for point in points_of(process) if point not in RARE)
    kills = 5 * len(points)
    options = Options(
        seed=1, files=kills * 50, kills=kills, weather=0.0, family=True, victims=(process,), only=points
    )
    report = kept(tmp_path, options)
    assert report.kills == {f"{process}: {point}": 5 for point in points}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(501, 503))
def test_the_whole_family_and_bad_weather(tmp_path: Path, seed: int) -> None:
    kept(tmp_path, Options(seed=seed, files=2000, kills=300, family=True))


@pytest.mark.soak
@pytest.mark.parametrize("process", ["server", "client"])
def test_at_every_boundary_of_the_steps_five_times(tmp_path: Path, process: str) -> None:
    points = tuple(point for point in points_of(process) if point not in RARE)
    kills = 5 * len(points)
    options = Options(seed=1, files=kills * 20, kills=kills, weather=0.0, victims=(process,), only=points)
    report = kept(tmp_path, options)
    assert report.kills == {f"{process}: {point}": 5 for point in points}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(101, 105))
def test_a_thousand_kills_and_bad_weather(tmp_path: Path, seed: int) -> None:
    kept(tmp_path, Options(seed=seed, files=5000, kills=250))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(201, 205))
def test_a_thousand_kills_with_a_spare(tmp_path: Path, seed: int) -> None:
    kept(tmp_path, Options(seed=seed, files=5000, kills=250, spare=True))


@pytest.mark.soak
def test_the_primary_dies_fifty_times_in_each_phase(tmp_path: Path) -> None:
    points = Point.PUSHED, Point.REQUESTED, Point.ANSWERED, Point.DELIVERED, Point.PUBLISHED, Point.SAID
    options = Options(
        seed=1, files=9000, kills=300, weather=0.0, spare=True, victims=("client",), only=points
    )
    report = kept(tmp_path, options)
    assert report.by["spare"] > 0


@pytest.mark.soak
def test_memory_is_flat_over_many_small_files(tmp_path: Path) -> None:
    done = flow(tmp_path, 200_000, 10, print)
    assert not done.wrong
    second, last = done.rows[1], done.rows[-1]
    assert last.server < second.server + 15, done.rows
    assert last.client < second.client + 15, done.rows
