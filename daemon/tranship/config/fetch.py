"""The options of `tranship fetch`: hear of files elsewhere, bring them here."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tranship.config.kinds import Count, Default, Name, Wanted, refuse
from tranship.config.moving import Hears, LogsIn, Moves, PathPattern, Topics
from tranship.config.patterns import Allow
from tranship.config.patterns import destination as url
from tranship.config.retry import Retry
from tranship.config.values import ConnectionParameters, Parameters
from tranship.core.allow import EVERYTHING


def _full(text: str) -> str:
    if not text.startswith("/"):
        raise refuse(f"{text!r} is no full path", "begin it with /")
    return text


def _folder(text: str) -> str:
    found = url(text)
    return found if found.endswith("/") else f"{found}/"


Directory = Annotated[
    PathPattern, AfterValidator(_full), Wanted("a full path with fields, like /data/{platform_name}")
]
Source = Annotated[str, AfterValidator(_folder), Wanted("a URL like s3://bucket/")]


class FetchChain(Hears, LogsIn):
    """One flow of files: from wherever messages say they are, to a folder here."""

    topics: Topics = Field(description="The subjects that are fetched: every one that begins so.")
    allow: Annotated[Allow, Default("nothing")] = Field(
        default=(),
        description="Where files may be fetched from: URL patterns. `*` stands for anything within a host or "
        'folder name, `**` for any number of folders, `"**"` alone for everything that has a mover of its own, but '
        "for files of this host.",
    )
    source: Annotated[Source | None, Default("where the message says")] = Field(
        default=None,
        description="Where all files lie: of the message, only the file's name counts.",
    )
    directory: Directory = Field(
        description="The folder that files go to, on this host. Fields are filled in from the message."
    )
    filepattern: Annotated[PathPattern | None, Default("the file's own name")] = Field(
        default=None, description="The name there."
    )
    publish_topic: Annotated[PathPattern | None, Default("the subject of what was heard")] = Field(
        default=None, description="The subject of the message that tells of a file that is here."
    )
    connection_parameters: Annotated[ConnectionParameters, Default("those of each mover")] = Field(
        default=Parameters({}), description="Options of the movers (see below)."
    )
    retry: Retry = Field(
        default=None, description="When a delivery that failed is tried again, and a paused place probed."
    )
    transfers: Count = Field(default=4, description="Transfers at once, per host.")

    @model_validator(mode="after")
    def _fits_together(self) -> "FetchChain":
        self.check_login()
        self.check_heard()
        if (self.login or self.login_file) and EVERYTHING in self.allow and self.source is None:
            raise refuse(
                "would be shown to any host that a message names", "name the hosts in `allow`", key="login"
            )
        return self


class FetchConfig(Moves):
    """A fetcher: one process, any number of chains."""

    role: Annotated[Literal["fetch"], Wanted("fetch")] = Field(
        description="The process that this file is for."
    )
    name: Name = Field(default="fetch", description="The name of the publisher, and in logs.")
    chains: Annotated[Mapping[Name, FetchChain], Wanted("a block for each chain, by its name")] = Field(
        description="The chains, by name."
    )
