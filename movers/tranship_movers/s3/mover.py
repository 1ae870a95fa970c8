"""The verbs of a mover, with the objects of one bucket."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Busy,
    Mangled,
    Misconfigured,
    MoverError,
    Permanent,
    SourceChanged,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
    translated,
)
from tranship_movers.place import Place
from tranship_movers.s3.bodies import Body
from tranship_movers.s3.bucket import bucket, date_of, mtime_of, seconds, tag_of
from tranship_movers.s3.client import hush
from tranship_movers.s3.meanings import Reply, ours
from tranship_movers.s3.options import MIB, S3Options
from tranship_movers.s3.parts import (
    PIECE,
    SPARE,
    Heard,
    Md5s,
    Source,
    Span,
    Sum,
    Tell,
    at_once,
    digest_of_parts,
    listening,
    made,
    md5_of_file,
    opened,
    pour,
    spans_of,
    unheeded,
)
from tranship_movers.s3.shortcut import shortcut

T = TypeVar("T")

MOST_PARTS = 10_000
"""Parts of one object, by S3's rules."""

OTHER_MD5 = "arrived with another MD5 (or the place's ETag is none; then `etag: opaque` helps)"


POWERS = Powers(whole_put=True, verified=True, folders=False, mtime=True, checksums=frozenset({"md5"}))


