"""The promises of a mover as runnable checks, against the real place.

    ground = Ground(connect=lambda: SftpMover(place, options), folder="/scratch", local=Path("/tmp/x"))
    for outcome in run(ground):
        print(outcome.title, outcome.verdict, outcome.told)

`folder` is made if it is missing, and holds what the checks leave: empty folders, no files.
"""

import os
import random
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tranship_movers.checksum import digest
from tranship_movers.contract import Mover, Powers
from tranship_movers.errors import (
    MoverError,
    NameRefused,
    Permanent,
    SourceGone,
    Temporary,
    Unreachable,
)
from tranship_movers.transfer import (
    RESUMED_FROM,
    download,
    new_token,
    sweep,
    upload,
)

ODD_NAMES = (
    "two words",
    "Größe-Ärger-ß",
    "日本-Ω",
    "100%",
    "a%20b",
    "a#b",
    "a+b",
    "a?b=c",
    "a&b",
    "it's",
    'say "so"',
    "-leading-dash",
    "~tilde",
    "$HOME",
    "a;b",
    "(x) [y] {z}",
    "12:30:00,5=x",
    "star*",
    "n" * 200,
)
"""Names that must work like any other."""


class Broken(Exception):
    """A promise that does not hold; the text says what was seen instead."""


@dataclass(frozen=True)
class Ground:
    """Where checks run: connect gives a new connection to the place; folder is there, local is here.

    `big` is the size of the large file, in bytes. `secret` is a text that no error may show. `word` tells one
    run's names from another's.
    """

    connect: Callable[[], Mover]
    folder: str
    local: Path
    big: int = 8 << 20
    secret: str = field(default="", repr=False)
    word: str = field(default_factory=lambda: secrets.token_hex(4))

    @contextmanager
    def line(self) -> Iterator[Mover]:
        """A connection, for the block."""
        with closing(self.connect()) as mover:
            yield mover

    def file(self, name: str, content: bytes) -> Path:
        """A local file with this content, always a new one (a hard link to the last may be at the place)."""
        path = self.local / f"{self.word}-{name}"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return path

    def beneath(self, name: str) -> "Ground":
        """The same ground, in a folder below."""
        return Ground(self.connect, f"{self.folder.rstrip('/')}/{name}", self.local, self.big, self.secret)


@dataclass(frozen=True)
class Check:
    """One promise: its title, what it needs to be offered, and how to try it."""

    title: str
    needs: Callable[[Powers], bool]
    attempt: Callable[[Ground], None]

    @property
    def word(self) -> str:
        """A short name, for folders and test ids."""
        return self.attempt.__name__.strip("_").replace("_", "-")

    def run(self, ground: Ground) -> Literal["holds", "not offered"]:
        """Try it in a folder of its own below ground's. Raises Broken, or what the mover raised."""
        own = ground.beneath(f"{self.word}-{ground.word}")
        with own.line() as mover:
            if not self.needs(mover.powers):
                return "not offered"
            if mover.powers.writing:
                mover.make_folders(own.folder)
        try:
            self.attempt(own)
        finally:
            _clear(own)
        return "holds"


@dataclass(frozen=True)
class Outcome:
    """What became of one check; `told` is empty unless it is broken."""

    title: str
    verdict: Literal["holds", "not offered", "broken"]
    told: str = ""


def run(ground: Ground, checks: Iterable[Check] | None = None) -> Iterator[Outcome]:
    """Try checks (all of them, if none are named) one after the other."""
    for check in CHECKS if checks is None else checks:
        try:
            yield Outcome(check.title, check.run(ground))
        except (Broken, MoverError) as error:
            yield Outcome(check.title, "broken", str(error))
        except Exception as error:  # noqa: BLE001 - that a foreign error comes out is what is broken
            yield Outcome(check.title, "broken", f"raised {type(error).__name__}: {error}")


Needs = Callable[[Powers], bool]


def _writing(powers: Powers) -> bool:
    return powers.writing


def _listing(powers: Powers) -> bool:
    return powers.writing and powers.listing


def _folders(powers: Powers) -> bool:
    return powers.writing and powers.listing and powers.folders


def _promise(title: str, needs: Needs = _listing) -> Callable[[Callable[[Ground], None]], Check]:
    return lambda attempt: Check(title, needs, attempt)


# Bytes and names


