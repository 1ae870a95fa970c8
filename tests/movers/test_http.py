"""The HTTP mover against real servers, broken lines, and every answer that is no file."""

import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from contract_suite import suite
from pydantic import SecretStr

from servers import dav
from servers.dav import PASSWORD, USER, Dav
from servers.proxy import Fault, Proxy, Route
from servers.scripted import HANG_UP, SILENCE, Heard, Scripted, reply
from tranship_movers.checks import Ground
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
    SourceChanged,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
)
from tranship_movers.http import HttpMover, HttpOptions
from tranship_movers.place import Place
from tranship_movers.transfer import RESUMED_FROM, download
from tranship_movers.web.digest import Challenge
from tranship_movers.web.meanings import refusal

Write = Callable[[str, bytes], Path]
TOKEN = "Pl4nted-T0ken"
CONTENT = random.Random(1).randbytes(200_000)
DATE = "Fri, 13 Feb 2009 23:31:30 GMT"


def connect(port: int, *, user: str = USER, query: str = "", **options: object) -> HttpMover:
    place = Place("http", "127.0.0.1", "/", port, user, SecretStr(PASSWORD) if user else None, query)
    return HttpMover(place, HttpOptions.model_validate({"timeout": "2 s", **options}))


@pytest.fixture(scope="module")
def rclone() -> Iterator[Dav]:
    """A web server with ranges, entity tags and a login; that it speaks WebDAV, too, is not used here."""
    with dav.rclone() as server:
        (server.folder / "data.bin").write_bytes(CONTENT)
        os.utime(server.folder / "data.bin", (1_234_567_890, 1_234_567_890))
        (server.folder / "empty").write_bytes(b"")
        (server.folder / "50% #1 ü?.dat").write_bytes(b"odd")
        yield server


@pytest.fixture(scope="module")
def nginx() -> Iterator[Dav]:
    with dav.nginx() as server:
        (server.folder / "data.bin").write_bytes(CONTENT)
        os.utime(server.folder / "data.bin", (1_234_567_890, 1_234_567_890))
        (server.folder / "empty").write_bytes(b"")
        (server.folder / "50% #1 ü?.dat").write_bytes(b"odd")
        yield server


@pytest.fixture(params=["rclone", "nginx"])
def server(request: pytest.FixtureRequest) -> Dav:
    served: Dav = request.getfixturevalue(request.param)
    return served


@pytest.fixture
def http_ground(rclone: Dav, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(rclone.port), "/", tmp_path, secret=PASSWORD)


TestHttpPromises = suite("http_ground", must=("alive",))


# Real servers


def test_a_file_is_read_whole_with_its_time(server: Dav, tmp_path: Path) -> None:
    told: list[int] = []
    with closing(connect(server.port)) as mover:
        facts = mover.stat("/data.bin")
        assert facts is not None
        assert (facts.size, facts.mtime_ns) == (len(CONTENT), 1_234_567_890_000_000_000)
        mover.get("/data.bin", tmp_path / "got", progress=told.append)
        download(mover, "/data.bin", tmp_path / "verified")
        assert (tmp_path / "verified").read_bytes() == CONTENT
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert int(os.stat(tmp_path / "got").st_mtime) == 1_234_567_890
    assert sum(told) == len(CONTENT)


def test_odd_names_and_nothing(server: Dav, tmp_path: Path) -> None:
    with closing(connect(server.port)) as mover:
        for name, content in {"/50% #1 ü?.dat": b"odd", "/empty": b""}.items():
            mover.get(name, tmp_path / "got")
            assert (tmp_path / "got").read_bytes() == content
            facts = mover.stat(name)
            assert facts is not None
            assert facts.size == len(content)
        assert mover.stat("/gone") is None
        with pytest.raises(SourceGone):
            mover.get("/gone", tmp_path / "gone")


@pytest.mark.parametrize("rest", [70_000, 1, 0])
def test_only_the_rest_is_asked_for(rest: int, server: Dav, tmp_path: Path) -> None:
    told: list[int] = []
    target = tmp_path / "got"
    target.write_bytes(CONTENT[: len(CONTENT) - rest] + b"of another attempt")
    with closing(connect(server.port)) as mover:
        mover.get("/data.bin", target, offset=len(CONTENT) - rest, progress=told.append)
        assert target.read_bytes() == CONTENT
        assert int(os.stat(target).st_mtime) == 1_234_567_890
        assert sum(told) == rest
        target.write_bytes(CONTENT + b"and more")
        with pytest.raises(SourceChanged):
            mover.get("/data.bin", target, offset=len(CONTENT) + 8)


