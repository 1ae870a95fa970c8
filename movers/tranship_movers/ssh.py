"""One SSH connection, as `sftp` and `scp` need it: who the host is, who we are, and a deadline on everything.

`paramiko` knows the protocol. It waits without end in some places and tells a cut line from a long silence in
few; here both are mended: an open question is bounded by a timer, a write by `Wire`, a read by the channel.
"""

import errno
import getpass
import logging
import os
import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, cast

import paramiko
from paramiko.ssh_exception import IncompatiblePeer
from pydantic import AliasChoices, BeforeValidator, ByteSize, Field

from tranship_movers.errors import (
    Busy,
    Fatal,
    HostUnproven,
    LoginRefused,
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
from tranship_movers.lane import Bytes, Lane
from tranship_movers.options import MoverOptions
from tranship_movers.place import Place
from tranship_movers.units import Patience
from tranship_movers.wire import Wire

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # Else its errors go to stderr by themselves.

PORT = 22
NO_COMMAND = 127
"""The exit status of a shell that does not know the command."""

LITTLE = 1024
"""Bytes that are taken from paramiko at least, so that short replies come several at once."""

PIECE = 256 * 1024
"""Bytes that are taken from a stream at once, if there are so many."""


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str | Path) else value


def _worded(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Words = Annotated[tuple[str, ...], BeforeValidator(_worded)]


class SshOptions(MoverOptions):
    """What everything that goes over SSH can be told."""

    connect_timeout: Patience | None = Field(
        default=None,
        validation_alias=AliasChoices("connect_timeout", "ssh_connection_timeout"),
        description="Connecting and logging in may take so long together; as `timeout`, if not given.",
    )
    key_files: Paths = Field(
        default=(),
        validation_alias=AliasChoices("key_files", "ssh_key_filename", "ssh_private_key_file"),
        description="Private keys to log in with; a certificate beside one (NAME-cert.pub) is used with it.",
    )
    passphrase_file: Path | None = Field(
        default=None, description="A file that holds the passphrase of the private keys."
    )
    agent: Literal["auto", "use", "ignore"] = Field(
        default="auto",
        description="Whether to log in with the keys of the SSH agent and with ~/.ssh/id_*; `auto`: only if "
        "neither a key file nor a password is given.",
    )
    known_hosts: Paths = Field(
        default=(Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts")),
        description="Files with the keys of known hosts, as OpenSSH writes them.",
    )
    fingerprint: Words = Field(
        default=(),
        description="The host must have one of these keys (SHA256:…); `known_hosts` is then not asked.",
    )
    unknown_host: Literal["refuse", "remember", "accept"] = Field(
        default="refuse",
        description="What to do with a host that `known_hosts` does not know; `remember` writes its key "
        "there. A host with another key than the known one is always refused.",
    )
    ciphers: Words = Field(
        default=(
            "aes128-gcm@openssh.com",
            "aes256-gcm@openssh.com",
            "aes128-ctr",
            "aes256-ctr",
            "aes192-ctr",
        ),
        description="Ciphers that may be used, the preferred one (by default the fastest) first.",
    )
    compression: Literal["none", "zlib"] = Field(
        default="none", description="Compress on the line; worth it on slow lines only."
    )
    attributes: Literal["keep", "leave"] = Field(
        default="keep",
        description="`leave`: modification time and mode are not set there, for servers that refuse it.",
    )
    remote_checksums: Annotated[tuple[Literal["xxh128", "sha256", "md5"], ...], BeforeValidator(_worded)] = (
        Field(
            default=(),
            description="Checksums to have computed there, by xxh128sum, sha256sum or md5sum: needs a login that may "
            "run commands, and costs a process there for each file.",
        )
    )
    window: ByteSize = Field(
        default=ByteSize(2 << 20),
        ge=1 << 15,
        description="Bytes that may be under way to us. More helps long lines only; elsewhere it costs speed.",
    )


@contextmanager
def here(path: Path, absent: type[MoverError] = SourceGone) -> Iterator[None]:
    """Translate what our own file system says of path, so that it is not taken for the server's words."""
    try:
        yield
    except OSError as error:
        raise of_system(error, where=str(path), absent=absent) from error


class Line:
    """An SSH connection to a place, logged in. It is closed by the first error that leaves it in doubt."""

    def __init__(self, place: Place, options: SshOptions) -> None:
        """Connect, prove the host, log in. Raises Unreachable, TimedOut, HostUnproven or LoginRefused."""
        self._place = place
        self.where = str(place)
        self.timeout = max(options.timeout.total_seconds(), 0.001)
        patience = options.connect_timeout or options.timeout
        self._transport: paramiko.Transport | None = None
        with self.guarded():
            deadline = time.monotonic() + max(patience.total_seconds(), 0.001)
            known = _known_keys(place, options)
            with _proofs(place, options) as proofs:
                self._log_in(proofs, lambda: self._proven(place, options, known, deadline), deadline)

    def subsystem(self, name: str) -> "Stream | None":
        """A stream to the server's subsystem name; None if the server has no such thing."""
        return self._stream(lambda channel: channel.invoke_subsystem(name))

    def execute(self, command: str) -> "Stream":
        """A stream to command, run by the shell of the server. Raises Misconfigured if it runs none."""
        stream = self._stream(lambda channel: channel.exec_command(command.encode(errors="surrogateescape")))
        if stream is None:
            raise Misconfigured("the server runs no commands", where=self.where)
        return stream

    def run(self, command: str) -> "Ran":
        """Run command at the server, and wait for its end."""
        stream = self.execute(command)
        try:
            stream.end()
            output = b"".join(map(bytes, iter(stream.receive, b"")))
            return Ran(stream.status(), output, stream.complaint())
        finally:
            stream.close()

    def checksum(self, name: str, algorithm: str) -> str | None:
        """The hex digest of name, computed there by e.g. `sha256sum`; None if there is no such command."""
        ran = self.run(f"{algorithm}sum < {shlex.quote(name)}")
        if ran.status == NO_COMMAND:
            return None
        digest = ran.output.split(maxsplit=1)[0].decode(errors="replace") if ran.output else ""
        if ran.status or not re.fullmatch("[0-9a-fA-F]{32,}", digest):
            raise Temporary(f"{algorithm}sum gave no checksum", where=self.at(name))
        return digest.lower()

    def at(self, name: str) -> str:
        """The URL of name, as it may be shown."""
        return str(self._place.at(name))

    @property
    def software(self) -> str:
        """What the server calls itself ("SSH-2.0-OpenSSH_9.2")."""
        return str(getattr(self._transport, "remote_version", ""))

    @property
    def is_open(self) -> bool:
        """Whether the line is not known to be dead; nothing is asked."""
        return self._transport is not None and self._transport.is_active()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Translate what paramiko and the network raise inside; the line is closed then."""
        try:
            yield
        except MoverError as error:
            self.close()
            error.where = error.where or self.where
            raise
        except Exception as error:
            self.close()
            ours = failure(error)
            if ours is None:
                raise
            ours.where = self.where
            raise ours from error

    def _proven(
        self, place: Place, options: SshOptions, known: tuple["Known", ...], deadline: float
    ) -> paramiko.Transport:
        """A new connection to a host that has proved who it is."""
        self._transport = transport = _transport(place, options, deadline)
        with self._answered_by(deadline):
            _prefer(transport, known)
            transport.start_client()
            _prove(transport.get_remote_server_key(), known, place, options)
        return transport

    def _log_in(
        self, proofs: Iterable["Proof"], connected: Callable[[], paramiko.Transport], deadline: float
    ) -> None:
        """Offer proofs of who we are until one is accepted. Raises LoginRefused if none is."""
        refused: list[str] = []
        transport, is_fresh = connected(), True
        with self._answered_by(deadline):
            for proof in proofs:
                if not transport.is_active():
                    transport, is_fresh = connected(), True
                answer = proof.offered(transport)
                if answer == "cut" and not is_fresh:
                    # Some servers hang up on a second proof, because paramiko begins anew with each.
                    transport = connected()
                    answer = proof.offered(transport)
                if answer == "accepted":
                    return
                if answer == "cut" and not refused:
                    raise Unreachable("the line was cut while we logged in")
                refused.append(proof.word)
                is_fresh = False
        raise LoginRefused(f"refused: {', '.join(refused)}" if refused else "no key and no password is given")

    def _stream(self, ask: Callable[[paramiko.Channel], None]) -> "Stream | None":
        with self.guarded(), self._answered_by(time.monotonic() + self.timeout):
            if self._transport is None or not self._transport.is_active():
                raise Unreachable("the line was cut")
            wire = cast(Wire, self._transport.packetizer)
            wire.leave()
            channel = self._transport.open_session(timeout=2 * self.timeout)
            channel.settimeout(self.timeout)
            way = Lane(wire, channel, self._transport) if wire.is_short else Plain(channel)
            try:
                ask(channel)
            except paramiko.SSHException:
                if not self._transport.is_active():
                    raise
                return None
            return Stream(channel, way, self)

    @contextmanager
    def _answered_by(self, deadline: float) -> Iterator[None]:
        # paramiko has no deadline for some questions, but gives up all of them when the line is closed.
        late = threading.Event()

        def hang_up() -> None:
            late.set()
            self.close()

        timer = threading.Timer(max(deadline - time.monotonic(), 0), hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception as error:
            if late.is_set():
                raise TimedOut("the server does not answer") from error
            raise
        finally:
            timer.cancel()


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a command: its exit status (-1: killed), what it wrote, and what it complained of."""

    status: int
    output: bytes
    complaint: str


class Plain:
    """The bytes of a channel as paramiko brings them, where the short way does not go."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._inbox = bytearray()
        self.packet = channel.out_max_packet_size - 64

    def send(self, *parts: Bytes) -> bool:
        """As `Lane.send`."""
        for part in parts:
            rest = memoryview(part)
            while rest:
                sent = self._channel.send(bytes(rest[: self.packet]))
                if not sent:
                    return False
                rest = rest[sent:]
        return True

    def take(self, length: int) -> Bytes:
        """As `Lane.take`."""
        while len(self._inbox) < length:
            # No more than is needed, and a little: what lies in paramiko's buffer is moved with every read.
            data = self._channel.recv(max(length - len(self._inbox), LITTLE))
            if not data:
                raise EOFError
            self._inbox += data
        with memoryview(self._inbox) as view:
            taken = bytes(view[:length])
        del self._inbox[:length]
        return taken

    def receive(self, most: int) -> Bytes:
        """As `Lane.receive`."""
        return self._channel.recv(most)

    @property
    def is_waiting(self) -> bool:
        """As `Lane.is_waiting`."""
        return self._channel.recv_ready()

    def has_ended(self) -> bool:
        """As `Lane.has_ended`."""
        return self._channel.status_event.wait(self._channel.timeout)

    def close(self) -> None:
        """As `Lane.close`."""


class Stream:
    """Bytes to and from something that runs at the server. Each call waits at most the line's timeout."""

    def __init__(self, channel: paramiko.Channel, way: Lane | Plain, line: Line) -> None:
        self._channel = channel
        self._way = way
        self._line = line
        self.packet = way.packet
        """Bytes that go out in one packet."""

    def send(self, *parts: Bytes) -> bool:
        """Send all of parts, give whether the other side still takes any. What was sent need not have arrived."""
        with self._line.guarded():
            try:
                return self._way.send(*parts)
            except OSError:
                if not self._channel.closed or not self._line.is_open:
                    raise
                return False

    def take(self, length: int) -> Bytes:
        """The next length bytes, valid until more is asked for; waits. Raises Unreachable at the stream's end."""
        with self._line.guarded():
            return self._way.take(length)

    def receive(self, most: int = PIECE) -> Bytes:
        """The bytes that have come, valid until more is asked for; waits; none at the end of the stream."""
        with self._line.guarded():
            return self._way.receive(most)

    @property
    def is_waiting(self) -> bool:
        """Whether something has come that was not taken yet."""
        with self._line.guarded():
            return self._way.is_waiting

    def end(self) -> None:
        """Tell the other side that nothing more comes."""
        with self._line.guarded():
            self._channel.shutdown_write()

    def status(self) -> int:
        """The exit status of what ran at the other side; waits for it."""
        with self._line.guarded():
            if not self._way.has_ended():
                raise TimedOut("the command does not end")
            return self._channel.exit_status

    def complaint(self) -> str:
        """The last of what the other side wrote to its standard error."""
        text = bytearray()
        while self._channel.recv_stderr_ready():
            text += self._channel.recv_stderr(PIECE)
        return text[-500:].decode(errors="replace").strip()

    def close(self) -> None:
        """End the stream. Never raises."""
        self._way.close()
        with suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()


# ---------------------------------------------------------------- what an exception means

FAILURES: tuple[tuple[type[Exception], type[MoverError], str], ...] = (
    (paramiko.BadHostKeyException, HostUnproven, "the host has another key than the known one"),
    (
        paramiko.PasswordRequiredException,
        Misconfigured,
        "the private key needs a passphrase (`passphrase_file`)",
    ),
    (paramiko.AuthenticationException, LoginRefused, "user, password or key is not accepted"),
    (IncompatiblePeer, Misconfigured, "no cipher, key exchange or host key type in common with the server"),
    (paramiko.ChannelException, Busy, "the server opens no further session"),
    (paramiko.SSHException, Unreachable, "the SSH conversation broke off"),
    (EOFError, Unreachable, "the line was cut"),
)


def failure(error: Exception) -> MoverError | None:
    """The error that an exception of paramiko or of the network means, or None if it is none of them."""
    for kind, ours, meaning in FAILURES:
        if isinstance(error, kind):
            return ours(meaning)
    if isinstance(error, TimeoutError):
        return TimedOut("nothing came or went for too long")
    if isinstance(error, OSError):
        # A socket that was closed under us has no error number, or says that its descriptor is bad.
        if error.errno in (None, errno.EBADF, errno.EPIPE):
            return Unreachable("the line was cut")
        return of_system(error, absent=Unreachable)
    return None


TEXTS: tuple[tuple[str, type[MoverError], str], ...] = (
    ("no space left|disk full|file system full", NoSpace, "the place is full"),
    ("quota", NoSpace, "the quota is used up"),
    (
        "name too long|(invalid|illegal|unexpected) (file ?)?name",
        NameRefused,
        "the server will not have this name",
    ),
    ("no such file", SourceGone, "there is no such name"),
    ("permission denied|not permitted", Permanent, "permission denied"),
    ("is a directory|not a regular file", Permanent, "it is no plain file"),
    ("not a directory", Permanent, "it is no folder"),
    ("file exists", Permanent, "it exists already"),
    ("read-only file", Fatal, "the place is write-protected"),
    ("too many open files|resource temporarily|cannot fork", Busy, "the server is overloaded"),
)
"""What a server's plain words mean, by regular expression."""


def understood(said: str, name: str = "") -> tuple[type[MoverError], str] | None:
    """What the server means by the words it said of name: the error and its reason; None if we don't know."""
    last = name.rpartition("/")[2]
    parts = [part for part in said.split(": ") if not f"/{part}".rstrip("'\"").endswith(f"/{last}")]
    for pattern, kind, meaning in TEXTS:
        if re.search(pattern, ": ".join(parts), re.IGNORECASE):
            return kind, meaning
    return None


# ---------------------------------------------------------------- the connection


def _transport(place: Place, options: SshOptions, deadline: float) -> paramiko.Transport:
    sock = _dialled(place.host, place.port or PORT, deadline)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(sock, default_window_size=options.window, packetizer_class=Wire)
        transport.get_security_options().ciphers = options.ciphers
    except ValueError:
        sock.close()
        raise Misconfigured(f"`ciphers` names an unknown cipher: {', '.join(options.ciphers)}") from None
    except BaseException:
        sock.close()
        raise
    seconds = options.timeout.total_seconds()
    wire = cast(Wire, transport.packetizer)
    wire.patience, wire.compresses = seconds, options.compression != "none"
    transport.clear_to_send_timeout = seconds
    # The one deadline for all of connecting is the timer's.
    never = max(deadline - time.monotonic(), 0) + 60
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = never
    transport.use_compression(options.compression == "zlib")
    return transport


def _dialled(host: str, port: int, deadline: float) -> socket.socket:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed = OSError("no address")
    for left, (family, kind, protocol, _, address) in zip(
        range(len(addresses), 0, -1), addresses, strict=True
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            # A dead address may not eat the time of the ones that come after it.
            sock.settimeout(max((deadline - time.monotonic()) / left, 0.001))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed


# ---------------------------------------------------------------- who the host is


@dataclass(frozen=True, slots=True)
class Known:
    """One line of a known_hosts file that is about our host."""

    kind: str
    key: str
    is_revoked: bool = False


def _known_keys(place: Place, options: SshOptions) -> tuple[Known, ...]:
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


def _prefer(transport: paramiko.Transport, known: Iterable[Known]) -> None:
    """Ask first for the types of key that we know of the host: it may have others as well."""
    kinds = {known.kind for known in known if not known.is_revoked}
    security = transport.get_security_options()
    wanted = [kind for kind in security.key_types if _plain(kind) in kinds]
    security.key_types = (*wanted, *(kind for kind in security.key_types if kind not in wanted))


def _plain(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _prove(key: paramiko.PKey, known: tuple[Known, ...], place: Place, options: SshOptions) -> None:
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


# ---------------------------------------------------------------- who we are


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
def _proofs(place: Place, options: SshOptions) -> Iterator[Iterator[Proof]]:
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
