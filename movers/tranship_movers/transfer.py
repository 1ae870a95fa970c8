"""The one safe way to use a mover: temporary name, verify, rename, or nothing at all.

At the target a name is absent, old and whole, or new and whole. A receipt means verified: the size always,
the checksum wherever the mover's powers offer one. On any failure the temporary is removed, unless the line
is dead; then it is resumed by the next attempt with the same token, or swept. A crash leaves it, too.
"""

import os
import posixpath
import stat
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tranship_movers.checksum import agrees, digest
from tranship_movers.contract import Facts, Mover, Progress, unheard
from tranship_movers.errors import (
    Busy,
    Fatal,
    Mangled,
    MoverError,
    NameRefused,
    Permanent,
    SourceChanged,
    SourceGone,
    TimedOut,
    Unreachable,
    of_system,
)
from tranship_movers.kept import Leftover, is_sure, version_of
from tranship_movers.options import MoverOptions
from tranship_movers.temporary import checked, new_token, part_name

RESUMED_FROM = 1 << 20
"""Bytes; a smaller file goes anew: asking after it, or writing down what it is, would cost more than it saves."""

_INTERRUPTED = (Unreachable, TimedOut, Busy)
"""What says nothing against the bytes that have come."""

_DEFAULTS = MoverOptions()


