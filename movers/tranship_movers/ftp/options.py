"""What an FTP place can be told; who we are there, and whom we trust."""

import codecs
import netrc
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tranship_movers.errors import Misconfigured
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.units import Duration


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"{name!r} is no encoding") from None


class FtpOptions(MoverOptions):
    """What an FTP place can be told."""

    tls: Literal["auto", "off", "explicit", "implicit"] = Field(
        default="auto",
        description="`explicit` begins plain and asks for TLS, `implicit` begins with TLS. `auto` is off for "
        "ftp; for ftps implicit on port 990 and else explicit.",
    )
    ca_file: Path | None = Field(
        default=None, description="The authorities (PEM) to trust with TLS, instead of the system's."
    )
    certificate: Literal["verified", "any"] = Field(
        default="verified",
        description="`any` accepts every certificate: whoever stands between can read and change everything.",
    )
    data_connection: Literal["passive", "active"] = Field(
        default="passive",
        description="Who opens the data connections: we (`passive`) or the server (`active`).",
    )
    passive_address: Literal["of the host", "as told"] = Field(
        default="of the host",
        description="`as told` opens passive data connections to whatever address the server names.",
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        default="utf-8", description="How the server writes names."
    )
    netrc: Path | None = Field(
        default=None,
        description="Where user and password are looked up if the URL has none, instead of ~/.netrc.",
    )
    noop_interval: Duration | None = Field(
        default=None,
        description="Say NOOP so often while a file goes over, for routers that forget a silent connection. "
        "Only for servers that bear it; TCP keepalive is always on.",
    )


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """Who we are there."""

    user: str = "anonymous"
    password: str = "anonymous@"  # noqa: S105 - the custom since RFC 1635
    account: str = ""


def login_for(place: Place, options: FtpOptions) -> Login:
    """The login of the URL, else of the netrc file, else none."""
    if place.user and place.password is not None:
        return Login(place.user, place.password.get_secret_value())
    found = _from_netrc(place.host, options.netrc)
    if found and place.user in ("", found.user):
        return found
    return Login(place.user, "") if place.user else Login()


def _from_netrc(host: str, path: Path | None) -> Login | None:
    try:
        entry = netrc.netrc(path).authenticators(host)
    except FileNotFoundError:
        if path is None:
            return None
        raise Misconfigured(f"`netrc`: there is no {path}") from None
    except netrc.NetrcParseError as error:
        # Its text may hold the password.
        raise Misconfigured(f"{path or '~/.netrc'} can't be read (line {error.lineno})") from None
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{path or '~/.netrc'} can't be read") from None
    return Login(entry[0], entry[2] or "", entry[1] or "") if entry else None


def tls_kind(place: Place, options: FtpOptions) -> Literal["off", "explicit", "implicit"]:
    """How TLS begins at place."""
    if options.tls != "auto":
        return options.tls
    if place.scheme != "ftps":
        return "off"
    return "implicit" if place.port == 990 else "explicit"


def tls_for(place: Place, options: FtpOptions) -> ssl.SSLContext | None:
    """Whom we trust, None without TLS. Raises Misconfigured."""
    if tls_kind(place, options) == "off":
        if place.scheme == "ftps":
            raise Misconfigured("`tls: off` contradicts ftps; say ftp", where=str(place))
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError:
        raise Misconfigured(f"`ca_file` {options.ca_file} can't be read", where=str(place)) from None
    if options.certificate == "any":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
