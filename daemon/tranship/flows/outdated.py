"""Which jobs are outdated: a newer version of their file went to the same place, or is to go there.

For roles that nobody asks. A source that is gone, or is not what was announced, is then no matter: it was replaced.
"""

from collections.abc import Sequence
from typing import Any

from tranship.journal import ClientBook, Job
from tranship.steps.replay import turn_of
from tranship.wire.messages import Message, decode_whole


async def outdated(book: ClientBook, jobs: Sequence[Job]) -> set[int]:
    """Those of jobs (by id) that are.

    Newer is what was written later, where messages tell that of both (`tranship.mtime`); else what one publisher has
    told later, if it numbers; else what was heard later: a replay may bring the older one last.
    """
    others = await book.versions(jobs)
    return {
        job.id
        for job in jobs
        for number, frame in others[job.id]
        if _is_newer((number, frame), (job.id, job.new.frame))
    }


def _is_newer(one: tuple[int, bytes], other: tuple[int, bytes]) -> bool:
    messages = [decode_whole(frame) for _, frame in (one, other)]
    written = [_written(message) for message in messages]
    if all(written):
        return written[0] > written[1]
    (publisher, turn), (its, before) = map(turn_of, messages)
    if publisher and publisher == its and messages[0].subject == messages[1].subject:
        return turn > before
    return one[0] > other[0]


def _written(message: Message) -> int:
    """When the file of an announcement was written (ns since the epoch); 0: it does not say."""
    facts: Any = message.fields.get("tranship")
    told = facts.get("mtime") if isinstance(facts, dict) else None
    return told if isinstance(told, int) else 0
