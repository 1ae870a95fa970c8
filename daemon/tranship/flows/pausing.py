"""Failing places: what is owed there waits without using up attempts, one job probes, all go on when that succeeds.

A pause is logged once, with its reason, and so is its end. What waits for it is counted (health, `tranship status`)
and listed (`tranship failed`, `trace`), not logged: ten thousand files wait for the same reason.

A place is what one server reaches of a destination, for another may reach it: `sftp://archive:22/ via north:9094`.
What another server offers, too, is asked for there.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from tranship.core.journey import Step
from tranship.core.places import About, Pause, Places, place_of
from tranship.core.words import counted
from tranship.flows.around import Surroundings
from tranship.flows.outcomes import Failed
from tranship.journal import ClientBook, Job, Source
from tranship.steps.request import Failure, Reply
from tranship_movers.place import Place

_log = logging.getLogger(__name__)


class Prober(Protocol):
    """Who asks for what a probe is made with."""

    async def __call__(self, job: Job, offer: Source) -> None:
        """Ask for job now, unless that is under way. What comes of it is told like that of any attempt."""


class Pausing:
    """The paused places of one chain. `run` until cancelled."""

    def __init__(
        self, chain: str, book: ClientBook, around: Surroundings, open_again: Callable[[], None]
    ) -> None:
        """Nothing is paused before `load`. open_again is called when something goes on."""
        self._chain = chain
        self._book = book
        self._around = around
        self._open_again = open_again
        self._places = Places(around.policy)
        self._probes: dict[int, str] = {}
        self._last: dict[str, int] = {}
        self._proven: set[str] = set()
        self._changed = asyncio.Event()

    async def load(self, held: float) -> None:
        """Take up what was paused when the process ended; it is probed at once.

        What was put off goes by this life's clock. held: seconds; nothing is left to others for longer.
        """
        await self._book.take_up(self._chain, self._around.clock.steady(), self._around.policy, held)
        paused = await self._book.places.paused(self._chain)
        self._places = Places(self._around.policy, paused)
        self._places.hasten(self._around.clock.steady())
        self._probes.clear()
        self._proven.clear()
        for pause in paused:
            _log.warning("chain %s: place %s is paused: %s", self._chain, pause.place, pause.reason)
            self._alarm(pause)

    def __bool__(self) -> bool:
        return bool(self._places)

    async def run(self, probe: Prober) -> None:
        """Probe what is paused, when it is due."""
        while True:
            self._changed.clear()
            while self._proven:
                await self._resume(self._proven.pop())
            now = self._around.clock.steady()
            for pause in self._places.to_probe(now):
                await self._probe(pause.place, probe)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._places.next_probe(now)):
                    await self._changed.wait()

    def look(self) -> None:
        """Somebody has mended something, perhaps: probe everything now."""
        self._places.hasten(self._around.clock.steady())
        self._changed.set()

    # before an attempt

    def first_open(self, job: Job, offers: Iterable[Source]) -> Source | None:
        """The first of offers whose server reaches the destination of job, as far as is known."""
        return next((offer for offer in offers if not self._closing(job, offer)), None)

    async def park(self, jobs: Iterable[tuple[Job, Source]]) -> None:
        """Have jobs, of which nothing is open, wait for the place that keeps them from being asked for."""
        parked = []
        for job, offer in jobs:
            place = self._closing(job, offer)
            parked.append((job, place, f"{place} is paused: {self._places[place].reason}" if place else ""))
        await self._have_wait(parked)

    # after an attempt

    async def failed(self, attempts: Sequence[Failed]) -> list[Failed]:
        """Pause what fails. Returns the attempts that are about their files, not about places that are paused now."""
        now, steady = self._around.clock.now(), self._around.clock.steady()
        own: list[Failed] = []
        closed: list[tuple[Failed, str]] = []
        for attempt in attempts:
            place = _place_of(attempt)
            await self._note(attempt, place, steady)
            too_old = self._around.policy.too_old(attempt.job.new.wanted, now)
            if place in self._places and not too_old:
                closed.append((attempt, place))
            else:
                own.append(attempt)
        sources = await self._book.sources([attempt.job.id for attempt, _ in closed]) if closed else {}
        parked = []
        for attempt, place in closed:
            goes_on = place not in self._places  # meanwhile: nobody would ever wake what waits for it
            if goes_on or self.first_open(attempt.job, sources.get(attempt.job.id, [])):
                own.append(attempt)
            else:
                parked.append((attempt.job, place, attempt.reply.reason))
        await self._have_wait(parked)
        return own + await self._overdue({place for _, place in closed}, now)

    async def arrived(self, arrived: Sequence[tuple[Job, Source]]) -> None:
        """Whatever has arrived, by whose offer, shows that its place is well."""
        for job, offer in arrived:
            place = self._probes.pop(job.id, None)
            if place is not None:
                self._prove(place)
            if self._places.wary:
                for key in _keys(job.new.destination, offer.request_address):
                    self._places.well(key)

    def goes_on(self, job: Job) -> None:
        """Bytes of job go over: a host that lets them is well, however long that takes."""
        place = self._probes.get(job.id)
        if place is not None and place == _keys(job.new.destination, place.partition(_VIA)[2])[0]:
            self._prove(place)

    # pausing, probing, resuming

    async def _note(self, attempt: Failed, place: str, now: float) -> None:
        """What an attempt that failed says of places."""
        reply, probed = attempt.reply, self._probes.pop(attempt.job.id, None)
        if place and place != probed:
            sure = reply.failure is Failure.FATAL
            await self._pause(
                (self._places.failed if sure else self._places.struck)(place, reply.reason, now)
            )
        if probed is None or probed not in self._places:
            return
        if place != probed and (reply.about is About.FOLDER or reply.failure in _OF_THE_FILE):
            if reply.about is About.FOLDER:
                self._prove(probed)  # its host let it come as far as that
            else:
                self._places.hasten(now, probed)  # says nothing of the place: another job is to try
        else:
            pause = self._places.probe_failed(probed, reply.reason if place == probed else "", now)
            await self._book.places.pause(self._chain, pause)
            self._alarm(pause)
        self._changed.set()

    async def _pause(self, pause: Pause | None) -> None:
        if pause is not None:
            _log.warning("chain %s: place %s paused: %s", self._chain, pause.place, pause.reason)
            self._alarm(pause)
            self._changed.set()
            await self._book.places.pause(self._chain, pause)

    def _prove(self, place: str) -> None:
        self._proven.add(place)
        self._changed.set()

    async def _resume(self, place: str) -> None:
        now = self._around.clock.steady()
        pause = self._places.resumed(place, now)
        if pause is None:
            return
        self._last.pop(place, None)
        self._around.health.forget(self._part(place))
        count = await self._book.places.resume(self._chain, place)
        told = "chain %s: place %s goes on after %.0f s, and with it %s that waited"
        _log.info(told, self._chain, place, now - pause.since, counted(count, "job"))
        self._changed.set()
        self._open_again()

    async def _probe(self, place: str, probe: Prober) -> None:
        """Ask for one of the jobs that wait for place; if none waits any more, nobody knows whether it fails.

        They take turns: a disk is too full for one file, and has room for the others.
        """
        number = await self._book.places.next(self._chain, place, self._last.get(place, 0))
        job = None if number is None else await self._book.job(number)
        if job is None:
            await self._resume(place)
        elif job.id not in self._probes:
            offers = [job.own_offer, *(await self._book.sources([job.id])).get(job.id, [])]
            destination = job.new.destination
            offer = next((o for o in offers if place in _keys(destination, o.request_address)), None)
            if offer is None:  # nobody offers it there any more
                await self._book.places.park([(job.id, "", "")])
                self._places.hasten(self._around.clock.steady(), place)
                self._changed.set()
                return
            self._probes[job.id] = place
            self._last[place] = job.id
            await probe(job, offer)

    async def _overdue(self, places: Iterable[str], now: float) -> list[Failed]:
        """What has waited for one of places for too long: as attempts that failed, to be given up."""
        before = now - self._around.policy.age_limit.total_seconds()
        given_up = []
        reasons = {place: self._places[place].reason for place in places if place in self._places}
        for place, reason in reasons.items():
            for number in await self._book.places.overdue(self._chain, place, before):
                job = await self._book.job(number)
                if job is not None and number not in self._probes:
                    reply = Reply(None, failure=Failure.TEMPORARY, reason=reason)
                    given_up.append(Failed(job, job.own_offer, reply))
        return given_up

    async def _have_wait(self, parked: Sequence[tuple[Job, str, str]]) -> None:
        """Have jobs wait for places ("": for none any more), for these reasons."""
        around, count = self._around, sum(place != "" for _, place, _ in parked)
        for job, place, reason in parked:
            if place:
                around.story.tell(Step.PAUSED, job.new.path, self._chain, size=job.new.size, reason=reason)
        if count:
            around.health.progress(f"{self._chain} paused", around.clock.monotonic(), count)
        if parked:
            await self._book.places.park([(job.id, place, reason) for job, place, reason in parked])

    def _closing(self, job: Job, offer: Source) -> str:
        """The paused place that keeps job from being asked of offer's server; "" if none does."""
        if not self._places:
            return ""
        keys = _keys(job.new.destination, offer.request_address)
        return next((key for key in keys if key in self._places), "")

    def _alarm(self, pause: Pause) -> None:
        self._around.health.degrade(self._part(pause.place), f"paused: {pause.reason}")

    def _part(self, place: str) -> str:
        return f"{self._chain} place {place}"


_OF_THE_FILE = (Failure.PERMANENT, Failure.REFUSED, Failure.SUPERSEDED)

_VIA = " via "


@lru_cache(maxsize=1024)
def _keys(destination: str, address: str) -> tuple[str, str]:
    """The host and the folder of destination, as the server at address reaches them.

    What is moved from here has no server; its address is its lane (a URL): the host that it goes to, or comes from.
    """
    place = Place.parse(destination)
    if "://" in address and not address.startswith("file:"):
        return address, place_of(place, About.FOLDER)
    via = f"{_VIA}{address}" if address and "://" not in address else ""
    return f"{place_of(place, About.HOST)}{via}", f"{place_of(place, About.FOLDER)}{via}"


def _place_of(attempt: Failed) -> str:
    """The place that attempt shows to fail; "" if it is about its file."""
    reply = attempt.reply
    if reply.about is None:
        return ""
    offer = attempt.offer or attempt.job.own_offer
    host, folder = _keys(attempt.job.new.destination, offer.request_address)
    return folder if reply.about is About.FOLDER else host
