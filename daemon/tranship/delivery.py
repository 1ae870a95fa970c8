"""move and verify as one act: a file version is at its destination whole and verified, or not at all."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tranship.core.values import Version
from tranship.steps.request import Fault, Move, fault_of
from tranship_movers.errors import MoverError, SourceChanged, SourceGone
from tranship_movers.options import MoverOptions, keys_of
from tranship_movers.place import Place
from tranship_movers.pool import Pool
from tranship_movers.registry import mover_class, options_for
from tranship_movers.temporary import sweep
from tranship_movers.transfer import Expected, upload


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a move: where it lies now (URL without credentials), or why it does not."""

    move: Move
    landed: str = ""
    seconds: float = 0.0
    how: str = ""
    fault: Fault | None = None
    changed: bool = False
    """Whether the source is not what was announced (any more): it is to be settled and announced anew."""

    @property
    def path(self) -> str:
        """The path at its host at which it lies now."""
        return Place.parse(self.landed).path


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivers for one chain: with its connection parameters, over the connections that the process shares.

    owner marks our temporary files at the destinations (1 to 16 of a-z and 0-9), so that only our own are swept.
    """

    pool: Pool
    parameters: Mapping[str, object]
    owner: str
    at_once: int
    _made: dict[str, MoverOptions] = field(default_factory=dict, init=False)

    def __call__(self, moves: Iterable[Move], progress: Callable[[Move, int], None]) -> list[Outcome]:
        """Deliver moves to one place, one after the other. Blocking: for a worker thread. Never raises MoverError."""
        left = deque(moves)
        outcomes: list[Outcome] = []
        while left:
            try:
                self._deliver_all(left, outcomes, progress)
            except MoverError as error:
                outcomes.append(_failed(left.popleft(), error))
        return outcomes

    def sweep(self, place: Place, wanted: Callable[[], bool]) -> int:
        """Remove what a crash of ours has left at place (a folder); how many that were. Blocking, raises MoverError.

        Nothing is removed if that is not wanted any more once the place has answered.
        """
        with self.pool.lend(place, self._options(place)) as mover:
            return 0 if not wanted() else len(sweep(mover, place.path.rpartition("/")[0], self.owner))

    def _deliver_all(
        self, left: deque[Move], outcomes: list[Outcome], progress: Callable[[Move, int], None]
    ) -> None:
        """Deliver what is left over one connection, until it is; a MoverError is about the first that is left."""
        first = left[0]
        options = self._options(first.place)
        with self.pool.lend(first.place, options, backups=first.backups) as mover:
            where = self.pool.where(mover)
            while left and left[0].backups == first.backups:
                move = left[0]
                version = move.version
                receipt = upload(
                    mover,
                    Path(version.path),
                    move.place.name_for(os.path.basename(version.path)),
                    expected=Expected(version.size, version.mtime_ns, version.checksum),
                    options=options,
                    token=f"{self.owner}-{_mark(move)}",
                    progress=partial(progress, move),
                )
                left.popleft()
                outcomes.append(Outcome(move, str(where.at(receipt.name)), receipt.seconds, receipt.how))

    def _options(self, place: Place) -> MoverOptions:
        """The parameters that mean something to the mover of place (a chain may use several movers)."""
        options = self._made.get(place.scheme)
        if options is None:
            known = keys_of(mover_class(place.scheme).options)
            meant = {key: value for key, value in self.parameters.items() if key in known}
            options = self._made[place.scheme] = options_for(place, {"at_once": self.at_once, **meant})
        return options


def _failed(move: Move, error: MoverError) -> Outcome:
    changed = isinstance(error, SourceChanged | SourceGone)
    return Outcome(move, fault=fault_of(error), changed=changed)


def _mark(move: Move) -> str:
    """The same for the same version and destination: a redo takes up the temporary file of the attempt before."""
    version: Version = move.version
    key = f"{version.path}\0{version.size}\0{version.mtime_ns}\0{move.clean}"
    return hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).hexdigest()
