"""Values that only pass through: metadata for messages, options for movers; and secrets."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, SecretStr

from tranship.config.kinds import Secret, Wanted, refuse
from tranship.config.tree import Plain


class Parameters(Mapping[str, Any]):
    """Options of the movers. Their values may be secrets: neither str nor repr shows them."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Keep a copy of values, blocks in it as Parameters of their own."""
        self._values = {k: Parameters(v) if isinstance(v, Mapping) else v for k, v in values.items()}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Parameters({', '.join(self)})"

    def plain(self) -> dict[str, Any]:
        """A copy as plain dictionaries, for the movers. Holds the secrets in the open."""
        return {key: value.plain() if isinstance(value, Parameters) else value for key, value in self.items()}


def metadata(value: object) -> dict[str, Any]:
    """A block of values that no option knows: numbers, true and false as in JSON, anything else text."""
    if not isinstance(value, Mapping):
        raise ValueError("no block")
    return {str(key): _meant(inner) for key, inner in value.items()}


def _meant(value: object) -> Any:
    if isinstance(value, Mapping):
        return metadata(value)
    if isinstance(value, list | tuple):
        return tuple(map(_meant, value))
    if isinstance(value, Plain):
        return _number(value)
    return str(value) if isinstance(value, str) else value


def _number(text: Plain) -> str | int | float | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"-?(0|[1-9]\d*)", text):
        return int(text)
    if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,2})?", text):
        return float(text)
    return str(text)


def _parameters(value: object) -> Parameters:
    return value if isinstance(value, Parameters) else Parameters(metadata(value))


def _login(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.partition(":")[0] or re.search(r"[\r\n\0]", text):
        raise refuse("is no login", "give user or user:password")
    return secret


Metadata = Annotated[Mapping[str, Any], PlainValidator(metadata), Wanted("a block of `key: value`")]
ConnectionParameters = Annotated[
    Parameters,
    PlainValidator(_parameters),
    PlainSerializer(repr),
    Secret(),
    Wanted("a block of options of the movers"),
]
Login = Annotated[SecretStr, AfterValidator(_login), Secret(), Wanted("a login: user or user:password")]
