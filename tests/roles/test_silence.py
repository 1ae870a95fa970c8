"""Nothing arrives and nobody notices: a chain with `silence` says so, until something comes."""

import asyncio
from pathlib import Path

from rig import Running, rig, until


def silent(running: Running) -> str:
    """What the health says of it."""
    parts = {part.name: part.trouble for part in running.health.report(0.0).parts}
    return parts.get("hrit silence", "")


def test_a_chain_in_which_nothing_comes_is_degraded_until_something_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(silence="1 s")
            client = await site.client(silence="1 s")
            patient = await site.client(2, silence="10 min")
            for each in (server, client):
                told = await until(lambda each=each: silent(each), "the alarm")
                assert told.startswith("nothing has come since 2")
                assert each.health.report(0.0).state == "degraded"
            assert not silent(patient)
            site.drop("a.dat")
            await until(lambda: not silent(server) and not silent(client), "something has come")
            await until(lambda: silent(server) and silent(client), "the alarm again")

    asyncio.run(main())
