"""The options of `tranship mirror`: announce what others announce, bring it when it is asked for, move it on."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tranship.config.endpoints import Discovery, Host, NameServers, Provider, Providers, Socket
from tranship.config.kinds import (
    Count,
    Default,
    Duration,
    FullPath,
    Interval,
    IntervalOrNo,
    Name,
    Options,
    Scale,
    Switch,
    Text,
    Topic,
    Wanted,
    refuse,
)
from tranship.config.patterns import Allow, Destination
from tranship.config.retry import Retry
from tranship.config.values import ConnectionParameters, Login, Parameters


class MirrorChain(Options):
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
    login: Annotated[Login | None, Default("none")] = Field(
        default=None, description="Credentials for the destination; never shown."
    )
    login_file: Annotated[Text | None, Default("none")] = Field(
        default=None,
        description="A file with the login: a full path, or a name given by systemd (`LoadCredential=`).",
    )
    create_target_directory: Switch = Field(
        default=True, description="Make the destination's folder before asking."
    )
    ftp_root: FullPath = Field(
        default="/",
        validate_default=True,
        description="What the destination's path lies below, on this host.",
    )
    heartbeat_alarm_scale: Scale = Field(
        default=10.0,
        description="Connect to a provider anew after so many of its heartbeat intervals without one.",
    )
    req_timeout: Interval = Field(
        default=timedelta(seconds=1),
        description="How long to wait for an answer to a request without a transfer.",
    )
    transfer_req_timeout: Interval = Field(
        default=timedelta(seconds=10),
        description="How long to wait for a sign of life of a transfer that was asked for.",
    )
    in_flight: Count = Field(default=64, description="Requests under way at once, per provider.")
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
        if self.login and self.login_file:
            raise refuse("stands beside `login`", "keep one of the two", key="login_file")
        if not self.destination.endswith("/"):
            raise refuse(
                "is no folder, so that all files would get one name", "end it with /", key="destination"
            )
        silent = next((provider for provider in self.providers if provider.topic is None), None)
        if silent and self.topic is None:
            raise refuse(
                f"nothing says what to hear from {silent.host}:{silent.port}",
                'add a topic (`""` for everything), here or behind the provider',
                key="topic",
            )
        return self

    def topic_of(self, provider: Provider) -> str:
        """What to listen to at provider: a prefix of subjects, "" for all."""
        return self.topic or "" if provider.topic is None else provider.topic


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
    chains: Annotated[Mapping[Name, MirrorChain], Wanted("a block for each chain, by its name")] = Field(
        description="The chains, by name."
    )
