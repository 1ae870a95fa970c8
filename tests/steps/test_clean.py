"""What is old goes, and nothing else: held against the real remove_it.py, and against links that lead out."""

import itertools
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from configparser import RawConfigParser
from datetime import timedelta
from pathlib import Path

import pytest
from trollmoves.filescleaner import FilesCleaner

from stage import Site, free_port
from tranship.config import ConfigError, load
from tranship.roles.clean import rule_of
from tranship.steps import clean as steps_clean
from tranship.steps.clean import Rule, Times, clean

DAY = 86400.0


def old(path: Path, days: float) -> Path:
    os.utime(path, (time.time() - days * DAY,) * 2, follow_symlinks=False)
    return path


def made(path: Path, days: float, content: bytes = b"12345") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return old(path, days)


def tree(folder: Path) -> Path:
    for name, days in itertools.product(("a.nc", "b.dat", ".hidden.nc", "c.nc.keep"), (1, 9)):
        for place in ("", "x", "x/deep", ".dot"):
            made(
                folder / place / f"{days}{name}" if name[0] != "." else folder / place / f".{days}{name}",
                days,
            )
    made(folder / "emptied/9.nc", 9)
    (folder / "old empty.nc").mkdir()
    for path in (folder / "old empty.nc", folder / "x", folder / "emptied", folder / "x/deep"):
        old(path, 9)
    (folder / "new empty").mkdir()
    return folder


class Said:
    """Where the peer publishes."""

    def send(self, message: str) -> None:
        """Nobody listens."""


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize(
    "templates", ["*", "*.nc", "x/*.nc", "*/*", "*.nc, *.dat", "*/", "x/, old empty.nc/", "./x//*.nc"]
)
def test_it_deletes_what_remove_it_deletes(tmp_path, templates, recursive, hidden):
    theirs, ours = tree(tmp_path / "theirs"), tree(tmp_path / "ours")
    info = {"base_dir": str(theirs), "templates": templates, "days": "5", "stat_time_method": "st_mtime"}
    info |= ({"recursive": "True"} if recursive else {}) | ({"include_hidden": "True"} if hidden else {})
    FilesCleaner(Said(), "s", info, dry_run=False).clean_section()
    rule = Rule(
        str(ours),
        tuple(part.strip() for part in templates.split(",")),
        timedelta(days=5),
        Times.MTIME,
        recursive,
        hidden,
    )
    planned = clean(rule, time.time(), remove=False)
    assert len(left(ours)) > len(left(theirs))
    done = clean(rule, time.time(), remove=True)
    assert planned == done
    # theirs removes every empty folder that it comes by; a new one may be somebody's who is about to write there
    spared = {"new empty"} if recursive and templates not in ("x/*.nc", "*/*", "./x//*.nc") else set()
    assert left(ours) - spared == left(theirs)
    assert not done.errors
    assert {gone.size for gone in done.gone if not gone.folder} <= {5}


@pytest.mark.parametrize("fresh", [True, False])
def test_a_link_is_as_old_as_what_it_leads_to_as_there(tmp_path, fresh):
    for base in (tmp_path / "theirs", tmp_path / "ours"):
        base.mkdir()
        made(base / "now.dat", 1 if fresh else 9)
        (base / "latest.nc").symlink_to("now.dat")
        old(base / "latest.nc", 9)
    info = {
        "base_dir": str(tmp_path / "theirs"),
        "templates": "*.nc",
        "days": "5",
        "stat_time_method": "st_mtime",
    }
    FilesCleaner(Said(), "s", info, dry_run=False).clean_section()
    rule = Rule(str(tmp_path / "ours"), ("*.nc",), timedelta(days=5), Times.MTIME)
    clean(rule, time.time(), remove=True)
    assert left(tmp_path / "ours") == left(tmp_path / "theirs")
    assert ("latest.nc" in left(tmp_path / "ours")) is fresh


def test_no_link_leads_out(tmp_path):
    outside, base = tmp_path / "outside", tmp_path / "base"
    made(outside / "sub/precious.nc", 9)
    base.mkdir()
    (base / "folder").symlink_to(outside)
    (base / "file.nc").symlink_to(outside / "sub/precious.nc")
    (base / "gone.nc").symlink_to(outside / "nothing")
    for name in ("folder", "file.nc", "gone.nc"):
        old(base / name, 9)
    everything = left(outside)
    for templates in (("*.nc",), ("*/*.nc",), ("folder/sub/*.nc",), ("folder/*",)):
        for recursive in (False, True):
            rule = Rule(str(base), templates, timedelta(days=5), Times.MTIME, recursive)
            assert not clean(rule, time.time(), remove=True).errors
    assert left(outside) == everything
    assert os.listdir(base) == ["folder"]  # of the links themselves, those that fit
    clean(Rule(str(base), ("*",), timedelta(days=5), Times.MTIME, True), time.time(), remove=True)
    assert os.listdir(base) == []
    assert left(outside) == everything


