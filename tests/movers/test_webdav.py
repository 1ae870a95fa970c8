"""The WebDAV mover against real servers, against broken lines, and against what no real server would say."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from contract_suite import suite
from pydantic import SecretStr

from servers import dav
from servers.dav import PASSWORD, USER, Dav
from servers.proxy import Proxy, Route
from servers.scripted import HANG_UP, SILENCE, Heard, Scripted, reply
from tranship_movers.checks import CHECKS, ODD_NAMES, Check, Ground
from tranship_movers.errors import (
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
    Unreachable,
)
from tranship_movers.place import Place
from tranship_movers.transfer import upload
from tranship_movers.webdav import WebdavMover, WebdavOptions
from tranship_movers.webdav.multistatus import entries_of

Write = Callable[[str, bytes], Path]
OLD = 1_234_567_890


@pytest.fixture(scope="module")
def wsgidav() -> Iterator[Dav]:
    with dav.wsgidav() as server:
        yield server


@pytest.fixture(scope="module")
def rclone() -> Iterator[Dav]:
    with dav.rclone() as server:
        yield server


@pytest.fixture(scope="module")
def nginx() -> Iterator[Dav]:
    with dav.nginx() as server:
        yield server


@pytest.fixture(scope="module")
def apache() -> Iterator[Dav]:
    with dav.apache() as server:
        yield server


@pytest.fixture(params=["wsgidav", "rclone", "nginx", "apache"])
def server(request: pytest.FixtureRequest) -> Dav:
    served: Dav = request.getfixturevalue(request.param)
    return served


def place_of(port: int, path: str = "/", password: str = PASSWORD, scheme: str = "webdav") -> Place:
    return Place(scheme, "127.0.0.1", path, port, USER, SecretStr(password))


def connect(port: int, **options: object) -> WebdavMover:
    return WebdavMover(place_of(port), WebdavOptions.model_validate({"timeout": "10 s", **options}))


# The promises of every mover


@pytest.fixture
def wsgidav_ground(wsgidav: Dav, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(wsgidav.port), "/scratch", tmp_path, secret=PASSWORD)


@pytest.fixture
def rclone_ground(rclone: Dav, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(rclone.port), "/scratch", tmp_path, secret=PASSWORD)


@pytest.fixture
def nginx_ground(nginx: Dav, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(nginx.port), "/scratch", tmp_path, secret=PASSWORD)


@pytest.fixture
def known_nginx_ground(nginx: Dav, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(nginx.port, server="nginx"), "/known", tmp_path, secret=PASSWORD)


@pytest.fixture
def apache_ground(apache: Dav, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(apache.port), "/scratch", tmp_path, secret=PASSWORD)


@pytest.fixture
def known_apache_ground(apache: Dav, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(apache.port, server="apache"), "/known", tmp_path, secret=PASSWORD)


RESUMING = ("get-on", "download-resumed", "download-mixed")
TestRclonePromises = suite("rclone_ground", must=RESUMING)
TestNginxPromises = suite("nginx_ground", must=RESUMING)
TestKnownNginxPromises = suite("known_nginx_ground", must=RESUMING)
TestApachePromises = suite("apache_ground", must=RESUMING)
TestKnownApachePromises = suite("known_apache_ground", must=RESUMING)


# wsgidav cuts new names at ? and ;: see test_a_server_that_cuts_names
@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.word != "odd-names"], ids=lambda check: check.word
)
def test_wsgidav_promises(check: Check, wsgidav_ground: Ground) -> None:
    assert check.run(wsgidav_ground) in ("holds", "not offered")


def test_a_server_that_cuts_names(wsgidav: Dav, write: Write) -> None:
    source = write("odd", b"odd")
    with closing(connect(wsgidav.port)) as mover:
        mover.make_folders("/cut")
        for name in ODD_NAMES:
            with pytest.raises(NameRefused) if set(name) & set("?;") else nullcontext():
                upload(mover, source, f"/cut/{name}")
        kept = {name for name in ODD_NAMES if not set(name) & set("?;")}
        assert {facts.name for facts in mover.list("/cut")} == kept


# What the four servers differ in


def test_a_new_name_can_hold_what_urls_give_a_meaning(server: Dav, write: Write) -> None:
    if server.kind == "wsgidav":
        return  # it cuts new names at ? and ;: see test_a_server_that_cuts_names
    with closing(connect(server.port)) as mover:
        mover.put(write("a", b"abc"), "/plain")
        mover.rename("/plain", "/odd ?;#%2F%.dat")
        assert (server.folder / "odd ?;#%2F%.dat").read_bytes() == b"abc"
        assert not [name for name in os.listdir(server.folder) if name.startswith("?")]


def test_a_folder_is_never_removed_or_replaced_as_if_it_were_a_file(server: Dav, write: Write) -> None:
    source = write("a", b"abc")
    with closing(connect(server.port)) as mover:
        mover.make_folders("/full/inner")
        mover.put(source, "/full/inner/precious")
        mover.put(source, "/file")
        with pytest.raises(Permanent, match="is a folder"):
            mover.remove("/full")
        with pytest.raises(Permanent, match="is a folder"):
            mover.rename("/file", "/full")
        with pytest.raises(Permanent):
            mover.put(source, "/full")
        assert (server.folder / "full/inner/precious").read_bytes() == b"abc"
        assert mover.stat("/file") is not None


def test_a_file_in_the_way_is_no_folder(server: Dav, write: Write) -> None:
    source = write("a", b"abc")
    with closing(connect(server.port)) as mover:
        mover.put(source, "/way")
        for act in (
            lambda: mover.make_folders("/way"),
            lambda: mover.make_folders("/way/deeper/still"),
            lambda: mover.put(source, "/way/below"),
            lambda: mover.list("/way"),
        ):
            with pytest.raises(Permanent) as refused:
                act()
            assert type(refused.value) is Permanent
        assert mover.stat("/way/below") is None
        assert (server.folder / "way").read_bytes() == b"abc"


def test_a_rename_without_source_harms_nothing(server: Dav, write: Write) -> None:
    with closing(connect(server.port)) as mover:
        mover.put(write("a", b"abc"), "/kept")
        for new in ("/kept", "/fresh"):
            with pytest.raises(SourceGone):
                mover.rename("/gone", new)
        assert (server.folder / "kept").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("start", "options", "keeps"),
    [
        (dav.rclone, {}, True),
        (lambda: dav.wsgidav(honor_mtime_header=True), {}, True),
        (lambda: dav.wsgidav(mutable_live_props=["{DAV:}getlastmodified"]), {}, True),
        (dav.wsgidav, {}, False),
        (dav.nginx, {"server": "nginx"}, True),
        (dav.apache, {}, False),
        (dav.rclone, {"keep_mtime": "no"}, False),
    ],
    ids=["rclone", "wsgidav by header", "wsgidav by property", "wsgidav", "nginx", "apache", "not wanted"],
)
def test_the_powers_say_whether_mtime_is_kept(
    start: Callable[[], dav.Served], options: dict[str, object], keeps: bool, write: Write
) -> None:
    source = write("dated", b"dated")
    with start() as server, closing(connect(server.port, **options)) as mover:
        mover.put(source, "/fresh")
        assert not mover.powers.mtime, "nothing can be learned from a file of this moment"
        os.utime(source, (OLD, OLD))
        for name in ("/first", "/second"):
            mover.put(source, name)
            assert mover.powers.mtime is keeps
            assert (int(os.stat(server.folder / name[1:]).st_mtime) == OLD) is keeps


def test_put_and_get_over_tls(write: Write, tmp_path: Path) -> None:
    content = random.randbytes(3_000_000)
    with dav.wsgidav_tls() as server:
        place = place_of(server.port, scheme="webdavs")
        with pytest.raises(HostUnproven):
            WebdavMover(place, WebdavOptions())
        for options in ({"ca_file": server.authority}, {"certificate": "any"}):
            with closing(WebdavMover(place, WebdavOptions.model_validate(options))) as mover:
                upload(mover, write("tls", content), "/tls.dat")
                mover.get("/tls.dat", tmp_path / "back")
                assert (tmp_path / "back").read_bytes() == content


# Who we are


def test_a_wrong_password_is_refused_and_not_told(server: Dav) -> None:
    with pytest.raises(LoginRefused) as refused:
        WebdavMover(place_of(server.port, password="Wr0ng-S3cret"), WebdavOptions())
    assert "Wr0ng-S3cret" not in f"{refused.value!r} {refused.value} {refused.value.__cause__!r}"


def test_digest_sends_no_password(write: Write) -> None:
    only_digest = {"accept_basic": False, "accept_digest": True, "default_to_digest": True}
    with dav.wsgidav(http_authenticator=only_digest) as server:
        with pytest.raises(LoginRefused):
            connect(server.port)
        with pytest.raises(LoginRefused):
            WebdavMover(place_of(server.port, password="wrong"), WebdavOptions(login="digest"))
        with closing(connect(server.port, login="digest")) as mover:
            for number in range(3):
                upload(mover, write("digest", b"digest"), f"/ä {number}.dat")
            assert len(list(mover.list("/"))) == 3


# What goes over the line


def multistatus(*entries: str) -> bytes:
    return f'<?xml version="1.0"?><multistatus xmlns="DAV:">{"".join(entries)}</multistatus>'.encode()


def entry(href: str, size: int | None = 3) -> str:
    kind = (
        "<resourcetype><collection/></resourcetype>"
        if size is None
        else f"<getcontentlength>{size}</getcontentlength>"
    )
    status = "<status>HTTP/1.1 200 OK</status>"
    return f"<response><href>{href}</href><propstat><prop>{kind}</prop>{status}</propstat></response>"


class Shelf:
    """Answers as a WebDAV server would; `instead` takes precedence, by method."""

    def __init__(self, **instead: bytes) -> None:
        self.instead = instead

    def __call__(self, heard: Heard) -> bytes:
        if heard.method in self.instead:
            return self.instead[heard.method]
        match heard.method:
            case "PROPFIND":
                size = None if heard.target.endswith("/") or heard.target == "/folder" else 3
                return reply(207, multistatus(entry(heard.target, size)))
            case "DELETE" | "MOVE":
                return reply(204)
            case _:
                return reply(201)


def test_a_put_that_is_repeated_sends_its_whole_body_again(write: Write) -> None:
    source, told = write("whole", random.randbytes(700_000)), []
    shelf, answers = Shelf(), [HANG_UP, reply(201), HANG_UP, HANG_UP]

    def answer(heard: Heard) -> bytes:
        return answers.pop(0) if heard.method == "PUT" else shelf(heard)

    with Scripted(answer) as server, closing(connect(server.port)) as mover:
        mover.put(source, "/folder/whole", progress=told.append)
        with pytest.raises(Unreachable):
            mover.put(source, "/folder/whole")
        bodies = [heard.body for heard in server.heard if heard.method == "PUT"]
    assert [body == source.read_bytes() for body in bodies] == [True] * 4
    assert sum(told) == 700_000, "a repeat is not told as more"
    assert min(told) > 0


def test_a_line_that_the_server_ended_is_made_anew(wsgidav: Dav, write: Write) -> None:
    content = random.randbytes(100_000)
    with Proxy(Route(("127.0.0.1", wsgidav.port))) as proxy, closing(connect(proxy.port)) as mover:
        for number in range(3):
            proxy.reset_all()
            upload(mover, write("anew", content), f"/anew{number}")
            assert (wsgidav.folder / f"anew{number}").read_bytes() == content


def test_a_refusal_before_the_end_of_the_body_is_heard(write: Write) -> None:
    source, full = write("large", bytes(64 << 20)), Shelf(PUT=reply(507) + SILENCE)
    with (
        Scripted(full, takes_bodies=False) as server,
        closing(connect(server.port, timeout="300 ms")) as mover,
    ):
        with pytest.raises(NoSpace):
            mover.put(source, "/large")
        assert mover.stat("/large") is not None, "the mover is of use again"


def test_a_move_is_never_repeated_on_a_guess(write: Write) -> None:
    with Scripted(Shelf(MOVE=HANG_UP)) as server, closing(connect(server.port)) as mover:
        mover.put(write("a", b"abc"), "/a")
        with pytest.raises(Unreachable):
            mover.rename("/a", "/b")
        assert [heard.method for heard in server.heard].count("MOVE") == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (201, None),
        (204, None),
        (202, Temporary),
        (207, Permanent),
        (301, Permanent),
        (400, Permanent),
        (401, LoginRefused),
        (403, Permanent),
        (404, Permanent),
        (405, Permanent),
        (409, Permanent),
        (412, Temporary),
        (413, Permanent),
        (415, Permanent),
        (423, Temporary),
        (500, Temporary),
        (503, Temporary),
        (507, NoSpace),
    ],
)
def test_what_a_status_of_put_means(status: int, kind: type[MoverError] | None, write: Write) -> None:
    with Scripted(Shelf(PUT=reply(status))) as server, closing(connect(server.port)) as mover:
        if kind is None:
            mover.put(write("a", b"abc"), "/folder/a")
            return
        with pytest.raises(kind) as refused:
            mover.put(write("a", b"abc"), "/folder/a")
        assert not isinstance(refused.value, SourceGone), "our source is still there"
        assert str(status) in str(refused.value) or "folder" in str(refused.value)


@pytest.mark.parametrize("status", [200, 400, 405, 501])
def test_a_server_without_webdav_is_told_at_once(status: int) -> None:
    with Scripted(lambda _: reply(status)) as server, pytest.raises(Misconfigured, match="no WebDAV"):
        connect(server.port)


def test_a_file_that_is_forbidden_while_it_is_replaced(tmp_path: Path) -> None:
    """As apache does, for a moment."""
    shelf, answers = Shelf(HEAD=reply(200, b"abc")), [reply(403), reply(200, b"abc"), reply(403), reply(403)]

    def answer(heard: Heard) -> bytes:
        return answers.pop(0) if heard.method == "GET" else shelf(heard)

    with Scripted(answer) as server, closing(connect(server.port)) as mover:
        mover.get("/a", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"abc"
        with pytest.raises(Permanent, match="403"):
            mover.get("/a", tmp_path / "got")
    assert not answers


def test_a_tag_that_becomes_strong_meanwhile_is_no_other_version(tmp_path: Path) -> None:
    """As apache's do a second after a file was written."""
    young, grown = reply(200, b"abc", ETag='W/"1-2"'), reply(200, b"abc", ETag='"1-2"')
    with Scripted(Shelf(GET=young, HEAD=grown)) as server, closing(connect(server.port)) as mover:
        mover.get("/a", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"abc"
    with (
        Scripted(Shelf(GET=young, HEAD=reply(200, b"abc", ETag='"1-3"'))) as server,
        closing(connect(server.port)) as mover,
        pytest.raises(SourceChanged),
    ):
        mover.get("/a", tmp_path / "got")


def test_a_server_that_is_elsewhere_is_told_at_once() -> None:
    for location in ("https://elsewhere.example/", "/login?then=x"):
        moved = reply(301, Location=location)
        with Scripted(lambda _, said=moved: said) as server, pytest.raises(Misconfigured, match="on to http"):
            connect(server.port)


def test_hrefs_are_absolute_or_not_and_decoded(tmp_path: Path) -> None:
    listed = multistatus(
        entry("http://elsewhere:8080/folder/", None),
        entry("http://elsewhere:8080/folder/a%20b%23%C3%BC.dat", 5),
        entry("/folder/sub/", None),
        entry("//folder/50%25.dat", 7),
    )
    shelf = Shelf()
    with Scripted(shelf) as server, closing(connect(server.port)) as mover:
        shelf.instead["PROPFIND"] = reply(207, listed)
        found = {(facts.name, facts.size, facts.is_folder) for facts in mover.list("/folder")}
        assert found == {("a b#ü.dat", 5, False), ("sub", 0, True), ("50%.dat", 7, False)}


@pytest.mark.parametrize(
    "href",
    ["/other/x", "/x", "/folder/../x", "/folder/..", "/folder/a%2Fb", "/folder/sub/x", "/folder/%00", "/"],
)
def test_a_listing_that_leaves_the_folder_is_refused(href: str) -> None:
    shelf = Shelf()
    with Scripted(shelf) as server, closing(connect(server.port)) as mover:
        shelf.instead["PROPFIND"] = reply(207, multistatus(entry("/folder/", None), entry(href)))
        with pytest.raises(Mangled, match="not in '/folder'"):
            mover.list("/folder")


@pytest.mark.parametrize(
    "text",
    [
        b'<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><multistatus xmlns="DAV:">&x;</multistatus>',
        b'<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><multistatus xmlns="DAV:">&b;</multistatus>',
        b'<!DOCTYPE m SYSTEM "http://127.0.0.1/x.dtd"><multistatus xmlns="DAV:"/>',
        multistatus(entry("/folder/"))[:-5],
        b"<html><body>Welcome</body></html>",
        b"",
    ],
    ids=["outer entity", "inner entity", "outer definition", "cut", "a page", "nothing"],
)
def test_a_listing_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(Mangled):
        entries_of([text])


def test_a_property_counts_only_if_it_was_found() -> None:
    lost = "<propstat><prop><getcontentlength>9</getcontentlength></prop><status>HTTP/1.1 404 No</status></propstat>"
    found = entries_of([multistatus(entry("/a").replace("</response>", lost + "</response>"))])
    assert [each.size for each in found] == [3]
    gone = "<response><href>/b</href><status>HTTP/1.1 404 Not Found</status></response>"
    assert [each.exists for each in entries_of([multistatus(gone)])] == [False]


# Large files


@pytest.mark.soak
def test_more_than_two_gigabytes(server: Dav, tmp_path: Path) -> None:
    source = tmp_path / "huge"
    with source.open("wb") as file:
        file.seek((2 << 30) + 4)
        file.write(b"end")
    with closing(connect(server.port, timeout="60 s")) as mover:
        upload(mover, source, "/huge")
        mover.get("/huge", tmp_path / "back")
        mover.remove("/huge")
    with (tmp_path / "back").open("rb") as file:
        assert file.seek(-3, 2) == (2 << 30) + 4
        assert file.read() == b"end"
