"""Whatever else fsspec knows, for reading: every scheme that has no mover of its own.

fsspec has no deadlines. So a thread of the mover makes each call into it, and is waited for; a call that takes
too long is left to itself, and the mover is of no more use.
"""

import email.utils
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol, TypeVar
from zipfile import ZIP_DEFLATED, ZIP_STORED

import fsspec
from fsspec.registry import get_filesystem_class
from pydantic import Field

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    LoginRefused,
    Mangled,
    Misconfigured,
    MoverError,
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
from tranship_movers.target import opened_at
from tranship_movers.worker import Worker

CHUNK = 1024 * 1024
UNCACHED = {"skip_instance_cache": True}
MTIMES = ("mtime", "LastModified", "last_modified", "modified", "updated")
ARCHIVES = frozenset({"zip", "tar", "libarchive"})
T = TypeVar("T")


class FileSystem(Protocol):
    """What of an fsspec file system is used here."""

    def info(self, path: str) -> Mapping[str, Any]:
        """Facts about path."""

    def ls(self, path: str, detail: bool) -> list[Mapping[str, Any]]:
        """Facts about what is in path."""

    def open(self, path: str, mode: str) -> BinaryIO:
        """The file at path."""

    def invalidate_cache(self) -> None:
        """Forget what was listed."""


class FsspecOptions(MoverOptions):
    """What a place that fsspec reaches can be told."""

    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="What the file system is told beside the URL; see fsspec's documentation of it.",
    )


class FsspecMover:
    """Reads files of a file system that fsspec knows. What would write there raises Misconfigured."""

    options = FsspecOptions

    def __init__(
        self, place: Place, options: FsspecOptions, reach: Callable[[], FileSystem] | None = None
    ) -> None:
        """Reach place; by `reach` (see `filesystem_of`), if it is given: then names are paths as it has them."""
        self.powers = Powers(writing=False, replace=False, resumes=0)
        self._place = place
        self._by_url = reach is None
        self._secrets = _secrets_of(place, options.storage_options)
        self._worker = Worker(max(options.timeout.total_seconds(), 0.001))
        try:
            self._fs = self._call(reach or (lambda: _reached(place, options.storage_options)))
        except BaseException:
            self.close()
            raise

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """Write the bytes at name into target; as many as the place says there are; all, if offset can't be had."""
        facts = self._facts(name)
        if facts.is_folder:
            raise Permanent(f"get: {name!r} is a folder", where=str(self._place))
        if facts.size < offset:
            raise SourceChanged("get: it is shorter than what came of it", where=str(self._place))
        with _on_our_side(target):
            file = opened_at(target, offset)
        with file:
            size = self._copy(name, file, target, progress)
        if size != facts.size:
            raise Mangled(f"get: {size} bytes came of {facts.size}", where=str(self._place))
        if facts.mtime_ns is not None:
            os.utime(target, ns=(facts.mtime_ns, facts.mtime_ns))

    def stat(self, name: str) -> Facts | None:
        """What the file system says of name."""
        try:
            return self._facts(name)
        except SourceGone:
            return None

    def list(self, folder: str) -> Iterator[Facts]:
        """The names in folder."""
        path = self._path(folder)
        try:
            found = self._fresh(lambda: self._fs.ls(path, detail=True))
        except SourceGone as error:
            raise Permanent(f"list: there is no folder {folder!r}", where=str(self._place)) from error
        inside = [
            entry for entry in found if _last(entry["name"]) and entry["name"].strip("/") != path.strip("/")
        ]
        if len(inside) < len(found) and any(
            entry["type"] != "directory" for entry in found if entry not in inside
        ):
            raise Permanent(f"list: {folder!r} is a file", where=str(self._place))
        return iter([_facts_of(_last(entry["name"]), entry) for entry in inside])

    def checksum(self, name: str, algorithm: str) -> str | None:
        """None: fsspec has no common checksum."""
        return None

    def alive(self) -> bool:
        """Whether no call got stuck."""
        return self._worker.is_free

    def close(self) -> None:
        """Leave the file system."""
        self._worker.close()

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> str | None:
        """Raises Misconfigured: fsspec is for reading."""
        self._only_reads()

    def remove(self, name: str) -> None:
        """Raises Misconfigured: fsspec is for reading."""
        self._only_reads()

    def rename(self, old: str, new: str) -> None:
        """Raises Misconfigured: fsspec is for reading."""
        self._only_reads()

    def make_folders(self, folder: str) -> None:
        """Raises Misconfigured: fsspec is for reading."""
        self._only_reads()

    def _only_reads(self) -> NoReturn:
        raise Misconfigured(f"{self._place.scheme} is for reading here", where=str(self._place))

    def _copy(self, name: str, file: FileIO, target: Path, progress: Progress) -> int:
        path, size = self._path(name), file.tell()
        source = self._call(lambda: self._fs.open(path, "rb"))
        if size and not self._call(lambda: _stands_at(source, size)):
            source, size = self._call(lambda: self._fs.open(path, "rb")), 0
            with _on_our_side(target):
                file.seek(0)
                file.truncate()
        while piece := self._call(lambda: source.read(CHUNK)):
            left = memoryview(piece)
            with _on_our_side(target):
                while left:
                    left = left[file.write(left) :]
            size += len(piece)
            progress(len(piece))
        self._call(source.close)
        return size

    def _facts(self, name: str) -> Facts:
        path = self._path(name)
        return _facts_of(name, self._fresh(lambda: self._fs.info(path)))

    def _path(self, name: str) -> str:
        """The name as the file system wants it: a bucket, say, is part of it."""
        if not self._by_url:
            return name
        host = self._place.host if self._place.port is None else f"{self._place.host}:{self._place.port}"
        stripped: str = get_filesystem_class(self._place.scheme)._strip_protocol(
            f"{self._place.scheme}://{host}/{name.lstrip('/')}"
        )
        return stripped

    def _fresh(self, act: Callable[[], T]) -> T:
        self._call(self._fs.invalidate_cache)
        return self._call(act)

    def _call(self, act: Callable[[], T]) -> T:
        with translated(str(self._place), self._failure):
            return self._worker.call(act)

    def _failure(self, error: Exception) -> MoverError:
        """The error that an exception of any library means: of what it stumbles over in others' bytes, too."""
        told = str(error)
        for secret in self._secrets:
            told = told.replace(secret, "***")
        if isinstance(error, OSError) and error.errno:
            return of_system(error)
        for kind, ours in FAILURES:
            if isinstance(error, kind):
                return ours(told or kind.__name__)
        name = type(error).__name__
        if re.search("auth|credential|login|permission", name, re.I):
            return LoginRefused(f"{name}: {told}")
        return Temporary(f"{name}: {told}")


