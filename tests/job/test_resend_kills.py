"""kill -9 at each boundary of a resend: it goes its way all the same; what is told twice has the same number, or id."""

import time
from pathlib import Path

import pytest

from stage import wait_for
from tranship.faultpoints import RESENDING, VARIABLE, Point
from tranship.journal.resends import Choice, find, resend
from whole_family import MOVERS, Family

NAME = "good_1.dat"
AFTERWARDS = (Point.DELIVERED, Point.PUBLISHED)


def settled(family: Family, name: str) -> None:
    """Wait until the journal of who delivers knows that everything is published."""
    journal = family.members[name].journal
    wait_for(lambda: find(journal, Choice((NAME,))).known, f"{name} has noted what it published")


def dies_resending(family: Family, name: str, point: Point) -> None:
    """Have a member resend the file, die at point, and start again."""
    member = family.members[name]
    family.stop(name)
    family.start(name, **{VARIABLE: f"{point}:1"})
    assert resend(member.journal, Choice((NAME,)), "anna", time.time()) >= 1
    process = member.process
    assert process is not None
    wait_for(lambda: process.popen.poll() is not None, f"{name} dies: {point}")
    assert process.popen.returncode == -9
    family.start(name)


def numbers(family: Family, name: str, key: str) -> list[int | str]:
    """The numbers, or ids, under which a member has published the file, each as often as it did."""
    return [message["tranship"][key] for message in family.told(name, NAME)]


def test_a_stand_alone_server_tells_what_it_could_not_before(tmp_path: Path) -> None:
    with Family(tmp_path) as family:
        alone = family.members["alone"]
        family.start("alone", **{VARIABLE: f"{Point.ANNOUNCED}:1"})
        family.feed(NAME)
        process = alone.process
        assert process is not None
        wait_for(lambda: process.popen.poll() is not None, "it dies before it tells of the file")
        family.start("alone")
        wait_for(lambda: numbers(family, "alone", "seq") == [1], "told after the crash")
        first = family.told("alone", NAME)[0]
        for point, last in ((Point.RETOLD, 2), (Point.RESENT, 3)):
            dies_resending(family, "alone", point)
            wait_for(lambda n=last: n in numbers(family, "alone", "seq"), f"told once more after {point}")
            again = family.told("alone", NAME)[-1]
            assert {**again, "tranship": 0} == {**first, "tranship": 0}
            assert again["tranship"]["server"] == first["tranship"]["server"]
        family.stop("alone")
        family.start("alone")
        (family.alone / "good_2.dat").write_bytes(b"2")
        wait_for(lambda: family.told("alone", "good_2.dat"), "what comes after")
        told = numbers(family, "alone", "seq")
        assert sorted(set(told)) == [1, 2, 3]
        assert (told.count(1), told.count(2)) == (1, 1)  # the third may have left before the crash
        assert told.count(3) <= 2
        family.close()


def test_what_a_server_or_mirror_resends_comes_through_once(tmp_path: Path) -> None:
    with Family(tmp_path) as family:
        family.start("server", "mirror", "client")
        family.feed(NAME)
        wait_for(lambda: family.told("client", NAME), "published")
        count = 1
        for name in ("server", "mirror"):
            for point in sorted(RESENDING):
                dies_resending(family, name, point)
                count += 1
                wait_for(
                    lambda n=count: len(numbers(family, "client", "id")) >= n, f"{name} dies: {point}", 60
                )
                seqs = numbers(family, name, "seq")
                assert len(seqs) - len(set(seqs)) <= 1
        ids = numbers(family, "client", "id")
        assert len(ids) == len(set(ids)) == 5
        family.close()


@pytest.mark.parametrize("name", MOVERS)
def test_whoever_delivers_publishes_with_the_same_id(tmp_path: Path, name: str) -> None:
    with Family(tmp_path) as family:
        family.start(*(("server", "mirror") if name == "client" else ()), name)
        family.feed(NAME)
        wait_for(lambda: family.say(NAME) or family.told(name, NAME), "published")
        settled(family, name)
        [first] = set(numbers(family, name, "id"))
        for point in AFTERWARDS:
            before = len(numbers(family, name, "id"))
            dies_resending(family, name, point)
            wait_for(lambda n=before: len(numbers(family, name, "id")) > n, f"published again after {point}")
            settled(family, name)
            told = numbers(family, name, "id")
            assert set(told) == {first}
            assert len(told) - before <= 2, point
        family.close()
