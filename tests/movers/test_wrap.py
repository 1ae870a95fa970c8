from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from contract_suite import suite
from hypothesis import given
from hypothesis import strategies as st

from tranship_movers.checks import Ground
from tranship_movers.errors import Busy, MoverError, NoSpace, Permanent, SourceGone, TimedOut, Unreachable
from tranship_movers.memory import Fault, Host, Kept, MemoryMover, host
from tranship_movers.place import Place
from tranship_movers.transfer import upload
from tranship_movers.wrap import Bucket, Limited, Retrying, Timed

Write = Callable[[str, bytes], Path]


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.parse(f"memory://{tmp_path.name}/")


@pytest.fixture
def there(place: Place) -> Host:
    return host(place.host)


@pytest.fixture
def wrapped_ground(tmp_path: Path, place: Place) -> Ground:
    bucket = Bucket(1e12)
    return Ground(
        connect=lambda: Limited(Timed(Retrying(MemoryMover(place), attempts=1), lambda *_: None), bucket),
        folder="/scratch",
        local=tmp_path,
        big=1 << 20,
    )


TestWrappedPromises = suite(
    "wrapped_ground", must=("resume", "get-on", "download-resumed", "download-mixed", "mtime", "checksums")
)


@pytest.mark.parametrize(
    "verb", ["put", "stat", "checksum", "rename", "make_folders", "list", "remove", "get"]
)
def test_a_temporary_error_is_tried_again(
    verb: str, place: Place, there: Host, write: Write, tmp_path: Path
) -> None:
    clock = Clock()
    there.faults += [Fault(verb, Busy("later")), Fault(verb, Busy("later"))]
    mover = Retrying(MemoryMover(place), sleep=clock.sleep, chance=lambda: 0.0)
    upload(mover, write("a.dat", b"content"), "/in/a.dat")
    mover.get("/in/a.dat", tmp_path / "back")
    assert [facts.name for facts in mover.list("/in")] == ["a.dat"]
    mover.remove("/in/a.dat")
    assert clock.slept == [1.0, 2.0]
    assert not there.files


@pytest.mark.parametrize("error", [Permanent("no"), NoSpace("full"), SourceGone("gone")])
def test_other_errors_are_not_tried_again(error: MoverError, place: Place, there: Host) -> None:
    clock = Clock()
    there.faults.append(Fault("stat", error))
    with pytest.raises(type(error)):
        Retrying(MemoryMover(place), sleep=clock.sleep).stat("/a")
    assert clock.slept == []


def test_the_last_error_comes_out(place: Place, there: Host) -> None:
    clock = Clock()
    there.faults.append(Fault("stat", Busy("later"), times=9))
    with pytest.raises(Busy):
        Retrying(MemoryMover(place), attempts=4, sleep=clock.sleep).stat("/a")
    assert len(clock.slept) == 3
    assert there.faults[0].times == 5


@given(st.integers(2, 60), st.floats(0, 0.999))
def test_waits_double_up_to_the_longest_less_some_chance(attempts: int, chance: float) -> None:
    clock, mover = Clock(), MemoryMover(Place("memory", "waits"))
    host("waits").faults[:] = [Fault("stat", Busy("later"), times=attempts - 1)]
    Retrying(
        mover,
        attempts=attempts,
        first=timedelta(seconds=1),
        longest=timedelta(seconds=10),
        sleep=clock.sleep,
        chance=lambda: chance,
    ).stat("/a")
    full = [min(10.0, 2.0**number) for number in range(attempts - 1)]
    assert clock.slept == pytest.approx([wait * (1 - chance / 2) for wait in full])


@pytest.mark.parametrize("error", [Unreachable("cut"), TimedOut("slow")])
def test_after_a_cut_line_a_new_connection_goes_on(
    error: MoverError, place: Place, there: Host, write: Write
) -> None:
    clock = Clock()
    there.faults.append(Fault("put", error, after=1))
    mover = Retrying(MemoryMover(place), again=lambda: MemoryMover(place), sleep=clock.sleep)
    upload(mover, write("a.dat", b"content"), "/a.dat")
    assert there.files["/a.dat"].content == b"content"
    assert there.calls.count("connect") == 2
    assert there.connections == 1


def test_a_host_that_stays_away_is_unreachable(place: Place, there: Host) -> None:
    clock = Clock()
    mover = Retrying(MemoryMover(place), again=lambda: MemoryMover(place), attempts=4, sleep=clock.sleep)
    there.faults += [
        Fault("stat", Unreachable("cut"), cuts=True),
        Fault("connect", Unreachable("no route"), times=9),
    ]
    with pytest.raises(Unreachable):
        mover.stat("/a")
    assert len(clock.slept) == 3


def test_a_rename_whose_answer_was_lost_has_happened(place: Place, there: Host) -> None:
    class LosesAnswers(MemoryMover):
        def rename(self, old: str, new: str) -> None:
            super().rename(old, new)
            raise TimedOut("no answer")

    clock = Clock()
    there.files["/old"] = Kept(b"content", 0)
    Retrying(LosesAnswers(place), again=lambda: MemoryMover(place), sleep=clock.sleep).rename("/old", "/new")
    assert list(there.files) == ["/new"]
    with pytest.raises(SourceGone):
        Retrying(MemoryMover(place), sleep=clock.sleep).rename("/old", "/new")


def test_all_transfers_share_the_bandwidth(place: Place, write: Write) -> None:
    clock = Clock()
    bucket = Bucket(1000, clock=clock, sleep=clock.sleep)
    one, two = (Limited(MemoryMover(place), bucket) for _ in range(2))
    source = write("a.dat", bytes(5000))
    upload(one, source, "/a.dat")
    upload(two, source, "/b.dat")
    assert clock.now == pytest.approx(9.0)  # 10 000 bytes, the first second's worth at once
    two.get("/b.dat", source.with_name("back"))
    assert clock.now == pytest.approx(14.0)


@given(st.lists(st.integers(0, 5000), max_size=30))
def test_a_bucket_never_lets_more_through_than_its_rate(sizes: list[int]) -> None:
    clock = Clock()
    bucket = Bucket(1000, clock=clock, sleep=clock.sleep)
    for size in sizes:
        bucket.take(size)
    assert sum(sizes) <= 1000 * (clock.now + 1) + 1e-6


def test_an_idle_bucket_saves_one_second_only() -> None:
    clock = Clock()
    bucket = Bucket(1000, clock=clock, sleep=clock.sleep)
    clock.now = 100.0
    bucket.take(3000)
    assert clock.now == pytest.approx(102.0)


def test_verbs_are_timed_even_when_they_fail(place: Place, there: Host, write: Write) -> None:
    told: list[tuple[str, float]] = []
    clock = Clock()
    mover = Timed(MemoryMover(place), lambda verb, seconds: told.append((verb, seconds)), clock=clock)
    there.faults.append(Fault("stat", Busy("later"), wait=lambda: clock.sleep(2.5)))
    with pytest.raises(Busy):
        mover.stat("/a")
    mover.put(write("a", b"x"), "/a")
    assert told == [("stat", 2.5), ("put", 0.0)]
