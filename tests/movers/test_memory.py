from pathlib import Path

import pytest
from contract_suite import suite

from tranship_movers.checks import Ground
from tranship_movers.errors import Busy, Unreachable
from tranship_movers.memory import Fault, MemoryMover, host
from tranship_movers.place import Place


@pytest.fixture
def memory_ground(tmp_path: Path) -> Ground:
    place = Place.parse(f"memory://{tmp_path.name}/")
    return Ground(connect=lambda: MemoryMover(place), folder="/scratch", local=tmp_path)


TestMemoryPromises = suite(
    "memory_ground", must=("resume", "get-on", "download-resumed", "download-mixed", "mtime", "checksums")
)


def test_a_host_is_shared_by_its_name(tmp_path: Path) -> None:
    one, two = (MemoryMover(Place.parse(f"memory://{tmp_path.name}{path}")) for path in ("/a/", "/b/"))
    other = MemoryMover(Place.parse(f"memory://{tmp_path.name}-other/"))
    source = tmp_path / "a.dat"
    source.write_bytes(b"content")
    one.put(source, "/a.dat")
    assert two.stat("/a.dat") == one.stat("/a.dat") is not None
    assert other.stat("/a.dat") is None


def test_a_fault_happens_as_often_as_asked(tmp_path: Path) -> None:
    mover = MemoryMover(Place.parse(f"memory://{tmp_path.name}/"))
    host(tmp_path.name).faults.append(Fault("stat", Busy("later"), times=2))
    for _ in range(2):
        with pytest.raises(Busy, match=f"memory://{tmp_path.name}/: later"):
            mover.stat("/a.dat")
    assert mover.stat("/a.dat") is None


def test_a_fault_after_some_bytes_leaves_them(tmp_path: Path) -> None:
    mover = MemoryMover(Place.parse(f"memory://{tmp_path.name}/"))
    source = tmp_path / "a.dat"
    source.write_bytes(bytes(300_000))
    host(tmp_path.name).faults.append(Fault("put", Unreachable("cut"), after=100_000, cuts=True))
    with pytest.raises(Unreachable):
        mover.put(source, "/a.dat")
    assert 0 < len(host(tmp_path.name).files["/a.dat"].content) < 300_000
    assert not mover.alive()
    with pytest.raises(Unreachable, match="closed"):
        mover.stat("/a.dat")
