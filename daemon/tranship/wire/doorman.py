"""Who may connect where sockets are closed by keys (CURVE), and who was refused.

libzmq asks in its own thread, by ZAP (ZeroMQ RFC 27), at an address that every context has once:

    REQ   inproc://zeromq.zap.01   "1.0", id, domain, IP address, identity, "CURVE", public key
    REP                            "1.0", id, "200" or "400", why, name, ""

Until it is answered nobody is in; if nobody answers, nobody gets in either. Who does not get as far as a key (speaks in
plain, or expects another server) is known only by the events of the socket.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from tranship.wire.arrivals import Odd, Oddities
from tranship.wire.contract import BusError, Guard
from tranship.wire.keys import PUBLIC, Door, KeyFileError, Keys, read_public
from tranship.wire.line import NOW, Context, Options

LOOK_EVERY = 2.0
"""Seconds between two looks at the folder of the clients' keys."""
FROM_ADDRESSES = 100
"""So many addresses of one client are remembered, the last."""


@dataclass(frozen=True, slots=True)
class Clients:
    """What is in a folder: keys (as text) with their files, files without and why, how it all looked."""

    files: Mapping[str, Path] = field(default_factory=dict)
    broken: Mapping[Path, str] = field(default_factory=dict)
    look: frozenset[tuple[str, int, int, int]] = frozenset()


