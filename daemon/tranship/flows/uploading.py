"""move: files of this host, to wherever their jobs say. A carrier for couriers."""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import SecretStr

from tranship.core.places import About
from tranship.core.values import Version
from tranship.delivery import Delivery
from tranship.flows.courier import Carried
from tranship.journal import Job
from tranship.steps.request import Failure, Fault, Move
from tranship.wire.messages import Message
from tranship_movers.place import Place


@dataclass(frozen=True, slots=True)
class Uploading:
    """Moves with delivery; with the login (user[:password]) of a lane, where there is one.

    The source goes as it is when it is moved, whole: who replaces it meanwhile gets the new version there.
    """

    delivery: Delivery
    logins: Mapping[str, SecretStr]
    outgoing: Callable[[Job], Message | None]

    def __call__(self, jobs: Sequence[Job], progress: Callable[[int], None]) -> list[Carried]:
        """Move jobs of one lane, until it fails itself. Blocking; never raises MoverError."""
        carried: list[Carried] = []
        for job in jobs:
            carried.append(self._carry(job, progress))
            fault = carried[-1].fault
            if fault is not None and fault.about is About.HOST:
                break
        return carried

    def _carry(self, job: Job, progress: Callable[[int], None]) -> Carried:
        path, destination = job.new.path, job.new.destination
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            return _failed(job, Failure.PERMANENT, f"{path}: there is no such file (any more)")
        except OSError as error:
            return _failed(job, Failure.TEMPORARY, f"{path}: {error.strerror}")
        if not stat.S_ISREG(facts.st_mode):
            return _failed(job, Failure.PERMANENT, f"{path} is no file")
        version = Version(path, facts.st_size, facts.st_mtime_ns)
        place = logged_in(Place.parse(destination), self.logins.get(job.new.request_address))
        move = Move(version, place, destination)
        [outcome] = self.delivery([move], lambda _, bytes_: progress(bytes_))
        if outcome.fault is not None:
            return Carried(job, fault=outcome.fault)
        return Carried(job, outcome.landed, self.outgoing(job))


def _failed(job: Job, failure: Failure, reason: str) -> Carried:
    return Carried(job, fault=Fault(failure, reason))


def logged_in(place: Place, login: SecretStr | None) -> Place:
    """The place, for the user of login (user[:password])."""
    if login is None:
        return place
    user, colon, password = login.get_secret_value().partition(":")
    return replace(place, user=user, password=SecretStr(password) if colon else None)


def lane_of(place: Place) -> str:
    """The lane of jobs that go to place: its scheme, host and port."""
    return str(place.at("/"))


def version_id(path: str, size: int, mtime_ns: int, destination: str) -> str:
    """What identifies a job (32 hex digits): one version of a file, for one destination."""
    told = f"{path}\0{size}\0{mtime_ns}\0{destination}"
    return hashlib.blake2b(told.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def owner_of(journal: str) -> str:
    """The mark of the temporary files of the process with this journal."""
    told = f"{os.uname().nodename}\0{journal}"
    return hashlib.blake2b(told.encode(errors="surrogateescape"), digest_size=6).hexdigest()
