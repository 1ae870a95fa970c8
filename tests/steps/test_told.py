"""The files that a message tells of, one by one."""

import pytest

from tranship.steps.told import told
from tranship.wire.messages import compose


@pytest.mark.parametrize(
    ("uri", "clean"),
    [
        ("/in/a@b.dat", "/in/a@b.dat"),
        ("ssh://me:Pl4nted@host/in/a@b.dat", "ssh://host/in/a@b.dat"),
        ("zip://m::sftp://me:Pl4nted@host/a.zip", "zip://m::sftp://host/a.zip"),
    ],
)
def test_no_login_of_a_uri_is_told_on(uri: str, clean: str) -> None:
    [file] = told(compose("/a", "dataset", {"dataset": [{"uri": uri, "uid": "a"}]}))
    assert file.uri == file.message.data["uri"] == clean
    assert b"Pl4nted" not in file.message.encode()
