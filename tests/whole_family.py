"""Every role of the family as a process, handing one another files; move and a stand-alone server beside them.

    server -> mirror -> client -> dispatcher, fetch

A file is called `<folder>_<name>.dat`. What is in the folder `good` goes all the way; each role has files that it gives
up (`spoil`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from servers.ports import free_port
from stage import Ear, Process, Site, wait_for
from tranship.journal.debts import debts
from tranship.wire.messages import compose

ROLES = ("server", "alone", "mirror", "client", "dispatcher", "fetch", "move")
MOVERS = ("client", "dispatcher", "fetch", "move")
"""Who delivers and publishes files itself."""


@dataclass
class Member:
    """One process: its file, what it publishes, and under which topic."""

    name: str
    file: Path
    ear: Ear
    topic: str
    process: Process | None = None

    @property
    def journal(self) -> Path:
        return self.file.with_suffix(".journal")

    @property
    def command(self) -> str:
        return "server" if self.name == "alone" else self.name


class Family(Site):
    """All of them. `start` starts one, or starts it again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pattern = "{folder}_{name}.dat"
        self.alone, self.moving = folder / "alone", folder / "moving"
        self.alone.mkdir()
        self.moving.mkdir()
        self._somebody = self._context.socket(zmq.PUB)
        self.somebody = self._somebody.bind_to_random_port("tcp://127.0.0.1")
        self._said: dict[str, bytes] = {}
        self.ports = {name: free_port() for name in ROLES}
        self.request_ports = {"server": self.request_port, "mirror": free_port()}
        self.members = {name: self._member(name, config) for name, config in self._configs().items()}

    def close(self) -> None:
        self._somebody.close(0)

    def _member(self, name: str, config: dict[str, Any]) -> Member:
        [chain] = config["chains"].values()
        topic = str(chain.get("topic", chain.get("publish_topic", self.topic)))
        file = self.write(f"{name}.yaml", {"journal": str(self.folder / f"{name}.journal"), **config})
        return Member(name, file, self.ear(self.ports[name], topic), topic)

    def _configs(self) -> dict[str, dict[str, Any]]:
        out, ports, copies = self.folder, self.ports, self.folder / "copies"
        origin = f"{self.incoming}/{self.pattern}"
        heard = [f"127.0.0.1:{ports['client']}", f"127.0.0.1:{self.somebody}"]
        return {
            "server": {
                "role": "server",
                "publish": ports["server"],
                "chains": {
                    "c": {
                        "origin": origin,
                        "topic": self.topic,
                        "request": self.request_ports["server"],
                        "allow": [f"file://{copies}/good/**", f"file://{copies}/bad/**"],
                    }
                },
            },
            "alone": {
                "role": "server",
                "publish": ports["alone"],
                "chains": {
                    "c": {
                        "origin": f"{self.alone}/{self.pattern}",
                        "topic": "/alone",
                        "filesystem": {"protocol": "file"},
                    }
                },
            },
            "mirror": {
                "role": "mirror",
                "publish": ports["mirror"],
                "chains": {
                    "c": {
                        "providers": [f"127.0.0.1:{ports['server']}"],
                        "topic": self.topic,
                        "destination": f"file://{copies}/{{folder}}/",
                        "request": self.request_ports["mirror"],
                        "allow": [f"file://{self.outgoing}/good/**", f"file://{self.outgoing}/ugly/**"],
                        "delete": False,
                    }
                },
            },
            "client": {
                "role": "client",
                "chains": {
                    "c": {
                        "providers": [f"127.0.0.1:{ports['mirror']}"],
                        "topic": self.topic,
                        "destination": f"file://{self.outgoing}/{{folder}}/",
                        "publish": ports["client"],
                    }
                },
            },
            "dispatcher": {
                "role": "dispatcher",
                "publish": ports["dispatcher"],
                "chains": {
                    "c": {
                        "providers": heard,
                        "allow": [f"file://{out}/**"],
                        "directory": f"{out}/dispatched/{{folder}}",
                        "publish_topic": "/dispatched",
                        "routes": [{"topics": ["/1b"]}],
                    }
                },
            },
            "fetch": {
                "role": "fetch",
                "publish": ports["fetch"],
                "chains": {
                    "c": {
                        "providers": heard,
                        "topics": ["/1b"],
                        "allow": ["file:///**"],
                        "directory": f"{out}/fetched/{{folder}}",
                        "publish_topic": "/fetched",
                    }
                },
            },
            "move": {
                "role": "move",
                "publish": ports["move"],
                "chains": {
                    "c": {
                        "origin": f"{self.moving}/{self.pattern}",
                        "destinations": [f"{out}/moved/"],
                        "topic": "/moved",
                    }
                },
            },
        }

    def start(self, *names: str, **environment: str) -> None:
        """Start these (again), each ready before the next; listen meanwhile, as who is not read is not heard."""
        for name in names:
            member = self.members[name]
            log = self.folder / f"{name}.log"
            before = log.read_text().count(" ready") if log.exists() else 0
            member.process = self.tranship(name, member.command, str(member.file), **environment)

            def is_ready(process: Process = member.process, count: int = before + 1) -> bool:
                for each in self.members.values():
                    each.ear.listen()
                assert process.popen.poll() in (None, -9), process.output
                return process.said(" ready", count) or process.popen.poll() is not None

            wait_for(is_ready, f"{name} is ready")

    def stop(self, *names: str) -> None:
        """End these as SIGTERM does."""
        for name in names:
            process = self.members[name].process
            assert process is not None
            assert process.stop() == 0, process.output

    def feed(self, *names: str) -> None:
        """Drop a file of each of these names everywhere."""
        for name in names:
            for folder in (self.incoming, self.alone, self.moving):
                (folder / name).write_bytes(name.encode())

    def say(self, name: str) -> None:
        """Tell dispatcher and fetch of the file of this name, as somebody else does: the same message each time."""
        data = {"uri": f"{self.alone}/{name}", "uid": name, "folder": name.partition("_")[0]}
        self._somebody.send(self._said.setdefault(name, compose(self.topic, "file", data).encode()))

    def told(self, member: str, uid: str) -> list[dict[str, Any]]:
        """What member has published of the file uid."""
        messages = self.members[member].ear.of("file")
        return [m.data for m in messages if str(m.data["uid"]).rpartition("/")[2] == uid]

    def spoil(self) -> None:
        """Have every role that delivers give up one file: ugly_1.dat or bad_1.dat; wait until it has."""
        for folder in ("moved", "dispatched/bad", "fetched/bad"):  # a folder that has the name of a file
            (self.folder / folder / "bad_1.dat" / "bad_1.dat").mkdir(parents=True)
        self.feed("bad_1.dat", "ugly_1.dat")
        for name in (*MOVERS, "mirror"):

            def given_up(member: Member = self.members[name]) -> bool:
                self.say("bad_1.dat")
                found, _ = debts(member.journal)
                return any(debt.state == "given up" for debt in found)

            wait_for(given_up, f"something is given up by {name}")
