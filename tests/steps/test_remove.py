"""Deleting what was let go: a file system that does not answer delays nobody else's."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

from tranship.core.clock import SystemClock
from tranship.core.journey import Step
from tranship.core.values import Version
from tranship.journal import SERVER_SCHEMA, Deletion, Journal, ServerBook
from tranship.lanes import Threads
from tranship.steps.remove import Remove


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
        remove = Remove(book, clock, Silent(), timedelta(days=1), blocking, timedelta(milliseconds=50))
        slow, quick = [owed("hangs", tmp_path / f"s{n}") for n in range(2)], owed("well", tmp_path / "q1")
        await book.moved([], [slow[0], quick])
        await remove(1.0)
        assert not (tmp_path / "q1").exists()
        await book.moved([], [slow[1], owed("well", tmp_path / "q2")])
        await remove(1.0)
        assert not (tmp_path / "q2").exists()
        assert looked.count("hangs") == 1  # it takes one thread, however often there is something to delete
        answers.set()
        await book.postpone([each.version.path for each in slow], 0.0)
        async with asyncio.timeout(20):
            while (tmp_path / "s1").exists():
                await remove(1.0)
                await book.postpone([each.version.path for each in slow], 0.0)
        threads.close()
        journal.close()

    asyncio.run(main())
