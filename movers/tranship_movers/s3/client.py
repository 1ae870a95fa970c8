"""botocore as we use it: how it is set up, with our deadlines and our bodies."""

import logging
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.loaders import Loader

from tranship_movers.errors import (
    Misconfigured,
)
from tranship_movers.place import Place
from tranship_movers.s3.bodies import Body, Pieces
from tranship_movers.s3.options import S3Options, connect_seconds, plain
from tranship_movers.s3.parts import PIECE


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
    client.meta.events.register("before-call.s3", partial(_impatient, connect_seconds(options)))
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
    told["connect_timeout"] = min(given.get("connect_timeout") or seconds, connect_seconds(options))
    return Config(**told)


_OPERATIONS = (
    *("put_object", "get_object", "head_object", "delete_object", "copy_object", "list_objects_v2"),
    *("create_multipart_upload", "upload_part", "upload_part_copy", "complete_multipart_upload"),
    *("abort_multipart_upload", "list_multipart_uploads"),
)

_OURS = frozenset(("Body", "Bucket", "ContentMD5", "CopySource", "Key", "PartNumber", "Range", "UploadId"))

_TYPES: dict[str, Callable[[Any], Any]] = {"boolean": plain, "integer": int, "long": int}


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
        request.body = Pieces(request.body)
