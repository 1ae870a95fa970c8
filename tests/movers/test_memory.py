from pathlib import Path

import pytest
from contract_suite import suite

from tranship_movers.checks import Ground
from tranship_movers.memory import MemoryMover
from tranship_movers.place import Place


@pytest.fixture
def memory_ground(tmp_path: Path) -> Ground:
    place = Place.parse(f"memory://{tmp_path.name}/")
    return Ground(connect=lambda: MemoryMover(place), folder="/scratch", local=tmp_path)


TestMemoryPromises = suite("memory_ground", must=("resume", "mtime", "checksums"))
