"""That tests/conftest.py notices a password wherever a test may tell it."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import logging, subprocess, sys

SECRET = "Pl4nted" + "-S3cret"

def test_print():
    print("login", SECRET)

def test_a_process():
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'Pl4nted' + b'-S3cret')"], check=True)

def test_log_at_debug():
    logging.getLogger("tranship.somewhere").debug("login %s", SECRET)

def test_log_of_an_error():
    try:
        raise OSError(f"{SECRET} refused")
    except OSError:
        logging.getLogger("paramiko").exception("failed")

def test_journal(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "x.journal-wal").write_text(f"ftp://anna:{SECRET}@host/")

def test_nothing(tmp_path, capfd):
    (tmp_path / "server.ini").write_text(f"login = anna:{SECRET}")
    logging.getLogger("pyftpdlib").info(SECRET)
    print(SECRET)
    capfd.readouterr()
"""


def test_a_test_that_tells_a_password_ends_in_an_error(tmp_path: Path) -> None:
    watch = Path(__file__).parents[1] / "conftest.py"
    (tmp_path / "conftest.py").write_text(watch.read_text())
    (tmp_path / "test_telling.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no"]
    run = subprocess.run(
        [*command, f"--rootdir={tmp_path}", str(tmp_path), f"--basetemp={tmp_path}/temporary"],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = {line.split("::")[1].split()[0] for line in run.stdout.splitlines() if line.startswith("ERROR ")}
    told = {"test_print", "test_a_process", "test_log_at_debug", "test_log_of_an_error", "test_journal"}
    assert errors == told, "but for what it shows on purpose here"
    assert "6 passed, 5 errors" in run.stdout
