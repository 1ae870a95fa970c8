"""unpack -> move: packed files of this host are emptied, and what was in them goes to where their jobs say.

A carrier for couriers. Each destination has its files unpacked for itself: none waits for another, and after a crash
the job is simply done again.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tranship.delivery import Outcome
from tranship.flows.courier import Carried, one_by_one
from tranship.flows.uploading import Uploading, failed
from tranship.journal import Job
from tranship.packed import Plan, Stuck, UnpackError
from tranship.steps.request import Failure, fault_of
from tranship.steps.unpack import unpack
from tranship_movers.errors import NameRefused
from tranship_movers.place import Place


@dataclass(frozen=True, slots=True)
class Emptying:
    """Moves what is in packed files, and others as they are. The lane of a job is the URL of its folder.

    plan.folder: where the work is done. mark: what the names of our leavings there begin with.
    """

    uploading: Uploading
    plan: Plan
    mark: str

    def __call__(self, jobs: Sequence[Job], progress: Callable[[int], None]) -> list[Carried]:
        """Move jobs of one lane, until it fails itself. Blocking; never raises MoverError."""
        return one_by_one(lambda job: self._carry(job, progress), jobs)

    def sweep(self) -> None:
        """Remove what a crash has left. Blocking."""
        if os.path.isdir(self.plan.folder):
            for entry in os.scandir(self.plan.folder):
                if entry.name.startswith(self.mark) and entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)

    def _carry(self, job: Job, progress: Callable[[int], None]) -> Carried:
        if not self.plan.covers(job.new.uid):
            return self.uploading.carry(job, progress)
        try:
            with self._workshop(job) as folder:
                names = unpack(job.new.path, replace(self.plan, folder=folder))
                return self._put(job, folder, names, progress)
        except UnpackError as error:
            failure = Failure.TEMPORARY if isinstance(error, Stuck) else Failure.PERMANENT
            return failed(job, failure, str(error))
        except NameRefused as error:
            return Carried(job, fault=fault_of(error))

    def _put(self, job: Job, folder: str, names: Sequence[str], progress: Callable[[int], None]) -> Carried:
        places = [Place.parse(job.new.request_address).below(name) for name in names]
        outcomes: list[Outcome] = []
        for name, place in zip(names, places, strict=True):
            put = self.uploading.put(job, os.path.join(folder, name), str(place), progress)
            if isinstance(put, Carried):
                return put
            outcomes.append(put)
        told = self.uploading.outgoing(job, outcomes)
        return Carried(job, outcomes[0].landed if len(outcomes) == 1 else job.new.request_address, told)

    @contextmanager
    def _workshop(self, job: Job) -> Iterator[str]:
        """An empty folder, the same at each try: then so are the temporary names at the destination. Raises Stuck."""
        folder = os.path.join(self.plan.folder, f"{self.mark}{job.new.identity}")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.makedirs(folder, 0o700)
            yield folder
        except OSError as error:
            raise Stuck(f"{folder}: nothing can be unpacked there: {error.strerror}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def mark_of(owner: str, chain: str) -> str:
    """What the names of what a chain is unpacking begin with."""
    told = hashlib.blake2b(chain.encode(), digest_size=4).hexdigest()
    return f".tranship-move-{owner}-{told}-"
