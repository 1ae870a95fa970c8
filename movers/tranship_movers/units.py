"""Options with units: durations, sizes and rates as people write them."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, ByteSize

__all__ = ["ByteSize", "Duration", "Patience", "Rate", "byte_rate", "duration", "patience"]

_UNITS = {
    "": 1.0,
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)")
_LONGEST = timedelta(days=36525)


def duration(value: object) -> timedelta:
    """A duration from "30 s", "5 min", "200 ms", "1 d", "1 h 30 min", a number of seconds, or a timedelta.

    From 0 to a hundred years. Raises ValueError, which says how to write one.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else _seconds(value)
    if not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError(f"{value!r} is no duration from 0 s to a hundred years")
    return timedelta(seconds=seconds)


def patience(value: object) -> timedelta:
    """A duration as `duration` reads it, but not 0: nothing can be done in no time. Raises ValueError."""
    read = duration(value)
    if not read:
        raise ValueError(f"{value!r} is no time to wait: it must be longer than 0 s")
    return read


def byte_rate(value: object) -> object:
    """What `ByteSize` reads, of a rate written with its "/s": "10 MiB/s" -> "10 MiB"."""
    return re.sub(r"\s*/\s*s(ec(ond)?)?\s*$", "", value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(duration)]
"""A timedelta, written "30 s", "5 min", "200 ms", "2 h", "1 d", or as a plain number of seconds."""

Patience = Annotated[timedelta, BeforeValidator(patience)]
"""A duration that something may take: longer than 0 s."""

Rate = Annotated[ByteSize, BeforeValidator(byte_rate)]
"""Bytes per second, written "10 MiB/s", "10 MiB", or as a plain number."""


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = value.strip().lower() if isinstance(value, str) else ""
    parts = _PART.findall(text)
    unitless = len(parts) > 1 and any(not unit for _, unit in parts)
    if not parts or unitless or _PART.sub("", text).strip() or any(unit not in _UNITS for _, unit in parts):
        raise ValueError(f"{value!r} is no duration; write it like 30 s, 5 min, 200 ms, 2 h or 1 d")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
