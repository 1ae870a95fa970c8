"""One bucket, and how it is asked: again while it is busy, with errors of ours."""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

from tranship_movers.errors import (
    Busy,
    NameRefused,
    Permanent,
    SourceGone,
    Temporary,
    Unreachable,
    translated,
)
from tranship_movers.place import Place
from tranship_movers.s3.client import client, extras
from tranship_movers.s3.meanings import Reply, demand_whole, ours
from tranship_movers.s3.options import S3Options
from tranship_movers.s3.parts import (
    Heard,
)

T = TypeVar("T")


def bucket(place: Place, options: S3Options, pauses: tuple[float, ...]) -> "tuple[Bucket, Any]":
    """The bucket of place, and the credentials with which requests are signed."""
    engine, credentials = client(place, options)
    return Bucket(place.host, options, engine, pauses), credentials


class Bucket:
    """The bucket that is called name, asked by client (botocore's)."""

    def __init__(self, name: str, options: S3Options, client: Any, pauses: tuple[float, ...]) -> None:
        """Pauses: seconds before a request that the place was too busy for, or that was cut, is sent again."""
        self.name = name
        self.client = client
        self.extras = extras(client, options)
        self._options = options
        self._pauses = pauses

    def ask(self, operation: str, **told: Any) -> Reply:
        """What the place answers, asked again as `patiently` does."""
        return self.patiently(partial(self.call, operation, **told), told.get("Key", ""))

    def patiently(
        self,
        act: Callable[[], T],
        key: str,
        heard: Heard | None = None,
        again: tuple[type[Temporary], ...] = (Busy, Unreachable),
    ) -> T:
        """What act gives. After an error that again names it is tried once more, while there is time."""
        latest = time.monotonic() + self._options.timeout.total_seconds() / 2
        for pause in self._pauses:
            try:
                with translated(self.where(key), ours):
                    return act()
            except again:
                if time.monotonic() + pause > latest or (heard and heard.broken):
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
        with translated(self.where(key), ours):
            return act()

    def call(self, operation: str, **told: Any) -> Reply:
        """What the place answers, asked once; botocore's errors come out."""
        told = {"Bucket": self.name, **self.extras[operation], **told}
        reply: Reply = getattr(self.client, operation)(**told)
        demand_whole(operation, reply)
        return reply

    def head(self, key: str) -> Reply | None:
        """What the place says of the object key; None if there is none."""
        try:
            return self.ask("head_object", Key=key)
        except SourceGone:
            return None
        except Permanent:
            # A reply to HEAD can't say why; GET can.
            self.ask("get_object", Key=key, Range="bytes=0-0")["Body"].close()
            raise

    def pages(self, prefix: str) -> Iterator[Reply]:
        """The listing of the keys that begin with prefix, down to the next slash."""
        page = self.ask("list_objects_v2", Prefix=prefix, Delimiter="/")
        yield page
        while page.get("IsTruncated"):
            token = page["NextContinuationToken"]
            page = self.ask("list_objects_v2", Prefix=prefix, Delimiter="/", ContinuationToken=token)
            yield page

    def digest(self, reply: Reply) -> str | None:
        """The MD5 that the ETag of reply is ("md5-parts" of an object in parts); None if it is none."""
        etag = str(reply.get("ETag", "")).strip('"').lower()
        encrypted = (
            reply.get("ServerSideEncryption", "").startswith("aws:") or "SSECustomerAlgorithm" in reply
        )
        return etag if self._options.etag == "md5" and not encrypted and _MD5.fullmatch(etag) else None

    def where(self, name: str) -> str:
        """Name for an error."""
        return f"s3://{self.name}/{name.lstrip('/')}"

    def folder(self, name: str) -> str:
        """The key of a folder, "" for the bucket itself."""
        return self.key(name.rstrip("/")) if name.strip("/") else ""

    def key(self, name: str) -> str:
        """The key of the file name. Raises NameRefused for what places refuse, or take for another name."""
        key = name.lstrip("/")
        if not key or key.endswith("/") or {".", ".."} & set(key.split("/")):
            raise NameRefused(f"{key!r} is no name of a file", where=self.where(""))
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", key):
            raise NameRefused(f"{key!r} holds what no listing can tell", where=self.where(""))
        if len(key.encode()) > 1024:
            raise NameRefused("is longer than 1024 bytes", where=self.where(key))
        return key


_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")


def seconds(ns: int) -> str:
    """A time as rclone and others write it into x-amz-meta-mtime: seconds since the epoch, with a fraction."""
    return format(Decimal(ns).scaleb(-9).normalize(), "f")


def tag_of(reply: Reply) -> str:
    """The ETag of an object, "" if it is a weak one."""
    told = str(reply.get("ETag", ""))
    return "" if told.startswith("W/") else told


def mtime_of(reply: Reply) -> int:
    """The modification time of an object in ns: that of its source if it was told, else when it was put."""
    told = {key.lower(): value for key, value in reply.get("Metadata", {}).items()}
    with suppress(InvalidOperation, KeyError, OverflowError, ValueError):
        return int(Decimal(told["mtime"]).scaleb(9))
    return int(reply["LastModified"].timestamp() * 1_000_000_000)


def date_of(reply: Reply) -> datetime:
    """What the place's clock says."""
    text = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(text) if text else datetime.now(UTC)
