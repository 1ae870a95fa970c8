"""What was delivered is what was announced, or it is said what differs."""

import hashlib
from pathlib import Path

import pytest

from tranship.core.values import Wanted
from tranship.steps.verify import Arrival, verify

CONTENT = b"content"
SHA = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, ""),
        ({"size": 7}, ""),
        ({"size": 7, "checksum": SHA}, ""),
        ({"checksum": SHA}, ""),
        ({"size": 6}, "7 bytes arrived, 6 were announced"),
        ({"size": 8}, "7 bytes arrived, 8 were announced"),
        ({"size": 0}, "7 bytes arrived, 0 were announced"),
        ({"size": 7, "checksum": SHA[:-1] + "?"}, "its checksum is not"),
        ({"size": 6, "checksum": SHA}, "7 bytes arrived"),
    ],
)
def test_size_and_checksum_are_as_they_were_told(
    tmp_path: Path, wanted: dict[str, object], reason: str
) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(CONTENT)
    told = verify([Arrival(str(path), Wanted("a.dat", "/in/a.dat", **wanted))])  # type: ignore[arg-type]
    assert told.startswith(f"{path}: {reason}" if reason else "")
    assert bool(told) is bool(reason)


def test_what_is_not_there_or_no_file_is_no_success(tmp_path: Path) -> None:
    missing = Arrival(str(tmp_path / "gone.dat"), Wanted("gone.dat", "/in/gone.dat"))
    assert verify([missing]) == f"{missing.path}: nothing arrived there"
    folder = Arrival(str(tmp_path), Wanted("a", "/in/a", checksum=SHA))
    assert "can't be read to verify it" in verify([folder])


def test_one_wrong_file_of_several_is_named(tmp_path: Path) -> None:
    arrivals = []
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(CONTENT)
        arrivals.append(Arrival(str(tmp_path / name), Wanted(name, f"/in/{name}", 7)))
    assert verify(arrivals) == ""
    (tmp_path / "b").write_bytes(b"")
    assert verify(arrivals) == f"{tmp_path}/b: 0 bytes arrived, 7 were announced"
