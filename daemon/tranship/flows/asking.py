"""request: asks the servers for what is owed, new files first, and takes in their answers.

Every provider has a window of its own, so that a silent one holds up no other. What does not fit waits in the journal.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from tranship.core.journey import Step
from tranship.core.leases import Right, Ruling
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.arrival import Arrived, Asked, Whole
from tranship.flows.destinations import Folders, place_of
from tranship.flows.inquiries import Inquiries
from tranship.flows.outcomes import Failed
from tranship.flows.pausing import Pausing
from tranship.flows.sharing import Turns
from tranship.flows.terms import Receiver, Terms
from tranship.flows.windows import Window, Windows
from tranship.journal import ClientBook, Job, Source
from tranship.lanes import IDLE
from tranship.steps.hear import Announcement, noted
from tranship.steps.lease import read_ruling
from tranship.steps.request import Failure, Reply, fault_of, read_reply, requests
from tranship.wire.contract import Answer, Asker, BusError
from tranship_movers.errors import of_system

LINED_UP = 1000
"""New deliveries that wait in memory per provider; more of them wait in the journal."""

LOOKED_AT = 32
"""Deliveries of the journal that are read at once: no more than there may be room for, roughly."""


class Asking:
    """One chain's requests. `run` until cancelled."""

    def __init__(
        self,
        chain: str,
        terms: Terms,
        receiver: Receiver,
        sharing: Turns,
        book: ClientBook,
        around: Surroundings,
    ) -> None:
        """Nothing is asked for before `run`."""
        self._chain = chain
        self._sharing = sharing
        self._terms = terms
        self._receiver = receiver
        self._book = book
        self._around = around
        self._pausing = Pausing(chain, book, around, self.look)
        self._inquiries = Inquiries(around.bus, terms.patience, terms.patience_without_transfer)
        self.inquire = self._inquiries.inquire
        self.acknowledge = self._inquiries.acknowledge
        self.ticket = self._inquiries.ticket
        self._folders = Folders(terms.root, receiver.threads) if terms.folders else None
        self._draining = False
        self._idle = asyncio.Event()
        self._tasks: asyncio.TaskGroup
        self._windows = Windows(terms.in_flight, self._begin_to_ask)
        self._taken: set[int] = set()
        self._mistrusted: set[int] = set()
        self._whole: dict[int, Whole] = {}
        self._asked: dict[str, Asked] = {}
        self._due = asyncio.Event()
        self._left_over = False

    async def run(self, listening: asyncio.Event) -> None:
        """Ask until cancelled; sets `listening` when it can be told what to ask for."""
        self._asked.clear()
        self._windows.clear()
        self._taken.clear()
        self._mistrusted.clear()
        self._whole.clear()
        self._inquiries.open(self._begin_to_collect)
        await self._pausing.load(self._terms.held)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                listening.set()
                self._tasks.create_task(self._report())
                self._tasks.create_task(self._pausing.run(self._probe))
                self._tasks.create_task(self._sharing.run(self.inquire, self.ticket))
                await self._ask_to_publish()
                await self._request_due()
        finally:
            self._inquiries.close()

    async def drain(self) -> None:
        """Ask for nothing new; wait until what was asked for is answered and done with."""
        self._draining = True
        if self._under_way:
            self._idle.clear()
            await self._idle.wait()

    @property
    def _under_way(self) -> int:
        """How many deliveries were asked for; the others wait in the journal too."""
        return len(self._taken) - self._windows.fresh

    # what to ask for

    def line_up(self, job: Job, announcement: Announcement) -> None:
        """Have job asked for at once, or leave it to the journal."""
        fresh = self._windows.at(announcement.request_address).fresh
        if self._draining or len(fresh) >= LINED_UP:
            self._due.set()
        else:
            self._taken.add(job.id)
            fresh.put([(job, announcement)])

    def mistrust(self, job: Job) -> None:
        """What was delivered for job before is not there any more: it is to be moved again."""
        self._mistrusted.add(job.id)

    async def _ask_to_publish(self) -> None:
        """Ask who may publish what was found whole before a crash: another client may have done it since."""
        now = self._around.clock.monotonic()
        for job, outgoing in await self._sharing.unpublished():
            self._whole[job.id] = Whole(now, outgoing)
            self._taken.add(job.id)
            self._windows.at(job.new.request_address).fresh.put([(job, noted(job.new.frame))])

    def look(self) -> None:
        """Something in the journal may be due."""
        self._due.set()

    async def obey(self) -> None:
        """Somebody has ordered that jobs be tried again, or dropped (no new ones are): it stands in the journal."""
        self._pausing.look()
        self._due.set()

    async def ask_anew(self, addresses: set[str]) -> None:
        """A server has begun a new life: it knows nothing of the requests that its old one was given."""
        for ticket, asked in list(self._asked.items()):
            if asked.offer.request_address in addresses:
                asked.asker.keep_waiting(ticket, 0.0)
        await self._book.hasten(self._chain, self._around.clock.steady())
        self._pausing.look()
        self._due.set()

    # request

    async def _request_new(self, address: str, window: Window) -> None:
        while True:
            while window.is_full or self._draining:
                await window.room()
            try:
                async with asyncio.timeout(IDLE):
                    batch = await window.fresh.take(window.free, 1 << 30)
            except TimeoutError:
                if window.under_way or len(window.fresh):
                    continue
                self._windows.close(address)
                return
            for job, announcement in batch:
                if self._pausing.first_open(job, [job.own_offer]):
                    await self._ask(job, announcement, job.own_offer)
                else:  # another server may reach its place, or else it waits: as the journal has it
                    self._done_with([job.id])
                    self._due.set()

    async def _request_due(self) -> None:
        """Ask for what is owed and due, but for what is asked for already. New files have gone first."""
        while True:
            self._due.clear()
            began, now = self._around.clock.monotonic(), self._around.clock.steady()
            busy = self._windows.busy
            due, following = await self._book.waiting(
                self._chain,
                now,
                horizon=self._terms.horizon,
                limit=self._terms.in_flight,
                busy=busy,
                taken=frozenset(self._taken),
            )
            took = self._around.clock.monotonic() - began
            self._left_over = bool(due or busy)
            if not await self._ask_due(due):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if following is None else max(0.01, following - now)):
                        await self._due.wait()
            await asyncio.sleep(
                took
            )  # with hundreds of providers it is long; then the journal is others' meanwhile

    async def _ask_due(self, due: Sequence[Job]) -> int:
        """Ask for those of due whose provider has room, and put by what waits for a place; how many these are."""
        count = 0
        for first in range(0, len(due), LOOKED_AT):
            page = due[first : first + LOOKED_AT]
            room = [job for job in page if not self._windows.at(job.new.request_address).is_full]
            count += await self._ask_some(room)
        return count

    async def _ask_some(self, due: Sequence[Job]) -> int:
        count = 0
        parked: list[tuple[Job, Source]] = []
        announced = {job.id: noted(job.new.frame) for job in due}
        judges = {job.id: self._judge(job, announced[job.id]) for job in due}
        needed = [job.id for job in due if job.again or self._pausing or judges[job.id]]
        sources = await self._book.sources(needed) if needed else {}
        for job in due:
            offers = [job.own_offer, *sources.get(job.id, [])]
            judge = [n for n, offer in enumerate(offers) if offer.request_address == judges[job.id]]
            first = judge[0] if judge and not job.attempts else job.attempts % len(offers)
            offer = self._pausing.first_open(job, offers[first:] + offers[:first])
            if job.id in self._taken or self._draining:
                continue
            if offer is None:
                parked.append((job, job.own_offer))
            elif self._windows.at(offer.request_address).has_room(job):
                self._taken.add(job.id)
                count += 1
                own = offer.frame == job.new.frame
                await self._ask(job, announced[job.id] if own else noted(offer.frame), offer)
        await self._pausing.park(parked)
        for job, _ in parked:
            self._receiver.put_off(job, f"{job.new.destination} is paused")
        return count + len(parked)

    async def _probe(self, job: Job, offer: Source) -> None:
        if not self._draining and job.id not in self._taken:
            self._taken.add(job.id)
            await self._ask(job, noted(offer.frame), offer)

    def _judge(self, job: Job, announcement: Announcement) -> str:
        """The server, another than its own, that another client has asked for job; "" if there is none."""
        where = self._sharing.where(announcement.about)
        return where if where != job.new.request_address else ""

    async def _ask(self, job: Job, announcement: Announcement, offer: Source) -> None:
        if not job.resent and not await self._sharing.may_ask(job, announcement.about):
            self._done_with([job.id])
            return
        place = place_of(job.new.destination)
        try:
            if self._folders is not None:
                await self._folders.make(place)
            self._terms.check_trusted(offer)
            asker = self._inquiries.asker(offer.request_address, many=offer.many)
        except OSError as error:
            told = f"{place}: can't make the folder: {error.strerror}"
            fault = fault_of(of_system(error))
            lasts = fault.failure is Failure.FATAL
            reply = Reply(None, failure=fault.failure, reason=told, about=fault.about) if lasts else None
            await self._fail([Failed(job, offer, reply) if reply else Failed.temporarily(job, offer, told)])
            return
        except BusError as error:
            await self._fail([Failed.temporarily(job, offer, str(error))])
            return
        ticket = self.ticket(f"{job.id}.{job.attempts}")
        terms = self._terms
        again = {"again": True} if job.id in self._mistrusted else {}
        facts = {"id": ticket, "progress": True, **self._sharing.facts, **again}
        request = requests(
            announcement.message, job.new.destination, terms.login_for(offer), facts, terms.extra
        )
        at, since = self._around.clock.now(), self._around.clock.monotonic()
        whole = self._whole.get(job.id)
        self._asked[ticket] = Asked(job, announcement, place, offer, asker, at, since, whole)
        self._windows.at(offer.request_address).begin(job)
        self._receiver.say_under_way(request.public)
        reached(Point.PUSHED)
        asker.ask(request.private, ticket, terms.patience.total_seconds())
        reached(Point.REQUESTED)
        self._around.story.tell(
            Step.REQUESTED, job.new.path, self._chain, size=job.new.size, peer=offer.request_address
        )

    def _begin_to_ask(self, address: str, window: Window) -> None:
        self._tasks.create_task(self._request_new(address, window))

    # answers

    def _begin_to_collect(self, asker: Asker) -> None:
        self._tasks.create_task(self._collect(asker))

    async def _collect(self, asker: Asker) -> None:
        while True:
            try:
                answers = await asker.answered()
            except BusError:
                return  # it was idle, and made room for another
            await self._take_in(asker, answers)

    async def _take_in(self, asker: Asker, answers: Sequence[Answer]) -> None:
        small: list[Arrived] = []
        failed: list[Failed] = []
        for answer in answers:
            asked = self._answered(asker, answer)
            if asked is None:
                continue
            told = read_reply(answer.message, self._terms.patience.total_seconds())
            if asked.whole is not None and told.data is None:
                self._tasks.create_task(self._ask_still(asked, asked.whole, told))
            elif told.data is None:
                failed.append(Failed(asked.job, asked.offer, told))
            elif (ruling := self._ruling(asked, told)) is not None and ruling.right is not Right.YOURS:
                await self._pausing.arrived([(asked.job, asked.offer)])
                await self._sharing.ruled_out(asked.job, asked.announcement.about, ruling)
                self._done_with([asked.job.id])
                self._due.set()
            elif self._receiver.takes_long(asked.job):
                self._tasks.create_task(self._finish([Arrived(asked, told, ruling)]))
            else:
                small.append(Arrived(asked, told, ruling))
        if failed:
            await self._fail(failed)
        if small:
            await self._finish(small)

    def _ruling(self, asked: Asked, told: Reply) -> Ruling | None:
        """Who may publish what was asked for; what an operator wants resent is this client's, whoever had it."""
        return None if asked.job.resent else read_ruling(told.data or {})

    def _answered(self, asker: Asker, answer: Answer) -> Asked | None:
        """The request that answer ends; None if it ends none of a transfer."""
        if answer.message is not None and answer.message.type == "progress":
            asker.keep_waiting(answer.ticket, self._terms.patience.total_seconds())
            self._around.health.progress(f"{self._chain} publish", self._around.clock.monotonic(), done=0)
            if answer.ticket in self._asked and answer.message.fields.get("bytes"):
                self._pausing.goes_on(self._asked[answer.ticket].job)
            return None
        self._inquiries.answered(answer)
        asked = self._asked.pop(answer.ticket, None)
        if asked is not None:
            self._windows.at(asked.offer.request_address).end(asked.job)
            if self._left_over:
                self._due.set()
        return asked

    async def _finish(self, arrived: Sequence[Arrived]) -> None:
        """Have what has arrived verified and published; what is not whole is moved again."""
        finished = await self._receiver.finish(arrived)
        failed = finished.failed
        wrong = {each.job.id for each in failed}
        for asked in finished.stale:
            if asked.whole is not None:
                self._whole[asked.job.id] = asked.whole
            await self._ask(asked.job, asked.announcement, asked.offer)
        for asked, standing in finished.left:
            await self._sharing.leave(asked.job, standing)
            self._done_with([asked.job.id])
            self._due.set()
        if failed:
            self._mistrusted.update(wrong)
            await self._fail(failed)
        others = {asked.job.id for asked in (*finished.stale, *(asked for asked, _ in finished.left))}
        well = [a.asked for a in arrived if a.asked.job.id not in wrong]
        await self._pausing.arrived([(asked.job, asked.offer) for asked in well])
        good = {asked.job.id: asked for asked in well if asked.job.id not in others}
        self._mistrusted.difference_update(good)
        self._done_with(good)
        offers = await self._book.offerers(list(good))
        for job, asked in good.items():
            for offer in offers[job]:
                if offer.request_address != asked.offer.request_address:
                    self.acknowledge(offer, asked.job.new.destination)
                    if offer.many:
                        self._sharing.published(job, offer.request_address, noted(offer.frame))

    async def _ask_still(self, asked: Asked, whole: Whole, told: Reply) -> None:
        """Who may publish what is whole was not answered: ask again for a while, then publish it all the same."""
        if self._draining:
            self._done_with([asked.job.id])
            return
        waited = self._around.clock.monotonic() - whole.since
        if told.failure is Failure.TEMPORARY and waited < self._terms.horizon:
            await asyncio.sleep(1.0)
            await self._ask(asked.job, asked.announcement, asked.offer)
        else:
            await self._finish([Arrived(asked, Reply({}, asked.announcement.message.type))])

    async def _fail(self, failed: Sequence[Failed]) -> None:
        own = await self._pausing.failed(failed)
        await self._receiver.fail(own)
        ended = {attempt.job.id for attempt in own}
        for attempt in failed:
            if attempt.job.id not in ended:
                self._receiver.put_off(attempt.job, attempt.reply.reason)
        self._done_with(attempt.job.id for attempt in failed)
        self._due.set()

    def _done_with(self, jobs: Iterable[int]) -> None:
        for job in jobs:
            self._taken.discard(job)
            self._whole.pop(job, None)
        if not self._under_way:
            self._idle.set()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            waiting = len(self._taken)
            self._around.health.waiting(f"{self._chain} publish", waiting, self._around.clock.monotonic())
