"""share: a file is announced with what it takes to read it from elsewhere, by fsspec, instead of where to ask for it.

    file      {"uri": "ssh://host/path", "uid": the same, "filesystem": the JSON form of an fsspec file system}
    dataset   of an archive: per member {"uri": "zip://member::ssh://host/path", "uid": "zip://member", "filesystem": …}

A consumer gives the `filesystem` item to fsspec.AbstractFileSystem.from_json. No secret is in it: the consumer's own
configuration of fsspec holds its logins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tranship.packed import DAMAGE, Format, Plan, UnpackError, listed


class Protocol(StrEnum):
    """What consumers reach the files by."""

    SSH = "ssh"
    SFTP = "sftp"
    FILE = "file"


class Archive(StrEnum):
    """In what the files are packed together."""

    TAR = "tar"
    ZIP = "zip"


class _UnshareableError(Exception):
    """The file can't be announced so; the text says why."""


@dataclass(frozen=True, slots=True)
class Share:
    """What is said of the files of a chain."""

    protocol: Protocol
    host: str
    port: int | None
    username: str | None
    archive: Archive | None

    def __call__(self, path: str) -> dict[str, Any] | str:
        """What is said of the file at path; a text: why nothing can be. Blocking."""
        try:
            return self._said(path)
        except _UnshareableError as error:
            return str(error)

    def _said(self, path: str) -> dict[str, Any]:
        if self.archive is None:
            uri = self._uri(path)
            filesystem = {
                "cls": _CLASSES[self.protocol],
                "protocol": str(self.protocol),
                "args": [],
                **self._reached,
            }
            return {"uri": uri, "uid": uri, "filesystem": filesystem}
        filesystem = {
            "cls": _CLASSES[self.archive],
            "protocol": str(self.archive),
            "args": [],
            "fo": path,
            "target_protocol": str(self.protocol),
            "target_options": self._reached,
        }
        parts = []
        for member in _members(path, self.archive):
            uid = f"{self.archive}://{member}"
            parts.append({"uri": f"{uid}::{self._uri(path)}", "uid": uid, "filesystem": filesystem})
        return {"dataset": parts}

    @property
    def _reached(self) -> dict[str, Any]:
        if self.protocol is Protocol.FILE:
            return {}
        told = {"host": self.host, "port": self.port, "username": self.username}
        return {key: value for key, value in told.items() if value is not None}

    def _uri(self, path: str) -> str:
        if self.protocol is Protocol.FILE:
            return f"file://{path}"
        user = f"{self.username}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{self.protocol}://{user}{host}{port}{path}"


_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "ssh": "fsspec.implementations.sftp.SFTPFileSystem",
        "sftp": "fsspec.implementations.sftp.SFTPFileSystem",
        "file": "fsspec.implementations.local.LocalFileSystem",
        "zip": "fsspec.implementations.zip.ZipFileSystem",
        "tar": "fsspec.implementations.tar.TarFileSystem",
    }
)


def _members(path: str, archive: Archive) -> list[str]:
    try:
        found = listed(path, Plan(Format(archive)))
    except (OSError, UnpackError, *DAMAGE) as error:
        raise _UnshareableError(f"is no {archive} that can be read: {error}") from None
    if not found:
        raise _UnshareableError(f"this {archive} holds no file")
    bad = next(filter(_leads_out, found), None)
    if bad is not None:
        raise _UnshareableError(f"this {archive} holds {bad[:100]!r}, which is no proper name")
    return found


def _leads_out(name: str) -> bool:
    odd = any(ord(letter) < ord(" ") or "\ud800" <= letter <= "\udfff" for letter in name)
    return odd or name.startswith("/") or ".." in name.split("/")