@dataclass(frozen=True, slots=True)
class Expected:
    """What was announced of a file; size in bytes, mtime_ns in ns since the epoch, checksum "xxh128:…".

    None and "" where the announcement does not say.
    """

    size: int | None = None
    mtime_ns: int | None = None
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A verified transfer: the full name it has now, size in bytes, seconds it took.

    `checksum` is "algorithm:hex" if it was compared, else "". `how` is "copy", "reflink" or "hard link".
    """

    name: str
    size: int
    checksum: str
    seconds: float
    how: str = "copy"


def upload(
    mover: Mover,
    source: Path,
    name: str,
    *,
    expected: Expected | None = None,
    options: MoverOptions = _DEFAULTS,
    token: str = "",
    progress: Progress = unheard,
    clock: Callable[[], float] = time.monotonic,
) -> Receipt:
    """Put the local file source at name: whole and verified, or not at all.

    `expected` is what source must still be. `options` says whether folders are made and what is compared.
    `token` ("owner-unique", see `new_token`) names the temporary: a repeat with the same one goes on where
    a cut line stopped the last. Raises SourceGone, SourceChanged, Mangled, and whatever the mover raises.
    """
    started = clock()
    before = _announced(source, expected)
    checksum = _sum_to_compare(mover, source, expected, options)
    if mover.powers.whole_put:
        how = _send(mover, source, name, 0, options, progress)
        _unchanged(source, before)
        if not mover.powers.verified:
            _confirm(mover, name, before.st_size, checksum)
    else:
        part = part_name(name, _versioned(token, before) if token else new_token())
        resumable = bool(token) and mover.powers.append and before.st_size >= RESUMED_FROM
        with _gone_on_error(mover, part, resumable=resumable), _told_of(part, name):
            offset = _kept(mover, part, before.st_size) if resumable else 0
            how = _send(mover, source, part, offset, options, progress)
            _unchanged(source, before)
            if not mover.powers.verified:
                _confirm(mover, part, before.st_size, checksum)
            _show(mover, part, name, before.st_size)
    return Receipt(name, before.st_size, checksum, clock() - started, how or "copy")


def download(
    mover: Mover,
    name: str,
    target: Path,
    *,
    expected: Expected | None = None,
    options: MoverOptions = _DEFAULTS,
    token: str = "",
    sync: Literal["none", "file"] = "none",
    progress: Progress = unheard,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> Receipt:
    """Get what is at name into the local file target: whole and verified, or not at all.

    `expected` is what name must still be. `token` ("owner-unique") names the temporary: a repeat with the same one
    goes on where a cut line or a crash stopped the last, if name is provably the same version; else it replaces what
    is left. With sync "file" the bytes and the name are on the disk on return. `now`: seconds since the epoch.
    Raises SourceGone, SourceChanged, Mangled, NoSpace, and whatever the mover raises.
    """
    started = clock()
    before = _facts(mover, name)
    if expected is not None:
        _same(before.size, before.mtime_ns, expected, name)
    left = Leftover.of(target, token)
    version = _version(mover, before, expected, options, now()) if token else ""
    if not version:
        # Servers behind one name may have tags of their own for the same bytes; that counts only if we go on.
        before = replace(before, tag="")

    def attempt(offset: int) -> str:
        with _told_of(str(left.part), str(target)):
            mover.get(name, left.part, offset=offset, progress=progress)
        checksum = _verified(mover, name, left.part, before, expected, options)
        _still(mover, name, before)
        return checksum

    try:
        with _local_errors(target):
            if options.mkdirs:
                os.makedirs(target.parent, exist_ok=True)
            offset = left.begin(version, before.size, mover.powers.resumes or 0)
        checksum = _gone_on(attempt, offset, lambda: _still(mover, name, before))
        with _local_errors(target):
            _replace(left.part, target, sync)
    except BaseException as error:
        if not (version and isinstance(error, _INTERRUPTED)):
            left.remove()
        raise
    if version:
        left.settle()
    return Receipt(str(target), before.size, checksum, clock() - started)


def _announced(source: Path, expected: Expected | None) -> os.stat_result:
    try:
        found = os.stat(source)
    except OSError as error:
        raise of_system(error, where=str(source)) from error
    if not stat.S_ISREG(found.st_mode):
        raise Permanent("is no file", where=str(source))
    if expected is not None:
        _same(found.st_size, found.st_mtime_ns, expected, str(source))
    return found


def _same(size: int, mtime_ns: int | None, expected: Expected, where: str) -> None:
    if expected.size is not None and size != expected.size:
        raise SourceChanged(f"has {size} bytes, was announced with {expected.size}", where=where)
    if expected.mtime_ns is not None and mtime_ns is not None and not _same_time(mtime_ns, expected.mtime_ns):
        raise SourceChanged("has another modification time than announced", where=where)


def _same_time(one: int, other: int) -> bool:
    # Some places keep whole seconds only.
    whole = one % 1_000_000_000 == 0 or other % 1_000_000_000 == 0
    return one // 1_000_000_000 == other // 1_000_000_000 if whole else one == other


def _sum_to_compare(mover: Mover, source: Path, expected: Expected | None, options: MoverOptions) -> str:
    """The checksum of source in an algorithm of the mover, "" if it has none; source is as announced, too."""
    if options.checksum == "none":
        return ""
    announced = expected.checksum if expected is not None else ""
    theirs = announced.partition(":")[0]
    offered = () if mover.powers.verified else mover.powers.checksums
    algorithm = _algorithm(offered, theirs, options.checksum)
    hexed = digest(source, algorithm) if algorithm else ""
    if announced:
        found = hexed if theirs == algorithm else digest(source, theirs)
        if f"{theirs}:{found}" != announced.lower():
            raise SourceChanged("has another checksum than announced", where=str(source))
    return f"{algorithm}:{hexed}" if algorithm else ""


def _algorithm(offered: Collection[str], *wanted: str) -> str:
    for algorithm in (*wanted, "xxh128", "sha256", "md5"):
        if algorithm in offered:
            return algorithm
    return ""


def _send(
    mover: Mover, source: Path, name: str, offset: int, options: MoverOptions, progress: Progress
) -> str | None:
    try:
        return mover.put(source, name, offset=offset, progress=progress)
    except (SourceGone, NameRefused):
        raise
    except Permanent:
        folder = posixpath.dirname(name)
        if not options.mkdirs or folder in ("", "/"):
            raise
        mover.make_folders(folder)
    return mover.put(source, name, progress=progress)


def _kept(mover: Mover, part: str, size: int) -> int:
    """The bytes that an earlier attempt brought over."""
    facts = mover.stat(part)
    return facts.size if facts is not None and facts.size <= size else 0


def _confirm(mover: Mover, name: str, size: int, checksum: str) -> None:
    """Raise Mangled unless what the place has at name is what was sent."""
    facts = mover.stat(name)
    if facts is None:
        raise Mangled("is not there after it was sent", where=name)
    if facts.size != size:
        raise Mangled(f"{facts.size} bytes arrived of {size}", where=name)
    if checksum:
        algorithm, _, hexed = checksum.partition(":")
        theirs = mover.checksum(name, algorithm)
        if theirs is not None and theirs.lower() != hexed:
            raise Mangled(f"arrived with another {algorithm} checksum", where=name)


def _unchanged(source: Path, before: os.stat_result) -> None:
    now = _announced(source, None)
    if (now.st_size, now.st_mtime_ns, now.st_ino) != (before.st_size, before.st_mtime_ns, before.st_ino):
        raise SourceChanged("was written to while it was sent", where=str(source))


def _show(mover: Mover, part: str, name: str, size: int) -> None:
    try:
        mover.rename(part, name)
    except SourceGone as error:
        raise Mangled("the temporary file is gone", where=part) from error
    facts = mover.stat(name)
    # A reader may have taken the new file away already; then only the temporary's absence tells.
    if (facts is None or facts.size != size) and mover.stat(part) is not None:
        raise Mangled("was not renamed although the place said so", where=name)


@contextmanager
def _gone_on_error(mover: Mover, part: str, *, resumable: bool) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not (resumable and isinstance(error, Unreachable | TimedOut)):
            with suppress(MoverError):
                if mover.alive():
                    mover.remove(part)
        raise


@contextmanager
def _told_of(part: str, name: str) -> Iterator[None]:
    """What fails is told of name, which people know, not of its temporary; what concerns the place, of its folder."""
    try:
        yield
    except MoverError as error:
        if error.where.endswith(part):
            known = name[: name.rfind("/") + 1] if isinstance(error, Fatal) else name
            error.where = error.where.removesuffix(part) + known
        raise


def _versioned(token: str, source: os.stat_result) -> str:
    # Bytes of one version must never be continued with bytes of another.
    return f"{checked(token)}{zlib.crc32(f'{source.st_size} {source.st_mtime_ns}'.encode()):08x}"


def _facts(mover: Mover, name: str) -> Facts:
    facts = mover.stat(name)
    if facts is None:
        raise SourceGone("there is no such name", where=name)
    if facts.is_folder:
        raise Permanent("is a folder", where=name)
    return facts


def _version(mover: Mover, facts: Facts, expected: Expected | None, options: MoverOptions, now: float) -> str:
    """What tells which bytes a later attempt may go on with, "" for none."""
    if mover.powers.resumes is None or facts.size < RESUMED_FROM:
        return ""
    # Bytes of two versions can't have the announced checksum.
    compared = expected is not None and bool(expected.checksum) and options.checksum != "none"
    return version_of(facts, mover.powers.resumes) if compared or is_sure(facts, now) else ""


def _gone_on(attempt: Callable[[int], str], offset: int, unchanged: Callable[[], None]) -> str:
    """What attempt gives at offset; if that can't be gone on with although name is unchanged, from the start."""
    try:
        return attempt(offset)
    except (Mangled, SourceChanged, Permanent):
        if not offset:
            raise
    unchanged()
    return attempt(0)


