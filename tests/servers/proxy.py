"""A TCP proxy that breaks what goes through it, at a chosen byte and in a chosen way.

    with Proxy(Route(("127.0.0.1", server_port))) as proxy:
        proxy.fault = Fault("reset", at=70_000)
        ... connect to proxy.address ...

The fault is read when a connection is accepted, so it holds for the connections that come after it was set.
The proxy lives in a thread with an event loop of its own.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

Address = tuple[str, int]
Kind = Literal["none", "reset", "cut", "stall", "black hole", "drip", "short", "answer"]

DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a connection once `at` bytes went in direction ("up" is from client to server).

    reset       both ends see the connection reset; what is under way is lost
    cut         both ends see an orderly end
    stall       nothing goes in this direction for `seconds`, then it goes on
    black hole  what comes in this direction is swallowed for ever; nobody is told
    drip        one byte at a time
    short       pieces of a few bytes, of random length
    answer      `said` comes back, and then the end; what the server would have said is not heard (only with "up")
    """

    kind: Kind = "none"
    at: int = 0
    direction: Literal["up", "down"] = "up"
    seconds: float = 0.3
    said: bytes = b""


@dataclass(frozen=True, slots=True)
class Route:
    """Where to connect, and where to listen for it (port 0: any free one)."""

    upstream: Address
    listen: Address = ("127.0.0.1", 0)


class Proxy:
    """Passes connections on along its routes, with the current `fault`, inside a `with`."""

    def __init__(self, *routes: Route, fault: Fault | None = None) -> None:
        self.fault = fault or Fault()
        self.accepted = 0
        """How many connections have come so far."""
        self.came_down = 0
        """Bytes that have gone from servers to clients so far."""
        self._routes = routes
        self._ports: list[int] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._flows: set[_Flow] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(DEADLINE_SECONDS), "the proxy did not start"
        if self._failure:
            raise self._failure
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), "the proxy did not stop"

    @property
    def port(self) -> int:
        """The port of the first route."""
        return self._ports[0]

    @property
    def ports(self) -> list[int]:
        """The port of each route."""
        return list(self._ports)

    @property
    def address(self) -> Address:
        """Host and port of the first route."""
        return self._routes[0].listen[0], self.port

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        done = threading.Event()

        def reset() -> None:
            for writer in set(self._open):
                _reset(writer)
            done.set()

        self._loop.call_soon_threadsafe(reset)
        assert done.wait(DEADLINE_SECONDS), "the proxy is stuck"

    def silence_all(self) -> None:
        """Make every connection that is open now a black hole, both ways."""
        for flow in tuple(self._flows):
            flow.silent = True

    def _count(self, size: int) -> None:
        self.came_down += size

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        servers = []
        try:
            for route in self._routes:
                host, port = route.listen
                server = await asyncio.start_server(self._accept(route), host, port)
                servers.append(server)
                self._ports.append(server.sockets[0].getsockname()[1])
            self._ready.set()
            await self._stop.wait()
        finally:
            for server in servers:
                server.close()
            for writer in set(self._open):
                writer.transport.abort()

    def _accept(
        self, route: Route
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted += 1
            self._tasks.add(task := asyncio.current_task())  # nobody else holds on to a black hole
            fault = self.fault
            ends = {writer}
            flows: set[_Flow] = set()
            self._open.add(writer)
            try:
                far_reader, far_writer = await asyncio.open_connection(*route.upstream)
                ends.add(far_writer)
                self._open.add(far_writer)
                up, down = (fault if fault.direction == way else Fault() for way in ("up", "down"))
                flows = {_Flow(reader, far_writer, up), _Flow(far_reader, writer, down, self._count)}
                self._flows |= flows
                await asyncio.gather(*(flow.run(ends) for flow in flows))
            except OSError:
                for end in ends:
                    _reset(end)
            except asyncio.CancelledError:
                pass  # the proxy stops
            finally:
                self._tasks.discard(task)
                self._open -= ends
                self._flows -= flows
                for end in ends:
                    end.transport.abort()

        return pass_on


@dataclass(eq=False, slots=True)
class _Flow:
    """One direction of a connection; once silent, it swallows what comes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    fault: Fault
    count: Callable[[int], None] = lambda _: None
    silent: bool = False

    async def run(self, ends: set[asyncio.StreamWriter]) -> None:
        """Pass on what comes until its end; the fault begins where its byte comes."""
        left = self.fault.at
        while data := await self.reader.read(65536):
            if self.fault.kind != "none" and len(data) >= left:
                await self._write(data[:left])
                return await self._break(data[left:], ends)
            left -= len(data)
            await self._write(data)
        return await self._end()

    async def _break(self, rest: bytes, ends: set[asyncio.StreamWriter]) -> None:
        match self.fault.kind:
            case "reset":
                raise ConnectionResetError
            case "cut":
                for end in ends:
                    end.close()
                for end in ends:
                    with suppress(OSError):
                        await end.wait_closed()
            case "stall":
                await asyncio.sleep(self.fault.seconds)
                await self._write(rest)
                while data := await self.reader.read(65536):
                    await self._write(data)
                await self._end()
            case "black hole":
                await self._swallow()
            case "drip":
                await self._in_pieces(rest, longest=1)
            case "short":
                await self._in_pieces(rest, longest=700)
            case "answer":
                for end in ends - {self.writer}:
                    end.write(self.fault.said)
                self.writer.transport.abort()
                while await self.reader.read(65536):
                    pass

    async def _in_pieces(self, rest: bytes, longest: int) -> None:
        draw = random.Random(self.fault.at)
        while rest:
            piece = draw.randint(1, longest)
            await self._write(rest[:piece])
            await asyncio.sleep(0)
            rest = rest[piece:] or await self.reader.read(4096)
        await self._end()

    async def _swallow(self) -> None:
        while await self.reader.read(65536):
            pass
        await asyncio.Event().wait()

    async def _write(self, data: bytes) -> None:
        if self.silent:
            await self._swallow()
        self.count(len(data))
        self.writer.write(data)
        await self.writer.drain()

    async def _end(self) -> None:
        if self.silent:
            await self._swallow()
        with suppress(OSError):
            self.writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
