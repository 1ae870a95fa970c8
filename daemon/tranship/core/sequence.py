"""Which announcements of one server and topic have been heard, and which are missing.

A server numbers its announcements per topic, 1, 2, 3 … A subscriber that hears 7 after 4 has missed 5 and 6 and
asks for a replay since 4. The `contiguous` number is what goes into the journal: everything up to it is in the
journal too, so after a crash the replay starts there, and repeats are recognised as such.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Sequence:
    """What was heard of one server and topic.

    contiguous   everything up to here has been heard
    head         the highest number that is known to exist
    run          the first number of the unbroken run that ends at head; everything between contiguous and run
                 may be missing
    """

    contiguous: int
    head: int = 0
    run: int = 0

    def __post_init__(self) -> None:
        self.head = max(self.head, self.contiguous)
        self.run = self.run or self.contiguous + 1

    def heard(self, number: int) -> None:
        """An announcement with this number was heard (live)."""
        if number <= self.contiguous:
            return
        if number == self.contiguous + 1:
            self.contiguous = number
            self.head = max(self.head, number)
            self._join()
        elif number > self.head + 1 or number < self.run:
            self.run = max(number, self.run)
            self.head = max(self.head, number)
        else:
            self.head = max(self.head, number)

    def has_heard(self, number: int) -> bool:
        """Whether an announcement with this number has come for certain."""
        return number <= self.contiguous or self.run <= number <= self.head

    def told_head(self, number: int) -> None:
        """The server says that this is its last number (it may stand for announcements that were not heard)."""
        if number > self.head:
            self.head = number
            self.run = number + 1

    def set_back(self, number: int) -> None:
        """The server has begun a new life with this as its last number; a power cut may have cost it higher ones."""
        if number < self.contiguous:
            self.contiguous = self.head = number
            self.run = number + 1

    def replayed(self, upto: int) -> None:
        """A replay has brought everything from contiguous up to this number."""
        self.contiguous = max(self.contiguous, upto)
        self.head = max(self.head, upto)
        self._join()

    @property
    def gap(self) -> bool:
        """Whether something is known to exist that was not heard."""
        return self.head > self.contiguous

    def _join(self) -> None:
        if self.contiguous + 1 >= self.run:
            self.contiguous = self.head
            self.run = self.head + 1
