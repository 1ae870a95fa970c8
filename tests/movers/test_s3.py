from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_suite import suite

from servers import s3
from servers.s3 import BUCKET, KEY, S3, SECRET
from tranship_movers.checks import Ground
from tranship_movers.options import options_of
from tranship_movers.place import Place
from tranship_movers.s3 import S3Mover, S3Options


@pytest.fixture(scope="module")
def seaweed() -> Iterator[S3]:
    with s3.seaweed() as server:
        yield server


@pytest.fixture(scope="module")
def rclone() -> Iterator[S3]:
    with s3.rclone() as server:
        yield server


def mover(server: S3, /, bucket: str = BUCKET, **options: object) -> S3Mover:
    told = {"endpoint_url": server.url, "key": KEY, "secret": SECRET, "timeout": "10 s", **options}
    return S3Mover(Place.parse(f"s3://{bucket}/"), options_of(S3Options, told))


@pytest.fixture
def seaweed_ground(seaweed: S3, tmp_path: Path) -> Ground:
    return Ground(lambda: mover(seaweed, part_size="5 MiB"), "/promises", tmp_path, secret=SECRET)


@pytest.fixture
def rclone_ground(rclone: S3, tmp_path: Path) -> Ground:
    return Ground(lambda: mover(rclone, part_size="5 MiB"), "/promises", tmp_path, secret=SECRET)


TestSeaweedPromises = suite("seaweed_ground", must=("mtime", "checksums", "broken-off"))
TestRclonePromises = suite("rclone_ground", must=("mtime", "checksums", "broken-off"))
