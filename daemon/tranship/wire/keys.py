"""Keys of CURVE, ZeroMQ's encryption: what is in their files, and who is spoken to with which.

A key file is a ZeroMQ certificate, as posttroll and `zmq.auth` write and read them: lines `public-key = "…"` and, in a
file that is to be kept, `secret-key = "…"`, each of 40 characters (Z85).
"""

import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from tranship.wire.contract import BusError, host_and_port

PUBLIC, SECRET = ".key", ".key_secret"
"""How the names of key files end."""
LARGEST = 1 << 16
"""Bytes; a larger file holds no key."""


class KeyFileError(BusError):
    """A file of keys can't be used; the text names it, says why, and what to do."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The key that others may know: 40 characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Both keys of somebody. The secret one is shown by nothing."""

    public: PublicKey
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Door:
    """What a process that others connect to needs: its own keys, whose it lets in, and (if any) from where only."""

    own: Pair
    clients: Path
    """The folder of the public keys; those in it at any time."""
    addresses: frozenset[str] = frozenset()
    """IP addresses; none: from anywhere."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a bus encrypts with. door None: nothing can be bound."""

    own: Pair
    """Who it is when it connects."""
    door: Door | None = None
    server: PublicKey | None = None
    """Whom it connects to, where `servers` says nothing."""
    servers: Mapping[str, PublicKey | None] = field(default_factory=dict)
    """Whom it connects to, by "host:port" or by host; None: in plain."""

    def server_at(self, address: str) -> PublicKey | None:
        """Who is expected at address (tcp://host:port); None: somebody without keys. Raises BusError."""
        host, port = host_and_port(address)
        for name in (f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host):
            if name in self.servers:
                return self.servers[name]
        if self.server is None:
            raise BusError(
                f"{address}: no public key of {host} is known; name its file in `curve`, under `server_keys`"
            )
        return self.server


def read_public(path: Path) -> PublicKey:
    """The public key in a file. Raises KeyFileError."""
    return PublicKey(_key(path, _entries(path), "public-key"))


def read_pair(path: Path) -> Pair:
    """The keys in a file that holds both, and that only its owner (and group) can read. Raises KeyFileError."""
    entries = _entries(path)
    if "secret-key" not in entries and "public-key" in entries:
        beside = path.with_suffix(SECRET)
        raise KeyFileError(f"{path}: holds a public key only, and the secret one is needed; name {beside}")
    pair = Pair(PublicKey(_key(path, entries, "public-key")), _key(path, entries, "secret-key").encode())
    if path.stat().st_mode & stat.S_IROTH:
        raise KeyFileError(
            f"{path}: everybody on this host may read this secret key; chmod 600 {path},"
            " and if somebody may have read it, make a new one: `tranship keys`"
        )
    if zmq.curve_public(pair.secret).decode() != pair.public.text:
        raise KeyFileError(f"{path}: its two keys do not belong together; make new ones: `tranship keys`")
    return pair


def make_pair(name: str, folder: Path) -> tuple[Path, Path]:
    """New keys: NAME.key, for others, and NAME.key_secret, mode 0600. Raises KeyFileError, also if there are some."""
    public, secret = (key.decode() for key in zmq.curve_keypair())
    told, kept = folder / f"{name}{PUBLIC}", folder / f"{name}{SECRET}"
    written = _written(kept, 0o600, "ZeroMQ CURVE **Secret** Certificate", public, secret)
    try:
        return _written(told, 0o644, "ZeroMQ CURVE Public Certificate", public), written
    except KeyFileError:
        kept.unlink()
        raise


def _written(path: Path, mode: int, title: str, public: str, secret: str = "") -> Path:
    lines = [f"#   {title}", "", "metadata", "curve", f'    public-key = "{public}"']
    lines += [f'    secret-key = "{secret}"'] if secret else []
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise KeyFileError(f"{path}: is there already, and may be in use; take another name") from None
    except OSError as error:
        raise KeyFileError(f"{path}: can't be written: {error.strerror}") from None
    return path


def _entries(path: Path) -> Mapping[str, str]:
    """The entries of a certificate, whatever they are."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        advice = "`tranship keys` makes keys; is this the path, and may this user read it?"
        raise KeyFileError(f"{path}: can't be read: {error.strerror}; {advice}") from None
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip(" \t'\"") for name, sign, value in pairs if sign}


def _key(path: Path, entries: Mapping[str, str], name: str) -> str:
    key = entries.get(name, "")
    try:
        sound = len(z85.decode(key.encode())) == 32
    except (ValueError, KeyError, struct.error):
        sound = False
    if not sound:
        raise KeyFileError(
            f"{path}: holds no {name.replace('-', ' ')} of ZeroMQ; is it a file of `tranship keys`"
            " or posttroll-generate-keys, and whole?"
        )
    return key
