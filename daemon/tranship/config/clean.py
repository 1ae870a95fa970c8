"""The options of `tranship clean`: delete what is old, and tell of it. And the INI files of `remove_it.py`."""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tranship.config.curve import CurveOrNone
from tranship.config.endpoints import EVERYWHERE, Discovery, Host, NameServers, Security, Socket
from tranship.config.findings import Place, Report, nearest
from tranship.config.ini_file import Item, Section
from tranship.config.kinds import (
    Default,
    Duration,
    FullPath,
    Name,
    Options,
    Port,
    Switch,
    Text,
    Wanted,
    refuse,
    words,
)
from tranship.config.tree import Loc, Tree
from tranship.steps.clean import Times


def _template(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise refuse(f"{text!r} leads out of `base_dir`", "write it as it lies below, like */*.nc")
    return text


Templates = Annotated[
    tuple[Annotated[str, AfterValidator(_template)], ...],
    BeforeValidator(words),
    Field(min_length=1),
    Wanted("a list of shell patterns like *.nc or old/*.nc"),
]


class CleanChain(Options):
    """One folder that is kept clean."""

    base_dir: FullPath = Field(
        description="What is cleaned lies below here. Links are not followed; one to a file is as old as the younger "
        "of the two."
    )
    templates: Templates = Field(
        description="Which files, as shell patterns below `base_dir`. `*` stands for anything but `/`, and not for a "
        "dot at the beginning. With a / at the end: folders. What ends with `.keep` stays."
    )
    older_than: Duration = Field(description="Only what is older.")
    time: Annotated[Times, Wanted("ctime, mtime or atime")] = Field(
        default=Times.CTIME,
        description="By which time of a file: `ctime` (it came here, or was changed), `mtime` (its content was "
        "written), `atime` (it was read).",
    )
    recursive: Switch = Field(
        default=False,
        description="The last part of a template holds in all folders below, too; those that become empty go.",
    )
    include_hidden: Switch = Field(
        default=False, description="`*` also stands for a dot at the beginning of a name."
    )


class Mail(Options):
    """Where errors are mailed to, with `-m`."""

    host: Host = Field(description="The mail server.")
    port: Port = Field(default=25, description="Its port.")
    to: Annotated[tuple[Text, ...], BeforeValidator(words), Wanted("a list of addresses")] = Field(
        description="Who gets the mail."
    )
    subject: Text = Field(
        default="tranship clean on {hostname}", description="Its subject; knows {user} and {hostname}."
    )


class CleanConfig(Options):
    """Cleaning: one pass over all folders, and an end. A timer starts it again."""

    role: Annotated[Literal["clean"], Wanted("clean")] = Field(
        description="The process that this file is for."
    )
    name: Name = Field(default="remover", description="The name at name servers.")
    publish: Annotated[Socket | None, Default("nobody is told")] = Field(
        default=None, description="The socket on which it tells what was deleted: `del` on `/deletion`."
    )
    nameservers: Annotated[Discovery, Default("no")] = Field(
        default=NameServers(), description="Where the publisher makes itself known."
    )
    audience: Duration = Field(
        default=timedelta(seconds=3),
        description="With `publish`: how long subscribers are waited for, first.",
    )
    mail: Annotated[Mail | None, Default("none"), Wanted("a block of host, to and subject")] = Field(
        default=None, description="Where errors are mailed to, with `-m`."
    )
    curve: CurveOrNone = None
    chains: Annotated[Mapping[Name, CleanChain], Wanted("a block for each folder, by its name")] = Field(
        description="The folders, by name."
    )


# ---- the INI files of remove_it.py

CLEAN: Mapping[str, str] = MappingProxyType(
    {
        "base_dir": "base_dir",
        "templates": "templates",
        "stat_time_method": "time",
        "recursive": "recursive",
        "include_hidden": "include_hidden",
    }
)
_AGES = ("days", "hours", "minutes", "seconds")
_MAIL: Mapping[str, str] = MappingProxyType({"mailhost": "host", "to": "to", "subject": "subject"})


def clean_tree(sections: list[Section], report: Report) -> Tree:
    """A file of remove_it.py."""
    value: dict[str, Any] = {"role": "clean", "chains": {}, "nameservers": "multicast"}
    value["publish"] = {"port": "0", "bind": EVERYWHERE, "security": Security.TRUSTED_NETWORK}
    places: dict[Loc, Place] = {(): Place(1), ("chains",): Place(1)}
    report.warn(
        Place(1), "publishes on all interfaces, as INI files always did", "write the file in YAML to close it"
    )
    for section in sections:
        loc = ("chains", section.name)
        places[loc] = section.place
        chain = value["chains"][section.name] = {}
        for key, item in section.items.items():
            if key in CLEAN:
                chain[CLEAN[key]] = _read(key, item.text)
                places[*loc, CLEAN[key]] = item.place
            elif key in _MAIL:
                value.setdefault("mail", {})[_MAIL[key]] = (
                    item.text.replace(",", " ") if key == "to" else item.text
                )
                places["mail", _MAIL[key]] = item.place
            elif key not in _AGES:
                meant = nearest(key, [*CLEAN, *_AGES, *_MAIL])
                report.warn(
                    item.place, "is read by nobody", f"did you mean `{meant}`?" if meant else "remove it"
                )
        _based(chain, places, section, report)
        _age(section, chain, places, report)
    if value.get("mail", {}).keys() - {"subject"} != {"host", "to"}:
        value.pop("mail", None)  # it needs all of them there, too
    return Tree(value, places, glue=" ", old=True)


def _based(chain: dict[str, Any], places: dict[Loc, Place], section: Section, report: Report) -> None:
    """Have the base as seen from where it is started, and so high that templates which are full paths lie below."""
    base, templates = chain.get("base_dir"), chain.get("templates", [])
    if not base:
        return
    chain["base_dir"] = base = os.path.abspath(base)
    if not any(template.startswith("/") for template in templates):
        return
    paths = [os.path.join(base, template) for template in templates]
    fixed = os.path.commonpath([_folder(path) for path in paths])
    chain["base_dir"] = fixed
    chain["templates"] = [path.removeprefix(fixed).lstrip("/") for path in paths]
    place = places["chains", section.name, "templates"]
    report.warn(
        place, f"holds full paths, so that all are taken from {fixed}", "write a section for each folder"
    )


def _folder(path: str) -> str:
    """The folder, without patterns, in which what path names lies."""
    return re.split(r"[*?[]", path.rstrip("/"), maxsplit=1)[0].rpartition("/")[0] or "/"


def _read(key: str, text: str) -> object:
    if key == "templates":
        return [part.strip() for part in text.split(",") if part.strip()]
    if key == "stat_time_method":
        return text.removeprefix("st_")
    if key in ("recursive", "include_hidden"):
        return text or "no"  # there, any text is a yes, `False` too; here it means what it says
    return text


def _age(section: Section, chain: dict[str, Any], places: dict[Loc, Place], report: Report) -> None:
    given: dict[str, Item] = {unit: section.items[unit] for unit in _AGES if unit in section.items}
    parts = [f"{item.text.strip()} {unit}" for unit, item in given.items()]
    if not given:
        report.error(
            section.place, "has no age, so that everything would be deleted", "give days, hours or minutes"
        )
    wrong = next((item for item in given.values() if not re.fullmatch(r"\s*\d+\s*", item.text)), None)
    if wrong:
        report.error(wrong.place, "is no number", "give a whole number")
    chain["older_than"] = " ".join(parts) if parts and not wrong else "0"
    places["chains", section.name, "older_than"] = (
        next(iter(given.values())).place if given else section.place
    )
