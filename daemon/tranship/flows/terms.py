"""On what terms a chain asks, and whom it tells what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tranship.config.client import ClientChain
from tranship.config.mirror import MirrorChain
from tranship.flows.arrival import Arrived, Finished
from tranship.flows.destinations import quoted
from tranship.flows.outcomes import Failed
from tranship.journal import Job, Source
from tranship.lanes import Threads
from tranship.wire.contract import BusError, host_and_port
from tranship.wire.messages import Message


@dataclass(frozen=True, slots=True)
class Terms:
    """How a chain asks.

    login_hosts who may be asked with login; None: everybody
    in_flight   requests under way at once, per provider
    patience    for a sign of life of a transfer; and for an answer without a transfer
    horizon     seconds; nothing that is owed is ever put off by more
    held        seconds; for so long is left to others, at most, what did not fail
    folders     whether to make the destination's folder first, if it lies on this host, below root
    """

    login: str
    login_hosts: frozenset[str] | None
    backup_targets: Sequence[str]
    in_flight: int
    patience: timedelta
    patience_without_transfer: timedelta
    horizon: float
    held: float
    folders: bool
    root: str

    def check_trusted(self, offer: Source) -> None:
        """Raise BusError if the server of offer would get the login, and may not."""
        if self.login and self.login_hosts is not None:
            host = host_and_port(f"tcp://{offer.request_address}")[0].lower()
            if host not in self.login_hosts:
                told = "would get the login; add its host to `login_hosts`, if it is a server of yours"
                raise BusError(f"{offer.request_address} {told}")

    def login_for(self, offer: Source) -> str:
        """The login, as the server of offer reads it: old peers don't unquote."""
        return quoted(self.login) if offer.many else self.login

    @property
    def extra(self) -> dict[str, object]:
        """What is said besides in each request."""
        return {"backup_targets": list(self.backup_targets)} if self.backup_targets else {}

    @classmethod
    def of(
        cls,
        options: ClientChain | MirrorChain,
        horizon: timedelta,
        held: timedelta = timedelta(0),
        backup_targets: Sequence[str] = (),
    ) -> "Terms":
        """The terms that options give."""
        return cls(
            options.login.get_secret_value() if options.login is not None else "",
            None if options.login_hosts is None else frozenset(map(str.lower, options.login_hosts)),
            backup_targets,
            options.in_flight,
            options.transfer_req_timeout,
            options.req_timeout,
            horizon.total_seconds() + 1.0,
            held.total_seconds(),
            options.create_target_directory,
            str(options.ftp_root),
        )


class Receiver(Protocol):
    """Whom the asking tells what became of its requests. threads: for what blocks."""

    threads: Threads

    def say_under_way(self, request: Message) -> None:
        """A request (without credentials) is being sent."""

    def takes_long(self, job: Job) -> bool:
        """Whether job is to be finished by itself, so that others don't wait for it."""

    async def finish(self, arrived: Sequence[Arrived]) -> Finished:
        """These were fulfilled."""

    async def fail(self, failed: Sequence[Failed]) -> None:
        """These attempts failed: record what follows."""

    def put_off(self, job: Job, reason: str) -> None:
        """It waits for a place that is paused."""
