import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contract_suite import suite

from tranship_movers.checks import CHECKS, Ground
from tranship_movers.errors import (
    Busy,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    ReadOnly,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
    of_system,
)
from tranship_movers.file import FileMover, FileOptions
from tranship_movers.place import Place
from tranship_movers.transfer import download, upload

Write = Callable[[str, bytes], Path]
ROOT = Place.parse("/")
OTHER_FILE_SYSTEM = Path("/dev/shm")


@pytest.fixture
def mover() -> FileMover:
    return FileMover(ROOT)


@pytest.fixture
def linking() -> FileMover:
    return FileMover(ROOT, FileOptions(hard_link=True))


@pytest.fixture
def file_ground(tmp_path: Path) -> Ground:
    (tmp_path / "here").mkdir()
    return Ground(connect=lambda: FileMover(ROOT), folder=f"{tmp_path}/there", local=tmp_path / "here")


@pytest.fixture
def linking_ground(tmp_path: Path) -> Ground:
    (tmp_path / "here").mkdir()
    options = FileOptions(hard_link=True)
    return Ground(lambda: FileMover(ROOT, options), f"{tmp_path}/there", tmp_path / "here", big=1 << 20)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system."""
    if not OTHER_FILE_SYSTEM.is_dir() or OTHER_FILE_SYSTEM.stat().st_dev == Path("/").stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=OTHER_FILE_SYSTEM) as folder:
        yield Path(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, really."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("may not mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


TestFilePromises = suite(
    "file_ground",
    must=("resume", "get-on", "download-resumed", "download-mixed", "mtime", "mode", "checksums"),
)
TestLinkingPromises = suite("linking_ground", must=("checksums",))


@pytest.mark.soak
def test_two_gigabytes_arrive_whole(file_ground: Ground) -> None:
    check = next(check for check in CHECKS if check.word == "large")
    assert check.run(replace(file_ground, big=2 << 30)) == "holds"


@pytest.mark.parametrize("size", [0, 10_000, 1 << 17, (1 << 17) + 1, 3_000_000])
def test_bytes_time_and_mode_are_kept(size: int, mover: FileMover, tmp_path: Path, write: Write) -> None:
    source, target = write("a.dat", os.urandom(size)), tmp_path / "b.dat"
    source.chmod(0o640)
    os.utime(source, ns=(1, 1_234_567_890_123_456_789))
    told: list[int] = []
    assert mover.put(source, str(target), progress=told.append) in (None, "reflink")
    assert target.read_bytes() == source.read_bytes()
    assert sum(told) == size
    assert target.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert target.stat().st_mode & 0o7777 == 0o640


def test_the_umask_rules(mover: FileMover, tmp_path: Path, write: Write) -> None:
    source = write("a.dat", b"x")
    source.chmod(0o6777)
    before = os.umask(0o027)
    try:
        upload(mover, source, f"{tmp_path}/new/deep/b.dat")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "deep" / "b.dat").stat().st_mode & 0o7777 == 0o750
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o7777 == 0o750


def test_what_is_put_is_never_written_into_an_existing_file(
    mover: FileMover, tmp_path: Path, write: Write
) -> None:
    kept, source = write("kept", b"kept"), write("a.dat", b"new")
    os.link(kept, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(kept)
    mover.put(source, f"{tmp_path}/hard")
    mover.put(source, f"{tmp_path}/soft")
    mover.get(str(source), tmp_path / "soft")
    assert kept.read_bytes() == b"kept"
    assert (tmp_path / "soft").read_bytes() == b"new"


def test_copies_are_no_links_unless_asked(
    mover: FileMover, linking: FileMover, tmp_path: Path, write: Write
) -> None:
    source = write("a.dat", b"x")
    assert upload(mover, source, f"{tmp_path}/copy").how in ("copy", "reflink")
    assert upload(linking, source, f"{tmp_path}/link").how == "hard link"
    assert not os.path.samefile(source, tmp_path / "copy")
    assert os.path.samefile(source, tmp_path / "link")


def test_linking_again_leaves_no_temporary(linking: FileMover, tmp_path: Path, write: Write) -> None:
    source = write("a.dat", b"x")
    for _ in range(2):
        upload(linking, source, f"{tmp_path}/out/link")
    assert os.listdir(tmp_path / "out") == ["link"]


def test_a_symbolic_link_is_followed_before_linking(linking: FileMover, tmp_path: Path, write: Write) -> None:
    (tmp_path / "soft").symlink_to(write("a.dat", b"x"))
    upload(linking, tmp_path / "soft", f"{tmp_path}/out/link")
    assert not (tmp_path / "out" / "link").is_symlink()


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_between_file_systems_it_copies(size: int, linking: FileMover, elsewhere: Path, write: Write) -> None:
    source = write("a.dat", os.urandom(size))
    receipt = upload(linking, source, f"{elsewhere}/out/a.dat")
    assert receipt.how == "copy"
    assert (elsewhere / "out" / "a.dat").read_bytes() == source.read_bytes()
    download(linking, f"{elsewhere}/out/a.dat", source.with_name("back"))
    assert source.with_name("back").read_bytes() == source.read_bytes()


def test_a_full_disk_says_so_and_keeps_nothing(mover: FileMover, small_disk: Path, write: Write) -> None:
    upload(mover, write("old.dat", b"old"), f"{small_disk}/a.dat")
    for size in (100_000, 3_000_000):
        blocker = small_disk / "blocker"
        blocker.write_bytes(bytes(980_000))
        with pytest.raises(NoSpace):
            upload(mover, write("a.dat", os.urandom(size)), f"{small_disk}/a.dat")
        assert sorted(os.listdir(small_disk)) == ["a.dat", "blocker"]
        assert (small_disk / "a.dat").read_bytes() == b"old"
        blocker.unlink()
    upload(mover, write("a.dat", bytes(100_000)), f"{small_disk}/a.dat")
    assert (small_disk / "a.dat").stat().st_size == 100_000


@pytest.mark.parametrize("name", ["relative", "/a/../etc/passwd", "/a\0b", "..", "/\ud800"])
def test_names_that_leave_the_place_are_refused(name: str, mover: FileMover, write: Write) -> None:
    with pytest.raises(NameRefused):
        mover.put(write("a.dat", b"x"), name)
    with pytest.raises(NameRefused):
        mover.stat(name)


def test_two_dots_in_a_name_are_no_climbing(mover: FileMover, tmp_path: Path, write: Write) -> None:
    mover.put(write("a.dat", b"x"), f"{tmp_path}/a..b")
    assert (tmp_path / "a..b").exists()


def test_what_is_no_file_is_not_copied(mover: FileMover, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(Permanent, match="no file"):
            mover.put(source, f"{tmp_path}/b.dat")
    assert not (tmp_path / "b.dat").exists()


def test_folders_and_files_are_not_taken_for_each_other(
    mover: FileMover, tmp_path: Path, write: Write
) -> None:
    source, folder = write("a.dat", b"x"), tmp_path / "folder"
    folder.mkdir()
    for act in (
        lambda: mover.put(source, str(folder)),
        lambda: mover.put(source, f"{source}/below"),
        lambda: mover.remove(str(folder)),
        lambda: mover.make_folders(f"{source}/below"),
        lambda: mover.rename(str(source), f"{tmp_path}/missing/a.dat"),
        lambda: list(mover.list(str(source))),
    ):
        with pytest.raises(Permanent) as refused:
            act()
        assert not isinstance(refused.value, SourceGone)
        assert str(tmp_path) in str(refused.value)
    assert mover.stat(f"{source}/below") is None


def test_the_root_is_the_empty_name(mover: FileMover) -> None:
    facts = mover.stat("")
    assert facts is not None
    assert facts.is_folder
    assert "dev" in {facts.name for facts in mover.list("")}


def test_a_dangling_link_is_left_out_of_a_listing(mover: FileMover, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a.dat").write_bytes(b"x")
    assert [facts.name for facts in mover.list(str(tmp_path))] == ["a.dat"]


@pytest.mark.parametrize(
    ("number", "ours"),
    [
        *[
            (errno.ENOSPC, NoSpace),
            (errno.EDQUOT, NoSpace),
            (errno.EACCES, Permanent),
            (errno.EPERM, Permanent),
        ],
        *[(errno.ENOENT, SourceGone), (errno.EROFS, ReadOnly), (errno.ENAMETOOLONG, NameRefused)],
        *[(errno.EIO, Temporary), (errno.ESTALE, Unreachable), (errno.ECONNRESET, Unreachable)],
        *[
            (errno.ETIMEDOUT, TimedOut),
            (errno.EBUSY, Busy),
            (errno.EMFILE, Temporary),
            (errno.EISDIR, Permanent),
        ],
    ],
)
def test_every_number_of_the_system_has_its_meaning(number: int, ours: type[MoverError]) -> None:
    error = of_system(OSError(number, os.strerror(number)), where="file:///x")
    assert type(error) is ours
    assert os.strerror(number) in str(error)
    assert str(error).startswith("file:///x: ")