def test_a_server_without_ranges_gives_everything(tmp_path: Path) -> None:
    target = tmp_path / "got"
    target.write_bytes(b"what came before")
    with Scripted(lambda _: reply(200, CONTENT)) as server, closing(connect(server.port)) as mover:
        mover.get("/x", target, offset=10)
        assert server.heard[0].headers["range"] == "bytes=10-"
    assert target.read_bytes() == CONTENT


def test_another_version_than_was_told_of_is_not_taken(tmp_path: Path) -> None:
    def answer(heard: Heard) -> bytes:
        body = b"" if heard.method == "HEAD" else content
        return reply(200, body, Content_Length=str(len(content)), ETag=tags[heard.method])

    content, tags = bytes(RESUMED_FROM), {"HEAD": '"one"', "GET": '"one"'}
    with Scripted(answer) as server, closing(connect(server.port)) as mover:
        facts = mover.stat("/x")
        assert facts is not None
        assert facts.tag == '"one"'
        mover.get("/x", tmp_path / "got")
        tags["GET"] = '"two"'
        with pytest.raises(SourceChanged):
            mover.get("/x", tmp_path / "other")
        assert (tmp_path / "other").read_bytes() == b""
        content = b"small files are never gone on with"
        mover.get("/x", tmp_path / "other")


@pytest.mark.parametrize(
    ("etag", "modified", "tag"),
    [
        ('"a"', "Fri, 13 Feb 2009 23:31:28 GMT", '"a"'),
        ('"a"', "Fri, 13 Feb 2009 23:31:29 GMT", ""),  # nginx makes it of seconds and size
        ('W/"a"', "Fri, 13 Feb 2009 23:31:28 GMT", ""),
        ("", "Fri, 13 Feb 2009 23:31:28 GMT", ""),
    ],
)
def test_a_tag_that_the_next_version_may_have_is_none(etag: str, modified: str, tag: str) -> None:
    said = reply(200, Content_Length="3", ETag=etag, Last_Modified=modified, Date=DATE)
    with Scripted(lambda _: said) as server, closing(connect(server.port)) as mover:
        facts = mover.stat("/x")
        assert facts is not None
        assert facts.tag == tag


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_cut_download_goes_on_where_it_was(kind: str, server: Dav, tmp_path: Path) -> None:
    told: list[int] = []
    with Proxy(Route(("127.0.0.1", server.port))) as proxy:
        proxy.fault = Fault(kind, at=120_000, direction="down")  # type: ignore[arg-type]
        with closing(connect(proxy.port)) as mover:
            mover.get("/data.bin", tmp_path / "got", progress=told.append)
        assert (tmp_path / "got").read_bytes() == CONTENT
        assert sum(told) == len(CONTENT), "what had come was asked for again"
        assert proxy.accepted == 2


@pytest.mark.soak
def test_more_than_two_gibibytes_are_read_whole(nginx: Dav, tmp_path: Path) -> None:
    with (nginx.folder / "huge").open("wb") as file:
        file.seek((2 << 30) + 4)
        file.write(b"end")
    with closing(connect(nginx.port, timeout="60 s")) as mover:
        download(mover, "/huge", tmp_path / "back")
    with (tmp_path / "back").open("rb") as file:
        assert file.seek(-3, os.SEEK_END) == (2 << 30) + 4
        assert file.read() == b"end"


