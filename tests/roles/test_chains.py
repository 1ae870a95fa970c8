"""The chains of a process become what the configuration says; those that stay the same are not touched."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from rig import until

from tranship import chains
from tranship.chains import Chains
from tranship.core.clock import SystemClock
from tranship.core.health import Health


class Chain:
    """A chain that notes what becomes of it in `told`."""

    def __init__(self, name: str, option: str, told: list[str]) -> None:
        self.started = asyncio.Event()
        self._name, self._option, self._told = f"{name}={option}", option, told

    async def run(self) -> None:
        self._told.append(f"{self._name} runs")
        self.started.set()
        if self._option == "broken":
            raise ValueError("broken")
        try:
            await asyncio.Event().wait()
        finally:
            self._told.append(f"{self._name} ends")

    async def drain(self) -> None:
        self._told.append(f"{self._name} drains")
        if self._option == "endless":
            await asyncio.Event().wait()


def played(play: Callable[["Chains[str, Chain]", list[str], Health], Awaitable[None]]) -> None:
    async def main() -> None:
        told: list[str] = []
        health = Health()
        async with asyncio.TaskGroup() as tasks:
            running: Chains[str, Chain] = Chains(
                tasks, lambda name, option: Chain(name, option, told), health, SystemClock()
            )
            try:
                await play(running, told, health)
            finally:
                running.cancel()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("before", "after", "changes", "told"),
    [
        ({}, {"a": "1"}, ["chain a added"], ["a=1 runs"]),
        ({"a": "1"}, {"a": "1"}, [], []),
        ({"a": "1"}, {}, ["chain a removed"], ["a=1 drains", "a=1 ends"]),
        ({"a": "1"}, {"a": "2"}, ["chain a changed"], ["a=1 drains", "a=1 ends", "a=2 runs"]),
        ({"a": "1"}, {"a": "1", "b": "1"}, ["chain b added"], ["b=1 runs"]),
        (
            {"a": "1", "b": "1", "c": "1"},
            {"c": "1", "b": "2", "d": "1"},
            ["chain a removed", "chain b changed", "chain d added"],
            ["a=1 drains", "b=1 drains", "a=1 ends", "b=1 ends", "b=2 runs", "d=1 runs"],
        ),
    ],
)
def test_chains_are_added_changed_and_removed(
    before: dict[str, str], after: dict[str, str], changes: list[str], told: list[str]
) -> None:
    async def play(running: "Chains[str, Chain]", said: list[str], health: Health) -> None:
        await running.become(before)
        await running.started()
        said.clear()
        assert await running.become(after) == changes
        await running.started()
        assert sorted(said) == sorted(told)
        assert {chain._name for chain in running} == {f"{name}={option}" for name, option in after.items()}

    played(play)


def test_one_that_does_not_finish_is_given_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "PATIENCE", 0.05)

    async def play(running: "Chains[str, Chain]", said: list[str], health: Health) -> None:
        await running.become({"a": "endless", "b": "1"})
        await running.started()
        assert await running.become({"b": "1"}) == ["chain a removed"]
        assert "a=endless ends" in said
        assert "b=1 drains" not in said

    played(play)


def test_one_that_fails_is_started_again_and_keeps_nobody_waiting() -> None:
    async def play(running: "Chains[str, Chain]", said: list[str], health: Health) -> None:
        await running.become({"a": "broken", "b": "1"})
        await running.started()
        await until(lambda: said.count("a=broken runs") > 1, "started again")
        [part] = [part for part in health.report(0.0).parts if part.name == "a"]
        assert "ValueError: broken" in part.trouble
        assert await running.become({"a": "1", "b": "1"}) == ["chain a changed"]
        assert "b=1 ends" not in said

    played(play)
