"""The bulletin: a file in which a process posts its health, for other processes (`status`) to read."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from tranship.core.health import Report
from tranship.run.log import redacted

POST_EVERY = 5.0
"""Seconds from one `post` to the next."""


def post(report: Report, bulletin: Path, now: float) -> None:
    """Write the report, whole or not at all, where other processes (`status`) read it. Raises OSError.

    now: seconds since the epoch.
    """
    fresh = bulletin.with_name(f".{bulletin.name}.{os.getpid()}")
    told = json.dumps({"pid": os.getpid(), "time": now, **report.as_dict()})
    fresh.write_text(redacted(told) + "\n", encoding="utf-8")
    fresh.replace(bulletin)


def withdraw(bulletin: Path) -> None:
    """Take the report away: nobody posts any more. Without a report this is no error."""
    with suppress(OSError):
        bulletin.unlink()


def posted(bulletin: Path, now: float) -> dict[str, Any] | None:
    """What a process last posted (`as_dict`, pid and time); None if there is none, or it posts no more."""
    try:
        told = json.loads(bulletin.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and now - told.get("time", 0) < 6 * POST_EVERY else None
