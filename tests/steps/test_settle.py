"""Nothing goes before its completeness rule holds."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tranship.steps.settle import UNTOLD, Closed, Companion, Completeness, Settle, Stable


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


Judge = Callable[[Completeness, timedelta | None], Settle]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def judge(time: Time) -> Judge:
    return lambda rule, empty_after: Settle(rule, empty_after, lambda path: path.endswith(".dat"), time)


def write(path: Path, content: bytes, time: Time) -> str:
    path.write_bytes(content)
    os.utime(path, (time.at, time.at))
    return str(path)


def test_a_closed_file_is_complete_at_once(tmp_path: Path, time: Time, judge: Judge) -> None:
    path = write(tmp_path / "a.dat", b"abc", time)
    settled = judge(Closed(), None).closed([path, path])
    assert [(s.path, s.size, s.mtime_ns) for s in settled] == [(path, 3, int(time.at * 1e9))]


def test_a_found_file_is_complete_when_it_was_quiet(tmp_path: Path, time: Time, judge: Judge) -> None:
    path, settle = write(tmp_path / "a.dat", b"abc", time), judge(Closed(), None)
    assert settle.found([path]) == []
    wait = settle.next_due()
    assert wait is not None
    time.at += wait - 0.5
    write(tmp_path / "a.dat", b"abcd", time)
    time.at += 0.5
    assert settle.due() == []
    time.at += 2
    assert [s.size for s in settle.due()] == [4]
    assert settle.next_due() is None


def test_an_old_file_that_is_found_is_complete(tmp_path: Path, time: Time, judge: Judge) -> None:
    path = write(tmp_path / "a.dat", b"abc", time)
    time.at += 10
    assert len(judge(Closed(), None).found([path])) == 1


def test_a_young_file_that_is_found_waits_until_it_is_old_no_longer(
    tmp_path: Path, time: Time, judge: Judge
) -> None:
    path, settle = write(tmp_path / "a.dat", b"abc", time), judge(Closed(), None)
    time.at += 1.5
    assert settle.found([path]) == []
    assert settle.next_due() == 0.5
    write(tmp_path / "a.dat", b"abcd", time)  # its writer is still there
    time.at += 0.5
    assert settle.due() == []
    assert settle.next_due() == 1.5
    time.at += 1.5
    assert [s.size for s in settle.due()] == [4]


def test_what_was_never_told_to_be_closed_waits_longer_where_it_would_be(
    tmp_path: Path, time: Time, judge: Judge
) -> None:
    path, settle = write(tmp_path / "a.dat", b"abc", time), judge(Closed(), None)
    time.at += 10
    assert settle.found([path], UNTOLD) == []
    assert settle.next_due() == 50
    time.at += 50
    assert [s.size for s in settle.due()] == [3]
    other = write(tmp_path / "b.dat", b"abc", time)
    time.at += 1
    assert settle.found([other], UNTOLD) == settle.found([other]) == settle.found([other], UNTOLD) == []
    assert settle.next_due() == 1  # whoever knows that nobody would have told wins


def test_a_file_that_somebody_holds_open_is_not_complete_however_quiet(
    tmp_path: Path, time: Time, judge: Judge
) -> None:
    path, settle = tmp_path / "a.dat", judge(Closed(), None)
    with path.open("ab", buffering=0) as writer:
        writer.write(b"abc")
        os.utime(path, (time.at - 100, time.at - 100))
        assert settle.found([str(path)]) == []
        assert settle.next_due() == 2
        for _ in range(3):
            time.at += 2
            assert settle.due() == []
    with path.open("rb"):  # a reader is no matter
        time.at += 2
        assert [s.size for s in settle.due()] == [3]
    with path.open("ab"):  # somebody has forgotten it
        os.utime(path, (time.at - 601, time.at - 601))
        assert [s.size for s in settle.found([str(path)])] == [3]


def test_a_file_from_the_future_waits_its_whole_time(tmp_path: Path, time: Time, judge: Judge) -> None:
    path, settle = tmp_path / "a.dat", judge(Closed(), None)
    path.write_bytes(b"abc")
    os.utime(path, (time.at + 1000, time.at + 1000))
    assert settle.found([str(path)]) == []
    assert settle.next_due() == 2
    time.at += 2
    assert [s.path for s in settle.due()] == [str(path)]


def test_stable_waits_even_if_the_modification_time_is_old(tmp_path: Path, time: Time, judge: Judge) -> None:
    path = write(tmp_path / "a.dat", b"abc", time)
    time.at += 1000  # as after `cp -p`: the file may still grow
    settle = judge(Stable(timedelta(seconds=5)), None)
    assert settle.closed([path]) == []
    time.at += 4.9
    assert settle.due() == []
    time.at += 0.2
    assert len(settle.due()) == 1


@pytest.mark.parametrize("pattern", ["{name}.ok", "{stem}.ok"])
def test_companion_in_either_order(tmp_path: Path, time: Time, judge: Judge, pattern: str) -> None:
    rule = Companion(pattern)
    settle = judge(rule, None)
    first, companion = write(tmp_path / "a.dat", b"abc", time), tmp_path / rule.name_for("a.dat")
    assert settle.closed([first]) == []
    write(companion, b"", time)
    assert [s.path for s in settle.closed([str(companion)])] == [first]
    write(tmp_path / rule.name_for("b.dat"), b"", time)
    assert len(settle.closed([write(tmp_path / "b.dat", b"abc", time)])) == 1


@pytest.mark.parametrize("rule", [Closed(), Stable(timedelta(0)), Companion("{name}.ok")])
def test_an_empty_file_is_not_complete(tmp_path: Path, time: Time, judge: Judge, rule: Completeness) -> None:
    path = write(tmp_path / "a.dat", b"", time)
    write(tmp_path / "a.dat.ok", b"", time)
    settle = judge(rule, None)
    assert settle.closed([path]) == []
    time.at += 1e6
    assert settle.found([path]) == []


def test_an_empty_file_goes_at_its_age(tmp_path: Path, time: Time, judge: Judge) -> None:
    path, settle = write(tmp_path / "a.dat", b"", time), judge(Closed(), timedelta(seconds=60))
    assert settle.closed([path]) == []
    wait = settle.next_due()
    assert wait == pytest.approx(60)
    time.at += 60
    assert [s.size for s in settle.due()] == [0]


def test_what_is_not_of_the_chain_is_not_even_looked_at(tmp_path: Path, time: Time, judge: Judge) -> None:
    path = write(tmp_path / "a.txt", b"abc", time)
    (tmp_path / "d.dat").mkdir()
    assert judge(Closed(), None).closed([path, str(tmp_path / "d.dat"), str(tmp_path / "gone.dat")]) == []


@pytest.mark.parametrize("rule", [Closed(), Stable(timedelta(seconds=2))])
def test_a_modification_time_in_the_future_delays_nothing(
    tmp_path: Path, time: Time, judge: Judge, rule: Completeness
) -> None:
    full, empty = write(tmp_path / "a.dat", b"abc", time), write(tmp_path / "b.dat", b"", time)
    for path in (full, empty):
        os.utime(path, (time.at + 1e6, time.at + 1e6))
    settle = judge(rule, timedelta(seconds=60))
    assert settle.found([full, empty]) == []
    time.at += 2
    assert [s.path for s in settle.due()] == [full]
    time.at += 50
    assert settle.due() == []
    assert settle.found([empty]) == []
    time.at += 8
    assert [s.path for s in settle.due()] == [empty]
