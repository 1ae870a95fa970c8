"""Logins that stand in files of their own, named by `login_file`."""

import os
from pathlib import Path
from typing import Literal, Protocol, Self, TypeVar

from pydantic import SecretStr

from tranship.config.checks import open_to_others
from tranship.config.findings import Place, Report

Unseen = Literal["warn", "error"]
"""What it is that a file given by systemd can't be seen: odd (the configuration is checked elsewhere), or wrong."""


class LogsIn(Protocol):
    """A block of options that may hold a login, or name the file that does."""

    @property
    def login_file(self) -> str | None:
        """The file."""

    def model_copy(self, *, update: dict[str, SecretStr]) -> Self:
        """A copy with other values."""


L = TypeVar("L", bound=LogsIn)


def with_login(options: L, place: Place, report: Report, unseen: Unseen) -> L:
    """The options with the login that their file holds; what is wrong with it goes into the report."""
    if options.login_file is None:
        return options
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(folder, options.login_file.removeprefix("$CREDENTIALS_DIRECTORY/"))
    if not path.is_absolute():
        tell = report.warn if unseen == "warn" else report.error
        tell(
            place,
            "can't be looked at, as $CREDENTIALS_DIRECTORY is not set",
            "give a full path, or start by systemd",
        )
        return options
    try:
        login = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        report.error(
            place, f"{path} can't be read: {getattr(error, 'strerror', 'no UTF-8')}", "mend path or rights"
        )
        return options
    if "\n" in login or not login.partition(":")[0]:
        report.error(place, f"{path} holds no login", "write user:password there, in one line")
    if open_to_others(path):
        report.warn(place, f"everybody on this host may read {path}", f"chmod o-rwx {path}")
    return options.model_copy(update={"login": SecretStr(login)})
