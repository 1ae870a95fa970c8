"""What a status of SFTP means, by table."""

from tranship_movers.errors import (
    Busy,
    Mangled,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    ReadOnly,
    SourceGone,
    Temporary,
    Unreachable,
)
from tranship_movers.ssh import understood

(OK, EOF, ABSENT, DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, LOST, UNSUPPORTED) = range(9)


class Unexplained(Temporary):
    """The server said no more than that it failed."""


STATUS: dict[int, tuple[type[MoverError], str]] = {
    EOF: (Mangled, "it ended early"),
    ABSENT: (SourceGone, "there is no such name"),
    DENIED: (Permanent, "permission denied"),
    FAILURE: (Unexplained, "the server failed"),
    BAD_MESSAGE: (NameRefused, "the server will not have this name"),  # OpenSSH: ENAMETOOLONG, EINVAL
    NO_CONNECTION: (Unreachable, "the server has lost its connection"),
    LOST: (Unreachable, "the server has lost its connection"),
    UNSUPPORTED: (Permanent, "the server can't do this"),
    # The codes of later versions, which some servers use in this one too.
    9: (Temporary, "the server forgot the open file"),
    10: (SourceGone, "there is no such folder"),
    11: (Permanent, "it exists already"),
    12: (ReadOnly, "the place is write-protected"),
    13: (Temporary, "there is no medium in the drive"),
    14: (NoSpace, "the place is full"),
    15: (NoSpace, "the quota is used up"),
    17: (Busy, "it is locked"),
    18: (Permanent, "the folder is not empty"),
    19: (Permanent, "it is no folder"),
    20: (NameRefused, "the server will not have this name"),
    21: (Permanent, "its links lead in a circle"),
    24: (Permanent, "it is a folder"),
    25: (Busy, "it is locked"),
}


def refusal(code: int, said: str, where: str, absent: type[MoverError] = SourceGone) -> MoverError:
    """The error that a status means; absent is what a missing name means here."""
    kind, meaning = STATUS.get(code, (Permanent, f"the server refuses (status {code})"))
    if code == FAILURE:
        kind, meaning = understood(said, where) or (kind, meaning)
    return (absent if kind is SourceGone else kind)(meaning, where=where)
