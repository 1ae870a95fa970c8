"""What is told of a file on its way: one line per file and step."""

from typing import Protocol

from tranship.core.journey import Step

NO_FILE = "-"
"""What stands for the file where what happened is about none, or nobody knows which."""


class Story(Protocol):
    """Where steps and roles tell what happened. `run.log` writes it down."""

    def tell(self, step: Step, file: str, chain: str, **facts: object) -> None:
        """Say what has happened to file, of chain.

        Facts have one word each: size (bytes), ms (how long the step took), seq, attempt, topic, peer, to,
        reason.
        Never raises, never blocks, and is cheap where nobody reads it.
        """


class Silent:
    """A story that nobody reads."""

    def tell(self, step: Step, file: str, chain: str, **facts: object) -> None:
        """Say nothing."""
