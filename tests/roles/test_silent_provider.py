"""`heartbeat_alarm_scale`: a provider that falls silent is connected to anew, which is said until it is heard again."""

import asyncio
from pathlib import Path

from rig import rig, until

from tranship.wire.memory import MemoryBus
from tranship.wire.messages import compose


def test_a_provider_that_falls_silent_is_connected_to_anew(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            provider = MemoryBus(site.network).publisher("tcp://127.0.0.1:100", "somebody")
            clients = [await site.client(n, heartbeat_alarm_scale=scale) for n, scale in ((1, 3), (2, 0))]
            beat = compose("/heartbeat/move_it_server", "beat", {"min_interval": 0.1})

            def trouble(number: int) -> str:
                return clients[number].health.report(0.0).text

            provider.tell([beat])
            await until(lambda: "no heartbeat; connecting anew" in trouble(0), "the silence is told")
            assert "no heartbeat" not in trouble(1)  # who has no scale waits for ever
            await until(
                lambda: [provider.tell([beat]), "no heartbeat" not in trouble(0)][1], "it is heard again"
            )

    asyncio.run(main())
