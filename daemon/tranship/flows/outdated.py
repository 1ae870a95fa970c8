"""Which jobs are outdated: a newer version of their file went to the same place, or is to go there.

For roles that nobody asks. A source that is gone, or is not what was announced, is then no matter: it was replaced.
"""

from collections.abc import Sequence
from typing import Any

from tranship.journal import ClientBook, Job
from tranship.wire.messages import decode_whole


async def outdated(book: ClientBook, jobs: Sequence[Job]) -> set[int]:
    """Those of jobs (by id) that are.

    Newer is what was written later, where messages tell that of both (`tranship.mtime`); else what was heard later: a
    replay may bring the older one last.
    """
    others = await book.versions(jobs)
    return {
        job.id
        for job in jobs
        for number, frame in others[job.id]
        if _is_newer((number, frame), (job.id, job.new.frame))
    }


def _is_newer(one: tuple[int, bytes], other: tuple[int, bytes]) -> bool:
    written = [_written(frame) for _, frame in (one, other)]
    return written[0] > written[1] if all(written) else one[0] > other[0]


def _written(frame: bytes) -> int:
    """When the file of an announcement was written (ns since the epoch); 0: it does not say."""
    facts: Any = decode_whole(frame).fields.get("tranship")
    told = facts.get("mtime") if isinstance(facts, dict) else None
    return told if isinstance(told, int) else 0
