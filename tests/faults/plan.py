"""What is going to happen in a run, drawn from its seed: files, deaths, weather. Pure: the same seed, the same plan."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from tranship.faultpoints import CLIENT, DISPATCHER, FETCH, MIRROR, MOVE, SERVER, Point

PAIR = {"local": 6, "remote": 2, "small": 2}
"""Where files are dropped for server and client, and how many of ten: for a folder whose sources are deleted after
delivery, for an SFTP server behind a proxy, for a file system that fills up."""

FAMILY = {"flow": 6, "moved": 2, "web": 2}
"""For the whole family: what goes from server to dispatcher (and is fetched), what is moved, what is fetched after it
was moved."""

OF_ANY_SIZE = ("local", "web")
"""Places that no slow SFTP server stands behind."""

POINTS: Mapping[str, frozenset[Point]] = {
    "server": SERVER,
    "client": CLIENT,
    "spare": CLIENT,
    "mirror": MIRROR,
    "dispatcher": DISPATCHER,
    "move": MOVE,
    "fetch": FETCH,
}


@dataclass(frozen=True)
class Options:
    """How long and how rough. rate: files per second at most; weather: seconds between two faults of the world."""

    seed: int = 1
    files: int = 2000
    kills: int = 100
    rate: float = 200.0
    weather: float = 4.0
    spare: bool = False
    family: bool = False
    victims: tuple[str, ...] = ()
    only: tuple[Point, ...] = ()
    deadline: float = 420.0

    @property
    def processes(self) -> tuple[str, ...]:
        if self.family:
            return ("server", "mirror", "client", "dispatcher", "move", "fetch")
        return ("server", "client", "spare") if self.spare else ("server", "client")

    @property
    def killed(self) -> tuple[str, ...]:
        """Whom it hits."""
        return self.victims or self.processes

    @property
    def places(self) -> Mapping[str, int]:
        """Where files are dropped, and how often."""
        return FAMILY if self.family else PAIR

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the weather can be."""
        return (*KINDS, "link away") if self.family else (*KINDS, "disk full")


@dataclass(frozen=True)
class File:
    """One version of one file that is dropped. Its content follows from what it is."""

    seed: int
    place: str
    name: str
    version: int
    size: int

    @property
    def content(self) -> bytes:
        return random.Random(f"{self.seed} {self.name} {self.version}").randbytes(self.size)


@dataclass(frozen=True)
class Life:
    """One life of a process, and how it ends: when it comes to a point so many times, or after seconds.

    early: seconds count from the start of the process; else from when it is ready.
    """

    seconds: float
    early: bool = False
    point: Point | None = None
    times: int = 1


@dataclass(frozen=True)
class Weather:
    """Something that happens to the world for some seconds, after a wait (seconds)."""

    wait: float
    kind: str
    seconds: float
    whom: str = ""


KINDS = ("freeze", "cut bus", "hole bus", "cut link", "hole link", "stall link", "clock")


@dataclass(frozen=True)
class Plan:
    """Everything that was drawn."""

    options: Options
    files: list[File] = field(repr=False)
    lives: dict[str, list[Life]] = field(repr=False)

    @classmethod
    def of(cls, options: Options) -> "Plan":
        draw = random.Random(f"files {options.seed}")
        return cls(
            options, list(_files(draw, options)), _lives(random.Random(f"lives {options.seed}"), options)
        )

    def weather(self) -> Iterator[Weather]:
        """Without end."""
        draw = random.Random(f"weather {self.options.seed}")
        every = self.options.weather
        while True:
            kind = draw.choice(self.options.kinds)
            whom = draw.choice(self.options.processes)
            yield Weather(draw.uniform(0.3, 1.7) * every, kind, draw.uniform(0.2, 6.0), whom)


@cache
def points_of(process: str) -> tuple[Point, ...]:
    """Where a process can die."""
    return tuple(point for point in Point if point in POINTS[process])


def _files(draw: random.Random, options: Options) -> Iterator[File]:
    waiting: list[File] = []
    for number in range(options.files):
        place = draw.choices(tuple(options.places), tuple(options.places.values()))[0]
        size = draw.choices((_small, _middle, _large), (950, 47, 3))[0](draw)
        if place not in OF_ANY_SIZE:
            size = min(size, 300_000)
        file = File(options.seed, place, f"{place[0]}{number:06d}.dat", 1, size)
        yield file
        if draw.random() < 0.04:
            waiting.append(File(options.seed, place, file.name, 2, size + 1))
        while waiting and draw.random() < 0.1:
            yield waiting.pop(draw.randrange(len(waiting)))
    yield from waiting


def _small(draw: random.Random) -> int:
    return draw.randint(1, 4000)


def _middle(draw: random.Random) -> int:
    return draw.randint(50_000, 300_000)


def _large(draw: random.Random) -> int:
    return draw.randint(4 << 20, 6 << 20)


def _at_random(draw: random.Random) -> Life:
    if draw.random() < 0.25:
        return Life(draw.uniform(0.1, 1.5), early=True)
    return Life(draw.choice((1, 4)) * draw.uniform(0.0, 1.5))


def _lives(draw: random.Random, options: Options) -> dict[str, list[Life]]:
    """Half of the lives end at a random moment, half at a point; every point comes as often as the others."""
    lives: dict[str, list[Life]] = {victim: [] for victim in options.killed}
    for number in range(options.kills):
        victim = options.killed[number % len(options.killed)]
        points = [point for point in points_of(victim) if not options.only or point in options.only]
        if points and (options.only or len(lives[victim]) % 2):
            point = points[len(lives[victim]) // (1 if options.only else 2) % len(points)]
            times = 1 if options.only else draw.choice((1, 1, 2, 3, 5, 10))
            lives[victim].append(Life(5.0, point=point, times=times))
        else:
            lives[victim].append(_at_random(draw))
    for drawn in lives.values():
        draw.shuffle(drawn)
    return lives
