from datetime import timedelta

import pytest

from tranship.core.places import STRIKES, About, Pause, Places, place_of
from tranship.core.retry import RetryPolicy
from tranship_movers.place import Place

POLICY = RetryPolicy(timedelta(seconds=1), timedelta(minutes=5))
FULL = "file:///out/"
HOST = "sftp://archive:22/"


@pytest.mark.parametrize(
    ("destination", "host", "folder"),
    [
        ("sftp://anna@archive:22/in/sat/", HOST, "sftp://archive:22/in/sat/"),
        ("sftp://archive:22/in/new.dat", HOST, "sftp://archive:22/in/"),
        ("file:///out/sat/", "file:///out/sat/", "file:///out/sat/"),
        ("/out/sat/new.dat", "file:///out/sat/", "file:///out/sat/"),
    ],
)
def test_what_fails_is_a_host_or_a_folder(destination: str, host: str, folder: str) -> None:
    place = Place.parse(destination)
    assert (place_of(place, About.HOST), place_of(place, About.FOLDER)) == (host, folder)


def test_a_failing_place_pauses_once_and_no_other() -> None:
    places = Places(POLICY)
    pause = places.failed(HOST, "password refused", 100.0)
    assert pause is not None
    assert (pause.place, pause.reason, pause.since, pause.tries) == (HOST, "password refused", 100.0, 1)
    assert places.failed(HOST, "again", 101.0) is None
    assert HOST in places
    assert FULL not in places


def test_what_may_be_chance_pauses_when_it_is_none() -> None:
    places = Places(POLICY)
    for _ in range(10):
        for _ in range(STRIKES - 1):
            assert places.struck(HOST, "cut", 0.0) is None
        places.well(HOST)
    told = [places.struck(HOST, "cut", 0.0) for _ in range(STRIKES + 1)]
    assert [pause is not None for pause in told] == [False, False, True, False]


def test_probes_come_later_each_time_and_not_twice_at_once() -> None:
    places = Places(POLICY)
    places.failed(FULL, "full", 0.0)
    now, waits = 0.0, []
    for _ in range(15):
        wait = places.next_probe(now)
        assert wait is not None
        assert places.to_probe(now + wait - 0.01) == []
        now += wait
        assert [pause.place for pause in places.to_probe(now)] == [FULL]
        assert places.to_probe(now + 1.0) == []
        places.probe_failed(FULL, "", now)
        waits.append(wait)
    assert all(2 ** min(n, 9) / 2 <= wait <= min(2**n, 300) for n, wait in enumerate(waits) if n < 9)
    assert max(waits) <= 300
    assert places[FULL].reason == "full"


def test_a_probe_that_is_never_heard_of_again_is_made_again() -> None:
    places = Places(POLICY)
    places.failed(FULL, "full", 0.0)
    assert len(places.to_probe(10.0)) == 1
    assert places.to_probe(200.0) == []
    assert len(places.to_probe(10.0 + 302.0)) == 1


def test_a_place_that_goes_on_is_open_and_fails_anew_from_the_beginning() -> None:
    places = Places(POLICY)
    places.failed(FULL, "full", 0.0)
    ended = places.resumed(FULL, 50.0)
    assert ended is not None
    assert (ended.since, ended.tries) == (0.0, 1)
    assert FULL not in places
    assert places.resumed(FULL, 50.0) is None
    assert places.next_probe(50.0) is None
    anew = places.failed(FULL, "full", 1000.0)
    assert anew is not None
    assert anew.tries == 1


def test_a_place_that_comes_and_goes_is_probed_ever_less_often() -> None:
    places = Places(POLICY)
    now = 0.0
    for tries in range(1, 8):
        pause = places.failed(FULL, "full", now)
        assert pause is not None
        assert pause.tries == tries
        now = pause.due
        places.resumed(FULL, now)


def test_all_are_probed_at_once_on_request() -> None:
    places = Places(POLICY, [Pause(FULL, "full", 0, 9, 500.0), Pause(HOST, "refused", 0, 9, 400.0)])
    places.hasten(300.0, HOST)
    assert [pause.place for pause in places.to_probe(300.0)] == [HOST]
    places.hasten(301.0)
    assert {pause.place for pause in places.to_probe(301.0)} == {FULL, HOST}


def test_a_clock_that_is_put_back_puts_no_probe_off() -> None:
    places = Places(POLICY, [Pause(FULL, "full", 86400.0, 3, 86404.0)])
    assert len(places.to_probe(0.0)) == 1