def test_over_tls_the_host_must_prove_itself(tmp_path: Path) -> None:
    with dav.wsgidav_tls() as server:
        (server.folder / "data.bin").write_bytes(CONTENT)
        place = Place("https", "127.0.0.1", "/", server.port, USER, SecretStr(PASSWORD))
        with pytest.raises(HostUnproven):
            HttpMover(place, HttpOptions())
        with closing(HttpMover(place, HttpOptions(ca_file=server.authority))) as mover:
            mover.get("/data.bin", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == CONTENT


def test_a_port_that_speaks_no_tls(rclone: Dav) -> None:
    place = Place("https", "127.0.0.1", "/", rclone.port)
    with pytest.raises(Unreachable, match="TLS"):
        HttpMover(place, HttpOptions())


# What is no file


def got(
    answer: Callable[[Heard], bytes | Iterable[bytes]],
    tmp_path: Path,
    name: str = "/x.bin",
    **options: object,
) -> bytes:
    with Scripted(answer) as server, closing(connect(server.port, **options)) as mover:
        mover.get(name, tmp_path / "got")
    return (tmp_path / "got").read_bytes()


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc" + HANG_UP,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n" + HANG_UP,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab" + HANG_UP,
        b"HTTP/1.1 200 OK\r\nContent-Le" + HANG_UP,
        b"220 ftp ready\r\n" + HANG_UP,
        HANG_UP,
    ],
    ids=["short", "no last chunk", "half a chunk", "half a head", "no HTTP", "nothing"],
)
def test_a_truncated_answer_is_temporary(said: bytes, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        got(lambda _: said, tmp_path)


def test_a_length_that_nobody_tells_is_refused_or_accepted(tmp_path: Path) -> None:
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is" + HANG_UP
    with pytest.raises(Permanent, match="unknown_length"):
        got(lambda _: endless, tmp_path)
    assert got(lambda _: endless, tmp_path, unknown_length="accepted") == b"all there is"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert got(lambda _: chunked, tmp_path) == b"abc"


def test_a_login_page_is_no_file(tmp_path: Path) -> None:
    page = reply(200, b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")
    with pytest.raises(Mangled, match="login"):
        got(lambda _: page, tmp_path)
    with Scripted(lambda _: page) as server, closing(connect(server.port)) as mover, pytest.raises(Mangled):
        mover.stat("/x.bin")
    assert got(lambda _: page, tmp_path, "/index.html").startswith(b"<html>")
    assert got(lambda _: page, tmp_path, expect_type="text/*").startswith(b"<html>")


def test_the_type_that_is_expected(tmp_path: Path) -> None:
    data = reply(200, b"abc", Content_Type="application/x-netcdf")
    assert got(lambda _: data, tmp_path, expect_type="application/*") == b"abc"
    with pytest.raises(Mangled, match="application/x-netcdf came instead of image"):
        got(lambda _: data, tmp_path, expect_type="image/*")
    with pytest.raises(Mangled, match="no type"):
        got(lambda _: reply(200, b"abc"), tmp_path, expect_type="image/*")


def test_bytes_are_kept_as_they_lie_there(tmp_path: Path) -> None:
    packed = reply(200, b"\x1f\x8bpacked", Content_Encoding="gzip")
    asked: list[Heard] = []

    def answer(heard: Heard) -> bytes:
        asked.append(heard)
        return packed

    assert got(answer, tmp_path, "/x.nc.gz") == b"\x1f\x8bpacked"
    with pytest.raises(Mangled, match="encoded"):
        got(answer, tmp_path, "/x.nc")
    assert all(heard.headers["accept-encoding"].startswith("identity") for heard in asked)


def test_a_server_that_fails_once_is_temporary_and_then_fine(tmp_path: Path) -> None:
    answers = [reply(500), reply(503, Retry_After="17"), reply(429), reply(200, b"fine")]

    def answer(heard: Heard) -> bytes:
        return answers.pop(0) if heard.method == "GET" else reply(200, b"fine")

    with Scripted(answer) as server, closing(connect(server.port)) as mover:
        with pytest.raises(Temporary):
            mover.get("/x", tmp_path / "got")
        with pytest.raises(Busy, match="wait 17 s"):
            mover.get("/x", tmp_path / "got")
        with pytest.raises(Busy):
            mover.get("/x", tmp_path / "got")
        mover.get("/x", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"fine"


MEANINGS: list[tuple[int, type[MoverError]]] = [
    (202, Temporary),
    (204, Permanent),
    (206, Permanent),
    (300, Permanent),
    (304, Permanent),
    (400, Permanent),
    (401, LoginRefused),
    (402, LoginRefused),
    (403, Permanent),
    (404, SourceGone),
    (405, Permanent),
    (407, LoginRefused),
    (408, TimedOut),
    (409, Permanent),
    (410, SourceGone),
    (412, Temporary),
    (413, Permanent),
    (414, NameRefused),
    (415, Permanent),
    (416, Mangled),
    (418, Permanent),
    (421, Temporary),
    (423, Busy),
    (425, Busy),
    (426, Misconfigured),
    (429, Busy),
    (431, NameRefused),
    (451, Permanent),
    (499, Permanent),
    (500, Temporary),
    (501, Misconfigured),
    (502, Temporary),
    (503, Busy),
    (504, TimedOut),
    (505, Misconfigured),
    (507, NoSpace),
    (511, LoginRefused),
    (599, Temporary),
]


@pytest.mark.parametrize(("status", "kind"), MEANINGS)
def test_what_a_status_means(status: int, kind: type[MoverError], tmp_path: Path) -> None:
    bodiless = status in (204, 304)
    said = reply(status, b"" if bodiless else b"an error page")
    with pytest.raises(MoverError) as refused:
        got(lambda _: said, tmp_path)
    assert type(refused.value) is kind
    assert str(status) in str(refused.value)
    assert (tmp_path / "got").read_bytes() == b"", "an error page is never a file"


def test_a_wait_is_told_only_if_it_is_a_number_of_seconds() -> None:
    assert "wait 30 s" in str(refusal(503, "get", "30"))
    assert "wait" not in str(refusal(503, "get", "30\r\nX: y"))


# Ranges


class Store:
    """Serves one file with an entity tag; `cut_at` ends every first answer to a connection there."""

    def __init__(self, content: bytes, cut_at: int) -> None:
        self.content, self.cut_at, self.etag = content, cut_at, '"v1"'
        self.ranges: list[str] = []

    def __call__(self, heard: Heard) -> bytes:
        wanted = heard.headers.get("range", "")
        if heard.method == "HEAD":
            return reply(200, self.content, ETag=self.etag)
        self.ranges.append(wanted)
        start = int(wanted[6:-1]) if wanted and heard.headers.get("if-range") == self.etag else 0
        rest = self.content[start:]
        told = {"Content_Length": str(len(rest)), "ETag": self.etag, "Last_Modified": DATE}
        if start:
            told["Content_Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        head = reply(206 if start else 200, **told)
        return head + (rest[: self.cut_at] + HANG_UP if len(rest) > self.cut_at else rest)


def test_a_download_is_taken_up_as_often_as_it_is_cut(tmp_path: Path) -> None:
    store = Store(CONTENT[:1000], cut_at=300)
    assert got(store, tmp_path) == CONTENT[:1000]
    assert store.ranges == ["", "bytes=300-", "bytes=600-", "bytes=900-"]


def test_a_download_is_not_taken_up_for_ever(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        got(Store(CONTENT[:1000], cut_at=300), tmp_path, resumes=2)


def test_a_try_that_brings_nothing_is_the_last(tmp_path: Path) -> None:
    store, asked = Store(CONTENT[:1000], cut_at=300), []

    def answer(heard: Heard) -> bytes:
        asked.append(heard)
        return store(heard) if len(asked) == 1 else HANG_UP

    with pytest.raises(Unreachable):
        got(answer, tmp_path)
    assert len(asked) == 2


def test_a_file_that_changed_meanwhile_is_taken_from_its_start(tmp_path: Path) -> None:
    store = Store(b"old" * 100, cut_at=200)

    def answer(heard: Heard) -> bytes:
        said = store(heard)
        store.content, store.etag = b"new!" * 50, '"v2"'
        return said

    assert got(answer, tmp_path) == b"new!" * 50
    assert store.ranges == ["", "bytes=200-"]


def test_without_a_strong_tag_nothing_is_pieced_together(tmp_path: Path) -> None:
    store = Store(CONTENT[:1000], cut_at=300)
    store.etag = 'W/"weak"'
    with pytest.raises(Unreachable):
        got(store, tmp_path)
    assert store.ranges == [""]


@pytest.mark.parametrize("told", ["bytes 0-699/1000", "bytes 400-999/1000", "bytes 300-999/2000", ""])
def test_a_part_that_was_not_asked_for_is_refused(told: str, tmp_path: Path) -> None:
    store = Store(CONTENT[:1000], cut_at=300)

    def answer(heard: Heard) -> bytes:
        if not heard.headers.get("range"):
            return store(heard)
        return reply(206, CONTENT[300:1000], **({"Content_Range": told} if told else {}))

    with pytest.raises(Mangled, match="another part"):
        got(answer, tmp_path)


def test_a_version_that_was_announced_and_another_that_came(tmp_path: Path) -> None:
    """Apache and rclone do that, if a file is replaced between their look at it and their opening it."""
    answers = {"GET": reply(200, b"new!" * 2, ETag='"old"'), "HEAD": reply(200, b"new!" * 3, ETag='"new"')}
    with pytest.raises(SourceChanged):
        got(lambda heard: answers[heard.method], tmp_path)
    for without in (reply(405), reply(501), b"HTTP/1.1 200 OK\r\n\r\n"):
        answers["HEAD"] = without
        assert got(lambda heard: answers[heard.method], tmp_path) == b"new!new!"


# Facts without HEAD


@pytest.mark.parametrize("to_head", [reply(405), reply(501), reply(403), b"HTTP/1.1 200 OK\r\n\r\n"])
def test_stat_asks_for_the_first_byte_if_head_does_not_tell(to_head: bytes) -> None:
    first = reply(206, b"a", Content_Range="bytes 0-0/1234", Last_Modified=DATE)
    with Scripted(lambda heard: to_head if heard.method == "HEAD" else first) as server:
        with closing(connect(server.port)) as mover:
            facts = mover.stat("/x.bin")
        assert facts is not None
        assert (facts.size, facts.mtime_ns) == (1234, 1_234_567_890_000_000_000)
        assert server.heard[-1].headers["range"] == "bytes=0-0"


def test_stat_of_an_empty_file_and_of_an_untold_length() -> None:
    answers = {"GET": reply(416, Content_Range="bytes */0")}
    with (
        Scripted(lambda heard: answers.get(heard.method, reply(405))) as server,
        closing(connect(server.port)) as mover,
    ):
        facts = mover.stat("/x.bin")
        assert facts is not None
        assert facts.size == 0
        answers["GET"] = reply(206, b"a", Content_Range="bytes 0-0/*")
        with pytest.raises(Permanent, match="how long"):
            mover.stat("/x.bin")


def test_what_would_write_or_list_is_misconfigured(rclone: Dav, write: Write) -> None:
    with closing(connect(rclone.port)) as mover:
        for act in (
            lambda: mover.put(write("a", b"a"), "/a"),
            lambda: mover.rename("/data.bin", "/b"),
            lambda: mover.remove("/data.bin"),
            lambda: mover.make_folders("/c"),
            lambda: mover.list("/"),
        ):
            with pytest.raises(Misconfigured):
                act()
    assert (rclone.folder / "data.bin").exists()


# Redirects and credentials


def test_a_redirect_to_another_host_gets_no_credentials(tmp_path: Path) -> None:
    for options in ({}, {"token": TOKEN}):
        with Scripted(lambda _: reply(200, b"moved")) as other:
            there = reply(302, Location=f"http://user:pass@127.0.0.1:{other.port}/there?key=1")
            with (
                Scripted(lambda _, said=there: said) as first,
                closing(connect(first.port, **options)) as mover,
            ):
                mover.get("/x.bin", tmp_path / "got")
                assert "authorization" in first.heard[0].headers
            assert (tmp_path / "got").read_bytes() == b"moved"
            assert {heard.target for heard in other.heard} == {"/there?key=1"}
            assert all("authorization" not in heard.headers for heard in other.heard)


def test_a_redirect_on_the_same_host_keeps_them(tmp_path: Path) -> None:
    def answer(heard: Heard) -> bytes:
        return reply(200, b"here") if heard.target == "/a/y%20z" else reply(307, Location="y z")

    with Scripted(answer) as server, closing(connect(server.port)) as mover:
        mover.get("/a/x", tmp_path / "got")
        assert all("authorization" in heard.headers for heard in server.heard)
    assert (tmp_path / "got").read_bytes() == b"here"


def test_redirects_end(tmp_path: Path) -> None:
    with Scripted(lambda _: reply(302, Location="/again")) as server:
        with closing(connect(server.port, redirects=3)) as mover, pytest.raises(Permanent, match="redirects"):
            mover.get("/x.bin", tmp_path / "got")
        assert len(server.heard) == 4


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[bad/", "http://h:99999/"]
)
def test_a_redirect_that_leads_away_is_not_followed(location: str, tmp_path: Path) -> None:
    with pytest.raises(Permanent):
        got(lambda _: reply(302, Location=location), tmp_path)


def test_a_redirect_from_tls_to_plain_text_is_not_followed(tmp_path: Path) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with Scripted(lambda _: reply(200, b"plain")) as plain:
        there = reply(302, Location=f"http://127.0.0.1:{plain.port}/x")
        with Scripted(lambda _: there, tls=tls) as server:
            place = Place("https", "127.0.0.1", "/", server.port, USER, SecretStr(PASSWORD))
            mover = HttpMover(place, HttpOptions(ca_file=tmp_path / "authority.pem"))
            with closing(mover), pytest.raises(Permanent, match="plain text"):
                mover.get("/x", tmp_path / "got")
        assert not plain.heard


def test_a_bearer_token_from_a_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}-1\n")
    with Scripted(lambda _: reply(200, b"x")) as server:
        with closing(connect(server.port, token_file=str(file))) as mover:
            mover.get("/x", tmp_path / "got")
            file.write_text(f"{TOKEN}-2\n")
            mover.get("/x", tmp_path / "got")
            file.unlink()
            with pytest.raises(Misconfigured, match="token_file"):
                mover.stat("/x")
        sent = [heard.headers["authorization"][-2:] for heard in server.heard if heard.method == "GET"]
        assert sent == ["-1", "-2"]


def test_a_query_goes_along_and_is_not_told(tmp_path: Path) -> None:
    with Scripted(lambda _: reply(404)) as server:
        with (
            closing(connect(server.port, query=f"key={TOKEN}")) as mover,
            pytest.raises(SourceGone) as refused,
        ):
            mover.get("/a b", tmp_path / "got")
        assert server.heard[0].target == f"/a%20b?key={TOKEN}"
    assert TOKEN not in f"{refused.value} {refused.value!r}"


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_no_secret_is_in_an_error(status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    for options in ({}, {"token": TOKEN}, {"login": "digest"}):
        with pytest.raises(MoverError) as refused:
            got(lambda _: reply(status), tmp_path, **options)
        error: BaseException | None = refused.value
        while error is not None:
            assert PASSWORD not in f"{error} {error!r}"
            assert TOKEN not in f"{error} {error!r}"
            error = error.__cause__ or error.__context__
        assert TOKEN not in repr(HttpOptions.model_validate(options))
    assert PASSWORD not in caplog.text
    assert TOKEN not in caplog.text


def test_a_token_with_a_line_break_is_no_second_header(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as refused:
        got(lambda _: reply(200), tmp_path, token=f"{TOKEN}\r\nX-Evil: 1")
    assert TOKEN not in str(refused.value)


def test_digest_answers_as_rfc_7616_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    monkeypatch.setattr("tranship_movers.web.digest.secrets.token_hex", lambda _: cnonce)
    nonce, opaque = (
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    )
    expected = {
        "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    }
    for algorithm, proof in expected.items():
        challenge = Challenge.of(
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
            f'nonce="{nonce}", opaque="{opaque}"'
        )
        assert challenge is not None
        told = challenge.answer("Mufasa", "Circle of Life", "GET", "/dir/index.html")
        assert f'response="{proof}"' in told
        assert "Circle" not in told


# Deadlines


@pytest.mark.parametrize(
    "said",
    [
        SILENCE,
        b"HTTP/1.1 200 OK\r\nContent-" + SILENCE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" + SILENCE,
    ],
    ids=["no answer", "half a head", "half a body"],
)
def test_silence_ends_at_the_deadline(said: bytes, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        got(lambda _: said, tmp_path, timeout="300 ms")
    assert 0.2 < time.monotonic() - began < 2


def test_a_head_that_drips_ends_at_the_deadline(tmp_path: Path) -> None:
    left = threading.Event()

    def drip(_: Heard) -> Iterator[bytes]:
        for letter in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"X-More: and more\r\n" * 10:
            yield bytes([letter])
            left.wait(0.02)

    began = time.monotonic()
    with pytest.raises(TimedOut):
        got(drip, tmp_path, timeout="300 ms")
    assert 0.2 < time.monotonic() - began < 3, "it would drip for 5 s"


def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        got(lambda _: b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 100_000, tmp_path)


def test_a_host_that_is_not_there() -> None:
    with pytest.raises(Unreachable, match="refused"):
        connect(dav.free_port())
    with pytest.raises(Unreachable, match="name"):
        HttpMover(Place("http", "no.such.host.invalid"), HttpOptions())


def test_what_progress_raises_comes_out_as_it_is(rclone: Dav, tmp_path: Path) -> None:
    def broken(_: int) -> None:
        raise ConnectionError("mine")

    with closing(connect(rclone.port)) as mover:
        with pytest.raises(ConnectionError, match="mine"):
            mover.get("/data.bin", tmp_path / "got", progress=broken)
        mover.get("/data.bin", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT


def test_a_target_that_cannot_be_written_is_our_own_fault(rclone: Dav, tmp_path: Path) -> None:
    with closing(connect(rclone.port)) as mover:
        with pytest.raises(Permanent) as refused:
            mover.get("/data.bin", tmp_path / "no folder" / "got")
        assert type(refused.value) is Permanent
        with pytest.raises(NoSpace):
            mover.get("/data.bin", Path("/dev/full"))
