import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship_movers.checksum import agrees, checksum, digest
from tranship_movers.contract import Facts, Progress, unheard
from tranship_movers.errors import (
    Busy,
    Mangled,
    Misconfigured,
    MoverError,
    NoSpace,
    Permanent,
    ReadOnly,
    SourceChanged,
    SourceGone,
    TimedOut,
    Unreachable,
)
from tranship_movers.file import FileMover
from tranship_movers.memory import Fault, Host, Kept, MemoryMover, host
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.temporary import is_part, new_token, part_name, sweep
from tranship_movers.transfer import (
    RESUMED_FROM,
    Expected,
    download,
    upload,
)

Write = Callable[[str, bytes], Path]
UNCOMPARED = MoverOptions(checksum="none")


@pytest.fixture
def there(tmp_path: Path) -> Host:
    return host(tmp_path.name)


@pytest.fixture
def mover(tmp_path: Path) -> MemoryMover:
    return MemoryMover(Place.parse(f"memory://{tmp_path.name}/"))


def test_a_receipt_says_what_is_there(mover: MemoryMover, there: Host, write: Write) -> None:
    ticks = iter([10.0, 12.5])
    source = write("a.dat", b"content")
    receipt = upload(mover, source, "/in/deep/a.dat", clock=lambda: next(ticks))
    assert there.files["/in/deep/a.dat"].content == b"content"
    assert list(there.files) == ["/in/deep/a.dat"]
    assert (receipt.name, receipt.size, receipt.seconds, receipt.how) == ("/in/deep/a.dat", 7, 2.5, "copy")
    assert agrees(source, receipt.checksum)


def test_the_hot_path_makes_no_call_too_many(mover: MemoryMover, there: Host, write: Write) -> None:
    source = write("a.dat", b"content")
    upload(mover, source, "/in/a.dat")
    there.calls.clear()
    upload(mover, source, "/in/b.dat", token=new_token())
    assert [call.split()[0] for call in there.calls] == ["put", "stat", "checksum", "rename", "stat"]


def test_no_folder_is_made_unasked(mover: MemoryMover, there: Host, write: Write) -> None:
    with pytest.raises(Permanent, match="no such folder"):
        upload(mover, write("a.dat", b"x"), "/in/a.dat", options=MoverOptions(mkdirs=False))
    assert there.folders == {"/"}


@pytest.mark.parametrize("verb", ["put", "stat", "checksum", "rename"])
@pytest.mark.parametrize("error", [Busy("later"), NoSpace("full"), Permanent("no"), TimedOut("slow")])
def test_no_fault_ends_in_success_or_leaves_anything(
    verb: str, error: MoverError, mover: MemoryMover, there: Host, write: Write
) -> None:
    upload(mover, write("a.dat", b"old"), "/in/a.dat")
    there.faults.append(Fault(verb, type(error)(error.reason), after=1 if verb == "put" else 0))
    with pytest.raises(type(error)):
        upload(mover, write("a.dat", b"new content"), "/in/a.dat", options=MoverOptions(mkdirs=False))
    assert {name: kept.content for name, kept in there.files.items()} == {"/in/a.dat": b"old"}


@pytest.mark.parametrize(("error", "told"), [(Busy, "/in/a.dat"), (NoSpace, "/in/"), (ReadOnly, "/in/")])
def test_what_fails_is_told_of_the_file_or_its_folder_and_never_of_the_temporary(
    error: type[MoverError], told: str, tmp_path: Path, write: Write
) -> None:
    class Refusing(MemoryMover):
        def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
            raise error("no", where=f"memory://host{name}")

    mover = Refusing(Place.parse(f"memory://{tmp_path.name}/"))
    with pytest.raises(error) as caught:
        upload(mover, write("a.dat", b"x"), "/in/a.dat", options=MoverOptions(mkdirs=False))
    assert caught.value.where == f"memory://host{told}"


def test_a_cut_line_is_told_and_what_it_left_is_swept(
    mover: MemoryMover, there: Host, write: Write, tmp_path: Path
) -> None:
    there.folders.add("/in")
    there.faults.append(Fault("put", Unreachable("cut"), after=1, cuts=True))
    with pytest.raises(Unreachable):
        upload(mover, write("a.dat", b"x" * 100_000), "/in/a.dat")
    assert [is_part(name.rpartition("/")[2]) for name in there.files] == [True]
    again = MemoryMover(Place.parse(f"memory://{tmp_path.name}/"))
    assert len(sweep(again, "/in")) == 1
    assert not there.files


