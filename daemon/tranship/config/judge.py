"""From what a file says to options: each refusal becomes a finding with its line; nothing secret is shown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tranship.config.findings import Report, listed, nearest
from tranship.config.kinds import Secret, Wanted, given
from tranship.config.tree import Loc, Tree

M = TypeVar("M", bound=BaseModel)


def judged(model: type[M], tree: Tree, report: Report, hints: Mapping[str, str]) -> M | None:
    """The options of tree, as far as they are sound; the rest goes into the report.

    `hints` say what to do with keys of other programs and roles. None: not enough is sound.
    """
    try:
        return model.model_validate(tree.value)
    except ValidationError as refused:
        errors = refused.errors(include_url=False)
    for error in errors:
        if not _only_lacks_bad_items(error, errors):
            _tell(model, tree, report, hints, error)
    return _sound(model, tree.value, [error["loc"] for error in errors])


def _only_lacks_bad_items(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because of items that are told of themselves."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(
        other["loc"][: len(loc)] == loc for other in errors if other is not error
    )


def marks(field: FieldInfo, kind: type[M] | type[Any]) -> Iterator[Any]:
    """The marks of this kind (Wanted, Default, Secret) on field, the outermost first."""
    yield from (mark for mark in reversed(field.metadata) if isinstance(mark, kind))
    yield from _inner_marks(field.annotation, kind)


def block_of(annotation: object) -> type[BaseModel] | None:
    """The block of options that annotation holds, directly or by name; None if it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = get_args(annotation)
    if get_origin(annotation) is Mapping:
        return block_of(inner[1])
    if get_origin(annotation) is tuple:
        return block_of(inner[0])
    several = inner if get_origin(annotation) in (Union, UnionType) else ()
    return next((block for block in map(block_of, several) if block), None)


def _inner_marks(annotation: object, kind: type[Any]) -> Iterator[Any]:
    yield from (mark for mark in reversed(getattr(annotation, "__metadata__", ())) if isinstance(mark, kind))
    for inner in get_args(annotation):
        yield from _inner_marks(inner, kind)


def _tell(
    model: type[BaseModel], tree: Tree, report: Report, hints: Mapping[str, str], error: ErrorDetails
) -> None:
    loc = tuple(part for part in error["loc"] if part != "[key]")
    block, field = _declared(model, loc)
    if error["type"] == "extra_forbidden":
        report.error(tree.place(loc), *_unknown(model, loc, hints))
    elif error["type"] == "missing":
        report.error(tree.place(loc), "is missing", f"give {_wanted(block, field)}")
    elif error["type"] == "refused":
        context = error["ctx"]
        whole = (*loc, context["key"]) if context["key"] else loc
        report.error(tree.place(whole), context["problem"], context["advice"])
    else:
        secret = field is not None and any(marks(field, Secret))
        what = "what is given" if secret else given(error["input"])
        report.error(tree.place(loc), f"{what} does not fit", f"give {_wanted(block, field)}")


def _declared(model: type[BaseModel], loc: Loc) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The block at loc (if it is one), and the innermost option on the way to it."""
    here: object = model
    field: FieldInfo | None = None
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = _optional(field.annotation) if field else None
        elif get_origin(here) is Mapping:
            here, field = get_args(here)[1], None
        elif isinstance(part, int) and block_of(here):
            here = block_of(here)
        else:
            break
    return block_of(here), field


def _optional(annotation: object) -> object:
    """A block that may be left out is the block."""
    return block_of(annotation) if get_origin(annotation) in (Union, UnionType) else annotation


def _wanted(block: type[BaseModel] | None, field: FieldInfo | None) -> str:
    wanted = next(marks(field, Wanted), None) if field else None
    if wanted:
        return str(wanted.words)
    needed = [name for name, option in block.model_fields.items() if option.is_required()] if block else []
    return f"a block of options, at least {', '.join(needed)}" if needed else "a block of options"


def _unknown(model: type[BaseModel], loc: Loc, hints: Mapping[str, str]) -> tuple[str, str]:
    key = str(loc[-1])
    block, _ = _declared(model, loc[:-1])
    here = set(block.model_fields) if block else set()
    elsewhere = dict.fromkeys(path for path, name in _paths(model) if name == key)
    if elsewhere:
        return "is no option here", f"it belongs to {listed(elsewhere)}"
    if key in hints:
        return "is no option here", hints[key]
    meant = nearest(key, here)
    return "is no option", f"did you mean `{meant}`?" if meant else f"there are {listed(sorted(here))}"


def _paths(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """(where its block is, name) of every option."""
    for name, field in model.model_fields.items():
        yield path or "the top of the file", name
        block = block_of(field.annotation)
        if block:
            kind = get_origin(field.annotation)
            each = "each chain" if kind is Mapping else f"each of `{name}`" if kind is tuple else ""
            step = each or f"`{name}`"
            yield from _paths(block, f"{step} of {path}" if path else step)


def _sound(model: type[M], value: dict[str, Any], refused: list[Loc]) -> M | None:
    """What is left of value without the refused options; then without the chains that lack something."""
    value = _without(refused, value, 3)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        refused = [wrong["loc"] for wrong in error.errors(include_url=False)]
    try:
        return model.model_validate(_without(refused, value, 2))
    except ValidationError:
        return None


def _without(refused: Iterable[Loc], value: dict[str, Any], depth: int) -> dict[str, Any]:
    """Value without what was refused: options at the top, and below it blocks of this depth."""
    cut = {loc[:depth] if loc[0] == "chains" else loc[:1] for loc in refused}

    def kept(inner: Any, loc: Loc) -> Any:
        if not isinstance(inner, dict) or len(loc) >= depth:
            return inner
        return {key: kept(part, (*loc, key)) for key, part in inner.items() if (*loc, key) not in cut}

    return dict(kept(value, ()))
