"""S3 and what speaks like it (SeaweedFS, MinIO, Ceph, rclone, …), by boto3's engine, botocore.

Places are `s3://bucket/key`, at any endpoint. An object appears whole or not at all, so nothing needs a
temporary name; a folder is no more than a part of the key. Size and checksum of what is put or got are
compared on the way (Content-MD5 and ETag). A large file goes in parts, several at once; if one fails, none is
left.
"""

import hashlib
import logging
import os
import random
import re
import stat
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import quote, urlsplit

import botocore.session
from botocore import UNSIGNED, exceptions
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies
from pydantic import AliasChoices, BeforeValidator, ByteSize, Field, Secret, SecretStr
from pydantic import field_validator as checked
from pydantic import model_validator as all_checked
from urllib3 import Timeout, connection_from_url
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as PoolTimeout

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Busy,
    HostUnproven,
    LoginRefused,
    Mangled,
    Misconfigured,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    SourceChanged,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
    of_system,
    translated,
)
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.units import Duration, duration

T = TypeVar("T")
Reply = Mapping[str, Any]

MIB = 1 << 20

PIECE = 256 * 1024
"""Bytes that go over between two words of progress."""

MOST_PARTS = 10_000
"""Parts of one object, by S3's rules."""

OTHER_MD5 = "arrived with another MD5 (or the place's ETag is none; then `etag: opaque` helps)"


# ---------------------------------------------------------------- what it can be told

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


