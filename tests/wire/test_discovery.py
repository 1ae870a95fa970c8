"""Finding publishers and being found, with posttroll's own name server, publishers and subscribers."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import posttroll
import pytest
from posttroll.message import Message as Theirs
from posttroll.ns import get_pub_address
from posttroll.publisher import Publish
from posttroll.subscriber import Subscribe

from servers.ports import free_port
from tranship.config.legacy.posttroll import posttrolls_settings
from tranship.wire.contract import BusError
from tranship.wire.discovery import (
    Card,
    Change,
    Found,
    Multicast,
    NameServerSilent,
    Ports,
    beat,
    follow,
    min_interval,
    multicast,
    own_ip,
    publishers,
    register,
    told_address,
)
from tranship.wire.memory import MemoryBus, Network
from tranship.wire.messages import compose, decode
from tranship.wire.zeromq import ZeroMQBus

from .conftest import DEADLINE, connected, heard, run

NOWHERE = "127.0.0.1"


def nothing_odd(peer: str, what: str) -> None:
    raise AssertionError(f"{peer}: {what}")


@pytest.fixture(scope="module")
def name_server() -> Iterator[Ports]:
    """A real name server; its three ports."""
    ports = Ports(free_port(), free_port(), free_port())
    environment = os.environ | {
        "POSTTROLL_NAMESERVER_PORT": str(ports.questions),
        "POSTTROLL_ADDRESS_PUBLISH_PORT": str(ports.changes),
        "POSTTROLL_BROADCAST_PORT": str(ports.cards),
    }
    assert Ports.of(posttrolls_settings(environment)) == ports
    code = "from posttroll.ns import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "--no-multicast"], env=environment)
    try:
        yield ports
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def theirs_use(name_server: Ports) -> Iterator[None]:
    """Let posttroll, in this process, use that name server."""
    with posttroll.config.set(
        nameserver_port=name_server.questions,
        address_publish_port=name_server.changes,
        broadcast_port=name_server.cards,
    ):
        yield


@asynccontextmanager
async def opened() -> AsyncIterator[ZeroMQBus]:
    bus = ZeroMQBus()
    try:
        yield bus
    finally:
        bus.close()


@asynccontextmanager
async def meanwhile(going_on: object) -> AsyncIterator[None]:
    task = asyncio.ensure_future(going_on)  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def found_when(
    bus: ZeroMQBus, service: str, ports: Ports, enough: Callable[[list[Found]], object]
) -> list[Found]:
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await publishers(bus, NOWHERE, service, ports, DEADLINE)
            if enough(found):
                return found
            await asyncio.sleep(0.05)


def test_a_posttroll_publisher_is_found_by_its_name(name_server: Ports, theirs_use: None) -> None:
    async def story() -> None:
        async with opened() as bus:
            with Publish("theirs", 0, aliases=["alias"], nameservers=["127.0.0.1"]) as publisher:
                [found] = await found_when(bus, "theirs", name_server, bool)
                assert found.services == ("theirs", "alias")
                assert found.address.endswith(f":{publisher.port_number}")
                assert found in await publishers(bus, NOWHERE, "", name_server, DEADLINE)
                assert await publishers(bus, NOWHERE, "alias", name_server, DEADLINE) == [found]
            assert await publishers(bus, NOWHERE, "nobody", name_server, DEADLINE) == []

    run(story())


def test_our_publisher_is_found_and_heard_by_posttroll(name_server: Ports, theirs_use: None) -> None:
    def listen() -> list[object]:
        with Subscribe("ours", "/topic", nameserver="127.0.0.1", timeout=DEADLINE) as subscriber:
            return [next(message for message in subscriber.recv(timeout=0.2) if message).data]

    async def story() -> None:
        async with opened() as bus:
            publisher = bus.publisher("tcp://0.0.0.0:0", "ours")
            card = Card("ours", publisher.address, ("also",))

            async def tell() -> None:
                while True:
                    publisher.tell(
                        [compose("/other", "info", "no"), compose("/topic/a", "file", {"uid": "a"})]
                    )
                    await asyncio.sleep(0.05)

            async with (
                meanwhile(register(bus, card, NOWHERE, name_server, nothing_odd, every=0.1)),
                meanwhile(tell()),
            ):
                assert [found.address for found in await found_when(bus, "also", name_server, bool)] == [
                    told_address(publisher.address)
                ]
                [theirs] = await asyncio.to_thread(get_pub_address, "ours", DEADLINE, "127.0.0.1")
                assert theirs["service"] == ["ours", "also"]
                assert await asyncio.to_thread(listen) == [{"uid": "a"}]
            assert bus.counts.refused == {}

    run(story())


def test_those_who_come_are_followed_as_they_come(name_server: Ports, theirs_use: None) -> None:
    async def story() -> None:
        async with opened() as bus:
            with Publish("early", 0, nameservers=["127.0.0.1"]) as early:
                await found_when(bus, "early", name_server, bool)
                changes = follow(bus, NOWHERE, ["early", "late"], name_server, nothing_odd, every=3600)
                async with aclosing(changes), asyncio.timeout(DEADLINE):
                    first = await anext(changes)
                    assert first.present
                    assert first.publisher.address.endswith(f":{early.port_number}")
                    with Publish("other", 0, nameservers=["127.0.0.1"]):
                        await found_when(bus, "other", name_server, bool)
                    # A name server tells of whoever is new; we may not be connected yet when it does.
                    for number in range(100):
                        card = Card("late", f"tcp://127.0.0.1:{20000 + number}")
                        with suppress(TimeoutError):
                            async with meanwhile(register(bus, card, NOWHERE, name_server, nothing_odd)):
                                late = await asyncio.wait_for(asyncio.shield(upcoming(changes)), 0.3)
                                break
                    assert late.present
                    assert late.publisher.services == ("late",)

    tasks: list[asyncio.Task[Change]] = []

    def upcoming(changes: AsyncIterator[Change]) -> asyncio.Task[Change]:
        if not tasks:
            tasks.append(asyncio.ensure_future(anext(changes)))  # type: ignore[arg-type]
        return tasks[0]

    run(story())


def test_those_who_go_are_followed_and_nonsense_is_not() -> None:
    async def story() -> None:
        network = Network()
        theirs, ours = MemoryBus(network), MemoryBus(network)
        ports = Ports()
        answerer = theirs.answerer(f"tcp://*:{ports.questions}")
        teller = theirs.publisher(f"tcp://*:{ports.changes}", "address_receiver")
        changes = follow(ours, NOWHERE, ["one", "two"], ports, nothing_odd)
        async with aclosing(changes), asyncio.timeout(DEADLINE):
            upcoming = asyncio.ensure_future(anext(changes))
            for service in ("one", "two"):
                [question] = await answerer.asked()
                assert (question.message.subject, question.message.type) == ("/oper/ns", "request")
                assert question.message.data == {"service": service}
                told = [{"URI": "tcp://here:1", "service": ["one"], "status": True}, 7, {"URI": "?"}, {}]
                answerer.answer(question, compose("/oper/ns", "info", told if service == "one" else ""))
            here = Found("tcp://here:1", ("one",))
            assert await upcoming == Change(here, True)
            upcoming = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            teller.tell(
                [
                    compose("/address/x", "info", told)
                    for told in (
                        {"URI": "tcp://here:1", "service": ["one"]},  # known
                        {"URI": "tcp://there:1", "service": ["three"]},  # not asked for
                        {"URI": "tcp://there:1", "service": ["three"], "status": False},
                        {"URI": 7, "service": "two"},
                        {"URI": "tcp://there:2", "service": {"two": 1}},
                        "nonsense",
                        {"URI": "tcp://there:3", "service": "two"},
                    )
                ]
            )
            assert await upcoming == Change(Found("tcp://there:3", ("two",)), True)
            teller.tell(
                [compose("/address/x", "info", {"URI": "tcp://here:1", "service": ["one"], "status": False})]
            )
            assert await anext(changes) == Change(here, False)
        theirs.close()
        ours.close()

    run(story())


def test_a_silent_name_server_is_an_error_or_told_once() -> None:
    async def story() -> None:
        odd: list[tuple[str, str]] = []
        bus = MemoryBus()
        with pytest.raises(NameServerSilent, match="no name server answers at elsewhere"):
            await publishers(bus, "elsewhere", "", Ports(), 0.01)
        card = Card("ours", "tcp://127.0.0.1:9010")
        told = asyncio.Event()

        def on_oddity(peer: str, what: str) -> None:
            odd.append((peer, what))
            if len(odd) == 2:
                told.set()

        changes = follow(bus, "elsewhere", [""], Ports(), on_oddity, every=0.01, patience=0.01)
        async with asyncio.timeout(DEADLINE), aclosing(changes):
            waiting = asyncio.ensure_future(anext(changes))
            async with meanwhile(
                register(bus, card, "elsewhere", Ports(), on_oddity, every=0.01, patience=0.01)
            ):
                await told.wait()
                await asyncio.sleep(0.1)  # time for many more attempts
                assert [peer for peer, _ in odd] == ["elsewhere", "elsewhere"]
                # A name server starts: nothing is odd any more, and it is heard.
                other = MemoryBus(bus.network)
                answerer = other.answerer("tcp://*:21200")
                [question] = await answerer.asked()
                assert question.message.subject == "/address/ours"
                answerer.answer(question, compose("/address", "ack"))
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        other.close()
        bus.close()

    run(story())


@pytest.mark.parametrize(
    ("name_server", "address"),
    [
        ("host", "tcp://host:5557"),
        ("host:7", "tcp://host:7"),
        ("tcp://host", "tcp://host:5557"),
        ("tcp://host:7", "tcp://host:7"),
        ("10.1.2.3", "tcp://10.1.2.3:5557"),
        ("::1", "tcp://[::1]:5557"),
        ("[::1]:7", "tcp://[::1]:7"),
    ],
)
def test_a_name_server_may_be_named_with_or_without_port(name_server: str, address: str) -> None:
    async def story() -> None:
        asked: list[str] = []

        class Listening(MemoryBus):
            def asker(self, address: str, *, many: bool) -> object:  # type: ignore[override]
                asked.append(address)
                return super().asker(address, many=many)

        with pytest.raises(NameServerSilent):
            await publishers(Listening(), name_server, "", Ports(), 0.001)
        assert asked == [address]

    run(story())


def received(where: Multicast) -> socket.socket:
    """A socket that takes part in the group as posttroll's name server does, on the loopback interface."""
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ear.bind(("", where.port))
    group = struct.pack("=4s4s", socket.inet_aton(where.group), socket.inet_aton(where.interface))
    ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    ear.setblocking(False)
    return ear


