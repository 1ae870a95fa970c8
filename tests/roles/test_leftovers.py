"""What broken downloads left of jobs that are over is removed, and of no other job."""

import asyncio
from pathlib import Path

from rig import until

from tranship.flows.leftovers import Leftovers
from tranship.journal import CLIENT_SCHEMA, ClientBook, Delivered, Journal, NewJob, Retry
from tranship_movers.temporary import part_name

NAMES = ("dead", "superseded", "under way", "wanted", "done", *(f"many {n}" for n in range(120)))


def job(name: str, folder: Path) -> NewJob:
    return NewJob(
        "c", f"{NAMES.index(name):032x}", name, f"http://there/{name}", 1, f"file://{folder}/{name}", "", "/t",
        "http://there/", False, b"frame", 1e9, 1e9, 1e9,
    )  # fmt: skip


def left_by(name: str, folder: Path) -> set[Path]:
    token = f"owner-{NAMES.index(name):032x}"
    return {Path(part_name(f"{folder}/{name}", each)) for each in (token, f"{token}note")}


def test_what_is_over_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in NAMES:
        for path in left_by(name, folder):
            path.write_bytes(b"part")
    over = {path for name in NAMES if name[:4] in ("dead", "supe", "many") for path in left_by(name, folder)}

    async def main() -> None:
        journal = Journal.open(tmp_path / "j", CLIENT_SCHEMA)
        book = ClientBook(journal)
        verdicts = await book.want([job(name, folder) for name in NAMES], ())
        ids = {each.new.uid: each.id for _, each, _ in verdicts}
        await book.delivered([Delivered(ids["done"], b"", 1e9, 1e9)])
        for name, number in ids.items():
            if name not in ("wanted", "done"):
                state = "superseded" if name == "superseded" else "dead"
                await book.failed([Retry(number, "why", state, 1e9)])
        leftovers = Leftovers("c", "owner", book, lambda number: number == ids["under way"])
        task = asyncio.create_task(leftovers.run())
        try:
            await until(lambda: not any(path.exists() for path in over), "what is over is gone")
            assert set(folder.iterdir()) == {
                path for name in ("under way", "wanted", "done") for path in left_by(name, folder)
            }
            await book.failed([Retry(ids["wanted"], "why", "dead", 1e9)])
            leftovers.look()
            await until(lambda: not any(path.exists() for path in left_by("wanted", folder)), "this one, too")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            journal.close()

    asyncio.run(main())
