"""Reading through fsspec: a real SFTP server, archives, local files, and a file system that fails on command."""

import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO, UnsupportedOperation
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pytest
from pydantic import SecretStr

from servers import ssh
from servers.ssh import PASSWORD, Ssh
from tranship_movers.errors import (
    LoginRefused,
    Mangled,
    Misconfigured,
    MoverError,
    NoSpace,
    Permanent,
    SourceChanged,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
)
from tranship_movers.fsspec import FsspecMover, FsspecOptions, filesystem_of
from tranship_movers.place import Place
from tranship_movers.registry import mover_class
from tranship_movers.transfer import download

CONTENT = bytes(range(256)) * 10_000
SECONDS = 1_234_567_890


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    (made / "sub").mkdir(parents=True)
    (made / "data 1%#ü.bin").write_bytes(CONTENT)
    os.utime(made / "data 1%#ü.bin", (SECONDS, SECONDS))
    (made / "empty").touch()
    return made


def connect(url: str, reach: Any = None, **options: object) -> FsspecMover:
    return FsspecMover(Place.parse(url), FsspecOptions.model_validate({"timeout": "10 s", **options}), reach)


def failing(filesystem: "Failing", **options: object) -> FsspecMover:
    return connect("local:///", lambda: filesystem, **options)


# Real file systems


def test_a_scheme_of_fsspec_is_read(folder: Path, tmp_path: Path) -> None:
    told: list[int] = []
    with closing(connect("local:///")) as mover:
        assert mover.alive()
        facts = mover.stat(f"{folder}/data 1%#ü.bin")
        assert facts is not None
        assert (facts.size, facts.mtime_ns, facts.is_folder) == (len(CONTENT), SECONDS * 10**9, False)
        mover.get(f"{folder}/data 1%#ü.bin", tmp_path / "got", progress=told.append)
        assert (tmp_path / "got").read_bytes() == CONTENT
        assert int(os.stat(tmp_path / "got").st_mtime) == SECONDS
        assert sum(told) == len(CONTENT)
        download(mover, f"{folder}/empty", tmp_path / "nothing")
        assert (tmp_path / "nothing").read_bytes() == b""
    assert not mover.alive()


@pytest.mark.parametrize("rest", [1000, 1, 0])
def test_only_the_rest_is_read(rest: int, folder: Path, tmp_path: Path) -> None:
    told: list[int] = []
    target = tmp_path / "got"
    target.write_bytes(CONTENT[: len(CONTENT) - rest] + b"of another attempt")
    with closing(connect("local:///")) as mover:
        mover.get(f"{folder}/data 1%#ü.bin", target, offset=len(CONTENT) - rest, progress=told.append)
        assert target.read_bytes() == CONTENT
        assert sum(told) == rest
        with pytest.raises(SourceChanged):
            mover.get(f"{folder}/empty", target, offset=1)


def test_what_can_only_be_read_from_the_start_is(tmp_path: Path) -> None:
    class Stream(BytesIO):
        def seek(self, *_: int) -> int:
            raise UnsupportedOperation

    class Streaming(Failing):
        def open(self, path: str, mode: str) -> BinaryIO:
            return Stream(self.content)

    (tmp_path / "got").write_bytes(b"x of another attempt")
    with closing(failing(Streaming())) as mover:
        mover.get("/x", tmp_path / "got", offset=1)
    assert (tmp_path / "got").read_bytes() == b"abc"


def test_what_is_there_and_what_is_not(folder: Path, tmp_path: Path) -> None:
    with closing(connect("local:///")) as mover:
        assert {(f.name, f.is_folder) for f in mover.list(str(folder))} == {
            ("data 1%#ü.bin", False),
            ("empty", False),
            ("sub", True),
        }
        assert list(mover.list(f"{folder}/sub")) == []
        assert mover.stat(f"{folder}/gone") is None
        (folder / "gone").touch()
        assert mover.stat(f"{folder}/gone") is not None, "nothing is remembered"
        with pytest.raises(SourceGone):
            mover.get(f"{folder}/never", tmp_path / "got")
        for act in (lambda: mover.list(f"{folder}/never"), lambda: mover.list(f"{folder}/empty")):
            with pytest.raises(Permanent) as refused:
                act()
            assert type(refused.value) is Permanent
        with pytest.raises(Permanent):
            mover.get(f"{folder}/sub", tmp_path / "got")


def test_what_would_write_is_misconfigured(folder: Path) -> None:
    with closing(connect("local:///")) as mover:
        for act in (
            lambda: mover.put(folder / "empty", "/x"),
            lambda: mover.rename(f"{folder}/empty", "/x"),
            lambda: mover.remove(f"{folder}/empty"),
            lambda: mover.make_folders(f"{folder}/x"),
        ):
            with pytest.raises(Misconfigured):
                act()
    assert (folder / "empty").exists()


def test_the_registry_gives_every_other_scheme_to_fsspec() -> None:
    assert mover_class("github") is FsspecMover
    assert mover_class("smb") is FsspecMover
    assert mover_class("sftp") is not FsspecMover


