"""The line: a connection to a host that has proved who it is, where we are logged in."""

import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import paramiko

from tranship_movers.errors import (
    LoginRefused,
    Misconfigured,
    MoverError,
    Temporary,
    TimedOut,
    Unreachable,
)
from tranship_movers.place import Place
from tranship_movers.ssh.host import PORT, Known, known_keys, prefer, prove
from tranship_movers.ssh.lane import Lane
from tranship_movers.ssh.meanings import failure
from tranship_movers.ssh.options import SshOptions
from tranship_movers.ssh.proof import Proof, proofs
from tranship_movers.ssh.stream import NO_COMMAND, Plain, Ran, Stream
from tranship_movers.ssh.wire import Wire


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
            known = known_keys(place, options)
            with proofs(place, options) as ours:
                self._log_in(ours, lambda: self._proven(place, options, known, deadline), deadline)

    def subsystem(self, name: str) -> Stream | None:
        """A stream to the server's subsystem name; None if the server has no such thing."""
        return self._stream(lambda channel: channel.invoke_subsystem(name))

    def execute(self, command: str) -> Stream:
        """A stream to command, run by the shell of the server. Raises Misconfigured if it runs none."""
        stream = self._stream(lambda channel: channel.exec_command(command.encode(errors="surrogateescape")))
        if stream is None:
            raise Misconfigured("the server runs no commands", where=self.where)
        return stream

    def run(self, command: str) -> Ran:
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
        self, place: Place, options: SshOptions, known: tuple[Known, ...], deadline: float
    ) -> paramiko.Transport:
        """A new connection to a host that has proved who it is."""
        self._transport = transport = _transport(place, options, deadline)
        with self._answered_by(deadline):
            prefer(transport, known)
            transport.start_client()
            prove(transport.get_remote_server_key(), known, place, options)
        return transport

    def _log_in(
        self, proofs: Iterable[Proof], connected: Callable[[], paramiko.Transport], deadline: float
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

    def _stream(self, ask: Callable[[paramiko.Channel], None]) -> Stream | None:
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
                way.close()
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
