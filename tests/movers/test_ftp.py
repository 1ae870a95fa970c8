"""The FTP mover against real servers, and against what a server or a line can do wrong."""

import logging
import os
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from servers import ftp
from servers.ftp import PASSWORD, USER, Ftp, Script, scripting
from servers.proxy import Fault, Proxy, Route
from tranship_movers.checks import CHECKS, Check, Ground
from tranship_movers.contract import Facts, Powers
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
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
)
from tranship_movers.ftp import FtpMover, FtpOptions
from tranship_movers.ftp.told import facts_of_ls
from tranship_movers.place import Place
from tranship_movers.transfer import upload


def place_of(server: Ftp) -> Place:
    return Place(server.scheme, server.host, "/", server.port, server.user, SecretStr(PASSWORD))


def connect(server: Ftp, place: Place | None = None, **options: object) -> FtpMover:
    tls = {"tls": server.tls, "ca_file": server.authority} if server.authority else {}
    told = FtpOptions.model_validate({"timeout": "10 s", **tls, **options})
    return FtpMover(place or place_of(server), told)


# The promises, on every server ------------------------------------------------------------------------------

WORDS = {check.word: check for check in CHECKS}
OF_THE_LINE = (
    "round-trip",
    "large",
    "listing-whole",
    "append",
    "resume",
    "get-on",
    "download-resumed",
    "overwrite",
    "several",
    "checksums",
)
"""Checks of what another dress of the same server can change; proftpd takes 0.3 s per connection."""

OURS = frozenset(
    {"put-absent", "refused-names", "line-break", "progress", "no-such-checksum", "alive", "remove"}
)
"""Checks in which the server has no part, or the smallest."""

