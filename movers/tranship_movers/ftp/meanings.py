"""What a failure of an FTP server means: its replies by table, the network's and TLS's words."""

import ftplib
import re
import ssl

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


class Refused(Exception):
    """The server did not do what verb asked; its reply holds no password."""

    def __init__(self, verb: str, code: str, text: str, words: str) -> None:
        super().__init__(f"{verb}: {code} {text}")
        self.verb = verb
        self.code = code
        self.text = text
        self.words = words
        """The text without the name that was asked for."""

    @property
    def asks_for_later(self) -> bool:
        """Whether the server hangs up for now."""
        return self.code == "421"

    @property
    def is_for_good(self) -> bool:
        """Whether the server will always refuse it."""
        return self.code.startswith("5") and not isinstance(meaning_of_reply(self), NoSpace)

    @property
    def is_about_data(self) -> bool:
        """Whether only the data connection failed."""
        return self.code in ("425", "426")

    @property
    def forbids(self) -> bool:
        """Whether it is a question of rights."""
        return _FORBIDDEN.search(self.words) is not None

    @property
    def is_unknown(self) -> bool:
        """Whether the server does not know the command at all."""
        return self.code in ("500", "502", "504")


class InTheWay(Permanent):
    """The server refuses to write over a file that is there."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.verb} was refused: {refused.code} {refused.text}")


class BrokenOff(Exception):
    """Whoever hears of the progress wants no more."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


MEANINGS: dict[tuple[str, str], type[MoverError]] = {
    ("", "4"): Temporary,
    ("", "5"): Permanent,
    ("", "421"): Busy,
    ("", "425"): Unreachable,
    ("", "426"): Unreachable,
    ("", "430"): LoginRefused,
    ("", "434"): Unreachable,
    ("", "452"): NoSpace,
    ("", "503"): Temporary,
    ("", "522"): Misconfigured,
    ("", "530"): LoginRefused,
    ("", "532"): LoginRefused,
    ("", "533"): Misconfigured,
    ("", "534"): Misconfigured,
    ("", "535"): Misconfigured,
    ("", "536"): Misconfigured,
    ("", "537"): Misconfigured,
    ("", "552"): NoSpace,
    ("", "553"): NameRefused,
    ("RETR", "550"): SourceGone,
    ("RETR", "551"): SourceGone,
    ("RNFR", "550"): SourceGone,
    ("USER", "5"): LoginRefused,
    ("PASS", "5"): LoginRefused,
    ("ACCT", "5"): LoginRefused,
    ("AUTH", "5"): Misconfigured,
    ("PBSZ", "5"): Misconfigured,
    ("PROT", "5"): Misconfigured,
    ("TYPE", "5"): Misconfigured,
    ("EPSV", "5"): Misconfigured,
    ("PASV", "5"): Misconfigured,
    ("EPRT", "5"): Misconfigured,
    ("PORT", "5"): Misconfigured,
}
"""What a reply means, by the command ("": any) and the code or its first digit; the most exact row holds."""

WORDS: tuple[tuple[re.Pattern[str], frozenset[str], type[MoverError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), frozenset(classes), meaning)
    for pattern, classes, meaning in (
        (r"no space|disk(?: is)? full|(?:over|exceed\w*|disk) (?:\w+ )?quota|quota exceeded", "45", NoSpace),
        (r"insufficient (?:disk |storage )?space|not enough (?:disk )?space", "45", NoSpace),
        (r"too many|maximum (?:number|allowed)|max(?:imum)? (?:clients|connections|users)", "L", Busy),
    )
)
"""Where servers put one failure under many codes, their words tell ("L": in reply to a login)."""

_FORBIDDEN = re.compile(r"permission|denied|not allowed|privilege|forbidden|not permitted", re.IGNORECASE)
_LOGIN = frozenset({"USER", "PASS", "ACCT"})
_NO_TLS_IN_COMMON = re.compile(r"VERSION|PROTOCOL|CIPHER|HANDSHAKE_FAILURE|HTTP_REQUEST|NO_APPLICATION")


def meaning_of(error: Exception, seconds: float = 0) -> MoverError | None:
    """The error that an exception means, None for one that can't be known here."""
    match error:
        case Refused():
            return meaning_of_reply(error)
        case ssl.SSLCertVerificationError():
            return HostUnproven(f"its certificate is not accepted: {error.verify_message}")
        case TimeoutError():
            return TimedOut(f"no progress for {seconds:g} s")
        case ssl.SSLError():
            return _meaning_of_tls(error)
        case ftplib.Error():
            return Unreachable("it answers what nobody understands")
        case EOFError():
            return Unreachable("the server hung up")
        case OSError():
            return of_system(error, absent=Unreachable)
    return None


def meaning_of_reply(refused: Refused) -> MoverError:
    """The error that a refusal means: by its words, else by `MEANINGS`."""
    kind = "L" if refused.verb in _LOGIN else refused.code[:1]
    reason = f"{refused.verb} was refused: {refused.code} {refused.text}".rstrip()
    for pattern, classes, meaning in WORDS:
        if kind in classes and pattern.search(refused.words):
            return meaning(reason)
    meaning = _row(refused)
    if refused.forbids and issubclass(meaning, SourceGone):
        meaning = Permanent
    if issubclass(meaning, LoginRefused):
        # The server's words may hold the user's name.
        return meaning(f"user or password was not accepted ({refused.code})")
    return meaning(reason)


def _row(refused: Refused) -> type[MoverError]:
    for row in (
        (refused.verb, refused.code),
        (refused.verb, refused.code[:1]),
        ("", refused.code),
        ("", refused.code[:1]),
    ):
        if row in MEANINGS:
            return MEANINGS[row]
    return Unreachable


def _meaning_of_tls(error: ssl.SSLError) -> MoverError:
    reason = error.reason or ""
    if "BAD_RECORD_MAC" in reason or "DECRYPTION_FAILED" in reason:
        return Mangled("what came over TLS was damaged")
    if _NO_TLS_IN_COMMON.search(reason):
        return Misconfigured(f"the server speaks no TLS that we speak ({reason})")
    return Unreachable(f"TLS broke off ({reason})" if reason else "TLS broke off")
