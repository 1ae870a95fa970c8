"""move: files of this host, to wherever their jobs say. A carrier for couriers."""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from tranship.core.values import Version
from tranship.delivery import Delivery, Outcome
from tranship.flows.courier import Carried, one_by_one
from tranship.journal import Job
from tranship.steps.request import Failure, Fault, Move
from tranship.wire.messages import Message
from tranship_movers.place import Place


def _anywhere(path: str) -> str:
    """Nothing is wrong with any path."""
    del path
    return ""


@dataclass(frozen=True, slots=True)
class Uploading:
    """Moves with delivery; with the login (user[:password]) of a lane, where there is one.

    The source goes as it is when it is moved, whole: who replaces it meanwhile gets the new version there.
    """

    delivery: Delivery
    logins: Mapping[str, SecretStr]
    outgoing: Callable[[Job, Sequence[Outcome]], Message | None]
    """The message that tells of a job, by what was moved for it: its file, or what came out of that."""
    others: Mapping[str, Delivery] = field(default_factory=dict)
    """Lanes that have a delivery of their own."""
    reach: Callable[[str], str] = _anywhere
    """Why the file at a path may not be moved; "" if it may. Looked at each time: links can be exchanged meanwhile."""

    def __call__(self, jobs: Sequence[Job], progress: Callable[[int], None]) -> list[Carried]:
        """Move jobs of one lane, until it fails itself. Blocking; never raises MoverError."""
        return one_by_one(lambda job: self.carry(job, progress), jobs)

    def carry(self, job: Job, progress: Callable[[int], None]) -> Carried:
        """Move the file of job."""
        put = self.put(job, job.new.path, job.new.destination, progress)
        return put if isinstance(put, Carried) else Carried(job, put.landed, self.outgoing(job, [put]))

    def put(
        self, job: Job, path: str, destination: str, progress: Callable[[int], None]
    ) -> Outcome | Carried:
        """Put the file at path to destination, on behalf of job; if that fails, why."""
        if reason := self.reach(path):
            return failed(job, Failure.REFUSED, reason)
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            return failed(job, Failure.PERMANENT, f"{path}: there is no such file (any more)")
        except OSError as error:
            return failed(job, Failure.TEMPORARY, f"{path}: {error.strerror}")
        if not stat.S_ISREG(facts.st_mode):
            return failed(job, Failure.PERMANENT, f"{path} is no file")
        version = Version(path, facts.st_size, facts.st_mtime_ns)
        place = logged_in(Place.parse(destination), self.logins.get(job.new.request_address))
        delivery = self.others.get(job.new.request_address, self.delivery)
        [outcome] = delivery([Move(version, place, destination)], lambda _, bytes_: progress(bytes_))
        return outcome if outcome.fault is None else Carried(job, fault=outcome.fault)


def failed(job: Job, failure: Failure, reason: str) -> Carried:
    """An attempt that failed here, for this reason."""
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