@_promise("what is put is got again, byte by byte", _writing)
def _round_trip(ground: Ground) -> None:
    with ground.line() as mover:
        for size in (0, 1, 10_000, 65_536, 65_537, 300_001):
            content = random.randbytes(size)
            name = f"{ground.folder}/r{size}.dat"
            mover.put(ground.file("sent", content), name)
            _expect(_read(ground, mover, name) == content, f"{size} bytes came back changed")
            _expect(_size(mover, name) == size, f"stat says {_size(mover, name)} bytes of {size}")


@_promise("names with blanks, umlauts, %, #, quotes, 200 letters are names like any other")
def _odd_names(ground: Ground) -> None:
    with ground.line() as mover:
        for name in ODD_NAMES:
            full = f"{ground.folder}/{name}"
            upload(mover, ground.file("odd", name.encode()), full)
            _expect(_read(ground, mover, full) == name.encode(), f"{name!r} came back with other bytes")
        listed = _names(mover, ground.folder)
        _expect(listed == set(ODD_NAMES), f"the listing differs by {sorted(listed ^ set(ODD_NAMES))}")
        for name in ODD_NAMES:
            mover.remove(f"{ground.folder}/{name}")
        _expect(not _names(mover, ground.folder), f"{sorted(_names(mover, ground.folder))} can't be removed")


@_promise("a name of 255 bytes can be uploaded, if the place has such names", _writing)
def _longest_name(ground: Ground) -> None:
    full = f"{ground.folder}/{'l' * 255}"
    with ground.line() as mover:
        try:
            mover.put(ground.file("long", b"plain"), full)
        except MoverError:
            return  # this place has no such names
        upload(mover, ground.file("long", b"uploaded"), full)
        _expect(_read(ground, mover, full) == b"uploaded", "the upload did not replace it")


@_promise("a name that can't be is refused as such", _writing)
def _refused_names(ground: Ground) -> None:
    with ground.line() as mover, _refusal(NameRefused, "put at a name with a NUL"):
        mover.put(ground.file("nul", b"nul"), f"{ground.folder}/a\0b")


@_promise("a line break in a name is a letter or refused, never a second command")
def _line_break(ground: Ground) -> None:
    with ground.line() as mover:
        mover.put(ground.file("victim", b"victim"), f"{ground.folder}/victim")
        name = f"x\r\nDELE {ground.folder}/victim\nrm {ground.folder}/victim".replace("/", "_")
        try:
            mover.put(ground.file("break", b"break"), f"{ground.folder}/{name}")
        except Permanent:
            pass
        else:
            back = _read(ground, mover, f"{ground.folder}/{name}")
            _expect(back == b"break", "it came back with other bytes")
        _expect(_size(mover, f"{ground.folder}/victim") == 6, "another file is gone")


@_promise("putting a shorter file over a longer one leaves nothing of the longer", _writing)
def _shorter(ground: Ground) -> None:
    name = f"{ground.folder}/shrinks.dat"
    with ground.line() as mover:
        mover.put(ground.file("longer", b"longer" * 1000), name)
        mover.put(ground.file("short", b"short"), name)
        _expect(_read(ground, mover, name) == b"short", "the old end is still there")


@_promise("progress is told, and sums up to the size", _writing)
def _progress(ground: Ground) -> None:
    source, name = ground.file("progress", random.randbytes(200_000)), f"{ground.folder}/progress.dat"
    with ground.line() as mover:
        told: list[int] = []
        mover.put(source, name, progress=told.append)
        _expect(sum(told) == 200_000, f"put told of {sum(told)} bytes of 200000")
        told = []
        mover.get(name, ground.local / f"{ground.word}-got", progress=told.append)
        _expect(sum(told) == 200_000, f"get told of {sum(told)} bytes of 200000")


@_promise("a large file arrives whole", _writing)
def _large(ground: Ground) -> None:
    source, name = ground.local / f"{ground.word}-large", f"{ground.folder}/large.dat"
    _write_large(source, ground.big)
    try:
        with ground.line() as mover:
            told: list[int] = []
            receipt = upload(mover, source, name, progress=told.append)
            _expect(sum(told) == ground.big, f"progress told of {sum(told)} bytes of {ground.big}")
            _expect(receipt.size == ground.big, f"the receipt says {receipt.size} bytes of {ground.big}")
            back = ground.local / f"{ground.word}-large-back"
            download(mover, name, back)
            _expect(digest(back, "xxh128") == digest(source, "xxh128"), "it came back with other bytes")
            os.remove(back)
    finally:
        os.remove(source)


# What is there


