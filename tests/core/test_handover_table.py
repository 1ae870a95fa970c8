"""The table of primary and spare, cell by cell, and what is remembered of whom."""

import pytest

from tranship.core.handover import TABLE, Event, Handover, Matter, Phase, comes_first

U, W, H, M, E, D = Phase.UNHEARD, Phase.WAITING, Phase.HELD, Phase.MINE, Phase.ELSEWHERE, Phase.DONE

CELLS = {
    (U, Event.ANNOUNCED): W,
    (U, Event.PUSHED): H,
    (U, Event.OUTRANKED): H,
    (U, Event.ACKED): H,
    (U, Event.TOLD): E,
    (U, Event.RULED_OUT): H,
    (U, Event.TAKEN): M,
    (U, Event.PUBLISHED): D,
    (W, Event.ANNOUNCED): W,
    (W, Event.PUSHED): H,
    (W, Event.OUTRANKED): H,
    (W, Event.ACKED): H,
    (W, Event.TOLD): E,
    (W, Event.RULED_OUT): H,
    (W, Event.TAKEN): M,
    (W, Event.PUBLISHED): D,
    (H, Event.ANNOUNCED): H,
    (H, Event.PUSHED): H,
    (H, Event.OUTRANKED): H,
    (H, Event.ACKED): H,  # an ack alone is not the end: the file message may never come
    (H, Event.TOLD): E,
    (H, Event.RULED_OUT): H,
    (H, Event.TAKEN): M,
    (H, Event.PUBLISHED): D,
    (M, Event.ANNOUNCED): M,
    (M, Event.PUSHED): M,  # the server judges
    (M, Event.OUTRANKED): H,
    (M, Event.ACKED): M,
    (M, Event.TOLD): E,
    (M, Event.RULED_OUT): H,
    (M, Event.TAKEN): M,
    (M, Event.PUBLISHED): D,
    **{(E, event): E for event in Event},
    **{(D, event): D for event in Event},
}

A = Matter("a", "s", "/in/a")


def test_every_cell_of_the_table() -> None:
    assert set(TABLE) == {(phase, event) for phase in Phase for event in Event}
    assert TABLE == CELLS


@pytest.mark.parametrize("event", [Event.PUSHED, Event.ACKED])
def test_what_is_heard_before_the_announcement_counts(event: Event) -> None:
    handover = Handover()
    handover.happened(A, event, 30.0, "primary", "host:1")
    standing = handover.happened(A, Event.ANNOUNCED, 1.0)
    assert (standing.phase, standing.until, standing.by, standing.where) == (H, 30.0, "primary", "host:1")
    assert standing.is_left(29.0)
    assert not standing.is_left(30.0)


def test_another_announcement_does_not_prolong_the_wait() -> None:
    handover = Handover()
    handover.happened(A, Event.ANNOUNCED, 1.0)
    assert handover.happened(A, Event.ANNOUNCED, 2.0).until == 1.0


def test_each_word_of_the_other_renews_its_lease() -> None:
    handover = Handover()
    handover.happened(A, Event.PUSHED, 10.0)
    assert handover.happened(A, Event.ACKED, 15.0).until == 15.0
    assert handover.happened(A, Event.PUSHED, 20.0).until == 20.0


def test_namesakes_of_one_server_are_two_and_of_two_servers_are_one() -> None:
    handover = Handover()
    handover.happened(A, Event.TOLD)
    assert handover.standing(Matter("a", "s", "/other/a")).phase is U
    assert handover.standing(Matter("a", "t", "/other/a")).phase is E
    assert handover.standing(Matter("a")).phase is E
    handover.happened(Matter("a", "s", "/other/a"), Event.PUSHED, 1.0)
    assert (handover.standing(A).phase, handover.standing(Matter("a", "s", "/other/a")).phase) == (E, H)


def test_what_is_remembered_is_bounded() -> None:
    handover = Handover(most=2)
    for name in "abc":
        handover.happened(Matter(name), Event.TOLD)
    assert [handover.standing(Matter(name)).phase for name in "abc"] == [U, E, E]


def test_a_client_of_the_old_kind_comes_first_and_of_two_of_ours_one_does() -> None:
    assert comes_first("", "a")
    assert comes_first("a", "b")
    assert not comes_first("b", "a")