def test_an_upload_goes_on_after_a_cut_line(
    mover: MemoryMover, there: Host, write: Write, tmp_path: Path
) -> None:
    source, token = write("a.dat", os.urandom(RESUMED_FROM * 2)), new_token()
    there.faults.append(Fault("put", Unreachable("cut"), after=RESUMED_FROM, cuts=True))
    with pytest.raises(Unreachable):
        upload(mover, source, "/a.dat", token=token)
    told: list[int] = []
    upload(
        MemoryMover(Place.parse(f"memory://{tmp_path.name}/")),
        source,
        "/a.dat",
        token=token,
        progress=told.append,
    )
    assert 0 < sum(told) < RESUMED_FROM * 1.5
    assert there.files["/a.dat"].content == source.read_bytes()


def test_another_version_never_goes_on_from_the_first(
    mover: MemoryMover, there: Host, write: Write, tmp_path: Path
) -> None:
    token = new_token()
    there.faults.append(Fault("put", Unreachable("cut"), after=RESUMED_FROM, cuts=True))
    with pytest.raises(Unreachable):
        upload(mover, write("a.dat", b"1" * RESUMED_FROM * 2), "/a.dat", token=token)
    newer, told = write("a.dat", b"2" * RESUMED_FROM * 2), list[int]()
    upload(
        MemoryMover(Place.parse(f"memory://{tmp_path.name}/")),
        newer,
        "/a.dat",
        token=token,
        progress=told.append,
    )
    assert sum(told) == RESUMED_FROM * 2


def test_a_source_that_is_gone_or_no_file_is_said(mover: MemoryMover, tmp_path: Path) -> None:
    with pytest.raises(SourceGone, match=r"absent\.dat"):
        upload(mover, tmp_path / "absent.dat", "/a.dat")
    with pytest.raises(Permanent, match="no file"):
        upload(mover, tmp_path, "/a.dat")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Permanent, match="no file"):
        upload(mover, tmp_path / "pipe", "/a.dat")


@pytest.mark.parametrize(
    "expected",
    [Expected(size=8), Expected(mtime_ns=1), Expected(checksum="sha256:00"), Expected(checksum="xxh128:00")],
)
def test_a_source_that_is_not_as_announced_is_not_sent(
    expected: Expected, mover: MemoryMover, there: Host, write: Write
) -> None:
    with pytest.raises(SourceChanged):
        upload(mover, write("a.dat", b"content"), "/a.dat", expected=expected)
    assert not there.files


def test_a_source_as_announced_is_sent(mover: MemoryMover, write: Write) -> None:
    source = write("a.dat", b"content")
    os.utime(source, ns=(5, 1_700_000_000_123_456_789))
    for algorithm in ("md5", "sha256", "xxh128"):
        expected = Expected(7, 1_700_000_000_123_456_789, checksum(source, algorithm))
        assert upload(mover, source, "/a.dat", expected=expected).checksum == expected.checksum
    upload(mover, source, "/a.dat", expected=Expected(mtime_ns=1_700_000_000_000_000_000))
    with pytest.raises(SourceChanged):
        upload(mover, source, "/a.dat", expected=Expected(mtime_ns=1_700_000_000_123_456_788))


def test_a_source_that_grows_while_it_is_sent_is_not_delivered(
    mover: MemoryMover, there: Host, write: Write
) -> None:
    source = write("a.dat", b"content")

    def grow(_: int) -> None:
        with source.open("ab") as file:
            file.write(b"more")

    with pytest.raises(SourceChanged):
        upload(mover, source, "/a.dat", progress=grow)
    assert not there.files


def test_a_source_that_is_replaced_while_it_is_sent_is_not_delivered(
    mover: MemoryMover, there: Host, write: Write
) -> None:
    source = write("a.dat", b"content")
    before = source.stat()

    def swap(_: int) -> None:
        twin = write("twin", b"CONTENT")
        os.utime(twin, ns=(before.st_atime_ns, before.st_mtime_ns))
        twin.replace(source)

    with pytest.raises(SourceChanged):
        upload(mover, source, "/a.dat", progress=swap)
    assert not there.files


class Corrupting(MemoryMover):
    """Keeps the size, changes the bytes."""

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        kept = self._host.files[name]
        self._host.files[name] = replace(kept, content=b"!" + kept.content[1:])


