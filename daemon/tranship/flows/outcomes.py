"""delivered -> publish -> published: what becomes of one chain's jobs.

One that is done is written down before it is published, and again after, so that a crash repeats a message (with the
same id) rather than loses it. One that failed is written down with its reason, and when it is tried again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tranship.core.journey import Step
from tranship.faultpoints import Point, reached
from tranship.flows.around import Surroundings
from tranship.flows.leaving import Leaving
from tranship.flows.speaking import Speaker
from tranship.journal import ClientBook, Delivered, Job, Numbered, Retry, Source
from tranship.steps.request import Failure, Reply
from tranship.wire.contract import too_long
from tranship.wire.messages import Message, decode_whole


@dataclass(frozen=True, slots=True)
class Done:
    """A job that is delivered and verified.

    outgoing  the message to publish, again after a crash; None: nobody is to be told
    began     when the successful attempt began (seconds since the epoch)
    to        where it lies now, without credentials
    before    messages that are published before outgoing, once, and before those of all that are done with it
    judge     the request address of the server that is to be told when it is published ("": none)
    size      bytes that have come, if the offer does not say it (0: it does, or nobody knows)
    number    that of outgoing, once it has one
    """

    job: Job
    outgoing: Message | None
    began: float
    to: str
    before: tuple[Message, ...] = ()
    judge: str = ""
    size: int = 0
    number: Numbered | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed: what offer's server said; without an offer, what happened here."""

    job: Job
    offer: Source | None
    reply: Reply

    @classmethod
    def temporarily(cls, job: Job, offer: Source | None, reason: str) -> "Failed":
        """An attempt that failed here, for this reason."""
        return cls(job, offer, Reply(None, failure=Failure.TEMPORARY, reason=reason))

    @classmethod
    def for_good(cls, job: Job, reason: str) -> "Failed":
        """An attempt that failed here, for this reason, as any other would."""
        return cls(job, None, Reply(None, failure=Failure.PERMANENT, reason=reason))


Sift = Callable[[Sequence[Done]], Sequence[Done]]


