"""Blocks of a server's chain that has no folder of its own (`listen`), or takes no requests (`filesystem`)."""

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from tranship.config.endpoints import Host, Provider, Providers
from tranship.config.kinds import Default, Name, Options, Port, Text, Topic, Wanted, is_no, refuse, words
from tranship.config.patterns import AllowHere
from tranship.steps.share import Archive, Protocol


class Listen(Options):
    """Announce the files that others' messages name, instead of watching a folder."""

    topics: Annotated[
        Annotated[tuple[Topic, ...], BeforeValidator(words)],
        Default("everything"),
        Wanted("a list of topics"),
    ] = Field(default=("",), description="Which messages: every subject that begins so.")
    allow: Annotated[AllowHere, Default("nothing")] = Field(
        default=(),
        description="Which files of this host may be announced, as whoever publishes can name any: URL patterns. "
        "`*` stands for anything within a folder name, `**` for any number of folders. Where links lead must be "
        "allowed, too.",
    )
    addresses: Annotated[Providers | tuple[Provider, ...], Default("none"), Wanted("a list of host:port")] = (
        Field(default=(), description="Who publishes them.")
    )
    services: Annotated[
        Annotated[tuple[Name, ...], BeforeValidator(words)], Default("all"), Wanted("a list of names")
    ] = Field(default=(), description="With `nameserver`: the publishers' names there.")
    nameserver: Annotated[
        Annotated[Host | None, BeforeValidator(lambda value: None if is_no(value) else value)],
        Default("no"),
        Wanted("a host, or no"),
    ] = Field(default=None, description="A name server that knows the publishers.")

    @model_validator(mode="after")
    def _hears_somebody(self) -> "Listen":
        if not self.addresses and self.nameserver is None:
            raise refuse(
                "nothing says whom to listen to", "give host:port, or a `nameserver`", key="addresses"
            )
        return self


class Filesystem(Options):
    """How consumers reach the files by themselves, by fsspec. Their logins are their own: none is announced."""

    protocol: Annotated[Protocol, Wanted("ssh, sftp or file")] = Field(
        default=Protocol.SSH, description="What to reach this host by; `file`: they see the same paths."
    )
    host: Annotated[Host | None, Default("this host's name")] = Field(
        default=None, description="The host that is announced."
    )
    port: Annotated[Port | None, Default("the protocol's")] = Field(default=None, description="Its port.")
    username: Annotated[Text | None, Default("none")] = Field(
        default=None, description="The user that is announced; never a password."
    )
    archive: Annotated[Archive | None, Default("none"), Wanted("tar or zip")] = Field(
        default=None,
        description="The files are archives: a `dataset` of their members is announced, each to be read inside of it.",
    )
