"""What an interrupted download left here: of which version its bytes are, and that they are gone on with.

A note beside the temporary tells the version. It is written while there is no temporary, and removed before another
version's is begun: what a temporary holds is of the version that its note tells. After a reboot no note counts, as
bytes that were never synced may be zeros.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tranship_movers.contract import FRESH_NS, Facts
from tranship_movers.temporary import checked, new_token, part_name

_NOTE = "note"


@dataclass(frozen=True, slots=True)
class Leftover:
    """What downloads with one token leave beside target: the temporary, and the note (without a token: None)."""

    part: Path
    note: Path | None

    @classmethod
    def of(cls, target: Path, token: str) -> "Leftover":
        """That of target and token; without a token nobody will ever ask for it again."""
        if not token:
            return cls(Path(part_name(str(target), new_token())), None)
        return cls(Path(part_name(str(target), checked(token))), Path(part_name(str(target), token + _NOTE)))

    def begin(self, version: str, size: int, out_of_order: int) -> int:
        """How many bytes of version, which has size bytes, are sure to be here; what is of others is removed.

        out_of_order: as `Powers.resumes`. Raises OSError if no note can be written.
        """
        if self.note is None:
            return 0
        if version and _said(self.note) == version:
            there = _size_of(self.part)
            return max(0, there - out_of_order) if there <= size else 0
        if version:
            self.remove()
            self.note.write_text(version)
        else:
            self.settle()
        return 0

    def remove(self) -> None:
        """Remove both, as far as they are there. Never raises."""
        self.settle()
        with suppress(OSError):
            os.remove(self.part)

    def settle(self) -> None:
        """Remove the note: the temporary has become the target, or nobody is to go on with it. Never raises."""
        if self.note is not None:
            with suppress(OSError):
                os.remove(self.note)


def version_of(facts: Facts, out_of_order: int) -> str:
    """What a note says of a version.

    out_of_order: as `Powers.resumes`, on which who left bytes and who trusts them must agree.
    """
    return f"{facts.size} {facts.mtime_ns} {facts.tag!a} {out_of_order} {_boot()}"


def is_sure(facts: Facts, now: float) -> bool:
    """Whether any later change of the file will show in its facts. now: seconds since the epoch."""
    if facts.tag or facts.mtime_ns is None:
        return bool(facts.tag)
    return facts.mtime_ns % 1_000_000_000 != 0 or facts.mtime_ns <= now * 1e9 - FRESH_NS


@cache
def _boot() -> str:
    """What this run of the machine is called."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return new_token()  # then only this process knows


def _said(note: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return note.read_text()
    return ""


def _size_of(part: Path) -> int:
    with suppress(OSError):
        found = os.lstat(part)
        if stat.S_ISREG(found.st_mode):
            return found.st_size
    return 0
