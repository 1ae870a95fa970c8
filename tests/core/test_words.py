"""Numbers in sentences."""

import pytest

from tranship.core.words import counted


@pytest.mark.parametrize(
    ("number", "one", "many", "said"),
    [
        (0, "file", "", "0 files"),
        (1, "file", "", "1 file"),
        (2, "file", "", "2 files"),
        (1, "delivery", "deliveries", "1 delivery"),
        (2, "delivery", "deliveries", "2 deliveries"),
    ],
)
def test_one_is_one(number: int, one: str, many: str, said: str) -> None:
    assert counted(number, one, many) == said
