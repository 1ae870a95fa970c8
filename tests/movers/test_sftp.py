"""The SFTP mover against real servers, and against what a server or a line can do wrong."""

import hashlib
import logging
import os
import random
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import asyncssh
import paramiko
import pytest
from contract_suite import suite
from paramiko.ssh_exception import IncompatiblePeer

from servers import ssh
from servers.proxy import Fault, Proxy, Route
from servers.ssh import PASSWORD, Ssh
from stage import wait_for
from tranship_movers.checks import CHECKS, Check, Ground
from tranship_movers.errors import (
    Busy,
    HostUnproven,
    LoginRefused,
    Mangled,
    Misconfigured,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    ReadOnly,
    SourceChanged,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
)
from tranship_movers.options import options_of
from tranship_movers.sftp import SftpMover, SftpOptions
from tranship_movers.sftp.conversation import SAFE_REQUEST
from tranship_movers.sftp.meanings import Unexplained, refusal
from tranship_movers.ssh import failure
from tranship_movers.ssh.wire import BLOCK, Wire
from tranship_movers.temporary import new_token
from tranship_movers.transfer import upload


def connect(server: Ssh, *, password: str = "", port: int | None = None, **options: object) -> SftpMover:
    settings = server.options(**options)
    if password:
        del settings["key_files"]
    place = server.place(password=password, port=port)
    return SftpMover(place, options_of(SftpOptions, settings))


@pytest.fixture(scope="module", params=ssh.SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Ssh]:
    with ssh.SERVERS[request.param]() as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Ssh]:
    """A server with a password as well, for what is the same at every one."""
    with ssh.asyncsshd() as running:
        yield running


@pytest.fixture(scope="module")
def openssh() -> Iterator[Ssh]:
    with ssh.sshd() as running:
        yield running


@pytest.fixture
def ground(server: Ssh, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(server), f"{server.root}/scratch", tmp_path, secret=PASSWORD)


@pytest.fixture(scope="module")
def clone() -> Iterator[Ssh]:
    with ssh.rclone() as running:
        yield running


@pytest.fixture
def clone_ground(clone: Ssh, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(clone), "/scratch", tmp_path, secret=PASSWORD)


# rclone gives who opened the old file bytes of the new one, if it is replaced meanwhile
@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.word != "overwrite"], ids=lambda check: check.word
)
def test_clone_promises(check: Check, clone_ground: Ground) -> None:
    assert check.run(clone_ground) in ("holds", "not offered")


TestPromises = pytest.mark.usefixtures("server")(
    suite(
        "ground",
        must=("resume", "get-on", "download-resumed", "download-mixed", "mtime", "mode", "overwrite"),
    )
)


@pytest.mark.soak
def test_more_than_two_gibibytes_arrive_whole(openssh: Ssh, tmp_path: Path) -> None:
    ground = Ground(lambda: connect(openssh), f"{openssh.root}/big", tmp_path, big=(2 << 30) + 1)
    assert next(check for check in CHECKS if check.word == "large").run(ground) == "holds"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def source_of(tmp_path: Path, size: int) -> Path:
    path = tmp_path / f"source-{size}"
    path.write_bytes(random.randbytes(size))
    return path


LATE = """\
import shutil, struct, subprocess, sys, threading
server = subprocess.Popen(["/usr/lib/openssh/sftp-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def up():
    while data := sys.stdin.buffer.raw.read(1 << 16):
        server.stdin.write(data)
        server.stdin.flush()
    server.stdin.close()
threading.Thread(target=up, daemon=True).start()
held = False
while head := server.stdout.read(4):
    packet = server.stdout.read(struct.unpack(">I", head)[0])
    if packet[0] == 103 and not held:  # data
        held = True
    else:
        sys.stdout.buffer.write(head + packet)
        sys.stdout.buffer.flush()
"""
"""OpenSSH's server, but for the first data, which never come."""


