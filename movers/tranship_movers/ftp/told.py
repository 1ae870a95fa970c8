"""What an FTP server tells of itself and of names, in its own forms: FEAT, MLSD, LIST, times."""

import ftplib
import re
from datetime import UTC, datetime

from tranship_movers.contract import Facts

_LS = re.compile(
    r"(?P<kind>[-dl])[-rwxsStTlL]{9}\S?\s+.*?\s*\b(?P<size>\d+)\s+"
    r"(?:\S{3,5}\s+\d{1,2}|\d{1,2}\s+\S{3,5})\s+(?:\d{4}|\d{1,2}:\d{2})\s(?P<name>.+)"
)
"""`drwxr-xr-x 2 owner group 4096 Jan  2 12:30 name`; the name may hold and begin with blanks."""

_DOS = re.compile(r"\d\d-\d\d-\d{2,4}\s+\d\d:\d\d(?:[AP]M)?\s+(?:(?P<size>\d+)\s|<DIR>\s+)(?P<name>.+)")
"""`01-02-26  12:30PM  <DIR>  name`"""

NO_FILE = frozenset("tbcps")
"""How a line of a listing begins that tells the total, a device, a pipe or a socket."""


def features_of(reply: str) -> dict[str, str]:
    """FEAT as a dictionary from the command, in capitals, to what is said of it."""
    told = [line.strip().partition(" ") for line in reply.split("\n")[1:] if line.startswith(" ")]
    features: dict[str, str] = {}
    for command, _, words in told:
        features[command.upper()] = f"{features.get(command.upper(), '')} {words}".strip()
    return features


def facts_of(line: str, name: str = "") -> Facts | None:
    """A line of MLSD or MLST (`size=5;type=file;modify=20260102030405; name`); None for what is no file."""
    told, _, there = line.partition(" ")
    facts = {key.lower(): value for key, _, value in (fact.partition("=") for fact in told.split(";"))}
    kind = facts.get("type", "").lower()
    size = facts.get("size", "")
    is_folder = kind == "dir" or (kind in ("cdir", "pdir") and name != "")
    if not is_folder and (kind in ("cdir", "pdir") or not size.isdecimal()):
        return None
    name = name or there.rpartition("/")[2]
    if name in ("", ".", ".."):
        return None
    mode = facts.get("unix.mode", "")
    return Facts(
        name,
        0 if is_folder else int(size),
        time_of(facts.get("modify", "")),
        is_folder,
        int(mode, 8) & 0o777 if re.fullmatch("[0-7]+", mode) else None,
    )


def facts_of_ls(line: str) -> Facts | None:
    """A line of LIST; size -1 if it does not tell (a link); None if nobody understands it.

    Its time is left out: it has no zone and often no year.
    """
    if match := _LS.fullmatch(line):
        if match["kind"] == "l":
            return Facts(match["name"].partition(" -> ")[0], -1)
        is_folder = match["kind"] == "d"
        return Facts(match["name"], 0 if is_folder else int(match["size"]), is_folder=is_folder)
    if match := _DOS.fullmatch(line):
        return Facts(match["name"], int(match["size"] or 0), is_folder=match["size"] is None)
    return None


def time_of(text: str) -> int | None:
    """`20260102030405.123`, in UTC, in ns since the epoch."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?", text.strip())
    if match is None:
        return None
    *parts, fraction = match.groups(default="")
    try:
        # `strptime` takes ten times as long, and this is asked for every file.
        year, month, day, hour, minute, second = map(int, parts)
        seconds = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))


def told_in(pattern: str, reply: str, group: int = 0) -> str:
    """The group of pattern in reply. Raises error_proto if it is not there."""
    match = re.search(pattern, reply)
    if match is None:
        raise ftplib.error_proto
    return match[group]
