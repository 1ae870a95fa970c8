"""What a status, or an exception of the network, means."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import h11

from tranship_movers.contract import Progress
from tranship_movers.errors import (
    Busy,
    HostUnproven,
    LoginRefused,
    Mangled,
    Misconfigured,
    MoverError,
    NameRefused,
    NoSpace,
    Permanent,
    SourceGone,
    Temporary,
    TimedOut,
    Unreachable,
    of_system,
)

STATUS: dict[int, tuple[type[MoverError], str]] = {
    202: (Temporary, "the server only promises to do it later"),
    207: (Permanent, "the server did it in part only"),
    400: (Permanent, "the server does not understand it"),
    401: (LoginRefused, "user, password or token is not accepted"),
    402: (LoginRefused, "the server wants to be paid"),
    403: (Permanent, "this is not allowed there"),
    404: (SourceGone, "there is no such name"),
    405: (Permanent, "the server does not do this there"),
    406: (Permanent, "the server has it in no form we take"),
    407: (LoginRefused, "a proxy wants a login"),
    408: (TimedOut, "the server waited too long for us"),
    409: (Permanent, "its folder is missing, or something is in the way"),
    410: (SourceGone, "it is gone for good"),
    411: (Permanent, "the server wants a length"),
    412: (Temporary, "it changed in the meantime"),
    413: (Permanent, "it is larger than the server takes"),
    414: (NameRefused, "the name is too long"),
    415: (Permanent, "the server does not take this type"),
    416: (Mangled, "it became shorter in the meantime"),
    417: (Permanent, "the server can't do what is expected"),
    421: (Temporary, "the wrong server answered"),
    422: (Permanent, "the server can't process it"),
    423: (Busy, "it is locked"),
    424: (Permanent, "something it depends on failed"),
    425: (Busy, "it came too early"),
    426: (Misconfigured, "the server wants another protocol"),
    428: (Permanent, "the server wants a condition"),
    429: (Busy, "too many requests"),
    431: (NameRefused, "name or login is too long"),
    451: (Permanent, "it is withheld for legal reasons"),
    500: (Temporary, "the server failed"),
    501: (Misconfigured, "the server can't do this at all"),
    502: (Temporary, "a gateway failed"),
    503: (Busy, "the server is overloaded or in maintenance"),
    504: (TimedOut, "a gateway waited too long"),
    505: (Misconfigured, "the server does not speak HTTP/1.1"),
    507: (NoSpace, "the place is full"),
    508: (Permanent, "the server found a loop"),
    511: (LoginRefused, "the network wants a login"),
}

CLASSES: dict[int, tuple[type[MoverError], str]] = {
    2: (Permanent, "the answer makes no sense here"),
    3: (Permanent, "it is somewhere else; put the new URL into the configuration"),
    4: (Permanent, "the server refuses"),
    5: (Temporary, "the server failed"),
}


def refusal(status: int, act: str, wait: str = "") -> MoverError:
    """The error that a status means; act says what was asked, wait is the `Retry-After` that came with it."""
    kind, meaning = STATUS.get(status) or CLASSES.get(status // 100) or CLASSES[2]
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    pause = f"; the server asks to wait {wait} s" if re.fullmatch(r"\d{1,6}", wait) else ""
    return kind(f"{act}: {meaning} ({f'{status} {phrase}'.strip()}){pause}")


FAILURES: tuple[tuple[type[Exception], type[MoverError], str], ...] = (
    (ssl.SSLCertVerificationError, HostUnproven, "its certificate is not accepted"),
    (TimeoutError, TimedOut, "nothing came or went for too long"),
    (ssl.SSLError, Unreachable, "TLS failed"),
    (socket.gaierror, Unreachable, "its name is not known"),
    (ConnectionRefusedError, Unreachable, "the connection was refused"),
    (ConnectionError, Unreachable, "the line was cut"),
    (h11.RemoteProtocolError, Unreachable, "the answer was cut, or is not HTTP"),
    (OSError, Unreachable, "the network failed"),
    (UnicodeError, Misconfigured, "its name is no host name"),
)


def failure(error: Exception) -> MoverError | None:
    """The error that an exception of the network means, or None if it is none."""
    for kind, ours, meaning in FAILURES:
        if isinstance(error, kind):
            detail = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
            return ours(f"{meaning}: {detail}" if detail else meaning)
    return None


@contextmanager
def on_our_side(file: Path, absent: type[MoverError]) -> Iterator[None]:
    """Translate what our own system says of file, so that it is not taken for the network's words."""
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(file), absent=absent) from error


class BrokenOff(Exception):
    """Carries what progress raised past everything that translates or repeats."""

    def __init__(self, error: Exception) -> None:
        """Carry error."""
        super().__init__()
        self.error = error


def tell(progress: Progress, size: int) -> None:
    """Tell progress of size bytes."""
    try:
        progress(size)
    except Exception as error:
        raise BrokenOff(error) from error
