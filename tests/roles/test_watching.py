"""How a place is watched: by events, by looks where events are missing; a dead observer is revived."""

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest
from rig import rig, until
from watchdog.observers.api import BaseObserver

from tranship.core.journey import Step
from tranship.core.origin import Origin
from tranship.steps import detect


@pytest.mark.parametrize(("watch", "polled"), [("auto", True), ("inotify", False)])
def test_a_network_file_system_is_polled_and_that_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    watch: str,
    polled: bool,
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"40 22 0:41 / {tmp_path / 'in'} rw - nfs4 archive:/export rw\n")
    monkeypatch.setattr(detect, "MOUNTS", str(table))
    caplog.set_level(logging.WARNING, "tranship")

    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(watch=watch, poll_interval="0.2 s", scan_interval="1 h")
            assert bool(observers()) is not polled
            site.drop("a.dat")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            if polled:  # until it is another file system
                table.write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\n")
                await until(observers, "watched")
                site.drop("b.dat")
                await until(lambda: len(server.story.of(Step.ANNOUNCED)) == 2, "announced")

    asyncio.run(main())
    said = [record.getMessage() for record in caplog.records if "is polled" in record.getMessage()]
    assert len(said) == int(polled)
    assert all("archive:/export (nfs4" in message or "nfs4 on" in message for message in said)


def test_a_dead_observer_is_revived_and_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server(scan_interval="1 h")
            [first] = observers()
            await asyncio.to_thread(first.stop)
            await asyncio.to_thread(first.join)
            site.drop("a.dat")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            await until(lambda: [o for o in observers() if o is not first], "watched anew")
            names = {part.name for part in server.health.report(0).parts}
            assert "hrit watches renewed (observer died)" in names
            site.drop("b.dat")
            await until(lambda: len(server.story.of(Step.ANNOUNCED)) == 2, "announced")

    asyncio.run(main())


def test_a_place_that_is_absent_holds_up_no_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            later = tmp_path / "later"
            server = await site.server(origin=f"{later}/{{name}}.dat")
            assert "No such file" in server.health.report(0).text
            later.mkdir()
            (later / "a.dat").write_bytes(b"content")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            await until(lambda: "degraded" not in server.health.report(0).text, "well again")

    asyncio.run(main())


def observers() -> list[BaseObserver]:
    """The watching threads of this process."""
    return [thread for thread in threading.enumerate() if isinstance(thread, BaseObserver)]


def test_a_folder_that_is_not_there_costs_nothing_however_often_it_is_tried(tmp_path: Path) -> None:
    """A user has 128 instances of inotify, for all processes."""

    def used() -> tuple[int, int, int]:
        kinds = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        filters = len(logging.getLogger("watchdog.observers.inotify_c").filters)
        return sum("inotify" in kind for kind in kinds), threading.active_count(), filters

    async def main() -> None:
        loop, origin = asyncio.get_running_loop(), Origin(f"{tmp_path}/gone/{{name}}.dat")
        before = used()
        for _ in range(3):
            with pytest.raises(OSError, match=r"No such file|limit"):
                detect.Watch(origin, loop)
        assert used() == before

    asyncio.run(main())
