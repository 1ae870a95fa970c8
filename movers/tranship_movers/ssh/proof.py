"""Who we are: our keys, and the password, offered one after another."""

import getpass
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import paramiko

from tranship_movers.errors import Misconfigured
from tranship_movers.place import Place
from tranship_movers.ssh.options import SshOptions


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof of who we are: what it is called, and how it is offered."""

    word: str
    offer: Callable[[paramiko.Transport], list[str]] = field(repr=False)

    def offered(self, transport: paramiko.Transport) -> Literal["accepted", "in part", "refused", "cut"]:
        """What the server says to it; "in part" if it wants another one as well."""
        try:
            return "in part" if self.offer(transport) else "accepted"
        except paramiko.AuthenticationException:
            return "refused" if transport.is_active() else "cut"


@contextmanager
def proofs(place: Place, options: SshOptions) -> Iterator[Iterator[Proof]]:
    """Our keys, then the password, to be offered inside the block."""
    unnamed = not options.key_files and place.password is None
    if options.agent == "use" or (options.agent == "auto" and unnamed):
        agent = paramiko.Agent()
        with closing(agent):
            yield _in_turn(place, options, lambda: (*agent.get_keys(), *_own_keys(_passphrase(options))))
    else:
        yield _in_turn(place, options, tuple)


def _in_turn(
    place: Place, options: SshOptions, others: Callable[[], Iterable[paramiko.PKey]]
) -> Iterator[Proof]:
    user = place.user or getpass.getuser()

    def key_proof(key: paramiko.PKey) -> Proof:
        return Proof(f"key {key.fingerprint}", lambda transport: transport.auth_publickey(user, key))

    for path in options.key_files:
        yield key_proof(_loaded(path, _passphrase(options)))
    yield from map(key_proof, others())
    if place.password is not None:
        password = place.password.get_secret_value()
        yield Proof("the password", lambda transport: transport.auth_password(user, password))


def _passphrase(options: SshOptions) -> bytes | None:
    if options.passphrase_file is None:
        return None
    try:
        return options.passphrase_file.expanduser().read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise Misconfigured(f"`passphrase_file` {options.passphrase_file}: {error.strerror}") from error


def _loaded(path: Path, passphrase: bytes | None) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path.expanduser(), cast(str | None, passphrase))  # It wants bytes.
    except OSError as error:
        raise Misconfigured(f"`key_files` {path}: {error.strerror}") from error
    except Exception:  # noqa: BLE001  (paramiko and cryptography share no base here; what they say may hold the key)
        raise Misconfigured(f"`key_files` {path}: no private key, or not with this passphrase") from None


def _own_keys(passphrase: bytes | None) -> Iterator[paramiko.PKey]:
    for kind in ("ed25519", "ecdsa", "rsa"):
        path = Path("~/.ssh").expanduser() / f"id_{kind}"
        if os.access(path, os.R_OK):
            with suppress(Misconfigured):  # One that nobody named need not be usable.
                yield _loaded(path, passphrase)
