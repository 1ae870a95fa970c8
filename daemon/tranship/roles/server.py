"""The server: watches places, announces what is complete, moves what is asked for.

detect -> settle -> unpack -> announce    one flow per chain (Reception), told by the kernel and by scans
                                          (or Named, told by messages)
request -> move + verify -> answer        one flow per chain (Requests), work going by destination
acknowledge -> remove                     what was let go is deleted when its delay is over
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tranship.config.elsewhere import Filesystem
from tranship.config.endpoints import Socket
from tranship.config.server import ServerChain, ServerConfig
from tranship.config.server import Watch as WatchBy
from tranship.core.allow import Allowed
from tranship.core.blocking import Blocking
from tranship.core.origin import Origin
from tranship.core.values import Sighting, Version
from tranship.delivery import Delivery
from tranship.flows.around import Surroundings
from tranship.flows.keeping import ForgetAnnouncements
from tranship.flows.named import Named
from tranship.flows.process import Process
from tranship.flows.reception import Outlet, Reception, Watching
from tranship.flows.requests import Requests, Terms
from tranship.flows.resending import Check, Resending, gone
from tranship.flows.serving import Voice, request_address, serving
from tranship.flows.telling import Telling
from tranship.flows.unpacking import Unpacked
from tranship.journal import ServerBook
from tranship.lanes import Threads
from tranship.steps.acknowledge import LetGo
from tranship.steps.announce import Announce, Wording
from tranship.steps.request import Grant
from tranship.steps.share import Share
from tranship_movers.errors import MoverError
from tranship_movers.place import Place

SWEEPING = 3.0
"""Seconds that a start gives to the destinations of what a crash broke off."""


def server(
    config: ServerConfig, book: ServerBook, around: Surroundings
) -> "Process[ServerChain, _Chain | _Alone]":
    """A server process's work. Nothing happens before its `run`."""

    def chain(name: str, options: ServerChain, voice: Voice) -> _Chain | _Alone:
        if options.request is None:
            return _Alone(name, options, book, around, voice)
        return _Chain(name, options, book, around, voice, options.request)

    return serving(config, chain, book, around, ForgetAnnouncements(config.keep, book.past, around.clock))


class _Chain:
    """One chain of a server: its place and its request socket."""

    def __init__(
        self,
        name: str,
        options: ServerChain,
        book: ServerBook,
        around: Surroundings,
        voice: Voice,
        requests: Socket,
    ) -> None:
        self.options = options
        self._socket = requests
        self.kept_for = options.remove_delay
        self._name = name
        self._book = book
        self._around = around
        self._voice = voice
        self._address = ""
        self._reception = _reception(name, options, voice, around)
        self.started = self._reception.started
        self._delivery = Delivery(
            around.pool, options.connection_parameters.plain(), voice.numbers.server, options.transfers
        )
        unpack = options.unpack
        delay = options.remove_delay if options.delete or unpack else None
        below = str(unpack.directory) if unpack and not options.delete else "/"
        self._requests = Requests(
            name,
            Terms(options.topic, options.station, options.transfers, voice.begun),
            Grant(name, Allowed(options.allow), book),
            LetGo(name, delay, book, around.clock, below),
            self._delivery,
            book,
            around,
            self._reception.settle_anew,
        )
        self._resending = Resending(
            name, book, voice, around, _gone_of(self._reception.threads), self._requests.forget
        )
        self.obey = self._resending.obey

    def heads(self) -> list[tuple[str, int, str]]:
        """The topic, its last number that was told, and where to ask for it."""
        topic = self.options.topic
        return [(topic, self._voice.numbers.told.get(topic, 0), self._address)]

    async def run(self) -> None:
        """Work until cancelled."""
        answerer = self._around.bus.answerer(self._socket.address, self._socket.guard)
        self._address = request_address(self.options.request_address, answerer)
        try:
            if (
                not self._voice.audience.is_set()
            ):  # in the first second of the process: nobody moves anything yet
                await self._sweep()
            await self._book.transfers.broken_off(self._name)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._requests.run(answerer))
                tasks.create_task(self._resending.run(self._address))
                await self._take_in(tasks)
        finally:
            answerer.close()

    async def drain(self) -> None:
        """Take nothing new; wait until what was granted is moved and answered."""
        await self._requests.drain()

    async def _take_in(self, tasks: asyncio.TaskGroup) -> None:
        """Have what appears, or is named by messages, announced, as soon as there can be an audience."""
        options, blocking = self.options, self._reception.threads.do
        announce = _announce(
            self._name, options, self._book, self._around, self._voice, blocking, self._address
        )
        if isinstance(self._reception, Named):
            await self._voice.audience.wait()
            tasks.create_task(self._reception.run(announce))
            return
        outlet = _outlet(tasks, options, announce, self._book, self._around)
        tasks.create_task(self._reception.run(_Heard(outlet, self._voice.audience)))

    async def _sweep(self) -> None:
        """Remove what a crash left at the destinations, before anything new goes there. No place is waited for long."""
        broken = [t for t in await self._book.transfers.unfinished() if t.chain == self._name]
        folders = {t.destination.rpartition("/")[0] + "/" for t in broken}
        in_time = True

        async def sweep(folder: str) -> None:
            # Credentials are not in the journal: what can't be reached without them is swept by the redo, whose
            # temporary file has the same name.
            with contextlib.suppress(MoverError):
                await self._requests.threads.do(self._delivery.sweep, Place.parse(folder), lambda: in_time)

        if folders:
            sweeping = [asyncio.create_task(sweep(folder)) for folder in folders]
            try:
                await asyncio.wait(sweeping, timeout=SWEEPING)
            finally:
                in_time = False
                for task in sweeping:
                    task.cancel()


