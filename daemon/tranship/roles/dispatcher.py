"""The dispatcher: hears of files on this host, and sends each to the targets that want it.

    hear -> route -> want (journal) -> move + verify -> publish

A job is one file version for one destination. What our own servers announced meanwhile is replayed (Hearing).
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from trollsift import compose as fill_in

from tranship.config.dispatcher import DispatcherChain, DispatcherConfig
from tranship.config.moving_checks import logins_of, parameters_of
from tranship.config.retry import policy_of
from tranship.core.journey import Step
from tranship.core.routing import UNFILLABLE, Route
from tranship.core.values import Unusable
from tranship.delivery import Delivery
from tranship.flows.around import Surroundings
from tranship.flows.courier import Courier
from tranship.flows.hearing import Hearing
from tranship.flows.keeping import ForgetJobs
from tranship.flows.listening import Ears, lookup_of, names_a_host, providers_of
from tranship.flows.moving import moving
from tranship.flows.process import Process
from tranship.flows.speaking import Speaker
from tranship.flows.uploading import Uploading, lane_of, owner_of, version_id
from tranship.hosts import is_own_host
from tranship.journal import ClientBook, Cursor, Job, NewJob, Verdict
from tranship.lanes import Threads
from tranship.steps.reach import Reach
from tranship.steps.told import Told, path_of, told
from tranship.wire.messages import Message, Unsendable, compose, decode_whole
from tranship_movers.errors import MoverError
from tranship_movers.place import Place


def dispatcher(
    config: DispatcherConfig, book: ClientBook, around: Surroundings
) -> Process[DispatcherChain, "_Chain"]:
    """A dispatcher process's work."""
    owner = owner_of(str(config.journal))

    def chain(name: str, options: DispatcherChain, speaker: Speaker | None) -> _Chain:
        return _Chain(name, options, owner, book, around, speaker)

    return moving(config, chain, book, around, ForgetJobs(config.keep, book.past, around.clock))


