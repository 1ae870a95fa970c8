"""The scp mover against real servers, with and without SFTP, and against what a server can do wrong."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncssh
import pytest
from contract_suite import suite

from servers import ssh
from servers.proxy import Fault, Proxy, Route
from servers.ssh import PASSWORD, Ssh
from tranship_movers.checks import CHECKS, Ground
from tranship_movers.errors import (
    Misconfigured,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    SourceChanged,
    SourceGone,
    Temporary,
    TimedOut,
)
from tranship_movers.options import options_of
from tranship_movers.scp import ScpMover, ScpOptions
from tranship_movers.transfer import upload

SERVERS = {"asyncssh": ssh.asyncsshd, "sshd": lambda: ssh.sshd(sftp="off")}
"""One with SFTP, one with a shell only."""


def connect(server: Ssh, *, port: int | None = None, **options: object) -> ScpMover:
    return ScpMover(server.place("scp", port=port), options_of(ScpOptions, server.options(**options)))


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Ssh]:
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture(scope="module")
def bare() -> Iterator[Ssh]:
    """A server that has scp and a shell, but no SFTP."""
    with ssh.sshd(sftp="off") as running:
        yield running


@pytest.fixture
def ground(server: Ssh, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(server), f"{server.root}/scratch", tmp_path, secret=PASSWORD)


TestPromises = pytest.mark.usefixtures("server")(suite("ground", must=("mtime", "mode", "overwrite")))


@pytest.mark.soak
def test_more_than_two_gibibytes_arrive_whole(bare: Ssh, tmp_path: Path) -> None:
    ground = Ground(lambda: connect(bare), f"{bare.root}/big", tmp_path, big=(2 << 30) + 1)
    assert next(check for check in CHECKS if check.word == "large").run(ground) == "holds"
    shutil.rmtree(bare.folder / "big")


def source_of(tmp_path: Path, size: int) -> Path:
    path = tmp_path / f"source-{size}"
    path.write_bytes(random.randbytes(size))
    return path


@pytest.mark.parametrize(
    "name",
    ["$(touch made)", "`touch made`", "; touch made;", "'; touch made; '", "x\\' touch made", "a\ttab", "*"],
)
def test_the_shell_at_the_server_sees_every_name_as_one_word(bare: Ssh, tmp_path: Path, name: str) -> None:
    source, full = source_of(tmp_path, 100), f"{bare.root}/{name}"
    with closing(connect(bare)) as mover:
        upload(mover, source, full)
        facts = mover.stat(full)
        assert facts is not None
        assert facts.size == 100
        mover.get(full, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        assert [facts.name for facts in mover.list(bare.root)] == [name]
        mover.rename(full, f"{full} again")
        mover.remove(f"{full} again")
    assert not list(bare.folder.iterdir())
    assert not (Path.home() / "made").exists()


@pytest.mark.parametrize("name", ["two\nlines", "nul\0", "folder/", ""])
def test_a_name_that_scp_can_not_say_is_refused(bare: Ssh, tmp_path: Path, name: str) -> None:
    full = f"{bare.root}/{name}" if name else ""
    with closing(connect(bare)) as mover:
        with pytest.raises(NameRefused):
            mover.put(source_of(tmp_path, 10), full)
        with pytest.raises(NameRefused):
            mover.get(full, tmp_path / "never")


def test_a_folder_is_no_file_and_a_file_no_folder(server: Ssh, tmp_path: Path) -> None:
    (server.folder / "a-folder").mkdir()
    (server.folder / "a-file").write_bytes(b"x")
    with closing(connect(server)) as mover:
        for act in (
            lambda: mover.put(source_of(tmp_path, 10), f"{server.root}/a-folder"),
            lambda: mover.put(source_of(tmp_path, 10), f"{server.root}/a-file/below"),
            lambda: mover.get(f"{server.root}/a-folder", tmp_path / "never"),
            lambda: list(mover.list(f"{server.root}/a-file")),
            lambda: mover.make_folders(f"{server.root}/a-file"),
        ):
            with pytest.raises(Permanent) as caught:
                act()
            assert not isinstance(caught.value, SourceGone)
    assert not list((server.folder / "a-folder").iterdir())


@pytest.mark.parametrize(
    ("acts", "kind"),
    [
        ({"write": OSError(28, "No space left on device")}, NoSpace),
        ({"write": OSError(122, "Disk quota exceeded")}, NoSpace),
        ({"open": OSError(13, "Permission denied")}, Permanent),
        ({"open": OSError(36, "File name too long")}, NameRefused),
        ({"write": asyncssh.SFTPFailure("bad sector")}, Temporary),
    ],
)
def test_what_the_server_refuses_is_understood(
    acts: dict[str, Exception], kind: type[MoverError], tmp_path: Path
) -> None:
    source = source_of(tmp_path, 600_000)
    with ssh.asyncsshd(files=ssh.failing(**acts)) as server, closing(connect(server)) as mover:
        with pytest.raises(kind) as caught:
            mover.put(source, "/quota: no such file.dat")
        assert type(caught.value) is kind
        assert caught.value.where.endswith("/quota: no such file.dat")
        assert mover.alive()


def test_a_full_disk_is_an_error(bare: Ssh, tmp_path: Path) -> None:
    with ssh.small_disk(bare.folder / "small-disk") as small, closing(connect(bare)) as mover:
        with pytest.raises(NoSpace):
            upload(mover, source_of(tmp_path, 5 << 20), f"{bare.root}/small-disk/big")
        assert not list(small.iterdir())
        upload(mover, source_of(tmp_path, 1000), f"{bare.root}/small-disk/fits")


def test_a_server_without_scp_is_told_so(tmp_path: Path) -> None:
    with ssh.sshd() as server, closing(connect(server)) as mover:
        (server.work / ".bashrc").write_text("PATH=/nowhere\n")
        with pytest.raises(Misconfigured, match="no scp"):
            mover.put(source_of(tmp_path, 10), f"{server.root}/x")


def test_a_server_that_runs_no_commands_is_told_so(tmp_path: Path) -> None:
    with (
        ssh.asyncsshd(allow_scp=False) as server,
        closing(connect(server)) as mover,
        pytest.raises(Misconfigured),
    ):
        mover.put(source_of(tmp_path, 10), "/x")


def test_a_chatty_login_script_is_named_as_the_cause(tmp_path: Path) -> None:
    with ssh.sshd() as server, closing(connect(server)) as mover:
        (server.work / ".bashrc").write_text("echo Welcome\n")
        with pytest.raises(Misconfigured, match="login script"):
            mover.put(source_of(tmp_path, 10), f"{server.root}/x")


def test_a_source_that_shrinks_has_changed(server: Ssh, tmp_path: Path) -> None:
    source = source_of(tmp_path, 8 << 20)
    with closing(connect(server)) as mover:
        with pytest.raises(SourceChanged):
            mover.put(source, f"{server.root}/shrinking", progress=lambda _: os.truncate(source, 10))
        assert mover.alive()


def test_attributes_may_be_left(server: Ssh, tmp_path: Path) -> None:
    source = source_of(tmp_path, 1000)
    os.utime(source, (1_000_000, 1_000_000))
    with closing(connect(server, attributes="leave")) as mover:
        mover.put(source, f"{server.root}/left.dat")
        mover.get(f"{server.root}/left.dat", tmp_path / "back")
    assert (server.folder / "left.dat").stat().st_mtime > 1_500_000_000
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_going_on_at_an_offset_is_refused(bare: Ssh, tmp_path: Path) -> None:
    with closing(connect(bare)) as mover, pytest.raises(Misconfigured):
        mover.put(source_of(tmp_path, 10), f"{bare.root}/x", offset=5)


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_cut_copy_is_temporary(server: Ssh, tmp_path: Path, kind: str) -> None:
    source, name = source_of(tmp_path, 3_000_000), f"{server.root}/{kind}.dat"
    draw = random.Random(kind)
    failures = 0
    with Proxy(Route((server.host, server.port))) as proxy:
        server.knows(proxy.port)
        for _ in range(6):
            proxy.fault = Fault(kind, at=draw.randrange(3_000_000))  # type: ignore[arg-type]
            try:
                with closing(connect(server, port=proxy.port)) as mover:
                    upload(mover, source, name)
            except Temporary:
                failures += 1
                assert not (server.folder / f"{kind}.dat").exists()
    assert failures == 6


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_black_hole_times_out(bare: Ssh, tmp_path: Path, direction: str) -> None:
    source, name = source_of(tmp_path, 3_000_000), f"{bare.root}/swallowed"
    (bare.folder / "swallowed").write_bytes(bytes(3_000_000))
    fault = Fault("black hole", at=500_000, direction=direction)  # type: ignore[arg-type]
    with Proxy(Route((bare.host, bare.port)), fault=fault) as proxy:
        bare.knows(proxy.port)
        with closing(connect(bare, port=proxy.port, timeout="0.6 s")) as mover:
            started = time.monotonic()
            with pytest.raises(TimedOut):
                mover.put(source, name) if direction == "up" else mover.get(name, tmp_path / "back")
            assert time.monotonic() - started < 3
            assert not mover.alive()


def test_checksums_come_from_commands_if_asked_for(bare: Ssh, tmp_path: Path) -> None:
    source, name = source_of(tmp_path, 100_000), f"{bare.root}/summed"
    with closing(connect(bare, remote_checksums="sha256")) as mover:
        assert upload(mover, source, name).checksum.startswith("sha256:")