FAILURES: tuple[tuple[type[Exception], type[MoverError]], ...] = (
    (FileNotFoundError, SourceGone),
    (PermissionError, Permanent),
    (IsADirectoryError, Permanent),
    (NotADirectoryError, Permanent),
    (TimeoutError, TimedOut),
    (ConnectionError, Unreachable),
    (EOFError, Unreachable),
    (OSError, Temporary),
    (ImportError, Misconfigured),
    (NotImplementedError, Misconfigured),
    (ValueError, Permanent),
)


def filesystem_of(
    text: str, schemes: Collection[str], storage_options: Mapping[str, object] | None = None
) -> Callable[[], FileSystem]:
    """What reaches the file system of a message (JSON, `AbstractFileSystem.to_json`), if it is one of schemes.

    Only the class that fsspec itself has for a scheme is made, never one that the message names; the same holds
    for file systems inside it. `storage_options` adds what a message must not hold: the secrets.
    Raises Misconfigured for anything else, and for JSON that describes none.
    """
    try:
        told = json.loads(text)
    except ValueError:
        raise Misconfigured("the file system of the message is no JSON") from None
    if not isinstance(told, dict) or "protocol" not in told:
        raise Misconfigured("the message describes no file system")
    _refuse_strangers(told, frozenset(schemes))
    described = {**told, **(storage_options or {}), **UNCACHED}
    return lambda: _made(lambda: fsspec.AbstractFileSystem.from_dict(described))


