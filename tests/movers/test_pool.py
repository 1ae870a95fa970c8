import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import Field, Secret

from tranship_movers.contract import Mover
from tranship_movers.errors import Busy, Misconfigured, MoverError, Permanent, TimedOut, Unreachable
from tranship_movers.memory import Fault, MemoryMover, MemoryOptions, host
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.pool import Pool, Standing
from tranship_movers.transfer import upload
from tranship_movers.wrap import Limited

Write = Callable[[str, bytes], Path]
PATIENCE = timedelta(seconds=30)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.parse(f"memory://{tmp_path.name}-primary/in/")


@pytest.fixture
def pool(clock: Clock) -> Pool:
    return Pool(clock=clock)


OPTIONS = MemoryOptions(at_once=2, connection_uptime="30 s")


def connects(place: Place) -> int:
    return host(place.host).calls.count("connect")


def test_a_connection_is_used_again(pool: Pool, place: Place) -> None:
    with pool.lend(place, OPTIONS) as first:
        pass
    with pool.lend(place.at("/elsewhere"), MemoryOptions(at_once=2, connection_uptime="30 s")) as second:
        assert second is first
    assert connects(place) == 1


def test_never_one_connection_to_two(pool: Pool, place: Place) -> None:
    with pool.lend(place, OPTIONS) as one, pool.lend(place, OPTIONS) as two:
        assert one is not two


def test_other_users_and_options_have_other_connections(pool: Pool) -> None:
    urls = ["memory://h/", "memory://joe@h/", "memory://joe:1@h/", "memory://joe:2@h/", "memory://h:22/"]
    with ExitStack() as lent:
        movers = [lent.enter_context(pool.lend(Place.parse(url), OPTIONS)) for url in urls]
        movers.append(lent.enter_context(pool.lend(Place.parse(urls[0]), MemoryOptions(at_once=1))))
    with ExitStack() as lent:
        again = [lent.enter_context(pool.lend(Place.parse(url), OPTIONS)) for url in urls]
    assert len({id(mover) for mover in movers}) == 6
    assert [id(mover) for mover in again] == [id(mover) for mover in movers[:5]]


def test_who_waits_too_long_is_told_that_all_are_busy(pool: Pool, place: Place) -> None:
    with pool.lend(place, OPTIONS), pool.lend(place, OPTIONS):
        with (
            pytest.raises(Busy, match="all 2 connections"),
            pool.lend(place, OPTIONS, patience=timedelta(milliseconds=20)),
        ):
            pass
        assert pool.standing()[str(place.at("/"))] == Standing(busy=2, idle=0, waiting=0)
    assert pool.standing()[str(place.at("/"))] == Standing(busy=0, idle=2, waiting=0)


def test_who_waits_gets_the_next_that_comes_back(place: Place) -> None:
    pool, waiting = Pool(), threading.Event()
    options = MemoryOptions(at_once=1)

    def wait() -> Mover:
        waiting.set()
        with pool.lend(place, options, patience=PATIENCE) as mover:
            return mover

    with ThreadPoolExecutor(1) as threads:
        with pool.lend(place, options) as first:
            second = threads.submit(wait)
            assert waiting.wait(30)
        assert second.result(30) is first


def test_so_many_at_once_and_no_more(place: Place, write: Write) -> None:
    pool, source = Pool(), write("a.dat", bytes(1000))
    most: list[int] = []

    def send(number: int) -> None:
        with pool.lend(place, OPTIONS, patience=PATIENCE) as mover:
            upload(
                mover,
                source,
                f"/in/{number}.dat",
                progress=lambda _: most.append(host(place.host).connections),
            )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, range(60), timeout=60))
    assert max(most) <= 2
    assert connects(place) <= 2
    assert len(host(place.host).files) == 60


