"""A thread for libraries that have no deadlines: each call into one can be given up."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from tranship_movers.errors import TimedOut

T = TypeVar("T")


class Worker:
    """A thread that makes one call after the other, so that each can be given up."""

    def __init__(self, timeout: float) -> None:
        """No call may take longer than timeout, in seconds."""
        self._timeout = timeout
        self._acts: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self.is_free = True
        threading.Thread(target=self._run, name="fsspec", daemon=True).start()

    def call(self, act: Callable[[], T]) -> T:
        """What act gives or raises. Raises TimedOut if it takes too long, and ever after."""
        if not self.is_free:
            raise TimedOut("an earlier call did not come back, or the place was left")
        future: Future[T] = Future()
        self._acts.put((act, future))
        try:
            return future.result(self._timeout)
        except TimeoutError:
            if future.done():
                raise
            self.close()
            raise TimedOut("the file system did not answer in time") from None

    def close(self) -> None:
        """Let the thread end, once its call comes back."""
        self.is_free = False
        self._acts.put(None)

    def _run(self) -> None:
        while work := self._acts.get():
            act, future = work
            try:
                future.set_result(act())
            except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits
                future.set_exception(error)