def test_a_card_is_multicast_as_posttroll_reads_it() -> None:
    async def story() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        where = Multicast(port=port, interface="127.0.0.1")
        with received(where) as ear:
            card = Card("ours", "tcp://127.0.0.1:9010", ("also",))
            async with meanwhile(multicast(card, where, nothing_odd, every=0.05)), asyncio.timeout(DEADLINE):
                for _ in range(2):  # again and again
                    datagram = await asyncio.get_running_loop().sock_recv(ear, 1024)
                    theirs = Theirs.decode(datagram)
                    assert (theirs.subject, theirs.type) == ("/address/ours", "info")
                    assert theirs.data["URI"] == "tcp://127.0.0.1:9010"
                    assert theirs.data["service"] == ["ours", "also"]

    run(story())


def test_a_network_that_is_away_is_told_of_once() -> None:
    async def story() -> None:
        odd: list[tuple[str, str]] = []
        where = Multicast(interface="198.51.100.77")  # nobody's
        card = Card("ours", "tcp://127.0.0.1:9010")
        async with meanwhile(multicast(card, where, lambda *told: odd.append(told), every=0.001)):
            await asyncio.sleep(0.05)
        [(peer, what)] = odd
        assert peer == "225.0.0.212:21200"
        assert "no multicast" in what

    run(story())


