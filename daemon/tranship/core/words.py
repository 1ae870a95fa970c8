"""Numbers in sentences."""


def counted(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`, `0 files`; many: the plural of a word that takes more than an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
