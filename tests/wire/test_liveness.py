"""When a provider counts as gone."""

import math

import pytest

from tranship.core.liveness import UNTOLD_INTERVAL, Liveness


def test_silence_is_too_long_after_so_many_intervals() -> None:
    watch = Liveness(scale=3, last=100.0)
    assert watch.deadline == 100.0 + 3 * UNTOLD_INTERVAL
    watch.beat(110.0, 2.0)
    assert not watch.missed(115.9)
    assert watch.missed(116.0)


def test_any_sign_of_life_counts_and_the_interval_stays() -> None:
    watch = Liveness(scale=2, last=0.0, interval=10.0)
    watch.heard(15.0)
    assert watch.deadline == 35.0
    watch.beat(20.0)
    assert watch.deadline == 40.0
    watch.heard(1.0)  # told late
    assert watch.deadline == 40.0


@pytest.mark.parametrize("interval", [0, -1, math.nan, math.inf, None])
def test_an_interval_that_makes_no_sense_is_not_used(interval: float | None) -> None:
    watch = Liveness(scale=1, last=0.0, interval=10.0)
    watch.beat(5.0, interval)
    assert watch.deadline == 15.0


def test_without_a_scale_no_silence_is_too_long() -> None:
    watch = Liveness(scale=0, last=0.0)
    assert not watch.missed(1e12)
