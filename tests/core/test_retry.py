from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tranship.core.retry import RetryPolicy

POLICY = RetryPolicy(timedelta(seconds=1), timedelta(minutes=5), timedelta(days=2))


@given(attempts=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_waits_grow_up_to_the_longest(attempts: int, chance: float) -> None:
    wait = POLICY.wait(attempts, chance)
    assert 0.5 <= wait <= 300
    assert POLICY.wait(attempts + 1, chance) >= wait


def test_the_first_waits() -> None:
    assert [POLICY.wait(n, 0.0) for n in (1, 2, 3, 9, 10, 11)] == [1, 2, 4, 256, 300, 300]


def test_old_jobs_are_given_up() -> None:
    assert not POLICY.too_old(since=0, now=2 * 86400)
    assert POLICY.too_old(since=0, now=2 * 86400 + 1)
