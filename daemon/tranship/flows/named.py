"""hear -> settle -> announce: files that others' messages name are announced, instead of those of a watched folder."""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from tranship.config.elsewhere import Listen
from tranship.core.journey import Step
from tranship.core.values import Sighting, Wanted
from tranship.flows.around import Surroundings
from tranship.hosts import is_own_host, name_server_ports
from tranship.lanes import Threads
from tranship.steps.reach import Reach
from tranship.steps.request import first_path, path_of, why_unusable
from tranship.steps.settle import Completeness, Settle
from tranship.wire.contract import Subscription
from tranship.wire.discovery import follow
from tranship.wire.messages import Message, files

LOOKING = 4
"""Threads that look at files, per chain."""

MOST = 100_000
"""Messages that wait until their files are complete, per chain; the oldest makes room for one more."""

LOOK_EVERY = 0.2

PATIENCE = 600.0
"""Seconds that a file is waited for after it was named."""


class Teller(Protocol):
    """Where messages go whose files are complete."""

    async def pass_on(self, message: Message, complete: Sequence[Sighting]) -> str:
        """Announce message's files; why that can't be done, or "" (it is done, or was before)."""


@dataclass(slots=True)
class _Named:
    """A message, and which of its files are not complete yet."""

    message: Message
    peer: str
    missing: set[str]
    since: float
    complete: dict[str, Sighting] = field(default_factory=dict)


