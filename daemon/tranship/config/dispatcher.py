"""The options of `tranship dispatcher`: hear of files on this host, send them on, each by its metadata."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from tranship.config.kinds import Count, Default, Name, Wanted, refuse
from tranship.config.moving import Hears, HostURL, LogsIn, Moves, PathPattern, Topics
from tranship.config.patterns import AllowHere
from tranship.config.retry import Retry
from tranship.config.values import ConnectionParameters, Parameters, metadata
from tranship.core.routing import Alias, Condition, aliases_of, conditions_of


def _conditions(value: object) -> tuple[tuple[Condition, ...], ...]:
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError("no list")
    try:
        return tuple(each if isinstance(each, tuple) else conditions_of(metadata(each)) for each in value)
    except ValueError as error:
        raise refuse(str(error), "give e.g. `sensor: [viirs, avhrr]` or `coverage: '>50'`") from None


def _aliases(value: object) -> tuple[Alias, ...]:
    if isinstance(value, tuple):
        return value
    try:
        return aliases_of(metadata(value))
    except ValueError as error:
        raise refuse(str(error), "give a table of old and new words per item") from None


Conditions = Annotated[
    tuple[Any, ...] | None,
    PlainValidator(_conditions),
    Wanted("a list of blocks `item: value`, `item: [values]`, `item: '<30'`, `except: {…}`"),
]
Aliases = Annotated[
    tuple[Any, ...],
    PlainValidator(_aliases),
    Wanted("a block `item: {old: new}`, or `item: [{_alias_name: new item, old: new}]`"),
]


class DispatcherRoute(LogsIn):
    """Which files take this way to the target, and what is particular about it."""

    topics: Topics = Field(description="The subjects that are dispatched: every one that begins so.")
    conditions: Annotated[Conditions, Default("none: all files")] = Field(
        default=None,
        description="Which files: those for which one block of the list holds, in which all must hold. "
        "`except` is a block that must not hold. A file that lacks an item does not fit.",
    )
    host: Annotated[HostURL | None, Default("the target's")] = Field(
        default=None, description="Another host. The target's login is not for it."
    )
    directory: Annotated[PathPattern | None, Default("the target's")] = Field(
        default=None, description="Another directory."
    )
    filepattern: Annotated[PathPattern | None, Default("the target's")] = Field(
        default=None, description="Another pattern for the file's name."
    )

    aliases: Annotated[Aliases | None, Default("the target's")] = Field(
        default=None, description="Other aliases than the target's, instead of them all."
    )
    connection_parameters: Annotated[ConnectionParameters | None, Default("the target's")] = Field(
        default=None, description="Other options of the mover, instead of them all."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "DispatcherRoute":
        self.check_login()
        return self


class DispatcherChain(Hears, LogsIn):
    """A target: where files go, and which."""

    allow: Annotated[AllowHere, Default("nothing")] = Field(
        default=(),
        description="Which files of this host may be sent, as whoever publishes can name any: URL patterns. `*` stands "
        "for anything within a folder name, `**` for any number of folders. Where links lead must be allowed, too.",
    )
    host: HostURL = Field(default="", description="The host that files go to; empty: this one.")
    directory: Annotated[PathPattern | None, Default("that of each route")] = Field(
        default=None, description="The folder there. Fields are filled in from the message."
    )
    filepattern: Annotated[PathPattern | None, Default("the file's own name")] = Field(
        default=None,
        description="The name there. `{file_creation_time}` is the time at which the file came to be.",
    )
    publish_topic: Annotated[PathPattern | None, Default("nobody is told")] = Field(
        default=None,
        description="The subject of the message that tells of a dispatched file; fields are filled in.",
    )
    aliases: Annotated[Aliases, Default("none")] = Field(
        default=(),
        description="Other words for what an item says, in directory and file name only: conditions and "
        "messages have the original.",
    )
    connection_parameters: Annotated[ConnectionParameters, Default("those of each mover")] = Field(
        default=Parameters({}), description="Options of the mover (see below)."
    )
    retry: Retry = Field(
        default=None, description="When a delivery that failed is tried again, and a paused place probed."
    )
    transfers: Count = Field(default=4, description="Transfers at once, per host.")
    routes: Annotated[
        tuple[DispatcherRoute, ...], Field(min_length=1), Wanted("a list of blocks, at least with `topics`")
    ] = Field(description="The ways to this target; a file takes each that fits.")

    @model_validator(mode="after")
    def _fits_together(self) -> "DispatcherChain":
        self.check_login()
        self.check_heard()
        for route in self.routes:
            if route.directory is None and self.directory is None:
                raise refuse("nothing says the directory", "add one, here or to each route", key="directory")
        return self


class DispatcherConfig(Moves):
    """A dispatcher: one process, any number of targets."""

    role: Annotated[Literal["dispatcher"], Wanted("dispatcher")] = Field(
        description="The process that this file is for."
    )
    name: Name = Field(default="dispatcher", description="The name of the publisher, and in logs.")
    chains: Annotated[Mapping[Name, DispatcherChain], Wanted("a block for each target, by its name")] = Field(
        description="The targets, by name."
    )
