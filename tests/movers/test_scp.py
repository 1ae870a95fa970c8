"""The scp mover against real servers, with and without SFTP, and against what a server can do wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_suite import suite

from servers import ssh
from servers.ssh import PASSWORD, Ssh
from tranship_movers.checks import Ground
from tranship_movers.scp import ScpMover, ScpOptions

SERVERS = {**ssh.SERVERS, "no sftp": lambda: ssh.sshd(sftp="off")}


def connect(server: Ssh, **options: object) -> ScpMover:
    return ScpMover(server.place("scp"), ScpOptions.model_validate(server.options(**options)))


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Ssh]:
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture
def ground(server: Ssh, tmp_path: Path) -> Ground:
    return Ground(lambda: connect(server), f"{server.root}/scratch", tmp_path, secret=PASSWORD)


TestPromises = pytest.mark.usefixtures("server")(suite("ground", must=("mtime", "mode", "overwrite")))
