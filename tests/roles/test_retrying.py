"""What a chain says of `retry` is gone by, in every role that tries again by itself."""

import asyncio
from pathlib import Path
from typing import Any

from rig import TOPIC, Rig, rig, until

from servers.ports import free_port
from tranship.config.dispatcher import DispatcherConfig
from tranship.config.fetch import FetchConfig
from tranship.config.move import MoveConfig
from tranship.core.journey import Step
from tranship.roles.dispatcher import dispatcher
from tranship.roles.fetch import fetch
from tranship.roles.move import move
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import compose

RETRY = {"first": "10 ms", "longest": "20 ms", "age_limit": "100 ms"}
HEARD = {"providers": ["127.0.0.1:400"]}


def config(site: Rig, role: str, **chain: Any) -> dict[str, Any]:
    journal = str(site.folder / f"{role}.journal")
    return {"role": role, "journal": journal, "chains": {"hrit": {**chain, "retry": RETRY}}}


def test_whoever_tries_again_gives_up_when_its_chain_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            dead = f"ftp://127.0.0.1:{free_port()}"  # nobody is there
            bus = MemoryBus(site.network)
            publisher = bus.publisher("tcp://127.0.0.1:400", "somebody")
            origin = f"{site.incoming}/{{name}}.dat"
            moved = config(site, "move", origin=origin, destinations=[f"{dead}/"], topic="/x")
            reach = {"allow": [f"file://{site.incoming}/**"]}
            routes = {"directory": "/", "routes": [{"topics": ["/a"]}], **reach}
            sent = config(site, "dispatcher", **HEARD, host=dead, **routes)
            fetched = config(
                site, "fetch", **HEARD, topics=["/b"], allow=["**"], directory=str(site.outgoing)
            )
            await site.server(allow=["**"])
            running = {
                "move": await site.moving(MoveConfig.model_validate(moved), move),
                "dispatcher": await site.moving(DispatcherConfig.model_validate(sent), dispatcher),
                "fetch": await site.moving(FetchConfig.model_validate(fetched), fetch),
                "mirror": await site.mirror(
                    destination=f"{dead}{site.copies}/", create_target_directory=False, retry=RETRY
                ),
            }
            path = site.drop("a.dat")
            publisher.tell([compose("/a", "file", {"uri": str(path), "uid": "a.dat"})])
            publisher.tell([compose("/b", "file", {"uri": f"{dead}/a.dat", "uid": "a.dat"})])
            [told] = await until(lambda: [m for m in site.heard if ":301" in str(m.data)], "by the mirror")
            asker = bus.asker("tcp://127.0.0.1:301", many=True)
            wanted = {**told.data, "destination": f"file://{site.outgoing}/", "tranship": {"id": "1"}}
            asker.ask(compose(TOPIC, "push", wanted), "1", 60.0)
            for role, each in running.items():
                await until(lambda each=each: each.story.of(Step.FAILED), f"{role} gave up", 60)

    asyncio.run(main())
