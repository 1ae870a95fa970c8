"""What a failure over SSH means: paramiko's and the network's exceptions by table, a server's plain words too."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from tranship_movers.errors import (
    Busy,
    HostUnproven,
    LoginRefused,
    Misconfigured,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    ReadOnly,
    SourceGone,
    TimedOut,
    Unreachable,
    of_system,
)

FAILURES: tuple[tuple[type[Exception], type[MoverError], str], ...] = (
    (paramiko.BadHostKeyException, HostUnproven, "the host has another key than the known one"),
    (
        paramiko.PasswordRequiredException,
        Misconfigured,
        "the private key needs a passphrase (`passphrase_file`)",
    ),
    (paramiko.AuthenticationException, LoginRefused, "user, password or key is not accepted"),
    (IncompatiblePeer, Misconfigured, "no cipher, key exchange or host key type in common with the server"),
    (paramiko.ChannelException, Busy, "the server opens no further session"),
    (paramiko.SSHException, Unreachable, "the SSH conversation broke off"),
    (EOFError, Unreachable, "the line was cut"),
)


def failure(error: Exception) -> MoverError | None:
    """The error that an exception of paramiko or of the network means, or None if it is none of them."""
    for kind, ours, meaning in FAILURES:
        if isinstance(error, kind):
            return ours(meaning)
    if isinstance(error, TimeoutError):
        return TimedOut("nothing came or went for too long")
    if isinstance(error, OSError):
        # A socket that was closed under us has no error number, or says that its descriptor is bad.
        if error.errno in (None, errno.EBADF, errno.EPIPE):
            return Unreachable("the line was cut")
        return of_system(error, absent=Unreachable)
    return None


TEXTS: tuple[tuple[str, type[MoverError], str], ...] = (
    ("no space left|disk full|file system full", NoSpace, "the place is full"),
    ("quota", NoSpace, "the quota is used up"),
    (
        "name too long|(invalid|illegal|unexpected) (file ?)?name",
        NameRefused,
        "the server will not have this name",
    ),
    ("no such file", SourceGone, "there is no such name"),
    ("permission denied|not permitted", Permanent, "permission denied"),
    ("is a directory|not a regular file", Permanent, "it is no plain file"),
    ("not a directory", Permanent, "it is no folder"),
    ("file exists", Permanent, "it exists already"),
    ("read-only file", ReadOnly, "the place is write-protected"),
    ("too many open files|resource temporarily|cannot fork", Busy, "the server is overloaded"),
)
"""What a server's plain words mean, by regular expression."""


def understood(said: str, name: str = "") -> tuple[type[MoverError], str] | None:
    """What the server means by the words it said of name: the error and its reason; None if we don't know."""
    last = name.rpartition("/")[2]
    parts = [part for part in said.split(": ") if not f"/{part}".rstrip("'\"").endswith(f"/{last}")]
    for pattern, kind, meaning in TEXTS:
        if re.search(pattern, ": ".join(parts), re.IGNORECASE):
            return kind, meaning
    return None


@contextmanager
def here(path: Path, absent: type[MoverError] = SourceGone) -> Iterator[None]:
    """Translate what our own file system says of path, so that it is not taken for the server's words."""
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(path), absent=absent) from error
