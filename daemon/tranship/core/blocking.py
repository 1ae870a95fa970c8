"""Where work that blocks is done, handed in: a step says what blocks, its flow says in whose threads."""

from collections.abc import Awaitable, Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Blocking(Protocol):
    """Like asyncio.to_thread."""

    def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Do work in a thread; its result, or what it raises."""
