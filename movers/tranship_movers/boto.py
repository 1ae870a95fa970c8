"""boto3's engine, botocore, as `s3` uses it: options, connecting, bodies piece by piece, what its errors mean."""

import hashlib
import logging
import re
import socket
import ssl
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import cache, partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
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
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as PoolTimeout
from urllib3.util.wait import wait_for_read

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
)
from tranship_movers.options import MoverOptions
from tranship_movers.parts import PIECE, Tell
from tranship_movers.place import Place
from tranship_movers.units import Duration, duration

Reply = Mapping[str, Any]
"""What botocore gives for a request."""

MIB = 1 << 20

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


# ---------------------------------------------------------------- how botocore is set up


def client(place: Place, options: S3Options) -> tuple[Any, Any]:
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

_TYPES: dict[str, Callable[[Any], Any]] = {"boolean": _plain, "integer": int, "long": int}


def extras(client: Any, options: S3Options) -> dict[str, dict[str, Any]]:
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


def hush() -> None:
    """Keep botocore's DEBUG log shut unless somebody opened it by name: session tokens stand there in clear."""
    logger = logging.getLogger("botocore")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def shortcut(client: Any, credentials: Any, bucket: str, options: S3Options) -> "Shortcut | None":
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
    return Shortcut(client, credentials, url.partition("?")[0][:-1], region[1], options) if region else None


class Shortcut:
    """Puts small objects in a third of the processor time that botocore takes, with its signature."""

    def __init__(self, client: Any, credentials: Any, url: str, region: str, options: S3Options) -> None:
        self._config, self._credentials, self._region = client.meta.config, credentials, region
        self._url, parts = url, urlsplit(url)
        self._seconds = options.timeout.total_seconds()
        self._line = _line_to(parts.scheme, parts.netloc, options)
        weakref.finalize(self, self._line.close)  # as urllib3 does for the rest, if nobody closes the mover
        self._path, self._host = parts.path, parts.netloc.removesuffix(f":{self._line.default_port}")

    def put(self, body: "Body", described: Reply) -> Reply | None:
        """Put body; None if the place does not just say yes."""
        headers = {f"x-amz-meta-{key}": value for key, value in described["Metadata"].items()}
        headers |= {"Content-MD5": body.md5_in_base64, "User-Agent": "tranship"}
        name = quote(described["Key"])
        request = AWSRequest("PUT", self._url + name, headers=headers, data=body.content)
        request.context["client_config"] = self._config
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        told = {**request.headers, "Host": self._host, "Content-Length": len(body.content)}
        head = "".join(f"{key}: {value}\r\n" for key, value in told.items())
        asked = f"PUT {self._path}{name} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body.content
        if not self._connected():
            return None
        with self._cut():
            return self._answer(asked)

    def close(self) -> None:
        """End its connection."""
        self._line.close()

    def _connected(self) -> bool:
        """Whether there is a connection now; if not, botocore can say why."""
        sock: socket.socket | None = self._line.sock
        if sock is not None and not wait_for_read(sock, timeout=0):
            return True
        self._line.close()  # the place hung up meanwhile
        try:
            self._line.connect()
        except (OSError, HTTPException):
            self._line.close()
            return False
        self._line.sock.settimeout(self._seconds)
        return True

    @contextmanager
    def _cut(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._line.close()
            if isinstance(error, TimeoutError):
                raise TimedOut("the line is silent") from error
            if isinstance(error, OSError | HTTPException):
                raise Unreachable("the line was cut") from error
            raise

    def _answer(self, asked: bytes) -> Reply | None:
        """What the place says; head and body go to it at one stroke."""
        self._line.sock.sendall(asked)
        with closing(HTTPResponse(self._line.sock, method="PUT")) as reply:
            reply.begin()
            reply.read()
        if reply.will_close:
            self._line.close()
        encryption = reply.headers.get("x-amz-server-side-encryption", "")
        told = {"ETag": reply.headers.get("ETag", ""), "ServerSideEncryption": encryption}
        return told if reply.status == 200 else None


def _line_to(scheme: str, host: str, options: S3Options) -> HTTPConnection:
    seconds = _connect_seconds(options)
    if scheme != "https":
        return HTTPConnection(host, timeout=seconds)
    context = ssl.create_default_context(cafile=get_cert_path(options.verify) if options.verify else None)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, timeout=seconds, context=context)


def _impatient(seconds: float, *, model: Any, context: dict[str, Any], **_: Any) -> None:
    """Wait less for what only tidies up, or asks whether anybody is there."""
    if model.name in ("AbortMultipartUpload", "GetBucketLocation"):
        context["read_timeout"] = seconds


def _sent_elsewhere(**_: Any) -> None:
    """Botocore asks for the region of a bucket when it is redirected; other places have none, and it never ends."""
    raise Misconfigured("the place sends us elsewhere; should it be https?")


def _in_pieces(request: Any, **_: Any) -> None:
    """Send our bodies piece by piece, each with its deadline and its word of progress."""
    if isinstance(request.body, Body):
        if len(request.body.content) <= PIECE:
            # It is sent before the place could object.
            request.headers.pop("Expect", None)
        request.body = _Pieces(request.body)


# ---------------------------------------------------------------- bodies


class Body(BytesIO):
    """Bytes to be sent, in a form that botocore can hash and sign."""

    def __init__(self, content: bytes, tell: Tell) -> None:
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

    def __init__(self, body: Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self._body.content)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]
            self._body.told(min(start + PIECE, len(view)))

    def seek(self, position: int) -> None:
        """Go back to the start, to be sent again."""
        self._body.seek(position)


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


_TOLD = {
    "create_multipart_upload": ("UploadId",),
    "upload_part": ("ETag",),
    "upload_part_copy": ("CopyPartResult",),
    "copy_object": ("CopyObjectResult",),
    "head_object": ("ContentLength", "LastModified"),
    "get_object": ("ContentLength", "LastModified"),
}
"""What every answer tells."""

_LIMITS = frozenset(("content-length", "transfer-encoding", "connection"))
"""Headers one of which says where an answer ends."""


def demand_whole(operation: str, reply: Reply) -> None:
    """Raise Unreachable if the line was cut in the head of the answer: Python's http.client takes that for its end."""
    about = reply["ResponseMetadata"]
    ends = about["HTTPStatusCode"] == 204 or not _LIMITS.isdisjoint(about["HTTPHeaders"])
    if not ends or any(word not in reply for word in _TOLD.get(operation, ())):
        raise Unreachable("the line was cut in the midst of an answer")


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
