"""A role that does nothing but obey: started by the tests as a process of its own.

tiny_role.py HOW CONFIG     CONFIG is JSON; what comes on stdin, line by line, are orders; stdout says what it did
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tranship.config.findings import ConfigError, Finding
from tranship.core.health import Health
from tranship.run.log import set_up
from tranship.run.reload import Source
from tranship.run.supervisor import Exit, Pace, run_process, supervise
from tranship.run.systemd import Notify
from tranship.wire.contract import BusError

PACE = Pace(drain=0.5, grace=0.2, beat=0.02, quiet=0.05)


def say(text: str) -> None:
    print(text, flush=True)


def load(file: Path) -> dict[str, str]:
    say("load")
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            [Finding(str(file), 1, "", "is no JSON", f"not shown: {type(error).__name__}")]
        ) from error


class Tiny:
    def __init__(self, how: str, config: dict[str, str]) -> None:
        self.how = how
        self.config = config
        self.health = Health(stuck_after=0.2)
        self.orders: asyncio.Queue[str] = asyncio.Queue()
        self.drained = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read_orders, args=[loop], daemon=True).start()
        if self.how == "slow start":
            await self.ordered("ready")
        ready()
        await getattr(self, self.how.replace(" ", "_"), self.serve)()

    async def drain(self) -> None:
        say("drain")
        if self.how == "under way":
            await self.ordered("finished")
        if self.how == "drain fails":
            raise BusError("tcp://127.0.0.1:9: can't be used")
        self.drained.set()
        say("drained")

    async def reload(self, config: dict[str, str]) -> list[str]:
        if config.get("port") == "taken":
            raise BusError("port: taken by somebody else")
        changes = [f"{key} is {config[key]}" for key in config if config[key] != self.config.get(key)]
        self.config = config
        say(f"reload {json.dumps(changes)}")
        return changes

    async def serve(self) -> None:
        try:
            await self.drained.wait()
        finally:
            say("left")

    async def under_way(self) -> None:
        await self.serve()

    async def done(self) -> None:
        say("done")

    async def stuck(self) -> None:
        self.health.waiting("moving", 3, time.monotonic())
        await self.ordered("go on")
        self.health.waiting("moving", 0, time.monotonic())
        await self.serve()

    async def degraded(self) -> None:
        self.health.degrade("archive", "login refused at sftp://me:pl4nted@archive/in")
        self.health.waiting("archive", 1, time.monotonic())
        await self.ordered("worse")
        self.health.degrade("journal", "disk full")
        await self.ordered("recover")
        self.health.forget("archive")
        self.health.forget("journal")
        await self.serve()

    async def blocked(self) -> None:
        await self.ordered("block")
        say("blocked")
        time.sleep(3600)  # noqa: ASYNC251 - blocking is what it is for

    async def hung_thread(self) -> None:
        hanging = asyncio.ensure_future(asyncio.to_thread(time.sleep, 3600))
        say("hung")
        await self.serve()
        hanging.cancel()

    async def stubborn(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("no")

    async def bug(self) -> None:
        raise ValueError("never thought of that")

    async def no_address(self) -> None:
        raise BusError("tcp://127.0.0.1:9010: address already in use")

    async def two_causes(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.no_address())
            group.create_task(self.no_address())

    async def mixed_causes(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.no_address())
            group.create_task(self.bug())

    async def ordered(self, order: str) -> None:
        while await self.orders.get() != order:
            pass

    def _read_orders(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(self.orders.put_nowait, line.strip())


async def main() -> Exit:
    how, file = sys.argv[1], Path(sys.argv[2])
    source = Source(lambda: load(file), [file])
    role = Tiny(how, source.load())
    notify = Notify.from_environment(os.environ, os.getpid())
    return await supervise(role, source, notify=notify, pace=PACE, bulletin=file.with_name("health.json"))


if __name__ == "__main__":
    set_up("INFO")
    run_process(main, grace=PACE.grace)
