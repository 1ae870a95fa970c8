"""Keys of CURVE for tests, whose secrets hold a planted word; and posttroll's settings that name them."""

import os
import random
import socket
import string
from dataclasses import dataclass
from pathlib import Path

import zmq

SECURE = Path(__file__).with_name("secure_peers.py")
"""posttroll's and Trollmoves' own parts, as a program."""


def mechanism(port: int) -> str:
    """How who listens at port of loopback wants to be spoken to: NULL is plain."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(10)
        connection.sendall(
            b"\xff" + bytes(8) + b"\x7f\x03"
        )  # the version; with more it would hang up at once
        greeting = b""
        while len(greeting) < 32 and (more := connection.recv(64)):
            greeting += more
    return greeting[12:32].rstrip(b"\0").decode()


def listened_at(pid: int) -> set[int]:
    """The TCP ports at which a process listens."""
    held = {os.readlink(fd.path) for fd in os.scandir(f"/proc/{pid}/fd") if os.path.lexists(fd.path)}
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {
        int(line[1].partition(":")[2], 16)
        for line in lines
        if line[3] == "0A" and f"socket:[{line[9]}]" in held
    }


@dataclass(frozen=True)
class Ring:
    """Everybody's keys, in one folder: NAME.key, NAME.key_secret; clients/ holds those that are let in."""

    folder: Path

    def __post_init__(self) -> None:
        self.clients.mkdir(parents=True)

    @property
    def clients(self) -> Path:
        return self.folder / "clients"

    def public(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def secret(self, name: str) -> Path:
        return self.folder / f"{name}.key_secret"

    def text(self, name: str) -> str:
        return self.public(name).read_text().split('"')[1]

    def make(self, *names: str, let_in: bool = True) -> "Ring":
        """New pairs."""
        for name in names:
            secret = "S3cret" + "".join(random.choices(string.ascii_lowercase, k=34))
            public = zmq.curve_public(secret.encode()).decode()
            self.public(name).write_text(f'metadata\ncurve\n    public-key = "{public}"\n')
            self.secret(name).write_text(
                f'metadata\ncurve\n    public-key = "{public}"\n    secret-key = "{secret}"\n'
            )
            self.secret(name).chmod(0o600)
            if let_in:
                self.let_in(name)
        return self

    def let_in(self, name: str) -> None:
        (self.clients / f"{name}.key").write_text(self.public(name).read_text())

    def shut_out(self, name: str) -> None:
        (self.clients / f"{name}.key").unlink()

    def by(self, name: str, server: str) -> dict[int, bytes]:
        """The options of a bare socket by which name connects to server."""
        return {
            zmq.CURVE_PUBLICKEY: self.text(name).encode(),
            zmq.CURVE_SECRETKEY: self.secret(name).read_text().split('"')[3].encode(),
            zmq.CURVE_SERVERKEY: self.text(server).encode(),
        }

    def posttroll(self, name: str, server: str) -> dict[str, str]:
        """The environment in which posttroll is name, and connects to server."""
        return {
            "POSTTROLL_BACKEND": "secure_zmq",
            "POSTTROLL_SERVER_SECRET_KEY_FILE": str(self.secret(name)),
            "POSTTROLL_CLIENTS_PUBLIC_KEYS_DIRECTORY": str(self.clients),
            "POSTTROLL_CLIENT_SECRET_KEY_FILE": str(self.secret(name)),
            "POSTTROLL_SERVER_PUBLIC_KEY_FILE": str(self.public(server)),
        }
