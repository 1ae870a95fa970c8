"""Work waits in batches, and no place, nor a long piece of work, holds up what comes after."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from rig import until

from tranship import lanes
from tranship.lanes import Lanes, Threads, Waiting, kept


def test_everything_that_waits_is_taken_at_once_up_to_the_measure() -> None:
    async def main() -> None:
        waiting: Waiting[int] = Waiting(lambda item: item)
        waiting.put([5, 5, 5])
        assert await waiting.take(10, 11) == [5, 5]
        assert await waiting.take(10, 1) == [5]  # at least one, however heavy
        waiting.put([1, 1, 1])
        assert await waiting.take(2, 100) == [1, 1]

    asyncio.run(main())


def test_several_takers_miss_nothing() -> None:
    async def main() -> None:
        waiting: Waiting[int] = Waiting()
        taken: list[int] = []

        async def take() -> None:
            while True:
                taken.extend(await waiting.take(1, 1))

        takers = [asyncio.create_task(take()) for _ in range(3)]
        for n in range(300):
            waiting.put([n])
            if n % 7 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(taken) == 300, "taken")
        assert sorted(taken) == list(range(300))
        await asyncio.wait_for(waiting.room(1), 5)
        for taker in takers:
            taker.cancel()

    asyncio.run(main())


def test_a_taker_that_is_cancelled_loses_nothing() -> None:
    async def main() -> None:
        waiting: Waiting[int] = Waiting()
        taker = asyncio.create_task(waiting.take(1, 1))
        await asyncio.sleep(0)
        waiting.put([1])
        taker.cancel()
        await asyncio.wait([taker])
        assert await asyncio.wait_for(waiting.take(1, 1), 5) == [1]

    asyncio.run(main())


def test_what_hangs_in_the_threads_of_one_flow_holds_up_no_other() -> None:
    async def main() -> None:
        hung, other, gate = Threads("hung", 2), Threads("other", 2), threading.Event()
        try:
            hanging = [asyncio.create_task(hung.do(gate.wait)) for _ in range(50)]
            assert await asyncio.wait_for(other.do(sorted, [2, 1], reverse=True), 20) == [2, 1]
            assert await asyncio.wait_for(asyncio.to_thread(len, "ab"), 20) == 2
            hung.close()  # what waits is cancelled, and nobody waits for what hangs
            _, hangs = await asyncio.wait(hanging, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert await asyncio.wait_for(hung.do(len, "abc"), 20) == 3
            assert len(hangs) >= 2
        finally:
            gate.set()
            hung.close()
            other.close()

    asyncio.run(main())


def test_room_is_waited_for_until_enough_is_taken() -> None:
    async def main() -> None:
        waiting: Waiting[int] = Waiting()
        await waiting.room(1)
        waiting.put([1, 2])
        emptied = asyncio.create_task(waiting.room(1))
        await waiting.take(1, 1)
        await asyncio.sleep(0)
        assert not emptied.done()
        await waiting.take(1, 1)
        await asyncio.wait_for(emptied, 5)

    asyncio.run(main())


def run_lanes(
    work: Callable[[Lanes[str, int]], Awaitable[None]], gate: asyncio.Event, done: list[int]
) -> None:
    async def do(place: str, items: list[int]) -> None:
        if items == [0] or place == "dead":
            await gate.wait()
        done.extend(items)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            made: Lanes[str, int] = Lanes(tasks, do, width=2, weigh=lambda _: 1)
            await work(made)
            gate.set()
            await until(lambda: made.queued == 0, "done")
            await until(lambda: not made._lanes, "no task without work is left")

    asyncio.run(main())


def test_a_long_piece_of_work_holds_up_nothing_at_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "IDLE", 0.05)
    gate, done = asyncio.Event(), list[int]()

    async def work(made: Lanes[str, int]) -> None:
        made.put("here", [0])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        made.put("here", [1])
        await until(lambda: done == [1], "the short one is done")
        assert made.queued == 1

    run_lanes(work, gate, done)


def test_a_dead_place_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "IDLE", 0.05)
    gate, done = asyncio.Event(), list[int]()

    async def work(made: Lanes[str, int]) -> None:
        made.put("dead", list(range(100, 200)))
        made.put("alive", list(range(1, 51)))
        await until(lambda: len(done) == 50, "done")

    run_lanes(work, gate, done)
    assert len(done) == 150


def test_quick_work_is_done_by_one_and_slow_work_by_as_many_as_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "IDLE", 0.05)

    async def main() -> None:
        gate, under_way, most = asyncio.Event(), dict[str, int](), dict[str, int]()

        async def do(place: str, items: list[int]) -> None:
            under_way[place] = under_way.get(place, 0) + 1
            most[place] = max(most.get(place, 0), under_way[place])
            await (gate.wait() if place == "slow" else asyncio.sleep(0))
            under_way[place] -= 1

        async with asyncio.TaskGroup() as tasks:
            made: Lanes[str, int] = Lanes(tasks, do, width=3, weigh=lambda _: 1, most=2)
            for n in range(50):
                made.put("quick", [n, n])
                made.put("slow", [n, n])
                await asyncio.sleep(0)
            await until(lambda: most["slow"] == 3, "all that there may be are at it")
            assert most["quick"] == 1
            gate.set()
            await until(lambda: made.queued == 0, "done")
            assert all(lane.running == 1 for lane in made._lanes.values())  # who waits is one
            await until(lambda: not made._lanes, "no task without work is left")
            assert (most["quick"], most["slow"]) == (1, 3)

    asyncio.run(main())


def test_nobody_is_added_to_lanes_that_have_ended() -> None:
    async def main() -> None:
        odd = list[object]()
        asyncio.get_running_loop().set_exception_handler(lambda _, told: odd.append(told))

        async def do(place: str, items: list[int]) -> None:
            await asyncio.Event().wait()

        ended = list[Lanes[str, int]]()

        async def end() -> None:
            async with asyncio.TaskGroup() as tasks:
                made: Lanes[str, int] = Lanes(tasks, do, width=2, weigh=lambda _: 1, most=1)
                made.put("here", [1])
                await until(lambda: made.waiting("here") == 0, "it is begun")
                made.put("here", [2])
                assert made._lanes["here"].look is not None
                ended.append(made)
                raise OSError

        with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup"):
            await end()
        lane = ended[0]._lanes["here"]
        await until(lambda: lane.look is None, "it was looked at whether somebody is to be added")
        assert not odd

    asyncio.run(main())


def test_work_that_comes_while_a_lane_ends_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "IDLE", 0.001)
    gate, done = asyncio.Event(), list[int]()

    async def work(made: Lanes[str, int]) -> None:
        for n in range(1, 200):
            made.put("here", [n])
            await asyncio.sleep(0.001 if n % 3 else 0.0015)

    run_lanes(work, gate, done)
    assert sorted(done) == list(range(1, 200))


def test_a_part_that_fails_is_started_again_and_says_so() -> None:
    async def main() -> None:
        told: list[str] = []
        runs = 0

        async def part() -> None:
            nonlocal runs
            runs += 1
            if runs < 3:
                raise OSError(f"run {runs}")

        await kept(part, lambda error: told.append(str(error)), lambda: told.append("well"), longest=0.01)
        assert told == ["run 1", "run 2"]

    asyncio.run(main())


def test_a_part_that_runs_again_is_well() -> None:
    async def main() -> None:
        well, runs = asyncio.Event(), 0

        async def part() -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise OSError
            await asyncio.Event().wait()

        keeping = asyncio.create_task(kept(part, lambda error: None, well.set, longest=0.01))
        await asyncio.wait_for(well.wait(), 10)
        keeping.cancel()

    asyncio.run(main())
