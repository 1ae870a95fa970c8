"""What everything that speaks HTTP can be told, and whom it trusts."""

import ssl
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from tranship_movers.errors import (
    Misconfigured,
)
from tranship_movers.options import MoverOptions


class WebOptions(MoverOptions):
    """What everything that speaks HTTP can be told."""

    login: Literal["basic", "digest"] = Field(
        default="basic", description="How user and password are proved; `digest` never sends the password."
    )
    token: SecretStr | None = Field(
        default=None, description="A bearer token, sent instead of user and password."
    )
    token_file: Path | None = Field(
        default=None, description="A file that holds the bearer token; read for every request."
    )
    ca_file: Path | None = Field(
        default=None, description="The authorities (PEM) to trust with TLS, instead of the system's."
    )
    certificate: Literal["verified", "any"] = Field(
        default="verified",
        description="`any` accepts every certificate: whoever stands between can read and change everything.",
    )


def trust(options: WebOptions) -> ssl.SSLContext:
    """Whose certificates we accept. Raises Misconfigured."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError:
        raise Misconfigured(f"`ca_file` {options.ca_file} holds no certificates") from None
    if options.certificate == "any":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