def _refuse_strangers(told: object, schemes: frozenset[str]) -> None:
    """Raise Misconfigured unless every file system in told is of schemes, and of fsspec's class for its scheme."""
    if isinstance(told, list):
        for each in told:
            _refuse_strangers(each, schemes)
    if not isinstance(told, dict):
        return
    for key in ("protocol", "target_protocol", "remote_protocol"):
        scheme = told.get(key)
        if key in told and (not isinstance(scheme, str) or scheme not in schemes):
            raise Misconfigured(f"file systems of {scheme!r} are not taken from messages")
    if "cls" in told and told["cls"] != _class_of(str(told.get("protocol"))):
        raise Misconfigured("the message names a class of its own for its file system")
    if told.get("protocol") in ARCHIVES:
        _refuse_strange_archive(told, schemes)
    for each in told.values():
        _refuse_strangers(each, schemes)


def _refuse_strange_archive(told: Mapping[str, Any], schemes: frozenset[str]) -> None:
    """An archive may lie in a file of a URL; a bare path is one of this machine. It is not written."""
    where = told.get("fo") or next(iter(told.get("args") or ()), "")
    scheme = where.partition("://")[0] if isinstance(where, str) and "://" in where else "file"
    if told.get("target_protocol", scheme) not in schemes or (isinstance(where, str) and "::" in where):
        raise Misconfigured(f"archives in {scheme!r} are not taken from messages")
    if told.get("mode", "r") != "r":
        raise Misconfigured("archives are not written by order of a message")


def _class_of(scheme: str) -> str:
    try:
        known = get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise Misconfigured(f"fsspec can't reach {scheme!r} here ({type(error).__name__})") from None
    return f"{known.__module__}:{known.__name__}"


def _reached(place: Place, storage_options: Mapping[str, object]) -> FileSystem:
    login: dict[str, object] = {"username": place.user} if place.user else {}
    if place.password:
        login["password"] = place.password.get_secret_value()

    def make() -> FileSystem:
        made = get_filesystem_class(place.scheme)
        told = {**made._get_kwargs_from_urls(str(place)), **login, **storage_options, **UNCACHED}
        reached: FileSystem = made(**told)
        return reached

    return _made(make)


def _made(make: Callable[[], FileSystem]) -> FileSystem:
    try:
        return make()
    except (ImportError, ValueError, TypeError) as error:
        raise Misconfigured(
            f"fsspec can't reach it ({type(error).__name__}); see `storage_options`"
        ) from None


def _facts_of(name: str, told: Mapping[str, Any]) -> Facts:
    if told.get("compress_type", ZIP_STORED) not in (ZIP_STORED, ZIP_DEFLATED):
        # zipfile unpacks a whole piece of these at once, and a piece may become a thousand times as large
        raise Permanent(f"{name!r} is packed by another method than deflate, which is not read")
    is_folder = told.get("type") == "directory"
    size = told.get("size")
    if size is None and not is_folder:
        raise Permanent(f"the file system does not tell the size of {name!r}")
    modified = next((told[key] for key in MTIMES if told.get(key) is not None), None)
    return Facts(name, 0 if is_folder else int(size or 0), _ns_of(modified), is_folder)


def _ns_of(moment: object) -> int | None:
    """A moment in ns since the epoch, from any of the forms that file systems give."""
    try:
        if isinstance(moment, str):
            moment = (
                datetime.fromisoformat(moment)
                if moment[:1].isdigit()
                else email.utils.parsedate_to_datetime(moment)
            )
        if isinstance(moment, datetime):
            whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return int(whole.timestamp() * 1_000_000) * 1000
    except ValueError:
        return None
    return int(moment * 1_000_000) * 1000 if isinstance(moment, int | float) else None


def _stands_at(source: BinaryIO, offset: int) -> bool:
    """Whether source goes on at offset now; closed, if it can't."""
    try:
        if source.seekable() and source.seek(offset) == offset:
            return True
    except (NotImplementedError, ValueError):  # such as io.UnsupportedOperation
        pass
    source.close()
    return False


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _secrets_of(place: Place, storage_options: Mapping[str, object]) -> frozenset[str]:
    """Every text that no error may show."""
    password = place.password.get_secret_value() if place.password else ""
    return frozenset(text for text in (password, *_texts(storage_options)) if len(text) > 3)


def _texts(told: object) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    for each in (
        told.values() if isinstance(told, Mapping) else told if isinstance(told, list | tuple) else ()
    ):
        yield from _texts(each)


@contextmanager
def _on_our_side(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(target), absent=Permanent) from error
