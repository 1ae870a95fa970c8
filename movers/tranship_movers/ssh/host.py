"""Who the host is: the keys that we know of it, and whether it has one of them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from tranship_movers.errors import HostUnproven, Misconfigured
from tranship_movers.place import Place
from tranship_movers.ssh.options import SshOptions

PORT = 22


@dataclass(frozen=True, slots=True)
class Known:
    """One line of a known_hosts file that is about our host."""

    kind: str
    key: str
    is_revoked: bool = False


def known_keys(place: Place, options: SshOptions) -> tuple[Known, ...]:
    """The keys that the host of place may have, or may not; none if its fingerprint is pinned."""
    if options.fingerprint:
        return ()
    return tuple(known for path in options.known_hosts for known in _read_known(path, _host_name(place)))


def _read_known(path: Path, host: str) -> Iterator[Known]:
    """The lines of a known_hosts file about host (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    try:
        text = path.expanduser().read_text(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise Misconfigured(f"`known_hosts` {path}: {error.strerror}") from error
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if line.startswith("@") else ""
        if len(fields) >= 3 and marker in ("", "@revoked") and _is_named(host, fields[0]):
            yield Known(fields[1], fields[2], is_revoked=bool(marker))


def _host_name(place: Place) -> str:
    host, port = place.host.lower(), place.port or PORT
    return host if port == PORT else f"[{host}]:{port}"


def _is_named(host: str, names: str) -> bool:
    if names.startswith("|1|"):
        return paramiko.HostKeys.hash_host(host, names) == names
    matches = [name for name in names.lower().split(",") if _matches(host, name.removeprefix("!"))]
    return bool(matches) and not any(name.startswith("!") for name in matches)


def _matches(host: str, pattern: str) -> bool:
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), host))


def prefer(transport: paramiko.Transport, known: Iterable[Known]) -> None:
    """Ask first for the types of key that we know of the host: it may have others as well."""
    kinds = {known.kind for known in known if not known.is_revoked}
    security = transport.get_security_options()
    wanted = [kind for kind in security.key_types if _plain(kind) in kinds]
    security.key_types = (*wanted, *(kind for kind in security.key_types if kind not in wanted))


def _plain(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def prove(key: paramiko.PKey, known: tuple[Known, ...], place: Place, options: SshOptions) -> None:
    """Raise HostUnproven unless key is the one that the host should have."""
    print_, text = key.fingerprint, key.get_base64()
    if options.fingerprint:
        if print_ not in options.fingerprint:
            raise HostUnproven(f"its key ({key.get_name()} {print_}) is not the pinned one")
        return
    if any(known.is_revoked and known.key == text for known in known):
        raise HostUnproven(f"its key ({key.get_name()} {print_}) is revoked")
    valid = [known.key for known in known if not known.is_revoked]
    if text in valid:
        return
    if valid:
        raise HostUnproven(f"its key ({key.get_name()} {print_}) is not the one in `known_hosts`")
    if options.unknown_host == "refuse":
        raise HostUnproven(f"the host is not in `known_hosts` (its key: {key.get_name()} {print_})")
    if options.unknown_host == "remember":
        _remember(f"{_host_name(place)} {key.get_name()} {text}\n", options.known_hosts)


def _remember(line: str, paths: tuple[Path, ...]) -> None:
    if not paths:
        raise Misconfigured("`unknown_host: remember` needs a file in `known_hosts`")
    path = paths[0].expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(line)
    except OSError as error:
        raise Misconfigured(f"`known_hosts` {path}: {error.strerror}") from error
