"""The options of `tranship mirror`: announce what others announce, bring it when it is asked for, move it on."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tranship.config.asking import Asks
from tranship.config.curve import CurveOrNone
from tranship.config.endpoints import Discovery, Host, NameServers, Providers, Socket
from tranship.config.kinds import (
    Count,
    Default,
    Duration,
    FullPath,
    Interval,
    IntervalOrNo,
    Name,
    Options,
    Switch,
    Text,
    Topic,
    Wanted,
    refuse,
)
from tranship.config.moving import LogsIn
from tranship.config.patterns import Allow, Destination
from tranship.config.retry import Retry
from tranship.config.values import ConnectionParameters, Parameters


class MirrorChain(LogsIn, Asks):
    """One flow of files: from whoever announces them to whoever asks for them here."""

    providers: Providers = Field(
        description="Who announces: servers, other mirrors. A topic behind an address replaces the chain's there. "
        "What several announce is told once; each is a fall-back for the others.",
    )
    topic: Annotated[Topic | None, Default("that of each provider")] = Field(
        default=None,
        description="What to listen to: every subject that begins so; empty: everything. It is told under its own "
        "subject again.",
    )
    delay: Duration = Field(
        default=timedelta(0), description="Time from hearing an announcement to telling it downstream."
    )
    destination: Destination = Field(
        description="The mirror's own folder, as the providers' servers reach it: their files are brought there. Its "
        "path must be a path of this host.",
    )
    retry: Retry = Field(
        default=None,
        description="When what could not be brought is tried again (when it is asked for again: at once), and a paused "
        "place probed.",
    )
    station: Text = Field(default="unknown", description="The station's name in the answer to a `ping`.")
    request: Socket = Field(description="The socket on which files are asked for.")
    request_address: Annotated[
        Host | None, Default("where `request` binds; bound to all: this host's address")
    ] = Field(default=None, description="The host that is announced for requests, without the port.")
    allow: Annotated[Allow, Default("nothing")] = Field(
        default=(),
        description="Destinations that may be asked for, as for a server.",
    )
    delete: Switch = Field(default=True, description="Delete the mirror's own copy after it was moved on.")
    remove_delay: Duration = Field(
        default=timedelta(seconds=30), description="Time from the move to the deletion of the copy."
    )
    connection_parameters: Annotated[ConnectionParameters, Default("those of each mover")] = Field(
        default=Parameters({}), description="Options of the movers (see below)."
    )
    transfers: Count = Field(default=4, description="Transfers at once, per destination host.")

    @model_validator(mode="after")
    def _fits_together(self) -> "MirrorChain":
        self.check_login()
        self.check_asked()
        if not self.destination.endswith("/"):
            raise refuse(
                "is no folder, so that all files would get one name", "end it with /", key="destination"
            )
        return self


class MirrorConfig(Options):
    """A mirror: one process, one publishing socket, any number of chains."""

    role: Annotated[Literal["mirror"], Wanted("mirror")] = Field(
        description="The process that this file is for."
    )
    name: Name = Field(default="move_it_mirror", description="The name in heartbeats, logs, at name servers.")
    journal: Annotated[
        FullPath, Default("`<name of the file>.journal` in $STATE_DIRECTORY, or in ~/.local/state/tranship")
    ] = Field(description="The file that remembers what was heard, announced, brought and is owed.")
    publish: Socket = Field(
        default=Socket(port=9010),
        description="The socket on which announcements and heartbeats are published.",
    )
    heartbeat: IntervalOrNo = Field(default=timedelta(seconds=30), description="Time between two heartbeats.")
    nameservers: Annotated[Discovery, Default("no")] = Field(
        default=NameServers(),
        description="Where the publisher makes itself known. Plain host:port needs none.",
    )
    keep: Interval = Field(
        default=timedelta(days=7),
        description="How long the journal keeps what is settled: announcements, for replays, and what was brought.",
    )
    curve: CurveOrNone = None
    chains: Annotated[Mapping[Name, MirrorChain], Wanted("a block for each chain, by its name")] = Field(
        description="The chains, by name."
    )
