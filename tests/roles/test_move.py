"""The mover's promises, one fault each (as a process: job/test_moving.py)."""

import asyncio
from datetime import timedelta
from pathlib import Path

from rig import rig, until

from servers.ftp import PASSWORD, USER, Script, pyftpd, scripting
from tranship.config.move import MoveConfig
from tranship.core.journey import Step
from tranship.core.retry import RetryPolicy
from tranship.roles.move import move

PATIENT = RetryPolicy(timedelta(hours=1), timedelta(hours=1), timedelta(days=1))


def test_a_version_that_waited_while_the_next_one_went_everywhere_and_was_deleted_is_owed_no_more(
    tmp_path: Path,
) -> None:
    script = Script({"STOR": "451 not now"})

    async def main(port: int, folder: Path) -> None:
        async with rig(tmp_path) as site:
            far = {"url": f"ftp://127.0.0.1:{port}/", "login": f"{USER}:{PASSWORD}"}
            chain = {
                "origin": f"{site.incoming}/{{name}}.dat",
                "destinations": [f"{site.outgoing}/", far],
                "topic": "/x",
                "delete": True,
            }
            journal = str(tmp_path / "move.journal")
            config = MoveConfig.model_validate({"role": "move", "journal": journal, "chains": {"c": chain}})
            running = await site.moving(config, move, PATIENT)
            site.drop("a.dat", b"version 1")
            await until(lambda: running.story.of(Step.RETRIED), "the first version waits")
            script.answers.clear()
            path = site.drop("a.dat", b"version 2")
            await until(lambda: not path.exists(), "the second one is everywhere, and deleted")
            await running.kill()
            running = await site.moving(config, move)  # who is less patient, so that the first one is due
            await until(
                lambda: running.story.of(Step.SKIPPED) or running.story.of(Step.FAILED), "tried again"
            )
            assert not running.story.of(Step.FAILED)
            assert (folder / "a.dat").read_bytes() == (site.outgoing / "a.dat").read_bytes() == b"version 2"

    with pyftpd(**scripting(script)) as server:
        asyncio.run(main(server.port, server.folder))