class _Chain:
    """One target."""

    def __init__(
        self,
        name: str,
        options: DispatcherChain,
        owner: str,
        book: ClientBook,
        around: Surroundings,
        speaker: Speaker | None,
    ) -> None:
        self.options = options
        self.started = asyncio.Event()
        self._name = name
        self._around = around = replace(around, policy=policy_of(options.retry, around.policy))
        self._speaker = speaker
        self._routes = _routes(options)
        self._reach = Reach(options.allow, around.clock)
        topic = options.publish_topic if speaker is not None else None
        delivery = Delivery(around.pool, options.connection_parameters.plain(), owner, options.transfers)
        logins = {lane_of(_place(host, "/")): login for host, login in logins_of(options).items()}
        others = {
            lane_of(_place(host, "/")): replace(delivery, parameters=parameters.plain())
            for host, parameters in parameters_of(options).items()
        }
        uploading = Uploading(
            delivery, logins, lambda job, moved: outgoing(job, moved[0].path, topic), others, self._reach
        )
        self._courier = Courier(name, uploading, options.transfers, book, around)
        self.obey = self._courier.obey
        topics = sorted({topic for route in options.routes for topic in route.topics})
        self._hearing = Hearing(
            name,
            providers_of(options, topics),
            options.heartbeat_alarm_scale,
            book,
            around,
            lookup_of(options, topics),
        )
        self._ears = Ears(name, self._want, around, names_a_host)
        self._threads = Threads(f"route {name}", 2)  # one for what names hosts, one for the others

    async def run(self) -> None:
        """Work until cancelled."""
        begin = asyncio.Event()
        begin.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._courier.run(self._speaker))
                tasks.create_task(self._ears.run())
                tasks.create_task(self._hearing.run(self._ears, self.started, begin))
        finally:
            self._threads.close()

    async def drain(self) -> None:
        """Begin nothing new; wait until what is under way is moved and published."""
        await self._courier.drain()

    async def _want(self, messages: Sequence[Message], cursors: Sequence[Cursor]) -> None:
        """Record what these messages lead to, and how far servers were heard, in one."""
        offers, refused = await self._threads.do(self._offers, messages)
        for message, reason in refused:
            self._ears.refuse(message, reason)
        verdicts = await self._courier.want([new for new, _ in offers], cursors)
        hopeless = []
        for (_, reason), (verdict, job, _) in zip(offers, verdicts, strict=True):
            if verdict is Verdict.NEW and reason:
                hopeless.append((job, reason))
            elif verdict is Verdict.DONE:
                told = f"dispatched before, to {job.new.destination}"
                self._around.story.tell(Step.SKIPPED, job.new.path, self._name, reason=told)
        await self._courier.refuse(hopeless)

    def _offers(
        self, messages: Sequence[Message]
    ) -> tuple[list[tuple[NewJob, str]], list[tuple[Message, str]]]:
        """The jobs that messages lead to, each with why it can't be done ("" if it can); and what leads to none.

        Blocking.
        """
        offers, refused = [], []
        for message in messages:
            try:
                offers += [offer for file in told(message) for offer in self._jobs(message, file)]
            except Unusable as error:
                refused.append((message, str(error)))
        return offers, refused

    def _jobs(self, message: Message, file: Told) -> Iterator[tuple[NewJob, str]]:
        data = file.dated
        routes = [route for route in self._routes if route.takes(message.subject, data)]
        if not routes:
            return
        path = _local(file.uri)
        if reason := self._reach(path):
            raise Unusable(reason)
        found = _facts(path)
        data["file_creation_time"] = datetime.fromtimestamp(found.st_ctime if found else 0)
        now = self._around.clock.now()
        for route in routes:
            destination, reason = "", "" if found else f"{path}: there is no such file"
            try:
                place = _place(route.host, route.destination(data, file.name))
                destination = str(place)
                lane = lane_of(place)
            except (ValueError, MoverError) as error:
                lane, reason = "", str(error)
            key = version_id(
                path,
                found.st_size if found else -1,
                found.st_mtime_ns if found else -1,
                destination or f"{route.host} {message.subject} {reason}",
            )
            yield (
                NewJob(
                    self._name,
                    key,
                    file.name,
                    path,
                    found.st_size if found else 0,
                    destination if found else "",
                    "",
                    message.subject,
                    lane,
                    False,
                    file.message.encode(),
                    message.time.timestamp(),
                    now,
                    self._around.clock.steady(),
                ),
                reason,
            )


def _routes(options: DispatcherChain) -> tuple[Route, ...]:
    return tuple(
        Route(
            route.topics,
            route.conditions,
            options.host if route.host is None else route.host,
            (options.directory or "") if route.directory is None else route.directory,
            options.filepattern if route.filepattern is None else route.filepattern,
            options.aliases if route.aliases is None else route.aliases,
        )
        for route in options.routes
    )


def outgoing(job: Job, uri: str, topic: str | None) -> Message | None:
    """The message that tells of a dispatched file: its own items, with the path on the target at which it lies.

    None if there is no topic, or it can't be filled in from these items.
    """
    if topic is None:
        return None
    message = decode_whole(job.new.frame)
    items: dict[str, Any] = {**message.fields, "uri": uri}
    for key in ("request_address", "destination", "backup_targets", "tranship"):
        items.pop(key, None)
    items["tranship"] = {"v": 1, "size": job.new.size, "id": f"{job.id}-{job.new.identity}"}
    try:
        return compose(_subject(topic, {**message.dated, "uri": uri}), "file", items)
    except (Unsendable, *UNFILLABLE):
        return None


def _subject(topic: str, items: Mapping[str, Any]) -> str:
    return str(fill_in(topic, items)) if "{" in topic else topic


def _place(host: str, path: str) -> Place:
    """A path at a host ("": here). Raises MoverError for one that can't be."""
    return (Place.parse(host) if host else Place("file")).at(path)


def _local(uri: str) -> str:
    """The path on this host that uri means. Raises Unusable if it is on another. May ask the resolver."""
    scheme, mark, rest = uri.partition("://")
    if mark and scheme.lower() != "file":
        host = rest.partition("/")[0].rpartition("@")[2]
        name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
        if not is_own_host(name):
            raise Unusable(f"the file is on another host, {name[:100]}; dispatch it there, or fetch it first")
    return path_of(uri)


def _facts(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None
