"""The options of `tranship move`: watch a directory of this host, move what appears to one place or several."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tranship.config.kinds import (
    Count,
    Default,
    DurationOrNever,
    Interval,
    Name,
    Options,
    Silence,
    Switch,
    Topic,
    Wanted,
    refuse,
)
from tranship.config.moving import LogsIn, Moves
from tranship.config.patterns import OriginPattern, Settle
from tranship.config.patterns import destination as url
from tranship.config.retry import Retry
from tranship.config.server import Watch
from tranship.config.unpack import Unpack
from tranship.config.values import ConnectionParameters, Metadata, Parameters
from tranship.steps.settle import Closed


def _folder(text: str) -> str:
    if "{" in text or "}" in text:
        raise refuse(
            "holds a field, and is to be one folder", "write it out; a dispatcher sorts files into folders"
        )
    found = url(text)
    return found if found.endswith("/") else f"{found}/"


def _listed(value: object) -> object:
    """A list of blocks; one URL, or a list of them, is short for that."""
    several = value if isinstance(value, list | tuple) else [value]
    return [{"url": each} if isinstance(each, str) else each for each in several]


Folder = Annotated[
    str, AfterValidator(_folder), Wanted("a folder's URL, like file:///data/ or sftp://host/data/")
]


class MoveDestination(LogsIn):
    """One of the places that every file goes to."""

    url: Folder = Field(description="The folder; a file keeps its name there.")

    @model_validator(mode="after")
    def _fits_together(self) -> "MoveDestination":
        self.check_login()
        return self


class MoveChain(Options):
    """One flow of files: from a place on this host to every destination."""

    origin: OriginPattern = Field(
        description="Which files: the full path, with trollsift's fields; directories may hold fields too "
        "and are then watched below the last one without. The fields go into the messages."
    )
    destinations: Annotated[
        tuple[MoveDestination, ...],
        BeforeValidator(_listed),
        Field(min_length=1),
        Wanted("a list of folders' URLs, or of blocks with `url` and a login"),
    ] = Field(description="Where every file goes; each in its own time, whatever becomes of the others.")
    topic: Annotated[Topic | None, Default("needed only with `publish`")] = Field(
        default=None, description="The subject of the messages that tell of moved files."
    )
    info: Metadata = Field(default={}, description="More items for every message, as they are.")
    settle: Annotated[Settle, Default("closed")] = Field(
        default=Closed(), description="When a file is complete: as for a chain of a server."
    )
    move_empty_after: Annotated[DurationOrNever, Default("never")] = Field(
        default=None,
        description="Move a file that is still empty after this long. Until then it is looked at again.",
    )
    watch: Annotated[Watch, Wanted("auto, inotify or poll")] = Field(
        default=Watch.AUTO, description="How new files are noticed: as for a chain of a server."
    )
    poll_interval: Interval = Field(
        default=timedelta(seconds=1), description="Polling: time between two looks."
    )
    scan_interval: Interval = Field(
        default=timedelta(seconds=60),
        description="Time between two scans of the directory, for what no event told of.",
    )
    backlog: Switch = Field(
        default=True,
        description="Move at each start what came while nobody watched. `no`: only what comes after the start.",
    )
    unpack: Annotated[Unpack | None, Default("nothing"), Wanted("a format, or a block of options")] = Field(
        default=None,
        description="What is done with packed files: what is in them is moved, under its own names, and they are not. "
        "It is unpacked in `directory` (not given: where temporary files go), for each destination, and gone from "
        "there afterwards. Several files from one are told of as a `dataset`.",
    )
    delete: Switch = Field(
        default=False, description="Delete a file when every destination has it, verified; never before."
    )
    connection_parameters: Annotated[ConnectionParameters, Default("those of each mover")] = Field(
        default=Parameters({}), description="Options of the movers (see below)."
    )
    retry: Retry = Field(
        default=None, description="When a delivery that failed is tried again, and a paused place probed."
    )
    transfers: Count = Field(default=4, description="Transfers at once, per destination.")
    silence: Silence = None

    @model_validator(mode="after")
    def _fits_together(self) -> "MoveChain":
        urls = [destination.url for destination in self.destinations]
        if len(set(urls)) < len(urls):
            raise refuse("names a folder twice", "leave one of the two out", key="destinations")
        if self.unpack is not None:
            for key in self.unpack.model_fields_set & {"delete", "keep"}:
                raise refuse("does nothing here", "the chain has a `delete` of its own", key=f"unpack.{key}")
        return self


class MoveConfig(Moves):
    """A mover: one process, any number of chains."""

    role: Annotated[Literal["move"], Wanted("move")] = Field(description="The process that this file is for.")
    name: Name = Field(default="move_it", description="The name of the publisher, and in logs.")
    chains: Annotated[Mapping[Name, MoveChain], Wanted("a block for each chain, by its name")] = Field(
        description="The chains, by name."
    )
