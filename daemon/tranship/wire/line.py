"""A connecting ZeroMQ socket that comes back by itself, whatever ended the connection."""

import asyncio
import ipaddress
import random
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from tranship.wire.arrivals import Odd, Oddities
from tranship.wire.contract import host_and_port

FIRST_DELAY = 0.1
"""Seconds before a lost connection is made again; doubles with each attempt that fails …"""
LONGEST_DELAY = 0.75
"""… up to this, so that whoever is back is heard within AUDIENCE."""
ABSENT = 10.0
"""Seconds; a publisher that nobody has reached for so long is told of: more than a start of both ends takes."""
NOW = int(zmq.NOBLOCK)

Context = zmq.Context[zmq.Socket[bytes]]
Options = dict[zmq.SocketOption, int | bytes]


def made_socket(context: Context, kind: int, options: Options) -> zmq.Socket[bytes]:
    """A socket with these options set."""
    made = context.socket(kind)
    for option, value in options.items():
        made.setsockopt(option, value)
    return made


class Line:
    """A connecting socket that comes back by itself. was_up: whether somebody was there at any time.

    libzmq would reconnect too, but never after it refused a frame; and it would look names up, for as long as
    that takes, in the one thread that serves all other connections.
    """

    def __init__(
        self,
        context: Context,
        kind: int,
        address: str,
        on_ready: Callable[[], Any],
        options: Options,
        odd: Oddities,
    ) -> None:
        """Connect to address; call on_ready when something may have come, or may be sent. Raises BusError."""
        self._host, self._port = host_and_port(address)
        self._address = address
        self._context = context
        self._kind = kind
        self._on_ready = on_ready
        self._options = options
        self._oddities = odd
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._delay = FIRST_DELAY
        self._begun = self._loop.time()
        self._endpoint = ""
        self._others: list[str] = []
        self.closed = False
        self.was_up = False
        self._open()

    def again(self) -> None:
        """Make a new connection instead of the one there is; what came by that can still be read."""
        if self._endpoint and self._is_up:
            self._hang_up()
            self._start()

    def renew(self) -> None:
        """Make a new connection; nothing that was sent by the old one can come any more."""
        self._shut()
        self._open()

    def close(self) -> None:
        """End it."""
        if not self.closed:
            self.closed = True
            self._shut()

    def _open(self) -> None:
        self.socket = made_socket(self._context, self._kind, self._options)
        refusals = _ALL_REFUSALS if zmq.CURVE_SERVERKEY in self._options else 0
        self._monitor = self.socket.get_monitor_socket(_CHANGES | refusals)
        self._loop.add_reader(self.socket, self._on_ready)
        self._loop.add_reader(self._monitor, self._notice)
        self._loop.call_soon(self._notice)  # its file descriptor tells only who has looked before
        self._is_up = False
        self._start()

    def _shut(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._endpoint = ""
        self._loop.remove_reader(self.socket)
        self._loop.remove_reader(self._monitor)
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(0)

    def _start(self) -> None:
        self._timer = None
        if _is_numeric(self._host):
            self._found([self._address])
        else:
            threading.Thread(target=self._look_up, daemon=True).start()

    def _look_up(self) -> None:
        """Find where the name leads to; takes as long as the resolver likes, hence in a thread of its own."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        hosts = [str(entry[4][0]) for entry in found]
        endpoints = [
            f"tcp://[{host}]:{self._port}" if ":" in host else f"tcp://{host}:{self._port}" for host in hosts
        ]
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._found, endpoints)

    def _found(self, endpoints: list[str]) -> None:
        if self.closed or self._endpoint:
            return
        if not endpoints:
            self._oddities.tell(
                self._address,
                Odd("unknown host", f"no address is known for {self._host} yet"),
            )
            self._start_later()
            return
        self._others = endpoints[1:]
        self._dial(endpoints[0])

    def _dial(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self.socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        self.socket.connect(endpoint)
        self._loop.call_soon(self._look)

    def _hang_up(self) -> None:
        with suppress(zmq.ZMQError):  # libzmq may have given it up already
            self.socket.disconnect(self._endpoint)
        self._endpoint = ""
        self._is_up = False
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        if not self.closed:
            self._on_ready()

    def _notice(self) -> None:
        while not self.closed:
            try:
                change = parse_monitor_message(self._monitor.recv_multipart(NOW))
            except zmq.Again:
                return
            if change["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._is_up = self.was_up = True
                self._delay = FIRST_DELAY
            elif change["event"] in _REFUSALS:
                self._oddities.refuse(self._address, _REFUSALS[change["event"]])
            elif self._endpoint:
                self._lost()

    def _lost(self) -> None:
        self._hang_up()
        if self._others:
            self._dial(self._others.pop(0))
        else:
            self._start_later()

    def _start_later(self) -> None:
        if self._kind == zmq.SUB and not self.was_up and self._loop.time() - self._begun > ABSENT:
            told = "no publisher answers at this address; does it run, and is that its `publish`?"
            self._oddities.tell(self._address, Odd("nobody there", told))
        self._timer = self._loop.call_later(self._delay * random.uniform(0.75, 1.25), self._start)
        self._delay = min(2 * self._delay, LONGEST_DELAY)


_CHANGES = int(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
_NOT_KNOWN = Odd("not let in", "does not let our key in; hand our .key to those who run it")
_BROKEN_OFF = Odd(
    "broken off",
    "ends the connection while keys are exchanged: speaks in plain, or has another key than the one known to us",
)
_REFUSALS: Mapping[int, Odd] = MappingProxyType(
    {
        zmq.EVENT_HANDSHAKE_FAILED_AUTH: _NOT_KNOWN,
        zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: _BROKEN_OFF,
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: _BROKEN_OFF,
    }
)
"""What the events mean that follow a connection that was made, and was not taken; of encrypted ones only."""
_ALL_REFUSALS = reduce(or_, _REFUSALS)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