class _Alone:
    """One chain without requests: consumers read its files by themselves."""

    def __init__(
        self, name: str, options: ServerChain, book: ServerBook, around: Surroundings, voice: Voice
    ) -> None:
        self.options = options
        self.kept_for = options.remove_delay
        self._name = name
        self._book = book
        self._around = around
        self._telling = Telling(name, book, voice, around)
        self._voice = replace(voice, publisher=self._telling)
        self._reception = Reception(name, _watching(options, voice.begun), around)
        self.started = self._reception.started
        self._resending = Resending(name, book, self._voice, around, _gone_of(self._reception.threads))
        self.obey = self._resending.obey

    def heads(self) -> list[tuple[str, int, str]]:
        """None: nobody can ask."""
        return []

    async def run(self) -> None:
        """Work until cancelled."""
        blocking = self._reception.threads.do
        announce = _announce(self._name, self.options, self._book, self._around, self._voice, blocking, "")
        await self._telling.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._telling.run())
            tasks.create_task(self._resending.run(""))
            outlet = _outlet(tasks, self.options, announce, self._book, self._around)
            tasks.create_task(self._reception.run(_Heard(outlet, self._voice.audience)))

    async def drain(self) -> None:
        """Tell nothing new; wait until the journal knows what was told."""
        await self._telling.drain()


def _gone_of(threads: Threads) -> Check:
    async def check(versions: Sequence[Version]) -> list[str]:
        return await threads.do(gone, versions)

    return check


def _outlet(
    tasks: asyncio.TaskGroup, options: ServerChain, announce: Announce, book: ServerBook, around: Surroundings
) -> Outlet:
    """Where complete files go: they are announced, packed ones as what is in them."""
    if options.unpack is None:
        return announce
    unpacked = Unpacked(options.unpack, _origin(options), announce, book, around)
    tasks.create_task(unpacked.run())
    return unpacked


def _announce(
    name: str,
    options: ServerChain,
    book: ServerBook,
    around: Surroundings,
    voice: Voice,
    blocking: Blocking,
    address: str,
) -> Announce:
    origin = _origin(options)
    return Announce(
        Wording(name, options.topic, origin, options.info, address),
        str(options.checksum),
        voice.numbers,
        book,
        voice.publisher,
        around.clock,
        around.story,
        blocking,
        None if options.request is not None else _share(options.filesystem or Filesystem()),
    )


ANYTHING = "/{path}"
"""The origin of what messages name: it says nothing of it."""


def _origin(options: ServerChain) -> Origin:
    return Origin(options.origin or ANYTHING)


def _share(by: Filesystem) -> Share:
    return Share(by.protocol, by.host or socket.gethostname(), by.port, by.username, by.archive)


def _reception(name: str, options: ServerChain, voice: Voice, around: Surroundings) -> Reception | Named:
    if options.listen is not None:
        return Named(name, options.listen, options.settle, around)
    return Reception(name, _watching(options, voice.begun), around)


@dataclass(frozen=True, slots=True)
class _Heard:
    """An outlet that opens as soon as there can be an audience."""

    outlet: Outlet
    audience: asyncio.Event

    async def news(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        return await self.outlet.news(sightings)

    async def __call__(self, complete: Sequence[Sighting]) -> tuple[int, list[str]]:
        await self.audience.wait()
        return await self.outlet(complete)


def _watching(options: ServerChain, begun: float) -> Watching:
    poll = options.watch is WatchBy.POLL
    return Watching(
        _origin(options),
        options.settle,
        options.announce_empty_after,
        poll,
        options.poll_interval if poll else options.scan_interval,
        0.0 if options.backlog else begun,
        options.poll_interval if options.watch is WatchBy.AUTO else None,
    )
