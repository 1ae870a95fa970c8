"""move: files from elsewhere to this host. A carrier for couriers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tranship.core.allow import Allowed
from tranship.core.values import Unusable
from tranship.flows.courier import Carried, one_by_one
from tranship.flows.uploading import logged_in
from tranship.journal import Job
from tranship.steps.locate import Located, allowed, locate, schemes_of
from tranship.steps.request import Failure, Fault, fault_of
from tranship.wire.messages import Message, decode_whole
from tranship_movers.contract import Mover
from tranship_movers.errors import Misconfigured, MoverError
from tranship_movers.options import MoverOptions, keys_of, options_of
from tranship_movers.place import Place
from tranship_movers.pool import Pool
from tranship_movers.registry import mover_class, options_for
from tranship_movers.transfer import Expected, download


@dataclass(frozen=True, slots=True)
class Fetching:
    """Fetches from where messages say, as far as that is allowed; source: from there instead (a folder's URL)."""

    pool: Pool
    patterns: Allowed
    reach: Callable[[str], str]
    """Why the file of this host at a path may not be taken, as its links lead elsewhere; "" if it may."""
    source: str | None
    login: SecretStr | None
    parameters: Mapping[str, Any]
    at_once: int
    owner: str
    """What marks our temporary files."""
    outgoing: Callable[[Job, str], Message]

    def __call__(self, jobs: Sequence[Job], progress: Callable[[int], None]) -> list[Carried]:
        """Fetch the files of one lane, until it fails itself. Blocking; never raises MoverError."""
        return one_by_one(lambda job: self._carry(job, progress), jobs)

    def _carry(self, job: Job, progress: Callable[[int], None]) -> Carried:
        items = decode_whole(job.new.frame).fields
        target = Place.parse(job.new.destination).path
        try:
            located = locate(items, self.source)
            if not allowed(located, self.patterns):
                raise Unusable(f"{located.url} is not allowed; add it to `allow`")
            if located.place.scheme == "file" and (reason := self.reach(located.place.path)):
                raise Unusable(reason)
            options = self._options(located)
            with self._reached(located, logged_in(located.place, self.login), options) as mover:
                name = located.path or located.place.path
                receipt = download(
                    mover,
                    name,
                    Path(target),
                    expected=_expected(items),
                    options=options,
                    token=f"{self.owner}-{job.new.identity}",
                    progress=progress,
                )
        except Unusable as error:
            return Carried(job, fault=Fault(Failure.REFUSED, str(error)))
        except MoverError as error:
            return Carried(job, fault=fault_of(error))
        return Carried(job, receipt.name, self.outgoing(job, receipt.name), size=receipt.size)

    def _options(self, located: Located) -> MoverOptions:
        given = {"at_once": self.at_once, **located.parameters, **self.parameters}
        try:
            known = keys_of(mover_class(located.place.scheme).options)
            return options_for(located.place, {key: value for key, value in given.items() if key in known})
        except Misconfigured as error:
            raise Unusable(error.reason) from None

    def _reached(
        self, located: Located, place: Place, options: MoverOptions
    ) -> AbstractContextManager[Mover]:
        if not located.filesystem:
            return self.pool.lend(place, options)
        return self._described(located, place)

    @contextmanager
    def _described(self, located: Located, place: Place) -> Iterator[Mover]:
        """The file system that the message describes, if it is one that may be made."""
        from tranship_movers.fsspec import FsspecMover, FsspecOptions, filesystem_of  # noqa: PLC0415 - an extra

        known = keys_of(FsspecOptions)
        options = options_of(FsspecOptions, {k: v for k, v in self.parameters.items() if k in known})
        try:
            reach = filesystem_of(located.filesystem, schemes_of(self.patterns))
            mover = FsspecMover(place, options, reach)
        except Misconfigured as error:  # by the message; it says nothing of the place
            raise Unusable(error.reason) from None
        with closing(mover):
            yield mover


def _expected(items: Mapping[str, Any]) -> Expected:
    """What the message says of the file, under `tranship`."""
    facts = items.get("tranship")
    facts = facts if isinstance(facts, dict) else {}
    size, checksum = facts.get("size"), facts.get("checksum")
    return Expected(
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        None,
        checksum if isinstance(checksum, str) and ":" in checksum else "",
    )