@_promise("a name that is not there has no facts", _writing)
def _absent(ground: Ground) -> None:
    with ground.line() as mover:
        for name in ("absent.dat", "no/such/folder/absent.dat"):
            _expect(mover.stat(f"{ground.folder}/{name}") is None, f"stat of {name} gave something")


@_promise("a listing has every name once, with its size, and tells folders from files")
def _listing_whole(ground: Ground) -> None:
    with ground.line() as mover:
        sizes = {f"l{number:02}.dat": number * 7 for number in range(25)}
        for name, size in sizes.items():
            mover.put(ground.file("listed", bytes(size)), f"{ground.folder}/{name}")
        mover.make_folders(f"{ground.folder}/sub")
        mover.put(ground.file("inner", b"inner"), f"{ground.folder}/sub/inner.dat")
        found = list(mover.list(ground.folder))
        files = [(facts.name, facts.size) for facts in found if not facts.is_folder]
        _expect(sorted(files) == sorted(sizes.items()), f"listed were {sorted(files)}")
        folders = [facts.name for facts in found if facts.is_folder]
        _expect(folders == ["sub"], f"the folders listed were {folders}")
        _expect(_names(mover, f"{ground.folder}/sub") == {"inner.dat"}, "the folder below is listed wrongly")


@_promise("stat knows a folder", _folders)
def _folder_facts(ground: Ground) -> None:
    with ground.line() as mover:
        facts = mover.stat(ground.folder)
        _expect(facts is not None and facts.is_folder, f"stat of a folder gave {facts}")
        _expect(not _names(mover, ground.folder), "an empty folder lists something")


@_promise("listing a folder that is not there is a permanent error", _folders)
def _list_missing(ground: Ground) -> None:
    with ground.line() as mover, _refusal(Permanent, "list of a missing folder"):
        list(mover.list(f"{ground.folder}/missing"))


@_promise("removing takes the name away; removing what is not there is no error", _writing)
def _remove(ground: Ground) -> None:
    name = f"{ground.folder}/removed.dat"
    with ground.line() as mover:
        mover.put(ground.file("removed", b"x"), name)
        mover.remove(name)
        _expect(mover.stat(name) is None, "it is still there")
        mover.remove(name)
        mover.remove(f"{ground.folder}/never/was.dat")


@_promise("getting what is not there says that the source is gone", _writing)
def _get_absent(ground: Ground) -> None:
    with ground.line() as mover:
        try:
            mover.get(f"{ground.folder}/absent.dat", ground.local / f"{ground.word}-absent")
        except SourceGone as error:
            shown = bool(ground.secret) and ground.secret in f"{error}{error!r}"
            _expect(not shown, "the error shows the secret")
            return
        raise Broken("get gave success")


@_promise("putting what is not there says that the source is gone, and leaves nothing", _writing)
def _put_absent(ground: Ground) -> None:
    name = f"{ground.folder}/nothing.dat"
    with ground.line() as mover:
        with _refusal(SourceGone, "put of a missing source"):
            mover.put(ground.local / "no-such-file", name)
        _expect(mover.stat(name) is None, "put of a missing source made the name")


@_promise("what one connection changes, another sees at once")
def _nothing_stale(ground: Ground) -> None:
    name = f"{ground.folder}/changing.dat"
    with ground.line() as looker, ground.line() as changer:
        for size in (3, 5, 7):
            _expect((looker.stat(name) is None) == (size == 3), "stat gave an old answer")
            changer.put(ground.file("changing", bytes(size)), name)
            _expect(_size(looker, name) == size, f"stat gave an old size, {_size(looker, name)} for {size}")
            listed = {facts.name: facts.size for facts in looker.list(ground.folder)}
            _expect(listed == {"changing.dat": size}, f"the listing is old: {listed}")
        changer.remove(name)
        _expect(looker.stat(name) is None, "stat still sees what was removed")
        _expect(not _names(looker, ground.folder), "the listing still has what was removed")


# Folders and renaming


@_promise("folders are made at any depth; making them again is no error")
def _folders_made(ground: Ground) -> None:
    deep = f"{ground.folder}/a/b b/c"
    with ground.line() as mover, ground.line() as other:
        mover.make_folders(deep)
        mover.make_folders(deep)
        other.make_folders(f"{ground.folder}/a")
        mover.put(ground.file("deep", b"deep"), f"{deep}/deep.dat")
        _expect(_names(other, deep) == {"deep.dat"}, "the file is not in the folder")
        mover.make_folders(deep)
        _expect(_names(other, deep) == {"deep.dat"}, "making the folder again emptied it")


