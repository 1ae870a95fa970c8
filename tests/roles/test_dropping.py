"""What an operator drops is not moved, though it waits in a lane already."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rig import SOON, Told, until

from tranship.core.clock import SystemClock
from tranship.core.health import Health
from tranship.core.places import About
from tranship.flows.around import Surroundings
from tranship.flows.courier import Carried, Courier, one_by_one
from tranship.journal import CLIENT_SCHEMA, ClientBook, Job, Journal, NewJob
from tranship.journal.debts import drop
from tranship.steps.request import Failure, Fault
from tranship.wire.memory import MemoryBus, Network
from tranship_movers.pool import Pool

LANE = "ftp://archive/"


def new(folder: str) -> NewJob:
    where = f"{LANE}{folder}/a.dat"
    return NewJob(
        "c",
        folder,
        f"{folder}.dat",
        f"/{folder}.dat",
        1,
        where,
        "",
        "/t",
        LANE,
        False,
        b"",
        0.0,
        time.time(),
        0.0,
    )


def test_a_probe_that_waits_behind_a_slow_move_can_be_dropped(tmp_path: Path) -> None:
    """One move at once: the host is busy with a slow one while a folder there is full, and one of its files probes."""
    tried: list[str] = []
    gate = threading.Event()

    def carry(job: Job) -> Carried:
        tried.append(job.new.identity)
        if job.new.identity == "full":
            return Carried(job, fault=Fault(Failure.FATAL, "disk full", About.FOLDER))
        gate.wait(30)
        return Carried(job, job.new.destination)

    def carrier(jobs: Sequence[Job], progress: Callable[[int], None]) -> list[Carried]:
        return one_by_one(carry, jobs)

    async def main() -> None:
        journal = Journal.open(tmp_path / "j", CLIENT_SCHEMA, "move")
        around = Surroundings(
            MemoryBus(Network()), Pool(), SystemClock(), Told(), Health(), SOON, lambda *_: None
        )
        courier = Courier("c", carrier, 1, ClientBook(journal), around)
        working = asyncio.create_task(courier.run(None))
        try:
            await until(lambda: courier._lanes, "it works")
            lanes = courier._lanes
            assert lanes is not None
            await courier.want([new("full")])
            await until(lambda: tried == ["full"], "it fails")
            await courier.want([new("slow")])
            await until(lambda: tried[-1] == "slow", "the host is busy")
            await until(lambda: lanes.waiting(LANE) == 1, "a probe waits behind it")
            before = list(tried)
            assert drop(journal.path, ["full*"], "anna", time.time()) == 1
            await courier.obey()
            gate.set()
            await until(lambda: not lanes.queued, "all that waited is done with")
            assert tried == before
            states = await journal.do(lambda db: db.execute("SELECT state FROM jobs ORDER BY id").fetchall())
            assert states[0] == ("dropped",)
        finally:
            gate.set()
            working.cancel()
            await asyncio.wait([working])
            journal.close()

    asyncio.run(main())
