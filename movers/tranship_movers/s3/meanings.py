"""What an answer of S3, or an error of botocore, means."""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore import exceptions
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as PoolTimeout

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

Reply = Mapping[str, Any]
"""What botocore gives for a request."""


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