IN_PART = {
    "proftpd": tuple(word for word in WORDS if word not in OURS),
    "pyftpd-implicit": OF_THE_LINE,
    "vsftpd-tls": OF_THE_LINE,
    "vsftpd-implicit": ("round-trip", "several"),
    "proftpd-tls": OF_THE_LINE,
    "proftpd-implicit": ("round-trip",),
    "pure-ftpd-tls": OF_THE_LINE,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Ftp]]:
    """Every server runs from when it is first asked for to the end."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(ftp.SERVERS[name]()))


@pytest.fixture
def server(request: pytest.FixtureRequest, servers: Callable[[str], Ftp]) -> Ftp:
    return servers(request.param)


@pytest.mark.parametrize(
    ("server", "word"),
    [(name, word) for name in ftp.SERVERS for word in IN_PART.get(name, WORDS)],
    indirect=["server"],
)
def test_promise(server: Ftp, word: str, tmp_path: Path) -> None:
    check: Check = WORDS[word]
    verdict = check.run(
        Ground(lambda: connect(server), f"{server.base}/scratch", tmp_path, secret=PASSWORD, big=4 << 20)
    )
    assert verdict in ("holds", "not offered")


@pytest.mark.soak
@pytest.mark.parametrize("server", ["pyftpd-tls", "vsftpd", "proftpd-tls", "pure-ftpd"], indirect=True)
def test_more_than_two_gibibytes_arrive_whole(server: Ftp, tmp_path: Path) -> None:
    connected = Ground(
        lambda: connect(server, timeout="30 s"), f"{server.base}/big", tmp_path, big=(2 << 30) + 1
    )
    assert WORDS["large"].run(connected) == "holds"


FULL = Powers(verified=True, append=True, resumes=0, mtime=True, mode=True)
POWERS = {
    "pyftpd": FULL,
    "rclone": Powers(replace=False),
    "vsftpd": replace(FULL, mode=False),
    "proftpd": replace(FULL, verified=False, checksums=frozenset({"sha256", "md5"})),
    "pure-ftpd": FULL,
}


@pytest.mark.parametrize("server", ftp.SERVERS, indirect=True)
def test_powers_are_those_of_the_server(server: Ftp, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x" * 100)
    with closing(connect(server)) as mover:
        assert mover.powers == POWERS[server.kind]
        mover.put(source, f"{server.base}/powers")
        mover.remove(f"{server.base}/powers")
        assert mover.powers == POWERS[server.kind], "they did not hold"


# A server that can be told what to answer -------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripted() -> Iterator[tuple[Ftp, Script]]:
    script = Script({}, [])
    with ftp.pyftpd(**scripting(script)) as running:
        yield running, script


@pytest.fixture
def told(scripted: tuple[Ftp, Script]) -> tuple[Ftp, Script]:
    running, script = scripted
    script.answers.clear()
    script.heard.clear()
    shutil.rmtree(running.folder)
    running.folder.mkdir()
    return scripted


def _put(mover: FtpMover, local: Path) -> None:
    mover.put(local, "/put")


def _get(mover: FtpMover, local: Path) -> None:
    mover.get("/there", local.with_name("got"))


def _rename(mover: FtpMover, local: Path) -> None:
    mover.rename("/there", "/renamed")


ACTS: dict[str, Callable[[FtpMover, Path], object]] = {
    "put": _put,
    "get": _get,
    "rename": _rename,
    "stat": lambda mover, local: mover.stat("/there"),
    "list": lambda mover, local: mover.list("/"),
    "remove": lambda mover, local: mover.remove("/there"),
    "make_folders": lambda mover, local: mover.make_folders("/new/folder"),
}

ROWS = [
    ("put", "STOR", "421 Too busy", Busy),
    ("put", "STOR", "425 No data connection", Unreachable),
    ("put", "STOR", "426 Broken off", Unreachable),
    ("put", "STOR", "450 File busy", Temporary),
    ("put", "STOR", "451 Local error", Temporary),
    ("put", "STOR", "452 No room", NoSpace),
    ("put", "STOR", "503 Bad sequence", Temporary),
    ("put", "STOR", "522 TLS session was not reused", Misconfigured),
    ("put", "STOR", "530 Log in first", LoginRefused),
    ("put", "STOR", "532 Account needed", LoginRefused),
    ("put", "STOR", "550 Permission denied", Permanent),
    ("put", "STOR", "551 Page type", Permanent),
    ("put", "STOR", "552 Over your quota", NoSpace),
    ("put", "STOR", "553 Name not allowed", NameRefused),
    ("put", "STOR", "550 No space left on device", NoSpace),
    ("put", "STOR", "550 put: quota exceeded", NoSpace),
    ("put", "STOR", "599 Whatever", Permanent),
    ("put", "STOR", "499 Whatever", Temporary),
    ("put", "STOR", "999 Whatever", Unreachable),
    ("put", "226", "426 Broken off", Unreachable),
    ("put", "226", "451 Write failed", Temporary),
    ("put", "226", "452 No room", NoSpace),
    ("put", "226", "552 Over your quota", NoSpace),
    ("put", "226", "550 Disk full", NoSpace),
    ("put", "EPSV", "421 Too busy", Busy),
    ("get", "RETR", "550 No such file", SourceGone),
    ("get", "RETR", "550 Permission denied", Permanent),
    ("get", "RETR", "551 Not there", SourceGone),
    ("get", "RETR", "450 File busy", Temporary),
    ("get", "226", "426 Broken off", Unreachable),
    ("get", "226", "451 Read failed", Temporary),
    ("rename", "RNFR", "450 File busy", Temporary),
    ("rename", "RNFR", "550 Permission denied", Permanent),
    ("rename", "RNTO", "553 Name not allowed", NameRefused),
    ("rename", "RNTO", "452 No room", NoSpace),
    ("stat", "MLST", "421 Idle for too long", Busy),
    ("stat", "MLST", "550 Permission denied", Permanent),
    ("list", "MLSD", "550 No such folder", Permanent),
    ("list", "MLSD", "501 No such folder", Permanent),
    ("list", "MLSD", "450 Busy", Temporary),
    ("remove", "DELE", "550 Permission denied", Permanent),
    ("remove", "DELE", "450 File busy", Temporary),
    ("make_folders", "MKD", "550 Permission denied", Permanent),
    ("make_folders", "MKD", "452 No room", NoSpace),
]


@pytest.mark.parametrize(("act", "command", "answer", "kind"), ROWS, ids=lambda part: str(part)[:30])
def test_every_reply_has_its_meaning(
    told: tuple[Ftp, Script], tmp_path: Path, act: str, command: str, answer: str, kind: type[MoverError]
) -> None:
    server, script = told
    (server.folder / "there").write_bytes(b"x" * 5000)
    local = tmp_path / "local"
    local.write_bytes(b"x" * 5000)
    with closing(connect(server)) as mover:
        script.answers[command] = answer
        with pytest.raises(MoverError) as failure:
            ACTS[act](mover, local)
        assert failure.type is kind
        assert failure.value.where.startswith("ftp://127.0.0.1:")
        assert answer[:3] in str(failure.value)
        script.answers.clear()
        ACTS[act](mover, local)


LOGIN_ROWS = [
    ("USER", "530 No", LoginRefused),
    ("PASS", "530 Login incorrect", LoginRefused),
    ("PASS", "500 OOPS", LoginRefused),
    ("PASS", "430 Wrong", LoginRefused),
    ("PASS", "530 Sorry, the maximum number of clients (3) are connected", Busy),
    ("PASS", "421 Too many connections", Busy),
    ("TYPE", "504 Not implemented", Misconfigured),
]


@pytest.mark.parametrize(("command", "answer", "kind"), LOGIN_ROWS, ids=lambda part: str(part)[:30])
def test_every_reply_to_a_login_has_its_meaning(
    told: tuple[Ftp, Script], command: str, answer: str, kind: type[MoverError]
) -> None:
    server, script = told
    script.answers[command] = answer
    with pytest.raises(MoverError) as failure:
        connect(server)
    assert failure.type is kind


def test_the_name_of_a_file_is_no_word_of_the_server(told: tuple[Ftp, Script], tmp_path: Path) -> None:
    server, script = told
    local = tmp_path / "local"
    local.write_bytes(b"x")
    script.answers["STOR"] = "550 /disk full.txt: operation failed"
    with closing(connect(server)) as mover, pytest.raises(Permanent):
        mover.put(local, "/disk full.txt")


# Lost replies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hang up", "silence", "421 Idle for too long"])
def test_after_a_lost_last_reply_the_size_decides(
    told: tuple[Ftp, Script], tmp_path: Path, loss: str
) -> None:
    server, script = told
    local = tmp_path / "local"
    local.write_bytes(os.urandom(300_000))
    with closing(connect(server, timeout="1 s")) as mover:
        script.answers["226"] = loss
        mover.put(local, "/put")
        assert (server.folder / "put").read_bytes() == local.read_bytes()
        script.heard.clear()
        script.answers.clear()
        assert mover.stat("/put") == Facts("/put", 300_000, _whole_seconds(local), mode=None)


@pytest.mark.parametrize("loss", ["hang up", "silence"])
def test_a_lost_last_reply_of_a_file_that_is_too_short_is_no_success(tmp_path: Path, loss: str) -> None:
    script = Script({"226": loss}, [])
    settings = scripting(script)

    def respond(self: Any, resp: str, *args: Any, **more: Any) -> None:
        if resp.startswith("226"):
            os.truncate(running.folder / "put", 299_999)
        settings["respond"](self, resp, *args, **more)

    local = tmp_path / "local"
    local.write_bytes(os.urandom(300_000))
    with (
        ftp.pyftpd(**{**settings, "respond": respond}) as running,
        closing(connect(running, timeout="1 s")) as mover,
        pytest.raises((Unreachable, TimedOut)),
    ):
        mover.put(local, "/put")


def test_a_rename_whose_reply_is_lost_was_done_if_the_names_say_so(
    told: tuple[Ftp, Script], tmp_path: Path
) -> None:
    server, script = told
    (server.folder / "old").write_bytes(b"old")
    with closing(connect(server)) as mover:
        script.answers["250 Renaming"] = "hang up"
        mover.rename("/old", "/new")
    assert (server.folder / "new").read_bytes() == b"old"


def test_a_rename_that_is_done_while_the_first_reply_is_lost_counts(
    told: tuple[Ftp, Script], tmp_path: Path
) -> None:
    server, script = told
    (server.folder / "early").write_bytes(b"early")
    with closing(connect(server, timeout="2 s")) as mover:
        script.answers["350 Ready for destination"] = "silence"
        script.answers["250 Renaming"] = "hang up"
        mover.rename("/early", "/late")
    assert (server.folder / "late").read_bytes() == b"early"


def test_a_file_that_the_server_cuts_and_calls_done_is_mangled(tmp_path: Path) -> None:
    def respond(self: Any, resp: str, *args: Any, **more: Any) -> None:
        if resp.startswith("226"):
            os.truncate(running.folder / "put", 299_999)
        FTPHandler.respond(self, resp, *args, **more)

    with ftp.python_311():
        from pyftpdlib.handlers import FTPHandler
    local = tmp_path / "local"
    local.write_bytes(os.urandom(300_000))
    with (
        ftp.pyftpd(respond=respond) as running,
        closing(connect(running)) as mover,
        pytest.raises(Mangled, match="299999 bytes arrived of 300000"),
    ):
        mover.put(local, "/put")


@pytest.mark.parametrize(("banner", "bears"), [("ready", False), ("pyftpdlib ready", True)])
def test_who_may_forget_a_second_command_is_told_one_by_one(
    tmp_path: Path, banner: str, *, bears: bool
) -> None:
    """A server that forgets what comes before it has answered; only those that are known not to get more than one."""
    forgot = []

    def pre_process_command(self: Any, line: str, cmd: str, arg: str) -> None:
        forgot.append(bytes(self.ac_in_buffer))
        self.ac_in_buffer = b""
        FTPHandler.pre_process_command(self, line, cmd, arg)

    with ftp.python_311():
        from pyftpdlib.handlers import FTPHandler
    local = tmp_path / "local"
    local.write_bytes(b"local")
    with (
        ftp.pyftpd(banner=banner, pre_process_command=pre_process_command) as running,
        closing(connect(running, timeout="1 s")) as mover,
    ):
        if bears:
            with pytest.raises(TimedOut):
                upload(mover, local, "/new")
        else:
            upload(mover, local, "/new")
            with pytest.raises(SourceGone):
                mover.rename("/absent", "/new")
            assert (running.folder / "new").read_bytes() == b"local"
    assert any(forgot) == bears


def test_a_control_connection_that_dies_in_a_long_upload_costs_nothing(tmp_path: Path) -> None:
    """A router forgets the silent control connection; the data goes on, its end is never confirmed."""
    local = tmp_path / "local"
    local.write_bytes(os.urandom(3_000_000))
    with ftp.pyftpd() as server, Proxy(Route(("127.0.0.1", server.port))) as proxy:
        place = replace(place_of(server), port=proxy.port)
        with closing(connect(server, place, timeout="2 s")) as mover:
            mover.put(local, "/long", progress=lambda _: proxy.silence_all())
            assert mover.stat("/long").size == 3_000_000
        assert (server.folder / "long").read_bytes() == local.read_bytes()
        assert proxy.accepted == 2


def test_a_control_connection_that_is_reset_in_a_long_upload_is_told(tmp_path: Path) -> None:
    """This server ends the data connection with it; the next attempt goes through."""
    local = tmp_path / "local"
    local.write_bytes(os.urandom(30_000_000))
    with ftp.pyftpd() as server, Proxy(Route(("127.0.0.1", server.port))) as proxy:
        place = replace(place_of(server), port=proxy.port)
        with closing(connect(server, place)) as mover:
            with pytest.raises(Unreachable):
                upload(mover, local, "/long", progress=lambda _: proxy.reset_all())
            upload(mover, local, "/long")
        assert os.listdir(server.folder) == ["long"]
        assert (server.folder / "long").read_bytes() == local.read_bytes()


def test_a_download_that_ends_early_is_no_success(told: tuple[Ftp, Script], tmp_path: Path) -> None:
    server, script = told
    (server.folder / "there").write_bytes(b"x" * 5000)
    script.answers["MLST"] = "250-Here\r\n type=file;size=5001;modify=20260101000000; /there\r\n250 End"
    with closing(connect(server)) as mover, pytest.raises(Mangled, match="5000 bytes came of 5001"):
        mover.get("/there", tmp_path / "got")


# Deadlines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS)
def test_no_act_hangs_in_a_black_hole(told: tuple[Ftp, Script], tmp_path: Path, act: str) -> None:
    server, _ = told
    (server.folder / "there").write_bytes(b"there")
    local = tmp_path / "local"
    local.write_bytes(b"x" * 5000)
    with Proxy(Route(("127.0.0.1", server.port))) as proxy:
        place = replace(place_of(server), port=proxy.port)
        with closing(connect(server, place, timeout="0.25 s")) as mover:
            proxy.silence_all()
            proxy.fault = Fault("black hole", direction="down")
            began = time.monotonic()
            with pytest.raises(TimedOut):
                ACTS[act](mover, local)
            assert not mover.alive()
            assert time.monotonic() - began < 3


def test_connecting_to_a_black_hole_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = Place("ftp", "127.0.0.1", "/", silent.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(TimedOut):
            FtpMover(place, FtpOptions.model_validate({"timeout": "0.3 s"}))
        assert time.monotonic() - began < 2


# Side by side -----------------------------------------------------------------------------------------------


def test_fifty_puts_at_once_go_to_their_fifty_folders(tmp_path: Path) -> None:
    def work(number: int) -> None:
        local = tmp_path / f"{number}"
        local.write_bytes(f"{number} ".encode() * 5000)
        with closing(connect(server, timeout="30 s")) as mover:
            for file in ("one", "two"):
                upload(mover, local, f"/folder {number}/{file}")

    with ftp.pyftpd() as server, ThreadPoolExecutor(50) as threads:
        list(threads.map(work, range(50)))
        for number in range(50):
            for file in ("one", "two"):
                found = (server.folder / f"folder {number}" / file).read_bytes()
                assert found == f"{number} ".encode() * 5000
            assert len(os.listdir(server.folder / f"folder {number}")) == 2


# Servers that can do less -----------------------------------------------------------------------------------


def _without(*commands: str) -> dict[str, Any]:
    with ftp.python_311():
        from pyftpdlib.handlers import FTPHandler

    known = {name: told for name, told in FTPHandler.proto_cmds.items() if name not in commands}
    return {"proto_cmds": known}


@pytest.mark.parametrize(
    "missing", [("MLSD", "MLST"), ("MLSD", "MLST", "SIZE", "MDTM"), ("MLSD", "MLST", "MFMT", "SITE CHMOD")]
)
def test_an_old_server_tells_the_same(tmp_path: Path, missing: tuple[str, ...]) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"x" * 12_345)
    os.utime(local, (1_700_000_000, 1_700_000_000))
    names = ["  two  words [1].txt", "Größe -> klein", "-l", "plain"]
    with ftp.pyftpd(**_without(*missing)) as server, closing(connect(server)) as mover:
        mover.make_folders("/a folder [x]/inner")
        for name in names:
            upload(mover, local, f"/a folder [x]/{name}")
        os.symlink("plain", server.folder / "a folder [x]" / "link")
        listed = {facts.name: (facts.size, facts.is_folder) for facts in mover.list("/a folder [x]")}
        link = {} if "SIZE" in missing else {"link": (12_345, False)}
        assert listed == {**dict.fromkeys(names, (12_345, False)), "inner": (0, True), **link}
        facts = mover.stat(f"/a folder [x]/{names[0]}")
        assert facts is not None
        assert facts.size == 12_345
        assert (facts.mtime_ns is None) is ("MDTM" in missing)
        assert "MFMT" in missing or "MDTM" in missing or facts.mtime_ns == _whole_seconds(local)
        assert mover.stat("/a folder [x]/inner").is_folder
        assert mover.stat("/a folder [x]/none") is None
        assert mover.powers.mtime is ("MFMT" not in missing)
        mover.rename("/a folder [x]/plain", "/a folder [x]/inner/moved")
        mover.get("/a folder [x]/inner/moved", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == local.read_bytes()
        with pytest.raises(Permanent, match="no such folder"):
            mover.list("/none")


def test_a_listing_that_nobody_understands_is_asked_by_names(tmp_path: Path) -> None:
    def format_list(self: Any, basedir: str, listing: list[str], ignore_err: bool = True) -> Iterator[bytes]:
        for name in listing:
            yield f"{name} is here, believe me\r\n".encode()

    with ftp.python_311():
        from pyftpdlib.filesystems import AbstractedFS
    strange = type("Strange", (AbstractedFS,), {"format_list": format_list})
    with (
        ftp.pyftpd(**_without("MLSD", "MLST"), abstracted_fs=strange) as server,
        closing(connect(server)) as mover,
    ):
        (server.folder / "two words").write_bytes(b"12345")
        (server.folder / "folder").mkdir()
        assert {(facts.name, facts.size, facts.is_folder) for facts in mover.list("/")} == {
            ("two words", 5, False),
            ("folder", 0, True),
        }


LINES = {
    "-rw-r--r--   1 1001     1001        12345 Jan  2  2022 plain": Facts("plain", 12345),
    "-rw-r--r--   1 a        Domain Users  7 Jan 12 10:01 two words": Facts("two words", 7),
    "-rw-r--r--    1 0        0               9 Nov 22 16:26  leading blank": Facts(" leading blank", 9),
    "drwxr-xr-x   3 ftp ftp 4096 Dec 31 23:59 folder": Facts("folder", 0, is_folder=True),
    "-rwxrwxrwx 1 ftp ftp            4 Nov 22 16:27 t": Facts("t", 4),
    "-rw-r--r--+ 1 u g 5 22 Nov 2024 day first": Facts("day first", 5),
    "lrwxrwxrwx 1 u g 5 Nov 22 16:27 link -> plain": Facts("link", -1),
    "-rw-r--r-- 1 u g 1234567890123 Nov 22 16:27 2024 10:00 x": Facts("2024 10:00 x", 1234567890123),
    "01-29-24  03:45PM                 1234 report 1.txt": Facts("report 1.txt", 1234),
    "01-29-2024  03:45PM       <DIR>          stuff": Facts("stuff", 0, is_folder=True),
    "who knows": None,
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_a_listing(line: str) -> None:
    assert facts_of_ls(line) == LINES[line]


def test_a_server_that_refuses_to_write_over_files_gets_them_removed_first(tmp_path: Path) -> None:
    with ftp.python_311():
        from pyftpdlib.handlers import FTPHandler

    def refuse_over(verb: str) -> Callable[..., None]:
        def act(self: Any, path: str, **more: Any) -> None:
            if os.path.exists(path):
                self.respond("550 File exists.")
            else:
                getattr(FTPHandler, verb)(self, path, **more)

        return act

    def append(self: Any, path: str) -> None:
        self.respond("550 Appending is not permitted.")

    settings = {
        "ftp_STOR": refuse_over("ftp_STOR"),
        "ftp_RNTO": refuse_over("ftp_RNTO"),
        "ftp_APPE": append,
    }
    local = tmp_path / "local"
    with ftp.pyftpd(**settings) as server, closing(connect(server)) as mover:
        assert mover.powers.replace
        for content in (b"first", b"second"):
            local.write_bytes(content)
            mover.put(local, "/put")
            assert (server.folder / "put").read_bytes() == content
            upload(mover, local, "/uploaded")
            assert (server.folder / "uploaded").read_bytes() == content
        assert not mover.powers.replace
        local.write_bytes(b"second and third")
        mover.put(local, "/put", offset=6)
        assert (server.folder / "put").read_bytes() == b"second and third"
        assert not mover.powers.append
        assert sorted(os.listdir(server.folder)) == ["put", "uploaded"]


@pytest.mark.parametrize("answer", ["450 File busy", "550 Never", "552 Over your quota"])
def test_a_refused_rename_harms_nothing(told: tuple[Ftp, Script], answer: str) -> None:
    server, script = told
    (server.folder / "old").write_bytes(b"old")
    (server.folder / "new").write_bytes(b"new")
    with closing(connect(server)) as mover:
        script.answers["RNTO"] = answer
        with pytest.raises(MoverError, match=answer[:3]):
            mover.rename("/old", "/new")
        assert mover.powers.replace
    assert {path.name: path.read_bytes() for path in server.folder.iterdir()} == {
        "old": b"old",
        "new": b"new",
    }


def test_a_name_that_can_not_be_replaced_is_back_as_it_was() -> None:
    with ftp.python_311():
        from pyftpdlib.handlers import FTPHandler

    def refuse_new(self: Any, path: str) -> None:
        if path.endswith("/new") and not path_is_free.is_set():
            self.respond("550 Not this name.")
            if not os.path.exists(path):
                path_is_free.set()
        else:
            FTPHandler.ftp_RNTO(self, path)

    path_is_free = threading.Event()
    with ftp.pyftpd(ftp_RNTO=refuse_new) as server, closing(connect(server)) as mover:
        (server.folder / "old").write_bytes(b"old")
        (server.folder / "new").write_bytes(b"new")
        with pytest.raises(Permanent, match="Not this name"):
            mover.rename("/old", "/new")
        assert mover.powers.replace
        there = {path.name: path.read_bytes() for path in server.folder.iterdir()}
        assert there == {"old": b"old", "new": b"new"}


def test_a_proftpd_that_forbids_appending_gets_the_file_whole(tmp_path: Path) -> None:
    (local := tmp_path / "local").write_bytes(b"begin and end")
    with ftp.proftpd(extra="AllowStoreRestart off\n") as server, closing(connect(server)) as mover:
        for there in (b"begin ", b"begin XX"):
            (server.folder / "put").write_bytes(there)
            mover.powers = replace(mover.powers, append=True)
            mover.put(local, "/put", offset=6)
            assert (server.folder / "put").read_bytes() == b"begin and end"
            assert not mover.powers.append, "it was told: 451 try again"


@pytest.mark.parametrize("server", ["proftpd", "pure-ftpd"], indirect=True)
def test_site_utime_serves_where_mfmt_is_missing(server: Ftp, tmp_path: Path) -> None:
    (local := tmp_path / "local").write_bytes(b"x")
    os.utime(local, (1_700_000_000, 1_700_000_000))
    with closing(connect(server)) as mover:
        del mover._server._features["MFMT"]
        mover.put(local, "/dated")
        assert mover.powers.mtime
    assert (server.folder / "dated").stat().st_mtime == 1_700_000_000


def test_a_server_whose_append_writes_over_loses_that_power(tmp_path: Path) -> None:
    with ftp.python_311():
        from pyftpdlib.handlers import FTPHandler

    settings = {"ftp_APPE": FTPHandler.ftp_STOR}
    local = tmp_path / "local"
    local.write_bytes(b"begin and end")
    with ftp.pyftpd(**settings) as server, closing(connect(server)) as mover:
        (server.folder / "put").write_bytes(b"begin ")
        mover.put(local, "/put", offset=6)
        assert (server.folder / "put").read_bytes() == b"begin and end"
        assert not mover.powers.append


def test_going_on_needs_the_bytes_before(told: tuple[Ftp, Script], tmp_path: Path) -> None:
    server, _ = told
    local = tmp_path / "local"
    local.write_bytes(b"begin and end")
    with closing(connect(server)) as mover:
        (server.folder / "put").write_bytes(b"beg")
        with pytest.raises(Mangled):
            mover.put(local, "/put", offset=6)
        (server.folder / "put").write_bytes(b"begin XX")
        mover.put(local, "/put", offset=6)
        assert (server.folder / "put").read_bytes() == b"begin and end"


# Data connections -------------------------------------------------------------------------------------------


def test_a_passive_address_of_another_host_is_not_believed(tmp_path: Path) -> None:
    (local := tmp_path / "local").write_bytes(b"x" * 1000)
    settings = {**_without("EPSV"), "masquerade_address": "127.0.0.9"}
    with ftp.pyftpd(**settings) as server:
        with closing(connect(server)) as mover:
            mover.put(local, "/put")
            assert (server.folder / "put").read_bytes() == local.read_bytes()
        with closing(connect(server, passive_address="as told")) as mover, pytest.raises(Unreachable):
            mover.put(local, "/put")


@pytest.mark.parametrize("tls", ["off", "explicit"])
def test_active_data_connections(tls: ftp.Tls, tmp_path: Path) -> None:
    (local := tmp_path / "local").write_bytes(os.urandom(500_000))
    script = Script({}, [])
    settings = scripting(script) if tls == "off" else {}
    with (
        ftp.pyftpd(tls, **settings) as server,
        closing(connect(server, data_connection="active")) as mover,
    ):
        mover.put(local, "/put")
        mover.get("/put", tmp_path / "got")
        assert [facts.name for facts in mover.list("/")] == ["put"]
        assert (tmp_path / "got").read_bytes() == local.read_bytes()
        assert tls != "off" or ("PORT" in script.heard and "EPSV" not in script.heard)


def test_signs_of_life_in_a_transfer_do_not_confuse_the_answers(
    told: tuple[Ftp, Script], tmp_path: Path
) -> None:
    server, script = told
    (local := tmp_path / "local").write_bytes(os.urandom(3_000_000))
    with closing(connect(server, noop_interval="0 s")) as mover:
        mover.put(local, "/put")
        assert script.heard.count("NOOP") >= 3
        assert mover.stat("/put").size == 3_000_000
        script.answers["226"] = "552 Over your quota"
        with pytest.raises(NoSpace):
            mover.put(local, "/put")
        script.answers.clear()
        assert mover.stat("/put").size == 3_000_000


def test_names_in_another_encoding(tmp_path: Path) -> None:
    (local := tmp_path / "local").write_bytes(b"x")
    with ftp.pyftpd(encoding="latin-1") as server:
        with closing(connect(server, encoding="latin-1")) as mover:
            mover.put(local, "/Größe")
            assert [facts.name for facts in mover.list("/")] == ["Größe"]
            with pytest.raises(NameRefused):
                mover.put(local, "/日本")
        with closing(connect(server)) as mover:
            (facts,) = mover.list("/")
            mover.remove(f"/{facts.name}")
            assert os.listdir(server.folder) == [], "a name that can't be decoded goes back as it came"


@pytest.mark.parametrize("name", ["/a\nDELE /b", "/a\rb", "/a\0b"])
def test_a_name_never_becomes_a_command(told: tuple[Ftp, Script], tmp_path: Path, name: str) -> None:
    server, script = told
    (local := tmp_path / "local").write_bytes(b"x")
    with closing(connect(server)) as mover:
        script.heard.clear()
        for act in (mover.stat, mover.list, mover.remove, mover.make_folders, lambda n: mover.put(local, n)):
            with pytest.raises(NameRefused):
                act(name)
        assert script.heard == []


# Who we are, and whom we trust ------------------------------------------------------------------------------


def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_password_goes() -> None:
    with ftp.pyftpd("explicit") as server:
        stranger = replace(server, authority=None)
        with pytest.raises(HostUnproven, match="certificate"):
            connect(stranger)
        with closing(connect(stranger, certificate="any")) as mover:
            assert mover.alive()
        with Proxy(Route(("127.0.0.1", server.port), ("127.0.0.3", 0))) as elsewhere:
            place = replace(place_of(server), host="127.0.0.3", port=elsewhere.port)
            with pytest.raises(HostUnproven, match="certificate"):
                connect(server, place)


def test_a_server_without_tls_gets_no_password_of_ftps(told: tuple[Ftp, Script]) -> None:
    server, script = told
    with pytest.raises(Misconfigured, match="AUTH"):
        connect(server, replace(place_of(server), scheme="ftps"))
    assert script.heard == ["AUTH"]
    with pytest.raises((Misconfigured, Unreachable)):
        connect(server, replace(place_of(server), scheme="ftps"), tls="implicit")


def test_tls_that_contradicts_is_misconfigured(told: tuple[Ftp, Script], tmp_path: Path) -> None:
    server, _ = told
    secure = replace(place_of(server), scheme="ftps")
    with pytest.raises(Misconfigured, match="tls"):
        connect(server, secure, tls="off")
    with pytest.raises(Misconfigured, match="ca_file"):
        connect(server, secure, ca_file=tmp_path / "none.pem")
    with pytest.raises(ValidationError):
        FtpOptions(encoding="klingon")


def test_the_login_is_looked_up_in_netrc(told: tuple[Ftp, Script], tmp_path: Path) -> None:
    server, _ = told
    place = replace(place_of(server), user="", password=None)
    path = tmp_path / "netrc"
    path.write_text(
        f"machine elsewhere login x password y\nmachine 127.0.0.1 login {USER} password {PASSWORD}"
    )
    with closing(connect(server, place, netrc=path)) as mover:
        assert mover.alive()
    with closing(connect(server, replace(place, user=USER), netrc=path)) as mover:
        assert mover.alive()
    with pytest.raises(LoginRefused):
        connect(server, replace(place, user="somebody"), netrc=path)
    path.write_text(f"machine 127.0.0.1 login {USER} {PASSWORD}")
    with pytest.raises(Misconfigured, match="netrc") as failure:
        connect(server, place, netrc=path)
    assert PASSWORD not in "".join(traceback.format_exception(failure.value))
    with pytest.raises(Misconfigured, match="netrc"):
        connect(server, place, netrc=tmp_path / "none")


def test_without_any_login_we_are_anonymous(
    told: tuple[Ftp, Script], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, script = told
    monkeypatch.setenv("HOME", str(tmp_path))
    script.answers |= {"USER": "230 Welcome", "FEAT": "500 No", "SITE": "500 No", "TYPE": "200 Good"}
    with closing(connect(server, replace(place_of(server), user="", password=None))) as mover:
        assert mover.alive()
        assert mover.powers == Powers()
    assert "PASS" not in script.heard


def test_the_password_shows_nowhere(
    told: tuple[Ftp, Script], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Even if the server repeats what it was told."""
    server, script = told
    caplog.set_level(logging.DEBUG)
    (local := tmp_path / "local").write_bytes(b"x" * 5000)
    failures: list[BaseException] = []
    with closing(connect(server)) as mover:
        assert PASSWORD not in repr(mover) + repr(vars(mover)) + repr(mover._server.line)
        for command in ("STOR", "226"):
            script.answers = {command: f"550 PASS {PASSWORD} was not understood"}
            with pytest.raises(MoverError) as failure:
                mover.put(local, "/put")
            failures.append(failure.value)
    for command in ("USER", "PASS", "TYPE"):
        script.answers = {command: f"530 User {USER} with {PASSWORD} may not log in"}
        with pytest.raises(MoverError) as failure:
            connect(server)
        failures.append(failure.value)
    script.answers = {}
    told_ = "".join("".join(traceback.format_exception(failure)) for failure in failures)
    assert "***" in told_, "the reply itself is told"
    assert PASSWORD not in told_
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("pyftpdlib")]
    assert PASSWORD not in "".join(ours)


