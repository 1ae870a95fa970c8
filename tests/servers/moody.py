"""An FTP server that refuses what a test wants refused, for as long as it wants that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from servers import ftp


class Mood:
    """What a server refuses: logins, and what goes into the folder `full`."""

    def __init__(self) -> None:
        self.refuses_login = False
        self.is_full = False
        self.room_for = ""
        """What still fits into what is full: names that hold this."""
        self.stores = 0


@contextmanager
def moody() -> Iterator[tuple[ftp.Ftp, Mood]]:
    """An FTP server of the folders full and other, and what it refuses at the moment."""
    with ftp.python_311():
        from pyftpdlib.handlers import FTPHandler
    mood = Mood()

    def ftp_pass(handler: Any, line: str) -> Any:
        if mood.refuses_login:
            return handler.respond("530 Login incorrect.")
        return FTPHandler.ftp_PASS(handler, line)

    def ftp_stor(handler: Any, file: str, mode: str = "w") -> Any:
        mood.stores += 1
        if mood.is_full and "/full/" in file and not (mood.room_for and mood.room_for in file):
            return handler.respond("552 Quota exceeded.")
        return FTPHandler.ftp_STOR(handler, file, mode)

    with ftp.pyftpd(ftp_PASS=ftp_pass, ftp_STOR=ftp_stor) as server:
        for folder in ("full", "other"):
            (server.folder / folder).mkdir()
        yield server, mood