def read_clients(folder: Path, before: Clients = Clients()) -> Clients:
    """The keys in the files *.key of folder; before, if it looks the same. Raises KeyFileError for no folder."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.path: entry.stat() for entry in entries if entry.name.endswith(PUBLIC)}
    except OSError as error:
        raise KeyFileError(
            f"{folder}: the folder of the clients' keys can't be read: {error.strerror};"
            " make it, and put each client's .key into it"
        ) from None
    look = frozenset((path, at.st_mtime_ns, at.st_size, at.st_ino) for path, at in found.items())
    if look == before.look:
        return before
    files, broken = {}, {}
    for path in map(Path, sorted(found)):
        try:
            files[read_public(path).text] = path
        except KeyFileError as error:
            broken[path] = str(error).removeprefix(f"{path}: ")
    return Clients(files, broken, look)


class Encryption:
    """What one bus does with its keys; without any, nothing."""

    def __init__(self, context: Context, keys: Keys | None, odd: Oddities) -> None:
        """Nothing is bound yet."""
        self._context = context
        self._keys = keys
        self._oddities = odd
        self._doorman: Doorman | None = None

    def of_connecting(self, address: str) -> Options:
        """The options of a connection to address. Raises BusError if the key of who should be there is not known."""
        keys = self._keys
        server = keys.server_at(address) if keys else None
        if keys is None or server is None:
            return {}
        return {
            zmq.CURVE_SERVERKEY: server.text.encode(),
            zmq.CURVE_PUBLICKEY: keys.own.public.text.encode(),
            zmq.CURVE_SECRETKEY: keys.own.secret,
        }

    def of_bound(self, address: str, guard: Guard) -> "Doorman | None":
        """Who closes a socket that is bound at address; None: nobody. Raises BusError if there are no keys for that."""
        if guard is Guard.NONE or (guard is Guard.IF_ANY and self._keys is None):
            return None
        door = self._keys.door if self._keys else None
        if door is None:
            raise BusError(
                f"{address} is to be closed by keys, and this process has started without: give `curve` with"
                " `secret_key_file` and `clients`, and start it again"
            )
        if self._doorman is None:
            self._doorman = Doorman(self._context, door, self._oddities)
        return self._doorman

    def close(self) -> None:
        """Let nobody in any more."""
        if self._doorman:
            self._doorman.close()


class Doorman:
    """Stands at all closed sockets of one context. A key that is added counts within seconds, without a restart.

    Who has come by a key that is taken away is cut off: so are the others at their addresses, who come back at once.
    """

    def __init__(self, context: Context, door: Door, odd: Oddities) -> None:
        """Let in those whose keys are in the folder now. Raises KeyFileError."""
        if not zmq.has("curve"):
            raise BusError("this libzmq was built without CURVE; install pyzmq from its wheel")
        self._context = context
        self._door = door
        self._oddities = odd
        self._loop = asyncio.get_running_loop()
        self._clients = Clients()
        self._from: dict[str, dict[str, None]] = {}
        self._entrances: dict[zmq.Socket[bytes], _Entrance] = {}
        self._take_over(read_clients(door.clients))
        if not self._clients.files:
            odd.tell(str(door.clients), Odd("no client", "holds no key (*.key), so that nobody can connect"))
        self._asked = context.socket(zmq.REP)
        self._asked.setsockopt(zmq.LINGER, 0)
        self._asked.bind(_ZAP)
        self._loop.add_reader(self._asked, self._answer)
        self._timer = self._loop.call_later(LOOK_EVERY, self._look_soon)

    def guard(self, made: zmq.Socket[bytes], address: str) -> None:
        """Close a socket that is about to be bound at address to everybody without a key that is let in."""
        made.setsockopt(zmq.CURVE_SERVER, 1)
        made.setsockopt(zmq.CURVE_SECRETKEY, self._door.own.secret)
        made.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        made.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # or all are let in while nobody answers
        place = f"inproc://entrance-{id(made)}-{len(self._entrances)}"
        made.monitor(place, _EVENTS)
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 0)  # or its thread, which serves all connections, would wait for us
        monitor.connect(place)
        entrance = self._entrances[made] = _Entrance(monitor, address)
        self._loop.add_reader(monitor, self._notice, entrance)
        self._loop.call_soon(self._notice, entrance)  # its file descriptor tells only who has looked before

    def leave(self, made: zmq.Socket[bytes]) -> None:
        """Stand no more at a socket that is about to be closed.

        It must not go on to tell its events: while nobody takes them, libzmq's thread waits in the middle of all.
        """
        entrance = self._entrances.pop(made, None)
        if entrance:
            made.disable_monitor()
            self._loop.remove_reader(entrance.monitor)
            entrance.monitor.close()

    def close(self) -> None:
        """Let nobody in any more."""
        self._timer.cancel()
        if not self._asked.closed:
            self._loop.remove_reader(self._asked)
            self._asked.close()
        for made in list(self._entrances):
            self.leave(made)

    def _answer(self) -> None:
        while not self._asked.closed and int(self._asked.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            version, ticket, _, address, _, mechanism, *credentials = self._asked.recv_multipart(NOW)
            refusal = self._refusal(address.decode(), mechanism, credentials)
            if refusal:
                self._oddities.refuse(address.decode(), refusal)
            outcome = (b"400", refusal.kind.encode()) if refusal else (b"200", b"")
            self._asked.send_multipart((version, ticket, *outcome, b"", b""), NOW)

    def _refusal(self, address: str, mechanism: bytes, credentials: list[bytes]) -> Odd | None:
        if mechanism != b"CURVE" or len(credentials) != 1:
            return _PLAIN
        if self._door.addresses and address.removeprefix("::ffff:") not in self._door.addresses:
            return Odd("address not allowed", "connects from an address that is not among those allowed")
        key = z85.encode(credentials[0]).decode()
        if key not in self._clients.files:
            return Odd(
                "unknown key",
                f"connects by the key {key}, which no file in {self._door.clients} holds;"
                " if it may, put its .key there",
            )
        addresses = self._from.setdefault(key, {})
        addresses.pop(address, None)
        addresses[address] = None
        if len(addresses) > FROM_ADDRESSES:
            del addresses[next(iter(addresses))]
        return None

    # the folder

    def _look_soon(self) -> None:
        threading.Thread(target=self._look, daemon=True).start()  # a file system may hang

    def _look(self) -> None:
        try:
            found: Clients | KeyFileError = read_clients(self._door.clients, self._clients)
        except KeyFileError as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._looked, found)

    def _looked(self, found: Clients | KeyFileError) -> None:
        if self._asked.closed:
            return
        if isinstance(found, KeyFileError):
            kept = Odd("no folder", f"those who were allowed before still are: {found}")
            self._oddities.tell(str(self._door.clients), kept)
        elif found is not self._clients:
            self._take_over(found)
        self._timer = self._loop.call_later(LOOK_EVERY, self._look_soon)

    def _take_over(self, found: Clients) -> None:
        for path, why in found.broken.items():
            self._oddities.tell(str(path), Odd("no key", f"lets nobody in: {why}"))
        gone = self._clients.files.keys() - found.files.keys()
        self._clients = found
        for address in {address for key in gone for address in self._from.pop(key, {})}:
            for entrance in self._entrances.values():
                entrance.cut(address)

    # the events

    def _notice(self, entrance: "_Entrance") -> None:
        while not entrance.monitor.closed:
            try:
                event = parse_monitor_message(entrance.monitor.recv_multipart(NOW))
            except zmq.Again:
                return
            refused = entrance.happened(event["event"], event["value"])
            if refused:
                self._oddities.refuse(*refused)


@dataclass(eq=False, slots=True)
class _Entrance:
    """One closed socket: who is connected, by file descriptor of the connection (libzmq's), as far as is known."""

    monitor: zmq.Socket[bytes]
    address: str
    peers: dict[int, tuple[str, int]] = field(default_factory=dict)
    refusal: Odd | None = None

    def happened(self, event: int, value: int) -> tuple[str, Odd] | None:
        """What an event tells: (peer, why it was refused), or nothing.

        A refusal is told in two events, one after the other: why, then whose connection. Of a peer that was quick to
        leave, the address is not known any more.
        """
        if event == zmq.EVENT_ACCEPTED:
            peer = _peer_of(value)
            if peer:
                self.peers[value] = peer
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self.refusal = _WHY.get(value, _BROKEN)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self.refusal = _PLAIN
        elif event == zmq.EVENT_DISCONNECTED:
            peer = self.peers.pop(value, None)
            refusal, self.refusal = self.refusal, None
            if refusal:
                return peer[0] if peer else self.address, refusal
        return None

    def cut(self, address: str) -> None:
        """End all connections from address."""
        for number, peer in self.peers.items():
            if peer[0] == address:
                with suppress(OSError), closing(socket.socket(fileno=os.dup(number))) as connection:
                    if connection.getpeername()[:2] == peer:  # or the number belongs to something else by now
                        connection.shutdown(socket.SHUT_RDWR)


def _peer_of(number: int) -> tuple[str, int] | None:
    try:
        with closing(socket.socket(fileno=os.dup(number))) as connection:
            host, port = connection.getpeername()[:2]
    except (OSError, ValueError):
        return None
    return str(host), int(port)


_ZAP = "inproc://zeromq.zap.01"
_DOMAIN = b"tranship"
_EVENTS = int(
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_PLAIN = Odd("no keys", "connects without keys, or leaves before it has shown one")
_WHY: Mapping[int, Odd] = MappingProxyType(
    {
        zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: _PLAIN,
        zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: Odd(
            "wrong server key", "expects another key than ours here; hand it our .key"
        ),
    }
)
_BROKEN = Odd("broken handshake", "does not keep to CURVE")