def test_a_closed_mover_stays_closed(told: tuple[Ftp, Script]) -> None:
    server, _ = told
    mover = connect(server)
    mover.close()
    mover.close()
    assert not mover.alive()
    with pytest.raises(Unreachable, match="closed"):
        mover.stat("/there")


def test_what_progress_raises_comes_out_and_the_line_goes_on(
    told: tuple[Ftp, Script], tmp_path: Path
) -> None:
    server, script = told
    (local := tmp_path / "local").write_bytes(b"x" * 2_000_000)

    def enough(_: int) -> None:
        raise OSError("this is no failure of the network")

    with closing(connect(server)) as mover:
        script.heard.clear()
        with pytest.raises(OSError, match="no failure of the network"):
            mover.put(local, "/put", progress=enough)
        mover.put(local, "/put")
        with pytest.raises(OSError, match="no failure of the network"):
            mover.get("/put", tmp_path / "got", progress=enough)
        assert mover.stat("/put").size == 2_000_000
        assert "USER" not in script.heard, "the connection was kept"


def test_our_own_files_fail_as_ours(told: tuple[Ftp, Script], tmp_path: Path) -> None:
    server, _ = told
    (server.folder / "there").write_bytes(b"x" * 5000)
    with closing(connect(server)) as mover:
        with pytest.raises(SourceGone) as failure:
            mover.put(tmp_path / "none", "/put")
        assert failure.value.where == str(tmp_path / "none")
        with pytest.raises(Permanent):
            mover.get("/there", tmp_path / "none" / "got")
        with pytest.raises(NoSpace):
            mover.get("/there", Path("/dev/full"))
        assert mover.alive()


def _whole_seconds(path: Path) -> int:
    return int(path.stat().st_mtime) * 1_000_000_000
