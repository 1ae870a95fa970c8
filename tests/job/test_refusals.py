"""Nobody gets what was not announced, nor to where it may not go; bad messages stop nobody; no secret is told."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from servers.ftp import PASSWORD, USER, pyftpd
from servers.ports import free_port
from stage import DEADLINE, Site, wait_for
from tranship.wire.messages import compose, decode

SEED = 20261122
FRAMES = 10_000


class Closed:
    """A server with two chains, a file of each, a secret beside them, and a place where nothing may go."""

    def __init__(self, folder: Path) -> None:
        self.site = site = Site(folder)
        self.other, self.elsewhere, self.secret = (
            folder / "other",
            folder / "elsewhere",
            folder / "secret.dat",
        )
        for made in (self.other, self.elsewhere, folder / "outgoing-not"):
            made.mkdir()
        self.secret.write_bytes(b"secret")
        self.file, self.others = site.drop("mine.dat", b"mine"), self.other / "others.dat"
        self.others.write_bytes(b"others")
        self.unmatched = site.drop("mine.txt", b"not of the pattern")
        self.other_port = free_port()
        out = f"file://{site.outgoing}/**"
        site.chain_options = {"allow": [out, "sftp://archive.example/in/**"]}
        site.more_chains["other"] = {
            "origin": f"{self.other}/{{name}}.dat",
            "topic": "/other",
            "request": self.other_port,
            "allow": [out],
        }
        ear = site.ear(site.publish_port)
        site.start_server()
        ear.until(2)

    def push(self, uri: Path | str, destination: str = "", **more: Any) -> bytes:
        data = {
            "uri": str(uri),
            "uid": "x.dat",
            "destination": destination or f"file://{self.site.outgoing}/",
        }
        return compose(self.site.topic, "push", {**data, **more}).encode()

    def written(self) -> dict[str, bytes]:
        """All files there are, but for what the server itself writes."""
        own = ("server.log", "server.journal", ".server.journal")
        return {
            str(path): path.read_bytes()
            for path in self.site.folder.rglob("*")
            if path.is_file() and not path.name.startswith(own)
        }

    def memory(self) -> float:
        """What the server holds now (MB)."""
        return memory(self.site.server.popen.pid)


def memory(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    closed = Closed(tmp_path_factory.mktemp("closed"))
    with closed.site:
        yield closed


def forbidden(closed: Closed) -> dict[str, bytes]:
    """Requests that must not be granted, by what is wrong with them."""
    out, incoming, elsewhere = closed.site.outgoing, closed.site.incoming, closed.elsewhere
    path = str(closed.file)
    return {
        "never announced": closed.push(closed.secret),
        "not of the pattern": closed.push(closed.unmatched),
        "of the system": closed.push("/etc/passwd"),
        "climbs": closed.push(f"{incoming}/../secret.dat"),
        "climbs, encoded": closed.push(f"file://{incoming}/%2e%2e/secret.dat"),
        "climbs, half encoded": closed.push(f"ssh://host{incoming}/.%2E/secret.dat"),
        "another chain's": closed.push(closed.others),
        "no full path": closed.push("mine.dat"),
        "a NUL": closed.push(f"{path}\0.dat"),
        "one good, one bad": compose(
            "/x",
            "push",
            {
                "dataset": [{"uri": path, "uid": "a"}, {"uri": str(closed.secret), "uid": "b"}],
                "destination": f"file://{out}/",
            },
        ).encode(),
        "elsewhere": closed.push(path, f"file://{elsewhere}/"),
        "elsewhere, bare": closed.push(path, f"{elsewhere}/"),
        "elsewhere, one slash": closed.push(path, f"file:{elsewhere}/"),
        "elsewhere, host": closed.push(path, f"file://archive.example{elsewhere}/"),
        "elsewhere, user": closed.push(path, f"file://{out}:x@localhost{elsewhere}/"),
        "begins alike": closed.push(path, f"file://{out}-not/"),
        "out climbs": closed.push(path, f"file://{out}/../elsewhere/"),
        "out climbs, encoded": closed.push(path, f"file://{out}/%2e%2e/elsewhere/"),
        "out climbs, slash encoded": closed.push(path, f"file://{out}/..%2felsewhere/"),
        "new name": closed.push(path, f"file://{elsewhere}/mine.dat"),
        "by path": closed.push(path, path="../elsewhere"),
        "by full path": closed.push(path, path=str(elsewhere)),
        "by path, NUL": closed.push(path, path="a\0b"),
        "path is a list": closed.push(path, path=["..", "elsewhere"]),
        "backup elsewhere": closed.push(path, "sftp://archive.example/in/", backup_targets=["evil.example"]),
        "backup is a path": closed.push(path, backup_targets=["/elsewhere"]),
        "backup with login": closed.push(
            path, "sftp://archive.example/in/", backup_targets=["u:p@archive.example"]
        ),
        "backup is no list": closed.push(path, "sftp://archive.example/in/", backup_targets="evil.example"),
        "another host": closed.push(path, "sftp://evil.example/in/"),
        "another port": closed.push(path, "sftp://archive.example:2222/in/"),
        "host in the user": closed.push(path, "sftp://archive.example@evil.example/in/"),
        "another folder": closed.push(path, "sftp://archive.example/out/"),
        "another scheme": closed.push(path, "ftp://archive.example/in/"),
        "a scheme of fsspec": closed.push(path, f"local://{out}/"),
        "no scheme": closed.push(path, f"nonsense://{out}/"),
        "no destination": compose("/x", "push", {"uri": path, "uid": "x"}).encode(),
        "destination is a list": compose(
            "/x", "push", {"uri": path, "uid": "x", "destination": [1]}
        ).encode(),
        "no uri": compose("/x", "push", {"uid": "x", "destination": f"file://{out}/"}).encode(),
        "no data": compose("/x", "push").encode(),
    }


def test_what_is_forbidden_is_refused_told_once_counted_and_harms_nobody(closed: Closed) -> None:
    site, requests, repeats = closed.site, forbidden(closed), 10
    before = closed.written()
    with site.asking() as ask:
        for _ in range(repeats):
            for name, request in requests.items():
                reply = ask(request)
                assert (name, reply.type) == (name, "err")
                assert reply.data
        # an ack must not let go, nor a replay tell, what is not this chain's
        assert ask(compose("/x", "ack", {"uri": str(closed.others), "uid": "x"}).encode()).type == "err"
        assert closed.written() == before
        lines = [line for line in site.server.output.splitlines() if " refused " in line]
        assert len(lines) == len({line.partition(" refused ")[2] for line in lines})
        assert len(requests) / 2 < len(lines) <= len(requests) + 1
        elsewhere = next(line for line in lines if "evil.example:/" in line or "evil.example/in" in line)
        assert f" file={closed.file} " in elsewhere
        assert " peer=" in elsewhere
        told = json.loads(
            wait_for(lambda: counted(site, repeats * len(requests)), "the refusals are counted")
        )
        assert told["state"] != "stuck"

        assert ask(closed.push(closed.file, f"file://{site.outgoing}/fine/")).type == "file"
        assert (site.outgoing / "fine" / "mine.dat").read_bytes() == b"mine"
    with site.asking(closed.other_port) as ask:
        assert ask(closed.push(closed.others)).type == "file"
    assert not site.server.said("is started again")


def counted(site: Site, least: int) -> str:
    """The health that `status` shows, once it counts so many refusals."""
    bulletin = site.folder / "server.journal.health"
    text = bulletin.read_text() if bulletin.exists() else "{}"
    done = json.loads(text).get("parts", {}).get("hrit refused", {}).get("done", 0)
    return text if done >= least else ""


def test_ten_thousand_odd_requests_stop_nobody(closed: Closed) -> None:
    site, chance = closed.site, random.Random(SEED)
    seeds = [
        closed.push(closed.file, tranship={"v": 1, "id": "a", "seq": 1, "size": 4, "progress": True}),
        compose(
            "/x", "push", {"dataset": [{"uri": str(closed.file), "uid": "a"}], "destination": "x"}
        ).encode(),
        compose("/1b", "info", {"max_count": 3}).encode(),
        compose("/x", "ack", {"uri": str(closed.file), "uid": "mine.dat"}).encode(),
        compose("/x", "ping", {"tranship": {"v": 1, "id": "p"}}).encode(),
        compose(site.topic, "replay", {"since": {"seq": 0}, "limit": 5, "tranship": {"id": "r"}}).encode(),
        compose(site.topic, "replay", {"since": {"time": 1.5}, "limit": 5}).encode(),
    ]
    before, lines = closed.memory(), site.server.output.count("\n")
    odd = odd_frames(chance, seeds)
    with zmq.Context() as context, context.socket(zmq.DEALER) as asker:
        asker.linger = 0
        asker.sndhwm = asker.rcvhwm = 0
        asker.connect(f"tcp://127.0.0.1:{site.request_port}")
        for number in range(FRAMES):
            asker.send_multipart(enveloped(chance, next(odd)))
            if number % 100 == 0:  # an old client keeps being served in between
                with site.asking() as ask:
                    assert ask(compose("/x", "ping").encode()).type == "pong"
            while asker.poll(0):
                asker.recv_multipart()
        asker.send_multipart([b"", compose("/the/last", "ping").encode()])
        wait_for(lambda: b"/the/last pong" in asker.recv_multipart()[-1], "the last of them is answered")
    with site.asking() as ask:
        destination = f"file://{site.outgoing}/after/"
        assert ask(closed.push(closed.file, destination)).type == "file"
    assert not site.server.said("is started again"), site.server.output[-3000:]
    assert not site.server.said("Traceback")
    assert closed.memory() - before < 60
    assert site.server.output.count("\n") - lines < 2500
    assert {path for path in closed.written() if "elsewhere" in path} == set()


def test_ten_thousand_odd_publications_stop_nobody(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with Site(tmp_path) as site, zmq.Context() as context, context.socket(zmq.XPUB) as liar:
        liar.linger = 0
        liar.sndhwm = 0
        port = liar.bind_to_random_port("tcp://127.0.0.1")
        site.client_options = {
            "providers": [f"127.0.0.1:{port}", f"127.0.0.1:{site.publish_port}"],
            "topic": "",
            "destination": f"file://{site.outgoing}/{{name}}/",
            "transfer_req_timeout": "1 s",
        }
        site.start_server()
        ear = site.ear(site.client_port, site.topic)
        site.start_client()
        seeds = [*liar_seeds(site)]
        assert liar.poll(DEADLINE * 1000), "nobody listens"
        before, began = memory(site.client.popen.pid), time.monotonic()
        for number in range(400):  # each address that is asked costs sockets
            liar.send(lie(site, f"{number}.dat", f"127.0.0.1:{number + 1}"))
        for frame in take(odd_frames(chance, seeds), FRAMES):
            liar.send(frame)
            if chance.random() < 0.01:
                liar.send_multipart([frame, frame])
        liar.send(lie(site, "the-last-lie.dat", f"127.0.0.1:{site.request_port}"))
        site.client.until("the-last-lie.dat", deadline=60)
        site.drop("honest.dat", b"honest")
        wait_for(lambda: b"honest" in site.delivered().values(), "an honest file is delivered", 60)
        wait_for(
            lambda: any(m.data["uid"] == "honest.dat" for m in ear.of("file")),
            "an honest file is published",
            60,
        )
        print(f"client: {memory(site.client.popen.pid) - before:.0f} MB, {time.monotonic() - began:.1f} s")
        site.drop("later.dat", b"later")
        wait_for(lambda: b"later" in site.delivered().values(), "another one too")
        assert not site.client.said("is started again"), site.client.output[-3000:]
        assert not site.server.said("is started again"), site.server.output[-3000:]
        assert memory(site.client.popen.pid) - before < 100
        assert site.client.output.count("\n") < 20_000
        assert len(list(Path(f"/proc/{site.client.popen.pid}/fd").iterdir())) < 600
        names = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
        assert {name for name in names if not name.startswith((".", "client.", "server."))} == {
            "incoming",
            "outgoing",
        }


def liar_seeds(site: Site) -> Iterator[bytes]:
    """What a publisher may say, but that nothing of it is true."""
    facts = {"v": 1, "server": "liar", "seq": 1, "size": 3, "mtime": 5, "checksum": "xxh128:00"}
    data = {
        "uri": "/a/b.dat",
        "uid": "b.dat",
        "name": "b",
        "request_address": f"127.0.0.1:{site.request_port}",
        "start_time": "2026-01-01T12:00:00",
    }
    yield compose(site.topic, "file", {**data, "tranship": facts}).encode()
    yield compose(site.topic, "file", data).encode()
    yield compose(site.topic, "dataset", {**data, "dataset": [{"uri": "/a/c", "uid": "c"}]}).encode()
    yield compose(site.topic, "push", {**data, "destination": "file:///x"}).encode()
    yield compose(site.topic, "ack", data).encode()
    head = {"topic": site.topic, "seq": 7, "request_address": f"127.0.0.1:{site.request_port}"}
    told = {"min_interval": 1, "tranship": {"v": 1, "server": "liar", "life": "a", "heads": [head]}}
    yield compose("/heartbeat/move_it_server", "beat", told).encode()


def lie(site: Site, name: str, address: str) -> bytes:
    data = {"uri": f"/{name}", "uid": name, "name": name, "request_address": address}
    return compose(site.topic, "file", data).encode()


ODD_VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda chance: None,
    lambda chance: chance.choice([True, False, "", [], {}]),
    lambda chance: chance.choice([-1, 0, 1 << 31, 1 << 63, -(1 << 63), 10**30, -1e308]),
    lambda chance: chance.choice([float("nan"), float("inf"), 0.5]),
    lambda chance: chance.choice(["\ud800", "a\ud800.dat", "\0", "a\nb", "..", "/", ".", "../../x", "~"]),
    lambda chance: chance.choice(
        ["127.0.0.1:1", "nonsense", "nonsense.invalid:99", ":0", "a:b:c", "[::1]:9"]
    ),
    lambda chance: chance.choice(["*:*", "127.0.0.1:99999", "127.0.0.1:-1", "0.0.0.0:0", "ipc://x:1", "{a}"]),
    lambda chance: f"127.0.0.1:{chance.randrange(1, 65536)}",
    lambda chance: chance.choice(
        ["file:///", "sftp://", "://", "file://x/{y}", "s3://b/k", "ftp://u:p@h:0/"]
    ),
    lambda chance: "x" * chance.randrange(10_000),
    lambda chance: [[[[{}]]]],
    lambda chance: {"uri": {"uri": ["uid"]}, "uid": 7},
    lambda chance: "2026-13-45T99:99:99",
    lambda chance: f"n{chance.randrange(1000)}.dat",
    lambda chance: chance.randrange(1000),
)


def odd_frames(chance: random.Random, seeds: list[bytes]) -> Iterator[bytes]:
    """For ever: noise; real messages with bytes changed, cut or doubled; real messages with odd values in them."""
    while True:
        kind, seed = chance.random(), chance.choice(seeds)
        if kind < 0.1:
            yield chance.randbytes(chance.randrange(300))
        elif kind < 0.101:
            yield seed + b" " * (chance.choice([1, 3]) << 20)
        elif kind < 0.4:
            yield damaged(chance, seed)
        else:
            yield twisted(chance, seed)


def damaged(chance: random.Random, frame: bytes) -> bytes:
    frame_ = bytearray(frame)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(frame_) or 1)
        match chance.randrange(4):
            case 0:
                frame_[at : at + 1] = chance.randbytes(1)
            case 1:
                del frame_[at : at + chance.randrange(20)]
            case 2:
                frame_[at:at] = frame_[at : at + chance.randrange(40)]
            case _:
                del frame_[chance.randrange(len(frame_) + 1) :]
    return bytes(frame_)


def twisted(chance: random.Random, frame: bytes) -> bytes:
    message = decode(frame)
    data = json.loads(json.dumps(message.data))
    for _ in range(chance.randrange(1, 4)):
        owner = data
        while True:
            keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(owner[key], (dict, list)) and chance.random() < 0.7:
                owner = owner[key]
                continue
            if chance.random() < 0.15:
                del owner[key]
            else:
                owner[key] = chance.choice(ODD_VALUES)(chance)
            break
    head = frame.decode().split(None, 6)[:5]
    if chance.random() < 0.1:
        head[chance.randrange(1, 5)] = chance.choice(["x", "v9.9", "file", "push", "9999-99-99", "dance"])
    return " ".join([*head, "application/json", json.dumps(data)]).encode()


def enveloped(chance: random.Random, frame: bytes) -> list[bytes]:
    """The frames of a request, now and then not as they should be."""
    match chance.randrange(20):
        case 0:
            return [frame]
        case 1:
            return [b"", frame, frame]
        case 2:
            return [b"x", frame]
        case 3:
            return [b""] * chance.randrange(1, 6)
        case _:
            return [b"", frame]


def take(frames: Iterator[bytes], count: int) -> Iterator[bytes]:
    return (frame for _, frame in zip(range(count), frames, strict=False))


SECRETS = (PASSWORD, "S3cret/of@client:1#", "S3cret-by-hand", "S3cret in a broken url")


def test_a_password_is_told_nowhere(tmp_path: Path) -> None:
    with pyftpd() as ftp, Site(tmp_path) as site:
        site.chain_options = {
            "allow": [f"file://{site.outgoing}/**", "ftp://127.0.0.1/**", f"ftp://127.0.0.1:{ftp.port}/**"]
        }
        site.start_server("--verbose")
        # three clients: one that may, one whose password is wrong, one that is not allowed
        places = {
            "good": (f"ftp://127.0.0.1:{ftp.port}/", USER, PASSWORD),
            "wrong": (f"ftp://127.0.0.1:{ftp.port}/", "bob", SECRETS[1]),
            "forbidden": ("sftp://127.0.0.1/there/", USER, SECRETS[1]),
        }
        ears = {"server": site.ear(site.publish_port)}
        for name, (destination, user, password) in places.items():
            port = free_port()
            ears[name] = site.ear(port)
            (tmp_path / f"{name}.ini").write_text(
                f"[{name}]\nproviders=127.0.0.1:{site.publish_port}\ntopic={site.topic}\npublish_port={port}\n"
                f"destination={destination}\nlogin={user}:{password}\nnameservers=false\n"
            )
            (tmp_path / f"{name}.ini").chmod(0o600)
            site.tranship(name, "client", str(tmp_path / f"{name}.ini"), "-v", XDG_STATE_HOME=str(tmp_path))
        for name in places:
            wait_for(lambda n=name: " ready" in (tmp_path / f"{n}.log").read_text(), f"{name} is ready")
        path = site.drop("a.dat", b"abc")
        ears["good"].until(1)
        assert (ftp.folder / "a.dat").read_bytes() == b"abc"
        wait_for(lambda: " paused: " in (tmp_path / "wrong.log").read_text(), "a refused password")
        wait_for(lambda: " failed " in (tmp_path / "forbidden.log").read_text(), "a refused destination")

        with site.asking() as ask:
            replies = [ask(frame) for frame in secret_requests(path, site, ftp.port)]
        command = [
            sys.executable,
            "-m",
            "tranship",
            "request",
            "push",
            f"127.0.0.1:{site.request_port}",
            str(path),
        ]
        by_hand = subprocess.run(
            [*command, "-d", f"ftp://127.0.0.1:{ftp.port}/by-hand/"],
            env={**os.environ, "TRANSHIP_LOGIN": f"{USER}:{SECRETS[2]}"},
            capture_output=True,
            check=False,
        )
        assert by_hand.returncode != 0

        told = {
            f"what {name} published": b"".join(m.encode() for m in ear.listen()) for name, ear in ears.items()
        }
        # but for a destination, others than an err tell the asker only what it has said
        told |= {f"reply {n}": reply.encode() for n, reply in enumerate(replies) if reply.type == "err"}
        told["by hand"] = by_hand.stdout + by_hand.stderr
        told |= command_lines(site)
        told |= shown_status(tmp_path)
        files = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".ini"]
        told |= {str(p): p.read_bytes() for p in files}
        assert any(p.name.endswith("journal") for p in files)
        assert {p.name for p in files} >= {"server.log", "good.log", "wrong.log", "forbidden.log"}
        for where, content in told.items():
            assert b"S3cret" not in content, (where, content[max(0, content.index(b"S3cret") - 300) :][:600])


def secret_requests(path: Path, site: Site, port: int) -> Iterator[bytes]:
    """Requests that hold a password where it belongs, and where it does not."""
    secret = SECRETS[2]
    for more in (
        {"destination": f"ftp://{USER}:{secret}@127.0.0.1:{port}/"},
        {"destination": f"ftp://{USER}:{secret}@127.0.0.1:1/"},
        {"destination": f"ftp://{USER}:{secret}@elsewhere.example/"},
        {"destination": f"s3://{USER}:{secret}@elsewhere.example/"},
        {"destination": f"file://{USER}:{secret}@localhost{site.outgoing}/x/"},
        {"destination": f"nonsense://{USER}:{secret}@host/"},
        {"destination": f"ftp://{USER}:{SECRETS[3]}@127.0.0.1:nonsense/"},
        {"destination": f"ftp:/{USER}:{SECRETS[3]}@host/"},
        {"destination": f"ftp://{USER}:{secret}@127.0.0.1:1/", "backup_targets": [f"{USER}:{secret}@host"]},
        {"destination": f"ftp://{USER}:{secret}@127.0.0.1:1/", "path": "../x"},
        {"destination": f"file://{site.outgoing}/", "uri": f"ssh://{USER}:{secret}@host/a/../b.dat"},
        {"destination": f"file://{site.outgoing}/", "uri": f"ssh://{USER}:{'x' * 200}{secret}@host/../b"},
        {"destination": f"file://{site.outgoing}/", "uri": f"ssh://{USER}:{secret}@host/never.dat"},
    ):
        data = {"uri": str(path), "uid": "a.dat", **more}
        yield compose("/x", "push", data).encode()
        yield compose("/x", "ack", data).encode()
        yield compose("/x", "dance", data).encode()


def command_lines(site: Site) -> dict[str, bytes]:
    pids = [process.popen.pid for process in site.processes if process.popen.poll() is None]
    assert len(pids) == 4, [process.popen.args for process in site.processes]
    return {f"command line of {pid}": Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}


def shown_status(folder: Path) -> dict[str, bytes]:
    journals = [str(path) for path in folder.rglob("*.journal")]
    assert len(journals) == 4
    return {
        f"status {' '.join(flags)}": subprocess.run(
            [sys.executable, "-m", "tranship", "status", *journals, *flags], capture_output=True, check=True
        ).stdout
        for flags in ((), ("--json",))
    }
