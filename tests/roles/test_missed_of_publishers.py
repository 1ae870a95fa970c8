"""A dispatcher asks a publisher that numbers for what it missed; who need not, asks nobody."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rig import TOPIC, Rig, Running, rig, until

from tranship.config.dispatcher import DispatcherConfig
from tranship.config.move import MoveConfig
from tranship.core.journey import Step
from tranship.journal import ClientBook
from tranship.roles import dispatcher as role
from tranship.roles.dispatcher import dispatcher
from tranship.roles.move import move
from tranship.steps.replay import heads_spoken, numbered
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import Message, compose

PORT, REPLAY = 300, 301
PROVIDER = f"127.0.0.1:{PORT}"


class Somebody:
    """A publisher of our kind, whose messages are lost if so wanted, and who notes what it is asked."""

    def __init__(self, site: Rig, id_: str = "p") -> None:
        self.site = site
        self.id = id_
        self.life = "first"
        self.questions: list[Message] = []
        self.told: list[tuple[int, Message]] = []
        self.head = 0
        self.answers = asyncio.Event()
        self.answers.set()
        bus = MemoryBus(site.network)
        self._publisher = bus.publisher(f"tcp://{PROVIDER}", "somebody")
        self._answerer = bus.answerer(f"tcp://127.0.0.1:{REPLAY}")

    def tell(self, name: str, *, lost: bool = False, file: str | None = None) -> None:
        self.head += 1
        path = str(self.site.drop(name, name.encode())) if file is None else file
        message = numbered(compose("/a", "file", {"uri": path, "uid": name}), self.id, self.head, REPLAY)
        self.told.append((self.head, message))
        if not lost:
            self._publisher.tell([message])

    def beat(self) -> None:
        message = compose("/heartbeat/p", "beat", {"min_interval": 30})
        self._publisher.tell([heads_spoken(message, self.id, self.life, REPLAY, [("/a", self.head)])])

    async def answer(self) -> None:
        while True:
            for question in await self._answerer.asked():
                await self.answers.wait()
                self.questions.append(question.message)
                data = question.message.data
                since = data["since"].get("seq", 0)
                frames = [m.encode().decode() for seq, m in self.told if seq > since]
                page = {"messages": frames, "last": self.head, "head": self.head, "more": False}
                facts = {"tranship": {"v": 1, "id": data["tranship"]["id"]}}
                self._answerer.answer(question, compose(question.message.subject, "replay", page | facts))


@asynccontextmanager
async def somebody(folder: Path) -> AsyncIterator[Somebody]:
    async with rig(folder) as site:
        it = Somebody(site)
        answering = asyncio.create_task(it.answer())
        try:
            yield it
        finally:
            answering.cancel()
            await asyncio.wait([answering])


def listening(site: Rig) -> DispatcherConfig:
    allow = [f"file://{site.folder}/**"]
    chain = {
        "providers": [PROVIDER],
        "allow": allow,
        "directory": str(site.outgoing),
        "routes": [{"topics": ["/a", TOPIC]}],
    }
    return DispatcherConfig.model_validate(
        {"role": "dispatcher", "journal": str(site.folder / "d.journal"), "chains": {"c": chain}}
    )


async def listen(site: Rig) -> Running:
    return await site.moving(listening(site), dispatcher)


def lies(site: Rig, *names: str) -> Callable[[], bool]:
    return lambda: {path.name for path in site.outgoing.iterdir()} == set(names)


def failures(running: Running) -> list[Any]:
    return running.story.of(Step.FAILED) + running.story.of(Step.REFUSED)


def test_a_gap_a_head_and_a_new_life_bring_what_was_missed(tmp_path: Path) -> None:
    async def main() -> None:
        async with somebody(tmp_path) as it:
            listens = await listen(it.site)
            it.tell("1")
            await until(lies(it.site, "1"), "heard")
            it.beat()
            it.tell("2", lost=True)
            it.tell("3", lost=True)
            it.tell("4")
            await until(lies(it.site, "1", "2", "3", "4"), "a gap")
            it.tell("5", lost=True)
            it.beat()
            await until(lies(it.site, *"12345"), "a head")
            assert [m.data["since"] for m in it.questions] == [{"seq": 1}, {"seq": 4}]
            await listens.kill()
            it.tell("6")
            listens = await listen(it.site)
            it.beat()
            await until(lies(it.site, *"123456"), "told while nobody listened")
            assert it.questions[-1].data["since"] == {"seq": 5}
            assert it.questions[-1].subject == "/a"
            # a power cut has cost the publisher its last number; what has it now is news
            it.life, it.head, it.told = "second", 4, it.told[:4]
            it.beat()
            it.tell("7", lost=True)
            it.beat()
            await until(lies(it.site, *"1234567"), "a new life with lower numbers")
            assert not failures(listens)

    asyncio.run(main())


def test_what_was_heard_is_not_looked_for_again(tmp_path: Path) -> None:
    """Its file may be gone by then, which would be told as a failure."""

    async def main() -> None:
        async with somebody(tmp_path) as it:
            listens = await listen(it.site)
            it.answers.clear()
            it.tell("1")
            it.tell("2", lost=True)
            it.tell("3")
            await until(lies(it.site, "1", "3"), "heard")
            for name in ("1", "3"):
                (it.site.incoming / name).unlink()
            it.answers.set()
            await until(lies(it.site, "1", "2", "3"), "the gap")
            assert not failures(listens)

    asyncio.run(main())


def test_what_waits_for_a_slow_resolver_is_not_recorded_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up, gate = threading.Event(), threading.Event()

    def slow(_: str) -> bool:
        looked_up.set()
        return gate.wait(20)

    monkeypatch.setattr(role, "is_own_host", slow)

    async def main() -> None:
        async with somebody(tmp_path) as it:
            listens = await listen(it.site)
            it.tell("1", file=f"ssh://here{it.site.drop('1')}")
            it.tell("2")
            await until(
                lambda: looked_up.is_set() and lies(it.site, "2")(), "who needs no look-up waits for none"
            )
            assert await ClientBook(listens.journal).cursors("c") == []
            listens.work.cancel()
            gate.set()
            await listens.kill()
            await listen(it.site)
            it.beat()
            await until(lies(it.site, "1", "2"), "it is told again")

    asyncio.run(main())


def test_first_contact_brings_nothing_of_the_past(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            chain = {"origin": f"{site.incoming}/{{name}}.dat", "destinations": [f"{tmp_path}/moved/"]}
            config = {"role": "move", "journal": str(tmp_path / "m.journal"), "publish": PORT}
            whole = {**config, "replay": REPLAY, "chains": {"c": {**chain, "topic": TOPIC}}}
            mover = await site.moving(MoveConfig.model_validate(whole), move)
            mover.clock.shift = -3600.0
            site.drop("old.dat")
            await until(lambda: len(site.published) == 1, "published an hour ago")
            mover.clock.shift = 0.0
            listens = await listen(site)
            site.drop("new.dat")

            async def heard() -> list[int]:
                return [cursor.seq for cursor in await ClientBook(listens.journal).cursors("c")]

            async with asyncio.timeout(30):
                while await heard() != [2]:
                    await asyncio.sleep(0.01)
            await until(lies(site, "new.dat"), "dispatched")

    asyncio.run(main())


def test_a_spare_asks_its_primary_for_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with somebody(tmp_path) as it:
            spare = await it.site.client(providers=[PROVIDER], topic="/a")
            it.tell("1", lost=True)
            it.tell("2")
            it.beat()
            it.life = "second"
            it.beat()
            await it.site.server(topic="/a")
            other = await it.site.client(2, topic="/a")
            it.site.drop("x.dat")
            await until(lambda: other.story.of(Step.PUBLISHED), "the others go on")
            assert it.questions == []
            assert not failures(spare)

    asyncio.run(main())
