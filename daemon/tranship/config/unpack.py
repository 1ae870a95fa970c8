"""`unpack`: what is done with packed files before others are told of them."""

from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from tranship.config.kinds import (
    Count,
    Default,
    FullPath,
    Interval,
    Options,
    Switch,
    Text,
    Wanted,
    refuse,
    words,
)
from tranship.packed import USUAL, Format, Plan, reads_zstd
from tranship_movers.units import ByteSize

Words = Annotated[tuple[Text, ...], BeforeValidator(words), Wanted("a list of words")]
_WITH_PROGRAM = frozenset({Format.XRIT, Format.PROGRAM})


class Unpack(Options):
    """How packed files are unpacked; a plain word is the format."""

    format: Annotated[Format, Wanted("tar, zip, gzip, bzip2, xz, zstd, xrit or program")] = Field(
        description="What packed them. `tar` may be compressed by any of the others; `xrit`: segments that end "
        "with `C_`; `program`: whatever `command` can read. Of `zip`, what is stored or deflated is read."
    )
    names: Annotated[Words, Default("those usual for the format")] = Field(
        default=(),
        description="Which files are packed ones, as shell patterns; others pass as they are.",
    )
    command: Annotated[Words, Default("none")] = Field(
        default=(),
        description="For `xrit` and `program`: the program and its arguments, as a list, run without a shell in an "
        "empty directory; what it leaves there are the results. `{file}` is the packed file, put at the end if it "
        "stands nowhere.",
    )
    deadline: Interval = Field(default=timedelta(minutes=10), description="How long the program may take.")
    delete: Switch = Field(default=False, description="Delete the packed file once it is unpacked.")
    directory: Annotated[FullPath | None, Default("where the packed file lies")] = Field(
        default=None, description="Where the results go (not for a client)."
    )
    keep: Interval = Field(
        default=timedelta(days=1),
        description="Server: results that nobody has asked for are deleted after this long; others "
        "`remove_delay` after their delivery.",
    )
    members: Count = Field(default=10_000, description="Refuse an archive of more files.")
    size: Annotated[ByteSize, Wanted("a size like 64 GiB")] = Field(
        default=ByteSize(64 << 30), description="Refuse what grows to more bytes, all files together."
    )
    ratio: Count = Field(
        default=1000, description="Refuse what grows to more than so many times its size (above 64 MiB)."
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_format(cls, value: object) -> object:
        return {"format": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> "Unpack":
        if self.format in _WITH_PROGRAM and not self.command:
            raise refuse("is missing", f"{self.format} needs a program: give its full path", key="command")
        if self.command and self.format not in _WITH_PROGRAM:
            raise refuse(f"does nothing with {self.format}", "remove it", key="command")
        if self.command and "/" in self.command[0] and not self.command[0].startswith("/"):
            raise refuse(f"{self.command[0]!r} is no full path", "begin it with /", key="command")
        if self.format is Format.ZSTD and not reads_zstd():
            raise refuse("zstd can't be read here", "pip install 'tranship[zstd]'", key="format")
        return self

    @property
    def plan(self) -> Plan:
        """The same for the step."""
        return Plan(
            self.format,
            self.names or USUAL[self.format],
            self.command,
            self.deadline,
            str(self.directory or ""),
            self.members,
            int(self.size),
            self.ratio,
        )