@_promise("putting into a folder that is not there is a permanent error and leaves nothing", _folders)
def _put_in_missing_folder(ground: Ground) -> None:
    with ground.line() as mover:
        try:
            mover.put(ground.file("lost", b"lost"), f"{ground.folder}/missing/lost.dat")
        except Permanent as error:
            _expect(not isinstance(error, SourceGone | NameRefused), f"it says {type(error).__name__}")
        else:
            raise Broken("it gave success")
        _expect(mover.stat(f"{ground.folder}/missing/lost.dat") is None, "something is there")
        _expect(not _names(mover, ground.folder), f"it left {sorted(_names(mover, ground.folder))}")


@_promise("renaming replaces what has the new name", _writing)
def _rename(ground: Ground) -> None:
    old, new = f"{ground.folder}/old name.dat", f"{ground.folder}/new#name.dat"
    with ground.line() as mover:
        mover.put(ground.file("old", b"the old one"), old)
        mover.rename(old, new)
        _expect(_read(ground, mover, new) == b"the old one", "the bytes differ after renaming")
        mover.put(ground.file("newer", b"newer"), old)
        mover.rename(old, new)
        _expect(_read(ground, mover, new) == b"newer", "the name was not replaced")
        _expect(mover.stat(old) is None, "the old name is still there")


@_promise("renaming what is not there says that the source is gone, and harms nothing", _writing)
def _rename_absent(ground: Ground) -> None:
    kept = f"{ground.folder}/kept.dat"
    with ground.line() as mover:
        mover.put(ground.file("kept", b"kept"), kept)
        with _refusal(SourceGone, "rename of a missing name"):
            mover.rename(f"{ground.folder}/absent.dat", kept)
        _expect(_read(ground, mover, kept) == b"kept", "the file with the new name is gone")


# Whole or not at all


@_promise("an upload makes the folders, and tells of what is there", _writing)
def _upload(ground: Ground) -> None:
    content, name = random.randbytes(10_000), f"{ground.folder}/made/by/upload.dat"
    with ground.line() as mover:
        receipt = upload(mover, ground.file("upload", content), name)
        _expect((receipt.name, receipt.size) == (name, 10_000), f"the receipt says {receipt}")
        _expect(_read(ground, mover, name) == content, "other bytes arrived")
        if mover.powers.listing:
            left = _names(mover, f"{ground.folder}/made/by")
            _expect(left == {"upload.dat"}, f"beside it are {sorted(left)}")


@_promise("a download is whole, and leaves no temporary", _writing)
def _download(ground: Ground) -> None:
    content, name = random.randbytes(100_000), f"{ground.folder}/down.dat"
    target = ground.local / ground.word / "down.dat"
    with ground.line() as mover:
        mover.put(ground.file("down", content), name)
        download(mover, name, target, sync="file")
        _expect(target.read_bytes() == content, "other bytes arrived")
        _expect(os.listdir(target.parent) == ["down.dat"], f"beside it are {os.listdir(target.parent)}")


@_promise(
    "who reads while a file is put, broken off or replaced sees nothing, the old or the new, whole", _writing
)
def _overwrite(ground: Ground) -> None:
    name, versions = f"{ground.folder}/live.dat", (b"old!" * 80_000, b"newer" * 50_000)
    sources = [ground.file(f"v{number}", version) for number, version in enumerate(versions)]
    seen, done = _Seen(), threading.Event()
    reader = threading.Thread(target=_poll, args=(ground, name, seen, done), daemon=True)
    reader.start()
    try:
        with ground.line() as writer:
            for round_ in range(10):
                if round_ % 4 == 1:
                    _break_off(ground, sources[round_ % 2], name)
                upload(writer, sources[round_ % 2], name)
                seen.shown.set()
            seen.once.wait(60)
            replaces = writer.powers.replace
    finally:
        done.set()
        reader.join(60)
    _expect(not reader.is_alive(), "the reader hangs")
    _expect(not seen.foreign, f"the reader got {seen.foreign[:1]}")
    torn = [content for content in seen.contents if content not in versions]
    _expect(not torn, f"{len(torn)} of {len(seen.contents)} reads were torn")
    _expect(bool(seen.contents), "nothing could be read in 60 s")
    _expect(not (seen.absent and replaces), f"the name was absent {seen.absent} times")