def _verified(
    mover: Mover, name: str, part: Path, facts: Facts, expected: Expected | None, options: MoverOptions
) -> str:
    """The checksum that was compared, or "". Raises SourceChanged or Mangled unless part is whole."""
    try:
        size = os.stat(part).st_size
    except FileNotFoundError:
        raise Mangled("the temporary file is gone", where=str(part)) from None
    if size != facts.size:
        _still(mover, name, facts)
        raise Mangled(f"{size} bytes arrived of {facts.size}", where=name)
    if options.checksum == "none":
        return ""
    if expected is not None and expected.checksum:
        if not agrees(part, expected.checksum):
            raise SourceChanged("has another checksum than announced", where=name)
        return expected.checksum.lower()
    algorithm = _algorithm(mover.powers.checksums, options.checksum)
    theirs = mover.checksum(name, algorithm) if algorithm else None
    if theirs is None:
        return ""
    if not agrees(part, f"{algorithm}:{theirs}"):
        raise Mangled(f"arrived with another {algorithm} checksum", where=name)
    return f"{algorithm}:{theirs.lower()}"


def _still(mover: Mover, name: str, before: Facts) -> None:
    now = _facts(mover, name)
    other_tag = now.tag and before.tag and now.tag != before.tag
    if other_tag or (now.size, now.mtime_ns) != (before.size, before.mtime_ns):
        raise SourceChanged("was written to while it was read", where=name)


def _replace(part: Path, target: Path, sync: Literal["none", "file"]) -> None:
    if sync == "file":
        _to_disk(part)
    os.replace(part, target)
    if sync == "file":
        _to_disk(target.parent)


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _local_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(path), absent=Permanent) from error
