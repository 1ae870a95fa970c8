"""What everything that goes over SSH can be told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, ByteSize, Field

from tranship_movers.options import MoverOptions
from tranship_movers.units import Patience


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str | Path) else value


def _worded(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Words = Annotated[tuple[str, ...], BeforeValidator(_worded)]


class SshOptions(MoverOptions):
    """What everything that goes over SSH can be told."""

    connect_timeout: Patience | None = Field(
        default=None,
        validation_alias=AliasChoices("connect_timeout", "ssh_connection_timeout"),
        description="Connecting and logging in may take so long together; as `timeout`, if not given.",
    )
    key_files: Paths = Field(
        default=(),
        validation_alias=AliasChoices("key_files", "ssh_key_filename", "ssh_private_key_file"),
        description="Private keys to log in with; a certificate beside one (NAME-cert.pub) is used with it.",
    )
    passphrase_file: Path | None = Field(
        default=None, description="A file that holds the passphrase of the private keys."
    )
    agent: Literal["auto", "use", "ignore"] = Field(
        default="auto",
        description="Whether to log in with the keys of the SSH agent and with ~/.ssh/id_*; `auto`: only if "
        "neither a key file nor a password is given.",
    )
    known_hosts: Paths = Field(
        default=(Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts")),
        description="Files with the keys of known hosts, as OpenSSH writes them.",
    )
    fingerprint: Words = Field(
        default=(),
        description="The host must have one of these keys (SHA256:…); `known_hosts` is then not asked.",
    )
    unknown_host: Literal["refuse", "remember", "accept"] = Field(
        default="refuse",
        description="What to do with a host that `known_hosts` does not know; `remember` writes its key "
        "there. A host with another key than the known one is always refused.",
    )
    ciphers: Words = Field(
        default=(
            "aes128-gcm@openssh.com",
            "aes256-gcm@openssh.com",
            "aes128-ctr",
            "aes256-ctr",
            "aes192-ctr",
        ),
        description="Ciphers that may be used, the preferred one (by default the fastest) first.",
    )
    compression: Literal["none", "zlib"] = Field(
        default="none", description="Compress on the line; worth it on slow lines only."
    )
    attributes: Literal["keep", "leave"] = Field(
        default="keep",
        description="`leave`: modification time and mode are not set there, for servers that refuse it.",
    )
    remote_checksums: Annotated[tuple[Literal["xxh128", "sha256", "md5"], ...], BeforeValidator(_worded)] = (
        Field(
            default=(),
            description="Checksums to have computed there, by xxh128sum, sha256sum or md5sum: needs a login that may "
            "run commands, and costs a process there for each file.",
        )
    )
    window: ByteSize = Field(
        default=ByteSize(2 << 20),
        ge=1 << 15,
        description="Bytes that may be under way to us. More helps long lines only; elsewhere it costs speed.",
    )
