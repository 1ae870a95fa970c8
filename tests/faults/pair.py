"""The world of server and client (and its spare): three chains, to a folder, an SFTP server, a disk that fills up."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers.proxy import Proxy, Route
from servers.ssh import PASSWORD, USER, Ssh, asyncsshd
from stage import free_port

from .plan import PAIR, Options
from .world import End, World

SMALL_MB = 64
"""The size of the file system that fills up."""


@contextlib.contextmanager
def pair(folder: Path, options: Options) -> Iterator[World]:
    """Such a world in folder, with nobody in it yet; who is started is killed in the end."""
    with contextlib.ExitStack() as stack:
        for place in PAIR:
            (folder / "incoming" / place).mkdir(parents=True)
            (folder / "outgoing" / place).mkdir(parents=True)
        small = folder / "outgoing" / "small"
        can_fill = _mounted(small, stack)
        ssh = stack.enter_context(asyncsshd())
        link = stack.enter_context(Proxy(Route(("127.0.0.1", ssh.port))))
        ssh.knows(link.port)
        ports = {name: free_port() for name in ("publish", *PAIR)}
        routes = [Route(("127.0.0.1", port), ("127.0.0.2", port)) for port in ports.values()]
        bus = stack.enter_context(Proxy(*routes))
        clients = [name for name in options.processes if name != "server"]
        ends = tuple(
            End(
                place,
                place,
                ssh.folder if place == "remote" else folder / "outgoing" / place,
                {name: free_port() for name in clients},
                f"/faults/{place}",
            )
            for place in PAIR
        )
        incoming = {place: folder / "incoming" / place for place in PAIR}
        made = World(folder, options, incoming, ends, bus, link, small if can_fill else None)
        made.write("server", _server(made, ports, ssh))
        (folder / "login").touch(0o600)
        (folder / "login").write_text(f"{USER}:{PASSWORD}")
        for name in clients:
            made.write(name, _client(made, ports, name))
        stack.callback(made.close)
        yield made


def _mounted(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Give folder a small file system of its own, where that is allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m,mode=0777", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        return False
    stack.callback(lambda: subprocess.run(["umount", "-l", str(folder)], check=False))
    return True


def _server(world: World, ports: dict[str, int], ssh: Ssh) -> dict[str, Any]:
    remote = {
        "allow": [f"sftp://{USER}@127.0.0.1:{world.link.port}/**"],
        "connection_parameters": {"known_hosts": str(ssh.known_hosts), "timeout": "4 s"},
    }
    local = {"delete": True, "remove_delay": "1 s"}
    return {
        "role": "server",
        "journal": str(world.journal("server")),
        "publish": ports["publish"],
        "heartbeat": "2 s",
        "chains": {
            end.place: {
                "origin": f"{world.incoming[end.place]}/{{name}}.dat",
                "topic": end.topic,
                "request": ports[end.place],
                "request_address": "127.0.0.2",
                "scan_interval": "5 s",
                "allow": [f"file://{end.folder}/**"],
                **({"remote": remote, "local": local}.get(end.place, {})),
            }
            for end in world.ends
        },
    }


def _client(world: World, ports: dict[str, int], name: str) -> dict[str, Any]:
    def chain(end: End) -> dict[str, Any]:
        providers = [f"127.0.0.2:{ports['publish']}"]
        if name == "spare":
            providers.append(f"127.0.0.1:{end.speakers['client']}")
        remote = end.place == "remote"
        return {
            "providers": providers,
            "topic": end.topic,
            "destination": f"sftp://127.0.0.1:{world.link.port}/" if remote else f"file://{end.folder}/",
            "publish": end.speakers[name],
            "heartbeat": "2 s",
            "heartbeat_alarm_scale": 3,
            "transfer_req_timeout": "4 s",
            "lease": "6 s",
            **({"login_file": str(world.folder / "login")} if remote else {}),
            **({"processing_delay": "0.5 s"} if name == "spare" else {}),
        }

    return {
        "role": "client",
        "journal": str(world.journal(name)),
        "chains": {end.place: chain(end) for end in world.ends},
    }