class Cutting(MemoryMover):
    """Loses the last byte and knows no checksums."""

    powers = replace(MemoryMover.powers, checksums=frozenset())

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        kept = self._host.files[name]
        self._host.files[name] = replace(kept, content=kept.content[:-1])


class WholeButCutting(Cutting):
    powers = replace(Cutting.powers, whole_put=True)


class Pretending(MemoryMover):
    """Says that it renamed, and did not."""

    def rename(self, old: str, new: str) -> None:
        pass


@pytest.mark.parametrize("liar", [Corrupting, Cutting, WholeButCutting, Pretending])
def test_what_arrives_otherwise_is_mangled(
    liar: type[MemoryMover], there: Host, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(Mangled):
        upload(liar(Place.parse(f"memory://{tmp_path.name}/")), write("a.dat", b"content"), "/a.dat")
    assert not [name for name in there.files if is_part(name[1:])]


def test_without_checksums_the_size_is_compared_only(there: Host, write: Write, tmp_path: Path) -> None:
    mover = Corrupting(Place.parse(f"memory://{tmp_path.name}/"))
    receipt = upload(mover, write("a.dat", b"content"), "/a.dat", options=MoverOptions(checksum="none"))
    assert receipt.checksum == ""
    assert "/a.dat" in there.files


def test_a_consumer_may_take_the_file_at_once(there: Host, write: Write, tmp_path: Path) -> None:
    class Taken(MemoryMover):
        def rename(self, old: str, new: str) -> None:
            super().rename(old, new)
            self._host.files.pop(new)

    upload(Taken(Place.parse(f"memory://{tmp_path.name}/")), write("a.dat", b"content"), "/a.dat")
    assert not there.files


def test_a_temporary_that_was_swept_meanwhile_is_no_missing_source(
    mover: MemoryMover, there: Host, write: Write
) -> None:
    there.faults.append(Fault("rename", wait=there.files.clear))
    with pytest.raises(Mangled):
        upload(mover, write("a.dat", b"content"), "/a.dat")


def test_what_progress_raises_comes_out(mover: MemoryMover, there: Host, write: Write) -> None:
    class Enough(BaseException):
        pass

    def enough(_: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        upload(mover, write("a.dat", b"content"), "/a.dat", progress=enough)
    assert not there.files


def test_a_token_has_a_form(mover: MemoryMover, write: Write) -> None:
    for token in ("x", "a-b/../c", "A-b", "a" * 17 + "-b", "a-" + "b" * 33):
        with pytest.raises(Misconfigured):
            upload(mover, write("a.dat", b"x"), "/a.dat", token=token)


@given(st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 47} & {*name}), st.integers(1, 16))
def test_a_temporary_name_fits_everywhere_and_is_known_as_one(name: bytes, owner: int) -> None:
    token = new_token("o" * owner)
    full = part_name("/in/" + os.fsdecode(name), token)
    folder, _, last = full.rpartition("/")
    assert folder == "/in"
    assert is_part(last)
    assert len(os.fsencode(last)) <= 140


@given(st.text(max_size=30))
def test_names_of_people_are_no_temporaries(name: str) -> None:
    assert not is_part(name)


def test_long_names_that_begin_alike_have_different_temporaries() -> None:
    token = new_token()
    assert part_name("/" + "n" * 100 + "1", token) != part_name("/" + "n" * 100 + "2", token)


def test_only_own_and_old_temporaries_are_swept(mover: MemoryMover, there: Host) -> None:
    day = 86_400_000_000_000
    mine, theirs, spared = new_token("mine"), new_token("theirs"), new_token("mine")
    there.folders.add("/in")
    for token, age in ((mine, 3), (theirs, 3), (spared, 3), (new_token("mine"), 1)):
        there.files[part_name("/in/a.dat", token)] = Kept(b"", 10 * day - age * day)
    there.files["/in/.a.dat.part"] = Kept(b"", 0)
    gone = sweep(
        mover, "/in", "mine", spare=[spared], older_than=timedelta(days=2), now=lambda: 10 * 86_400.0
    )
    assert gone == (part_name("/in/a.dat", mine),)
    assert len(there.files) == 4
    sweep(mover, "/in", "mine")
    assert sorted(there.files) == sorted(["/in/.a.dat.part", part_name("/in/a.dat", theirs)])


