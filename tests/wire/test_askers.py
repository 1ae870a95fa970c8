"""The askers of a chain: false addresses take no room from true ones."""

import asyncio

import pytest

from tranship.wire import askers
from tranship.wire.askers import FIRST_CONTACTS, Askers
from tranship.wire.contract import Asker, BusError
from tranship.wire.memory import MemoryBus, Network
from tranship.wire.messages import compose

from .conftest import run, until

LONG = 3600.0


def test_where_nobody_is_takes_no_room_from_who_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(askers, "CONTACT", 0.05)

    async def story() -> None:
        bus = MemoryBus(Network())
        outcomes: list[str] = []
        collecting: list[asyncio.Task[None]] = []
        served = [bus.answerer(f"tcp://127.0.0.1:{port}") for port in range(1, 5)]

        async def collect(asker: Asker) -> None:
            try:
                while True:
                    outcomes.extend(answer.ticket for answer in await asker.answered())
            except BusError:
                return

        made = Askers(bus, lambda asker: collecting.append(asyncio.create_task(collect(asker))), most=4)

        def ask(port: int) -> None:
            asker = made.at(f"127.0.0.1:{port}", many=True)
            asker.ask(compose("/a", "ping", {"tranship": {"id": str(port)}}), str(port), LONG)

        for port in range(1, 5):
            ask(port)
        for port in range(1000, 1000 + FIRST_CONTACTS):
            if port == 1000:
                with pytest.raises(BusError, match="4 other addresses"):  # all that serve are busy
                    ask(port)
                for each in served:
                    for question in await each.asked():
                        each.answer(question, question.message)
                await until(lambda: len(outcomes) == 4)
            ask(port)
        ask(4)  # who serves is asked again
        with pytest.raises(BusError, match="other new addresses"):
            ask(5000)
        await asyncio.sleep(0.1)
        late = bus.answerer("tcp://127.0.0.1:5000")
        ask(5000)
        assert [question.message.ticket for question in await late.asked()] == ["5000"]
        await until(lambda: "1000" in outcomes)  # it was given up, and who asked is told
        made.close()
        await asyncio.wait(collecting)
        bus.close()

    run(story())
