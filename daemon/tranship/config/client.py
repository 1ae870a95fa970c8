"""The options of `tranship client`: hear announcements, ask for the files, publish what has arrived."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from tranship.config.endpoints import Discovery, Hosts, NameServers, Provider, Providers, Socket
from tranship.config.kinds import (
    Count,
    Default,
    Duration,
    FullPath,
    Interval,
    IntervalOrNo,
    Lease,
    Name,
    Options,
    Scale,
    Switch,
    Text,
    Topic,
    Wanted,
    refuse,
)
from tranship.config.patterns import Destination
from tranship.config.retry import Retry
from tranship.config.unpack import Unpack
from tranship.config.values import Login, metadata

Replacements = Annotated[
    Mapping[str, Any], PlainValidator(metadata), Wanted("a block of `item: value` or `item: {old: new}`")
]


class ClientChain(Options):
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
    login: Annotated[Login | None, Default("none")] = Field(
        default=None, description="Credentials for the destination; never shown."
    )
    login_file: Annotated[Text | None, Default("none")] = Field(
        default=None,
        description="A file with the login: a full path, or a name given by systemd (`LoadCredential=`).",
    )
    publish: Annotated[Socket, Default("port: 0")] = Field(
        default=Socket(port=0),
        description="The socket on which arrived files and heartbeats are published, as `move_it_<chain>`.",
    )
    nameservers: Annotated[Discovery, Default("no")] = Field(
        default=NameServers(),
        description="Where the publisher makes itself known. Plain host:port needs none.",
    )
    heartbeat: IntervalOrNo = Field(
        default=timedelta(seconds=30), description="Time between two own heartbeats."
    )
    heartbeat_alarm_scale: Scale = Field(
        default=10.0,
        description="Connect to a provider anew after so many of its heartbeat intervals without one.",
    )
    processing_delay: Duration = Field(
        default=timedelta(0), description="Spare: wait this long for the primary to act first."
    )
    lease: Lease = Field(
        default=timedelta(seconds=30),
        description="How long another client of the same section, a primary or a spare, is given to publish what it "
        "said it has under way, if nothing more is heard of it. At least 4 s, and longer than unpacking takes.",
    )
    req_timeout: Interval = Field(
        default=timedelta(seconds=1),
        description="How long to wait for an answer to a request without a transfer.",
    )
    transfer_req_timeout: Interval = Field(
        default=timedelta(seconds=10),
        description="How long to wait for a sign of life of a transfer that was asked for.",
    )
    create_target_directory: Switch = Field(
        default=True, description="Make the destination's folder before asking, if it lies on this host."
    )
    ftp_root: FullPath = Field(
        default="/",
        validate_default=True,
        description="What the destination's path lies below, on this host.",
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
    in_flight: Count = Field(default=64, description="Requests under way at once, per provider.")

    @model_validator(mode="after")
    def _fits_together(self) -> "ClientChain":
        if self.login and self.login_file:
            raise refuse("stands beside `login`", "keep one of the two", key="login_file")
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
    chains: Annotated[Mapping[Name, ClientChain], Wanted("a block for each chain, by its name")] = Field(
        description="The chains, by name."
    )
