"""What an S3 place can be told."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from botocore.config import Config
from pydantic import AliasChoices, BeforeValidator, ByteSize, Field, Secret, SecretStr
from pydantic import field_validator as checked
from pydantic import model_validator as all_checked

from tranship_movers.options import MoverOptions
from tranship_movers.units import Duration, duration

MIB = 1 << 20


CLIENT_KEYS = {
    "endpoint_url": "endpoint_url",
    "region_name": "region",
    "use_ssl": "use_ssl",
    "verify": "verify",
    "aws_access_key_id": "key",
    "aws_secret_access_key": "secret",
    "aws_session_token": "token",
}
"""What may stand in `client_kwargs`, and what it is called here."""

MEANINGLESS = {
    "asynchronous": "there is one way to call it",
    "cache_regions": "the region of a bucket is found out by itself",
    "default_cache_type": "files are read from end to end",
    "default_fill_cache": "nothing is cached",
    "fixed_upload_size": "all parts of a file are of one size, always",
    "kwargs": "write its keys beside the others",
    "s3_use_copy": "an object appears whole, always",
    "s3_use_multipart": "large files go in parts, always",
    "session": "`profile` names one",
    "tmp_prefix": "an object appears whole, without a temporary name",
    "use_tmp_on_transfer": "an object appears whole, without a temporary name",
    "version_aware": "the newest version is the one that counts",
    "config_kwargs.max_pool_connections": "it follows from `max_concurrency`",
    "config_kwargs.retries": "a busy place is asked again, and the job tries again what failed",
}
"""Keys of s3fs and Trollmoves that mean nothing here, and why. Who reads old configurations may drop them."""


def plain(value: Any) -> Any:
    """What an INI file can only spell as text: "False" -> False, "10" -> 10; within mappings, too."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value) else value


class S3Options(MoverOptions):
    """What an S3 place can be told; the names are those of s3fs.

    Without `key`, `profile` and `anon`, the credentials are found as boto3 does: environment, ~/.aws, role.
    """

    holders: ClassVar[frozenset[str]] = frozenset({"client_kwargs"})

    key: str | None = Field(default=None, description="The access key's id; or the user of the URL.")
    secret: SecretStr | None = Field(
        default=None, description="The secret access key; or the password of the URL."
    )
    token: SecretStr | None = Field(default=None, description="The session token of temporary credentials.")
    profile: str | None = Field(
        default=None, description="A profile of ~/.aws/config and ~/.aws/credentials."
    )
    anon: bool = Field(default=False, description="Requests are not signed: for public buckets.")
    endpoint_url: str | None = Field(default=None, description="The server, if it is not Amazon's.")
    region: str | None = Field(default=None, description="The region of the bucket.")
    use_ssl: bool = Field(default=True, description="https, for an `endpoint_url` that does not say.")
    verify: Annotated[bool | Path, BeforeValidator(plain)] = Field(
        default=True,
        description="Whether the certificate must be valid; or a file (PEM) of the authorities to trust.",
    )
    requester_pays: bool = Field(default=False, description="We pay for what we read.")
    part_size: ByteSize = Field(
        default=ByteSize(16 * MIB),
        ge=5 * MIB,
        le=1024 * MIB,
        validation_alias=AliasChoices("part_size", "default_block_size", "s3_multipart_chunksize"),
        description=(
            "A larger file goes in parts of this size, 5 MiB to 1 GiB. "
            "One transfer takes this times `max_concurrency` of memory."
        ),
    )
    max_concurrency: int = Field(default=4, ge=1, le=64, description="So many parts of a file at once.")
    abandoned_after: Duration = Field(
        default=duration("1 d"),
        ge=timedelta(minutes=1),
        description="The parts of an upload that was begun this long ago and never ended are cleared away.",
    )
    etag: Literal["md5", "opaque"] = Field(
        default="md5",
        description="`opaque` for a server whose ETag looks like an MD5 and is none: sizes are compared only.",
    )
    request_checksum_calculation: Literal["when_required", "when_supported"] = Field(
        default="when_required",
        description="`when_supported`: boto3 sends a CRC beside our Content-MD5, which few clones take.",
    )
    response_checksum_validation: Literal["when_required", "when_supported"] = Field(
        default="when_required", description="`when_supported`: boto3 asks for checksums beside the ETag."
    )
    s3_additional_kwargs: Secret[dict[str, Any]] = Field(
        default=Secret({}),
        description="Parameters for all requests that know them: ServerSideEncryption, ACL, StorageClass, …",
    )
    config_kwargs: Secret[dict[str, Any]] = Field(
        default=Secret({}), description="What botocore's Config takes: proxies, s3.addressing_style, …"
    )

    @all_checked(mode="before")
    @classmethod
    def _of_s3fs(cls, given: Any) -> Any:
        """Move what stands in client_kwargs to where it belongs; refuse what means nothing here."""
        told = dict(given)
        for key, why in MEANINGLESS.items():
            if key in told:
                raise ValueError(f"`{key}` means nothing here ({why}): leave it out")
        client = told.pop("client_kwargs", None) or {}
        if not isinstance(client, Mapping):
            raise ValueError("`client_kwargs` is no mapping")
        for key, value in client.items():
            if key not in CLIENT_KEYS:
                raise ValueError(f"`client_kwargs.{key}` is not known; known are {', '.join(CLIENT_KEYS)}")
            if told.setdefault(CLIENT_KEYS[key], value) != value:
                raise ValueError(f"`client_kwargs.{key}` contradicts `{CLIENT_KEYS[key]}`")
        return told

    @checked("endpoint_url")
    @classmethod
    def _is_a_host(cls, url: str | None) -> str | None:
        if url is not None:
            if "@" in url:
                raise ValueError("holds no user and password; they are `key` and `secret`")
            parts = urlsplit(url if "://" in url else f"//{url}")
            if not parts.hostname or parts.scheme not in ("", "http", "https") or parts.port == 0:
                raise ValueError("is no http(s)://host:port")
        return url

    @checked("config_kwargs")
    @classmethod
    def _known_to_botocore(cls, given: Secret[dict[str, Any]]) -> Secret[dict[str, Any]]:
        told = plain(given.get_secret_value())
        for key in told:
            if why := MEANINGLESS.get(f"config_kwargs.{key}"):
                raise ValueError(f"`{key}` means nothing here ({why}): leave it out")
            if key not in Config.OPTION_DEFAULTS:
                raise ValueError(f"botocore's Config knows no `{key}`")
        return Secret(told)


def connect_seconds(options: S3Options) -> float:
    """How long connecting to one address of the host may take."""
    # A host that has several addresses is tried at each of them.
    return options.timeout.total_seconds() / 4
