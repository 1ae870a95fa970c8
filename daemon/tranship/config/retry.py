"""When a delivery that failed is tried again: the options `retry` of a chain."""

from typing import Annotated

from pydantic import Field, model_validator

from tranship.config.kinds import Default, Interval, Options, Wanted, refuse
from tranship.core.retry import RetryPolicy

_USUAL = RetryPolicy()


class RetryOptions(Options):
    """How patiently. Probes of a paused place wait in the same way."""

    first: Interval = Field(
        default=_USUAL.first, description="The first wait. Each is twice the last, less up to half by chance."
    )
    longest: Interval = Field(default=_USUAL.longest, description="The longest wait.")
    age_limit: Interval = Field(
        default=_USUAL.age_limit,
        description="A delivery that is older and fails once more is given up (`tranship failed` lists it).",
    )

    @model_validator(mode="after")
    def _grows(self) -> "RetryOptions":
        if self.longest < self.first:
            raise refuse("is shorter than `first`", "make it as long at least", key="longest")
        return self

    @property
    def policy(self) -> RetryPolicy:
        """The same, to go by."""
        return RetryPolicy(self.first, self.longest, self.age_limit)


Retry = Annotated[
    RetryOptions | None, Wanted("a block of `first`, `longest` and `age_limit`"), Default("as below")
]


def policy_of(retry: RetryOptions | None, usual: RetryPolicy) -> RetryPolicy:
    """What a chain goes by."""
    return usual if retry is None else retry.policy