def test_a_host_that_does_not_answer_delays_no_other(place: Place, tmp_path: Path) -> None:
    pool, dead = Pool(), Place.parse(f"memory://{tmp_path.name}-dead/")
    begun, answer = threading.Event(), threading.Event()
    host(dead.host).faults.append(
        Fault("connect", TimedOut("no answer"), times=4, wait=lambda: (begun.set(), answer.wait(60)))
    )

    def try_dead() -> None:
        with pytest.raises(TimedOut), pool.lend(dead, OPTIONS):
            pass

    with ThreadPoolExecutor(4) as threads:
        stuck = [threads.submit(try_dead) for _ in range(3)]
        assert begun.wait(30)
        for _ in range(20):
            with pool.lend(place, OPTIONS) as mover:
                assert mover.alive()
        pool.close_idle()
        assert not any(attempt.done() for attempt in stuck)
        answer.set()
        for attempt in stuck:
            attempt.result(30)
    assert pool.standing()[str(dead)].busy == 0


def test_idle_connections_are_closed_in_time(pool: Pool, place: Place, clock: Clock) -> None:
    with pool.lend(place, OPTIONS):
        pass
    clock.now = 29.9
    pool.close_idle()
    assert host(place.host).connections == 1
    clock.now = 30.0
    pool.close_idle()
    assert host(place.host).connections == 0
    pool.close_idle()
    assert not pool.standing()


def test_a_connection_that_is_too_old_is_not_lent(pool: Pool, place: Place, clock: Clock) -> None:
    with pool.lend(place, OPTIONS) as first:
        pass
    clock.now = 31.0
    with pool.lend(place, OPTIONS) as second:
        assert second is not first
    assert host(place.host).connections == 1


def test_a_connection_that_died_while_idle_is_not_lent(pool: Pool, place: Place, clock: Clock) -> None:
    with pool.lend(place, OPTIONS) as first:
        pass
    first.close()
    clock.now = 10.0
    with pool.lend(place, OPTIONS) as second:
        assert second.alive()


@pytest.mark.parametrize("error", [Unreachable("cut"), TimedOut("slow"), KeyError("a bug")])
def test_a_broken_connection_is_not_lent_again(error: Exception, pool: Pool, place: Place) -> None:
    with pytest.raises(type(error)), pool.lend(place, OPTIONS) as first:
        raise error
    assert not first.alive()
    with pool.lend(place, OPTIONS) as second:
        assert second.alive()


def test_when_one_line_is_cut_the_idle_ones_are_doubted(pool: Pool, place: Place) -> None:
    def cut_while_another_is_idle() -> None:
        with pool.lend(place, OPTIONS):
            with pool.lend(place, OPTIONS) as idle:
                pass
            idle.close()
            raise Unreachable("cut")

    with pytest.raises(Unreachable):
        cut_while_another_is_idle()
    with pool.lend(place, OPTIONS) as next_:
        assert next_.alive()


def test_an_error_about_one_file_keeps_the_connection(pool: Pool, place: Place) -> None:
    with pytest.raises(Permanent), pool.lend(place, OPTIONS) as first:
        raise Permanent("no such folder")
    with pool.lend(place, OPTIONS) as second:
        assert second is first


def test_a_failed_connect_gives_its_turn_back(pool: Pool, place: Place) -> None:
    host(place.host).faults.append(Fault("connect", Unreachable("no route"), times=5))
    for _ in range(5):
        with pytest.raises(Unreachable), pool.lend(place, OPTIONS):
            pass
    with pool.lend(place, OPTIONS), pool.lend(place, OPTIONS):
        assert connects(place) == 7


def test_backups_stand_in_and_the_primary_comes_back(clock: Clock, tmp_path: Path) -> None:
    primary = Place.parse(f"memory://joe:hunter2@{tmp_path.name}-a:22/in/")
    backups = [f"{tmp_path.name}-b:2222", f"{tmp_path.name}-c"]
    pool = Pool(clock=clock, back_after=timedelta(minutes=5))
    host(f"{tmp_path.name}-a").faults.append(Fault("connect", Unreachable("no route"), times=1))
    host(f"{tmp_path.name}-b").faults.append(Fault("connect", TimedOut("no answer"), times=1))

    def reached() -> str:
        with pool.lend(primary, OPTIONS, backups=backups) as mover:
            where = pool.where(mover)
            assert (where.user, where.password) == (primary.user, primary.password)
            return str(where)

    assert reached() == f"memory://{tmp_path.name}-c/"
    tries = connects(primary)
    clock.now = 299.0
    assert reached() == f"memory://{tmp_path.name}-c/"
    assert connects(primary) == tries
    clock.now = 301.0
    assert reached() == f"memory://{tmp_path.name}-a:22/"
    clock.now = 302.0
    assert reached() == f"memory://{tmp_path.name}-a:22/"