def test_replies_in_any_order_leave_no_gap_further_back_than_is_told(tmp_path: Path) -> None:
    source, target, script = source_of(tmp_path, 8 << 20), tmp_path / "target", tmp_path / "late.py"
    script.write_text(LATE)
    with ssh.sshd(sftp="off", lines=[f"Subsystem sftp {sys.executable} {script}"]) as server:
        (server.folder / "large").write_bytes(source.read_bytes())
        mover = connect(server, timeout="2 s")
        with closing(mover), pytest.raises(TimedOut):
            mover.get(f"{server.root}/large", target)
        assert mover.powers.resumes is not None
        assert 1 << 20 < target.stat().st_size <= mover.powers.resumes


# Who the host is


def test_an_unknown_host_is_refused_and_its_key_is_told(plain: Ssh, tmp_path: Path) -> None:
    with pytest.raises(HostUnproven, match=plain.fingerprint.replace("+", r"\+")):
        connect(plain, known_hosts=str(tmp_path / "none"))


def test_an_unknown_host_is_remembered_if_that_is_spelled_out(plain: Ssh, tmp_path: Path) -> None:
    known = tmp_path / "ssh" / "known_hosts"
    connect(plain, known_hosts=str(known), unknown_host="remember").close()
    connect(plain, known_hosts=str(known)).close()
    assert len(known.read_text().splitlines()) == 1


def test_an_unknown_host_is_accepted_if_that_is_spelled_out(plain: Ssh, tmp_path: Path) -> None:
    connect(plain, known_hosts=str(tmp_path / "none"), unknown_host="accept").close()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("unknown", ["refuse", "remember", "accept"])
def test_a_host_with_another_key_than_the_known_one_is_refused(
    plain: Ssh, tmp_path: Path, unknown: str
) -> None:
    other = ssh.make_key(tmp_path / "other").with_suffix(".pub").read_text()
    known = tmp_path / "known"
    known.write_text(f"[{plain.host}]:{plain.port} {other}")
    with pytest.raises(HostUnproven, match="not the one"):
        connect(plain, known_hosts=str(known), unknown_host=unknown)


def test_a_revoked_key_is_refused(plain: Ssh, tmp_path: Path) -> None:
    line = plain.known_hosts.read_text().splitlines()[0]
    known = tmp_path / "known"
    known.write_text(f"{line}\n@revoked * {line.split(maxsplit=1)[1]}\n")
    with pytest.raises(HostUnproven, match="revoked"):
        connect(plain, known_hosts=str(known))


@pytest.mark.parametrize("form", ["hashed", "wildcard", "second of two"])
def test_every_form_of_a_known_host_is_understood(plain: Ssh, tmp_path: Path, form: str) -> None:
    key = plain.known_hosts.read_text().splitlines()[0].split(maxsplit=1)[1]
    other = ssh.make_key(tmp_path / "other").with_suffix(".pub").read_text()
    name = f"[{plain.host}]:{plain.port}"
    text = {
        "hashed": f"{paramiko.HostKeys.hash_host(name)} {key}\n",
        "wildcard": f"!elsewhere,[127.0.*]:* {key}\n",
        "second of two": f"# two keys\n{name} {other}\n{name} {key}\n",
    }[form]
    (tmp_path / "known").write_text(text)
    connect(plain, known_hosts=str(tmp_path / "known")).close()


