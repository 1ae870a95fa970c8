"""server.yaml -> mirror.yaml -> client.yaml on three hosts and two networks that no packet crosses: as they stand in
config/, with their addresses and ports. Only folders, and the name of a host, are changed."""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from servers.networks import Cable, cabled, host
from servers.ssh import PASSWORD, USER, Ssh, asyncsshd
from stage import Process, Site, wait_for

CONFIG = Path(__file__).parents[2] / "config"
OUTER = Cable("reception", "192.0.2.10", "mirror", "192.0.2.20")
INNER = Cable("mirror", "198.51.100.20", "archive", "198.51.100.30")
CHAIN = "hrit-0deg"


def segment(number: int) -> str:
    return f"H-000-MSG4__-MSG4________-IR_108___-{number:06d}___-202611221200-__"


class Hosts:
    """The processes of the examples, each on its host."""

    def __init__(self, site: Site, logins: Path) -> None:
        self.site = site
        self.data = site.folder / "data"
        self.reception = self.data / "in/hrit"
        self.archive = self.data / "hrit/2026/11/22"
        self.reception.mkdir(parents=True)
        (self.data / "mirror").mkdir()
        self._environment = {"HOME": str(logins), "CREDENTIALS_DIRECTORY": str(logins)}

    def start(self, where: str, role: str, **changes: str) -> Process:
        """Start the example of that role on that host."""
        text = (CONFIG / f"{role}.yaml").read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        text = text.replace("archive.inner.example", INNER.its_address).replace(
            "archive.example", INNER.its_address
        )
        text = re.sub(r"/(data|var/spool)/", f"{self.data}/", text)
        options = yaml.load(text, yaml.BaseLoader)
        options["chains"] = {CHAIN: options["chains"][CHAIN]}
        options["journal"] = str(self.site.folder / f"{role}.journal")
        file = self.site.write(f"{role}.yaml", options)
        with host(where):
            return self.site.tranship(role, role, str(file), **self._environment).until(" ready")

    def drop(self, *numbers: int) -> dict[str, bytes]:
        """Let these segments arrive at the reception."""
        made = {segment(number): b"segment %d" % number for number in numbers}
        for name, content in made.items():
            (self.reception / name).write_bytes(content)
        return made

    def archived(self) -> dict[str, bytes]:
        """What lies in the archive."""
        return {path.name: path.read_bytes() for path in self.archive.glob("*")}


@contextlib.contextmanager
def ssh_at(address: str, logins: Path, name: str) -> Iterator[Ssh]:
    with host(name), asyncsshd(at=(address, 22), root="/") as server:
        (logins / ".ssh").mkdir(parents=True, exist_ok=True)
        with (logins / ".ssh/known_hosts").open("a") as known:
            known.write(server.known_hosts.read_text())
        yield server


def test_a_mirror_hands_on_between_networks_whose_cables_are_pulled(tmp_path: Path) -> None:
    logins = tmp_path / "logins"
    with (
        cabled(OUTER, INNER),
        ssh_at(OUTER.its_address, logins, "mirror"),
        ssh_at(INNER.its_address, logins, "archive"),
        Site(tmp_path) as site,
    ):
        (logins / "archive-login").write_text(f"{USER}:{PASSWORD}\n")
        (logins / "archive-login").chmod(0o600)
        hosts = Hosts(site, logins)
        with host("archive"):
            processing = site.ear(9020, "/1b/hrit-segment/0deg")
            with pytest.raises(OSError, match="unreachable"):
                socket.create_connection((OUTER.address, 9010), 5)
        server = hosts.start("reception", "server")
        mirror = hosts.start("mirror", "mirror")
        hosts.start(
            "archive", "client", **{"- 192.0.2.10:9010\n      - 192.0.2.11:9010": "- 198.51.100.20:9010"}
        )
        sent = hosts.drop(1)
        [told] = processing.until(1)
        assert told.data["uri"] == str(hosts.archive / segment(1))
        assert told.data["origin"] == "198.51.100.20:9094"
        assert hosts.archived() == sent

        OUTER.pull()
        sent |= hosts.drop(2, 3, 4)
        server.until("announced", 4)
        OUTER.plug()
        wait_for(lambda: hosts.archived() == sent, "what was told in vain is brought")

        INNER.pull()
        sent |= hosts.drop(5, 6, 7)
        mirror.until("announced", 7)
        INNER.plug()
        wait_for(lambda: hosts.archived() == sent, "what was told on in vain is brought on")

        told = processing.until(7)
        assert sorted(message.data["uid"] for message in told) == sorted(sent)
        assert PASSWORD not in "".join(process.output for process in site.processes)