def test_a_scheme_whose_library_is_missing_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="fsspec can't reach it"):
        connect("smb://127.0.0.1/share/")


@pytest.fixture(scope="module")
def sftp() -> Iterator[Ssh]:
    with ssh.asyncsshd() as server:
        (server.folder / "data.bin").write_bytes(CONTENT)
        yield server


def test_the_file_system_of_a_message_is_read(sftp: Ssh, tmp_path: Path) -> None:
    """As a stand-alone server of Trollmoves publishes it: the JSON of the file system, without secrets."""
    login = {"username": sftp.user, "key_filename": str(sftp.key)}
    told = {"cls": "fsspec.implementations.sftp:SFTPFileSystem", "protocol": "sftp", "args": [sftp.host]}
    reach = filesystem_of(json.dumps({**told, "port": sftp.port}), {"sftp"}, login)
    with closing(connect(f"sftp://{sftp.host}/", reach)) as mover:
        facts = mover.stat(f"{sftp.root}/data.bin")
        assert facts is not None
        assert facts.size == len(CONTENT)
        mover.get(f"{sftp.root}/data.bin", tmp_path / "got")
        assert mover.stat(f"{sftp.root}/gone") is None
    assert (tmp_path / "got").read_bytes() == CONTENT


def test_a_login_that_is_refused(sftp: Ssh) -> None:
    login = {"username": sftp.user, "password": "Wr0ng-S3cret", "look_for_keys": False, "allow_agent": False}
    told = {"cls": "fsspec.implementations.sftp:SFTPFileSystem", "protocol": "sftp", "args": [sftp.host]}
    reach = filesystem_of(json.dumps({**told, "port": sftp.port}), {"sftp"}, login)
    with pytest.raises(LoginRefused) as refused:
        connect(f"sftp://{sftp.host}/", reach)
    assert "Wr0ng" not in str(refused.value)


