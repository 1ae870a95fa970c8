"""The mover: watches places of this host, and moves what is complete to every destination, without a client.

    detect -> settle -> want (journal) -> (unpack ->) move + verify -> publish -> remove

A job is one file version for one destination. The journal knows which were taken before, and by that which files are
everywhere: they are deleted then, if that is wanted, or after a crash when a scan sees them again.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tranship.config.move import MoveChain, MoveConfig, MoveDestination
from tranship.config.retry import policy_of
from tranship.config.server import Watch
from tranship.config.unpack import Unpack
from tranship.core.journey import Step
from tranship.core.origin import Origin
from tranship.core.values import Sighting, Version
from tranship.delivery import Delivery, Outcome
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.courier import Courier
from tranship.flows.emptying import Emptying, mark_of
from tranship.flows.keeping import ForgetJobs, only_gone
from tranship.flows.moving import moving
from tranship.flows.process import Process
from tranship.flows.reception import Reception, Watching
from tranship.flows.speaking import Speaker
from tranship.flows.uploading import Uploading, owner_of, version_id
from tranship.journal import ClientBook, Job, NewJob
from tranship.steps.remove import removed
from tranship.wire.messages import Message, compose, decode_whole
from tranship_movers.place import Place


def move(config: MoveConfig, book: ClientBook, around: Surroundings) -> "Process[MoveChain, _Chain]":
    """A mover process's work."""
    owner = owner_of(str(config.journal))
    begun = around.clock.now()

    def chain(name: str, options: MoveChain, speaker: Speaker | None) -> _Chain:
        return _Chain(name, options, owner, begun, book, around, speaker)

    return moving(config, chain, book, around, ForgetJobs(config.keep, book.past, around.clock, only_gone))


UNTOLD = "/"
"""The topic of what nobody is told of."""


