"""What a file says, as plain mappings, lists and text, with the line of everything. Both formats end here.

Scalars stay text: the options know which text is a number, a duration or a yes, so that nothing is misread on
the way (`no` as a topic, 12:30 as 750, 010 as 8).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tranship.config.findings import Place

Loc = tuple[str | int, ...]
"""The way to a value: ("chains", "hrit", "allow", 0)."""


class Plain(str):
    """Text without quotes, which may also mean a number, true or false, where no option says what it is."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """The content of a file. `glue` stands between the parts of a key path: "." in YAML, " " in INI.

    old: it is a file of Trollmoves.
    """

    value: dict[str, Any]
    places: Mapping[Loc, Place]
    glue: str = "."
    old: bool = False

    def place(self, loc: Loc) -> Place:
        """Where loc stands; for what is not in the file, where it would have to be put."""
        known = next((n for n in range(len(loc), 0, -1) if loc[:n] in self.places), 0)
        base = self.places.get(loc[:known], Place(1))
        missing = [part for part in loc[known:] if isinstance(part, str)]
        return Place(base.line, self.glue.join(filter(None, [base.key, *missing])))

    def at(self, loc: Loc) -> Any:
        """The value at loc; None if there is none."""
        value: Any = self.value
        for part in loc:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value
