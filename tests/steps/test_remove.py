"""Deleting what was let go: the version that was meant, when it is due; a disk that hangs delays nobody else's."""

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tranship.core.clock import SystemClock
from tranship.core.journey import Step
from tranship.core.values import Version
from tranship.journal import SERVER_SCHEMA, Announced, Deletion, Journal, ServerBook
from tranship.lanes import Threads
from tranship.steps.remove import Remove, removed


class Silent:
    def tell(self, step: Step, file: str, chain: str, **facts: object) -> None:
        pass


def owed(chain: str, path: Path) -> Deletion:
    path.write_bytes(b"abc")
    return Deletion(chain, Version(str(path), 3, path.stat().st_mtime_ns), 0.0)


def test_a_disk_that_hangs_holds_up_its_own_chain_only(tmp_path: Path) -> None:
    answers = threading.Event()

    async def main() -> None:
        journal, threads = Journal.open(tmp_path / "j", SERVER_SCHEMA), Threads("deletions", 2)
        book = ServerBook(journal)
        looked: list[str] = []

        async def blocking(work, due):  # type: ignore[no-untyped-def]  # as Blocking
            def slow() -> object:
                looked.append(due[0].chain)
                if due[0].chain == "hangs":
                    answers.wait(60)
                return work(due)

            return await threads.do(slow)

        clock = SystemClock()
        remove = Remove(
            book.deletions, clock, Silent(), timedelta(days=1), blocking, timedelta(milliseconds=50)
        )
        slow, quick = [owed("hangs", tmp_path / f"s{n}") for n in range(2)], owed("well", tmp_path / "q1")
        await book.transfers.moved([], [slow[0], quick])
        await remove(1.0)
        assert not (tmp_path / "q1").exists()
        await book.transfers.moved([], [slow[1], owed("well", tmp_path / "q2")])
        await remove(1.0)
        assert not (tmp_path / "q2").exists()
        assert looked.count("hangs") == 1  # it takes one thread, however often there is something to delete
        answers.set()
        await book.deletions.postpone([each.version.path for each in slow], 0.0)
        async with asyncio.timeout(20):
            while (tmp_path / "s1").exists():
                await remove(1.0)
                await book.deletions.postpone([each.version.path for each in slow], 0.0)
        threads.close()
        journal.close()

    asyncio.run(main())


@dataclass
class Frozen:
    """A clock that stands still, and a story that is kept."""

    at: float = 1000.0
    steps: list[tuple[Step, str]] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    steady = monotonic = now

    def tell(self, step: Step, file: str, chain: str, **facts: object) -> None:
        self.steps.append((step, f"{Path(file).name} {facts.get('reason', '')}".strip()))


def version(path: Path) -> Version:
    facts = path.stat()
    return Version(str(path), facts.st_size, facts.st_mtime_ns)


@pytest.mark.parametrize(
    ("found", "outcome", "left"),
    [
        ("as it was", None, False),
        ("changed", "not deleted: it has changed since it was delivered", True),
        ("gone", "not deleted: it is gone already", False),
        ("in the way", "not deleted: it has changed since it was delivered", True),
    ],
)
def test_only_the_version_that_is_meant_is_removed(
    tmp_path: Path, found: str, outcome: str | None, left: bool
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    meant = version(path)
    if found != "as it was":
        path.unlink()
    if found == "changed":
        path.write_bytes(b"22")
    if found == "in the way":
        path.mkdir()
    assert removed(meant) == outcome
    assert path.exists() is left


def test_what_can_t_be_removed_now_is_so_later(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    assert removed(version(folder)) == ""  # the same that was meant, and yet no file


def test_what_is_due_is_deleted_and_the_rest_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        journal = Journal.open(tmp_path / "j", SERVER_SCHEMA)
        try:
            book, world = ServerBook(journal), Frozen()
            paths = {name: tmp_path / name for name in ("due", "later", "stuck")}
            for name, path in paths.items():
                path.mkdir() if name == "stuck" else path.write_bytes(b"1")
            due = {"due": 1000.0, "later": 1007.0, "stuck": 999.0}
            for seq, (name, path) in enumerate(paths.items()):
                await book.announce([Announced("/t", seq, "c", version(path), name, b"", 0.0, 0.0)])
                await book.acknowledge("c", [str(path)], [Deletion("c", version(path), due[name])], 0.0)
            remove = Remove(book.deletions, world, world, timedelta(days=1), asyncio.to_thread)
            assert await remove(3600.0) == 0.0  # there may be more
            assert not paths["due"].exists()
            assert (Step.DELETED, "due") in world.steps
            assert (Step.SKIPPED, "stuck can't be deleted now") in world.steps
            assert await remove(3600.0) == pytest.approx(7.0)
            world.at = 1007.0
            await remove(3600.0)
            assert not paths["later"].exists()
            assert await remove(3600.0) == pytest.approx(53.0)  # the stuck one, a minute after the first time
            paths["stuck"].rmdir()
            world.at = 1060.0
            await remove(3600.0)
            assert await remove(3600.0) is None
        finally:
            journal.close()

    asyncio.run(main())