@_promise("an upload that is broken off leaves neither the name nor a temporary")
def _broken_off(ground: Ground) -> None:
    name = f"{ground.folder}/half.dat"
    source = ground.file("half", random.randbytes(1 << 20))
    with ground.line() as mover, _refusal(_Enough, "an upload whose progress raises"):
        upload(mover, source, name, progress=_enough_after(1))
    with ground.line() as mover:
        _expect(mover.stat(name) is None, "the name is there")
        sweep(mover, ground.folder)
        left = _names(mover, ground.folder)
        _expect(not left, f"it left {sorted(left)}")
        upload(mover, source, name)
        _expect(_size(mover, name) == 1 << 20, "the next attempt did not arrive")


@_promise("putting goes on where it stopped", lambda powers: powers.append)
def _append(ground: Ground) -> None:
    content, name = random.randbytes(300_000), f"{ground.folder}/appended.dat"
    with ground.line() as mover:
        mover.put(ground.file("begun", content[:123_457]), name)
        told: list[int] = []
        mover.put(ground.file("whole", content), name, offset=123_457, progress=told.append)
        _expect(_read(ground, mover, name) == content, "other bytes are there")
        _expect(sum(told) == 300_000 - 123_457, f"{sum(told)} bytes went over")


@_promise("an upload after a cut line goes on where it stopped", lambda powers: powers.append)
def _resume(ground: Ground) -> None:
    size, token = RESUMED_FROM * 3, new_token()
    source, name = ground.file("resumed", random.randbytes(size)), f"{ground.folder}/resumed.dat"
    with ground.line() as mover, _refusal(Unreachable, "an upload over a cut line"):
        upload(mover, source, name, token=token, progress=_cut_after(size // 2))
    with ground.line() as mover:
        told: list[int] = []
        upload(mover, source, name, token=token, progress=told.append)
        _expect(sum(told) < size, "everything was sent again")
        _expect(_read(ground, mover, name) == source.read_bytes(), "other bytes arrived")
        _expect(_names(mover, ground.folder) == {"resumed.dat"}, "a temporary is left")


# What the powers say


@_promise("the modification time is kept, both ways", lambda powers: powers.mtime)
def _mtime(ground: Ground) -> None:
    source, name = ground.file("dated", b"dated"), f"{ground.folder}/dated.dat"
    os.utime(source, ns=(1_234_567_890_000_000_000,) * 2)
    with ground.line() as mover:
        upload(mover, source, name)
        facts = mover.stat(name)
        seconds = facts.mtime_ns // 1_000_000_000 if facts and facts.mtime_ns is not None else None
        _expect(seconds == 1_234_567_890, f"stat says {seconds}")
        target = ground.local / f"{ground.word}-dated-back"
        mover.get(name, target)
        _expect(int(target.stat().st_mtime) == 1_234_567_890, "get did not keep it")


@_promise("the permission bits are kept, as far as the umask lets", lambda powers: powers.mode)
def _mode(ground: Ground) -> None:
    with ground.line() as mover:
        for mode in (0o600, 0o640, 0o644):
            source, name = ground.file(f"mode{mode:o}", b"mode"), f"{ground.folder}/mode{mode:o}.dat"
            source.chmod(mode)
            upload(mover, source, name)
            facts = mover.stat(name)
            if facts is None or facts.mode is None:
                return  # the place does not tell
            _expect(facts.mode & ~mode == 0, f"{mode:o} became {facts.mode:o}")
            _expect(facts.mode & 0o700 == mode & 0o700, f"{mode:o} became {facts.mode:o}")


@_promise("checksums are those of the bytes", lambda powers: bool(powers.checksums))
def _checksums(ground: Ground) -> None:
    source, name = ground.file("summed", random.randbytes(70_000)), f"{ground.folder}/summed.dat"
    with ground.line() as mover:
        mover.put(source, name)
        for algorithm in sorted(mover.powers.checksums):
            theirs = mover.checksum(name, algorithm)
            _expect((theirs or "").lower() == digest(source, algorithm), f"{algorithm} gave {theirs}")


@_promise("a checksum that the place does not do is None", _writing)
def _no_such_checksum(ground: Ground) -> None:
    name = f"{ground.folder}/unsummed.dat"
    with ground.line() as mover:
        mover.put(ground.file("unsummed", b"x"), name)
        _expect(mover.checksum(name, "crc-of-nobody") is None, "an unknown algorithm gave something")


# Connections


@_promise("connections are independent: several at once, each to its own folder", _writing)
def _several(ground: Ground) -> None:
    failed: list[Exception] = []
    workers = [threading.Thread(target=_work, args=(ground, n, failed), daemon=True) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    _expect(not any(worker.is_alive() for worker in workers), "a connection hangs")
    _expect(not failed, f"{len(failed)} of 4 failed: {failed[:1]}")


@_promise("a connection is alive until it is closed; closing twice is no error", lambda _: True)
def _alive(ground: Ground) -> None:
    with ground.line() as other:
        mover = ground.connect()
        _expect(mover.alive(), "a new connection is not alive")
        mover.close()
        mover.close()
        _expect(not mover.alive(), "a closed connection is alive")
        _expect(other.alive(), "closing one connection closed another")


CHECKS: tuple[Check, ...] = tuple(found for found in list(globals().values()) if isinstance(found, Check))
"""Every promise, in the order in which they are best tried."""


class _Enough(Exception):
    """Raised by progress to break a transfer off."""


@dataclass
class _Seen:
    """What a polling reader saw; absent counts once the name was shown."""

    contents: list[bytes] = field(default_factory=list)
    absent: int = 0
    foreign: list[str] = field(default_factory=list)
    shown: threading.Event = field(default_factory=threading.Event)
    once: threading.Event = field(default_factory=threading.Event)


def _poll(ground: Ground, name: str, seen: _Seen, done: threading.Event) -> None:
    target = ground.local / f"{ground.word}-polled"
    with ground.line() as mover:
        while not done.is_set():
            shown = seen.shown.is_set()
            try:
                mover.get(name, target)
                seen.contents.append(target.read_bytes())
                seen.once.set()
            except SourceGone:
                seen.absent += shown
            except Temporary:
                continue  # told that it went wrong, the reader has nothing torn in hand
            except Exception as error:  # noqa: BLE001 - told by the check, in its own thread
                seen.foreign.append(f"{type(error).__name__}: {error}")
                seen.once.set()
                return


def _break_off(ground: Ground, source: Path, name: str) -> None:
    with suppress(_Enough), ground.line() as mover:
        upload(mover, source, name, progress=_enough_after(1))


def _work(ground: Ground, number: int, failed: list[Exception]) -> None:
    try:
        with ground.line() as mover:
            for file in range(6):
                content = f"{number} {file} ".encode() * 3000
                name = f"{ground.folder}/folder {number}/same-name-{file}.dat"
                upload(mover, ground.file(f"w{number}-{file}", content), name)
                target = ground.local / f"{ground.word}-w{number}-back"
                mover.get(name, target)
                _expect(target.read_bytes() == content, f"{name} holds another's bytes")
    except Exception as error:  # noqa: BLE001 - told by the check, in its own thread
        failed.append(error)


def _enough_after(size: int) -> Callable[[int], None]:
    return _raising_after(size, _Enough("broken off on purpose"))


def _cut_after(size: int) -> Callable[[int], None]:
    return _raising_after(size, Unreachable("cut on purpose"))


def _raising_after(size: int, error: Exception) -> Callable[[int], None]:
    went = [0]

    def progress(more: int) -> None:
        went[0] += more
        if went[0] >= size:
            raise error

    return progress


@contextmanager
def _refusal(kind: type[Exception], act: str) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    except MoverError as error:
        raise Broken(f"{act} raised {type(error).__name__} ({error}), not {kind.__name__}") from error
    raise Broken(f"{act} gave success")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


def _read(ground: Ground, mover: Mover, name: str) -> bytes:
    target = ground.local / f"{ground.word}-read"
    mover.get(name, target)
    return target.read_bytes()


def _size(mover: Mover, name: str) -> int | None:
    facts = mover.stat(name)
    return None if facts is None else facts.size


def _names(mover: Mover, folder: str) -> set[str]:
    return {facts.name for facts in mover.list(folder)}


def _write_large(path: Path, size: int) -> None:
    block = random.randbytes(1 << 20)
    with path.open("wb") as file:
        for number in range(-(-size // len(block))):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece[: size - number * len(block)])


def _clear(ground: Ground) -> None:
    """Remove the files of one check, as far as it works."""
    with suppress(MoverError), ground.line() as mover:
        if mover.powers.writing and mover.powers.listing:
            _clear_folder(mover, ground.folder)


def _clear_folder(mover: Mover, folder: str) -> None:
    for facts in list(mover.list(folder)):
        full = f"{folder}/{facts.name}"
        if facts.is_folder:
            _clear_folder(mover, full)
        else:
            mover.remove(full)
