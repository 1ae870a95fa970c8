"""The world of the whole family: what one process brings, the next one hears of, takes further, and tells of.

    flow    server -> mirror -> client -> dispatcher -> a folder, and an SFTP server
            server -> fetch: the same files, out of the folder that the server watches, by SFTP
    moved   move -> a folder, and an SFTP server; its sources are deleted
    web     move -> a folder with a web server, from where fetch has it

All servers are behind one link, all processes hear and ask each other over one bus. Client and mover have `replay`:
what they publish while nobody hears it is asked for again.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from servers.proxy import Proxy, Route
from servers.ssh import PASSWORD, USER, Ssh, asyncsshd
from servers.web import web
from stage import free_port

from .plan import Options
from .world import End, World

SPEAKERS = ("server", "mirror", "client", "dispatcher", "move", "fetch")
ASKED = ("server asked", "mirror asked", "client asked", "move asked")
HERE, BUS = "127.0.0.1", "127.0.0.2"
"""Where everybody listens, and where that is reached through what can be cut."""

PATIENCE = {"retry": {"first": "0.5 s", "longest": "4 s"}}


@contextlib.contextmanager
def family(folder: Path, options: Options) -> Iterator[World]:
    """Such a world in folder, with nobody in it yet; who is started is killed in the end."""
    with contextlib.ExitStack() as stack:
        ssh = stack.enter_context(asyncsshd())
        out = folder / "outgoing"
        incoming = {"flow": ssh.folder / "flow", "moved": folder / "moved", "web": folder / "web"}
        ports = {name: free_port() for name in (*SPEAKERS, *ASKED)}
        ends = _ends(out, ssh.folder, incoming, ports)
        for made in {*incoming.values(), *(end.folder for end in ends)}:
            made.mkdir(parents=True, exist_ok=True)
        shown = stack.enter_context(web(out / "web"))
        link = stack.enter_context(Proxy(Route((HERE, ssh.port)), Route((HERE, shown))))
        ssh.knows(link.ports[0])
        bus = stack.enter_context(Proxy(*(Route((HERE, port), (BUS, port)) for port in ports.values())))
        emptied = (out / "copies", incoming["moved"])
        world = World(folder, options, incoming, ends, bus, link, emptied=emptied)
        configs = _Configs(world, ports, ssh)
        for name in options.processes:
            world.write(name, getattr(configs, name)())
        stack.callback(world.close)
        yield world


def _ends(out: Path, far: Path, incoming: Mapping[str, Path], ports: Mapping[str, int]) -> tuple[End, ...]:
    def end(name: str, place: str, folder: Path, speaker: str, topic: str, **more: Any) -> End:
        return End(name, place, folder, {speaker: ports[speaker]}, f"/faults/{topic}", **more)

    return (
        end("announced", "flow", incoming["flow"], "server", "flow", kept=False),
        end("announced again", "flow", incoming["flow"], "mirror", "flow", kept=False),
        End("copies", "flow", out / "copies", kept=False),
        end("arrived", "flow", out / "arrived", "client", "flow"),
        end("near", "flow", out / "near", "dispatcher", "near"),
        end("far", "flow", far / "far", "dispatcher", "far"),
        end("collected", "flow", out / "collected", "fetch", "collected"),
        end("moved", "moved", out / "moved", "move", "moved", said=str(out / "moved")),
        end("moved far", "moved", far / "moved", "move", "moved", said="/moved"),
        end("web", "web", out / "web", "move", "web"),
        end("fetched", "web", out / "fetched", "fetch", "fetched"),
    )


class _Configs:
    """What each process is told."""

    def __init__(self, world: World, ports: Mapping[str, int], ssh: Ssh) -> None:
        self._world = world
        self._ports = ports
        self._sftp, self._http = world.link.ports
        self._ssh = {"known_hosts": str(ssh.known_hosts), "timeout": "4 s"}
        self._login = {"login": f"{USER}:{PASSWORD}"}
        self._out = world.folder / "outgoing"

    def server(self) -> dict[str, Any]:
        flow = {
            "origin": f"{self._world.incoming['flow']}/{{name}}.dat",
            "topic": "/faults/flow",
            "request": self._ports["server asked"],
            "request_address": BUS,
            "scan_interval": "5 s",
            "allow": [f"file://{self._out}/copies/**"],
        }
        return self._process("server", flow=flow)

    def mirror(self) -> dict[str, Any]:
        flow = {
            "providers": self._heard("server"),
            "heartbeat_alarm_scale": 3,
            "topic": "/faults/flow",
            "destination": f"file://{self._out}/copies/",
            "transfer_req_timeout": "4 s",
            "request": self._ports["mirror asked"],
            "request_address": BUS,
            "allow": [f"file://{self._out}/arrived/**"],
            "remove_delay": "1 s",
            **PATIENCE,
        }
        return self._process("mirror", flow=flow)

    def client(self) -> dict[str, Any]:
        flow = {
            "providers": self._heard("mirror"),
            "heartbeat_alarm_scale": 3,
            "topic": "/faults/flow",
            "destination": f"file://{self._out}/arrived/",
            "publish": self._ports["client"],
            "replay": self._ports["client asked"],
            "heartbeat": "2 s",
            "transfer_req_timeout": "4 s",
            **PATIENCE,
        }
        return {
            "role": "client",
            "journal": str(self._world.journal("client")),
            "chains": {"flow": flow},
        }

    def dispatcher(self) -> dict[str, Any]:
        heard = {
            "providers": self._heard("client"),
            "heartbeat_alarm_scale": 3,
            "routes": [{"topics": ["/faults/flow"]}],
            "allow": [f"file://{self._out}/**"],
            **PATIENCE,
        }
        near = {**heard, "directory": f"{self._out}/near", "publish_topic": "/faults/near"}
        far = {
            **heard,
            **self._login,
            "host": f"sftp://{HERE}:{self._sftp}",
            "directory": "/far",
            "publish_topic": "/faults/far",
            "connection_parameters": self._ssh,
        }
        return self._process("dispatcher", near=near, far=far)

    def move(self) -> dict[str, Any]:
        def chain(place: str, *destinations: str | dict[str, Any], **more: Any) -> dict[str, Any]:
            return {
                "origin": f"{self._world.incoming[place]}/{{name}}.dat",
                "destinations": [f"{self._out}/{place}/", *destinations],
                "topic": f"/faults/{place}",
                "scan_interval": "5 s",
                **PATIENCE,
                **more,
            }

        far = {"url": f"sftp://{HERE}:{self._sftp}/moved/", **self._login}
        moved = chain("moved", far, delete=True, connection_parameters=self._ssh)
        whole = self._process("move", moved=moved, web=chain("web"))
        return {**whole, "replay": self._ports["move asked"]}

    def fetch(self) -> dict[str, Any]:
        collected = {
            "providers": self._heard("server"),
            "heartbeat_alarm_scale": 3,
            "topics": ["/faults/flow"],
            "source": f"sftp://{HERE}:{self._sftp}/flow/",
            **self._login,
            "directory": f"{self._out}/collected",
            "publish_topic": "/faults/collected",
            "connection_parameters": self._ssh,
            **PATIENCE,
        }
        fetched = {
            "providers": self._heard("move"),
            "heartbeat_alarm_scale": 3,
            "topics": ["/faults/web"],
            "source": f"http://{HERE}:{self._http}/",
            "directory": f"{self._out}/fetched",
            "publish_topic": "/faults/fetched",
            "connection_parameters": {"timeout": "4 s"},
            **PATIENCE,
        }
        return self._process("fetch", collected=collected, fetched=fetched)

    def _process(self, name: str, **chains: dict[str, Any]) -> dict[str, Any]:
        return {
            "role": name,
            "journal": str(self._world.journal(name)),
            "publish": self._ports[name],
            "heartbeat": "2 s",
            "chains": chains,
        }

    def _heard(self, name: str) -> list[str]:
        return [f"{BUS}:{self._ports[name]}"]