class _Chain:
    """One place and its destinations. It is the outlet of its own reception."""

    def __init__(
        self,
        name: str,
        options: MoveChain,
        owner: str,
        begun: float,
        book: ClientBook,
        around: Surroundings,
        speaker: Speaker | None,
    ) -> None:
        self.options = options
        self._name = name
        self._book = book
        self._around = around = replace(around, policy=policy_of(options.retry, around.policy))
        self._speaker = speaker
        self._origin = Origin(options.origin)
        self._destinations = [_folder(destination) for destination in options.destinations]
        self._reception = Reception(name, _watching(options, self._origin, begun), around)
        self.started = self._reception.started
        delivery = Delivery(around.pool, options.connection_parameters.plain(), owner, options.transfers)
        logins = {_folder(each): each.login for each in options.destinations if each.login is not None}
        telling = outgoing if speaker is not None else _nothing
        uploading = Uploading(delivery, logins, telling)
        self._carrier = (
            uploading if options.unpack is None else _emptying(name, owner, options.unpack, uploading)
        )
        self._courier = Courier(name, self._carrier, options.transfers, book, around, self._arrived)
        self.obey = self._courier.obey

    async def run(self) -> None:
        """Work until cancelled."""
        if isinstance(self._carrier, Emptying):
            await asyncio.to_thread(self._carrier.sweep)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._courier.run(self._speaker))
            tasks.create_task(self._reception.run(self))

    async def drain(self) -> None:
        """Begin nothing new; wait until what is under way is moved and published."""
        await self._courier.drain()

    async def news(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Those of sightings that are not known, as they are, for every destination; each path once.

        What is everywhere by now is deleted, if that is wanted: a crash came before.
        """
        latest = list({sighting.path: sighting for sighting in sightings}.values())
        known = await self._known(latest)
        await self._remove_done([_version(sighting) for sighting in latest], known)
        return [s for s in latest if not known.keys() >= set(self._identities(_version(s)))]

    async def __call__(self, complete: Sequence[Sighting]) -> tuple[int, list[str]]:
        """Record for every destination what is not known there yet, and have it moved. How many files that were."""
        known = await self._known(complete)
        wanted = [new for sighting in complete for new in self._jobs(sighting) if new.identity not in known]
        await self._courier.want(wanted)
        return len({new.path for new in wanted}), []

    async def _arrived(self, jobs: Sequence[Job]) -> None:
        """Delete what is everywhere now, if that is wanted."""
        if self.options.delete:
            versions = [_moved(job) for job in jobs]
            await self._remove_done(versions, await self._known(versions))

    async def _known(self, files: Sequence[Sighting | Version]) -> dict[str, bool]:
        """The jobs that there are of these files, by identity: whether each is done."""
        identities = [identity for file in files for identity in self._identities(file)]
        return await self._book.taken(self._name, identities)

    async def _remove_done(self, versions: Sequence[Version], known: dict[str, bool]) -> None:
        if not self.options.delete:
            return
        done = [v for v in versions if all(known.get(identity) for identity in self._identities(v))]
        if done:
            reached(Point.EVERYWHERE)
        for version in done:
            kept = await self._reception.threads.do(removed, version)
            if kept is None:
                self._around.story.tell(Step.DELETED, version.path, self._name, size=version.size)
            else:
                reason = kept or "can't be deleted now; the next scan tries again"
                self._around.story.tell(Step.SKIPPED, version.path, self._name, reason=reason)

    def _identities(self, file: Sighting | Version) -> list[str]:
        return [version_id(file.path, file.size, file.mtime_ns, folder) for folder in self._destinations]

    def _jobs(self, sighting: Sighting) -> Iterator[NewJob]:
        """The jobs of a complete file; none if its name does not fit after all."""
        fields = self._origin.fields(sighting.path)
        if fields is None:
            return
        path, name, now = sighting.path, os.path.basename(sighting.path), self._around.clock.now()
        items: dict[str, Any] = {**self.options.info, **fields, "uri": path, "uid": name}
        items["tranship"] = {"v": 1, "size": sighting.size, "mtime": sighting.mtime_ns}
        topic = self.options.topic or UNTOLD
        frame = compose(topic, "file", items).encode()
        for folder, identity in zip(self._destinations, self._identities(sighting), strict=True):
            destination = str(Place.parse(folder).below(name))
            yield NewJob(
                self._name,
                identity,
                name,
                path,
                sighting.size,
                destination,
                "",
                topic,
                folder,
                False,
                frame,
                sighting.at,
                now,
                self._around.clock.steady(),
            )


def outgoing(job: Job, moved: Sequence[Outcome]) -> Message:
    """The message that tells of a moved file, with the path at which it lies now as `uri`.

    moved: the file, or what was in it, if it was unpacked; several are told as a `dataset`.
    """
    message = decode_whole(job.new.frame)
    items: dict[str, Any] = dict(message.fields)
    items["tranship"] = {"v": 1, "id": f"{job.id}-{job.new.identity}"}
    if len(moved) == 1:
        items |= _named(moved[0].path)
        source = moved[0].move.version
        # Of a file that was replaced while it waited, this is the older version's message; the newer has its own.
        items["tranship"]["size"] = job.new.size if source.path == job.new.path else source.size
        return compose(message.subject, "file", items)
    del items["uri"], items["uid"]
    items["dataset"] = [_named(each.path) for each in moved]
    return compose(message.subject, "dataset", items)


def _named(path: str) -> dict[str, str]:
    return {"uri": path, "uid": os.path.basename(path)}


def _nothing(job: Job, moved: Sequence[Outcome]) -> None:
    """Nobody is told of job."""


def _emptying(chain: str, owner: str, unpack: Unpack, uploading: Uploading) -> Emptying:
    folder = unpack.plan.folder or tempfile.gettempdir()
    return Emptying(uploading, replace(unpack.plan, folder=folder), mark_of(owner, chain))


def _folder(destination: MoveDestination) -> str:
    """What the journal calls a destination: its URL, which is its lane, too."""
    return str(Place.parse(destination.url))


def _version(sighting: Sighting) -> Version:
    return Version(sighting.path, sighting.size, sighting.mtime_ns)


def _moved(job: Job) -> Version:
    facts: Any = decode_whole(job.new.frame).fields["tranship"]
    return Version(job.new.path, job.new.size, int(facts["mtime"]))


def _watching(options: MoveChain, origin: Origin, begun: float) -> Watching:
    poll = options.watch is Watch.POLL
    return Watching(
        origin,
        options.settle,
        options.move_empty_after,
        poll,
        options.poll_interval if poll else options.scan_interval,
        0.0 if options.backlog else begun,
        polled_every=options.poll_interval if options.watch is Watch.AUTO else None,
    )
