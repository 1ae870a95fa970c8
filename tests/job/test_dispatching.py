"""The dispatcher as a process, from Trollmoves' own file, between real posttroll publishers and subscribers."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posttroll.message import Message as Theirs
from posttroll.publisher import Publisher
from posttroll.subscriber import Subscriber
from typer.testing import CliRunner

from servers.ftp import PASSWORD, USER, pyftpd
from servers.proxy import Fault, Proxy, Route
from stage import Process, Site, free_port, wait_for
from tranship.cli import app

FILES = 60


@contextmanager
def publisher(port: int) -> Iterator[Publisher]:
    made = Publisher(f"tcp://127.0.0.1:{port}", "somebody").start()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def listening(port: int, topic: str) -> Iterator[list[Theirs]]:
    """What a real posttroll subscriber reads."""
    heard: list[Theirs] = []
    subscriber = Subscriber([f"tcp://127.0.0.1:{port}"], [topic])

    def listen() -> None:
        for message in subscriber.recv(timeout=0.1):
            if message is not None:
                heard.append(message)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        subscriber.stop()
        thread.join(10)
        subscriber.close()


def old_file(site: Site, source: int, **targets: dict[str, Any]) -> Path:
    subscriber = {"subscribe_addresses": [f"tcp://127.0.0.1:{source}"], "nameserver": False}
    file = site.write("dispatcher.yaml", {"posttroll_subscriber": subscriber, **targets})
    file.chmod(0o600)
    return file


def start(site: Site, file: Path, port: int) -> Process:
    before = len(site.processes)
    name = f"dispatcher{before}"
    arguments = ("dispatcher", str(file), "-p", str(port), "-n", "127.0.0.1")
    return site.tranship(name, *arguments, XDG_STATE_HOME=str(site.folder)).until(" ready")


def test_kill_9_and_a_dead_target_lose_and_repeat_nothing(tmp_path: Path) -> None:
    source, port = free_port(), free_port()
    with (
        Site(tmp_path) as site,
        pyftpd() as server,
        Proxy(Route((server.host, server.port)), fault=Fault("reset")) as proxy,
        publisher(source) as out,
        listening(port, "/done") as heard,
    ):
        conditions = [{"segment": ["even"], "number": ">=0", "except": {"number": "<0"}}]
        file = old_file(
            site,
            source,
            ftp={
                "host": f"ftp://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}",
                "directory": "/in/{segment}",
                "filepattern": "{number:04d}.dat",
                "publish_topic": "/done/ftp",
                "dispatch_configs": [{"topics": ["/a"]}],
            },
            local={
                "host": "",
                "directory": f"{site.outgoing}/{{segment}}",
                "publish_topic": "/done/local/{segment}",
                "dispatch_configs": [{"topics": ["/a"], "conditions": conditions}],
            },
        )
        process = start(site, file, port)
        sent: dict[str, bytes] = {}

        def tell(number: int) -> Theirs:
            name, content = f"f{number}.dat", os.urandom(100)
            path = site.drop(name, content)
            segment = "odd" if number % 2 else "even"
            sent[f"{segment}/{number:04d}.dat"] = content
            data = {"uri": str(path), "uid": name, "number": number, "segment": segment}
            message = Theirs("/a/b", "file", data)
            out.send(message.encode())
            return message

        def tell_until_heard(number: int, count: int) -> None:
            """Tell of one file until the subscription stands; it goes once all the same."""
            message = tell(number)
            wait_for(lambda: out.send(message.encode()) or len(of("local")) == count, "heard")

        def of(target: str) -> set[str]:
            return {m.data["uri"] for m in heard if m.subject.startswith(f"/done/{target}")}

        tell_until_heard(0, 1)
        for number in range(1, FILES // 2):
            tell(number)
        wait_for(lambda: len(of("local")) == FILES // 4, "the local target has its part")
        process.kill()
        process = start(site, file, port)
        tell_until_heard(FILES // 2, FILES // 4 + 1)
        for number in range(FILES // 2 + 1, FILES):
            tell(number)
        wait_for(lambda: len(of("local")) == FILES // 2, "the local target has all")
        proxy.fault = Fault()
        wait_for(lambda: len(of("ftp")) == FILES, "the target that was dead has all", 60)
        lie = {f"{p.parent.name}/{p.name}": p.read_bytes() for p in (server.folder / "in").rglob("*.dat")}
        assert lie == sent
        assert {p.name for p in (site.outgoing / "even").iterdir()} == {
            f"f{n}.dat" for n in range(0, FILES, 2)
        }
        by_id: dict[str, set[str]] = {}
        for message in heard:
            by_id.setdefault(message.data["tranship"]["id"], set()).add(message.data["uri"])
        assert len(by_id) == FILES + FILES // 2  # a message may repeat after the crash, with its id
        assert all(len(uris) == 1 for uris in by_id.values())
        (site.outgoing / "even/f0.dat").unlink()
        journal = str(next(site.folder.rglob("*.journal")))
        resend = ["resend", journal, "f0.dat", "--topic", "/a"]

        def done() -> bool:
            return "would resend 2" in CliRunner().invoke(app, [*resend, "--dry-run"]).output

        wait_for(done, "what was published to both is written down as done")
        ordered = CliRunner().invoke(app, [*resend, "--yes"])
        assert ordered.output == "2 resent\n", ordered.output
        wait_for((site.outgoing / "even/f0.dat").exists, "dispatched once more, because it was ordered")
        assert process.stop() == 0
        told = "".join(p.output for p in site.processes) + "".join(map(str, heard))
        assert PASSWORD not in told
