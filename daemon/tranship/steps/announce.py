"""announce: tell what is complete, once per version: number it, write it down, then say it.

The announcement is protocol.md's, section 3: the fields of the origin pattern, the chain's info items, `uri`, `uid`,
`request_address`; and under the key `tranship` what only our own peers read: the stable id of the server, the
sequence number per topic, and the size, modification time (ns since the epoch) and checksum of the file.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tranship.core.blocking import Blocking
from tranship.core.clock import Clock
from tranship.core.journey import Step
from tranship.core.origin import Origin
from tranship.core.story import Story
from tranship.core.values import Sighting, Unusable, Version
from tranship.faultpoints import Point, reached
from tranship.journal import Announced, Deletion, ServerBook, Taken, Told
from tranship.wire.contract import Publisher, too_long
from tranship.wire.messages import Message, compose
from tranship_movers.checksum import checksum as checksum_of
from tranship_movers.errors import MoverError, SourceGone


@dataclass(slots=True)
class Numbers:
    """The sequence numbers of one server: 1, 2, 3 … per topic, over all its chains and lives."""

    server: str
    heads: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    """The last number per topic that subscribers can have heard."""

    def take(self, topic: str) -> int:
        """The next number of topic."""
        number = self.heads[topic] = self.heads.get(topic, 0) + 1
        return number

    def give_back(self, topic: str) -> None:
        """The number of topic that was taken last stands for nothing: the next one takes it."""
        self.heads[topic] -= 1


@dataclass(frozen=True, slots=True)
class Wording:
    """What a chain says of its files."""

    chain: str
    topic: str
    origin: Origin
    info: Mapping[str, Any]
    request_address: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Announces the files of one chain."""

    wording: Wording
    checksum: str
    numbers: Numbers
    book: ServerBook
    publisher: Publisher
    clock: Clock
    story: Story
    blocking: Blocking = asyncio.to_thread
    share: Callable[[str], dict[str, Any] | str] | None = None
    """Says how the file at a path is read from elsewhere, instead of where to ask for it; a text: why it can't be."""

    async def news(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Those of sightings that were not announced as they are; each path once."""
        told = await self.book.told(self.wording.chain, [s.path for s in sightings])
        return [s for s in {s.path: s for s in sightings}.values() if _is_news(s, told.get(s.path))]

    async def __call__(self, complete: Sequence[Sighting]) -> tuple[int, list[str]]:
        """Announce what is news among complete.

        Returns how many were announced, and the paths of those that changed in the meantime (to be settled anew).
        """
        begun = self.clock.monotonic()
        found = await self.blocking(_versions, await self.news(complete), self.checksum)
        known, changed, unreadable = found
        for path, reason in unreadable:  # the next scan comes back to it
            self.story.tell(Step.FAILED, path, self.wording.chain, reason=reason)
        announced = await self._all_announced(known)
        if announced:
            with self._told_if_cancelled(announced):
                await self.book.announce([a for a, _ in announced])
            self._tell(announced, begun)
        return len(announced), changed

    async def unpacked(
        self,
        packed: Sighting,
        results: Sequence[Sighting],
        deletions: Callable[[list[Version]], list[Deletion]],
    ) -> bool:
        """Announce what came out of a packed file, as one, with the fields of its name; record what is to be deleted.

        Whether it was; results that changed in the meantime, or can't be read, are not announced.
        Raises Unusable if no message can name them all.
        """
        begun = self.clock.monotonic()
        known, changed, unreadable = await self.blocking(_versions, results, self.checksum)
        versions = tuple(version for _, version in known)
        if changed or unreadable or not versions:
            return False
        shared = await self._shared(versions)
        if isinstance(shared, str):
            self.story.tell(Step.FAILED, packed.path, self.wording.chain, reason=shared)
            return False
        announced = self._announced(packed.at, versions, packed.path, shared)
        if announced is None:
            return False
        source = Version(packed.path, packed.size, packed.mtime_ns)
        with self._told_if_cancelled([announced]):
            await self.book.announce(
                [announced[0]], [Taken(self.wording.chain, source)], deletions(list(versions))
            )
        self._tell([announced], begun)
        return True

    @contextlib.contextmanager
    def _told_if_cancelled(self, announced: Sequence[tuple[Announced, Message]]) -> Iterator[None]:
        """The journal keeps what it was given, whoever waits for it: heads then tell of it, and replay brings it."""
        try:
            yield
        except asyncio.CancelledError:
            self._count_as_told(announced)
            raise

    def _count_as_told(self, announced: Sequence[tuple[Announced, Message]]) -> None:
        topic = self.wording.topic
        self.numbers.told[topic] = max(self.numbers.told.get(topic, 0), *(a.seq for a, _ in announced))

    async def pass_on(self, message: Message, complete: Sequence[Sighting]) -> str:
        """Announce complete, the files that somebody's message names, with its items; why that can't be, or ""."""
        if not await self.news(complete):
            return ""
        begun, wording = self.clock.monotonic(), self.wording
        known, changed, unreadable = await self.blocking(_versions, complete, self.checksum)
        if len(known) < len(complete):
            told = [*(f"{path} is being changed" for path in changed), *map(" ".join, unreadable)]
            return told[0] if told else "its files are gone"
        versions = [version for _, version in known]
        seq, server = self.numbers.take(wording.topic), self.numbers.server
        data = {**wording.info, **message.data, "request_address": wording.request_address}
        data.pop("tranship", None)
        if len(versions) == 1:
            data["tranship"] = facts(server, seq, versions[0])
        else:
            data["tranship"] = {"v": 1, "server": server, "seq": seq}
        said = compose(wording.topic, message.type, data)
        if reason := self._untellable(said):
            return reason
        first, *others = versions
        uid, at = os.path.basename(first.path), complete[0].at
        now, frame = self.clock.now(), said.encode()
        announced = Announced(wording.topic, seq, wording.chain, first, uid, frame, at, now, tuple(others))
        with self._told_if_cancelled([(announced, said)]):
            await self.book.announce([announced])
        self._tell([(announced, said)], begun)
        return ""

    async def _all_announced(self, known: Sequence[tuple[float, Version]]) -> list[tuple[Announced, Message]]:
        announced = []
        for at, version in known:
            try:
                shared = await self._shared([version])
                if isinstance(shared, str):
                    raise Unusable(shared)
                announced.append(self._announced(at, [version], version.path, shared))
            except Unusable as error:
                self.story.tell(Step.FAILED, version.path, self.wording.chain, reason=str(error))
        return [each for each in announced if each is not None]

    async def _shared(self, versions: Sequence[Version]) -> Mapping[str, Any] | str | None:
        """What is said of how versions, announced as one, are read from elsewhere; a text: why they can't be."""
        if self.share is None:
            return None
        told = [await self.blocking(self.share, version.path) for version in versions]
        parts: list[dict[str, Any]] = []
        for each in told:
            if isinstance(each, str):
                return each
            parts += each.get("dataset", [each])
        return told[0] if len(told) == 1 else {"dataset": parts}

    def _tell(self, announced: Sequence[tuple[Announced, Message]], begun: float) -> None:
        reached(Point.ANNOUNCED)
        self.publisher.tell([message for _, message in announced])
        reached(Point.TOLD)
        self._count_as_told(announced)
        ms = round((self.clock.monotonic() - begun) * 1000, 1)
        for a, _ in announced:
            self.story.tell(Step.ANNOUNCED, a.version.path, a.chain, size=a.version.size, ms=ms, seq=a.seq)

    def _announced(
        self, at: float, versions: Sequence[Version], source: str, shared: Mapping[str, Any] | None = None
    ) -> tuple[Announced, Message] | None:
        """The announcement of versions, which came from the file source. shared: what is said of how to read it.

        Raises Unusable if it would be too long.
        """
        wording = self.wording
        fields = wording.origin.fields(source)
        if fields is None:
            return None
        seq, server = self.numbers.take(wording.topic), self.numbers.server
        first = versions[0]
        uid = os.path.basename(first.path)
        data = {**wording.info, **fields, "request_address": wording.request_address}
        if shared is not None:
            own = facts(server, seq, first) if len(versions) == 1 else {"v": 1, "server": server, "seq": seq}
            data = {**shared, **wording.info, **fields, "tranship": own}
        elif len(versions) == 1:
            data |= {"uri": first.path, "uid": uid, "tranship": facts(server, seq, first)}
        else:
            data |= {
                "dataset": [_part(v) for v in versions],
                "tranship": {"v": 1, "server": server, "seq": seq},
            }
        message = compose(wording.topic, "dataset" if "dataset" in data else "file", data)
        if reason := self._untellable(message):
            raise Unusable(reason)
        now, others, alone = self.clock.now(), tuple(versions[1:]), shared is not None
        return (
            Announced(
                wording.topic, seq, wording.chain, first, uid, message.encode(), at, now, others, alone
            ),
            message,
        )

    def _untellable(self, message: Message) -> str:
        """Why message, which took the last number, can't be told; then the number is free again. "" if it can."""
        reason = too_long(message)
        if reason:
            self.numbers.give_back(message.subject)
        return reason


def facts(server: str, seq: int, version: Version) -> dict[str, Any]:
    """What an announcement says under the key `tranship` (protocol.md, section 4)."""
    return {
        "v": 1,
        "server": server,
        "seq": seq,
        "size": version.size,
        "mtime": version.mtime_ns,
        "checksum": version.checksum,
    }


def retold(message: Message, request_address: str, server: str, seq: int, resent: str = "") -> Message:
    """An announcement that was told before, as one's own: to be asked for at request_address, by number seq of server.

    request_address: "" leaves it out. resent: the mark of one that is to be taken as if it were new.
    """
    ours = message.fields.get("tranship")
    before = ours if isinstance(ours, dict) else {}
    kept = {key: before[key] for key in ("size", "mtime", "checksum", "resent") if key in before}
    told = {"v": 1, "server": server, "seq": seq, **kept, **({"resent": resent} if resent else {})}
    where = {"request_address": request_address} if request_address else {}
    return compose(message.subject, message.type, {**message.data, **where, "tranship": told})


def _part(version: Version) -> dict[str, Any]:
    """One file of a dataset."""
    own = {"size": version.size, "mtime": version.mtime_ns, "checksum": version.checksum}
    return {"uri": version.path, "uid": os.path.basename(version.path), "tranship": own}


def _is_news(sighting: Sighting, told: Told | None) -> bool:
    return told is None or (told.version.size, told.version.mtime_ns) != (sighting.size, sighting.mtime_ns)


def _versions(
    sightings: Iterable[Sighting], algorithm: str
) -> tuple[list[tuple[float, Version]], list[str], list[tuple[str, str]]]:
    """The versions (each with when it was detected), the paths that changed, those that can't be read (and why).

    Blocking.
    """
    versions, changed, unreadable = [], [], []
    for sighting in sightings:
        try:
            checksum = "" if algorithm == "none" else checksum_of(sighting.path, algorithm)
            after = os.stat(sighting.path)
        except (SourceGone, FileNotFoundError):
            continue
        except (OSError, MoverError) as error:
            unreadable.append((sighting.path, f"can't be read: {error}"))
            continue
        if (after.st_size, after.st_mtime_ns) != (sighting.size, sighting.mtime_ns):
            changed.append(sighting.path)
        else:
            versions.append((sighting.at, Version(sighting.path, sighting.size, sighting.mtime_ns, checksum)))
    return versions, changed, unreadable
