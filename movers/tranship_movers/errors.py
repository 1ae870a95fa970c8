"""What can go wrong when bytes are moved, and what to do about it.

    MoverError
    ├── Temporary        the same act may succeed later: try again, with back-off
    │   ├── Unreachable      the host did not answer, or the line was cut
    │   ├── TimedOut         a deadline passed
    │   ├── Mangled          what arrived differs from what was sent
    │   ├── SourceChanged    the source was written to while it was moved
    │   └── Busy             the other side asked to come back later
    ├── Permanent        the same act can never succeed: list it with its reason
    │   ├── SourceGone       there is no such source
    │   └── NameRefused      the other side will not have this name
    └── Fatal            nothing can succeed at this place: pause the place, probe it, alarm
        ├── LoginRefused     user, password or key is not accepted
        ├── HostUnproven     the host could not prove who it is (host key, certificate)
        ├── NoSpace          the place is full, or over its quota
        ├── ReadOnly         nothing can be written there
        └── Misconfigured    the options can't work

Exceptions of the protocol libraries are translated to these once, by each mover's table (`translated`);
those of the operating system by `of_system`.
"""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class MoverError(Exception):
    """Something went wrong with one file at one place.

    `reason` says what; `where` is the place, without credentials; `advice` is the next move, if we know one.
    """

    advice = ""

    def __init__(self, reason: str, *, where: str = "") -> None:
        """Say what went wrong (reason) and where."""
        super().__init__(reason)
        self.reason = reason
        self.where = where

    def __str__(self) -> str:
        told = f"{self.where}: {self.reason}" if self.where else self.reason
        return f"{told}; {self.advice}" if self.advice else told


class Temporary(MoverError):
    """The same act may succeed later."""


class Unreachable(Temporary):
    """The host did not answer, or the line was cut."""

    advice = "is the host up, and the port open from here?"


class TimedOut(Temporary):
    """A deadline passed."""

    advice = "raise `timeout` if the place is only slow"


class Mangled(Temporary):
    """What arrived differs from what was sent."""


class SourceChanged(Temporary):
    """The source was written to while it was moved."""

    advice = "choose a completeness rule (`settle`) that waits for its writer"


class Busy(Temporary):
    """The other side asked to come back later."""


class Permanent(MoverError):
    """The same act can never succeed."""


class SourceGone(Permanent):
    """There is no such source."""


class NameRefused(Permanent):
    """The other side will not have this name."""


class Fatal(MoverError):
    """Nothing can succeed at this place until somebody changes something."""


class LoginRefused(Fatal):
    """User, password or key is not accepted."""

    advice = "check the credentials of this place"


class HostUnproven(Fatal):
    """The host could not prove who it is."""

    advice = "check its host key or certificate before you trust it"


class NoSpace(Fatal):
    """The place is full, or over its quota."""

    advice = "make room there; the work goes on by itself"


class ReadOnly(Fatal):
    """Nothing can be written there."""

    advice = "mount it writable; a service of systemd writes only where `ReadWritePaths=` says"


class Misconfigured(Fatal):
    """The options can't work."""


@contextmanager
def translated(where: str, table: Callable[[Exception], MoverError | None]) -> Iterator[None]:
    """Turn what a protocol library raises inside into our errors, by the mover's table.

    The table gets the exception and gives our error, or None for an exception it does not know (which then
    passes: an unknown exception is a bug to be seen, not a failure to be retried).
    """
    try:
        yield
    except MoverError as error:
        error.where = error.where or where
        raise
    except Exception as error:
        ours = table(error)
        if ours is None:
            raise
        ours.where = ours.where or where
        raise ours from error


def of_system(error: OSError, *, where: str = "", absent: type[MoverError] = SourceGone) -> MoverError:
    """Our error for one of the operating system; absent is what a missing file or folder means here."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.ENOENT:
        return absent(reason, where=where)
    if isinstance(error, socket.gaierror):
        return Unreachable(f"host name not found ({reason})", where=where)
    if isinstance(error, TimeoutError):
        return TimedOut(reason, where=where)
    if isinstance(error, ConnectionError):
        return Unreachable(reason, where=where)
    return _BY_ERRNO.get(error.errno or 0, Temporary)(reason, where=where)


_BY_ERRNO: dict[int, type[MoverError]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), NoSpace),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EFBIG, errno.ELOOP, errno.EMLINK), Permanent),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EXDEV), Permanent),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ), NameRefused),
    **dict.fromkeys((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN), Unreachable),
    **dict.fromkeys((errno.ENOTCONN, errno.ESTALE, errno.EREMOTEIO), Unreachable),
    errno.EROFS: ReadOnly,
    errno.EBUSY: Busy,
}
