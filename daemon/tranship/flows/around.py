"""What a process gives to its flows."""

from dataclasses import dataclass

from tranship.core.clock import Clock
from tranship.core.health import Health
from tranship.core.retry import RetryPolicy
from tranship.core.story import Story
from tranship.wire.contract import Bus, OnOddity
from tranship_movers.pool import Pool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The world as a role sees it."""

    bus: Bus
    pool: Pool
    clock: Clock
    story: Story
    health: Health
    policy: RetryPolicy
    on_oddity: OnOddity