def test_a_card_that_is_too_long_for_a_datagram_is_refused() -> None:
    card = Card("ours", "tcp://127.0.0.1:9010", tuple(f"service-{number}" for number in range(100)))
    with pytest.raises(BusError, match="too long"):
        asyncio.run(multicast(card, Multicast(), nothing_odd))


def test_settings_are_read_as_posttroll_reads_them() -> None:
    assert Ports.of({}) == Ports(5557, 16543, 21200)
    assert Ports.of(posttrolls_settings({"NAMESERVER_PORT": "7"})).questions == 7
    assert Multicast.of({}) == Multicast("225.0.0.212", 21200, "", 31)
    environ = {
        "POSTTROLL_MC_GROUP": "225.0.0.213",
        "PYTROLL_MC_GROUP": "225.0.0.214",
        "POSTTROLL_BROADCAST_PORT": "7",
        "POSTTROLL_MULTICAST_INTERFACE": "127.0.0.1",
        "PYTROLL_MC_TTL": "3",
    }
    assert Multicast.of(posttrolls_settings(environ)) == Multicast("225.0.0.213", 7, "127.0.0.1", 3)
    with pytest.raises(BusError, match="mc_ttl is 'far'"):
        Multicast.of(posttrolls_settings({"PYTROLL_MC_TTL": "far"}))
    for group in ("10.0.0.1", "nonsense", "::1"):
        with pytest.raises(BusError, match="multicast"):
            Multicast(group)


