"""Which files go from where to where, and when they are complete."""

import re
import string
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator

from tranship.config.kinds import Wanted, given, interval, refuse
from tranship.core.allow import EVERYTHING
from tranship.core.origin import Origin
from tranship.steps.settle import Closed, Companion, Completeness, Stable

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<login>[^/]*@)?(?P<host>(\[[^\]]*\]|[^:/@]*)(:\d*)?)(?P<path>/[^\0-\x1f]*)?"
)


def origin(text: str) -> str:
    """An origin pattern that can be matched. Refuses anything else."""
    if not text.startswith("/"):
        raise refuse(f"{given(text)} is no full path", "begin it with /")
    if text.endswith("/") or ".." in text.split("/"):
        raise refuse(
            f"{given(text)} names no file", "end it with a pattern for the files' names, without `..`"
        )
    for field in _fields(text):
        if not field.name.isidentifier():
            raise refuse(f"the field {{{field.name}}} has no proper name", "name it like {platform_name}")
        if field.conversion or "{" in field.form:
            raise refuse(
                f"the field {{{field.name}}} can't be read from a name", "give a plain format, like 05d"
            )
    try:
        Origin(text)
    except ValueError as error:
        raise refuse(f"trollsift can't read it: {error}", "compare it with a name it is meant for") from None
    return text


def destination(text: str) -> str:
    """A URL without credentials, whose fields can be filled in. Refuses anything else."""
    if re.match(r"/(?!/)", text):
        text = f"file://{text}"
    match = _URL.fullmatch(text)
    if match is None:
        raise refuse(f"{given(text)} is no destination", "give a URL like file:///data/ or sftp://host/data/")
    if match["login"] or (":" in match["host"] and "@" in (match["path"] or "")):
        raise refuse("holds credentials", "put them into `login`, or into a file that `login_file` names")
    if not match["path"]:
        raise refuse(f"{given(text)} names no folder", "add one: sftp://host/data/")
    for field in _fields(text):
        if not re.fullmatch(r"[^\W\d]\w*([.\[].*)?", field.name):
            raise refuse(f"the field {{{field.name}}} has no proper name", "name it like {platform_name}")
    return text


def allow(text: str) -> str:
    """A pattern that `core.allow` can match, without a password. Refuses anything else."""
    match = _URL.fullmatch(text)
    if text == EVERYTHING:
        return text
    if match is None or not match["path"]:
        raise refuse(f"{given(text)} is no URL pattern", "give one like file:///data/** or sftp://host/in/**")
    scheme = text.partition("://")[0].lower()
    if not match["host"] and scheme not in ("file", "memory"):
        raise refuse(f"{given(text)} names no host", f"name it, or `*` for any: {scheme}://*{match['path']}")
    if ":" in (match["login"] or "") or (":" in match["host"] and "@" in match["path"]):
        raise refuse("holds a password", "leave it out; every password fits")
    if ".." in match["path"].split("/"):
        raise refuse(f"{given(text)} holds `..`", "write out the folder that is meant")
    return text


def allow_here(text: str) -> str:
    """A pattern of files of this host. Refuses anything else."""
    if not allow(text).lower().startswith("file://"):
        advice = "give files of this host, like file:///data/**; file:///** are all of them"
        raise refuse(f"{given(text)} names no files of this host", advice)
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _settle(value: object) -> Completeness:
    match value:
        case Closed() | Stable() | Companion():
            return value
        case "closed":
            return Closed()
        case {"stable": time, **rest} if not rest:
            return Stable(interval(time))
        case {"companion": str(pattern), **rest} if not rest:
            return Companion(_companion(str(pattern)))
    raise ValueError("no rule")


def _written(rule: Completeness) -> object:
    match rule:
        case Stable(time):
            return {"stable": f"{time.total_seconds():g} s"}
        case Companion(pattern):
            return {"companion": pattern}
    return "closed"


def _companion(pattern: str) -> str:
    names = {field.name for field in _fields(pattern)}
    if not names or not names <= {"name", "stem"} or "/" in pattern or pattern == "{name}":
        raise refuse(f"{given(pattern)} names no companion", 'make its name of {name} or {stem}: "{name}.ok"')
    return pattern


class _Field(NamedTuple):
    name: str
    form: str
    conversion: str


def _fields(pattern: str) -> list[_Field]:
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise refuse(f"a broken field: {error}", "close every {, and double a brace that is text") from None
    return [
        _Field(name, form or "", conversion or "") for _, name, form, conversion in parts if name is not None
    ]


OriginPattern = Annotated[
    str, AfterValidator(origin), Wanted("a full path with fields, like /data/in/{series:_<6s}.dat")
]
Destination = Annotated[
    str, AfterValidator(destination), Wanted("a URL with fields, like file:///data/{platform_name}/")
]
Allow = Annotated[
    tuple[Annotated[str, AfterValidator(allow)], ...],
    BeforeValidator(_one_or_more),
    Wanted("a list of URL patterns like file:///data/**"),
]
AllowHere = Annotated[
    tuple[Annotated[str, AfterValidator(allow_here)], ...],
    BeforeValidator(_one_or_more),
    Wanted("a list of URL patterns like file:///data/**"),
]
Settle = Annotated[
    Completeness,
    PlainValidator(_settle),
    PlainSerializer(_written),
    Wanted('`closed`, `{stable: 5 s}` or `{companion: "{name}.ok"}`'),
]
