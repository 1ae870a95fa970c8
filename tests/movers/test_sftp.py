"""The SFTP mover against real servers, and against what a server or a line can do wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_suite import suite

from servers import ssh
from servers.ssh import PASSWORD, Ssh
from tranship_movers.checks import Ground
from tranship_movers.sftp import SftpMover, SftpOptions


def connect(server: Ssh, **options: object) -> SftpMover:
    return SftpMover(server.place(), SftpOptions.model_validate(server.options(**options)))


@pytest.fixture(scope="module", params=ssh.SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Ssh]:
    with ssh.SERVERS[request.param]() as running:
        yield running


@pytest.fixture
def ground(server: Ssh, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(server), f"{server.root}/scratch", tmp_path, secret=PASSWORD)


TestPromises = pytest.mark.usefixtures("server")(
    suite("ground", must=("resume", "mtime", "mode", "overwrite"))
)
