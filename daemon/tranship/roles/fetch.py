"""The fetcher: hears of files elsewhere, brings them here, tells that they are here.

    hear -> locate -> want (journal) -> move + verify -> publish

A job is one file, as one message tells of it, for one destination.
"""

import asyncio
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trollsift import compose as fill_in

from tranship.config.fetch import FetchChain, FetchConfig
from tranship.config.retry import policy_of
from tranship.core.allow import Allowed
from tranship.core.journey import Step
from tranship.core.routing import UNFILLABLE, Route
from tranship.core.values import Unusable
from tranship.flows.around import Surroundings
from tranship.flows.courier import Courier
from tranship.flows.fetching import Fetching
from tranship.flows.hearing import Hearing
from tranship.flows.keeping import ForgetJobs
from tranship.flows.leftovers import Leftovers
from tranship.flows.listening import Ears, lookup_of, providers_of
from tranship.flows.moving import moving
from tranship.flows.process import Process
from tranship.flows.speaking import Speaker
from tranship.flows.uploading import lane_of, owner_of
from tranship.journal import ClientBook, Cursor, Job, NewJob, Verdict
from tranship.steps.locate import Located, allowed, locate, without_secrets
from tranship.steps.reach import Reach
from tranship.steps.told import Told, told
from tranship.wire.messages import Message, Unsendable, compose, decode_whole
from tranship_movers.place import Place


def fetch(config: FetchConfig, book: ClientBook, around: Surroundings) -> Process[FetchChain, "_Chain"]:
    """A fetcher process's work."""
    owner = owner_of(str(config.journal))

    def chain(name: str, options: FetchChain, speaker: Speaker | None) -> _Chain:
        return _Chain(name, options, owner, book, around, speaker)

    return moving(config, chain, book, around, ForgetJobs(config.keep, book.past, around.clock))


class _Chain:
    """One flow of files from elsewhere."""

    def __init__(
        self,
        name: str,
        options: FetchChain,
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
        self._route = Route(options.topics, None, "", options.directory, options.filepattern)
        sources = (f"{options.source}**",) if options.source else ()
        self._patterns = Allowed((*options.allow, *sources))
        fetching = Fetching(
            around.pool,
            self._patterns,
            Reach([p for p in self._patterns.patterns if p.lower().startswith("file://")], around.clock),
            options.source,
            options.login,
            options.connection_parameters.plain(),
            options.transfers,
            owner,
            lambda job, path: outgoing(job, path, options.publish_topic, _where_of(options)),
        )
        self._courier = Courier(name, fetching, options.transfers, book, around)
        self._leftovers = Leftovers(name, owner, book, self._courier.carries)
        topics = list(options.topics)
        self._hearing = Hearing(
            name,
            providers_of(options, topics),
            options.heartbeat_alarm_scale,
            book,
            around,
            lookup_of(options, topics),
        )
        self._ears = Ears(name, self._want, around)

    async def run(self) -> None:
        """Work until cancelled."""
        begin = asyncio.Event()
        begin.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._courier.run(self._speaker))
            tasks.create_task(self._leftovers.run())
            tasks.create_task(self._ears.run())
            tasks.create_task(self._hearing.run(self._ears, self.started, begin))

    async def obey(self) -> None:
        """Somebody has ordered something: it stands in the journal."""
        await self._courier.obey()
        self._leftovers.look()

    async def drain(self) -> None:
        """Begin nothing new; wait until what is under way is here and published."""
        await self._courier.drain()

    async def _want(self, messages: Sequence[Message], cursors: Sequence[Cursor]) -> None:
        """Record what these messages offer, and how far servers were heard, in one."""
        offers: list[tuple[NewJob, str]] = []
        for message in messages:
            try:
                offers += [self._offer(message, file) for file in _files(message)]
            except Unusable as error:
                self._ears.refuse(message, str(error))
        verdicts = await self._courier.want([new for new, _ in offers], cursors)
        hopeless = []
        for (_, reason), (verdict, job, _) in zip(offers, verdicts, strict=True):
            if verdict is Verdict.NEW and reason:
                hopeless.append((job, reason))
            elif verdict is Verdict.DONE:
                self._around.story.tell(Step.SKIPPED, job.new.path, self._name, reason="fetched before")
        await self._courier.refuse(hopeless)

    def _offer(self, message: Message, file: Told) -> tuple[NewJob, str]:
        located = locate(file.message.fields, self.options.source)
        if not allowed(located, self._patterns):
            raise Unusable(f"{located.url[:200]} is not allowed; add it to `allow`")
        destination, reason = "", ""
        try:
            destination = str(Place("file", path=self._route.destination(file.dated, located.name)))
        except ValueError as error:
            reason = str(error)
        now = self._around.clock.now()
        size = _facts(file.message).get("size")
        new = NewJob(
            self._name,
            _identity(file.message, located, destination),
            located.name,
            located.url,
            size if isinstance(size, int) and 0 <= size < 1 << 63 else 0,
            destination,
            "",
            message.subject,
            lane_of(located.place),
            False,
            file.message.encode(),
            message.time.timestamp(),
            now,
            self._around.clock.steady(),
        )
        return new, reason


