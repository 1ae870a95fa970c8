"""The options of `tranship server`: watch directories, announce what appears, move what is asked for."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tranship.config.curve import CurveOrNone
from tranship.config.elsewhere import Filesystem, Listen
from tranship.config.endpoints import Discovery, Host, NameServers, Socket
from tranship.config.kinds import (
    Count,
    Default,
    Duration,
    DurationOrNever,
    FullPath,
    Interval,
    IntervalOrNo,
    Name,
    Options,
    Silence,
    Switch,
    Text,
    Topic,
    Wanted,
    refuse,
)
from tranship.config.patterns import Allow, OriginPattern, Settle
from tranship.config.unpack import Unpack
from tranship.config.values import ConnectionParameters, Metadata, Parameters
from tranship.steps.settle import Closed


class Watch(StrEnum):
    """How new files are noticed."""

    AUTO = "auto"
    INOTIFY = "inotify"
    POLL = "poll"


class Checksum(StrEnum):
    """What is announced of a file's bytes."""

    XXH128 = "xxh128"
    SHA256 = "sha256"
    NONE = "none"


class ServerChain(Options):
    """One flow of files: from a place on this host to whoever asks."""

    origin: Annotated[OriginPattern | None, Default("none: it listens instead")] = Field(
        default=None,
        description="Which files: the full path, with trollsift's fields; directories may hold fields too "
        "and are then watched below the last one without. The fields go into the announcement.",
    )
    listen: Annotated[
        Listen | None, Default("no"), Wanted("a block: topics, addresses, services, nameserver")
    ] = Field(
        default=None,
        description="Announce the files of this host that others' messages name, instead of those of a folder.",
    )
    topic: Topic = Field(description="The subject of the announcements.")
    info: Metadata = Field(default={}, description="More items for every announcement, as they are.")
    station: Text = Field(default="unknown", description="The station's name in the answer to a `ping`.")
    request: Annotated[Socket | None, Default("none: it stands alone")] = Field(
        default=None,
        description="The socket on which files are asked for. Without one, files are announced for whoever reads them "
        "by fsspec (see `filesystem`).",
    )
    filesystem: Annotated[
        Filesystem | None, Default("by ssh"), Wanted("a block: protocol, host, port, username, archive")
    ] = Field(default=None, description="Without `request`: how consumers reach the files by themselves.")
    request_address: Annotated[
        Host | None, Default("where `request` binds; bound to all: this host's address")
    ] = Field(default=None, description="The host that is announced for requests, without the port.")
    allow: Annotated[Allow, Default("nothing")] = Field(
        default=(),
        description="Destinations that may be asked for. `*` stands for anything within a host or folder "
        'name, `**` for any number of folders, `"**"` alone for every destination there is.',
    )
    settle: Annotated[Settle, Default("closed")] = Field(
        default=Closed(),
        description="When a file is complete: `closed` by its writer or renamed in (where nobody tells, with "
        "`watch: poll`: unchanged from one look to the next); unchanged for a time; or when a companion file "
        "is there, whose name is made of `{name}`, or `{stem}` (without the last suffix).",
    )
    announce_empty_after: Annotated[DurationOrNever, Default("never")] = Field(
        default=None,
        description="Announce a file that is still empty after this long. Until then it is looked at again.",
    )
    watch: Annotated[Watch, Wanted("auto, inotify or poll")] = Field(
        default=Watch.AUTO,
        description="How new files are noticed; `auto`: inotify, but polling where a network file system (NFS, CIFS, "
        "FUSE …) tells nothing of what other hosts write, or the kernel has no watches left.",
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
        description="Announce at each start what came while nobody watched. `no`: only what comes after the start.",
    )
    checksum: Annotated[Checksum, Wanted("xxh128, sha256 or none")] = Field(
        default=Checksum.XXH128,
        description="The checksum that is announced, and verified after each transfer.",
    )
    delete: Switch = Field(default=False, description="Delete a file after it was delivered or acknowledged.")
    remove_delay: Duration = Field(
        default=timedelta(seconds=30),
        description="Time from the last delivery or acknowledgement to the deletion. Nothing is deleted that a "
        "client is being sent, or asks for again after a failure.",
    )
    unpack: Annotated[Unpack | None, Default("nothing"), Wanted("a format, or a block of options")] = Field(
        default=None,
        description="What is done with packed files before they are announced (see below). Needs a `directory`; "
        "what lies there is deleted after its delivery. Several files from one are announced as a `dataset`.",
    )
    connection_parameters: Annotated[ConnectionParameters, Default("those of each mover")] = Field(
        default=Parameters({}), description="Options of the movers (see below)."
    )
    transfers: Count = Field(default=4, description="Transfers at once, per destination host.")
    silence: Silence = None

    @model_validator(mode="after")
    def _fits_together(self) -> "ServerChain":
        if not self.origin and self.listen is None:
            raise refuse("is missing", "give the pattern of the files' paths, or `listen`", key="origin")
        if self.origin and self.listen is not None:
            raise refuse("stands beside `origin`", "keep one of the two", key="listen")
        if self.request is not None and self.filesystem is not None:
            raise refuse("stands beside `request`", "keep one of the two", key="filesystem")
        if self.request is None and self.listen is not None:
            raise refuse("is missing beside `listen`", "give a port", key="request")
        return self

    @model_validator(mode="after")
    def _unpacks_somewhere(self) -> "ServerChain":
        if self.unpack is not None and self.unpack.directory is None:
            raise refuse("is missing", "name a folder for what is unpacked", key="unpack.directory")
        return self


class ServerConfig(Options):
    """A server: one process, one publishing socket, any number of chains."""

    role: Annotated[Literal["server"], Wanted("server")] = Field(
        description="The process that this file is for."
    )
    name: Name = Field(
        default="move_it_server",
        description="The name in heartbeats, logs, at name servers. Trollmoves' clients watch the default.",
    )
    journal: Annotated[
        FullPath, Default("`<name of the file>.journal` in $STATE_DIRECTORY, or in ~/.local/state/tranship")
    ] = Field(description="The file that remembers what was announced and what is owed.")
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
        description="How long the journal keeps what is settled: announcements of files that "
        "are there no more, for replays.",
    )
    curve: CurveOrNone = None
    chains: Annotated[Mapping[str, ServerChain], Wanted("a block for each chain, by its name")] = Field(
        description="The chains, by name."
    )
