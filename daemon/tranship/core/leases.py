"""The server as the judge: which of the clients that ask for a file version may publish it.

A spare says whose spare it is. Between it and those, the first that is served holds the lease; whoever asks meanwhile
is told to wait; when the lease is over and nothing was published, the next one that asks gets it. Clients that have
nothing to do with each other don't hinder each other. No clock: times are handed in, in seconds, monotonic.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tranship.core.values import Version

UNTOLD_LEASE = 15.0
"""Seconds for which a client holds the lease that does not say for how long."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who asks: a client's id ("" of the old kind), whose spare it is, how long it wants the lease (seconds)."""

    client: str = ""
    spare_of: frozenset[str] = frozenset()
    lease: float = UNTOLD_LEASE

    def rivals(self, client: str, spare_of: Iterable[str]) -> bool:
        """Whether it and that client are primary and spare of each other."""
        return client != self.client and (client in self.spare_of or self.client in spare_of)


@dataclass(frozen=True, slots=True)
class Teller:
    """A client that has published a version, and whose spare it is; at: when, in seconds since the epoch."""

    client: str
    spare_of: frozenset[str]
    at: float


class Right(StrEnum):
    """Who may publish."""

    YOURS = "yours"
    ANOTHER = "another"
    """Another client holds the lease: ask again when it is over."""
    TOLD = "told"
    """Another client has published it."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """Who may publish a version; which other client that is, how many seconds its lease lasts, or when it told."""

    right: Right
    client: str = ""
    seconds: float = 0.0
    at: float = 0.0


_REMEMBERED = 20_000
_PRIMARIES = 1000
_CLIENTS = 8
"""Clients that are remembered per version, the first: more than a section has; whoever invents any is kept to it."""

_LEASES = 100_000
"""Leases at once; what is more ends before its time."""

_YOURS = Ruling(Right.YOURS)


class Leases:
    """The leases of one chain. They are forgotten with the process; who is asked soon after a start is careful."""

    def __init__(self, begun: float, primaries: Iterable[str] = ()) -> None:
        """No lease yet; the process began at `begun`; primaries: clients that have a spare, as former lives knew."""
        self._begun = begun
        self._primaries = set(primaries)
        self._told: OrderedDict[Version, list[Teller]] = OrderedDict()
        self._held: dict[Version, list[tuple[Claimant, float]]] = {}
        self._ends: deque[tuple[float, Version]] = deque()

    def rule(
        self,
        versions: Sequence[Version],
        claimant: Claimant,
        tellers: Sequence[Teller],
        now: float,
        *,
        moved: bool = False,
    ) -> Ruling:
        """Who may publish versions (of one request), which tellers have published; if it is claimant, it has the lease.

        moved: whether one of them had been moved, wherever to, before they were asked for now.
        """
        self._expire(now)
        for teller in (*tellers, *(t for version in versions for t in self._told.get(version, ()))):
            if claimant.rivals(teller.client, teller.spare_of):
                return Ruling(Right.TOLD, teller.client, 0.0, teller.at)
        for version in versions:
            for other, until in self._held.get(version, ()):
                if until > now and claimant.rivals(other.client, other.spare_of):
                    return Ruling(Right.ANOTHER, other.client, until - now)
        unknown = self._begun + claimant.lease - now
        if moved and unknown > 0 and self._has_rival(claimant) and not self._holds(versions, claimant, now):
            return Ruling(Right.ANOTHER, "", unknown)  # who was served in the former life may hold it still
        for version in versions:
            self._grant(version, claimant, now + claimant.lease)
        return _YOURS

    def meet(self, clients: Iterable[str]) -> set[str]:
        """Note clients of which a spare says that it is theirs; returns those that were not known (1000 at most)."""
        unknown = set(clients) - self._primaries if len(self._primaries) < _PRIMARIES else set()
        self._primaries |= unknown
        return unknown

    def told(self, version: Version, teller: Teller) -> None:
        """Note that version was published (the last 20 000 are remembered)."""
        others = [other for other in self._told.get(version, ()) if other.client != teller.client]
        self._told[version] = [*others, teller][:_CLIENTS]
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)

    def forget(self, version: Version) -> None:
        """What was said of version counts no more: it is to be published once more."""
        self._told.pop(version, None)
        self._held.pop(version, None)

    def _has_rival(self, claimant: Claimant) -> bool:
        """Whether it knows to yield, and may have to."""
        return bool(claimant.client and (claimant.spare_of or claimant.client in self._primaries))

    def _holds(self, versions: Sequence[Version], claimant: Claimant, now: float) -> bool:
        held = (self._held.get(version, ()) for version in versions)
        return all(any(o.client == claimant.client and until > now for o, until in each) for each in held)

    def _grant(self, version: Version, claimant: Claimant, until: float) -> None:
        others = [(o, u) for o, u in self._held.get(version, ()) if o.client != claimant.client]
        self._held[version] = [*others, (claimant, until)][:_CLIENTS]
        self._ends.append((until, version))
        if len(self._ends) > _LEASES:
            self._held.pop(self._ends.popleft()[1], None)

    def _expire(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, version = self._ends.popleft()
            left = [(other, until) for other, until in self._held.get(version, ()) if until > now]
            if left:
                self._held[version] = left
            else:
                self._held.pop(version, None)
