import pytest

from tranship.core.allow import Allowed


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
    ],
)
def test_a_pattern_fits_what_it_says(pattern: str, url: str, fits: bool) -> None:
    assert Allowed([pattern])(url) is fits


def test_nothing_is_allowed_by_default() -> None:
    assert not Allowed([])("file:///tmp/x")


@pytest.mark.parametrize("url", ["file:///data/out/a\0b", "sftp://[host/in/x", "sftp://host:port/in/x"])
def test_what_can_not_be_judged_is_not_allowed(url: str) -> None:
    assert not Allowed(["file:///data/out/**", "sftp://**"])(url)
