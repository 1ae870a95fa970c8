"""A spare and its primaries as processes: killed in each phase of a delivery, they are replaced, and return in vain."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from stage import Process, Site, free_port, wait_for
from tranship.faultpoints import VARIABLE, Point

LEASE = 2.0

PHASES = {
    "before_push": Point.WANTED,
    "after_push": Point.PUSHED,
    "during_transfer": Point.REQUESTED,
    "after_transfer": Point.ANSWERED,
    "verified": Point.VERIFIED,
    "before_ack": Point.DELIVERED,
    "after_ack": Point.ACKED,
}


class Section(Site):
    """A server, a spare client, and primaries: one for each phase, with a chain of its own."""

    def __init__(self, folder: Path, lease: float = LEASE) -> None:
        super().__init__(folder)
        self.lease = lease
        self.requests = {phase: free_port() for phase in PHASES}
        self.ports = {(kind, phase): free_port() for kind in ("spare", "primary") for phase in PHASES}
        self.ears = {key: self.ear(port) for key, port in self.ports.items()}
        self.more_chains = {
            phase: {
                "origin": f"{self.incoming}/{phase}/{{name}}.dat",
                "topic": f"/1b/{phase}",
                "request": self.requests[phase],
                "allow": [f"file://{self.outgoing}/**"],
            }
            for phase in PHASES
        }
        for phase in PHASES:
            (self.incoming / phase).mkdir()

    def start(self, kind: str, *phases: str, **environment: str) -> Process:
        """Start the spare, or a primary; it may not be ready yet."""
        chains = {}
        for phase in phases:
            providers = [self.publish_port]
            options: dict[str, Any] = {
                "topic": f"/1b/{phase}",
                "destination": f"file://{self.outgoing}/{phase}/",
            }
            if kind == "spare":
                providers.append(self.ports["primary", phase])
                options["processing_delay"] = "0.3 s"
            chains[phase] = {
                **options,
                "providers": [f"127.0.0.1:{port}" for port in providers],
                "publish": self.ports[kind, phase],
                "lease": f"{self.lease} s",
                "heartbeat": "1 s",
            }
        name = "-".join((kind, *phases)) if len(phases) == 1 else kind
        config = {"role": "client", "journal": str(self.folder / f"{name}.journal"), "chains": chains}
        file = self.write(f"{name}.yaml", config)
        return self.tranship(name, "client", str(file), "--verbose", **environment)

    def die(self, times: int = 1) -> dict[str, Process]:
        """Start the primaries, to be killed in their phases for the n-th time; return when they are heard."""
        before = {phase: len(self.ears["primary", phase].of("beat")) for phase in PHASES}
        processes = {
            phase: self.start("primary", phase, **{VARIABLE: f"{point}:{times}"})
            for phase, point in PHASES.items()
        }
        for phase, count in before.items():  # who else listens to them hears them as well, soon
            self.ears["primary", phase].until(count + 2, "beat")
        return processes

    def published(self, *kinds: str) -> Counter[str]:
        """By path how often clients have published it."""
        return Counter(
            message.data["uri"].removeprefix(f"{self.outgoing}/")
            for (kind, _), ear in self.ears.items()
            for message in ear.of("file")
            if kind in (kinds or ("spare", "primary"))
        )

    def lie(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.outgoing)): path.read_bytes()
            for path in self.outgoing.rglob("*")
            if path.is_file()
        }


def test_the_spare_takes_over_in_each_phase_and_the_primary_comes_back_in_vain(tmp_path: Path) -> None:
    with Section(tmp_path) as section:
        section.start_server()
        spare = section.start("spare", *PHASES).until(" ready")
        primaries = section.die()
        files = {f"{phase}/a.dat": os.urandom(100_000) for phase in PHASES}
        for name, content in files.items():
            section.drop(name, content)
        for process in primaries.values():
            process.popen.wait(30)
        wait_for(lambda: section.published("spare") == Counter(list(files)), "all published by the spare")
        for phase in PHASES:
            section.start("primary", phase)
        for phase, dead in primaries.items():
            wait_for(lambda dead=dead: dead.said("published by client"), f"{phase} is told by the server")
        assert section.published() == Counter(list(files))
        assert section.lie() == files
        assert not spare.said("Traceback")