def test_a_download_is_whole_and_dated(mover: MemoryMover, there: Host, tmp_path: Path) -> None:
    there.files["/a.dat"] = Kept(b"content", 1_700_000_000_000_000_000)
    target = tmp_path / "new" / "a.dat"
    receipt = download(mover, "/a.dat", target, sync="file")
    assert target.read_bytes() == b"content"
    assert target.stat().st_mtime_ns == 1_700_000_000_000_000_000
    assert (receipt.name, receipt.size) == (str(target), 7)
    assert receipt.checksum == checksum(target, "xxh128")


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault("get", Unreachable("cut"), after=1), Unreachable),
        (Fault("checksum", Busy("later")), Busy),
        (Fault("stat", TimedOut("slow")), TimedOut),
    ],
)
def test_a_failed_download_keeps_the_old_file(
    fault: Fault, raised: type[MoverError], mover: MemoryMover, there: Host, write: Write
) -> None:
    there.files["/a.dat"] = Kept(b"new content", 0)
    target = write("down/a.dat", b"old")
    there.faults.append(replace(fault))
    with pytest.raises(raised):
        download(mover, "/a.dat", target)
    assert os.listdir(target.parent) == ["a.dat"]
    assert target.read_bytes() == b"old"


def test_a_name_that_changes_while_it_is_read_is_not_taken(
    mover: MemoryMover, there: Host, tmp_path: Path
) -> None:
    there.files["/a.dat"] = Kept(b"old", 1)

    def change(_: int) -> None:
        there.files["/a.dat"] = Kept(b"newer", 2)

    with pytest.raises((SourceChanged, Mangled)):
        download(mover, "/a.dat", tmp_path / "down" / "a.dat", progress=change)
    assert os.listdir(tmp_path / "down") == []


def test_without_checksums_a_change_is_seen_all_the_same(
    mover: MemoryMover, there: Host, tmp_path: Path
) -> None:
    there.files["/a.dat"] = Kept(b"old", 1)

    def change(_: int) -> None:
        there.files["/a.dat"] = Kept(b"new", 2)

    with pytest.raises(SourceChanged):
        download(mover, "/a.dat", tmp_path / "a.dat", options=MoverOptions(checksum="none"), progress=change)
    assert os.listdir(tmp_path) == []


def test_a_download_that_is_not_as_announced_is_not_taken(
    mover: MemoryMover, there: Host, tmp_path: Path
) -> None:
    there.files["/a.dat"] = Kept(b"content", 1)
    for expected in (Expected(size=8), Expected(mtime_ns=2), Expected(checksum="sha256:00")):
        with pytest.raises(SourceChanged):
            download(mover, "/a.dat", tmp_path / "a.dat", expected=expected)
    with pytest.raises(SourceGone):
        download(mover, "/absent.dat", tmp_path / "a.dat")
    with pytest.raises(Permanent):
        download(mover, "/", tmp_path / "a.dat")
    assert os.listdir(tmp_path) == []


def test_a_download_that_arrives_cut_is_mangled(there: Host, tmp_path: Path) -> None:
    class CutsShort(MemoryMover):
        def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
            target.write_bytes(b"cont")

    there.files["/a.dat"] = Kept(b"content", 1)
    with pytest.raises(Mangled, match="4 bytes arrived of 7"):
        download(CutsShort(Place.parse(f"memory://{tmp_path.name}/")), "/a.dat", tmp_path / "a.dat")


def test_a_download_whose_folder_is_a_file_says_so(mover: MemoryMover, there: Host, write: Write) -> None:
    there.files["/a.dat"] = Kept(b"content", 1)
    with pytest.raises(Permanent):
        download(mover, "/a.dat", write("file", b"") / "a.dat")


# Downloads that go on

SIZE = 3 * RESUMED_FROM
SETTLED = 1_234_567_890_000_000_000
BUSINESS = "owner-job"