def test_when_its_time_has_come_the_primary_is_tried_by_one_alone(clock: Clock, tmp_path: Path) -> None:
    primary = Place.parse(f"memory://{tmp_path.name}-a/")
    begun, answer = threading.Event(), threading.Event()
    pool = Pool(clock=clock)
    faults = host(primary.host).faults
    faults.append(Fault("connect", Unreachable("no route")))

    def reached() -> str:
        with pool.lend(primary, MemoryOptions(at_once=9), backups=[f"{tmp_path.name}-b"]) as mover:
            return pool.where(mover).host

    assert reached() == f"{tmp_path.name}-b"
    faults.append(Fault("connect", Unreachable("no route"), wait=lambda: (begun.set(), answer.wait(60))))
    clock.now = 301.0
    with ThreadPoolExecutor(1) as threads:
        probe = threads.submit(reached)
        assert begun.wait(30)
        assert [reached() for _ in range(3)] == [f"{tmp_path.name}-b"] * 3
        answer.set()
        assert probe.result(30) == f"{tmp_path.name}-b"
    assert connects(primary) == 2


def test_when_nobody_answers_the_last_error_comes_out(pool: Pool, place: Place, tmp_path: Path) -> None:
    for name in (place.host, f"{tmp_path.name}-b"):
        host(name).faults.append(Fault("connect", Unreachable("no route"), times=9))
    for _ in range(2):
        with pytest.raises(Unreachable), pool.lend(place, OPTIONS, backups=[f"{tmp_path.name}-b"]):
            pass


def test_a_refused_login_is_no_case_for_the_backups(pool: Pool, place: Place, tmp_path: Path) -> None:
    host(place.host).faults.append(Fault("connect", Permanent("no")))
    with pytest.raises(Permanent), pool.lend(place, OPTIONS, backups=[f"{tmp_path.name}-b"]):
        pass
    assert host(f"{tmp_path.name}-b").calls == []


def test_a_backup_needs_a_host(pool: Pool, place: Place) -> None:
    with pytest.raises(Misconfigured), pool.lend(place, OPTIONS, backups=[""]):
        pass


def test_a_bandwidth_is_shared_by_all_connections_of_a_place(pool: Pool, place: Place) -> None:
    options = MemoryOptions(bandwidth="1 MiB/s")
    with pool.lend(place, options) as one, pool.lend(place, options) as two:
        assert isinstance(one, Limited)
        assert isinstance(two, Limited)
        assert one._bucket is two._bucket


def test_options_with_tables_in_them_are_told_apart(place: Place) -> None:
    class Tabled(MoverOptions):
        table: dict[str, dict[str, list[int]]] = Field(default_factory=dict)
        secret: Secret[dict[str, list[int]]] = Secret({})

    made: list[MoverOptions] = []

    def connect(place: Place, options: MoverOptions) -> Mover:
        made.append(options)
        return MemoryMover(place)

    pool = Pool(connect)
    for table in ({"a": {"b": [1]}}, {"a": {"b": [2]}}, {"a": {"b": [1]}}):
        for secret in ({"c": [3]}, {"c": [4]}):
            with pool.lend(place, Tabled(table=table, secret=Secret(secret))):
                pass
    assert len(made) == 4


def test_a_closed_pool_closes_and_lends_no_more(place: Place) -> None:
    with Pool() as pool, pool.lend(place, OPTIONS) as lent:
        with pool.lend(place, OPTIONS):
            pass
        pool.close()
        assert host(place.host).connections == 1
        assert lent.alive()
        with pytest.raises(MoverError), pool.lend(place, OPTIONS):
            pass
    assert host(place.host).connections == 0