def test_settings_in_files_count_as_they_do_for_posttroll(tmp_path: Path) -> None:
    files = {
        "etc/a.yaml": "nameserver_port: 1\nbroadcast_port: 2\nmulticast-interface: 127.0.0.2\n",
        "home/.config/posttroll/b.yml": "address_publish_port: '3'\nnameserver_port: 4\nmc_group: 225.0.0.1\n",
        "own.yaml": "mc_group: 225.0.0.2\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    environ = {
        "HOME": str(tmp_path / "home"),
        "POSTTROLL_ROOT_CONFIG": str(tmp_path / "etc"),
        "POSTTROLL_CONFIG": str(tmp_path / "own.yaml"),
        "POSTTROLL_BROADCAST_PORT": "5",
        "PYTROLL_MC_GROUP": "225.0.0.3",
        "NAMESERVER_PORT": "6",
    }
    code = """
from posttroll import config
from posttroll.address_receiver import get_configured_address_port
from posttroll.bbmcast import get_configured_broadcast_port, get_mc_group
from posttroll.ns import get_configured_nameserver_port
print(get_configured_nameserver_port(), get_configured_address_port(), get_configured_broadcast_port())
print(get_mc_group(), config.get("multicast_interface"))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environ, check=True, capture_output=True
    )
    theirs = ran.stdout.decode().split()
    settings = posttrolls_settings(environ)
    ports, where = Ports.of(settings), Multicast.of(settings)
    assert (
        [str(port) for port in (ports.questions, ports.changes, ports.cards)] == theirs[:3] == ["4", "3", "5"]
    )
    assert [where.group, where.interface] == theirs[3:] == ["225.0.0.2", "127.0.0.2"]
    assert where.port == 5


def test_an_address_is_told_so_that_others_can_reach_it() -> None:
    assert told_address("tcp://127.0.0.1:9010") == "tcp://127.0.0.1:9010"
    assert told_address("tcp://0.0.0.0:9010") == told_address("tcp://*:9010") == f"tcp://{own_ip()}:9010"
    assert told_address("tcp://[::]:9010") == f"tcp://[{own_ip(socket.AF_INET6)}]:9010"
    assert socket.inet_aton(own_ip()) != socket.inet_aton("0.0.0.0")


def test_beats_are_posttrolls() -> None:
    ours = beat("move_it_server", 30)
    theirs = Theirs.decode(ours.encode())
    assert (theirs.subject, theirs.type, theirs.data) == (
        "/heartbeat/move_it_server",
        "beat",
        {"min_interval": 30},
    )
    assert min_interval(decode(Theirs("/heartbeat/x", "beat", {"min_interval": 2.5}).encode())) == 2.5
    for nonsense in (
        "",
        "text",
        {},
        {"min_interval": "x"},
        {"min_interval": float("nan")},
        {"min_interval": 10**400},
    ):
        assert min_interval(compose("/heartbeat/x", "beat", nonsense)) is None


def test_a_found_publisher_can_be_listened_to(name_server: Ports, theirs_use: None) -> None:
    async def story() -> None:
        async with opened() as bus:
            with Publish("heard", 0, nameservers=["127.0.0.1"]) as publisher:
                [found] = await found_when(bus, "heard", name_server, bool)
                ears = bus.subscription()
                ears.add(found.address, ["/topic"])
                mark = compose("/topic/mark", "info")
                await connected(lambda mark: publisher.send(mark.encode().decode()), ears, [mark])
                publisher.send(Theirs("/topic/a", "file", {"uid": "a"}).encode())
                items = await heard(ears, lambda items: any(i.message.type == "file" for i in items))
                assert items[-1].message.data == {"uid": "a"}
                assert items[-1].provider == found.address

    run(story())
