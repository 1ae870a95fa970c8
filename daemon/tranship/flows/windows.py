"""How much a server is asked for at once: each has a window of its own, so that a silent one holds up no other."""

import asyncio
from collections.abc import Callable

from tranship.journal import Job
from tranship.lanes import Waiting
from tranship.steps.hear import Announcement


class Window:
    """Of one request address: what is new there, and how much is under way, at most `most`."""

    def __init__(self, most: int) -> None:
        """Nothing is under way."""
        self.fresh: Waiting[tuple[Job, Announcement]] = Waiting()
        self.under_way = 0
        self._most = most
        self._again = 0
        """How many of these have had their turn before."""
        self._room = asyncio.Event()

    @property
    def free(self) -> int:
        """How many more may be under way."""
        return self._most - self.under_way

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be asked for now."""
        return self.free <= 0

    @property
    def is_busy(self) -> bool:
        """Whether it is nearly full: what is owed is looked for when some room is worth it."""
        return self.free < max(1, self._most // 4)

    def has_room(self, job: Job) -> bool:
        """Whether job can be asked for now. Retries leave a quarter of the window free, and go after new ones."""
        kept_free = self._most // 4
        may = not job.again or (self._again < self._most - kept_free and not len(self.fresh))
        return may and not self.is_full

    async def room(self) -> None:
        """Wait until something under way has ended."""
        self._room.clear()
        await self._room.wait()

    def begin(self, job: Job) -> None:
        """Job is under way."""
        self.under_way += 1
        self._again += job.again

    def end(self, job: Job) -> None:
        """Job is under way no more."""
        self.under_way -= 1
        self._again -= job.again
        self._room.set()


class Windows:
    """Of all request addresses that are asked just now."""

    def __init__(self, most: int, opened: Callable[[str, Window], None]) -> None:
        """None yet; most: under way at once, in each. opened is told of each window when it is made."""
        self._most = most
        self._opened = opened
        self._by_address: dict[str, Window] = {}

    def at(self, address: str) -> Window:
        """The window of address; made, if there is none."""
        window = self._by_address.get(address)
        if window is None:
            window = self._by_address[address] = Window(self._most)
            self._opened(address, window)
        return window

    @property
    def busy(self) -> list[str]:
        """The addresses whose windows are nearly full."""
        return [address for address, window in self._by_address.items() if window.is_busy]

    @property
    def fresh(self) -> int:
        """How much that is new waits in all of them."""
        return sum(len(window.fresh) for window in self._by_address.values())

    def close(self, address: str) -> None:
        """Nothing is asked there any more."""
        del self._by_address[address]

    def clear(self) -> None:
        """Nothing is asked anywhere."""
        self._by_address.clear()