def _plain(value: Any) -> Any:
    """What an INI file can only spell as text: "False" -> False, "10" -> 10; within mappings, too."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value) else value


class S3Options(MoverOptions):
    """What an S3 place can be told; the names are those of s3fs.

    Without `key`, `profile` and `anon`, the credentials are found as boto3 does: environment, ~/.aws, role.
    """

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
    verify: Annotated[bool | Path, BeforeValidator(_plain)] = Field(
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
        told = _plain(given.get_secret_value())
        for key in told:
            if why := MEANINGLESS.get(f"config_kwargs.{key}"):
                raise ValueError(f"`{key}` means nothing here ({why}): leave it out")
            if key not in Config.OPTION_DEFAULTS:
                raise ValueError(f"botocore's Config knows no `{key}`")
        return Secret(told)


# ---------------------------------------------------------------- the mover


class S3Mover:
    """The objects of one bucket."""

    options = S3Options
    powers = Powers(whole_put=True, verified=True, folders=False, mtime=True, checksums=frozenset({"md5"}))

    copy_at_most: ClassVar[int] = 5 << 30
    """Bytes that a place copies in one request; Amazon's limit."""

    pauses: ClassVar[tuple[float, ...]] = (0.1, 0.4, 1.6)
    """Seconds before a request that the place was too busy for, or that was cut, is sent again."""

    def __init__(self, place: Place, options: S3Options) -> None:
        """Connect to the bucket of place and log in. A key that may not list is welcome, too."""
        if not place.host or place.port is not None:
            raise Misconfigured(
                "is not s3://bucket/key; a server is told by `endpoint_url`", where=str(place)
            )
        self._bucket = place.host
        self._options = options
        self._closed = False
        _hush()
        with translated(str(place), ours):
            self._client, credentials = _client(place, options)
            self._extras = _extras(self._client, options)
            self._shortcut = _shortcut(self._client, credentials, self._bucket, options)
            with suppress(Permanent), translated(str(place), ours):
                self._call("list_objects_v2", MaxKeys=1)

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the local file source at name: in one request up to `part_size`, else in parts."""
        if offset:
            raise Misconfigured("an object can't be continued", where=self._where(name))
        key, step = self._key(name), self._options.part_size
        with _opened(source) as file, _heard(progress) as heard:
            described = {"Key": key, "Metadata": self._metadata(file.mtime_ns)}
            if file.size > step:
                self._in_parts(described, file.size, step, partial(self._put_part, file, key, heard), heard)
            else:
                body = _Body(file.read(0, file.size), heard.part())
                self._confirm(key, self._send_whole(body, heard, described), body.md5, file.size)

    def get(self, name: str, target: Path, *, progress: Progress = unheard) -> None:
        """Write the bytes at name into target: by one request up to `part_size`, else in parts."""
        key = self._key(name)
        with _made(target) as file, _heard(progress) as heard:
            reply, digest = self._try(partial(self._get_at_once, key, file, heard.part()), key, heard)
            if digest is None:
                digest = self._get_in_parts(key, reply, file, heard)
            differs = digest and self._digest(reply) not in (None, digest)
            if differs and not ("-" in str(digest) and self._same_again(key, reply, file)):
                raise Mangled(OTHER_MD5, where=self._where(key))
        os.utime(target, ns=(_mtime(reply),) * 2)

    def stat(self, name: str) -> Facts | None:
        """What the place says of name; what other names begin with is a folder.

        The modification time is the source's, if who put it told it (`x-amz-meta-mtime`, as rclone does).
        """
        key = self._folder(name)
        reply = self._head(key) if key else None
        if reply is not None:
            return Facts(name, reply["ContentLength"], _mtime(reply))
        below = self._ask("list_objects_v2", Prefix=f"{key}/" if key else "", MaxKeys=1)
        return Facts(name, 0, is_folder=True) if below.get("Contents") or not key else None

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder, asked for page by page. Without modification times: a listing has not ours."""
        key = self._folder(folder)
        prefix = f"{key}/" if key else ""
        for page in self._pages(prefix):
            for below in page.get("CommonPrefixes", ()):
                yield Facts(below["Prefix"][len(prefix) :].rstrip("/"), 0, is_folder=True)
            for found in page.get("Contents", ()):
                if found["Key"] != prefix:
                    yield Facts(found["Key"][len(prefix) :], found["Size"])

    def remove(self, name: str) -> None:
        """Remove the object name; removing what is not there is no error."""
        with suppress(SourceGone):
            self._ask("delete_object", Key=self._key(name))

    def rename(self, old: str, new: str) -> None:
        """Copy old to new within the place, then remove old."""
        source, key = self._key(old), self._key(new)
        reply = self._head(source)
        if reply is None:
            raise SourceGone("there is no such name", where=self._where(source))
        if source != key:
            self._copy(source, key, reply)
            self.remove(old)

    def make_folders(self, folder: str) -> None:
        """Nothing to do: a folder is there as soon as something is in it."""

    def checksum(self, name: str, algorithm: str) -> str | None:
        """The MD5 that the place has of name; None in other algorithms, and of what came in parts."""
        if algorithm != "md5" or (reply := self._head(self._key(name))) is None:
            return None
        theirs = self._digest(reply)
        return theirs if theirs and "-" not in theirs else None

    def alive(self) -> bool:
        """Whether the place answers, whatever it says."""
        if self._closed:
            return False
        try:
            self._client.get_bucket_location(Bucket=self._bucket)
        except exceptions.ClientError:
            return True
        except (exceptions.BotoCoreError, HTTPError, OSError):
            return False
        return True

    def close(self) -> None:
        """End all connections."""
        self._closed = True
        self._client.close()
        if self._shortcut is not None:
            self._shortcut.close()

    # How bytes go there.

    def _send_whole(self, body: "_Body", heard: "_Heard", described: Reply) -> Reply:
        """Send body as an object of its own."""
        reply: Reply | None = None
        if self._shortcut is not None and len(body.content) <= PIECE:
            reply = self._try(partial(self._shortcut.put, body, described), described["Key"], heard)
        if reply is None:
            return self._send("put_object", body, heard, described)
        body.tell_rest()
        return reply

    def _send(self, operation: str, body: "_Body", heard: "_Heard", described: Reply) -> Reply:
        """Send body. The place refuses it if the MD5 that we tell is not that of what arrived."""

        def attempt() -> Reply:
            body.seek(0)
            return self._call(operation, Body=body, ContentMD5=body.md5_in_base64, **described)

        reply = self._try(attempt, described["Key"], heard)
        body.tell_rest()
        return reply

    def _put_part(self, file: "_Source", key: str, heard: "_Heard", upload: str, span: "_Span") -> str:
        """Send one part of file, give its ETag."""
        body = _Body(file.read(span.start, span.size), heard.part())
        described = {"Key": key, "UploadId": upload, "PartNumber": span.number}
        reply = self._send("upload_part", body, heard, described)
        if self._digest(reply) not in (None, body.md5):
            raise Mangled(f"part {span.number} arrived with another MD5", where=self._where(key))
        return str(reply["ETag"])

    def _in_parts(
        self, described: Reply, size: int, step: int, act: Callable[[str, "_Span"], str], heard: "_Heard"
    ) -> None:
        """Make an object of parts that act brings there (it gives their ETags): all of it, or nothing."""
        key = described["Key"]
        self._clear_abandoned(key)
        # A lost reply would leave an upload that nobody knows of, so a cut line is no reason to ask again.
        begin = partial(self._call, "create_multipart_upload", **described)
        upload = self._try(begin, key, again=(Busy,))["UploadId"]
        try:
            spans = _spans(size, max(step, -(-size // MOST_PARTS)))
            etags = _at_once(partial(act, upload), spans, heard, self._options.max_concurrency)
            self._complete(key, upload, etags, size)
        except BaseException:
            self._abort(key, upload)
            raise

    def _complete(self, key: str, upload: str, etags: Sequence[str], size: int) -> None:
        """Make the object of its parts. A lost reply is no failure if the object is there."""
        digests = [digest for etag in etags if (digest := self._digest({"ETag": etag})) and "-" not in digest]
        expected = _digest_of_parts(digests) if len(digests) == len(etags) else None
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        told = {"UploadId": upload, "MultipartUpload": {"Parts": parts}}
        try:
            reply = self._ask("complete_multipart_upload", Key=key, **told)
        except Temporary:
            with suppress(MoverError):
                if expected and self._digest(self._head(key) or {}) == expected:
                    return
            raise
        self._confirm(key, reply, expected, size)

    def _abort(self, key: str, upload: str) -> None:
        """Drop the parts of an upload. If the place can't be reached, `_clear_abandoned` does it some day."""
        with suppress(MoverError):
            self._ask("abort_multipart_upload", Key=key, UploadId=upload)

    def _clear_abandoned(self, key: str) -> None:
        """Drop the parts of uploads into the folder of key that began long ago, by the place's clock."""
        try:
            found = self._ask("list_multipart_uploads", Prefix=key[: key.rfind("/") + 1])
        except (TimedOut, Unreachable):
            raise
        except MoverError:
            return  # who may not ask that, or can't be asked, can still put
        latest = _date(found) - self._options.abandoned_after
        for upload in found.get("Uploads", ()):
            if upload["Initiated"] < latest:
                self._abort(upload["Key"], upload["UploadId"])

    def _confirm(self, key: str, reply: Reply, expected: str | None, size: int) -> None:
        """Raise Mangled unless the place has what was sent: by its MD5 if it tells one, else by its size."""
        theirs = self._digest(reply)
        if theirs and expected and ("-" in theirs) == ("-" in expected):
            if theirs != expected:
                raise Mangled(OTHER_MD5, where=self._where(key))
            return
        found = self._head(key)
        arrived = 0 if found is None else found["ContentLength"]
        if found is None or arrived != size:
            raise Mangled(f"{arrived} bytes arrived of {size}", where=self._where(key))

    def _metadata(self, mtime_ns: int) -> dict[str, str]:
        return {**self._extras["put_object"].get("Metadata", {}), "mtime": _seconds(mtime_ns)}

    # How bytes come from there, or stay there.

    def _get_at_once(self, key: str, file: int, tell: "_Tell") -> tuple[Reply, str | None]:
        """The place's reply, and the MD5 of the bytes, which are in file; None if they are too many."""
        reply = self._call("get_object", Key=key)
        with closing(reply["Body"]) as body:
            if reply["ContentLength"] > self._options.part_size:
                return reply, None
            return reply, _pour(body, file, 0, tell)

    def _get_in_parts(self, key: str, reply: Reply, file: int, heard: "_Heard") -> str | None:
        """Get the object of reply; give what its ETag should be, None if that can't be known."""
        size, theirs = reply["ContentLength"], self._digest(reply)
        step = self._step(key, reply) if theirs and "-" in theirs else self._options.part_size
        act = partial(self._get_part, key, reply["ETag"], file, heard)
        digests = _at_once(act, _spans(size, step), heard, self._options.max_concurrency)
        if theirs is None:
            return None
        if "-" not in theirs:
            return _md5_of_file(file)
        return _digest_of_parts(digests) if theirs.endswith(f"-{len(digests)}") else None

    def _same_again(self, key: str, reply: Reply, file: int) -> bool:
        """Whether another reading gives the same bytes. SeaweedFS tells a strange ETag of what it copied."""
        before = _md5_of_file(file)
        self._get_in_parts(key, reply, file, _Heard(unheard))
        return _md5_of_file(file) == before

    def _get_part(self, key: str, etag: str, file: int, heard: "_Heard", span: "_Span") -> str:
        """Get one part of the object, give its MD5."""
        tell = heard.part()

        def attempt() -> str:
            wanted = f"bytes={span.start}-{span.start + span.size - 1}"
            reply = self._call("get_object", Key=key, Range=wanted, IfMatch=etag)
            with closing(reply["Body"]) as body:
                if reply["ETag"] != etag:
                    raise SourceChanged("was replaced while it was read")
                if reply["ContentLength"] != span.size:
                    raise Permanent("the server does not give parts of a file; raise `part_size`")
                return _pour(body, file, span.start, tell)

        return self._try(attempt, key, heard)

    def _step(self, key: str, reply: Reply) -> int:
        """The size of the parts in which the object was put, as far as the place tells."""
        first: int = self._ask("head_object", Key=key, PartNumber=1)["ContentLength"]
        return first if 0 < first < reply["ContentLength"] else self._options.part_size

    def _copy(self, source: str, key: str, reply: Reply) -> None:
        """Copy the object source, of which reply tells, to key."""
        size, origin = reply["ContentLength"], {"Bucket": self._bucket, "Key": source}
        if size > self.copy_at_most:
            told = {"Key": key, "Metadata": reply["Metadata"]}
            told |= {word: reply[word] for word in _KEPT if word in reply}
            act = partial(self._copy_part, {"CopySource": origin, "CopySourceIfMatch": reply["ETag"]}, key)
            self._in_parts(told, size, min(self.copy_at_most, 512 * MIB), act, _Heard(unheard))
        else:
            done = self._ask("copy_object", Key=key, CopySource=origin)["CopyObjectResult"]
            theirs = self._digest(reply)
            self._confirm(key, done, theirs if theirs and "-" not in theirs else None, size)

    def _copy_part(self, origin: Reply, key: str, upload: str, span: "_Span") -> str:
        """Copy one part, give its ETag."""
        told = {**origin, "CopySourceRange": f"bytes={span.start}-{span.start + span.size - 1}"}
        done = self._ask("upload_part_copy", Key=key, UploadId=upload, PartNumber=span.number, **told)
        return str(done["CopyPartResult"]["ETag"])

    # How the place is asked.

    def _ask(self, operation: str, **told: Any) -> Reply:
        return self._try(partial(self._call, operation, **told), told.get("Key", ""))

    def _try(
        self,
        act: Callable[[], T],
        key: str,
        heard: "_Heard | None" = None,
        again: tuple[type[Temporary], ...] = (Busy, Unreachable),
    ) -> T:
        """What act gives. After an error that again names it is tried once more, while there is time."""
        latest = time.monotonic() + self._options.timeout.total_seconds() / 2
        for pause in self.pauses:
            try:
                with translated(self._where(key), ours):
                    return act()
            except again:
                if time.monotonic() + pause > latest or (heard and heard.broken):
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
        with translated(self._where(key), ours):
            return act()

    def _call(self, operation: str, **told: Any) -> Reply:
        told = {"Bucket": self._bucket, **self._extras[operation], **told}
        reply: Reply = getattr(self._client, operation)(**told)
        return reply

    def _head(self, key: str) -> Reply | None:
        """What the place says of the object key; None if there is none."""
        try:
            return self._ask("head_object", Key=key)
        except SourceGone:
            return None
        except Permanent:
            # A reply to HEAD can't say why; GET can.
            self._ask("get_object", Key=key, Range="bytes=0-0")["Body"].close()
            raise

    def _pages(self, prefix: str) -> Iterator[Reply]:
        page = self._ask("list_objects_v2", Prefix=prefix, Delimiter="/")
        yield page
        while page.get("IsTruncated"):
            token = page["NextContinuationToken"]
            page = self._ask("list_objects_v2", Prefix=prefix, Delimiter="/", ContinuationToken=token)
            yield page

    def _digest(self, reply: Reply) -> str | None:
        """The MD5 that the ETag of reply is ("md5-parts" of an object in parts); None if it is none."""
        etag = str(reply.get("ETag", "")).strip('"').lower()
        encrypted = (
            reply.get("ServerSideEncryption", "").startswith("aws:") or "SSECustomerAlgorithm" in reply
        )
        return etag if self._options.etag == "md5" and not encrypted and _MD5.fullmatch(etag) else None

    def _where(self, name: str) -> str:
        return f"s3://{self._bucket}/{name.lstrip('/')}"

    def _folder(self, name: str) -> str:
        return self._key(name.rstrip("/")) if name.strip("/") else ""

    def _key(self, name: str) -> str:
        """The key of the file name. Raises NameRefused for what places refuse, or take for another name."""
        key = name.lstrip("/")
        if not key or key.endswith("/") or {".", ".."} & set(key.split("/")):
            raise NameRefused(f"{key!r} is no name of a file", where=self._where(""))
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", key):
            raise NameRefused(f"{key!r} holds what no listing can tell", where=self._where(""))
        if len(key.encode()) > 1024:
            raise NameRefused("is longer than 1024 bytes", where=self._where(key))
        return key


# ---------------------------------------------------------------- how botocore is set up


def _client(place: Place, options: S3Options) -> tuple[Any, Any]:
    """A client of botocore, and the credentials that it signs with."""
    session = botocore.session.Session(profile=options.profile)
    session.register_component("data_loader", _models())
    key, secret, token = place.user or options.key, place.password or options.secret, options.token
    client = session.create_client(
        "s3",
        region_name=options.region,
        endpoint_url=_endpoint(options),
        use_ssl=options.use_ssl,
        verify=None if options.verify is True else str(options.verify) if options.verify else False,
        aws_access_key_id=key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        aws_session_token=token.get_secret_value() if token else None,
        config=_config(options),
    )
    client.meta.events.register("before-send.s3", _in_pieces)
    client.meta.events.register("before-call.s3", partial(_impatient, _connect_seconds(options)))
    if options.endpoint_url:
        client.meta.events.register("before-call.s3.HeadBucket", _sent_elsewhere)
    if key and secret:
        return client, Credentials(key, secret.get_secret_value(), token and token.get_secret_value())
    return client, session.get_credentials()


@cache
def _models() -> Loader:
    """The descriptions of Amazon's services, for all connections: reading them takes most of connecting."""
    return Loader()


def _endpoint(options: S3Options) -> str | None:
    url = options.endpoint_url
    return url if url is None or "://" in url else f"{'https' if options.use_ssl else 'http'}://{url}"


def _config(options: S3Options) -> Config:
    given = options.config_kwargs.get_secret_value()
    seconds = options.timeout.total_seconds()
    told: dict[str, Any] = {
        "request_checksum_calculation": options.request_checksum_calculation,
        "response_checksum_validation": options.response_checksum_validation,
        "max_pool_connections": max(10, options.max_concurrency),
        "retries": {"total_max_attempts": 1, "mode": "standard"},
    }
    if options.endpoint_url:
        # Content-MD5 is signed and stands for the body, which needn't be hashed a second time.
        told |= {"signature_version": "s3v4", "s3": {"payload_signing_enabled": False}}
    told |= given
    if options.anon:
        told["signature_version"] = UNSIGNED
    told["read_timeout"] = min(given.get("read_timeout") or seconds, seconds)
    told["connect_timeout"] = min(given.get("connect_timeout") or seconds, _connect_seconds(options))
    return Config(**told)


def _connect_seconds(options: S3Options) -> float:
    # A host that has several addresses is tried at each of them.
    return options.timeout.total_seconds() / 4


_OPERATIONS = (
    *("put_object", "get_object", "head_object", "delete_object", "copy_object", "list_objects_v2"),
    *("create_multipart_upload", "upload_part", "upload_part_copy", "complete_multipart_upload"),
    *("abort_multipart_upload", "list_multipart_uploads"),
)

_OURS = frozenset(("Body", "Bucket", "ContentMD5", "CopySource", "Key", "PartNumber", "Range", "UploadId"))

_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")

_TYPES: dict[str, Callable[[Any], Any]] = {"boolean": _plain, "integer": int, "long": int}


def _extras(client: Any, options: S3Options) -> dict[str, dict[str, Any]]:
    """By operation, what is always told with it. Raises Misconfigured for what no operation knows."""
    given = dict(options.s3_additional_kwargs.get_secret_value())
    if options.requester_pays:
        given["RequestPayer"] = "requester"
    known = {operation: _shapes(client, operation) for operation in _OPERATIONS}
    for key in given:
        if key in _OURS or not any(key in shapes for shapes in known.values()):
            raise Misconfigured(f"no request takes `{key}` of `s3_additional_kwargs`")
    return {
        operation: {
            key: _TYPES.get(shapes[key].type_name, _as_it_is)(value)
            for key, value in given.items()
            if key in shapes
        }
        for operation, shapes in known.items()
    }


def _as_it_is(value: Any) -> Any:
    return value


def _shapes(client: Any, operation: str) -> Mapping[str, Any]:
    name = client.meta.method_to_api_mapping[operation]
    shapes: Mapping[str, Any] = client.meta.service_model.operation_model(name).input_shape.members
    return shapes


def _hush() -> None:
    """Keep botocore's DEBUG log shut unless somebody opened it by name: session tokens stand there in clear."""
    logger = logging.getLogger("botocore")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def _shortcut(client: Any, credentials: Any, bucket: str, options: S3Options) -> "_Shortcut | None":
    """A shortcut for small objects, if nothing is asked for that only botocore knows to do."""
    extras = options.s3_additional_kwargs.get_secret_value() or options.config_kwargs.get_secret_value()
    special = (
        extras or options.anon or options.requester_pays or get_environ_proxies(client.meta.endpoint_url)
    )
    if special or not options.endpoint_url or options.request_checksum_calculation != "when_required":
        return None
    # Signing a request that is never sent tells where requests go, and for which region they are signed.
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    region = re.search(r"X-Amz-Credential=[^&]*%2F([^&]*)%2Fs3%2Faws4_request", url)
    return _Shortcut(client, credentials, url.partition("?")[0][:-1], region[1], options) if region else None


class _Shortcut:
    """Puts small objects by a third of the processor time that botocore takes, with its signature."""

    def __init__(self, client: Any, credentials: Any, url: str, region: str, options: S3Options) -> None:
        self._config, self._credentials, self._region = client.meta.config, credentials, region
        self._url = url
        self._path = urlsplit(url).path
        seconds = options.timeout.total_seconds()
        verified = {"cert_reqs": "CERT_REQUIRED", "ca_certs": get_cert_path(options.verify)}
        tls = verified if options.verify else {"cert_reqs": "CERT_NONE"}
        self._pool = connection_from_url(
            url,
            timeout=Timeout(connect=_connect_seconds(options), read=seconds),
            retries=False,
            **(tls if url.startswith("https") else {}),
        )

    def put(self, body: "_Body", described: Reply) -> Reply | None:
        """Put body; None if the place does not just say yes."""
        headers = {f"x-amz-meta-{key}": value for key, value in described["Metadata"].items()}
        headers |= {"Content-MD5": body.md5_in_base64, "User-Agent": "tranship"}
        name = quote(described["Key"])
        request = AWSRequest("PUT", self._url + name, headers=headers, data=body.content)
        request.context["client_config"] = self._config
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        headers = dict(request.headers.items())
        reply = self._pool.urlopen("PUT", self._path + name, body=body.content, headers=headers)
        encryption = reply.headers.get("x-amz-server-side-encryption", "")
        told = {"ETag": reply.headers.get("ETag", ""), "ServerSideEncryption": encryption}
        return told if reply.status == 200 else None

    def close(self) -> None:
        """End its connection."""
        self._pool.close()


def _impatient(seconds: float, *, model: Any, context: dict[str, Any], **_: Any) -> None:
    """Wait less for what only tidies up, or asks whether anybody is there."""
    if model.name in ("AbortMultipartUpload", "GetBucketLocation"):
        context["read_timeout"] = seconds


def _sent_elsewhere(**_: Any) -> None:
    """Botocore asks for the region of a bucket when it is redirected; other places have none, and it never ends."""
    raise Misconfigured("the place sends us elsewhere; should it be https?")


def _in_pieces(request: Any, **_: Any) -> None:
    """Send our bodies piece by piece, each with its deadline and its word of progress."""
    if isinstance(request.body, _Body):
        if len(request.body.content) <= PIECE:
            # It is sent before the place could object.
            request.headers.pop("Expect", None)
        request.body = _Pieces(request.body)


# ---------------------------------------------------------------- bytes on their way

_Tell = Callable[[int], None]


class _BrokenOff(Exception):
    """Another part failed, or progress raised."""


class _Heard:
    """Progress of several threads, told by one at a time. Once one has failed, all break off."""

    def __init__(self, progress: Progress) -> None:
        self.broken: BaseException | None = None
        """What was raised first."""
        self._progress = progress
        self._lock = threading.Lock()

    def part(self) -> _Tell:
        """What one part calls with the number of its bytes so far; what is repeated is not told again."""
        reached = 0

        def tell(position: int) -> None:
            nonlocal reached
            with self._lock:
                self.go_on()
                more, reached = position - reached, max(position, reached)
                if more > 0:
                    with self.breaking():
                        self._progress(more)

        return tell

    def go_on(self) -> None:
        """Raise _BrokenOff if somebody failed."""
        if self.broken is not None:
            raise _BrokenOff

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """What is raised inside breaks all others off."""
        try:
            yield
        except BaseException as error:
            self.broken = self.broken or error
            raise


@contextmanager
def _heard(progress: Progress) -> Iterator[_Heard]:
    """Progress for several threads. What comes out is what was raised first."""
    heard = _Heard(progress)
    try:
        yield heard
    except BaseException as error:
        if heard.broken is None or heard.broken is error:
            raise
        raise heard.broken from None


@dataclass(frozen=True, slots=True)
class _Span:
    """Part number (from 1) of something: size bytes from start."""

    number: int
    start: int
    size: int


def _spans(size: int, step: int) -> list[_Span]:
    starts = range(0, size, step)
    return [_Span(number, start, min(step, size - start)) for number, start in enumerate(starts, 1)]


def _at_once(act: Callable[[_Span], T], spans: Sequence[_Span], heard: _Heard, threads: int) -> list[T]:
    """What act gives for each of spans, so many at once. The first failure ends them all."""

    def run(span: _Span) -> T:
        heard.go_on()
        with heard.breaking():
            return act(span)

    with ThreadPoolExecutor(min(threads, len(spans)), thread_name_prefix="s3") as pool, heard.breaking():
        return [job.result() for job in [pool.submit(run, span) for span in spans]]


class _Body(BytesIO):
    """Bytes to be sent, in a form that botocore can hash and sign."""

    def __init__(self, content: bytes, tell: _Tell) -> None:
        super().__init__(content)
        self.content = content
        self.told = tell
        md5 = hashlib.md5(content, usedforsecurity=False)
        self.md5, self.md5_in_base64 = md5.hexdigest(), b64encode(md5.digest()).decode()

    def tell_rest(self) -> None:
        """Tell of all bytes, as far as that was not done piece by piece."""
        self.told(len(self.content))


class _Pieces:
    """A body for the connection. It has no `read`, by which far smaller pieces would be taken."""

    def __init__(self, body: _Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self._body.content)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]
            self._body.told(min(start + PIECE, len(view)))

    def seek(self, position: int) -> None:
        """Go back to the start, to be sent again."""
        self._body.seek(position)


@dataclass(frozen=True, slots=True)
class _Source:
    """A local file that is open for reading."""

    path: Path
    descriptor: int
    size: int
    mtime_ns: int

    def read(self, start: int, size: int) -> bytes:
        """Give size bytes from start. Raises SourceChanged if somebody wrote since it was opened."""
        try:
            piece = os.pread(self.descriptor, size, start)
            now = os.fstat(self.descriptor)
        except OSError as error:
            raise of_system(error, where=str(self.path)) from error
        if (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns) or len(piece) != size:
            raise SourceChanged("was written to while it was sent", where=str(self.path))
        return piece


@contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise of_system(error, where=str(path)) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Permanent("is no file", where=str(path))
        yield _Source(path, descriptor, found.st_size, found.st_mtime_ns)
    finally:
        os.close(descriptor)


@contextmanager
def _made(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    except OSError as error:
        raise of_system(error, where=str(path), absent=Permanent) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _pour(body: Any, file: int, start: int, tell: _Tell) -> str:
    """Write what comes out of body into file from start on, give its MD5."""
    md5, position = hashlib.md5(usedforsecurity=False), 0
    while piece := body.read(PIECE):
        md5.update(piece)
        _write(file, piece, start + position)
        position += len(piece)
        tell(position)
    return md5.hexdigest()


def _write(file: int, piece: bytes, start: int) -> None:
    view = memoryview(piece)
    try:
        while view:
            written = os.pwrite(file, view, start)
            view, start = view[written:], start + written
    except OSError as error:
        raise of_system(error, where="the local file", absent=Permanent) from error


def _md5_of_file(file: int) -> str:
    md5, position = hashlib.md5(usedforsecurity=False), 0
    while piece := os.pread(file, MIB, position):
        md5.update(piece)
        position += len(piece)
    return md5.hexdigest()


# ---------------------------------------------------------------- what S3 writes as text

_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")


def _digest_of_parts(digests: Sequence[str]) -> str:
    """The ETag of an object whose parts have these MD5s."""
    joined = b"".join(bytes.fromhex(digest) for digest in digests)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"


def _seconds(ns: int) -> str:
    """A time as rclone and others write it into x-amz-meta-mtime: seconds since the epoch, with a fraction."""
    return format(Decimal(ns).scaleb(-9).normalize(), "f")


def _mtime(reply: Reply) -> int:
    """The modification time of an object in ns: that of its source if it was told, else when it was put."""
    told = {key.lower(): value for key, value in reply.get("Metadata", {}).items()}
    with suppress(InvalidOperation, KeyError, OverflowError, ValueError):
        return int(Decimal(told["mtime"]).scaleb(9))
    return int(reply["LastModified"].timestamp() * 1_000_000_000)


def _date(reply: Reply) -> datetime:
    """What the place's clock says."""
    text = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(text) if text else datetime.now(UTC)


# ---------------------------------------------------------------- what its errors mean


def ours(error: Exception) -> MoverError | None:
    """Our error for one of botocore's; None for one that is not known."""
    if isinstance(error, exceptions.ClientError):
        return _of_reply(error)
    for kind, becomes, reason in EXCEPTIONS:
        if isinstance(error, kind):
            return becomes(reason or str(error))
    if isinstance(error, exceptions.SSLError):
        unproven = "CERTIFICATE_VERIFY_FAILED" in str(error) or "match" in str(error)
        return HostUnproven("its certificate is not valid") if unproven else Unreachable("speaks no TLS")
    if isinstance(error, CUT):
        silent = any(isinstance(cause, TimeoutError | PoolTimeout) for cause in _causes(error))
        return TimedOut("the line is silent") if silent else Unreachable("the line was cut")
    return None


CODES: dict[str, type[MoverError]] = {
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch"), LoginRefused),
    **dict.fromkeys(("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidTokenId"), LoginRefused),
    **dict.fromkeys(("AccountProblem", "AllAccessDisabled", "InvalidSecurity", "NotSignedUp"), LoginRefused),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName", "PermanentRedirect"), Misconfigured),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), Misconfigured),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired", "InvalidStorageClass"), Misconfigured),
    **dict.fromkeys(("KMS.DisabledException", "KMS.NotFoundException"), Misconfigured),
    **dict.fromkeys(("QuotaExceeded", "InsufficientStorage", "InsufficientStorageSpace"), NoSpace),
    **dict.fromkeys(("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"), NoSpace),
    **dict.fromkeys(("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException"), Busy),
    **dict.fromkeys(("RequestLimitExceeded", "TooManyRequests", "BandwidthLimitExceeded"), Busy),
    **dict.fromkeys(("OperationAborted", "ConditionalRequestConflict", "XMinioServerNotInitialized"), Busy),
    **dict.fromkeys(("InternalError", "NoSuchUpload"), Temporary),
    "RequestTimeout": TimedOut,
    **dict.fromkeys(("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"), Mangled),
    **dict.fromkeys(("IncompleteBody", "InvalidPart", "InvalidPartOrder"), Mangled),
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"), SourceGone),
    **dict.fromkeys(("KeyTooLongError", "InvalidURI", "XMinioInvalidObjectName"), NameRefused),
    "PreconditionFailed": SourceChanged,
    **dict.fromkeys(("AccessDenied", "EntityTooLarge", "EntityTooSmall", "InvalidRequest"), Permanent),
    **dict.fromkeys(
        ("InvalidArgument", "InvalidObjectState", "MethodNotAllowed", "NotImplemented"), Permanent
    ),
}
"""What the place's own words mean."""

STATUS: dict[int, type[MoverError]] = {
    **dict.fromkeys((301, 302, 307, 308), Misconfigured),
    401: LoginRefused,
    404: SourceGone,
    407: LoginRefused,
    408: TimedOut,
    409: Busy,
    412: SourceChanged,
    423: Busy,
    425: Busy,
    429: Busy,
    501: Permanent,
    502: Busy,
    503: Busy,
    504: TimedOut,
    507: NoSpace,
}
"""What a status means where the words are not known; any other is Temporary from 500 on, else Permanent."""

EXCEPTIONS: tuple[tuple[type[Exception], type[MoverError], str], ...] = (
    (exceptions.ConnectTimeoutError, TimedOut, "the host does not answer"),
    (exceptions.ReadTimeoutError, TimedOut, "the line is silent"),
    (exceptions.EndpointConnectionError, Unreachable, "the host is not found, or refuses the connection"),
    (exceptions.ProxyConnectionError, Unreachable, "the proxy does not answer"),
    (exceptions.FlexibleChecksumError, Mangled, "arrived with another checksum"),
    (ResponseParserError, Temporary, "what answers there speaks no S3"),
    (exceptions.NoCredentialsError, LoginRefused, "there are no credentials for it"),
    (exceptions.CredentialRetrievalError, LoginRefused, "its credentials can't be fetched"),
    (exceptions.TokenRetrievalError, LoginRefused, "its credentials can't be fetched"),
    (exceptions.SSOError, LoginRefused, "its single sign-on has expired, or never was"),
    (exceptions.PartialCredentialsError, Misconfigured, ""),
    (exceptions.ProfileNotFound, Misconfigured, ""),
    (exceptions.ConfigParseError, Misconfigured, ""),
    (exceptions.ConfigNotFound, Misconfigured, ""),
    (exceptions.InvalidRegionError, Misconfigured, ""),
    (exceptions.NoRegionError, Misconfigured, ""),
    (exceptions.InvalidS3AddressingStyleError, Misconfigured, ""),
    (exceptions.UnsupportedSignatureVersionError, Misconfigured, ""),
    (exceptions.MissingDependencyException, Misconfigured, ""),
    (exceptions.EndpointProviderError, Misconfigured, ""),
    (exceptions.InvalidProxiesConfigError, Misconfigured, "`proxies` can't work"),
    (
        exceptions.ParamValidationError,
        Misconfigured,
        "the bucket's name or `s3_additional_kwargs` can't work",
    ),
)
"""What other exceptions mean. Without a reason it is their own text, which holds nothing secret then."""

CUT = (
    exceptions.ConnectionClosedError,
    exceptions.HTTPClientError,
    exceptions.ResponseStreamingError,
    exceptions.IncompleteReadError,
    HTTPError,
)
"""What is raised when a line breaks, or falls silent, in the middle."""


def _of_reply(error: Any) -> MoverError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message") or "")[:200].strip(". \n")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kind = CODES.get(code) or STATUS.get(status) or (Temporary if status >= 500 else Permanent)
    said = f"{code}: {message}" if message and not code.isdigit() else message or code
    return kind(f"the place says {said or status}")


def _causes(error: Any) -> Iterator[object]:
    """Error and what it is made of, as far as botocore and urllib3 tell."""
    known: list[object] = [error]
    for cause in known:
        yield cause
        parts = (getattr(cause, "kwargs", {}).get("error"), getattr(cause, "__context__", None))
        for part in (*parts, *getattr(cause, "args", ())):
            if isinstance(part, BaseException) and not any(part is one for one in known):
                known.append(part)
