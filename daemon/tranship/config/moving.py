"""What the roles that move files themselves have in common: the process, whom it hears, where files go."""

import re
import string
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from tranship.config.curve import CurveOrNone
from tranship.config.endpoints import Discovery, Hosts, NameServers, Provider, Replay, Socket, provider
from tranship.config.kinds import (
    Default,
    FullPath,
    Interval,
    IntervalOrNo,
    Name,
    Options,
    Scale,
    Silence,
    Text,
    Wanted,
    given,
    refuse,
    topic,
    words,
)
from tranship.config.values import Login

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<login>[^/]*@)?(?P<host>(\[[^\]]*\]|[^:/@]*)(:\d{1,5})?)/*"
)


def host_url(text: str) -> str:
    """A URL without path and credentials, or nothing. Refuses anything else."""
    if not text:
        return ""
    match = _URL.fullmatch(text)
    if match is None:
        raise refuse(
            f"{given(text)} is no host",
            'give a URL without a path, like sftp://archive.example, or "" for here',
        )
    if match["login"]:
        raise refuse("holds credentials", "put them into `login`, or into a file that `login_file` names")
    return f"{match['scheme'].lower()}://{match['host']}"


def path_pattern(text: str) -> str:
    """A path with fields that can be filled in. Refuses anything else."""
    try:
        fields = [field for field in string.Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise refuse(f"a broken field: {error}", "close every {, and double a brace that is text") from None
    for _, name, form, _ in fields:
        if not re.fullmatch(r"[^\W\d]\w*([.\[][^_].*)?", name or ""):
            raise refuse(f"the field {{{name}}} has no proper name", "name it like {platform_name}")
        if "{" in (form or ""):
            raise refuse(f"the format of {{{name}}} is to come from a message", "write out the format")
    if ".." in text.split("/") or any(letter in text for letter in "\0\r\n"):
        raise refuse(f"{given(text)} climbs, or holds a line break", "write out the folder that is meant")
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


HostURL = Annotated[
    str, AfterValidator(host_url), Wanted('a URL without a path, like sftp://archive.example, or "" for here')
]
PathPattern = Annotated[
    str, AfterValidator(path_pattern), Wanted("a path with fields, like /data/{platform_name}")
]
Topics = Annotated[
    tuple[Annotated[str, AfterValidator(topic)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    Wanted("a list of topics like /1b/hrit"),
]
MaybeProviders = Annotated[
    tuple[Annotated[Provider, BeforeValidator(provider)], ...],
    BeforeValidator(words),
    Wanted("a list of host:port or host:port/topic"),
]
Services = Annotated[
    tuple[str, ...], BeforeValidator(words), Wanted("a list of names of publishers, or nothing for all")
]


class Hears(Options):
    """Whom a chain hears."""

    providers: Annotated[MaybeProviders, Default("none")] = Field(
        default=(),
        description="Publishers to hear, by their addresses. A topic behind one replaces the chain's there.",
    )
    lookup: Annotated[Hosts, Default("none")] = Field(
        default=(), description="Name servers that are asked for more publishers to hear."
    )
    services: Annotated[Services, Default("all")] = Field(
        default=(), description="Of the publishers that a name server knows, those of these names."
    )
    heartbeat_alarm_scale: Scale = Field(
        default=0.0,
        description="Connect to a provider anew after so many of its heartbeat intervals without one; 0: never.",
    )

    silence: Silence = None

    def check_heard(self) -> None:
        """Refuse if nobody is heard."""
        if not self.providers and not self.lookup:
            raise refuse("nobody is heard", "name providers (host:port), or name servers in `lookup`")


class LogsIn(Options):
    """Credentials, given or in a file."""

    login: Annotated[Login | None, Default("none")] = Field(
        default=None, description="Credentials (user:password) for the host; never shown."
    )
    login_file: Annotated[Text | None, Default("none")] = Field(
        default=None,
        description="A file with the login: a full path, or a name given by systemd (`LoadCredential=`).",
    )

    def check_login(self) -> None:
        """Refuse two logins."""
        if self.login and self.login_file:
            raise refuse("stands beside `login`", "keep one of the two", key="login_file")


class Moves(Options):
    """The process."""

    name: Name
    journal: Annotated[
        FullPath, Default("`<name of the file>.journal` in $STATE_DIRECTORY, or in ~/.local/state/tranship")
    ] = Field(description="The file that remembers what was heard, moved and published.")
    publish: Annotated[Socket | None, Default("nobody is told"), Wanted("a socket")] = Field(
        default=None, description="The socket on which moved files and heartbeats are published."
    )
    replay: Replay = None
    heartbeat: IntervalOrNo = Field(
        default=timedelta(seconds=30), description="Time between two own heartbeats."
    )
    nameservers: Annotated[Discovery, Default("no")] = Field(
        default=NameServers(),
        description="Where the publisher makes itself known. Plain host:port needs none.",
    )
    keep: Interval = Field(
        default=timedelta(days=7),
        description="How long the journal keeps what is settled: what was moved, and what was given up.",
    )
    curve: CurveOrNone = None
