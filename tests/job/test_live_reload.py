"""A configuration changes under running processes; they are asked to stop while they work; the old flags."""

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from servers.ftp import PASSWORD, USER, pyftpd, python_311
from servers.ports import free_port
from stage import Ear, Process, Site, wait_for
from whole_family import Family

RELOADED = "configuration (its files have changed): "


def listening(process: Process) -> dict[int, str]:
    """The sockets on which a process listens: port -> inode, which another socket on that port would not have."""
    return {local: inode for local, _, inode in sockets(process, "0A")}


def connected(process: Process, port: int) -> set[str]:
    """The inodes of a process's connections to port."""
    return {inode for _, remote, inode in sockets(process, "01") if remote == port}


def sockets(process: Process, state: str) -> list[tuple[int, int, str]]:
    own = set()
    for descriptor in Path(f"/proc/{process.popen.pid}/fd").iterdir():
        try:
            own.add(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        (int(row[1].partition(":")[2], 16), int(row[2].partition(":")[2], 16), row[9])
        for row in rows
        if row[3] == state and f"socket:[{row[9]}]" in own
    ]


def reloaded(process: Process, told: str) -> None:
    """Wait until a process has said that it took over exactly this."""
    process.until(f"{RELOADED}{told}\n")


def replace(file: Path, config: dict[str, Any]) -> None:
    """Change a file as most editors do: another one takes its name."""
    fresh = file.with_suffix(".new")
    fresh.write_text(yaml.safe_dump(config, sort_keys=False))
    fresh.replace(file)