def cut(there: Host, mover: MemoryMover, target: Path, **how: Any) -> None:
    """Two thirds of a download, and then the line is cut."""
    there.faults.append(Fault("get", Unreachable("cut"), after=SIZE * 2 // 3))
    with pytest.raises(Unreachable):
        download(mover, "/a.dat", target, token=BUSINESS, **how)


def brought(mover: MemoryMover, target: Path, **how: Any) -> int:
    """The bytes that a further attempt asks for; what arrives is whole, and all there is."""
    told: list[int] = []
    download(mover, "/a.dat", target, token=BUSINESS, progress=told.append, **how)
    assert target.read_bytes() == mover._file("/a.dat").content
    assert os.listdir(target.parent) == [target.name]
    return sum(told)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "down" / "a.dat"


@pytest.mark.parametrize("error", [Unreachable("cut"), TimedOut("slow"), Busy("later")])
def test_a_download_goes_on_after_what_says_nothing_against_its_bytes(
    error: MoverError, mover: MemoryMover, there: Host, target: Path
) -> None:
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    for third in (1, 2):
        there.faults.append(Fault("get", error, after=SIZE // 3))
        with pytest.raises(type(error)):
            download(mover, "/a.dat", target, token=BUSINESS)
        assert third * SIZE // 4 < sum(path.stat().st_size for path in target.parent.iterdir())
        assert not target.exists()
        assert all(is_part(path.name) for path in target.parent.iterdir())
    assert brought(mover, target) < SIZE // 2


@pytest.mark.parametrize("error", [NoSpace("full"), Permanent("no"), Mangled("other"), SourceChanged("new")])
def test_nothing_is_left_by_what_ends_a_download_otherwise(
    error: MoverError, mover: MemoryMover, there: Host, target: Path
) -> None:
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    there.faults.append(Fault("get", error, after=SIZE // 2))
    with pytest.raises(type(error)):
        download(mover, "/a.dat", target, token=BUSINESS)
    assert os.listdir(target.parent) == []


def test_a_download_begins_anew_with_another_version_of_the_same_size(
    mover: MemoryMover, there: Host, target: Path
) -> None:
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target, options=UNCOMPARED)
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED + 1_000_000_000)
    assert brought(mover, target, options=UNCOMPARED) == SIZE


def test_a_smaller_version_takes_away_what_was_left_of_the_larger(
    mover: MemoryMover, there: Host, target: Path
) -> None:
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target)
    there.files["/a.dat"] = Kept(b"small", SETTLED)
    assert brought(mover, target) == 5


@pytest.mark.parametrize(
    ("mtime_ns", "tag", "goes_on"),
    [
        (SETTLED, "", True),
        (SETTLED - 1_000_000_000, "", False),  # may be written to again within its second
        (SETTLED - 1_999_999_999, "", True),  # a time of less than a second
        (SETTLED - 1_000_000_000, '"tag"', True),
        (None, "", False),
        (None, '"tag"', True),
    ],
)
def test_only_a_version_that_no_other_can_be_taken_for_is_gone_on_with(
    mtime_ns: int | None, tag: str, *, goes_on: bool, there: Host, target: Path, tmp_path: Path
) -> None:
    class Telling(MemoryMover):
        def stat(self, name: str) -> Facts | None:
            facts = super().stat(name)
            return facts and replace(facts, mtime_ns=mtime_ns, tag=tag)

    def now() -> float:
        return (SETTLED if mtime_ns == SETTLED else SETTLED - 1_000_000_000) / 1e9 + 2 * (mtime_ns == SETTLED)

    mover = Telling(Place.parse(f"memory://{tmp_path.name}/"))
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target, now=now)
    assert len(os.listdir(target.parent)) == (2 if goes_on else 0)
    assert (brought(mover, target, now=now) < SIZE) == goes_on


def test_a_tag_that_changes_counts_if_the_download_may_be_gone_on_with(
    there: Host, target: Path, tmp_path: Path
) -> None:
    class Tagging(MemoryMover):
        def stat(self, name: str) -> Facts | None:
            facts = super().stat(name)
            return facts and replace(facts, tag=f'"{len(self._host.calls)}"')

    mover = Tagging(Place.parse(f"memory://{tmp_path.name}/"))
    there.files["/a.dat"] = Kept(b"small", SETTLED)
    download(mover, "/a.dat", target, token=BUSINESS)
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    with pytest.raises(SourceChanged):
        download(mover, "/a.dat", target, token=BUSINESS)
    assert os.listdir(target.parent) == ["a.dat"]


def test_with_an_announced_checksum_every_version_is_gone_on_with(
    mover: MemoryMover, there: Host, target: Path, write: Write
) -> None:
    content = os.urandom(SIZE)
    expected = Expected(checksum=checksum(write("copy", content), "xxh128"))
    there.files["/a.dat"] = Kept(content, SETTLED)
    for now in (lambda: 0.0, time.time):
        cut(there, mover, target, expected=expected, now=now)
    assert brought(mover, target, expected=expected) < SIZE


def test_a_checksum_that_comes_out_wrong_has_it_begin_anew_once(
    mover: MemoryMover, there: Host, target: Path
) -> None:
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target)
    part = next(path for path in target.parent.iterdir() if path.stat().st_size > 1000)
    part.write_bytes(b"x" * part.stat().st_size)
    assert SIZE < brought(mover, target) < 2 * SIZE
    cut(there, mover, target)
    there.calls.clear()
    with pytest.raises(SourceChanged):
        download(mover, "/a.dat", target, token=BUSINESS, expected=Expected(checksum="md5:00"))
    assert there.calls.count("get /a.dat") == 2
    assert os.listdir(target.parent) == ["a.dat"]


def test_a_version_that_comes_in_the_meantime_is_not_asked_for_twice(
    mover: MemoryMover, there: Host, target: Path
) -> None:
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target)
    there.calls.clear()

    def change(_: int) -> None:
        there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED + 1)

    with pytest.raises(SourceChanged):
        download(mover, "/a.dat", target, token=BUSINESS, progress=change)
    assert there.calls.count("get /a.dat") == 1
    assert os.listdir(target.parent) == []