class Outcomes:
    """The outcomes of one chain's jobs. `run` beside it, until cancelled."""

    def __init__(
        self,
        chain: str,
        book: ClientBook,
        around: Surroundings,
        is_asked_for: Callable[[Job], bool] = lambda job: False,
    ) -> None:
        """Nothing is published before `run`.

        is_asked_for: which jobs may be another client's by now, after a crash: those are not published again here.
        """
        self._is_asked_for = is_asked_for
        self._chain = chain
        self._book = book
        self._around = around
        self._speaker: Speaker | None = None
        self._leaving: Leaving[tuple[int, float]] = Leaving()

    async def run(self, speaker: Speaker | None) -> None:
        """Publish again what was perhaps not before a crash; then have the journal know what was published."""
        self._speaker = speaker
        self._leaving.forget()
        await self._publish_again()
        await self._leaving.run(self._published)

    async def noted(self) -> None:
        """Wait until the journal knows of everything that was published."""
        await self._leaving.noted()

    def tell(self, messages: Sequence[Message]) -> None:
        """Publish messages that are of no job's outcome."""
        if self._speaker is not None:
            self._speaker.publisher.tell(messages)
            if self._speaker.numbering is not None:
                self._speaker.numbering.told(messages)

    async def finish(self, done: Sequence[Done], sift: Sift = lambda done: done) -> list[Failed]:
        """Write down and publish what is done; sift says, at the last moment, which of it is to be published now.

        What no message could tell of is not done: it is given back.
        """
        reasons = [_untold(d) if self._speaker is not None else "" for d in done]
        tellable = [d for d, reason in zip(done, reasons, strict=True) if not reason]
        if tellable:
            await self._finish(tellable, sift)
        return [Failed.for_good(d.job, reason) for d, reason in zip(done, reasons, strict=True) if reason]

    async def _finish(self, done: Sequence[Done], sift: Sift) -> None:
        reached(Point.VERIFIED)
        now = self._around.clock.now()
        done = whole = [self._numbered(d) for d in done]
        await self._book.delivered([_delivered(d, now) for d in done])
        reached(Point.DELIVERED)
        done = sift(done)
        self.tell([message for d in done for message in d.before])
        reached(Point.ACKED)
        self.tell([d.outgoing for d in done if d.outgoing is not None])
        reached(Point.PUBLISHED)
        self._note([d.job.id for d in done])
        for d in done:
            ms = round((now - d.began) * 1000, 1)
            step = Step.PUBLISHED if d.outgoing is not None and self._speaker is not None else Step.MOVED
            self._say(step, d.job, size=d.size or d.job.new.size, ms=ms, to=d.to)
        self._progress(len(done))
        await self._take_back(whole, done)

    async def fail(self, failed: Sequence[Failed]) -> None:
        """Write down attempts that failed: tried again later, or given up."""
        now, policy = self._around.clock.now(), self._around.policy
        retries = []
        for attempt in failed:
            job, told = attempt.job, attempt.reply
            offer = attempt.offer
            match told.failure:
                case Failure.SUPERSEDED:
                    state, step = "superseded", Step.SKIPPED
                case Failure.PERMANENT | Failure.REFUSED:
                    state, step = "dead", Step.FAILED
                case _ if policy.too_old(job.new.wanted, now):
                    state, step, offer = "dead", Step.FAILED, None
                case _:
                    state, step = "wanted", Step.RETRIED
            due = self._around.clock.steady() + policy.wait(job.attempts + 1)
            retries.append(Retry(job.id, told.reason, state, due, offer))
            self._say(step, job, size=job.new.size, attempt=job.attempts + 1, reason=told.reason)
        await self._book.failed(retries)
        self._progress(0)  # an answer, if no good one: whoever waits is not stuck

    async def _publish_again(self) -> None:
        """Publish what was done before a crash, but perhaps not published. The messages have the same ids."""
        unpublished = [
            (job, frame)
            for job, frame in await self._book.unpublished(self._chain)
            if not self._is_asked_for(job)
        ]
        if unpublished:
            self.tell([decode_whole(frame) for _, frame in unpublished if frame])
            self._note([job.id for job, _ in unpublished])
            for job, _ in unpublished:
                self._say(Step.PUBLISHED, job, reason="again, after a restart")

    def _numbered(self, done: Done) -> Done:
        numbering = self._speaker.numbering if self._speaker is not None else None
        if numbering is None or done.outgoing is None:
            return done
        outgoing, number = numbering.number(done.outgoing)
        return replace(done, outgoing=outgoing, number=number)

    async def _take_back(self, whole: Sequence[Done], told: Sequence[Done]) -> None:
        """Nobody is to be told, by replay either, of what was sifted out."""
        if self._speaker is not None and self._speaker.numbering is not None and len(told) < len(whole):
            kept = {d.job.id for d in told}
            await self._speaker.numbering.take_back([d.job.id for d in whole if d.job.id not in kept])

    def _note(self, jobs: Sequence[int]) -> None:
        """Have the journal know that jobs were published, as soon as their messages have left for certain."""
        now = self._around.clock.now()
        self._leaving.put([(job, now) for job in jobs])

    async def _published(self, left: list[tuple[int, float]]) -> None:
        await self._book.published(left)
        reached(Point.DONE)

    def _say(self, step: Step, job: Job, **facts: object) -> None:
        self._around.story.tell(step, job.new.path, self._chain, **facts)

    def _progress(self, count: int) -> None:
        self._around.health.progress(f"{self._chain} publish", self._around.clock.monotonic(), count)


def _untold(done: Done) -> str:
    """Why nobody could be told of what is done; "" if all can be."""
    reason = too_long(done.outgoing) if done.outgoing is not None else ""
    return f"lies at {done.to}, and nobody was told: {reason}, then `tranship retry` it" if reason else ""


def _delivered(done: Done, now: float) -> Delivered:
    outgoing = done.outgoing.encode() if done.outgoing is not None else b""
    return Delivered(done.job.id, outgoing, done.began, now, done.judge, done.size, done.number)