def test_a_folder_that_becomes_a_link_meanwhile(tmp_path):
    outside, base = tmp_path / "outside", tmp_path / "base"
    made(outside / "precious.nc", 9)
    for name in ("1", "2"):
        made(base / name / "precious.nc", 9)

    def swap(_: object) -> None:
        if not (base / "2").is_symlink():
            shutil.rmtree(base / "2")
            (base / "2").symlink_to(outside)

    rule = Rule(str(base), ("*.nc",), timedelta(days=5), Times.MTIME, True)
    clean(rule, time.time(), remove=True, gone=swap)
    assert left(outside) == {"precious.nc"}


def test_what_can_not_be_deleted_is_told_and_ends_nothing(tmp_path):
    rule = Rule(str(tmp_path / "nowhere"), ("*",), timedelta(0))
    assert clean(rule, time.time(), remove=True).errors == [
        (str(tmp_path / "nowhere"), "No such file or directory; is it mounted, and the path right?")
    ]
    made(tmp_path / "a/1.nc", 9)
    made(tmp_path / "b/1.nc", 9)

    def flee(gone: object) -> None:
        shutil.rmtree(tmp_path / "b", ignore_errors=True)

    outcome = clean(
        Rule(str(tmp_path), ("*/*.nc",), timedelta(days=5), Times.MTIME), time.time(), remove=True, gone=flee
    )
    assert [gone.path for gone in outcome.gone] == [f"{tmp_path}/a/1.nc"]


LEGACY = """[DEFAULT]
mailhost = localhost
to = me@here.example, you@here.example
subject = Cleanup of {user} on {hostname}
[one]
base_dir = %(base)s/one
templates = *.nc,*/*.dat
days = 5
hours = 12
stat_time_method = st_mtime
recursive = False
[two]
base_dir = %(base)s/two
templates = *
minutes = 30
stat_time_method = st_mtime
"""


def test_a_file_of_remove_it_is_read_as_it_is(tmp_path):
    file = tmp_path / "clean.ini"
    file.write_text(LEGACY.replace("%(base)s", str(tmp_path)))
    loaded = load(file)
    one, two = loaded.config.chains.values()
    assert one.older_than == timedelta(days=5, hours=12)
    assert one.templates == ("*.nc", "*/*.dat")
    assert (one.time, one.recursive, two.older_than) == (Times.MTIME, False, timedelta(minutes=30))
    assert loaded.config.mail.to == ("me@here.example", "you@here.example")
    assert loaded.config.nameservers.multicast
    assert len(loaded.warnings) == 1
    for line, told in (
        ("days = 5\nhours = 12", "has no age"),
        ("*.nc,*/*.dat", "leads out"),
        ("days = 5", "no number"),
    ):
        file.write_text(
            LEGACY.replace(line, {"has no age": "", "leads out": "../*", "no number": "days = x"}[told])
        )
        with pytest.raises(ConfigError, match=told):
            load(file)


def test_templates_that_are_full_paths_are_cleaned_there_as_by_remove_it(tmp_path):
    """As in Trollmoves' own example, where `base_dir` has to be there, and counts for nothing else."""
    for side in ("theirs", "ours"):
        tree(tmp_path / side / "a")
        tree(tmp_path / side / "b")
        (tmp_path / side / "base").mkdir()
        made(tmp_path / side / "base/9.nc", 9)

    def text(side: str) -> str:
        here = tmp_path / side
        return (
            f"[one]\nbase_dir = {here}/base\ntemplates = *.nc,{here}/a/*.nc,{here}/b/x/*\ndays = 5\n"
            f"stat_time_method = st_mtime\n[two]\nbase_dir = {here}/base\ntemplates = {here}/a/x/old*/\ndays = 5\n"
        )

    theirs = RawConfigParser()
    theirs.read_string(text("theirs"))
    for name in theirs.sections():
        FilesCleaner(Said(), name, dict(theirs.items(name)), dry_run=False).clean_section()
    (tmp_path / "clean.ini").write_text(text("ours"))
    loaded = load(tmp_path / "clean.ini")
    for chain in loaded.config.chains.values():
        assert not clean(rule_of(chain), time.time(), remove=True).errors
    assert left(tmp_path / "ours") == left(tmp_path / "theirs")
    assert not (tmp_path / "ours/base/9.nc").exists()
    told = f"holds full paths, so that all are taken from {tmp_path}/ours"
    assert told in [warning.problem for warning in loaded.warnings]
    assert loaded.config.chains["two"].base_dir == tmp_path / "ours/a/x"


