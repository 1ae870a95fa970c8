"""Roles inside the test's own event loop: real files and journals, a bus in memory.

async with rig(tmp_path) as site:
    server = await site.server()
    client = await site.client()
    site.drop("a.dat", b"...")
    await until(lambda: site.published)
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tranship.config.client import ClientConfig
from tranship.config.mirror import MirrorConfig
from tranship.config.server import ServerConfig
from tranship.core.clock import Clock, SystemClock
from tranship.core.health import Health
from tranship.core.journey import Step
from tranship.core.retry import RetryPolicy
from tranship.flows.around import Surroundings
from tranship.flows.bringing import Books
from tranship.journal import (
    CLIENT_SCHEMA,
    MIRROR_SCHEMA,
    SERVER_SCHEMA,
    ClientBook,
    Journal,
    MirrorBook,
    ServerBook,
)
from tranship.roles import client, mirror, server
from tranship.wire.memory import MemoryBus, MemorySubscription, Network
from tranship.wire.messages import Message
from tranship_movers.pool import Pool

DEADLINE = 60.0
TOPIC = "/1b/hrit"
SOON = RetryPolicy(first=timedelta(seconds=0.05), longest=timedelta(seconds=0.2))


async def until(happened: Callable[[], Any], what: str = "", deadline: float = DEADLINE) -> Any:
    """What happened() gives as soon as that is true; fails after deadline seconds."""
    end = asyncio.get_running_loop().time() + deadline
    while not (result := happened()):
        assert asyncio.get_running_loop().time() < end, f"within {deadline:g} s not happened: {what}"
        await asyncio.sleep(0.005)
    return result


@dataclass
class Told:
    """A story that is kept."""

    lines: list[tuple[Step, str, dict[str, object]]] = field(default_factory=list)

    def tell(self, step: Step, file: str, chain: str, **facts: object) -> None:
        self.lines.append((step, file, {"chain": chain, **facts}))

    def of(self, step: Step) -> list[tuple[str, dict[str, object]]]:
        return [(file, facts) for each, file, facts in self.lines if each is step]


@dataclass
class SetClock:
    """The machine's clock, put forward or back by `shift` seconds."""

    shift: float = 0.0
    real: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self.begun = self.shift

    def now(self) -> float:
        return self.real.now() + self.shift

    def steady(self) -> float:
        return self.real.steady() + self.begun

    def monotonic(self) -> float:
        return self.real.monotonic()


@dataclass
class Running:
    """A role at work."""

    role: Any
    work: "asyncio.Task[None]"
    health: Health
    story: Told
    clock: SetClock
    journal: Journal
    bus: MemoryBus

    async def kill(self) -> None:
        """End it as a crash would: nothing is finished."""
        self.work.cancel()
        await asyncio.wait([self.work])
        await self._leave()

    async def stop(self, deadline: float = DEADLINE) -> None:
        """Drain, as SIGTERM would."""
        async with asyncio.timeout(deadline):
            await self.role.drain()
            await self.work
        await self._leave()

    async def _leave(self) -> None:
        self.bus.close()
        await asyncio.to_thread(self.role._around.pool.close)
        await asyncio.to_thread(self.journal.close)


