"""Detection misses nothing, whatever becomes of the watch; and says what became of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stage import Process, Site, wait_for

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
MANY = 40_000
"""Events at most that a test makes, to fill the kernel's queue."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as site:
        site.chain_options = {"scan_interval": "1 h"}  # what is found is found by the watch, or because of it
        yield site


def test_what_the_kernel_forgot_to_tell_is_found(site: Site) -> None:
    count = int(QUEUE.read_text()) + 1000
    if count > MANY:
        pytest.skip(f"{QUEUE} is {count - 1000}")
    site.start_server()
    ear = site.ear(site.publish_port, site.topic)
    site.drop("first.dat", b"1")
    ear.until(1)
    os.kill(site.server.popen.pid, signal.SIGSTOP)
    for number in range(count):
        os.close(os.open(site.incoming / f"{number}.dat", os.O_WRONLY | os.O_CREAT, 0o644))
    (last := site.incoming / f"{count - 1}.dat").write_bytes(b"2")
    (site.incoming / f"{count - 2}.dat").write_bytes(b"3")
    os.kill(site.server.popen.pid, signal.SIGCONT)
    told = {message.data["uid"] for message in ear.until(3, deadline=60)}  # the empty ones are not complete
    assert told == {"first.dat", last.name, f"{count - 2}.dat"}
    wait_for(lambda: "hrit overflows" in parts(site), "counted")


def test_a_folder_that_is_replaced_is_watched_anew(site: Site) -> None:
    site.start_server()
    ear = site.ear(site.publish_port, site.topic)
    site.drop("before.dat", b"1")
    ear.until(1)
    site.incoming.rename(site.folder / "away")
    wait_for(lambda: site.server.said("incoming: No such file"), "told that it is gone")
    site.drop("after.dat", b"1")
    ear.until(2)
    wait_for(lambda: "hrit watches renewed (folder or mount replaced)" in parts(site), "counted")
    site.drop("watched.dat", b"1")
    assert [message.data["uid"] for message in ear.until(3)] == ["before.dat", "after.dat", "watched.dat"]


def test_a_mount_that_goes_away_and_returns_is_watched_anew(site: Site) -> None:
    site.pattern = "{disk}/{name}.dat"
    (disk := site.incoming / "disk").mkdir()
    mount = f"mount -t tmpfs tiny {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("nobody may mount here")
    file = site.write("server.yaml", site.server_config())
    command = f"{mount} && exec {sys.executable} -m tranship server {file}"
    server = site.run("server", ["unshare", "-rm", "sh", "-c", command]).until(" ready")
    ear = site.ear(site.publish_port, site.topic)
    there = Path(f"/proc/{server.popen.pid}/root{disk}")
    (there / "1.dat").write_bytes(b"1")
    ear.until(1)
    inside(server, f"umount {disk}")
    (there / "2.dat").write_bytes(b"2")
    ear.until(2)
    inside(server, mount)
    (there / "3.dat").write_bytes(b"3")
    assert [message.data["uid"] for message in ear.until(3)] == ["1.dat", "2.dat", "3.dat"]
    wait_for(lambda: "hrit watches renewed (folder or mount replaced)" in parts(site), "counted")


def inside(server: Process, command: str) -> None:
    """Run command where server sees what is mounted."""
    where = ["nsenter", "-t", str(server.popen.pid), "-U", "-m", "--preserve-credentials"]
    subprocess.run([*where, "sh", "-c", command], check=True)


def parts(site: Site) -> set[str]:
    """What the server's health last spoke of."""
    try:
        return set(json.loads((site.folder / "server.journal.health").read_bytes())["parts"])
    except (OSError, ValueError):
        return set()
