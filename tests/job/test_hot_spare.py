"""A spare and its primaries as processes: killed in each phase of a delivery, they are replaced, and return in vain."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stage import Process, Site, free_port, wait_for
from tranship.faultpoints import VARIABLE, Point

LEASE = 4.0
PATIENCE = 90.0
"""Seconds; so many processes start at once that a machine with other work takes its time."""

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
            self.ears["primary", phase].until(count + 2, "beat", deadline=PATIENCE)
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


def round_of_deaths(section: Section, name: str) -> dict[str, float]:
    """Have each primary die in its phase, and come back. Seconds that its file waited for the spare, by phase."""
    primaries = section.die()
    files = {f"{phase}/{name}.dat": os.urandom(100_000) for phase in PHASES}
    for file, content in files.items():
        section.drop(file, content)
    dropped, waited = time.monotonic(), {}
    for process in primaries.values():
        process.popen.wait(PATIENCE)

    def all_published() -> bool:
        published = section.published("spare")
        for phase in PHASES:
            if f"{phase}/{name}.dat" in published:
                waited.setdefault(phase, time.monotonic() - dropped)
        return len(waited) == len(PHASES)

    wait_for(all_published, f"all of {name} published by the spare", PATIENCE)
    back = {phase: section.start("primary", phase) for phase in PHASES}
    for phase in PHASES:
        log = section.folder / f"primary-{phase}.log"
        wait_for(
            lambda log=log: any(
                f"/{name}.dat" in line and "published by client" in line
                for line in log.read_text().splitlines()
            ),
            f"{phase} is told by the server",
            PATIENCE,
        )
    assert Counter(list(files)) == Counter(
        {file: count for file, count in section.published().items() if file in files}
    )
    assert {file: section.lie()[file] for file in files} == files
    for process in back.values():
        process.kill()
    return waited


def test_the_spare_takes_over_in_each_phase_and_the_primary_comes_back_in_vain(tmp_path: Path) -> None:
    with Section(tmp_path) as section:
        section.start_server()
        spare = section.start("spare", *PHASES).until(" ready")
        round_of_deaths(section, "a")
        assert not spare.said("Traceback")


@pytest.mark.soak
def test_fifty_deaths_in_each_phase_lose_nothing_and_publish_nothing_twice(tmp_path: Path) -> None:
    rounds = int(os.environ.get("TRANSHIP_ROUNDS", "50"))
    with Section(tmp_path) as section:
        section.start_server()
        section.start("spare", *PHASES).until(" ready")
        waits: dict[str, list[float]] = {phase: [] for phase in PHASES}
        for number in range(rounds):
            for phase, wait in round_of_deaths(section, f"{number}").items():
                waits[phase].append(wait)
        for phase, each in waits.items():
            print(
                f"{phase}: {len(each)} deaths, lost 0, by both 0, waited {min(each):.2f} to {max(each):.2f} s"
            )
        assert sum(section.published().values()) == rounds * len(PHASES)