@dataclass
class Rig:
    """A reception, a destination, and the roles between them."""

    folder: Path
    network: Network
    running: list[Running]
    heard: list[Message]
    ear: MemorySubscription

    @property
    def incoming(self) -> Path:
        return self.folder / "in"

    @property
    def outgoing(self) -> Path:
        return self.folder / "out"

    @property
    def copies(self) -> Path:
        """The mirror's own folder."""
        return self.folder / "copies"

    @property
    def published(self) -> list[Message]:
        """What clients told downstream."""
        return [m for m in self.heard if m.type in ("file", "dataset") and "request_address" not in m.data]

    def drop(self, name: str, content: bytes = b"content") -> Path:
        path = self.incoming / name
        path.write_bytes(content)
        return path

    def server_config(self, number: int = 1, **chain: Any) -> dict[str, Any]:
        return {
            "role": "server",
            "journal": str(self.folder / f"server{number}.journal"),
            "publish": {"port": 100 * number},
            "chains": {
                "hrit": {
                    "origin": f"{self.incoming}/{{name}}.dat",
                    "topic": TOPIC,
                    "request": {"port": 100 * number + 1},
                    "allow": [f"file://{self.outgoing}/**"],
                    **chain,
                }
            },
        }

    def client_config(self, number: int = 1, **chain: Any) -> dict[str, Any]:
        return {
            "role": "client",
            "journal": str(self.folder / f"client{number}.journal"),
            "chains": {
                "hrit": {
                    "providers": ["127.0.0.1:100"],
                    "topic": TOPIC,
                    "destination": f"file://{self.outgoing}/",
                    "publish": {"port": 1000 + number},
                    **chain,
                }
            },
        }

    async def server(self, number: int = 1, **chain: Any) -> Running:
        return await self.serve(ServerConfig.model_validate(self.server_config(number, **chain)))

    async def serve(self, config: ServerConfig, *, ready: bool = True) -> Running:
        journal = Journal.open(Path(config.journal), SERVER_SCHEMA)
        bus, clock, story, health = MemoryBus(self.network), SetClock(), Told(), Health()
        around = Surroundings(bus, Pool(), clock, story, health, SOON, lambda peer, what: None)
        role = server.server(config, ServerBook(journal), around)
        return await self._run(role, journal, bus, clock, story, health, ready)

    async def client(
        self, number: int = 1, policy: RetryPolicy = SOON, ahead: float = 0.0, **chain: Any
    ) -> Running:
        """ahead: seconds by which its clock is wrong at the start."""
        config = ClientConfig.model_validate(self.client_config(number, **chain))
        journal = Journal.open(Path(config.journal), CLIENT_SCHEMA)
        bus, clock, story, health = MemoryBus(self.network), SetClock(ahead), Told(), Health()
        around = Surroundings(bus, Pool(), clock, story, health, policy, lambda peer, what: None)
        role = client.client(config, ClientBook(journal), around)
        return await self._run(role, journal, bus, clock, story, health, True)

    def mirror_config(self, **chain: Any) -> dict[str, Any]:
        return {
            "role": "mirror",
            "journal": str(self.folder / "mirror.journal"),
            "publish": {"port": 300},
            "chains": {
                "hrit": {
                    "providers": ["127.0.0.1:100"],
                    "topic": TOPIC,
                    "destination": f"file://{self.copies}/",
                    "request": {"port": 301},
                    "allow": [f"file://{self.outgoing}/**"],
                    **chain,
                }
            },
        }

    async def mirror(self, **chain: Any) -> Running:
        config = MirrorConfig.model_validate(self.mirror_config(**chain))
        journal = Journal.open(Path(config.journal), MIRROR_SCHEMA)
        bus, clock, story, health = MemoryBus(self.network), SetClock(), Told(), Health()
        around = Surroundings(bus, Pool(), clock, story, health, SOON, lambda peer, what: None)
        role = mirror.mirror(
            config, Books(ServerBook(journal), ClientBook(journal), MirrorBook(journal)), around
        )
        return await self._run(role, journal, bus, clock, story, health, True)

    async def moving(
        self,
        config: Any,
        make: Callable[[Any, ClientBook, Surroundings], Any],
        policy: RetryPolicy = SOON,
        *,
        ready: bool = True,
    ) -> Running:
        """A role that moves files itself."""
        journal = Journal.open(Path(config.journal), CLIENT_SCHEMA, config.role)
        bus, clock, story, health = MemoryBus(self.network), SetClock(), Told(), Health()
        around = Surroundings(bus, Pool(), clock, story, health, policy, lambda peer, what: None)
        role = make(config, ClientBook(journal), around)
        return await self._run(role, journal, bus, clock, story, health, ready)

    async def _run(
        self,
        role: Any,
        journal: Journal,
        bus: MemoryBus,
        clock: SetClock,
        story: Told,
        health: Health,
        wait: bool,
    ) -> Running:
        ready = asyncio.Event()
        work = asyncio.create_task(role.run(ready.set))
        running = Running(role, work, health, story, clock, journal, bus)
        self.running.append(running)
        if wait:
            await until(lambda: ready.is_set() or work.done(), "ready")
            if work.done():
                work.result()
        return running

    async def _listen(self) -> None:
        while True:
            self.heard.extend(heard.message for heard in await self.ear.heard())


@asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[Rig]:
    """A site without roles yet; they are ended with it."""
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    bus = MemoryBus(network := Network())
    ear = bus.subscription()
    for port in (100, 200, 300, 1001, 1002):
        ear.add(f"tcp://127.0.0.1:{port}", ["/1b"])
    site = Rig(folder, network, [], [], ear)
    listening = asyncio.create_task(site._listen())
    try:
        yield site
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        for running in reversed(site.running):
            if running.journal._thread is not None:
                await running.kill()
