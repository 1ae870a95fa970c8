"""Downloads that are cut twice, over real lines from real servers: little of them goes over a second time."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fault_suite import Front
from test_faults import STAGES

from servers.proxy import Fault
from tranship_movers.checksum import checksum
from tranship_movers.errors import Busy, TimedOut, Unreachable
from tranship_movers.temporary import new_token
from tranship_movers.transfer import Expected, download

SIZE = 24 << 20
NAMES = (
    "sftp-sshd",
    "scp-asyncssh",
    "ftp-pyftpd",
    "ftps-pyftpd",
    "webdav-apache",
    "webdav-rclone",
    "http-nginx",
)


@pytest.fixture(scope="module", params=NAMES)
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    with STAGES[request.param].start() as running:
        yield running


def cutting(front: Front, size: int) -> Callable[[int], None]:
    """Progress that cuts every line, and those to come, once size bytes have come."""
    came = [0]

    def progress(more: int) -> None:
        before, came[0] = came[0], came[0] + more
        if before < size <= came[0]:
            for line in front.lines:
                line.proxy.fault = Fault("reset", at=0, direction="down")
                line.proxy.reset_all()

    return progress


def test_a_download_that_is_cut_twice_brings_little_twice(front: Front, tmp_path: Path) -> None:
    source, target, token = tmp_path / "source", tmp_path / "down" / "a file.dat", new_token()
    source.write_bytes(os.urandom(SIZE))
    expected, name = Expected(checksum=checksum(source, "xxh128")), f"{front.folder}/a file.dat"
    with closing(front.hand()) as hand:
        hand.make_folders(front.folder)
        hand.put(source, name)
    before = sum(line.proxy.came_down for line in front.lines)
    for _ in range(2):
        with pytest.raises((Unreachable, TimedOut, Busy)), closing(front.broken()) as mover:
            download(mover, name, target, token=token, expected=expected, progress=cutting(front, SIZE // 3))
        for line in front.lines:
            line.proxy.fault = Fault()
        assert not target.exists()
    with closing(front.broken()) as mover:
        download(mover, name, target, token=token, expected=expected)
    assert target.read_bytes() == source.read_bytes()
    assert os.listdir(target.parent) == [target.name]
    came = sum(line.proxy.came_down for line in front.lines) - before
    assert SIZE < came < 1.5 * SIZE
