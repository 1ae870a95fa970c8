"""What a WebDAV server says of its names: a multi-status (RFC 4918), read as it comes."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit
from xml.parsers import expat

from tranship_movers.contract import Facts
from tranship_movers.errors import Mangled
from tranship_movers.web.line import seconds_of, tag_of

LISTING_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One response of a multi-status: the path at the server, decoded; size in bytes, if told."""

    path: str
    exists: bool
    is_folder: bool
    size: int | None
    mtime_ns: int | None
    tag: str = ""

    def facts(self, name: str) -> Facts:
        """The same as facts about name."""
        if self.size is None and not self.is_folder:
            raise Mangled(f"the server does not tell the size of {name!r}")
        return Facts(
            name, 0 if self.is_folder else self.size or 0, self.mtime_ns, self.is_folder, tag=self.tag
        )


def entries_of(pieces: Iterable[bytes], date_ns: int | None = None) -> list[Entry]:
    """The entries of a multi-status of the time date_ns. Raises Mangled if it is none, or declares a document type."""
    listing = _Listing(date_ns)
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > LISTING_LIMIT:
                raise Mangled(f"the list is longer than {LISTING_LIMIT} bytes")
            listing.parser.Parse(piece, False)
        listing.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise Mangled(f"the list is no XML ({expat.ErrorString(error.code)})") from error
    if not listing.is_multistatus:
        raise Mangled("the list is no WebDAV multi-status")
    return listing.entries


class _Listing:
    """Reads a multi-status as it comes. Properties count only under a status that says they were found."""

    def __init__(self, date_ns: int | None) -> None:
        self._date_ns = date_ns
        self.entries: list[Entry] = []
        self.is_multistatus = False
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.CharacterDataHandler = self._heard
        self.parser.EndElementHandler = self._end
        self._text = ""
        self._status = ""
        self._told: dict[str, str] = {}
        self._found: dict[str, str] = {}

    def _doctype(self, *_: object) -> None:
        # Entities, inner and outer, can only be declared here.
        raise Mangled("the list declares a document type, which is refused")

    def _start(self, tag: str, _: object) -> None:
        self._text = ""
        match tag:
            case "DAV: multistatus":
                self.is_multistatus = True
            case "DAV: response":
                self._told, self._found, self._status = {}, {}, ""
            case "DAV: propstat":
                self._told = {}
            case "DAV: collection":
                self._told[tag] = "yes"

    def _heard(self, text: str) -> None:
        self._text += text

    def _end(self, tag: str) -> None:
        match tag:
            case "DAV: href":
                self._found.setdefault(tag, self._text.strip())
            case "DAV: status":
                self._status = self._text.partition(" ")[2].strip()
            case "DAV: getcontentlength" | "DAV: getlastmodified" | "DAV: getetag":
                self._told[tag] = self._text.strip()
            case "DAV: propstat" if self._status.startswith("2"):
                self._found |= self._told
            case "DAV: propstat":
                self._status = "2"
            case "DAV: response":
                self.entries.append(self._entry())

    def _entry(self) -> Entry:
        size = self._found.get("DAV: getcontentlength", "")
        mtime_ns = seconds_of(self._found.get("DAV: getlastmodified", ""))
        return Entry(
            path=_path_of(self._found.get("DAV: href", "")),
            exists=self._status.startswith("2"),
            is_folder="DAV: collection" in self._found,
            size=int(size) if size.isdecimal() else None,
            mtime_ns=mtime_ns,
            tag=tag_of(self._found.get("DAV: getetag", ""), mtime_ns, self._date_ns),
        )


def _path_of(href: str) -> str:
    """The path in an href, which is absolute or not; decoded."""
    path = href.partition("#")[0].partition("?")[0]
    if not path.startswith("/"):
        path = urlsplit(path).path
    return unquote_to_bytes(path).decode("utf-8", "surrogateescape")


def inside(folder: str, entry: Entry) -> Facts:
    """Facts by the name in folder. Raises Mangled for an entry that would lead out of it."""
    *parents, name = parts_of(entry.path) or [""]
    if parents != parts_of(folder) or name in ("", ".", "..") or "\0" in name:
        raise Mangled(f"list: the server names {entry.path!r}, which is not in {folder!r}")
    return entry.facts(name)


def parts_of(path: str) -> list[str]:
    """The names that path is made of."""
    return [part for part in path.split("/") if part]
