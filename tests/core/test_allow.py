import pytest

from tranship.core.allow import Allowed
from tranship_movers.errors import Misconfigured
from tranship_movers.place import Place


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("file:///data/out/**", "file:///data/out/", True),
        ("file:///data/out/**", "file:///data/out/a/b.dat", True),
        ("file:///data/out/**", "/data/out/a", True),
        ("file:///data/out/**", "file://somehost/data/out/a", True),
        ("file:///data/out/**", "file:///data/outside/a", False),
        ("file:///data/out/**", "file:///data/out/../../etc/", False),
        ("file:///data/out/**", "file:///data/out/%2e%2e/x/", False),
        ("file:///data/out/**", "file:///data//out/a", True),
        ("file:///data/out/**", "sftp://host/data/out/a", False),
        ("file:///data/*/in/", "file:///data/a/in/", True),
        ("file:///data/*/in/", "file:///data/a/b/in/", False),
        ("sftp://archive.example/in/**", "sftp://archive.example/in/x", True),
        ("sftp://archive.example/in/**", "sftp://me:secret@archive.example/in/x", True),
        ("sftp://archive.example/in/**", "sftp://archive.example:2222/in/x", False),
        ("sftp://archive.example:2222/in/**", "sftp://archive.example:2222/in/x", True),
        ("sftp://me@archive.example/in/**", "sftp://me@archive.example/in/x", True),
        ("sftp://me@archive.example/in/**", "sftp://you@archive.example/in/x", False),
        ("ftp://*.example/in/**", "ftp://a.example/in/", True),
        ("ftp://*.example/in/**", "ftp://evil.com/x.example/in/", False),
        ("ftp://*.example/in/**", "ftp://evil@b.example/in/", True),
        ("s3://bucket/**", "s3://bucket/key", True),
        ("s3://bucket/**", "s3://bucket2/key", False),
        ("file:///d.t/**", "file:///dat/x", False),
        ("**", "gopher://anything/at/all", True),
        ("sftp://[fd00::1]:2222/in/**", "sftp://[FD00::1]:2222/in/x", True),
        ("sftp://[fd00::1]/in/**", "sftp://[fd00::2]/in/x", False),
        ("sftp://Archive/in/**", "sftp://archive/in/x", True),
        ("ftp://an na@h/in/**", "ftp://an%20na@h/in/x", True),
        ("file:///a/**/b/**/c/", "file:///a/x/b/y/b/c/z/c/", True),
        ("file:///a/**/b/*/**/c/", "file:///a/b/x/b/y/z/c/", True),
        ("file:///a/**/b/**/c/", "file:///a/c/b/", False),
        ("file:///a/**/b*d/**", "file:///a/bx/bxd/y", True),
        ("ftp://**.example/**/in/**", "ftp://a.example/b/in/c", True),
        # what is no part of a path elsewhere is a plain character of one here
        ("file:///data/out/**", "file:///data/out#/x", False),
        ("file:///data/out/**", "file:///data/out?/x", False),
        ("file:///data/out/**", "file:///data/ou\tt/x", False),
        ("sftp://host/in/*/", "sftp://host/in/a/?/b/", False),
        # who the user is says nothing of the host
        ("sftp://host/in/**", "sftp://me%40host%2Fin%2F@evil/x", False),
        ("sftp://me@host/in/**", "sftp://me%40host%2Fin%2F@evil/x", False),
        ("sftp://*@host/in/**", "sftp://me%40host%2Fin%2F@evil/x", False),
        ("http://host/in/**", "http://host%2Fin%2F@evil/in/x", False),
    ],
)
def test_a_pattern_fits_what_it_says(pattern: str, url: str, fits: bool) -> None:
    assert Allowed([pattern])(Place.parse(url)) is fits


def test_nothing_is_allowed_by_default() -> None:
    assert not Allowed([])(Place.parse("file:///tmp/x"))


@pytest.mark.parametrize(
    "place",
    [
        Place("file", path="/data/out/a\0b"),
        Place("file", path="/data/out/../x"),
        Place("sftp", "host", "/in/../x"),
        Place("file", path="/data/out/" + "x/" * 3000),
        Place("file", path="/data/out/" + "x" * 1025),
    ],
)
def test_what_can_not_be_judged_is_not_allowed(place: Place) -> None:
    assert not Allowed(["file:///data/out/**", "sftp://**"])(place)


@pytest.mark.parametrize("host", ["evil%2Fx.example", "evil%23.example", "a%40b.example", "a%20b.example"])
def test_a_host_is_one(host: str) -> None:
    with pytest.raises(Misconfigured):
        Place.parse(f"ftp://{host}/in/")


def test_no_destination_keeps_the_judge_busy() -> None:
    """Tried in every way, this would take hours."""
    pattern = "file:///data/**" + "/in/**" * 6 + "/out/"
    assert not Allowed([pattern])(Place("file", path="/data" + "/in" * 1300))
    assert Allowed([pattern])(Place("file", path="/data" + "/in" * 1300 + "/out/"))
