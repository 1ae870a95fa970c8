"""sd_notify over real sockets."""

import os
import socket
import time
from pathlib import Path

import pytest

from tranship.run.systemd import NOBODY, Notify


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path_factory):
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = (
        str(tmp_path_factory.mktemp("n") / "s")
        if request.param == "path"
        else f"\0tranship-{time.monotonic_ns()}"
    )
    line.bind(name)
    line.settimeout(10)
    yield line, name.replace("\0", "@")
    line.close()


def test_every_word_arrives_as_systemd_reads_it(listener):
    line, address = listener
    notify = Notify.from_environment({"NOTIFY_SOCKET": address}, os.getpid())
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert all(
        [
            notify.ready("up"),
            notify.status("well"),
            notify.reloading(),
            notify.ping(),
            notify.extend(1.5),
            notify.stopping("bye"),
        ]
    )
    told = [line.recv(4096).decode() for _ in range(6)]
    reloading, usec = told.pop(2).split("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(usec) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert told == [
        "READY=1\nSTATUS=up",
        "STATUS=well",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1\nSTATUS=bye",
    ]


def test_a_status_can_not_smuggle_in_another_word(listener):
    line, address = listener
    Notify(address).status("a file\nREADY=1\r\x00\udcff.dat")
    assert line.recv(4096).decode() == "STATUS=a file READY=1   .dat"


def test_nobody_and_the_dead_are_told_nothing(tmp_path: Path):
    assert not NOBODY.ready("up")
    assert not Notify(str(tmp_path / "gone")).ping()
    assert Notify.from_environment({}, 1) == NOBODY
    assert Notify.from_environment({"NOTIFY_SOCKET": "vsock:2:1"}, 1) == NOBODY


def test_a_service_manager_that_does_not_read_holds_nothing_up(listener):
    _, address = listener
    notify = Notify(address)
    begun = time.monotonic()
    while notify.ping():
        assert time.monotonic() - begun < 10
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_or_none(environment, seconds):
    assert Notify.from_environment(environment, 42).watchdog == seconds
