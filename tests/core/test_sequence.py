"""What was heard and what is missing, against a model that remembers every number."""

from hypothesis import given
from hypothesis import strategies as st

from tranship.core.sequence import Sequence


def test_nothing_is_missing_while_numbers_follow_each_other() -> None:
    sequence = Sequence(4)
    for number in (5, 6, 7):
        sequence.heard(number)
    assert (sequence.contiguous, sequence.gap) == (7, False)


def test_a_gap_is_seen_and_filled() -> None:
    sequence = Sequence(4)
    sequence.heard(7)
    sequence.heard(8)
    assert (sequence.contiguous, sequence.gap) == (4, True)
    sequence.replayed(6)
    assert (sequence.contiguous, sequence.gap) == (8, False)


def test_a_lost_last_announcement_is_noticed_by_the_head() -> None:
    sequence = Sequence(4)
    sequence.told_head(5)
    assert sequence.gap
    sequence.replayed(5)
    assert (sequence.contiguous, sequence.gap) == (5, False)


def test_what_has_come_for_certain_is_known() -> None:
    sequence = Sequence(4)
    for number in (7, 8):
        sequence.heard(number)
    assert [n for n in range(10) if sequence.has_heard(n)] == [0, 1, 2, 3, 4, 7, 8]
    sequence.told_head(10)  # of what lies before it, nobody knows any more
    assert [n for n in range(12) if sequence.has_heard(n)] == [0, 1, 2, 3, 4]


@given(
    start=st.integers(0, 5),
    events=st.lists(
        st.one_of(
            st.tuples(st.just("lose"), st.integers(1, 3)),
            st.tuples(st.just("hear"), st.integers(1, 4)),
            st.tuples(st.just("head"), st.just(0)),
            st.tuples(st.just("replay"), st.integers(1, 6)),
        ),
        max_size=40,
    ),
)
def test_contiguous_never_claims_what_was_not_heard(start: int, events: list[tuple[str, int]]) -> None:
    sequence, said, heard = Sequence(start), start, set(range(start + 1))
    for what, count in events:
        if what == "lose":
            said += count
        elif what == "hear":
            for _ in range(count):
                said += 1
                heard.add(said)
                sequence.heard(said)
        elif what == "head":
            sequence.told_head(said)
        else:
            upto = min(said, sequence.contiguous + count)
            heard |= set(range(sequence.contiguous + 1, upto + 1))
            sequence.replayed(upto)
        assert set(range(sequence.contiguous + 1)) <= heard
        assert sequence.gap == (sequence.head > sequence.contiguous)
    sequence.told_head(said)
    while sequence.gap:
        before = sequence.contiguous
        sequence.replayed(before + 1)
        assert sequence.contiguous > before
    assert sequence.contiguous == said


def test_numbers_that_a_power_cut_took_from_the_server_are_heard_anew() -> None:
    heard = Sequence(100)
    heard.set_back(90)
    assert not heard.gap
    heard.heard(92)
    assert (heard.contiguous, heard.gap) == (90, True)


def test_a_new_life_with_the_same_numbers_changes_nothing() -> None:
    heard = Sequence(100)
    heard.set_back(105)
    assert (heard.contiguous, heard.gap) == (100, False)
