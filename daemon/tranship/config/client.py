"""The options of `tranship client`: hear announcements, ask for the files, publish what has arrived."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from tranship.config.asking import Asks
from tranship.config.curve import CurveOrNone
from tranship.config.endpoints import Discovery, Hosts, NameServers, Providers, Replay, Socket
from tranship.config.kinds import (
    Default,
    Duration,
    FullPath,
    Interval,
    IntervalOrNo,
    Lease,
    Name,
    Options,
    Topic,
    Wanted,
)
from tranship.config.moving import LogsIn
from tranship.config.patterns import Destination
from tranship.config.retry import Retry
from tranship.config.unpack import Unpack
from tranship.config.values import metadata

Replacements = Annotated[
    Mapping[str, Any], PlainValidator(metadata), Wanted("a block of `item: value` or `item: {old: new}`")
]


class ClientChain(LogsIn, Asks):
    """One flow of files: from whoever announces them to one destination."""

    providers: Providers = Field(
        description="Who announces: servers, mirrors, and for a spare the primary client. A topic behind an "
        "address replaces the chain's there.",
    )
    topic: Annotated[Topic | None, Default("that of each provider")] = Field(
        default=None, description="What to listen to: every subject that begins so; empty: everything."
    )
    destination: Destination = Field(
        description="Where the files go. Fields are filled in from the announcement. With a `/` at the end "
        "it is a folder and files keep their names; without, the last part is the new name. Without a host: "
        "this one.",
    )
    publish: Annotated[Socket, Default("port: 0")] = Field(
        default=Socket(port=0),
        description="The socket on which arrived files and heartbeats are published, as `move_it_<chain>`.",
    )
    replay: Replay = None
    nameservers: Annotated[Discovery, Default("no")] = Field(
        default=NameServers(),
        description="Where the publisher makes itself known. Plain host:port needs none.",
    )
    heartbeat: IntervalOrNo = Field(
        default=timedelta(seconds=30), description="Time between two own heartbeats."
    )
    processing_delay: Duration = Field(
        default=timedelta(0), description="Spare: wait this long for the primary to act first."
    )
    lease: Lease = Field(
        default=timedelta(seconds=30),
        description="How long another client of the same section, a primary or a spare, is given to publish what it "
        "said it has under way, if nothing more is heard of it. At least 4 s, and longer than unpacking takes.",
    )
    backup_targets: Annotated[Hosts, Default("none")] = Field(
        default=(), description="Other hosts for the same path, tried in this order if the destination fails."
    )
    replace: Annotated[Replacements, Default("nothing")] = Field(
        default={},
        description="Items of the outgoing message, as far as it has them, to be replaced: by a value, or by "
        "a table of old and new ones.",
    )
    retry: Retry = Field(
        default=None, description="When a delivery that failed is tried again, and a paused place probed."
    )
    unpack: Annotated[Unpack | None, Default("nothing"), Wanted("a format, or a block of options")] = Field(
        default=None,
        description="What is done with packed files on arrival (see below); `unpack: tar` is short for "
        "`unpack: {format: tar}`. The destination has to be on this host.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "ClientChain":
        self.check_login()
        self.check_asked()
        return self


class ClientConfig(Options):
    """A client: one process, any number of chains, each with its own publishing socket."""

    role: Annotated[Literal["client"], Wanted("client")] = Field(
        description="The process that this file is for."
    )
    name: Name = Field(default="move_it_client", description="The name in logs and in the journal.")
    journal: Annotated[
        FullPath, Default("`<name of the file>.journal` in $STATE_DIRECTORY, or in ~/.local/state/tranship")
    ] = Field(description="The file that remembers what was heard, asked for and published.")
    keep: Interval = Field(
        default=timedelta(days=7),
        description="How long the journal keeps what is settled: what was delivered, and what was given up.",
    )
    curve: CurveOrNone = None
    chains: Annotated[Mapping[Name, ClientChain], Wanted("a block for each chain, by its name")] = Field(
        description="The chains, by name."
    )
