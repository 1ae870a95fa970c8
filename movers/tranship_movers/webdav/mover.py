"""The verbs of a mover, at one WebDAV server."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import Field

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import MoverError, NameRefused, Permanent, SourceGone
from tranship_movers.http import Manner, download
from tranship_movers.place import Place
from tranship_movers.web.line import Ask, Body, Headers, Reply
from tranship_movers.web.meanings import on_our_side
from tranship_movers.web.options import WebOptions
from tranship_movers.web.web import REDIRECTS, Web, led, quoted
from tranship_movers.webdav.multistatus import Entry, entries_of, inside, parts_of

NS = 1_000_000_000
FRESH_NS = 5 * NS
"""A file younger than this may have its time by chance, so nothing is learned from it."""

LOOKED_INTO = frozenset({400, 403, 404, 405, 409, 500})
CUTTING = frozenset("?;")
"""Characters in a new name at which some servers cut it, even if they are encoded as they must be."""

XML: Headers = (("Content-Type", "application/xml; charset=utf-8"),)
WANTED = (
    '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:">'
    "<prop><resourcetype/><getcontentlength/><getlastmodified/><getetag/></prop></propfind>"
)
MODIFIED = (
    '<?xml version="1.0" encoding="utf-8"?><propertyupdate xmlns="DAV:">'
    "<set><prop><getlastmodified>{date}</getlastmodified></prop></set></propertyupdate>"
)
MtimeBy = Literal["unknown", "header", "property", "nobody"]

POWERS = {
    "any": Powers(replace=False, resumes=0),
    "apache": Powers(whole_put=True, replace=False, resumes=0),
    "nginx": Powers(whole_put=True, replace=True, resumes=0),
}
"""What a server is known to do. Nobody else's PUT is whole, and nobody else's MOVE replaces without a gap."""


class WebdavOptions(WebOptions):
    """What a WebDAV place can be told."""

    server: Literal["any", "apache", "nginx"] = Field(
        default="any",
        description=(
            "What stores the files (not a proxy before it). apache and nginx show a file only when it is "
            "whole, so no temporary name is needed, and nginx keeps the modification time."
        ),
    )
    keep_mtime: Literal["tried", "no"] = Field(
        default="tried", description="Whether to give files the modification time of their source."
    )


class WebdavMover:
    """One connection to a WebDAV server."""

    options = WebdavOptions

    def __init__(self, place: Place, options: WebdavOptions) -> None:
        """Connect, and ask whether WebDAV is spoken at the place's path."""
        self.powers = POWERS[options.server]
        self._options = options
        self._mtime_by: MtimeBy = "unknown" if options.keep_mtime == "tried" else "nobody"
        self._web = Web(place, options)
        try:
            with self._web.translated():
                self._check(place.path)
        except BaseException:
            self.close()
            raise

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> str | None:
        """Write the bytes of source at name, replacing what is there.

        Keeps the modification time where the server lets us; `powers.mtime` says so after the first put.
        """
        if offset:
            self._web.refuse("WebDAV can't go on with a part of a file")
        with self._web.translated():
            with on_our_side(source, absent=SourceGone):
                file = source.open("rb", buffering=0)
            with file:
                self._put(file, name, progress)
        return None

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the bytes at name into target; after a cut, go on where it was. Keeps mtime."""
        with self._web.translated():
            manner = Manner(progress, confirm="nothing" if self._options.server == "nginx" else "version")
            try:
                download(self._web, name, target, manner, offset)
            except Permanent as refused:
                # apache forbids a file that is just being replaced.
                if isinstance(refused, SourceGone) or self._stat(name) is None:
                    raise SourceGone(f"get: there is no {name!r}") from refused
                download(self._web, name, target, manner, offset)

    def stat(self, name: str) -> Facts | None:
        """What the server says of name now."""
        with self._web.translated():
            return self._stat(name)

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder. Raises Mangled if the server names something that is not in it."""
        with self._web.translated():
            entries = self._propfind(folder, "1")
            if entries is None:
                raise Permanent(f"list: there is no folder {folder!r}")
            if any(parts_of(entry.path) == parts_of(folder) and not entry.is_folder for entry in entries):
                raise Permanent(f"list: {folder!r} is a file")
            return iter(
                [inside(folder, entry) for entry in entries if parts_of(entry.path) != parts_of(folder)]
            )

    def remove(self, name: str) -> None:
        """Remove the file name. Raises Permanent for a folder: DELETE would take all that is in it, too."""
        with self._web.translated():
            facts = self._stat(name)
            if facts is None:
                return
            if facts.is_folder:
                raise Permanent(f"remove: {name!r} is a folder")
            reply = self._web.ask(Ask("DELETE", self._web.target(name)))
            reply.demand("remove", 200, 204, 404, 410)
            reply.skip()

    def rename(self, old: str, new: str) -> None:
        """Give old the name new, replacing the file that is there; Permanent if it is a folder."""
        with self._web.translated():
            cutting = next((letter for letter in new if letter in CUTTING), "")
            if not cutting:
                return self._rename(old, new)
            # A server that cuts new names there takes this one for the folder, and does no harm.
            folder, slash, name = old.rpartition("/")
            uncut = f"{folder}{slash}{cutting}{name}"
            self._rename(old, uncut)
            try:
                self._rename(uncut, new)
            except MoverError:
                self._move(uncut, old, "F")
                raise

    def make_folders(self, folder: str) -> None:
        """Make folder and its parents as far as they are missing."""
        with self._web.translated():
            parts = parts_of(folder)
            missing: list[str] = []
            while parts and not self._made("/".join(parts)):
                missing.append("/".join(parts))
                parts = parts[:-1]
            for each in reversed(missing):
                if not self._made(each):
                    raise Permanent(f"make folders: {each!r} can't be made")

    def checksum(self, name: str, algorithm: str) -> str | None:
        """None: plain WebDAV has no checksums."""
        return None

    def alive(self) -> bool:
        """Whether the server still answers."""
        return self._web.alive()

    def close(self) -> None:
        """End the connection."""
        self._web.close()

    def _check(self, path: str) -> None:
        target = self._web.target(path, tail="/" if path.endswith("/") and parts_of(path) else "")
        reply = self._web.ask(Ask("PROPFIND", target, (("Depth", "0"), *XML), Body.of(WANTED)))
        reply.skip()
        if reply.status in (200, 400, 405, 501):
            self._web.refuse(f"no WebDAV is spoken there ({reply.status})")
        if reply.status in REDIRECTS:
            there, led_to = led(self._web.home, target, reply.headers.get("location", ""))
            if there.scheme != self._web.home.scheme or led_to.rstrip("/") != target.rstrip("/"):
                self._web.refuse(
                    f"the server sends everybody on to {there}; put that URL here, if it is meant"
                )
        reply.demand("connect", 207, *REDIRECTS, 403, 404, 409, 410)

    def _put(self, file: BinaryIO, name: str, progress: Progress) -> None:
        facts = os.fstat(file.fileno())
        body = Body(file, facts.st_size, progress)
        reply = self._web.ask(Ask("PUT", self._web.target(name), self._times(facts.st_mtime_ns), body))
        reply.skip()
        if reply.status not in (200, 201, 204):
            raise self._why_not_put(name, reply)
        if self._mtime_by != "nobody":
            self._keep_mtime(name, facts.st_mtime_ns, reply)

    def _why_not_put(self, name: str, reply: Reply) -> MoverError:
        """The same fault is 400, 403, 404, 409 or 500, depending on the server."""
        if reply.status in LOOKED_INTO:
            if missing := self._without_folder(name):
                return Permanent(f"put: {missing}")
            there = self._stat(name)
            if there and there.is_folder:
                return Permanent(f"put: {name!r} is a folder")
        return _never_gone(reply.refusal("put"))

    def _without_folder(self, name: str) -> str:
        """What is wrong with the folder of name, if something is."""
        folder = "/".join(parts_of(name)[:-1])
        facts = self._stat(folder)
        if facts is None:
            return f"there is no folder {folder!r}"
        return "" if facts.is_folder else f"{folder!r} is a file"

    def _times(self, mtime_ns: int) -> Headers:
        """The headers from which a server may take the modification time; nginx takes it from Date."""
        if self._mtime_by == "nobody" or mtime_ns < 0:
            return ()
        seconds = mtime_ns // NS
        date = (("Date", formatdate(seconds, usegmt=True)),) if self._options.server == "nginx" else ()
        return (("X-OC-Mtime", str(seconds)), *date)

    def _keep_mtime(self, name: str, mtime_ns: int, reply: Reply) -> None:
        """Find out once, by looking, how the server takes a modification time, and then do it so."""
        if reply.headers.get("x-oc-mtime") == "accepted":
            self._mtime_by = "header"
        elif self._mtime_by == "property":
            self._set_mtime(name, mtime_ns)
        elif self._mtime_by == "unknown" and abs(time.time_ns() - mtime_ns) > FRESH_NS:
            self._mtime_by = self._found_out(name, mtime_ns)
        self.powers = replace(self.powers, mtime=self._mtime_by in ("header", "property"))

    def _found_out(self, name: str, mtime_ns: int) -> "MtimeBy":
        if self._has_mtime(name, mtime_ns):
            return "header"
        self._set_mtime(name, mtime_ns)
        return "property" if self._has_mtime(name, mtime_ns) else "nobody"

    def _has_mtime(self, name: str, mtime_ns: int) -> bool:
        facts = self._stat(name)
        return facts is not None and facts.mtime_ns == mtime_ns // NS * NS

    def _set_mtime(self, name: str, mtime_ns: int) -> None:
        date = formatdate(mtime_ns // NS, usegmt=True)
        self._web.ask(
            Ask("PROPPATCH", self._web.target(name), XML, Body.of(MODIFIED.format(date=date)))
        ).skip()

    def _stat(self, name: str) -> Facts | None:
        entries = self._propfind(name, "0")
        if not entries:
            return None
        return entries[0].facts(name)

    def _propfind(self, name: str, depth: Literal["0", "1"]) -> "tuple[Entry, ...] | None":
        """What the server says of name (with depth 1, of what is in it, too); None without that name."""
        for tail in ("/",) if depth == "1" else ("", "/"):
            target = self._web.target(name, tail=tail if parts_of(name) else "")
            reply = self._web.ask(Ask("PROPFIND", target, (("Depth", depth), *XML), Body.of(WANTED)))
            if reply.status not in REDIRECTS:
                break
            # A folder that was asked for without its slash.
            reply.skip()
        if reply.status != 207:
            reply.skip()
            # Below a file, apache does not understand the question.
            below_file = reply.status == 400 and bool(parts_of(name) and self._without_folder(name))
            if reply.status in (404, 410) or below_file:
                return None
        reply.demand("ask", 207)
        return tuple(entry for entry in entries_of(reply.pieces(), reply.date_ns) if entry.exists)

    def _rename(self, old: str, new: str) -> None:
        reply = self._move(old, new, "F")
        if reply.status in (409, 412):
            # Overwriting deletes what is there first, even a whole folder, even if there is no old.
            there = self._stat(new)
            if there and self._stat(old) is None:
                raise SourceGone(f"rename: there is no {old!r}")
            if there and there.is_folder:
                raise Permanent(f"rename: {new!r} is a folder")
            reply = self._move(old, new, "T" if there else "F")
        if reply.status not in (201, 204):
            raise self._why_not_moved(old, new, reply)
        if set(new) & CUTTING and self._stat(new) is None:
            raise NameRefused("rename: the server cut the new name at its ? or ;")

    def _move(self, old: str, new: str, overwrite: Literal["T", "F"]) -> Reply:
        headers = (("Destination", f"{self._web.home}{quoted(new)}"), ("Overwrite", overwrite))
        reply = self._web.ask(Ask("MOVE", self._web.target(old), headers, repeat=False))
        reply.skip()
        return reply

    def _why_not_moved(self, old: str, new: str, reply: Reply) -> MoverError:
        if reply.status in LOOKED_INTO or reply.status == 412:
            if self._stat(old) is None:
                return SourceGone(f"rename: there is no {old!r}")
            if missing := self._without_folder(new):
                return Permanent(f"rename: {missing}")
            if set(new) & CUTTING and self._stat(new) is None:
                return NameRefused("rename: the server cuts a new name at ? and ;")
        return _never_gone(reply.refusal("rename"))

    def _made(self, folder: str) -> bool:
        """Whether folder is there now; False if its parent is missing."""
        reply = self._web.ask(Ask("MKCOL", self._web.target(folder, tail="/")))
        reply.skip()
        if reply.status in (200, 201, 204):
            return True
        if reply.status in (400, 409):
            return False
        facts = self._stat(folder)
        if facts is None:
            raise _never_gone(reply.refusal("make folders"))
        if not facts.is_folder:
            raise Permanent(f"make folders: {folder!r} is a file")
        return True


def _never_gone(error: MoverError) -> MoverError:
    """SourceGone is about our source; a 404 for the other end is not."""
    return Permanent(error.reason) if isinstance(error, SourceGone) else error