class _Post(socketserver.StreamRequestHandler):
    """As much of a mail server as one mail needs."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(mail.decode())
            if line.upper().startswith(b"QUIT"):
                return
            self.wfile.write(b"250 well\r\n")


def test_the_command_lists_deletes_tells_and_mails(tmp_path):
    base, port = tmp_path / "data", free_port()
    made(base / "9.nc", 9)
    made(base / "1.nc", 1)
    with Site(tmp_path) as site, socketserver.TCPServer(("127.0.0.1", 0), _Post) as post:
        post.mails = []
        threading.Thread(target=post.serve_forever, daemon=True).start()
        file = site.write(
            "clean.yaml",
            {
                "role": "clean",
                "publish": port,
                "mail": {"host": "127.0.0.1", "port": post.server_address[1], "to": "me@here.example"},
                "chains": {
                    "data": {
                        "base_dir": str(base),
                        "templates": "*.nc",
                        "older_than": "5 d",
                        "time": "mtime",
                    },
                    "gone": {"base_dir": str(tmp_path / "no\nwhere"), "templates": "*", "older_than": "5 d"},
                },
            },
        )
        ear = site.ear(port, "/deletion")

        def run(*flags: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "tranship", "clean", str(file), *flags]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        planned = run("--dry-run", "-c", "data")
        assert planned.returncode == 0, planned.stderr
        assert planned.stdout.splitlines()[0] == f"{base}/9.nc: mtime 9.0 d ago, more than 5.0 d"
        assert planned.stdout.splitlines()[1] == "would delete 1 file (0.0 MB) and 0 empty folders"
        assert (base / "9.nc").exists()
        assert run("-c", "dota").returncode == 78

        done = run("-m")
        post.shutdown()
        assert done.returncode == 1
        assert f"{file}: deleted 1 file (" in done.stdout
        assert done.stderr.count("No such file or directory") == 1, done.stderr
        assert os.listdir(base) == ["1.nc"]
        (message,) = ear.until(1, "del")
        assert (message.subject, message.data) == ("/deletion", {"uri": f"{base}/9.nc"})
        assert "takes no mail" not in done.stderr
        (mail,) = post.mails
        assert "No such file or directory" in mail
        assert "Subject: tranship clean on " in mail


def test_folders_that_lead_nowhere_keep_nothing_else_from_being_cleaned(tmp_path, monkeypatch):
    """A folder that is swapped for a link between a look and the next; folders as deep as nobody can go."""
    base, outside = tmp_path / "base", made(tmp_path / "outside/9.nc", 9)
    for name in "abc":
        made(base / name / "9.nc", 9)
    real = steps_clean._is_folder

    def swapping(folder: int, name: str) -> bool:
        found = real(folder, name)
        if name == "b":
            shutil.rmtree(base / "b", ignore_errors=True)
            (base / "b").symlink_to(outside.parent)
        return found

    monkeypatch.setattr(steps_clean, "_is_folder", swapping)
    outcome = clean(Rule(str(base), ("*/*.nc",), timedelta(days=5), Times.MTIME), time.time(), remove=True)
    assert [path for path, _ in outcome.errors] == [str(base / "b")]
    assert left(base) == {"a", "b", "c"}
    assert outside.exists()


def test_a_tree_that_is_too_deep_is_left(tmp_path):
    made(tmp_path / "z/9.nc", 9)
    made(tmp_path / "deep/9.nc", 9)
    folder = os.open(tmp_path / "deep", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("x", dir_fd=folder)
        deeper = os.open("x", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    outcome = clean(
        Rule(str(tmp_path), ("*",), timedelta(days=5), Times.MTIME, recursive=True), time.time(), remove=True
    )
    assert len(outcome.errors) == 1
    assert "folders deep" in outcome.errors[0][1]
    assert not (tmp_path / "z/9.nc").exists()
    assert not (tmp_path / "deep/9.nc").exists()
    subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)  # pytest can't
