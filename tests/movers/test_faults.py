"""A thousand random faults for every protocol, between the mover and real servers and of the servers themselves.

A few rounds of ten belong to the normal suite, the rest to `make soak`. A round is drawn from its name and number: a
failure is repeated by `pytest "tests/movers/test_faults.py" -k "sftp-sshd and 17"`.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from fault_suite import PATIENCE, Front, Line, Refusal, round_of_faults
from pydantic import SecretStr

from servers import dav, ftp, s3, ssh
from servers.dav import Dav
from servers.ftp import Script
from servers.ports import free_port
from servers.proxy import Fault, Proxy, Route
from servers.s3 import BUCKET, KEY, S3, SECRET
from servers.scripted import reply
from servers.ssh import Ssh
from tranship_movers.contract import Mover
from tranship_movers.file import FileMover
from tranship_movers.place import Place
from tranship_movers.registry import connect, options_for

Faulty = AbstractContextManager[Front]
DISK = FileMover(Place("file"))


def mover(place: Place, **options: object) -> Mover:
    return connect(place, options_for(place, {"timeout": "10 s", **options}))


# ssh --------------------------------------------------------------------------------------------------------

SSH_REFUSALS: tuple[tuple[str, Exception], ...] = (
    ("open", OSError(13, "Permission denied")),
    ("open", OSError(28, "No space left on device")),
    ("write", OSError(28, "No space left on device")),
    ("write", OSError(122, "Disk quota exceeded")),
    ("write", asyncssh.SFTPFailure("bad sector")),
    ("close", OSError(28, "No space left on device")),
    ("read", asyncssh.SFTPFailure("bad sector")),
    ("stat", asyncssh.SFTPPermissionDenied("no")),
    ("fsetstat", asyncssh.SFTPFailure("no")),
    ("posix_rename", asyncssh.SFTPFailure("no")),
    ("posix_rename", OSError(13, "Permission denied")),
    ("remove", OSError(13, "Permission denied")),
)


@contextmanager
def asyncsshd(scheme: str) -> Iterator[Front]:
    moods: dict[str, Exception] = {}

    @contextmanager
    def refusal(draw: random.Random) -> Iterator[None]:
        act, error = draw.choice(SSH_REFUSALS)
        moods[act] = error
        try:
            yield
        finally:
            moods.clear()

    with ssh.asyncsshd(files=ssh.moody(moods)) as server, Proxy(Route((server.host, server.port))) as proxy:
        yield replace(front_of_ssh(scheme, server, proxy), refusals=(refusal,))


@contextmanager
def sshd(scheme: str) -> Iterator[Front]:
    with (
        ssh.sshd(sftp="off" if scheme == "scp" else "on") as server,
        Proxy(Route((server.host, server.port))) as proxy,
    ):
        yield front_of_ssh(scheme, server, proxy)


def front_of_ssh(scheme: str, server: Ssh, proxy: Proxy) -> Front:
    server.knows(proxy.port)
    return Front(
        direct=lambda: mover(server.place(scheme), **server.options()),
        broken=lambda: mover(server.place(scheme, port=proxy.port), **server.options(timeout=PATIENCE)),
        hand=lambda: mover(server.place(scheme), **server.options()),
        lines=(Line(proxy, login=4500),),
        folder=f"{server.root}/faulty",
        truth=DISK,
        true_folder=f"{server.folder}/faulty",
        secrets=(ssh.PASSWORD,),
    )


# ftp --------------------------------------------------------------------------------------------------------

FTP_REFUSALS = (
    ("USER", "421 Too many connections"),
    ("PASS", "530 Login incorrect"),
    ("EPSV", "421 Too busy"),
    ("STOR", "421 Too busy"),
    ("STOR", "452 No room"),
    ("STOR", "550 Permission denied"),
    ("STOR", "552 Over your quota"),
    ("RETR", "450 File busy"),
    ("RETR", "550 Permission denied"),
    ("226", "426 Broken off"),
    ("226", "451 Local error"),
    ("226", "552 Over your quota"),
    ("226", "hang up"),
    ("226", "silence"),
    ("MLST", "421 Idle for too long"),
    ("RNFR", "450 File busy"),
    ("RNTO", "550 Permission denied"),
    ("250 Renaming", "hang up"),
    ("DELE", "550 Permission denied"),
    ("full", "full"),
)


@contextmanager
def pyftpd(tls: ftp.Tls) -> Iterator[Front]:
    """A server at 127.0.0.1, and at 127.0.0.2 proxies for its control port and its data ports."""
    script, ports = Script(), [free_port() for _ in range(12)]

    @contextmanager
    def refusal(draw: random.Random) -> Iterator[None]:
        command, answer = draw.choice(FTP_REFUSALS)
        script.full = command == "full"
        script.answers[command] = answer
        try:
            yield
        finally:
            script.full = False
            script.answers.clear()

    with ExitStack() as stack:
        server = stack.enter_context(ftp.pyftpd(tls, passive_ports=ports, **ftp.scripting(script)))
        control = stack.enter_context(Proxy(Route(("127.0.0.1", server.port), ("127.0.0.2", 0))))
        routes = (Route(("127.0.0.1", port), ("127.0.0.2", port)) for port in ports)
        data = stack.enter_context(Proxy(*routes))
        place = Place(server.scheme, server.host, "/", server.port, server.user, SecretStr(ftp.PASSWORD))
        trusted = {"tls": tls, "ca_file": server.authority} if server.authority else {}
        through = replace(place, host="127.0.0.2", port=control.port)
        yield Front(
            direct=lambda: mover(place, **trusted),
            broken=lambda: mover(through, timeout=PATIENCE, **trusted),
            hand=lambda: mover(place, **trusted),
            lines=(Line(control, login=700, carries="commands"), Line(data, login=0)),
            folder="/faulty",
            truth=DISK,
            true_folder=f"{server.folder}/faulty",
            refusals=(refusal,),
            secrets=(ftp.PASSWORD,),
        )


# http -------------------------------------------------------------------------------------------------------


def answering(proxy: Proxy, *answers: bytes) -> Refusal:
    """Lets the server answer with one of these, at once or in the midst of a request."""

    @contextmanager
    def refusal(draw: random.Random) -> Iterator[None]:
        at = draw.choice((0, draw.randrange(2000), draw.randrange(100_000)))
        proxy.fault = Fault("answer", at, said=draw.choice(answers))
        try:
            yield
        finally:
            proxy.fault = Fault()

    return refusal


def plain_answers() -> tuple[bytes, ...]:
    return tuple(reply(status, Connection="close") for status in (401, 403, 404, 423, 500, 503, 507))


@contextmanager
def webdav(start: Callable[[], dav.Served], **options: object) -> Iterator[Front]:
    with start() as server, Proxy(Route(("127.0.0.1", server.port))) as proxy:
        yield replace(
            front_of_web("webdav", server, proxy, **options),
            refusals=(answering(proxy, *plain_answers()),),
        )


@contextmanager
def http(start: Callable[[], dav.Served]) -> Iterator[Front]:
    with start() as server, Proxy(Route(("127.0.0.1", server.port))) as proxy:
        front = front_of_web("http", server, proxy)
        yield replace(front, refusals=(answering(proxy, *plain_answers()),), ways=("get",))


def front_of_web(scheme: str, server: Dav, proxy: Proxy, /, **options: object) -> Front:
    def place(port: int, scheme: str = scheme) -> Place:
        return Place(scheme, "127.0.0.1", "/", port, dav.USER, SecretStr(dav.PASSWORD))

    return Front(
        direct=lambda: mover(place(server.port), **options),
        broken=lambda: mover(place(proxy.port), timeout=PATIENCE, **options),
        hand=lambda: mover(place(server.port, "webdav"), **options),
        lines=(Line(proxy, login=1500),),
        folder="/faulty",
        truth=DISK,
        true_folder=f"{server.folder}/faulty",
        secrets=(dav.PASSWORD,),
    )


# s3 ---------------------------------------------------------------------------------------------------------

S3_ANSWERS = {
    "AccessDenied": 403,
    "SignatureDoesNotMatch": 403,
    "InternalError": 500,
    "SlowDown": 503,
    "QuotaExceeded": 507,
    "NoSuchKey": 404,
}


@contextmanager
def objects(start: Callable[[], AbstractContextManager[S3]]) -> Iterator[Front]:
    with start() as server, Proxy(Route(("127.0.0.1", server.port))) as proxy:
        client, told = (
            server.client(),
            {"key": KEY, "secret": SECRET, "part_size": "5 MiB", "timeout": "10 s"},
        )

        def line(port: int, **changes: object) -> Mover:
            place = Place("s3", BUCKET)
            options = options_for(place, {"endpoint_url": f"http://127.0.0.1:{port}", **told, **changes})
            # Else nobody could wait for it.
            return connect(place, options.model_copy(update={"abandoned_after": timedelta(0)}))

        def uploads() -> list[str]:
            with suppress(client.exceptions.NoSuchUpload):  # so says rclone if there never was one
                found = client.list_multipart_uploads(Bucket=BUCKET)
                return [upload["Key"] for upload in found.get("Uploads", ())]
            return []

        def parts() -> list[str]:
            """What was begun in this second and is not over; what is older, the next large upload clears away."""
            for key in uploads():
                truth._clear_abandoned(key)
            return uploads()

        truth = line(server.port)
        said = (
            reply(status, f"<Error><Code>{code}</Code></Error>".encode(), Connection="close")
            for code, status in S3_ANSWERS.items()
        )
        yield Front(
            direct=lambda: line(server.port),
            broken=lambda: line(proxy.port, timeout=PATIENCE),
            hand=lambda: line(server.port),
            lines=(Line(proxy, login=1000),),
            folder="/faulty",
            truth=truth,
            true_folder="/faulty",
            refusals=(answering(proxy, *said),),
            sizes=(0, 5, 40_000, 1_500_000, 6 << 20),
            parts=parts,
            secrets=(SECRET,),
        )
        truth.close()


# all of them ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """A server to try faults at: so many rounds of ten in the normal suite, so many more in `make soak`."""

    start: Callable[[], Faulty]
    always: int
    soak: int


STAGES: Mapping[str, Stage] = {
    "sftp-asyncssh": Stage(lambda: asyncsshd("sftp"), 1, 50),
    "sftp-sshd": Stage(lambda: sshd("sftp"), 1, 50),
    "scp-asyncssh": Stage(lambda: asyncsshd("scp"), 1, 50),
    "scp-sshd": Stage(lambda: sshd("scp"), 1, 50),
    "ftp-pyftpd": Stage(lambda: pyftpd("off"), 2, 100),
    "ftps-pyftpd": Stage(lambda: pyftpd("explicit"), 1, 100),
    "s3-seaweed": Stage(lambda: objects(s3.seaweed), 1, 50),
    "s3-rclone": Stage(lambda: objects(s3.rclone), 1, 50),
    "webdav-wsgidav": Stage(lambda: webdav(dav.wsgidav), 1, 25),
    "webdav-rclone": Stage(lambda: webdav(dav.rclone), 1, 25),
    "webdav-nginx": Stage(lambda: webdav(dav.nginx, server="nginx"), 1, 25),
    "webdav-apache": Stage(lambda: webdav(dav.apache), 1, 25),
    "http-rclone": Stage(lambda: http(dav.rclone), 1, 50),
    "http-nginx": Stage(lambda: http(dav.nginx), 1, 50),
}


@pytest.fixture(scope="module")
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    with STAGES[request.param].start() as running:
        yield running


def rounds() -> Iterator[object]:
    for name, stage in STAGES.items():
        for number in range(stage.always + stage.soak):
            marks = () if number < stage.always else pytest.mark.soak
            yield pytest.param(name, name, number, marks=marks, id=f"{name}-{number}")


@pytest.mark.parametrize(("front", "name", "number"), list(rounds()), indirect=["front"])
def test_no_fault_ends_in_a_success_that_is_none(
    front: Front, name: str, number: int, tmp_path: Path
) -> None:
    endings = round_of_faults(front, name, number, tmp_path)
    print(name, number, dict(sorted(endings.items())))