def test_after_a_reboot_nothing_of_it_counts(mover: MemoryMover, there: Host, target: Path) -> None:
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target, options=UNCOMPARED)
    note = next(path for path in target.parent.iterdir() if path.stat().st_size < 1000)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot in note.read_text()
    note.write_text(note.read_text().replace(boot, "another"))
    assert brought(mover, target, options=UNCOMPARED) == SIZE


def test_bytes_that_may_have_been_written_out_of_order_are_asked_for_again(
    there: Host, target: Path, tmp_path: Path
) -> None:
    class Jumping(MemoryMover):
        powers = replace(MemoryMover.powers, resumes=RESUMED_FROM)

    mover = Jumping(Place.parse(f"memory://{tmp_path.name}/"))
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target, options=UNCOMPARED)
    part = next(path for path in target.parent.iterdir() if path.stat().st_size > 1000)
    with part.open("r+b") as file:
        file.seek(-RESUMED_FROM, os.SEEK_END)
        file.write(bytes(RESUMED_FROM))
    assert SIZE > brought(mover, target, options=UNCOMPARED) > SIZE // 3 + RESUMED_FROM // 2


def test_what_cannot_go_on_leaves_nothing_and_notes_nothing(
    there: Host, target: Path, tmp_path: Path
) -> None:
    class Plain(MemoryMover):
        powers = replace(MemoryMover.powers, resumes=None)

    mover = Plain(Place.parse(f"memory://{tmp_path.name}/"))
    there.files["/a.dat"] = Kept(os.urandom(SIZE), SETTLED)
    cut(there, mover, target)
    assert os.listdir(target.parent) == []
    assert brought(mover, target) == SIZE


@pytest.mark.parametrize("algorithm", ["xxh128", "sha256", "md5"])
def test_digests_are_those_of_the_world(algorithm: str, write: Write) -> None:
    known = {
        "xxh128": "99aa06d3014798d86001c324468d497f",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "md5": "d41d8cd98f00b204e9800998ecf8427e",
    }
    assert digest(write("empty", b""), algorithm) == known[algorithm]
    assert not agrees(write("x", b"x"), f"{algorithm}:{known[algorithm]}")
    with pytest.raises(Misconfigured, match="known are"):
        digest(write("x", b"x"), "crc7")


def test_two_uploads_of_one_name_end_with_one_of_them_whole(tmp_path: Path, write: Write) -> None:
    contents = [bytes([65 + number]) * 300_000 for number in range(4)]
    target = tmp_path / "out" / "a.dat"
    sources = [write(f"s{number}", content) for number, content in enumerate(contents)]

    def send(source: Path) -> None:
        mover = FileMover(Place.parse(f"{tmp_path}/"))
        for _ in range(5):
            upload(mover, source, str(target))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(send, sources, timeout=60)) == [None] * 4
    assert target.read_bytes() in contents
    assert os.listdir(target.parent) == ["a.dat"]


def test_facts_may_tell_no_time(there: Host, write: Write, tmp_path: Path) -> None:
    class Timeless(MemoryMover):
        def stat(self, name: str) -> Facts | None:
            facts = super().stat(name)
            return facts and replace(facts, mtime_ns=None)

    mover = Timeless(Place.parse(f"memory://{tmp_path.name}/"))
    upload(mover, write("a.dat", b"content"), "/a.dat")
    download(mover, "/a.dat", tmp_path / "b.dat", expected=Expected(mtime_ns=5))
    assert (tmp_path / "b.dat").read_bytes() == b"content"
