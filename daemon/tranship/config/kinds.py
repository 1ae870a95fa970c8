"""What a kind of option is, and the plain kinds: words, numbers, times.

A kind reads what is given, or refuses it in words; it says what it wants, for the documentation and for
whoever gave something else.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from tranship_movers.units import Duration as _Duration
from tranship_movers.units import duration


class Options(BaseModel):
    """A block of options, each declared once with kind, default, help. Frozen; equal if all options are."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be given, in words."""

    words: str


@dataclass(frozen=True, slots=True)
class Default:
    """What holds if nothing is given, in words, where the value itself would not say it."""

    words: str


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a kind of which nothing may be shown."""


def refuse(problem: str, advice: str = "", *, key: str = "") -> PydanticCustomError:
    """The error of a kind that can say more than what it wants. `key`: the option below the refused one."""
    return PydanticCustomError("refused", "{problem}", {"problem": problem, "advice": advice, "key": key})


def given(value: object) -> str:
    """What was given, short and without the credentials of a URL, for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a block of options"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    # nothing around an @: a password may hold one itself, and may have been cut off behind it
    text = re.sub(r".*@.*", "…@…", str(value), flags=re.DOTALL)
    text = re.sub(r"//[^/]*:(?!\d{0,5}(/|$)).*", "//…", text, flags=re.DOTALL)
    return repr(text if len(text) <= 60 else text[:60] + "…")


def is_no(value: object) -> bool:
    """Whether value says no."""
    return value is False or (
        isinstance(value, str) and value.lower() in ("no", "off", "false", "never", "none")
    )


def words(value: object) -> object:
    """A list, which may also be written as words with blanks between them."""
    if not isinstance(value, str):
        return value
    # a password with a blank would be shown, as a word without its @; which may have been cut off
    hosts = re.sub(r"\[[^\]]*\]", "", value)
    if re.search(r":[^@]*\s[^@]*@|:(?!//|\d{1,5}(?:[/\s]|$)|\s|$)\S*\s", hosts):
        raise refuse("holds credentials", "leave them out")
    return value.split()


def interval(value: object) -> timedelta:
    """A duration above 0. Raises ValueError for anything else."""
    found = duration(value)
    if not found:
        raise ValueError("0 is no interval")
    return found


def _lease(value: object) -> timedelta:
    found = duration(value)
    if found < timedelta(seconds=4):
        raise refuse(f"{given(value)} is too short to publish in and to tell the server", "give 4 s or more")
    return found


def _unless_no(read: Callable[[object], timedelta]) -> Callable[[object], timedelta | None]:
    def read_or_none(value: object) -> timedelta | None:
        return None if value is None or is_no(value) else read(value)

    return read_or_none


def _scale(value: Any) -> Any:
    return 0 if is_no(value) else value


def _name(text: str) -> str:
    if not text or re.search(r"[\s/]", text):
        raise refuse(f"{given(text)} is no name", "give a word without blanks and slashes")
    return text


def topic(text: str) -> str:
    """A topic, with its slash. Refuses one with a blank in it."""
    if re.search(r"\s", text):
        raise refuse(f"{given(text)} holds a blank", "give a topic like /1b/hrit")
    return text if not text or text.startswith("/") else f"/{text}"


def _full_path(value: object) -> Path:
    path = Path(str(value)).expanduser()
    if not path.is_absolute():
        raise refuse(f"{given(value)} is no full path", "begin it with /")
    return path


Text = Annotated[str, Wanted("a text")]
Name = Annotated[str, AfterValidator(_name), Wanted("a name without blanks and slashes")]
Topic = Annotated[str, AfterValidator(topic), Wanted("a topic like /1b/hrit")]
FullPath = Annotated[Path, BeforeValidator(_full_path), Wanted("a full path")]

Switch = Annotated[bool, Wanted("yes or no")]
Port = Annotated[int, Field(ge=0, le=65535), Wanted("a port from 0 (any free one) to 65535")]
Count = Annotated[int, Field(ge=1), Wanted("a number from 1")]
Scale = Annotated[float, BeforeValidator(_scale), Field(ge=0, allow_inf_nan=False), Wanted("a number, or no")]

Duration = Annotated[_Duration, Wanted("a duration like 30 s, 5 min, 200 ms")]
Interval = Annotated[
    timedelta, BeforeValidator(interval), Wanted("a duration above 0, like 30 s, 5 min, 200 ms")
]
Lease = Annotated[timedelta, BeforeValidator(_lease), Wanted("a duration of 4 s or more, like 30 s")]
IntervalOrNo = Annotated[
    timedelta | None, BeforeValidator(_unless_no(interval)), Wanted("a duration above 0, like 30 s, or no")
]
DurationOrNever = Annotated[
    timedelta | None, BeforeValidator(_unless_no(duration)), Wanted("a duration like 30 s, or never")
]
Silence = Annotated[
    IntervalOrNo,
    Field(
        description="The health is degraded, and the log says so, while nothing has come for longer than this: it "
        "should be longer than the longest pause of what is received."
    ),
]