def test_a_servers_chains_change_one_by_one(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        file, folder, port = tmp_path / "server.yaml", tmp_path / "more", free_port()
        folder.mkdir()
        announced, published = site.ear(site.publish_port), site.ear(site.client_port, site.topic)
        site.start_server()
        site.start_client()
        files = site.drop_many(20)
        published.until(20)
        before, line = listening(site.server), connected(site.client, site.request_port)
        assert set(before) == {site.publish_port, site.request_port}
        assert line

        site.more_chains["more"] = {"origin": f"{folder}/{{name}}.dat", "topic": "/more", "request": port}
        replace(file, site.server_config())
        reloaded(site.server, "chain more added")
        (folder / "one.dat").write_bytes(b"1")
        heard(announced, "/more", "one.dat")
        first = listening(site.server)
        assert set(first) == {*before, port}

        site.more_chains["more"] |= {"topic": "/other", "station": "kiruna"}
        file.write_text(yaml.safe_dump(site.server_config()))
        reloaded(site.server, "chain more changed")
        (folder / "two.dat").write_bytes(b"2")
        heard(announced, "/other", "two.dat")
        assert listening(site.server)[port] != first[port]

        del site.more_chains["more"]
        replace(file, site.server_config())
        reloaded(site.server, "chain more removed")
        (folder / "three.dat").write_bytes(b"3")
        wait_for(lambda: port not in listening(site.server), "the request socket is closed")

        files |= site.drop_many(20, start=20)
        published.until(40)
        assert site.delivered() == files
        assert listening(site.server) == before
        assert connected(site.client, site.request_port) == line
        counts = Counter(message.data["uri"] for message in announced.of("file"))
        assert len(counts) == 42
        assert set(counts.values()) == {1}
        assert site.server.output.count(" ready") == 1
        assert "is started again" not in site.server.output


def heard(ear: Ear, topic: str, uid: str) -> None:
    wait_for(
        lambda: any(m.subject == topic and m.data["uid"] == uid for m in ear.of("file")), f"{uid} on {topic}"
    )


def test_a_clients_chains_change_one_by_one(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        file, port, more = tmp_path / "client.yaml", free_port(), tmp_path / "outgoing" / "more"
        site.start_server()
        published, others = site.ear(site.client_port), site.ear(port)
        site.start_client()
        site.drop_many(20)
        published.until(20)
        before = listening(site.client)
        line = connected(site.client, site.publish_port)

        config = site.client_config()
        chain = {**config["chains"]["hrit"], "destination": f"file://{more}/", "publish": port}
        replace(file, {**config, "chains": {**config["chains"], "more": chain}})
        reloaded(site.client, "chain more added")
        site.drop_many(20, start=20)
        published.until(40)
        wait_for(lambda: len({m.data["uid"] for m in others.of("file")}) >= 20, "both chains publish")

        chain["destination"] = f"file://{more}/again/"
        replace(file, {**config, "chains": {**config["chains"], "more": chain}})
        reloaded(site.client, "chain more changed")
        site.drop_many(1, start=40)
        wait_for((more / "again" / "f000040.dat").exists, "delivered to where it is now")

        replace(file, config)
        reloaded(site.client, "chain more removed")
        site.drop_many(1, start=41)
        published.until(42)
        assert not (more / "again" / "f000041.dat").exists()
        assert listening(site.client) == before
        assert connected(site.client, site.publish_port) >= line
        counts = Counter(message.data["uid"] for message in published.of("file"))
        assert len(counts) == 42
        assert set(counts.values()) == {1}
        assert site.client.output.count(" ready") == 1
        assert "is started again" not in site.client.output


@pytest.mark.parametrize("name", ["alone", "mirror", "dispatcher", "fetch", "move"])
def test_the_other_roles_chains_change_one_by_one(tmp_path: Path, name: str) -> None:
    """On SIGHUP; what the chain that stays listens on, and whom it hears, are the same sockets afterwards."""
    with Family(tmp_path) as family:
        family.start(*(("server", name) if name == "mirror" else (name,)))
        (tmp_path / "more").mkdir()
        member = family.members[name]
        process = member.process
        assert process is not None
        family.feed("good_1.dat")
        wait_for(lambda: family.say("good_1.dat") or family.told(name, "good_1.dat"), "its work goes on")
        provider = family.ports["server"] if name == "mirror" else family.somebody
        before, heard = listening(process), connected(process, provider)
        assert bool(heard) == (name in ("mirror", "dispatcher", "fetch"))

        whole = yaml.safe_load(member.file.read_text())
        own = {
            "alone": {"origin": f"{tmp_path}/more/{{folder}}_{{name}}.dat", "topic": "/more"},
            "mirror": {"topic": "/more", "request": free_port()},
            "dispatcher": {"directory": f"{tmp_path}/more"},
            "fetch": {"directory": f"{tmp_path}/more"},
            "move": {"origin": f"{tmp_path}/more/{{folder}}_{{name}}.dat"},
        }[name]
        more = {**whole["chains"]["c"], **own}
        for chains, told in (
            ({"more": more}, "chain more added"),
            ({"more": {**more, "silence": "1 h"}}, "chain more changed"),
            ({}, "chain more removed"),
        ):
            replace(member.file, {**whole, "chains": {**whole["chains"], **chains}})
            process.popen.send_signal(signal.SIGHUP)
            process.until(f"): {told}\n")
            assert before.items() <= listening(process).items()
            assert heard <= connected(process, provider)
        wait_for(lambda: listening(process) == before, "nothing is left of the other chain")
        family.feed("good_2.dat")
        wait_for(lambda: family.say("good_2.dat") or family.told(name, "good_2.dat"), "its work goes on")
        assert [len(family.told(name, f"good_{n}.dat")) for n in (1, 2)] == [1, 1]
        assert process.output.count(" ready") == 1
        assert "is started again" not in process.output
        family.close()


def test_a_bad_file_keeps_the_old_configuration_and_says_so(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        file = tmp_path / "server.yaml"
        ear = site.ear(site.publish_port)
        site.start_server()
        good = file.read_text()
        site.drop_many(1)
        ear.until(1)
        before = listening(site.server)
        for number, (bad, place) in enumerate(
            [
                (good.replace("topic:", "topik:"), "topik"),
                (good.replace(str(site.incoming), str(tmp_path / "nowhere")), "nowhere"),
                (good + "\n  - : [", "server.yaml:"),
                ("", "is empty"),
            ],
            1,
        ):
            file.write_text(bad)
            site.server.until("have changed): refused, the old one is kept", number)
            assert place in site.server.output.rpartition("have changed): refused, the old one is kept")[2]
        site.drop_many(1, start=1)
        ear.until(2)
        bulletin = tmp_path / "server.journal.health"
        wait_for(lambda: "the old one is kept" in bulletin.read_text(), "the health says so")
        file.write_text(good)
        reloaded(site.server, "nothing changed")
        site.server.popen.send_signal(signal.SIGHUP)
        site.server.until("configuration (on request): nothing changed")
        assert listening(site.server) == before
        assert len(ear.of("file")) == 2


def test_an_old_ini_file_is_reloaded_too(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        file, more, ports = tmp_path / "server.ini", tmp_path / "more", (free_port(), free_port())
        more.mkdir()
        section = "[{name}]\norigin={folder}/{{name}}.dat\ntopic=/{name}\nrequest_port={port}\n"
        text = section.format(name="one", folder=site.incoming, port=ports[0])
        file.write_text(text)
        ear = site.ear(site.publish_port)
        log_config = tmp_path / "log.yaml"
        log_config.write_text(yaml.safe_dump(logged_to(tmp_path / "own.log")))
        flags = ["-p", str(site.publish_port), "-c", str(log_config)]
        server = site.tranship("server", "server", str(file), *flags, XDG_STATE_HOME=str(tmp_path))
        own = tmp_path / "own.log"
        wait_for(lambda: own.exists() and "ready" in own.read_text(), "the log is where it should be")
        site.drop("a.dat", b"1")
        heard(ear, "/one", "a.dat")
        file.write_text(text + section.format(name="two", folder=more, port=ports[1]))
        wait_for(lambda: "chain two added" in own.read_text(), "reloaded")
        (more / "b.dat").write_bytes(b"2")
        heard(ear, "/two", "b.dat")
        assert server.stop() == 0
        assert "OWN:INFO:announced file=" in own.read_text()
        assert server.output == ""


def logged_to(file: Path) -> dict[str, Any]:
    """A log configuration of the kind that Trollmoves takes."""
    return {
        "version": 1,
        "formatters": {"own": {"format": "OWN:%(levelname)s:%(message)s"}},
        "handlers": {"own": {"class": "logging.FileHandler", "filename": str(file), "formatter": "own"}},
        "root": {"level": "INFO", "handlers": ["own"]},
    }


SLOW = 4 << 20
"""Bytes per second."""


def slow_ftp() -> Any:
    """An FTP server that takes its time with what it is sent."""
    with python_311():
        from pyftpdlib.handlers import ThrottledDTPHandler
    handler = type("Slow", (ThrottledDTPHandler,), {"read_limit": SLOW})
    return pyftpd(dtp_handler=handler)


@pytest.mark.parametrize("whom", ["server", "client"])
def test_whoever_is_asked_to_stop_finishes_what_is_under_way(tmp_path: Path, whom: str) -> None:
    with slow_ftp() as ftp, Site(tmp_path) as site:
        ear = start_slowly(site, ftp.port)
        content = os.urandom(6 * SLOW)
        site.drop("large.dat", content)
        under_way(ftp.folder)
        process = {"server": site.server, "client": site.client}[whom]
        process.popen.terminate()
        process.until("SIGTERM: finishing what is under way")
        site.drop("later.dat", b"not begun any more")
        assert process.popen.wait(30) == 0
        assert process.said("everything under way was finished")
        # it heard of the progress, else it would have lost patience
        assert not site.client.said(f" retried file={site.incoming / 'large.dat'}")
        assert (ftp.folder / "large.dat").read_bytes() == content
        assert ear.until(1)[0].data["uid"] == "large.dat"
        # and the other one is not forgotten
        (site.start_server if whom == "server" else site.start_client)()
        ear.until(2)
        assert (ftp.folder / "later.dat").read_bytes() == b"not begun any more"
        assert Counter(message.data["uid"] for message in ear.of("file")) == {"large.dat": 1, "later.dat": 1}


def test_who_is_asked_twice_leaves_at_once_and_goes_on_at_the_next_start(tmp_path: Path) -> None:
    with slow_ftp() as ftp, Site(tmp_path) as site:
        ear = start_slowly(site, ftp.port)
        content = os.urandom(6 * SLOW)
        site.drop("large.dat", content)
        under_way(ftp.folder)
        site.server.popen.terminate()
        site.server.until("SIGTERM: finishing what is under way")
        site.server.popen.terminate()
        assert site.server.popen.wait(10) == 128 + signal.SIGTERM
        assert not (ftp.folder / "large.dat").exists()
        site.start_server()
        ear.until(1)
        assert (ftp.folder / "large.dat").read_bytes() == content
        assert [path.name for path in ftp.folder.iterdir()] == ["large.dat"]
        assert len(ear.of("file")) == 1


def start_slowly(site: Site, port: int) -> Ear:
    """A server and a client that move to the FTP server at port."""
    site.chain_options = {"allow": [f"ftp://127.0.0.1:{port}/**"]}
    login = site.folder / "login"
    login.write_text(f"{USER}:{PASSWORD}")
    login.chmod(0o600)
    site.client_options = {
        "destination": f"ftp://127.0.0.1:{port}/",
        "login_file": str(login),
        "transfer_req_timeout": "4 s",
    }
    ear = site.ear(site.client_port, site.topic)
    site.start_server()
    site.start_client()
    return ear


def under_way(folder: Path) -> None:
    """Wait until something is being written into folder."""
    wait_for(lambda: any(path.stat().st_size for path in folder.iterdir()), "the transfer is under way")