def test_a_member_of_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner/data.bin", CONTENT)
    told = fsspec.filesystem("zip", fo=f"file://{tmp_path}/a.zip").to_json()
    with closing(connect("zip://a.zip/", filesystem_of(told, {"zip", "file"}))) as mover:
        assert [facts.name for facts in mover.list("inner")] == ["data.bin"]
        mover.get("inner/data.bin", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT


# What is not taken from a message


MEMORY = {"cls": "fsspec.implementations.memory:MemoryFileSystem", "protocol": "memory", "args": []}
ZIP = {"cls": "fsspec.implementations.zip:ZipFileSystem", "protocol": "zip", "args": []}


@pytest.mark.parametrize(
    "told",
    [
        {**MEMORY, "protocol": "local"},
        {**MEMORY, "cls": "os:system"},
        {**MEMORY, "cls": "antigravity:x"},
        {"protocol": "local"},
        {"cls": "fsspec.implementations.local:LocalFileSystem", "args": []},
        {**ZIP, "fo": "/etc/secret.zip"},
        {**ZIP, "args": ["/etc/secret.zip"]},
        {**ZIP, "fo": "zip://x.zip::file:///etc/secret.zip"},
        {**ZIP, "fo": "/etc/secret.zip", "target_protocol": "local"},
        {**ZIP, "fo": "file:///etc/secret.zip::memory://a", "target_protocol": "memory"},
        {**ZIP, "fo": "memory://a", "mode": "w"},
        {**MEMORY, "extra": {"cls": "antigravity:x", "protocol": "memory"}},
        {**MEMORY, "extra": [{"protocol": "local"}]},
        {**MEMORY, "protocol": ["local"]},
        ["memory"],
        "memory",
    ],
    ids=str,
)
def test_a_message_gets_no_file_system_but_those_allowed(told: object) -> None:
    with pytest.raises(Misconfigured):
        filesystem_of(json.dumps(told), {"memory", "zip"})


def test_a_message_without_json() -> None:
    with pytest.raises(Misconfigured, match="no JSON"):
        filesystem_of("{", {"memory"})


def test_an_allowed_file_system_is_made_anew_each_time() -> None:
    reach = filesystem_of(json.dumps(MEMORY), {"memory"})
    assert reach() is not reach()


# Failures and deadlines


class Failing:
    """A file system that does what it is told: raises, hangs until it is let go, or gives too little."""

    def __init__(
        self, *, error: Exception | None = None, content: bytes = b"abc", size: int | None = 3
    ) -> None:
        self.error, self.content, self.size = error, content, size
        self.hangs = False
        self.let_go = threading.Event()

    def invalidate_cache(self) -> None: ...

    def info(self, path: str) -> dict[str, Any]:
        if self.hangs:
            self.let_go.wait(30)
        if self.error:
            raise self.error
        return {"name": path, "size": self.size, "type": "file", "LastModified": "2009-02-13T23:31:30+00:00"}

    def ls(self, path: str, detail: bool) -> list[dict[str, Any]]:
        return [self.info(path)]

    def open(self, path: str, mode: str) -> BinaryIO:
        return BytesIO(self.content)


class PasswordError(Exception):
    """As libraries have them: no OSError, and with a text that shows too much."""


class SomeLibraryError(Exception):
    """As libraries have them."""


class AuthenticationError(Exception):
    """As libraries have them."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError("x"), SourceGone),
        (FileNotFoundError(2, "x"), SourceGone),
        (PermissionError("x"), Permanent),
        (PermissionError(13, "x"), Permanent),
        (IsADirectoryError("x"), Permanent),
        (NotADirectoryError("x"), Permanent),
        (TimeoutError("x"), TimedOut),
        (ConnectionResetError("x"), Unreachable),
        (ConnectionRefusedError(111, "x"), Unreachable),
        (EOFError(), Unreachable),
        (OSError("x"), Temporary),
        (OSError(28, "x"), NoSpace),
        (ImportError("x"), Misconfigured),
        (NotImplementedError("x"), Misconfigured),
        (ValueError("x"), Permanent),
        (SomeLibraryError("x"), Temporary),
        (AuthenticationError("x"), LoginRefused),
    ],
    ids=repr,
)
def test_what_an_exception_means(error: Exception, kind: type[MoverError], tmp_path: Path) -> None:
    with closing(failing(Failing(error=error))) as mover, pytest.raises(MoverError) as refused:
        mover.get("/x", tmp_path / "got")
    assert type(refused.value) is kind


@pytest.mark.parametrize("error", [KeyError("x"), AttributeError("x"), RuntimeError("encrypted")], ids=repr)
def test_what_a_library_stumbles_over_is_about_the_file(error: Exception) -> None:
    with (
        closing(failing(Failing(error=error))) as mover,
        pytest.raises(Temporary, match=type(error).__name__),
    ):
        mover.stat("/x")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_zipfile_would_unpack_in_memory_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("m.dat", CONTENT)
    told = fsspec.filesystem("zip", fo=f"file://{tmp_path}/a.zip").to_json()
    with (
        closing(connect("zip://a.zip/", filesystem_of(told, {"zip", "file"}))) as mover,
        pytest.raises(Permanent, match="method"),
    ):
        mover.get("m.dat", tmp_path / "got")


def test_a_call_that_hangs_ends_at_the_deadline() -> None:
    filesystem = Failing()
    with closing(failing(filesystem, timeout="200 ms")) as mover:
        assert mover.stat("/x") is not None
        filesystem.hangs = True
        began = time.monotonic()
        with pytest.raises(TimedOut):
            mover.stat("/x")
        assert 0.1 < time.monotonic() - began < 3
        assert not mover.alive()
        filesystem.hangs = False
        filesystem.let_go.set()
        with pytest.raises(TimedOut):
            mover.stat("/x")


@pytest.mark.parametrize("content", [b"ab", b"abcd", b""])
def test_another_number_of_bytes_is_no_success(content: bytes, tmp_path: Path) -> None:
    with closing(failing(Failing(content=content))) as mover, pytest.raises(Mangled):
        mover.get("/x", tmp_path / "got")


def test_a_size_that_nobody_tells(tmp_path: Path) -> None:
    with closing(failing(Failing(size=None))) as mover, pytest.raises(Permanent, match="size"):
        mover.get("/x", tmp_path / "got")


def test_no_secret_is_in_an_error() -> None:
    secrets = {"key": "Pl4nted-K3y", "nested": {"token": "Pl4nted-T0ken"}}
    filesystem = Failing(error=PasswordError(f"can't use {PASSWORD} with Pl4nted-K3y or Pl4nted-T0ken"))
    place = Place("local", user="anna", password=SecretStr(PASSWORD))
    options = FsspecOptions.model_validate({"storage_options": secrets})
    with (
        closing(FsspecMover(place, options, lambda: filesystem)) as mover,
        pytest.raises(Temporary) as refused,
    ):
        mover.stat("/x")
    for secret in (PASSWORD, "Pl4nted-K3y", "Pl4nted-T0ken"):
        assert secret not in f"{refused.value} {refused.value!r} {options!r}"


def test_what_progress_raises_comes_out_as_it_is(folder: Path, tmp_path: Path) -> None:
    def broken(_: int) -> None:
        raise ConnectionError("mine")

    with closing(connect("local:///")) as mover, pytest.raises(ConnectionError, match="mine"):
        mover.get(f"{folder}/data 1%#ü.bin", tmp_path / "got", progress=broken)


def test_a_target_that_cannot_be_written_is_our_own_fault(folder: Path, tmp_path: Path) -> None:
    with closing(connect("local:///")) as mover:
        with pytest.raises(Permanent) as refused:
            mover.get(f"{folder}/data 1%#ü.bin", tmp_path / "no folder" / "got")
        assert type(refused.value) is Permanent
        with pytest.raises(NoSpace):
            mover.get(f"{folder}/data 1%#ü.bin", Path("/dev/full"))
