"""What the roles that ask servers for files have in common: whom a chain hears, how it asks, where the files go."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tranship.config.endpoints import Hosts, Provider, Providers
from tranship.config.kinds import (
    Count,
    Default,
    FullPath,
    Interval,
    Options,
    Scale,
    Silence,
    Switch,
    Topic,
    refuse,
)
from tranship.config.patterns import Destination


class Asks(Options):
    """How a chain asks."""

    providers: Providers
    topic: Annotated[Topic | None, Default("that of each provider")] = None
    destination: Destination
    create_target_directory: Switch = Field(
        default=True, description="Make the destination's folder before asking, if it lies on this host."
    )
    ftp_root: FullPath = Field(
        default="/",
        validate_default=True,
        description="What the destination's path lies below, on this host.",
    )
    heartbeat_alarm_scale: Scale = Field(
        default=10.0,
        description="Connect to a provider anew after so many of its heartbeat intervals without one.",
    )
    req_timeout: Interval = Field(
        default=timedelta(seconds=1),
        description="How long to wait for an answer to a request without a transfer.",
    )
    transfer_req_timeout: Interval = Field(
        default=timedelta(seconds=10),
        description="How long to wait for a sign of life of a transfer that was asked for.",
    )
    login_hosts: Annotated[Hosts | None, Default("all that announcements name")] = Field(
        default=None,
        description="The hosts that are asked with `login`, as they stand in announcements (`request_address`). "
        "No other one gets it, so that none is asked.",
    )
    in_flight: Count = Field(default=64, description="Requests under way at once, per provider.")
    silence: Silence = None

    def check_asked(self) -> None:
        """Refuse a provider of which nothing says what to hear."""
        silent = next((provider for provider in self.providers if provider.topic is None), None)
        if silent and self.topic is None:
            raise refuse(
                f"nothing says what to hear from {silent.host}:{silent.port}",
                'add a topic (`""` for everything), here or behind the provider',
                key="topic",
            )

    @property
    def heard(self) -> Mapping[str, list[str]]:
        """What to listen to, by the providers' addresses."""
        return {provider.address: [self.topic_of(provider)] for provider in self.providers}

    def topic_of(self, provider: Provider) -> str:
        """What to listen to at provider: a prefix of subjects, "" for all."""
        return self.topic or "" if provider.topic is None else provider.topic
