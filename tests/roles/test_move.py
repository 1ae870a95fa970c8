"""The mover's promises, one fault each (as a process: job/test_moving.py)."""

import asyncio
import io
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
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


@pytest.mark.parametrize("unpack", [None, {"format": "tar"}])
def test_where_a_folder_has_the_files_name_the_message_names_the_file_in_it(
    tmp_path: Path, unpack: dict[str, str] | None
) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            chain = {
                "origin": f"{site.incoming}/{{name}}.{{end}}",
                "destinations": [f"{site.outgoing}/"],
                "topic": "/1b",
                "unpack": unpack,
            }
            told = {"role": "move", "journal": str(tmp_path / "move.journal"), "publish": {"port": 1001}}
            config = MoveConfig.model_validate({**told, "chains": {"c": chain}})
            await site.moving(config, move)
            (site.outgoing / "x.dat").mkdir()
            if unpack is None:
                site.drop("x.dat", b"content")
            else:
                with tarfile.open(site.folder / "new", "w") as packed:
                    info = tarfile.TarInfo("x.dat")
                    info.size = 7
                    packed.addfile(info, io.BytesIO(b"content"))
                (site.folder / "new").rename(site.incoming / "packed.tar")
            [message] = await until(lambda: site.published, "published")
            assert (site.outgoing / "x.dat/x.dat").read_bytes() == b"content"
            assert message.data["uri"] == f"{site.outgoing}/x.dat/x.dat"
            assert message.data["uid"] == "x.dat"
            assert message.data["tranship"]["size"] == 7

    asyncio.run(main())