class S3Mover:
    """The objects of one bucket."""

    options = S3Options
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
        self._options = options
        self._closed = False
        self.powers = replace(POWERS, resumes=(options.max_concurrency + SPARE) * options.part_size)
        hush()
        with translated(str(place), ours):
            self._bucket, credentials = bucket(place, options, self.pauses)
            self._shortcut = shortcut(self._bucket.client, credentials, place.host, options)
            with suppress(Permanent), translated(str(place), ours):
                self._bucket.call("list_objects_v2", MaxKeys=1)

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the local file source at name: in one request up to `part_size`, else in parts."""
        if offset:
            raise Misconfigured("an object can't be continued", where=self._bucket.where(name))
        key, step = self._bucket.key(name), self._options.part_size
        with opened(source) as file, listening(progress) as heard:
            described = {"Key": key, "Metadata": self._metadata(file.mtime_ns)}
            if file.size > step:
                self._in_parts(described, file.size, step, partial(self._put_part, file, key, heard), heard)
            else:
                body = Body(file.read(0, file.size), heard.part())
                self._confirm(key, self._send_whole(body, heard, described), body.md5, file.size)

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the bytes at name into target: by one request up to `part_size`, else in parts."""
        key = self._bucket.key(name)
        with made(target, offset) as file, listening(progress) as heard:
            reply, digest = self._begun(key, file, offset, heard)
            if digest is None:
                digest = self._get_in_parts(key, reply, file, offset, heard)
            differs = digest and self._proof(reply) not in (None, digest)
            if differs and not ("-" in str(digest) and self._same_again(key, reply, file)):
                raise Mangled(OTHER_MD5, where=self._bucket.where(key))
        os.utime(target, ns=(mtime_of(reply),) * 2)

    def stat(self, name: str) -> Facts | None:
        """What the place says of name; what other names begin with is a folder.

        The modification time is the source's, if who put it told it (`x-amz-meta-mtime`, as rclone does).
        """
        key = self._bucket.folder(name)
        reply = self._bucket.head(key) if key else None
        if reply is not None:
            return Facts(name, reply["ContentLength"], mtime_of(reply), tag=tag_of(reply))
        below = self._bucket.ask("list_objects_v2", Prefix=f"{key}/" if key else "", MaxKeys=1)
        return Facts(name, 0, is_folder=True) if below.get("Contents") or not key else None

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder, asked for page by page. Without modification times: a listing has not ours."""
        key = self._bucket.folder(folder)
        prefix = f"{key}/" if key else ""
        for page in self._bucket.pages(prefix):
            for below in page.get("CommonPrefixes", ()):
                yield Facts(below["Prefix"][len(prefix) :].rstrip("/"), 0, is_folder=True)
            for found in page.get("Contents", ()):
                if found["Key"] != prefix:
                    yield Facts(found["Key"][len(prefix) :], found["Size"])

    def remove(self, name: str) -> None:
        """Remove the object name; removing what is not there is no error."""
        with suppress(SourceGone):
            self._bucket.ask("delete_object", Key=self._bucket.key(name))

    def rename(self, old: str, new: str) -> None:
        """Copy old to new within the place, then remove old."""
        source, key = self._bucket.key(old), self._bucket.key(new)
        reply = self._bucket.head(source)
        if reply is None:
            raise SourceGone("there is no such name", where=self._bucket.where(source))
        if source != key:
            self._copy(source, key, reply)
            self.remove(old)

    def make_folders(self, folder: str) -> None:
        """Nothing to do: a folder is there as soon as something is in it."""

    def checksum(self, name: str, algorithm: str) -> str | None:
        """The MD5 that the place has of name; None in other algorithms, and of what came in parts."""
        if algorithm != "md5" or (reply := self._bucket.head(self._bucket.key(name))) is None:
            return None
        theirs = self._bucket.digest(reply)
        return theirs if theirs and "-" not in theirs else None

    def alive(self) -> bool:
        """Whether the place answers, whatever it says."""
        if self._closed:
            return False
        try:
            self._bucket.client.get_bucket_location(Bucket=self._bucket.name)
        except ClientError:
            return True
        except (BotoCoreError, HTTPError, OSError):
            return False
        return True

    def close(self) -> None:
        """End all connections."""
        self._closed = True
        self._bucket.client.close()
        if self._shortcut is not None:
            self._shortcut.close()

    # How bytes go there.

    def _send_whole(self, body: Body, heard: Heard, described: Reply) -> Reply:
        """Send body as an object of its own."""
        reply: Reply | None = None
        if self._shortcut is not None and len(body.content) <= PIECE:
            reply = self._bucket.patiently(
                partial(self._shortcut.put, body, described), described["Key"], heard
            )
        if reply is None:
            return self._send("put_object", body, heard, described)
        body.tell_rest()
        return reply

    def _send(self, operation: str, body: Body, heard: Heard, described: Reply) -> Reply:
        """Send body. The place refuses it if the MD5 that we tell is not that of what arrived."""

        def attempt() -> Reply:
            body.seek(0)
            return self._bucket.call(operation, Body=body, ContentMD5=body.md5_in_base64, **described)

        reply = self._bucket.patiently(attempt, described["Key"], heard)
        body.tell_rest()
        return reply

    def _put_part(self, file: Source, key: str, heard: Heard, upload: str, span: Span) -> str:
        """Send one part of file, give its ETag."""
        body = Body(file.read(span.start, span.size), heard.part())
        described = {"Key": key, "UploadId": upload, "PartNumber": span.number}
        reply = self._send("upload_part", body, heard, described)
        if self._bucket.digest(reply) not in (None, body.md5):
            raise Mangled(f"part {span.number} arrived with another MD5", where=self._bucket.where(key))
        return str(reply["ETag"])

    def _in_parts(
        self, described: Reply, size: int, step: int, act: Callable[[str, Span], str], heard: Heard
    ) -> None:
        """Make an object of parts that act brings there (it gives their ETags): all of it, or nothing."""
        key = described["Key"]
        self._clear_abandoned(key)
        # A lost reply would leave an upload that nobody knows of, so a cut line is no reason to ask again.
        begin = partial(self._bucket.call, "create_multipart_upload", **described)
        upload = self._bucket.patiently(begin, key, again=(Busy,))["UploadId"]
        try:
            spans = spans_of(size, max(step, -(-size // MOST_PARTS)))
            etags = at_once(partial(act, upload), spans, heard, self._options.max_concurrency)
            self._complete(key, upload, etags, size)
        except BaseException:
            self._abort(key, upload)
            raise

    def _complete(self, key: str, upload: str, etags: Sequence[str], size: int) -> None:
        """Make the object of its parts. A lost reply is no failure if the object is there."""
        digests = [
            digest for etag in etags if (digest := self._bucket.digest({"ETag": etag})) and "-" not in digest
        ]
        expected = digest_of_parts(digests) if len(digests) == len(etags) else None
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        told = {"UploadId": upload, "MultipartUpload": {"Parts": parts}}
        try:
            reply = self._bucket.ask("complete_multipart_upload", Key=key, **told)
        except Temporary:
            with suppress(MoverError):
                if expected and self._bucket.digest(self._bucket.head(key) or {}) == expected:
                    return
            raise
        self._confirm(key, reply, expected, size)

    def _abort(self, key: str, upload: str) -> None:
        """Drop the parts of an upload. If the place can't be reached, `_clear_abandoned` does it some day."""
        with suppress(MoverError):
            self._bucket.ask("abort_multipart_upload", Key=key, UploadId=upload)

    def _clear_abandoned(self, key: str) -> None:
        """Drop the parts of uploads into the folder of key that began long ago, by the place's clock."""
        try:
            found = self._bucket.ask("list_multipart_uploads", Prefix=key[: key.rfind("/") + 1])
        except (TimedOut, Unreachable):
            raise
        except MoverError:
            return  # who may not ask that, or can't be asked, can still put
        latest = date_of(found) - self._options.abandoned_after
        for upload in found.get("Uploads", ()):
            if upload["Initiated"] < latest:
                self._abort(upload["Key"], upload["UploadId"])

    def _confirm(self, key: str, reply: Reply, expected: str | None, size: int) -> None:
        """Raise Mangled unless the place has what was sent: by its MD5 if it tells one, else by its size."""
        theirs = self._bucket.digest(reply)
        if theirs and expected and ("-" in theirs) == ("-" in expected):
            if theirs != expected:
                raise Mangled(OTHER_MD5, where=self._bucket.where(key))
            return
        found = self._bucket.head(key)
        arrived = 0 if found is None else found["ContentLength"]
        if found is None or arrived != size:
            raise Mangled(f"{arrived} bytes arrived of {size}", where=self._bucket.where(key))

    def _metadata(self, mtime_ns: int) -> dict[str, str]:
        return {**self._bucket.extras["put_object"].get("Metadata", {}), "mtime": seconds(mtime_ns)}

    # How bytes come from there, or stay there.

    def _begun(self, key: str, file: int, offset: int, heard: Heard) -> tuple[Reply, str | None]:
        """What the place says of the object, and as `_get_at_once`: None if all, or the rest, is still to come."""
        if not offset:
            return self._bucket.patiently(partial(self._get_at_once, key, file, heard.part()), key, heard)
        reply = self._bucket.head(key)
        if reply is None:
            raise SourceGone("there is no such name", where=self._bucket.where(key))
        if reply["ContentLength"] < offset:
            raise SourceChanged("is shorter than what came of it", where=self._bucket.where(key))
        return reply, None

    def _get_at_once(self, key: str, file: int, tell: Tell) -> tuple[Reply, str | None]:
        """The place's reply, and the MD5 of the bytes in file ("" if none is compared).

        None if they are many, or were put in parts: then they have to come in parts.
        """
        reply = self._bucket.call("get_object", Key=key)
        theirs = self._proof(reply) or ""
        with closing(reply["Body"]) as body:
            if reply["ContentLength"] > self._options.part_size or "-" in theirs:
                return reply, None
            return reply, pour(body, file, 0, tell, "md5" if theirs else "none")

    def _get_in_parts(self, key: str, reply: Reply, file: int, offset: int, heard: Heard) -> str | None:
        """Get the object of reply from offset on; give what its ETag should be, None if that can't be known."""
        size, theirs, threads = reply["ContentLength"], self._proof(reply), self._options.max_concurrency
        get = partial(self._get_part, key, reply["ETag"], file, heard)
        is_of_parts = bool(theirs and "-" in theirs)
        step = self._step(key, reply) if is_of_parts else max(1, size)
        if is_of_parts and not offset and step <= self._options.part_size:
            digests = at_once(partial(get, "md5"), spans_of(size, step), heard, threads)
        else:
            md5s = Md5s(file, step)
            done = md5s.take if theirs else unheeded
            done(Span(0, 0, offset))
            at_once(
                partial(get, "none"), spans_of(size, self._options.part_size, offset), heard, threads, done
            )
            digests = md5s.hexes
        if is_of_parts:
            return digest_of_parts(digests) if theirs and theirs.endswith(f"-{len(digests)}") else None
        return digests[0] if theirs else None

    def _proof(self, reply: Reply) -> str | None:
        """What is compared after a download: the MD5 that the ETag of reply is, None if nothing is."""
        return None if self._options.checksum == "none" else self._bucket.digest(reply)

    def _same_again(self, key: str, reply: Reply, file: int) -> bool:
        """Whether another reading gives the same bytes. SeaweedFS tells a strange ETag of what it copied."""
        before = md5_of_file(file)
        self._get_in_parts(key, reply, file, 0, Heard(unheard))
        return md5_of_file(file) == before

    def _get_part(self, key: str, etag: str, file: int, heard: Heard, kind: Sum, span: Span) -> str:
        """Get one part of the object, give its checksum."""
        tell = heard.part()

        def attempt() -> str:
            wanted = f"bytes={span.start}-{span.start + span.size - 1}"
            reply = self._bucket.call("get_object", Key=key, Range=wanted, IfMatch=etag)
            with closing(reply["Body"]) as body:
                if reply["ETag"] != etag:
                    raise SourceChanged("was replaced while it was read")
                if reply["ContentLength"] != span.size:
                    raise Permanent("the server does not give parts of a file; raise `part_size`")
                return pour(body, file, span.start, tell, kind)

        return self._bucket.patiently(attempt, key, heard)

    def _step(self, key: str, reply: Reply) -> int:
        """The size of the parts in which the object was put, as far as the place tells."""
        first: int = self._bucket.ask("head_object", Key=key, PartNumber=1)["ContentLength"]
        return first if 0 < first < reply["ContentLength"] else self._options.part_size

    def _copy(self, source: str, key: str, reply: Reply) -> None:
        """Copy the object source, of which reply tells, to key."""
        size, origin = reply["ContentLength"], {"Bucket": self._bucket.name, "Key": source}
        if size > self.copy_at_most:
            told = {"Key": key, "Metadata": reply["Metadata"]}
            told |= {word: reply[word] for word in _KEPT if word in reply}
            act = partial(self._copy_part, {"CopySource": origin, "CopySourceIfMatch": reply["ETag"]}, key)
            self._in_parts(told, size, min(self.copy_at_most, 512 * MIB), act, Heard(unheard))
        else:
            done = self._bucket.ask("copy_object", Key=key, CopySource=origin)["CopyObjectResult"]
            theirs = self._bucket.digest(reply)
            self._confirm(key, done, theirs if theirs and "-" not in theirs else None, size)

    def _copy_part(self, origin: Reply, key: str, upload: str, span: Span) -> str:
        """Copy one part, give its ETag."""
        told = {**origin, "CopySourceRange": f"bytes={span.start}-{span.start + span.size - 1}"}
        done = self._bucket.ask("upload_part_copy", Key=key, UploadId=upload, PartNumber=span.number, **told)
        return str(done["CopyPartResult"]["ETag"])


_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")