class Named:
    """What one chain hears. `run` until cancelled; `started` when it listens."""

    def __init__(self, chain: str, listen: Listen, rule: Completeness, around: Surroundings) -> None:
        """Nothing is heard before `run`."""
        self.started = asyncio.Event()
        self.threads = Threads(f"{chain} look", LOOKING)
        self._chain = chain
        self._listen = listen
        self._around = around
        self._reach = Reach(listen.allow, around.clock)
        self._settle = Settle(rule, None, lambda path: True, around.clock)
        self._settling = asyncio.Lock()
        self._waiting: dict[int, _Named] = {}
        self._count = 0
        self._told: Counter[str] = Counter()

    async def run(self, teller: Teller) -> None:
        """Pass on what is heard, until cancelled."""
        self.started.clear()
        topics = list(self._listen.topics)
        subscription = self._around.bus.subscription()
        try:
            for provider in self._listen.addresses:
                subscription.add(provider.address, topics)
            self.started.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear(subscription, teller))
                tasks.create_task(self._look_again(teller))
                if self._listen.nameserver is not None:
                    tasks.create_task(self._follow(subscription, topics, self._listen.nameserver))
        finally:
            subscription.close()
            self.threads.close()

    async def settle_anew(self, paths: Sequence[str]) -> None:
        """Who changes a file tells of it again."""

    async def _follow(self, subscription: Subscription, topics: Sequence[str], name_server: str) -> None:
        services = list(self._listen.services) or [""]
        around, ports = self._around, await name_server_ports()
        async for change in follow(around.bus, name_server, services, ports, around.on_oddity):
            if change.present:
                subscription.add(change.publisher.address, topics)
            else:
                subscription.drop(change.publisher.address)

    async def _hear(self, subscription: Subscription, teller: Teller) -> None:
        while True:
            for heard in await subscription.heard():
                message = heard.message
                if message.type in ("file", "dataset", "collection"):
                    named = self._named(message, heard.provider)
                    if named is not None:
                        await self._take(named, teller)

    def _named(self, message: Message, peer: str) -> _Named | None:
        """The files that message names here; None if it can't be passed on, which is counted and said once."""
        try:
            paths = {_local_path(item) for item in files(message.data) if "uri" in item}
        except _SkippedError as skipped:
            self._skip(message, peer, skipped.part, skipped.reason)
            return None
        if not paths:
            self._skip(message, peer, "odd messages", "it names no file")
            return None
        if reason := next(filter(None, map(self._reach.unnamed, paths)), ""):
            self._skip(message, peer, "refused messages", reason)
            return None
        return _Named(message, peer, paths, self._around.clock.monotonic())

    async def _take(self, named: _Named, teller: Teller) -> None:
        """Pass a message on, when its files are complete."""
        async with self._settling:
            complete = await self.threads.do(self._settle.closed, list(named.missing))
        self._count += 1
        self._waiting[self._count] = named
        await self._complete(complete, teller)

    async def _look_again(self, teller: Teller) -> None:
        """Look at what was not complete when it was named, and at what was not there."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._give_up()
            async with self._settling:
                missing = list({path for named in self._waiting.values() for path in named.missing})[:1000]
                complete = await self.threads.do(self._settle.found, missing) if missing else []
            await self._complete(complete, teller)

    def _give_up(self) -> None:
        """Forget messages whose files did not come in time, and the oldest if there are too many."""
        now = self._around.clock.monotonic()
        while self._waiting:
            number, oldest = next(iter(self._waiting.items()))
            if len(self._waiting) <= MOST and now - oldest.since < PATIENCE:
                break
            del self._waiting[number]
            self._skip(oldest.message, "here", "failed messages", "its files did not come in time")

    async def _complete(self, complete: Sequence[Sighting], teller: Teller) -> None:
        if not complete:
            return
        found = {sighting.path: sighting for sighting in complete}
        for number, named in list(self._waiting.items()):
            now = named.missing & found.keys()
            named.missing -= now
            named.complete |= {path: found[path] for path in now}
            if not named.missing and self._waiting.pop(number, None) is not None:
                if reason := await self.threads.do(self._led_out, list(named.complete)):
                    self._skip(named.message, named.peer, "refused messages", reason)
                elif reason := await teller.pass_on(named.message, list(named.complete.values())):
                    self._skip(named.message, "here", "failed messages", reason)
                else:
                    self._progress("announce")
        waiting = len(self._waiting)
        self._around.health.waiting(f"{self._chain} announce", waiting, self._around.clock.monotonic())

    def _led_out(self, paths: Sequence[str]) -> str:
        """Why one of paths may not be announced; "" if all may. Blocking."""
        return next(filter(None, map(self._reach, paths)), "")

    def _skip(self, message: Message, peer: str, part: str, reason: str) -> None:
        self._progress(part)
        key = f"{peer} {reason}"
        if len(self._told) < 1000 and not self._told[key]:
            about = {"topic": message.subject, "peer": peer, "reason": reason}
            self._around.story.tell(Step.SKIPPED, first_path(message.data), self._chain, **about)
        self._told[key] += 1

    def _progress(self, part: str) -> None:
        self._around.health.progress(f"{self._chain} {part}", self._around.clock.monotonic())


class _SkippedError(Exception):
    def __init__(self, part: str, reason: str) -> None:
        super().__init__(reason)
        self.part = part
        self.reason = reason


def _local_path(item: dict[str, object]) -> str:
    """The path on this host that an item of a message means. Raises _SkippedError."""
    uri, uid, folder = str(item["uri"]), item.get("uid"), item.get("path")
    if folder is not None and not isinstance(folder, str):
        raise _SkippedError("refused messages", "its path is no text")
    named = Wanted(str(uid), uri, folder=folder or "")
    reason = why_unusable(named)
    if reason:
        raise _SkippedError("refused messages", reason)
    path = path_of(uri)
    if not isinstance(uid, str) or uid != os.path.basename(path):
        raise _SkippedError("refused messages", "its uid is not the name of its file")
    parts = urlsplit(uri) if "://" in uri else None
    if parts is not None and not (parts.scheme in _HERE and is_own_host(parts.hostname or "")):
        raise _SkippedError("messages of other hosts", f"{parts.scheme}://{parts.hostname or ''} is not here")
    return path


_HERE = frozenset({"", "file", "ssh", "scp", "sftp"})