def outgoing(job: Job, path: str, topic: str | None, where: Collection[str]) -> Message:
    """The message that tells that a file is here: its own items, but for those that say where it was."""
    message = decode_whole(job.new.frame)
    items = {key: value for key, value in message.fields.items() if key not in where}
    items |= {"uri": path, "uid": path.rpartition("/")[2]}
    facts = _facts(message)
    known = {key: facts[key] for key in ("size", "checksum") if key in facts}
    items["tranship"] = {"v": 1, **known, "id": f"{job.id}-{job.new.identity}"}
    try:
        return compose(_subject(topic, message), "file", items)
    except (Unsendable, *UNFILLABLE):
        return compose(message.subject, "file", items)


def _subject(topic: str | None, message: Message) -> str:
    if topic is None:
        return message.subject
    return str(fill_in(topic, message.dated)) if "{" in topic else topic


def _where_of(options: FetchChain) -> Collection[str]:
    """The items that say where a file was, or what else there was."""
    return _WHERE if options.source is None else _WHERE | _OF_A_BUCKET


_WHERE = frozenset(
    {
        *("uri", "uid", "path", "filesystem", "request_address", "destination", "backup_targets", "tranship"),
        *("dataset", "collection"),
    }
)
_OF_A_BUCKET = frozenset({"filename", "file_list", "compress", "tst"})
"""What those who tell of a bucket say of the file's own place."""


def _files(message: Message) -> Iterator[Told]:
    """The files of message, without secrets; a file in a file system may have no `uri`."""
    data = message.data
    if isinstance(data, dict) and "filesystem" in data and "uri" not in data:
        message = _with(message, {**data, "uri": str(data.get("path"))})
    for file in told(message):
        clean = without_secrets(file.message.fields)
        yield replace(file, message=_with(file.message, clean), uri=str(clean["uri"]))


def _with(message: Message, items: Mapping[str, Any]) -> Message:
    try:
        return compose(message.subject, message.type, items, sender=message.sender, time=message.time)
    except Unsendable:
        raise Unusable("it holds no valid Unicode") from None


def _facts(message: Message) -> Mapping[str, Any]:
    facts = message.fields.get("tranship")
    return facts if isinstance(facts, dict) else {}


def _identity(message: Message, located: Located, destination: str) -> str:
    """What identifies a job: the version of the file, as far as the message tells; else the message itself."""
    facts = _facts(message)
    version = [facts.get(key) for key in ("size", "mtime", "checksum")]
    if not any(version[1:]):
        version = [facts.get("id") or f"{message.sender} {message.time.isoformat()}"]
    key = json.dumps([located.url, located.path, destination, version])
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
