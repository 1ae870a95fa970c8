"""Where a check runs, what it is, and the questions that checks ask."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tranship_movers.contract import Mover, Powers
from tranship_movers.errors import (
    MoverError,
)


class Broken(Exception):
    """A promise that does not hold; the text says what was seen instead."""


@dataclass(frozen=True)
class Ground:
    """Where checks run: connect gives a new connection to the place; folder is there, local is here.

    `big` is the size of the large file, in bytes. `secret` is a text that no error may show. `word` tells one
    run's names from another's.
    """

    connect: Callable[[], Mover]
    folder: str
    local: Path
    big: int = 8 << 20
    secret: str = field(default="", repr=False)
    word: str = field(default_factory=lambda: secrets.token_hex(4))

    @contextmanager
    def line(self) -> Iterator[Mover]:
        """A connection, for the block."""
        with closing(self.connect()) as mover:
            yield mover

    def file(self, name: str, content: bytes) -> Path:
        """A local file with this content, always a new one (a hard link to the last may be at the place)."""
        path = self.local / f"{self.word}-{name}"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return path

    def beneath(self, name: str) -> "Ground":
        """The same ground, in a folder below."""
        return Ground(self.connect, f"{self.folder.rstrip('/')}/{name}", self.local, self.big, self.secret)


@dataclass(frozen=True)
class Check:
    """One promise: its title, what it needs to be offered, and how to try it."""

    title: str
    needs: Callable[[Powers], bool]
    attempt: Callable[[Ground], None]

    @property
    def word(self) -> str:
        """A short name, for folders and test ids."""
        return self.attempt.__name__.strip("_").replace("_", "-")

    def run(self, ground: Ground) -> Literal["holds", "not offered"]:
        """Try it in a folder of its own below ground's. Raises Broken, or what the mover raised."""
        own = ground.beneath(f"{self.word}-{ground.word}")
        with own.line() as mover:
            if not self.needs(mover.powers):
                return "not offered"
            if mover.powers.writing:
                mover.make_folders(own.folder)
        try:
            self.attempt(own)
        finally:
            clear(own)
        return "holds"


@dataclass(frozen=True)
class Outcome:
    """What became of one check; `told` is empty unless it is broken."""

    title: str
    verdict: Literal["holds", "not offered", "broken"]
    told: str = ""


Needs = Callable[[Powers], bool]


def writing(powers: Powers) -> bool:
    """Whether names can be put there."""
    return powers.writing


def listing(powers: Powers) -> bool:
    """Whether names can be put there, and listed."""
    return powers.writing and powers.listing


def folders(powers: Powers) -> bool:
    """Whether there are folders, too."""
    return powers.writing and powers.listing and powers.folders


def promise(title: str, needs: Needs = listing) -> Callable[[Callable[[Ground], None]], Check]:
    """Make a check of what tries it."""
    return lambda attempt: Check(title, needs, attempt)


def collected(words: Mapping[str, object]) -> tuple[Check, ...]:
    """The checks among words, in their order."""
    return tuple(found for found in words.values() if isinstance(found, Check))


@contextmanager
def refusal(kind: type[Exception], act: str) -> Iterator[None]:
    """Raise Broken unless act, inside, raises kind."""
    try:
        yield
    except kind:
        return
    except MoverError as error:
        raise Broken(f"{act} raised {type(error).__name__} ({error}), not {kind.__name__}") from error
    raise Broken(f"{act} gave success")


def expect(holds: bool, otherwise: str) -> None:
    """Raise Broken, with otherwise, unless it holds."""
    if not holds:
        raise Broken(otherwise)


def raising_after(size: int, error: Exception) -> Callable[[int], None]:
    """Progress that raises error once size bytes have gone over."""
    went = [0]

    def progress(more: int) -> None:
        went[0] += more
        if went[0] >= size:
            raise error

    return progress


def read(ground: Ground, mover: Mover, name: str) -> bytes:
    """What is at name."""
    target = ground.local / f"{ground.word}-read"
    mover.get(name, target)
    return target.read_bytes()


def size_of(mover: Mover, name: str) -> int | None:
    """The size that the place says name has, in bytes."""
    facts = mover.stat(name)
    return None if facts is None else facts.size


def names_in(mover: Mover, folder: str) -> set[str]:
    """The names that folder lists."""
    return {facts.name for facts in mover.list(folder)}


def clear(ground: Ground) -> None:
    """Remove the files of one check, as far as it works."""
    with suppress(MoverError), ground.line() as mover:
        if mover.powers.writing and mover.powers.listing:
            _clear_folder(mover, ground.folder)


def _clear_folder(mover: Mover, folder: str) -> None:
    for facts in list(mover.list(folder)):
        full = f"{folder}/{facts.name}"
        if facts.is_folder:
            _clear_folder(mover, full)
        else:
            mover.remove(full)
