"""Temporary files: their names, and how what is left of them is swept."""

import posixpath
import re
import secrets
import time
import zlib
from collections.abc import Callable, Collection
from datetime import timedelta

from tranship_movers.contract import Mover
from tranship_movers.errors import Misconfigured

OWNER = "tranship"
"""Whose temporaries they are, if nobody says."""

_TOKEN = re.compile(r"[a-z0-9]{1,16}-[a-z0-9]{1,32}")
_PART = re.compile(r"\..*\.(?P<token>(?P<owner>[a-z0-9]{1,16})-[a-z0-9]{1,40})\.part", re.DOTALL)
_HEAD = 64


def new_token(owner: str = OWNER) -> str:
    """A token that nobody else has, for the temporary of one file version; owner: 1 to 16 of a-z and 0-9."""
    return f"{owner}-{secrets.token_hex(6)}"


def part_name(name: str, token: str) -> str:
    """The temporary name for name, in the same folder, never longer than 132 bytes."""
    folder, slash, last = name.rpartition("/")
    encoded = last.encode(errors="surrogateescape")
    if len(encoded) > _HEAD:
        last = f"{encoded[: _HEAD - 9].decode(errors='ignore')}~{zlib.crc32(encoded):08x}"
    return f"{folder}{slash}.{last}.{token}.part"


def is_part(name: str) -> bool:
    """Whether name (without folder) is a temporary of ours, whoever's: nothing for a reader to pick up."""
    return _PART.fullmatch(name) is not None


def checked(token: str) -> str:
    """The token. Raises Misconfigured if it is none."""
    if not _TOKEN.fullmatch(token):
        raise Misconfigured(f"{token!r} is no token: 1 to 16, a dash, 1 to 32 of a-z and 0-9")
    return token


def sweep(
    mover: Mover,
    folder: str,
    owner: str = OWNER,
    *,
    spare: Collection[str] = (),
    older_than: timedelta = timedelta(0),
    now: Callable[[], float] = time.time,
) -> tuple[str, ...]:
    """Remove the temporaries of owner in folder, give their full names.

    Left alone are those of other owners, those whose token is in `spare`, and those whose modification time
    (of the place's clock, or of the source) is not `older_than` ago or not known.
    """
    latest = (now() - older_than.total_seconds()) * 1e9
    gone = []
    for facts in list(mover.list(folder)):
        match = _PART.fullmatch(facts.name)
        if match is None or match["owner"] != owner or match["token"].startswith(tuple(spare)):
            continue
        if older_than and (facts.mtime_ns is None or facts.mtime_ns > latest):
            continue
        gone.append(posixpath.join(folder, facts.name))
    for name in gone:
        mover.remove(name)
    return tuple(gone)
