"""What every mover can be told, and how a wrong option is named."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import ClassVar, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tranship_movers.errors import Misconfigured
from tranship_movers.units import Duration, Patience, Rate, duration


class MoverOptions(BaseModel):
    """The options of every protocol; each protocol adds its own beside its class.

    A name of Trollmoves' `connection_parameters` that differs from ours is a `validation_alias`
    (`AliasChoices("ours", "theirs")`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    holders: ClassVar[frozenset[str]] = frozenset()
    """Keys that are no options themselves, but hold some (s3fs' `client_kwargs`)."""

    timeout: Patience = Field(
        default=duration("30 s"), description="A connection is given up after this long without progress."
    )
    connection_uptime: Duration = Field(
        default=duration("30 s"), description="A connection that nobody used for this long is closed."
    )
    at_once: int = Field(default=4, ge=1, description="So many transfers at once, per host and user.")
    bandwidth: Rate | None = Field(
        default=None,
        gt=0,
        description="At most so many bytes per second, all transfers to the place together.",
    )
    mkdirs: bool = Field(
        default=True, description="Make the folders of the destination as far as they are missing."
    )
    checksum: Literal["xxh128", "sha256", "none"] = Field(
        default="xxh128",
        description="The checksum that is compared after a transfer, where the other side can compute one.",
    )


M = TypeVar("M", bound=MoverOptions)


def options_of(model: type[M], mapping: Mapping[str, object], where: str = "") -> M:
    """The options that mapping means.

    Raises Misconfigured, which names every wrong key and the nearest valid one; `where` says whose options
    they are. The text shows no value of an option that may be a secret.
    """
    try:
        return model.model_validate(dict(mapping))
    except ValidationError as error:
        told = [_told(model, detail) for detail in error.errors(include_url=False, include_context=False)]
        raise Misconfigured("; ".join(told), where=where) from None


def keys_of(model: type[MoverOptions]) -> frozenset[str]:
    """Every key that model understands, aliases and holders too."""
    named = frozenset(key for name, field in model.model_fields.items() for key in (name, *_aliases(field)))
    return named | model.holders


def _aliases(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias] if isinstance(alias, str) else []


def _told(model: type[MoverOptions], detail: ErrorDetails) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        reason = detail["msg"].removeprefix("Value error, ")
        return f"option `{key}`: {reason}" if key else reason
    nearest = get_close_matches(key, sorted(keys_of(model)), n=1, cutoff=0.0)
    return (
        f"there is no option `{key}`; the nearest is `{nearest[0]}`"
        if nearest
        else f"there is no option `{key}`"
    )
