"""The server as the judge between a primary and its spare."""

from tranship.core.leases import Claimant, Leases, Right, Teller
from tranship.core.values import Version

FILE = Version("/in/a", 1, 2)
PRIMARY = Claimant("p", lease=10.0)
SPARE = Claimant("s", frozenset({"p", ""}), 10.0)
OTHER = Claimant("o", lease=10.0)


def right(leases: Leases, claimant: Claimant, now: float, *tellers: Teller, moved: bool = False) -> Right:
    return leases.rule([FILE], claimant, tellers, now, moved=moved).right


def test_between_primary_and_spare_who_is_served_first_has_the_lease_until_it_is_over() -> None:
    for first, second in ((PRIMARY, SPARE), (SPARE, PRIMARY), (Claimant(), SPARE)):
        leases = Leases(0.0)
        assert right(leases, first, 100.0) is Right.YOURS
        assert right(leases, first, 101.0) is Right.YOURS  # it asked again, so it has it until 111 or longer
        ruling = leases.rule([FILE], second, (), 105.0)
        assert (ruling.right, ruling.client) == (Right.ANOTHER, first.client)
        assert ruling.seconds >= 6.0
        assert right(leases, second, 120.0) is Right.YOURS
        assert right(leases, first, 121.0) is Right.ANOTHER


def test_clients_that_are_no_pair_do_not_hinder_each_other() -> None:
    leases = Leases(0.0)
    assert [right(leases, c, 100.0) for c in (PRIMARY, OTHER, Claimant())] == [Right.YOURS] * 3
    leases.told(FILE, Teller("o", frozenset(), 100.0))
    assert right(leases, PRIMARY, 101.0) is Right.YOURS


def test_what_one_has_published_the_other_does_not_for_ever() -> None:
    for told, asks in ((PRIMARY, SPARE), (SPARE, PRIMARY)):
        teller = Teller(told.client, told.spare_of, 50.0)
        assert right(Leases(0.0), asks, 1e6, teller) is Right.TOLD
        leases = Leases(0.0)
        leases.told(FILE, teller)
        assert right(leases, asks, 1e6) is Right.TOLD
        assert right(leases, told, 1e6) is Right.YOURS
        assert leases.rule([Version("/in/a", 3, 4)], asks, (), 1e6).right is Right.YOURS


def test_soon_after_a_start_a_spare_waits_for_who_may_have_been_served_before() -> None:
    assert right(Leases(100.0), SPARE, 103.0, moved=True) is Right.ANOTHER
    assert right(Leases(100.0), SPARE, 111.0, moved=True) is Right.YOURS
    assert right(Leases(100.0), SPARE, 103.0) is Right.YOURS
    assert right(Leases(100.0), PRIMARY, 103.0, moved=True) is Right.YOURS


def test_soon_after_a_start_a_primary_waits_for_a_spare_that_it_never_heard() -> None:
    leases = Leases(0.0)
    assert leases.meet(SPARE.spare_of) == {"p", ""}
    assert leases.meet(SPARE.spare_of) == set()
    after = Leases(100.0, {"p", ""})
    assert right(after, PRIMARY, 103.0, moved=True) is Right.ANOTHER
    assert [right(after, other, 103.0, moved=True) for other in (OTHER, Claimant())] == [Right.YOURS] * 2
    assert right(after, PRIMARY, 111.0, moved=True) is Right.YOURS


def test_soon_after_a_start_who_was_served_in_this_life_has_its_lease() -> None:
    leases = Leases(100.0)
    assert right(leases, SPARE, 102.0) is Right.YOURS
    assert right(leases, SPARE, 103.0, moved=True) is Right.YOURS


def test_leases_that_are_over_are_forgotten() -> None:
    leases = Leases(0.0)
    for number in range(1000):
        leases.rule([Version(f"/{number}", 1, 1)], PRIMARY, (), float(number))
    assert len(leases._held) <= 11
