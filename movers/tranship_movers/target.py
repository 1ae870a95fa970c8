"""The local file that a download is written into."""

from io import FileIO
from pathlib import Path


def opened_at(target: Path, offset: int) -> FileIO:
    """Target, to be written from offset on: what is before stays, what is behind goes. Raises OSError."""
    file = open(target, "r+b" if offset else "wb", buffering=0)  # noqa: SIM115
    if offset:
        file.truncate(offset)
        file.seek(offset)
    return file
