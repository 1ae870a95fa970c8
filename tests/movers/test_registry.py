import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import AliasChoices, Field

import tranship_movers
from tranship_movers.errors import Misconfigured, NameRefused, SourceGone
from tranship_movers.file import FileMover, FileOptions
from tranship_movers.memory import MemoryMover, host
from tranship_movers.options import MoverOptions, keys_of, options_of
from tranship_movers.place import Place
from tranship_movers.registry import connect, known_schemes, mover_class, options_for

Write = Callable[[str, bytes], Path]


class SampleOptions(MoverOptions):
    key_file: str = Field(default="", validation_alias=AliasChoices("key_file", "ssh_key_filename"))


def test_schemes_find_their_movers() -> None:
    assert mover_class("file") is FileMover
    assert mover_class("memory") is MemoryMover
    assert {"sftp", "scp", "ftp", "ftps", "s3", "webdav", "webdavs", "http", "https"} <= known_schemes()


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(Misconfigured, match=r"`gopher`; known are file, .*sftp"):
        mover_class("gopher")


def test_fsspec_is_the_fall_back_for_what_it_knows() -> None:
    assert mover_class("gs").options is not mover_class("sftp").options
    assert mover_class("gs") is mover_class("github")
    assert "fsspec" not in known_schemes()
    with pytest.raises(Misconfigured):
        mover_class("fsspec")


def test_a_missing_library_is_told_with_the_command_that_installs_it() -> None:
    script = """
import sys
sys.modules["paramiko"] = None
from tranship_movers.registry import mover_class
try:
    mover_class("sftp")
except Exception as error:
    print(type(error).__name__, error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.startswith("Misconfigured")
    assert "pip install 'tranship[ssh]'" in told


def test_connecting_makes_a_mover_with_its_options(tmp_path: Path) -> None:
    place = Place.parse(f"{tmp_path}/")
    options = options_for(place, {"hard_link": True, "timeout": "5 s"})
    assert isinstance(options, FileOptions)
    assert options.hard_link
    assert isinstance(connect(place, options), FileMover)
    assert isinstance(connect(place), FileMover)


def test_a_wrong_key_names_itself_the_place_and_the_nearest_key() -> None:
    with pytest.raises(Misconfigured) as refused:
        options_for(Place.parse("file:///x"), {"hardlink": True, "at_once": 0})
    told = str(refused.value)
    assert "there is no option `hardlink`; the nearest is `hard_link`" in told
    assert "option `at_once`" in told
    assert "file:///x" in told


@pytest.mark.parametrize("option", ["timeout", "connect_timeout"])
def test_a_deadline_that_is_over_before_it_begins_is_refused(option: str) -> None:
    with pytest.raises(Misconfigured, match=f"option `{option}`.*longer than 0 s"):
        options_for(Place.parse("sftp://h/"), {option: 0})


def test_every_key_that_an_option_may_stand_in_is_known() -> None:
    """Who filters options by their keys (a chain with several movers does) loses none."""
    assert "client_kwargs" in keys_of(mover_class("s3").options)
    with pytest.raises(Misconfigured, match="nearest is `client_kwargs`"):
        options_for(Place.parse("s3://b/"), {"client_kwarg": {}})


def test_options_have_the_aliases_of_trollmoves() -> None:
    assert options_of(SampleOptions, {"ssh_key_filename": "k"}).key_file == "k"
    assert options_of(SampleOptions, {"key_file": "k"}).key_file == "k"
    assert {"key_file", "ssh_key_filename", "timeout"} <= keys_of(SampleOptions)


def test_false_as_text_is_false() -> None:
    assert options_of(MoverOptions, {"mkdirs": "False"}).mkdirs is False


def test_a_file_place_of_another_machine_is_refused() -> None:
    with pytest.raises(Misconfigured, match="file:///path"):
        connect(Place.parse("file://data/in/"))


def test_move_and_copy_in_one_line(tmp_path: Path, write: Write) -> None:
    source = write("a.dat", b"content")
    receipt = tranship_movers.copy(source, f"{tmp_path}/out/")
    assert receipt.name == f"{tmp_path}/out/a.dat"
    assert receipt.checksum.startswith("xxh128:")
    assert source.exists()
    tranship_movers.move(str(source), f"memory://{tmp_path.name}/new name.dat", {"timeout": "5 s"})
    assert host(tmp_path.name).files["/new name.dat"].content == b"content"
    assert not source.exists()
    assert host(tmp_path.name).connections == 0


def test_moving_a_file_onto_itself_keeps_it(tmp_path: Path, write: Write) -> None:
    source = write("a.dat", b"content")
    (tmp_path / "link").symlink_to(tmp_path)
    for target in (f"{tmp_path}/", str(source), f"{tmp_path}/link/a.dat"):
        with pytest.raises(tranship_movers.errors.Permanent, match="same file"):
            tranship_movers.move(source, target)
    assert source.read_bytes() == b"content"


def test_a_failed_move_keeps_the_source(tmp_path: Path, write: Write) -> None:
    source = write("a.dat", b"content")
    with pytest.raises(NameRefused):
        tranship_movers.move(source, f"{tmp_path}/" + "n" * 300)
    assert source.read_bytes() == b"content"
    with pytest.raises(SourceGone):
        tranship_movers.move(tmp_path / "absent", f"{tmp_path}/out/")