def test_a_pinned_fingerprint_decides(plain: Ssh, tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    connect(plain, known_hosts=none, fingerprint=plain.fingerprint).close()
    with pytest.raises(HostUnproven, match="pinned"):
        connect(plain, known_hosts=none, fingerprint="SHA256:" + "A" * 43, unknown_host="accept")


# Who we are


def test_a_password_logs_in(plain: Ssh) -> None:
    with closing(connect(plain, password=PASSWORD)) as mover:
        assert mover.alive()


def test_a_wrong_password_is_refused_and_not_shown(plain: Ssh, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "An0ther-S3cret"
    with pytest.raises(LoginRefused) as caught:
        connect(plain, password=wrong)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
    assert "password" in str(caught.value)
    assert "paramiko" in caplog.text
    assert wrong not in told


def test_the_planted_password_is_in_no_log_and_no_error(plain: Ssh, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with closing(connect(plain, password=PASSWORD)) as mover, pytest.raises(SourceGone) as caught:
        mover.get("/absent", Path("never"))
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(mover.__dict__)
    assert "userauth" in caplog.text
    assert PASSWORD not in told


def test_another_key_is_refused(plain: Ssh, tmp_path: Path) -> None:
    with pytest.raises(LoginRefused):
        connect(plain, key_files=str(ssh.make_key(tmp_path / "stranger")))


def test_the_second_key_is_tried(plain: Ssh, tmp_path: Path) -> None:
    connect(plain, key_files=[str(ssh.make_key(tmp_path / "stranger")), str(plain.key)]).close()


def test_nothing_to_log_in_with_is_said(plain: Ssh) -> None:
    with pytest.raises(LoginRefused, match="no key and no password is given"):
        connect(plain, key_files=(), agent="ignore")


def test_a_key_may_have_a_passphrase(plain: Ssh, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    asyncssh.read_private_key(plain.key).write_private_key(
        locked, passphrase=PASSWORD, rounds=1, ignore_few_rounds=True
    )
    words = tmp_path / "words"
    words.write_text(f"{PASSWORD}\n")
    connect(plain, key_files=str(locked), passphrase_file=str(words)).close()
    with pytest.raises(Misconfigured, match="passphrase"):
        connect(plain, key_files=str(locked))
    words.write_text("something else")
    with pytest.raises(Misconfigured, match="passphrase"):
        connect(plain, key_files=str(locked), passphrase_file=str(words))


@pytest.mark.parametrize("option", ["key_files", "passphrase_file"])
def test_a_file_that_is_not_there_is_named(plain: Ssh, tmp_path: Path, option: str) -> None:
    with pytest.raises(Misconfigured, match=f"`{option}`.*absent"):
        connect(plain, **{option: str(tmp_path / "absent")})


def test_the_agent_logs_in(plain: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    with ssh.agent(plain.key) as socket_path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
        connect(plain, key_files=()).close()


def test_the_own_key_logs_in_if_nothing_is_named(
    plain: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_bytes(plain.key.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    connect(plain, key_files=()).close()
    with pytest.raises(LoginRefused):
        connect(plain, key_files=(), agent="ignore")


# Options


def test_the_names_of_trollmoves_are_understood() -> None:
    theirs = {"ssh_key_filename": "/k", "ssh_connection_timeout": 7, "connection_uptime": 60}
    options = options_of(SftpOptions, theirs)
    assert options.key_files == (Path("/k"),)
    assert options.connect_timeout == timedelta(seconds=7)
    assert options.connection_uptime == timedelta(seconds=60)
    assert options_of(SftpOptions, {"ssh_private_key_file": "/p"}).key_files == (Path("/p"),)


def test_an_unknown_cipher_is_named(plain: Ssh) -> None:
    with pytest.raises(Misconfigured, match="rot13"):
        connect(plain, ciphers="rot13")


@pytest.mark.parametrize("compression", ["none", "zlib"])
@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr"])
def test_each_cipher_and_compression_brings_the_bytes(
    plain: Ssh, tmp_path: Path, cipher: str, compression: str
) -> None:
    source = source_of(tmp_path, 1_400_000)
    with closing(connect(plain, ciphers=cipher, compression=compression, window=1 << 15)) as mover:
        mover.put(source, "/ciphered")
        mover.get("/ciphered", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_what_comes_while_nobody_takes_it_waits_and_harms_nothing(openssh: Ssh) -> None:
    source = source_of(openssh.folder, 4 << 20)
    whole = source.read_bytes()
    with closing(connect(openssh, window=8 << 20)) as mover:
        stream = mover._line.execute(f"cat {source}")
        first = stream.receive(1000)
        # paramiko's thread reads meanwhile, and makes more room.
        wait_for(lambda: len(stream._way) > 2 * BLOCK, "the rest")
        assert bytes(first) == whole[: len(first)]
        rest = b"".join(map(bytes, iter(stream.receive, b"")))
    assert whole == whole[: len(first)] + rest


# Deadlines


@pytest.mark.parametrize("option", ["timeout", "connect_timeout"])
def test_a_port_that_says_nothing_times_out(plain: Ssh, option: str) -> None:
    with closing(socket.create_server((plain.host, 0))) as silent, within(3), pytest.raises(TimedOut):
        connect(plain, port=silent.getsockname()[1], **{option: "0.3 s"})


def test_a_full_backlog_times_out(plain: Ssh) -> None:
    with closing(socket.create_server((plain.host, 0), backlog=0)) as silent:
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        with within(3), pytest.raises(TimedOut):
            connect(plain, port=silent.getsockname()[1], timeout="0.3 s")
        for one in crowd:
            one.close()


def test_a_closed_port_is_unreachable(plain: Ssh) -> None:
    with within(3), pytest.raises(Unreachable):
        connect(plain, port=ssh.free_port())


def test_what_is_no_ssh_is_unreachable(plain: Ssh) -> None:
    with closing(socket.create_server((plain.host, 0))) as other:

        def answer() -> None:
            caller, _ = other.accept()
            with caller:
                caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                caller.recv(100)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with within(5), pytest.raises(Unreachable):
            connect(plain, port=other.getsockname()[1], timeout="3 s")
        thread.join(5)


@pytest.mark.parametrize("at", [10, 1000, 2500, 200_000])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_black_hole_times_out_wherever_it_opens(
    plain: Ssh, tmp_path: Path, at: int, direction: str
) -> None:
    source = source_of(tmp_path, 3_000_000)
    with Proxy(Route((plain.host, plain.port))) as proxy:
        plain.knows(proxy.port)
        proxy.fault = Fault("black hole", at=at, direction=direction)  # type: ignore[arg-type]
        with within(4), pytest.raises(TimedOut):
            round_trips(plain, proxy.port, source)


def round_trips(server: Ssh, port: int, source: Path) -> None:
    with closing(connect(server, port=port, timeout="0.4 s")) as mover:
        mover.put(source, "/swallowed")
        mover.get("/swallowed", source.with_name("back"))


def test_a_line_that_timed_out_is_not_alive_and_says_so_at_once(plain: Ssh, tmp_path: Path) -> None:
    source = source_of(tmp_path, 100_000)
    with Proxy(Route((plain.host, plain.port)), fault=Fault("black hole", at=50_000)) as proxy:
        plain.knows(proxy.port)
        with closing(connect(plain, port=proxy.port, timeout="0.4 s")) as mover:
            with pytest.raises(TimedOut):
                mover.put(source, "/dead")
            with within(0.2):
                assert not mover.alive()


def test_a_peer_that_stops_reading_ends_a_write_in_time() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.settimeout(0.05)
        wire = Wire(ours)
        wire.patience = 0.3
        with within(2), pytest.raises(TimeoutError):
            wire.write_all(bytes(64 << 20))


# Faults of the line


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_cut_upload_is_temporary_and_the_next_one_leaves_only_the_file(
    server: Ssh, tmp_path: Path, kind: str
) -> None:
    source = source_of(tmp_path, 2_000_000)
    folder = f"{server.root}/{kind}"
    draw = random.Random(kind)
    failures = 0
    with Proxy(Route((server.host, server.port))) as proxy:
        server.knows(proxy.port)
        for number in range(6):
            name, token = f"{folder}/{number}.dat", new_token()
            proxy.fault = Fault(kind, at=draw.randrange(2_100_000))  # type: ignore[arg-type]
            try:
                with closing(connect(server, port=proxy.port)) as mover:
                    upload(mover, source, name, token=token)
            except Temporary:
                failures += 1
            proxy.fault = Fault()
            with closing(connect(server, port=proxy.port)) as mover:
                upload(mover, source, name, token=token)
    assert failures > 2
    left = {path.name for path in (server.folder / kind).iterdir()}
    assert left == {f"{number}.dat" for number in range(6)}
    assert {path.read_bytes() == source.read_bytes() for path in (server.folder / kind).iterdir()} == {True}


@pytest.mark.parametrize("kind", ["drip", "short", "stall"])
def test_a_bad_line_that_still_carries_carries(plain: Ssh, tmp_path: Path, kind: str) -> None:
    source = source_of(tmp_path, 20_000)
    with Proxy(Route((plain.host, plain.port)), fault=Fault(kind, at=3000)) as proxy:  # type: ignore[arg-type]
        plain.knows(proxy.port)
        with closing(connect(plain, port=proxy.port)) as mover:
            upload(mover, source, f"/{kind}.dat")
    assert (plain.folder / f"{kind}.dat").read_bytes() == source.read_bytes()


def test_a_server_that_goes_away_is_unreachable(tmp_path: Path) -> None:
    with ssh.asyncsshd() as server:
        mover = connect(server)
    with within(2), pytest.raises(Unreachable):
        mover.stat("/anything")
    assert not mover.alive()
    mover.close()


def test_new_keys_in_the_midst_of_a_transfer_harm_nothing(
    openssh: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "paramiko")
    monkeypatch.setattr(Wire, "REKEY_BYTES", 1 << 20)
    source, name = source_of(tmp_path, 6 << 20), f"{openssh.root}/rekeyed"
    with closing(connect(openssh)) as mover:
        mover.put(source, name)
        mover.get(name, tmp_path / "back")
    assert caplog.text.count("Switch to new keys") > 3
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_fifty_puts_at_once_to_fifty_folders_each_arrive_at_their_own(openssh: Ssh, tmp_path: Path) -> None:
    meet = threading.Barrier(50)

    def put(number: int) -> None:
        source = tmp_path / f"p{number}"
        source.write_bytes(f"{number} ".encode() * 5000)
        with closing(connect(openssh, timeout="30 s")) as mover:
            meet.wait(60)
            upload(mover, source, f"{openssh.root}/parallel/{number}/same.dat")

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(put, range(50)))
    for number in range(50):
        arrived = (openssh.folder / "parallel" / str(number) / "same.dat").read_bytes()
        assert arrived == (tmp_path / f"p{number}").read_bytes()


# Faults and habits of the server


NO_SPACE = OSError(28, "No space left on device")
OVER_QUOTA = OSError(122, "Disk quota exceeded")


@pytest.mark.parametrize(
    ("acts", "kind"),
    [
        ({"write": NO_SPACE}, NoSpace),
        ({"write": OVER_QUOTA}, NoSpace),
        ({"close": NO_SPACE}, NoSpace),
        ({"open": NO_SPACE}, NoSpace),
        ({"open": asyncssh.SFTPPermissionDenied("no")}, Permanent),
        ({"write": asyncssh.SFTPFailure("bad sector")}, Temporary),
        ({"write": asyncssh.SFTPConnectionLost("gone")}, Unreachable),
        ({"fsetstat": asyncssh.SFTPPermissionDenied("no")}, Permanent),
        ({"open": OSError(36, "File name too long")}, NameRefused),
        ({"open": OSError(30, "Read-only file system")}, ReadOnly),
    ],
)
def test_what_the_server_refuses_is_understood(
    acts: dict[str, Exception], kind: type[MoverError], tmp_path: Path
) -> None:
    source = source_of(tmp_path, 600_000)
    with ssh.asyncsshd(files=ssh.failing(**acts)) as server, closing(connect(server)) as mover:
        with pytest.raises(kind) as caught:
            mover.put(source, "/refused.dat")
        assert caught.value.where.endswith("/refused.dat")
        assert mover.alive()


def test_a_server_that_keeps_no_attributes_gets_the_file_and_the_powers_say_so(tmp_path: Path) -> None:
    source = source_of(tmp_path, 1000)
    unable = ssh.failing(fsetstat=asyncssh.SFTPOpUnsupported("no"))
    with ssh.asyncsshd(files=unable) as server, closing(connect(server)) as mover:
        mover.put(source, "/plain.dat")
        assert (mover.powers.mtime, mover.powers.mode) == (False, False)
        assert (server.folder / "plain.dat").read_bytes() == source.read_bytes()


def test_attributes_may_be_left(tmp_path: Path) -> None:
    source = source_of(tmp_path, 1000)
    os.utime(source, (1_000_000, 1_000_000))
    with ssh.asyncsshd() as server, closing(connect(server, attributes="leave")) as mover:
        mover.put(source, "/left.dat")
        assert (server.folder / "left.dat").stat().st_mtime > 1_500_000_000


def test_without_posix_rename_the_new_name_is_replaced_all_the_same(tmp_path: Path) -> None:
    lines = ["Subsystem sftp internal-sftp -P posix-rename,limits,statvfs"]
    with ssh.sshd(sftp="off", lines=lines) as server, closing(connect(server)) as mover:
        assert not mover.powers.replace
        for content in (b"one", b"two"):
            (tmp_path / "source").write_bytes(content)
            upload(mover, tmp_path / "source", f"{server.root}/name")
        assert (server.folder / "name").read_bytes() == b"two"
        with pytest.raises(SourceGone):
            mover.rename(f"{server.root}/absent", f"{server.root}/name")
        source = source_of(tmp_path, 5 * SAFE_REQUEST + 1)
        mover.put(source, f"{server.root}/safe")
        assert (server.folder / "safe").read_bytes() == source.read_bytes()


def test_a_server_without_sftp_is_told_so() -> None:
    with ssh.sshd(sftp="off") as server, pytest.raises(Misconfigured, match="scp://"):
        connect(server)


def test_short_reads_are_asked_again(tmp_path: Path) -> None:
    class Short(asyncssh.SFTPServer):
        def read(self, file_obj: object, offset: int, size: int) -> bytes:
            data: bytes = super().read(file_obj, offset, min(size, 10_007))  # type: ignore[assignment]
            return data

    with ssh.asyncsshd(files=Short) as server, closing(connect(server)) as mover:
        content = random.randbytes(700_001)
        (server.folder / "long").write_bytes(content)
        mover.get("/long", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content


def test_a_file_that_shrinks_while_it_is_read_has_changed(plain: Ssh, tmp_path: Path) -> None:
    path = plain.folder / "shrinking"
    path.write_bytes(bytes(8 << 20))
    with closing(connect(plain)) as mover, pytest.raises(SourceChanged):
        mover.get("/shrinking", tmp_path / "back", progress=lambda _: os.truncate(path, 10))


def test_going_on_where_nothing_is_is_noticed(plain: Ssh, tmp_path: Path) -> None:
    with closing(connect(plain)) as mover, pytest.raises(Mangled):
        mover.put(source_of(tmp_path, 1000), "/short-part", offset=500)


def test_going_on_at_a_longer_rest_leaves_nothing_of_it(plain: Ssh, tmp_path: Path) -> None:
    source = source_of(tmp_path, 1000)
    (plain.folder / "long-part").write_bytes(source.read_bytes()[:500] + bytes(5000))
    with closing(connect(plain)) as mover:
        mover.put(source, "/long-part", offset=500)
    assert (plain.folder / "long-part").read_bytes() == source.read_bytes()


def test_links_are_followed_and_dangling_ones_left_out(server: Ssh) -> None:
    folder = server.folder / "links"
    folder.mkdir()
    (folder / "file").write_bytes(b"12345")
    (folder / "to-file").symlink_to("file")
    (folder / "to-folder").symlink_to(".")
    (folder / "to-nothing").symlink_to("absent")
    with closing(connect(server)) as mover:
        found = {facts.name: (facts.size, facts.is_folder) for facts in mover.list(f"{server.root}/links")}
    assert found.keys() == {"file", "to-file", "to-folder"}
    assert found["to-file"] == (5, False)
    assert found["to-folder"][1]


def test_a_folder_is_no_file_and_a_file_no_folder(server: Ssh, tmp_path: Path) -> None:
    (server.folder / "a-folder").mkdir()
    (server.folder / "a-file").write_bytes(b"x")
    with closing(connect(server)) as mover:
        for act in (
            lambda: mover.put(source_of(tmp_path, 10), f"{server.root}/a-folder"),
            lambda: mover.get(f"{server.root}/a-folder", tmp_path / "never"),
            lambda: list(mover.list(f"{server.root}/a-file")),
            lambda: mover.make_folders(f"{server.root}/a-file"),
        ):
            with pytest.raises(Permanent):
                act()


def test_a_full_disk_is_told_from_a_failure(openssh: Ssh, tmp_path: Path) -> None:
    with ssh.small_disk(openssh.folder / "small-disk") as small, closing(connect(openssh)) as mover:
        with pytest.raises(NoSpace):
            upload(mover, source_of(tmp_path, 5 << 20), f"{openssh.root}/small-disk/big")
        assert not list(small.iterdir())
        upload(mover, source_of(tmp_path, 1000), f"{openssh.root}/small-disk/fits")


def test_checksums_come_from_commands_if_asked_for(openssh: Ssh, tmp_path: Path) -> None:
    source, name = source_of(tmp_path, 100_000), f"{openssh.root}/it's $(summed)"
    with closing(connect(openssh, remote_checksums="sha256 md5")) as mover:
        assert upload(mover, source, name).checksum
        assert mover.checksum(name, "sha256") == hashlib.sha256(source.read_bytes()).hexdigest()
        assert mover.checksum(name, "xxh128") is None
    with closing(connect(openssh)) as mover:
        assert mover.checksum(name, "sha256") is None


# The tables, row by row


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (1, "", Mangled),
        (2, "", SourceGone),
        (3, "", Permanent),
        (4, "Failure", Unexplained),
        (4, "write /quota/x: no space left on device", NoSpace),
        (4, "Disk quota exceeded", NoSpace),
        (4, "File name too long", NameRefused),
        (4, "open: is a directory", Permanent),
        (4, "Not a directory", Permanent),
        (4, "file exists", Permanent),
        (4, "Read-only file system", ReadOnly),
        (4, "Too many open files", Busy),
        (4, "open /in/permission denied: broken", Unexplained),
        (5, "", NameRefused),
        (6, "", Unreachable),
        (7, "", Unreachable),
        (8, "", Permanent),
        (9, "", Temporary),
        (10, "", SourceGone),
        (11, "", Permanent),
        (12, "", ReadOnly),
        (13, "", Temporary),
        (14, "", NoSpace),
        (15, "", NoSpace),
        (17, "", Busy),
        (18, "", Permanent),
        (19, "", Permanent),
        (20, "", NameRefused),
        (21, "", Permanent),
        (24, "", Permanent),
        (25, "", Busy),
        (99, "", Permanent),
    ],
)
def test_each_status_has_its_meaning(code: int, said: str, kind: type[MoverError]) -> None:
    assert type(refusal(code, said, "sftp://host/in/permission denied")) is kind


def test_a_missing_folder_is_no_missing_source() -> None:
    assert type(refusal(2, "", "", absent=Permanent)) is Permanent


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (paramiko.BadHostKeyException("h", paramiko.RSAKey.generate(1024), None), HostUnproven),  # type: ignore[arg-type]
        (paramiko.PasswordRequiredException("locked"), Misconfigured),
        (paramiko.BadAuthenticationType("no", ["publickey"]), LoginRefused),
        (paramiko.AuthenticationException("no"), LoginRefused),
        (IncompatiblePeer("none in common"), Misconfigured),
        (paramiko.ChannelException(4, "too many"), Busy),
        (paramiko.SSHException("Error reading SSH protocol banner"), Unreachable),
        (EOFError(), Unreachable),
        (TimeoutError(), TimedOut),
        (TimeoutError(110, "Connection timed out"), TimedOut),
        (socket.gaierror(-2, "Name or service not known"), Unreachable),
        (ConnectionRefusedError(111, "Connection refused"), Unreachable),
        (ConnectionResetError(104, "Connection reset by peer"), Unreachable),
        (BrokenPipeError(32, "Broken pipe"), Unreachable),
        (OSError(113, "No route to host"), Unreachable),
        (OSError(9, "Bad file descriptor"), Unreachable),
        (OSError("Socket is closed"), Unreachable),
    ],
)
def test_each_exception_has_its_meaning(error: Exception, kind: type[MoverError]) -> None:
    assert type(failure(error)) is kind


def test_a_bug_stays_a_bug() -> None:
    assert failure(AttributeError("a bug")) is None
