"""Who moves on request says in its own health which destinations take nothing."""

import asyncio
from pathlib import Path

import pytest
from rig import Rig, Running, SetClock, Told, rig, until

from servers import ftp
from servers.moody import moody
from tranship.core.health import Health
from tranship.core.places import About
from tranship.core.retry import RetryPolicy
from tranship.core.values import Version
from tranship.delivery import Outcome
from tranship.flows.around import Surroundings
from tranship.flows.failing import FORGOTTEN, STEADY, Failing
from tranship.steps.request import Failure, Fault, Move
from tranship.wire.memory import MemoryBus
from tranship_movers.place import Place
from tranship_movers.pool import Pool

ARCHIVE = "sftp://me@archive/in/a.dat"
FULL = Fault(Failure.FATAL, "the disk is full", About.FOLDER)
REFUSED = Fault(Failure.FATAL, "login refused", About.HOST)
CUT = Fault(Failure.TEMPORARY, "the line was cut", About.HOST)
OWN = Fault(Failure.PERMANENT, "Permission denied")


class Time(SetClock):
    """Stands still, but for what it is put forward."""

    def monotonic(self) -> float:
        return self.shift


class Destinations:
    """A chain that moves, and what its health says."""

    def __init__(self) -> None:
        self.time, self.health = Time(), Health()
        bus = MemoryBus()
        self._failing = Failing(
            "hrit",
            Surroundings(bus, Pool(), self.time, Told(), self.health, RetryPolicy(), lambda peer, what: None),
        )

    def land(
        self, fault: Fault | None = None, file: str = "a.dat", to: str = ARCHIVE, *, changed: bool = False
    ) -> None:
        move = Move(Version(f"/in/{file}", 1, 1), Place.parse(to), to)
        self._failing.landed(Outcome(move, fault=fault, changed=changed))

    def after(self, seconds: float) -> list[str]:
        self.time.shift += seconds
        self._failing.look()
        return self.said()

    def said(self) -> list[str]:
        return [f"{part.name}: {part.trouble}" for part in self.health.report(0).parts]


@pytest.fixture
def there() -> Destinations:
    return Destinations()


@pytest.mark.parametrize(("fault", "place"), [(FULL, "sftp://archive/in/"), (REFUSED, "sftp://archive/")])
def test_a_place_that_takes_nothing_is_told_at_once_until_it_is_steadily_well(
    there: Destinations, fault: Fault, place: str
) -> None:
    said = [f"hrit to {place}: fails: {fault.reason}"]
    there.land(fault)
    assert there.said() == said
    there.land()
    assert there.after(STEADY) == said
    there.land(fault, "large.dat")  # it takes some files, and others not
    assert there.after(STEADY + 0.1) == said
    there.land()
    assert there.after(0.1) == []


def test_what_may_be_chance_is_told_the_third_time_in_a_row(there: Destinations) -> None:
    there.land(CUT)
    there.land(CUT)
    there.land()
    there.land(CUT)
    there.land(CUT)
    assert there.said() == []
    there.land(CUT)
    assert there.said() == ["hrit to sftp://archive/: fails: the line was cut"]


def test_one_file_that_fails_again_and_again_is_no_failing_place_and_three_are(there: Destinations) -> None:
    for _ in range(10):
        there.land(OWN)
    there.land(OWN, "b.dat")
    there.land(OWN, "c.dat", changed=True)  # the source's own affair
    there.land(OWN, "c.dat", "sftp://archive/elsewhere/")
    assert there.said() == []
    there.land(OWN, "c.dat")
    assert there.said() == ["hrit to sftp://archive/in/: fails: Permission denied"]


def test_who_else_is_let_in_makes_no_login_well(there: Destinations) -> None:
    there.land(REFUSED)
    there.land(to="sftp://other@archive/out/a.dat")
    assert there.after(STEADY + 0.1) != []


def test_what_nobody_tries_any_more_is_forgotten(there: Destinations) -> None:
    there.land(FULL)
    assert there.after(FORGOTTEN) != []
    assert there.after(0.1) == []


def troubles(running: Running) -> list[str]:
    return [f"{p.name}: {p.trouble}" for p in running.health.report(0).parts if p.trouble]


@pytest.mark.parametrize("who", ["server", "mirror"])
def test_a_full_folder_downstream_is_the_movers_trouble_too_until_there_is_room(
    tmp_path: Path, who: str
) -> None:
    async def main() -> None:
        with moody() as (host, mood):
            async with rig(tmp_path) as site:
                mood.is_full = True
                mover = await _mover(site, who)
                await site.client(
                    destination=f"ftp://127.0.0.1:{host.port}/full/",
                    login=f"{host.user}:{ftp.PASSWORD}",
                    create_target_directory=False,
                    providers=["127.0.0.1:100" if who == "server" else "127.0.0.1:300"],
                )
                await asyncio.sleep(1.1)
                site.drop("a.dat")
                [told] = await until(lambda: troubles(mover), "degraded")
                assert told.startswith(f"hrit to ftp://127.0.0.1:{host.port}/full/: fails: ")
                assert ftp.PASSWORD not in told
                mood.is_full = False
                await until(lambda: site.published, "it goes on")
                await until(lambda: not troubles(mover), "it is well")

    asyncio.run(main())


async def _mover(site: Rig, who: str) -> Running:
    server = await site.server(allow=["**"])
    return server if who == "server" else await site.mirror(allow=["**"])
