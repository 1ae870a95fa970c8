"""HTTP and HTTPS, for reading. An error page is never a file.

The status is checked against a table, the bytes against the announced length, the type against what is
expected. Bytes are kept as they lie at the server: identity is asked for, and nothing is decoded.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import FileIO
from pathlib import Path
from typing import Literal, NoReturn

import h11
from pydantic import Field

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import Mangled, Permanent, SourceChanged
from tranship_movers.place import Place
from tranship_movers.target import opened_at
from tranship_movers.transfer import RESUMED_FROM
from tranship_movers.web.line import Ask, Reply
from tranship_movers.web.meanings import on_our_side, tell
from tranship_movers.web.options import WebOptions
from tranship_movers.web.web import Web

PAGES = frozenset({"text/html", "application/xhtml+xml"})
PAGE_NAMES = (".html", ".htm", ".xhtml")
ENCODED_NAMES = {
    "gzip": (".gz", ".tgz", ".taz"),
    "x-gzip": (".gz", ".tgz", ".taz"),
    "compress": (".Z",),
    "x-compress": (".Z",),
    "bzip2": (".bz2", ".tbz"),
    "x-bzip2": (".bz2", ".tbz"),
    "br": (".br",),
    "zstd": (".zst",),
}
"""Content codings, and the names of which they only say what the file is anyway (apache's AddEncoding)."""


class HttpOptions(WebOptions):
    """What an HTTP place can be told."""

    redirects: int = Field(default=5, ge=0, description="So many redirects are followed for one file.")
    resumes: int = Field(
        default=5, ge=0, description="So often a cut download goes on where it was, if the file is unchanged."
    )
    expect_type: str | None = Field(
        default=None,
        description=(
            "The media type that a file must have, `*` for any part of it (`application/*`). Without it, any "
            "type will do, but a web page only for a name in .html, .htm or .xhtml: else it is a login page."
        ),
    )
    unknown_length: Literal["refused", "accepted"] = Field(
        default="refused",
        description="Whether to take a file whose length the server does not tell: a cut would not be seen.",
    )


class HttpMover:
    """Reads files over HTTP or HTTPS. What would write there, or list, raises Misconfigured."""

    options = HttpOptions

    def __init__(self, place: Place, options: HttpOptions) -> None:
        """Connect to place."""
        self.powers = Powers(writing=False, listing=False, replace=False, resumes=0)
        self._web = Web(place, options, redirects=options.redirects)
        self._options = options
        self._told = ("", "")
        """The name that was asked after last, and its entity tag."""

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the bytes at name into target; after a cut, go on where it was (Range with If-Range).

        Keeps the modification time, if the server tells one. Raises SourceChanged for another version than
        `stat` has told of, if it is large.
        """
        with self._web.translated():
            options = self._options
            asked, tag = self._told
            manner = Manner(
                *(progress, options.resumes, options.expect_type, options.unknown_length),
                tag=tag if asked == name else "",
            )
            download(self._web, name, target, manner, offset)

    def stat(self, name: str) -> Facts | None:
        """What the server says of name, by HEAD, or by GET of its first byte where HEAD does not tell."""
        with self._web.translated():
            reply = self._web.ask(Ask("HEAD", self._web.target(name)))
            reply.skip()
            if reply.status in (403, 405, 501) or (reply.status == 200 and reply.length is None):
                reply = self._web.ask(Ask("GET", self._web.target(name), (("Range", "bytes=0-0"),)))
                reply.drop()
            if reply.status in (404, 410):
                return None
            reply.demand("stat", 200, 206, 416)
            if reply.status != 416:
                refuse_page(reply, name, self._options.expect_type)
            self._told = name, reply.etag
            return Facts(name, _whole_length(reply), reply.modified_ns, tag=reply.tag)

    def checksum(self, name: str, algorithm: str) -> str | None:
        """None: no server computes one on demand."""
        return None

    def alive(self) -> bool:
        """Whether the place still answers."""
        return self._web.alive()

    def close(self) -> None:
        """End the connection."""
        self._web.close()

    def list(self, folder: str) -> Iterator[Facts]:
        """Raises Misconfigured: HTTP has no listing."""
        self._web.refuse("HTTP has no listing; name the files, or use webdav:// if the server offers it")

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> str | None:
        """Raises Misconfigured: HTTP is for reading."""
        self._only_reads()

    def remove(self, name: str) -> None:
        """Raises Misconfigured: HTTP is for reading."""
        self._only_reads()

    def rename(self, old: str, new: str) -> None:
        """Raises Misconfigured: HTTP is for reading."""
        self._only_reads()

    def make_folders(self, folder: str) -> None:
        """Raises Misconfigured: HTTP is for reading."""
        self._only_reads()

    def _only_reads(self) -> NoReturn:
        self._web.refuse("HTTP is for reading; to write, use webdav:// or webdavs://")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a file is downloaded; see `HttpOptions`."""

    progress: Progress = unheard
    resumes: int = 5
    expect_type: str | None = "*"
    unknown_length: Literal["refused", "accepted"] = "refused"
    confirm: Literal["nothing", "length", "version"] = "length"
    tag: str = ""
    """The entity tag that a file must have that may be gone on with: several servers behind one name may differ."""


def download(web: Web, name: str, target: Path, manner: Manner, offset: int = 0) -> None:
    """Write the bytes at name into target, from offset on, and give it their modification time.

    A server that does not give parts of files gives all of it. A cut download goes on where it was, if each try
    brings something and the file is provably the same.
    Some servers (apache, rclone) announce one version of a file and send another, if it is replaced in between;
    so they are asked once more afterwards. Raises SourceChanged if it is not what it was (`confirm`).
    """
    with on_our_side(target, absent=Permanent):
        file = opened_at(target, offset)
    with file:
        got = _Part(target, file, offset)
        for _ in range(manner.resumes):
            before = got.size
            try:
                _receive(web, name, got, manner)
                break
            except (ConnectionError, h11.RemoteProtocolError):
                if not got.is_provable or got.size == before:
                    raise
        else:
            _receive(web, name, got, manner)
    if manner.confirm != "nothing":
        _confirm(web, name, got, manner)
    if got.modified_ns is not None:
        os.utime(target, ns=(got.modified_ns, got.modified_ns))


@dataclass(slots=True)
class _Part:
    """What has come so far: size bytes of the version etag of the file, of `total` (None: not told)."""

    target: Path
    file: FileIO
    size: int = 0
    etag: str = ""
    total: int | None = None
    modified_ns: int | None = None

    def take(self, piece: bytes) -> None:
        """Write piece where the last one ended."""
        left = memoryview(piece)
        with on_our_side(self.target, absent=Permanent):
            while left:
                left = left[self.file.write(left) :]
        self.size += len(piece)

    def go_on(self, reply: Reply) -> None:
        """Take it that what is here, from an earlier call, is of the file of which reply brings the rest."""
        self.total, self.modified_ns = _whole_length(reply), reply.modified_ns
        self.etag = reply.headers.get("etag", "")

    def begin(self, reply: Reply) -> None:
        """Forget what came, and begin with the file that reply brings."""
        if self.size:
            with on_our_side(self.target, absent=Permanent):
                self.file.seek(0)
                self.file.truncate()
        self.size, self.total, self.modified_ns = 0, reply.length, reply.modified_ns
        self.etag = reply.headers.get("etag", "")

    @property
    def is_provable(self) -> bool:
        """Whether a rest can be asked for that is certain to be of the same bytes."""
        return self.etag.startswith('"') and self.total is not None


def _receive(web: Web, name: str, got: _Part, manner: Manner) -> None:
    """Ask for what is missing of got, and take it."""
    same = (("If-Range", got.etag),) if got.is_provable else ()
    rest = (("Range", f"bytes={got.size}-"), *same) if got.size else ()
    reply = web.ask(Ask("GET", web.target(name), rest))
    if rest and reply.status == 416:
        reply.skip()
        return _end_here(web, name, got)
    return _take(reply, name, got, manner)


def _take(reply: Reply, name: str, got: _Part, manner: Manner) -> None:
    """Take what reply brings: the rest, or everything."""
    reply.demand("get", 200, *((206,) if got.size else ()))
    try:
        refuse_page(reply, name, manner.expect_type)
        if (
            manner.tag
            and reply.etag not in ("", manner.tag)
            and (reply.length or 0) + got.size >= RESUMED_FROM
        ):
            raise SourceChanged("get: it was replaced before it was read")
        if reply.status == 206:
            _go_on(reply, got)
        else:
            _refuse_endless(reply, manner)
            got.begin(reply)
        for piece in reply.pieces():
            got.take(piece)
            tell(manner.progress, len(piece))
    except BaseException:
        reply.drop()
        raise
    if got.total is not None and got.size != got.total:
        raise Mangled(f"get: {got.size} bytes came of {got.total}")


def _confirm(web: Web, name: str, got: _Part, manner: Manner) -> None:
    reply = web.ask(Ask("HEAD", web.target(name)))
    reply.skip()
    if reply.status in (403, 405, 501):
        return  # a server without HEAD
    reply.demand("get", 200)
    etag = reply.headers.get("etag", "") if manner.confirm == "version" else got.etag
    # apache's tag is weak as long as the file is younger than a second, and else the same.
    if reply.length not in (None, got.size) or etag.removeprefix("W/") != got.etag.removeprefix("W/"):
        raise SourceChanged("get: it was replaced while it was read")


def _end_here(web: Web, name: str, got: _Part) -> None:
    """There is nothing behind what is here; that is right if it is all there is."""
    reply = web.ask(Ask("HEAD", web.target(name)))
    reply.skip()
    if reply.status != 200 or reply.length != got.size:
        raise SourceChanged("get: it is shorter than what came of it")
    got.go_on(reply)


def _refuse_endless(reply: Reply, manner: Manner) -> None:
    if reply.ends_by_hanging_up and manner.unknown_length == "refused":
        raise Permanent(
            "get: the server does not tell how long the file is, so a cut would not be seen; "
            "set `unknown_length: accepted` to take it all the same"
        )


def _go_on(reply: Reply, got: _Part) -> None:
    """A part must begin where we are, and belong to a file of the same length."""
    if got.total is None:
        got.go_on(reply)
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", reply.headers.get("content-range", ""))
    if match is None or int(match[1]) != got.size or match[3] not in ("*", str(got.total)):
        raise Mangled("get: the server sent another part of the file than was asked for")


def refuse_page(reply: Reply, name: str, expected: str | None) -> None:
    """Raise Mangled if the reply is no file, but a page that somebody put in its place, or is encoded."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if expected is None and kind in PAGES and not name.lower().endswith(PAGE_NAMES):
        raise Mangled("a web page came instead of the file: a login, or an error (`expect_type` takes it)")
    if expected is not None and not fnmatchcase(kind, expected.lower()):
        raise Mangled(f"{kind or 'no type'} came instead of {expected}")
    for coding in reply.headers.get("content-encoding", "identity").lower().split(","):
        if coding.strip() != "identity" and not name.endswith(ENCODED_NAMES.get(coding.strip(), ())):
            raise Mangled("the server encoded the file, though its plain bytes were asked for")


def _whole_length(reply: Reply) -> int:
    ranged = re.search(r"/(\d+)$", reply.headers.get("content-range", ""))
    length = int(ranged[1]) if ranged else reply.length
    if length is None or (reply.status in (206, 416) and not ranged):
        raise Permanent("stat: the server does not tell how long the file is")
    return length
