"""The mover of SFTP, and what it can be told."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ByteSize, Field

from tranship_movers.contract import Facts, Powers, Progress, unheard
from tranship_movers.errors import (
    Misconfigured,
)
from tranship_movers.place import Place
from tranship_movers.sftp.conversation import CLONE, Sftp
from tranship_movers.ssh import Line, SshOptions


class SftpOptions(SshOptions):
    """What an SFTP place can be told."""

    request_size: ByteSize | None = Field(
        default=None,
        ge=1024,
        description="Bytes in one request; if not given, as many as the server says it takes, at most 255 KiB.",
    )


class SftpMover:
    """Files at a server that speaks SFTP."""

    options = SftpOptions

    def __init__(self, place: Place, options: SftpOptions) -> None:
        """Connect to place, log in, and begin the conversation."""
        self._line = Line(place, options)
        stream = self._line.subsystem("sftp")
        if stream is None:
            self._line.close()
            raise Misconfigured("the server has no SFTP; if it has scp, use scp://", where=str(place))
        self._sftp = Sftp(stream, self._line, options, options.request_size)
        self._sums = frozenset(options.remote_checksums)
        self.powers = self._powers()

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.put`."""
        self._sftp.write(source, name, offset, progress)
        self.powers = self._powers()

    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        """As `Mover.get`."""
        self._sftp.read(name, target, offset, progress)

    def stat(self, name: str) -> Facts | None:
        """As `Mover.stat`; a symbolic link is followed."""
        return self._sftp.stat(name)

    def list(self, folder: str) -> Iterator[Facts]:
        """As `Mover.list`; symbolic links are followed."""
        return self._sftp.list(folder)

    def remove(self, name: str) -> None:
        """As `Mover.remove`."""
        self._sftp.remove(name)

    def rename(self, old: str, new: str) -> None:
        """As `Mover.rename`."""
        self._sftp.rename(old, new)

    def make_folders(self, folder: str) -> None:
        """As `Mover.make_folders`."""
        self._sftp.make_folders(folder)

    def checksum(self, name: str, algorithm: str) -> str | None:
        """As `Mover.checksum`, by a command there, if the options say so."""
        return self._line.checksum(name, algorithm) if algorithm in self._sums else None

    def alive(self) -> bool:
        """As `Mover.alive`; the server is asked."""
        return self._line.is_open and self._sftp.alive()

    def close(self) -> None:
        """As `Mover.close`."""
        self._line.close()

    def _powers(self) -> Powers:
        kept, replaces, able = (
            self._sftp.keeps_attributes,
            self._sftp.replaces,
            CLONE not in self._line.software,
        )
        return Powers(
            replace=replaces,
            append=able,
            resumes=self._sftp.out_of_order,
            mtime=kept,
            mode=kept and able,
            checksums=self._sums,
        )
