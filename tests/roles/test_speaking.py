"""What a publisher numbers, and what it answers who has missed it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rig import SOON, SetClock, Told

from tranship.config.endpoints import Socket
from tranship.core.health import Health
from tranship.flows import speaking as flow
from tranship.flows.around import Surroundings
from tranship.flows.outcomes import Done, Outcomes
from tranship.flows.speaking import Speaker, speaking
from tranship.journal import CLIENT_SCHEMA, ClientBook, Job, Journal, NewJob
from tranship.steps.replay import number_of, read_replay, replay_request, spoken_heads
from tranship.wire.memory import MemoryBus, Network
from tranship.wire.messages import Message, compose
from tranship_movers.pool import Pool

PROVIDER, ASKED = "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"


class Desk:
    """Outcomes of jobs, and who publishes them."""

    def __init__(self, book: ClientBook, outcomes: Outcomes, speaker: Speaker, bus: MemoryBus) -> None:
        self._book = book
        self._outcomes = outcomes
        self.speaker = speaker
        self._asker = bus.asker(ASKED, many=True)

    async def finish(self, *names: str, topic: str = "/t", left: Sequence[str] = ()) -> None:
        """Jobs of these names are done; what is left is another's to publish."""
        new = [
            NewJob("c", n, n, f"/in/{n}", 1, "file:///out/", "", topic, "a:1", True, b"", 0.0, 0.0, 0.0)
            for n in names
        ]
        jobs = [job for _, job, _ in await self._book.want(new, [])]
        done = [
            Done(job, compose(topic, "file", {"uri": job.new.path, "uid": job.new.uid}), 0.0, "")
            for job in jobs
        ]
        failed = await self._outcomes.finish(
            done, lambda whole: [d for d in whole if _name(d.job) not in left]
        )
        assert failed == []

    async def ask(self, message: Message) -> Any:
        self._asker.ask(message, message.ticket or "", 5.0)
        [answer] = await self._asker.answered()
        return answer.message

    async def missed(self, since: int = 0, topic: str = "/t") -> list[tuple[int, str]]:
        """What a replay brings: numbers and names."""
        page = read_replay(await self.ask(replay_request(topic, f"{since}", since=since, time=0.0)))
        assert page is not None
        numbers = [number_of(message, PROVIDER) for message in page.messages]
        return [(n.seq, m.data["uid"]) for n, m in zip(numbers, page.messages, strict=True) if n]

    def heads(self) -> dict[str, int]:
        assert self.speaker.numbering is not None
        beat = self.speaker.numbering.with_heads(compose("/heartbeat/p", "beat", {"min_interval": 1}))
        return {head.topic: head.seq for head in spoken_heads(beat, PROVIDER)[1]}


def _name(job: Job) -> str:
    return job.new.uid


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    journal, bus = Journal.open(folder / "j", CLIENT_SCHEMA), MemoryBus(Network())
    around = Surroundings(bus, Pool(), SetClock(), Told(), Health(), SOON, lambda peer, what: None)
    book = ClientBook(journal)
    outcomes = Outcomes("c", book, around)
    try:
        async with speaking("p", Socket(port=1), Socket(port=2), book.numbered("c"), around) as speaker:
            tasks = [asyncio.create_task(work) for work in (outcomes.run(speaker), speaker.answer())]
            await asyncio.sleep(0)
            yield Desk(book, outcomes, speaker, bus)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    finally:
        bus.close()
        journal.close()


def test_numbers_go_on_over_lives_and_what_was_told_is_told_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            await it.finish("a", "b")
            assert await it.missed() == [(1, "a"), (2, "b")]
        async with desk(tmp_path) as it:
            assert it.heads() == {"/t": 2}
            await it.finish("c")
            await it.finish("d", topic="/u")
            assert await it.missed(1) == [(2, "b"), (3, "c")]
            assert await it.missed(0, "/u") == [(1, "d")]
            assert it.heads() == {"/t": 3, "/u": 1}

    asyncio.run(main())


def test_what_is_another_s_to_publish_is_not_replayed(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            await it.finish("a", "b", "c", left=["b"])
            assert await it.missed() == [(1, "a"), (3, "c")]
            await it.finish("b")  # it is its turn after all
            assert await it.missed() == [(1, "a"), (3, "c"), (4, "b")]

    asyncio.run(main())


def test_anything_else_is_not_known(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            for kind in ("push", "ping", "info"):
                answer = await it.ask(compose("/t", kind, {"tranship": {"id": kind}}))
                assert answer.type == "unknown"

    asyncio.run(main())


def test_subjects_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "HEADS", 2)
    monkeypatch.setattr(flow, "SUBJECTS", 3)

    async def main() -> None:
        async with desk(tmp_path) as it:
            for n, topic in enumerate(("/1", "/2", "/3", "/4", "/1")):
                await it.finish(str(n), topic=topic)
            assert it.heads() == {"/3": 1, "/1": 2}  # those that were told of last
            assert await it.missed(0, "/4") == []
            assert await it.missed(0, "/1") == [(1, "0"), (2, "4")]

    asyncio.run(main())
