"""announce: tell what is complete, once per version: number it, write it down, then say it.

The announcement is protocol.md's, section 3: the fields of the origin pattern, the chain's info items, `uri`, `uid`,
`request_address`; and under the key `tranship` what only our own peers read: the stable id of the server, the
sequence number per topic, and the size, modification time (ns since the epoch) and checksum of the file.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tranship.core.blocking import Blocking
from tranship.core.clock import Clock
from tranship.core.journey import Step
from tranship.core.origin import Origin
from tranship.core.story import Story
from tranship.core.values import Sighting, Version
from tranship.faultpoints import Point, reached
from tranship.journal import Announced, ServerBook, Told
from tranship.wire.contract import Publisher
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
        announced = [a for a in (self._announced(at, version) for at, version in known) if a is not None]
        if announced:
            await self.book.announce([a for a, _ in announced])
            reached(Point.ANNOUNCED)
            self.publisher.tell([message for _, message in announced])
            reached(Point.TOLD)
            self.numbers.told[self.wording.topic] = max(a.seq for a, _ in announced)
            ms = round((self.clock.monotonic() - begun) * 1000, 1)
            for a, _ in announced:
                self.story.tell(
                    Step.ANNOUNCED, a.version.path, a.chain, size=a.version.size, ms=ms, seq=a.seq
                )
        return len(announced), changed

    def _announced(self, at: float, version: Version) -> tuple[Announced, Message] | None:
        wording = self.wording
        fields = wording.origin.fields(version.path)
        if fields is None:
            return None
        uid = os.path.basename(version.path)
        seq = self.numbers.take(wording.topic)
        data = {
            **wording.info,
            **fields,
            "uri": version.path,
            "uid": uid,
            "request_address": wording.request_address,
            "tranship": facts(self.numbers.server, seq, version),
        }
        message = compose(wording.topic, "file", data)
        return (
            Announced(
                wording.topic, seq, wording.chain, version, uid, message.encode(), at, self.clock.now()
            ),
            message,
        )


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


def retold(message: Message, request_address: str, server: str, seq: int) -> Message:
    """The announcement of another server as one's own: to be asked for at request_address, by number seq of server."""
    ours = message.fields.get("tranship")
    kept = (
        {key: ours[key] for key in ("size", "mtime", "checksum") if key in ours}
        if isinstance(ours, dict)
        else {}
    )
    told = {"v": 1, "server": server, "seq": seq, **kept}
    return compose(
        message.subject, message.type, {**message.data, "request_address": request_address, "tranship": told}
    )


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
