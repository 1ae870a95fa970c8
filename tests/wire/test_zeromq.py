"""The real bus among real peers: posttroll and Trollmoves, hostile ones, slow ones, and ones that are not there."""

import asyncio
import itertools
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
import zmq
from posttroll.message import Message as Theirs
from posttroll.publisher import Publisher as TheirPublisher
from posttroll.subscriber import Subscriber as TheirSubscriber
from trollmoves.client import PushRequester
from trollmoves.server import RequestManager

from servers.proxy import Proxy, Route
from tranship.wire import desk, line, zeromq
from tranship.wire.arrivals import INBOX_ITEMS
from tranship.wire.contract import MAX_MESSAGE
from tranship.wire.messages import Message, compose, decode, reply
from tranship.wire.zeromq import CUT_OFF, WAITING_TO_BE_TOLD, ZeroMQBus

from .conftest import DEADLINE, answer_all, connected, heard, outcomes, run, until

LOOPBACK = "tcp://127.0.0.1:0"
Odd = list[tuple[str, str]]


@asynccontextmanager
async def opened(odd: Odd | None = None) -> AsyncIterator[ZeroMQBus]:
    bus = ZeroMQBus(lambda peer, what: odd.append((peer, what)) if odd is not None else None)
    try:
        yield bus
    finally:
        bus.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., zmq.Socket[bytes]]]:
    """Makes bare ZeroMQ sockets that do as they like."""
    context = zmq.Context()
    kept = []

    def make(kind: int, address: str = "", **options: int) -> zmq.Socket[bytes]:
        made = context.socket(kind)
        kept.append(made)
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.SNDHWM, 0)
        for option, value in options.items():
            made.setsockopt(getattr(zmq, option), value)
        if address:
            made.connect(address)
        return made

    yield make
    context.destroy(0)


async def received(source: zmq.Socket[bytes]) -> list[bytes]:
    await until(lambda: bool(source.poll(0)))
    return source.recv_multipart()


def pong(asked: Message) -> Message:
    return reply(asked, "pong", {"station": "here"})


def test_a_posttroll_publisher_is_heard() -> None:
    async def story() -> None:
        theirs = TheirPublisher("tcp://127.0.0.1:0", "theirs").start()
        async with opened() as bus:
            ears = bus.subscription()
            ears.add(f"tcp://127.0.0.1:{theirs.port_number}", ["/topic"])
            mark = compose("/topic/mark", "info")
            await connected(lambda mark: theirs.send(mark.encode().decode()), ears, [mark])
            theirs.send(Theirs("/topic/ä", "file", {"uid": "ä", "start_time": "2026-01-02"}).encode())
            [item] = await heard(ears, lambda items: any(i.message.type == "file" for i in items))
            assert (item.message.subject, item.message.data["uid"]) == ("/topic/ä", "ä")
        theirs.stop()

    run(story())


def test_posttroll_subscribers_hear_us() -> None:
    def listen(address: str) -> object:
        subscriber = TheirSubscriber([address], "/topic")
        found = next(message for message in subscriber.recv(timeout=0.2) if message)
        subscriber.close()
        return found.data

    async def story() -> None:
        async with opened() as bus:
            ours = bus.publisher(LOOPBACK, "ours")
            listening = asyncio.create_task(asyncio.to_thread(listen, ours.address))
            while not listening.done():
                ours.tell([compose("/x", "file"), compose("/topic/a", "file", {"uid": "ä"})])
                await asyncio.wait([listening], timeout=0.05)
            assert await listening == {"uid": "ä"}

    run(story())


def test_trollmoves_clients_ask_us() -> None:
    def ask(port: int) -> list[object]:
        requester = PushRequester("127.0.0.1", port)  # closes itself when it is forgotten
        asked = [Theirs("/topic", "ping"), Theirs("/topic", "push", {"uid": "a"})]
        return [(r.type, r.data) for r in (requester.send_and_recv(each, DEADLINE) for each in asked)]

    async def story() -> None:
        async with opened() as bus:
            answerer = bus.answerer(LOOPBACK)
            answering = asyncio.create_task(answer_all(answerer, pong))
            found = await asyncio.to_thread(ask, int(answerer.address.rpartition(":")[2]))
            assert found == [("pong", {"station": "here"})] * 2
            answering.cancel()

    run(story())


def test_trollmoves_servers_answer_us() -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        theirs = RequestManager(port, {"origin": "/data/{uid}", "station": "there"})
        theirs.start()
        try:
            async with opened() as bus:
                asker = bus.asker(f"tcp://127.0.0.1:{port}", many=False)
                asker.ask(compose("/topic", "ping"), "one", DEADLINE)
                asker.ask(compose("/topic", "replay", {"since": 3}), "two", DEADLINE)
                found = await outcomes(asker, 2)
                assert (found["one"].type, found["one"].data) == ("pong", {"station": "there"})
                assert found["two"].type == "unknown"
        finally:
            theirs.stop()
            await asyncio.to_thread(theirs.join, DEADLINE)

    run(story())


def nonsense(number: int) -> Iterator[list[bytes]]:
    """Frames that are no message, some of them nearly one."""
    chance = random.Random(7)
    good = compose("/s", "push", {"uid": "a", "nested": {"b": ["c"]}}).encode()
    for _ in range(number):
        broken = bytearray(good)
        broken[chance.randrange(9)] ^= 1 + chance.randrange(255)
        frame = chance.choice(
            [chance.randbytes(chance.randrange(400)), bytes(broken), good[: chance.randrange(30)], b"ok"]
        )
        yield chance.choice([[frame], [b"", frame], [frame] * chance.randrange(1, 6), [b"", b"", frame]])


def memory() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_an_answerer_survives_nonsense(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        odd: Odd = []
        async with opened(odd) as bus:
            answerer = bus.answerer(LOOPBACK)
            hostile = peer(zmq.DEALER, answerer.address)
            before = memory()
            for frames in nonsense(10_000):
                hostile.send_multipart(frames)
            answering = asyncio.create_task(answer_all(answerer, pong))
            await until(lambda: bus.counts.received == 10_000)
            asker = bus.asker(answerer.address, many=True)
            asker.ask(compose("/s", "ping", {"tranship": {"id": "t"}}), "t", DEADLINE)
            assert (await outcomes(asker, 1))["t"].type == "pong"
            assert sum(bus.counts.refused.values()) == 10_000
            assert set(bus.counts.refused) == {"undecodable", "malformed frames"}
            assert {peer for peer, _ in odd} == {"127.0.0.1"}
            assert len(odd) == 2  # once per peer and kind
            assert memory() - before < 50e6
            answers = [await received(hostile) for _ in range(10)]
            assert all(frames[0] == b"" and decode(frames[1]).type == "error" for frames in answers)
            answering.cancel()

    run(story())


def test_a_subscription_survives_nonsense(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        odd: Odd = []
        async with opened(odd) as bus:
            hostile = peer(zmq.XPUB)
            port = hostile.bind_to_random_port("tcp://127.0.0.1")
            ears = bus.subscription()
            ears.add(f"tcp://127.0.0.1:{port}", [""])
            await received(hostile)  # the subscription
            before = memory()
            for frames in nonsense(10_000):
                hostile.send_multipart([b"pytroll:/" + frames[0][9:], *frames[1:]])
            hostile.send(compose("/s", "file", "the last").encode())
            items = await heard(ears, lambda items: any(i.message.data == "the last" for i in items))
            assert bus.counts.received == 10_001
            assert sum(bus.counts.refused.values()) + len(items) == 10_001
            assert bus.counts.refused["malformed frames"] > 1000
            assert bus.counts.refused["undecodable"] > 1000
            assert sorted(what.split(":")[0] for _, what in odd) == ["malformed frames", "undecodable"]
            assert memory() - before < 50e6

    run(story())


def test_an_asker_survives_nonsense(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        async with opened() as bus:
            hostile = peer(zmq.ROUTER)
            port = hostile.bind_to_random_port("tcp://127.0.0.1")
            many, one = (bus.asker(f"tcp://127.0.0.1:{port}", many=many) for many in (True, False))
            request = compose("/s", "push", {"tranship": {"id": "t"}})
            many.ask(request, "t", DEADLINE)
            identity, *_ = await received(hostile)
            for frames in [*nonsense(1000), [b"", compose("/s", "file", {"tranship": {"id": "u"}}).encode()]]:
                hostile.send_multipart([identity, *frames])
            hostile.send_multipart([identity, b"", reply(request, "file").encode()])
            assert (await outcomes(many, 1))["t"] is not None
            assert sum(bus.counts.refused.values()) == 1001
            assert bus.counts.refused["unknown reply"] >= 1
            one.ask(compose("/s", "push"), "spoilt", DEADLINE)
            identity, *_ = await received(hostile)
            hostile.send_multipart([identity, b"", b"nonsense"])
            assert await outcomes(one, 1) == {"spoilt": None}  # at once, not after its patience

    run(story())


@pytest.mark.parametrize("frames", [[b"alone"], [b""], [b"", b""], [b"x", b"y"], [b"", b"a", b"b"]])
def test_malformed_requests_are_answered(peer: Callable[..., zmq.Socket[bytes]], frames: list[bytes]) -> None:
    async def story() -> None:
        async with opened() as bus:
            answerer = bus.answerer(LOOPBACK)
            hostile = peer(zmq.DEALER, answerer.address)
            hostile.send_multipart(frames)
            empty, payload = await received(hostile)
            theirs = Theirs.decode(payload)
            assert (empty, theirs.type) == (b"", "error")
            assert theirs.data

    run(story())


def test_an_old_requester_is_told_why_it_was_not_understood(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        async with opened() as bus:
            answerer = bus.answerer(LOOPBACK)
            requester = peer(zmq.REQ, answerer.address)
            for payload, why in ((b"nonsense", "undecodable"), (b"x" * (MAX_MESSAGE + 1), "too long")):
                requester.send(payload)
                [answer] = await received(requester)
                assert decode(answer).type == "error"
                assert decode(answer).data.startswith(why)
            assert bus.counts.refused == {"undecodable": 1, "too long": 1}

    run(story())


def test_an_answer_to_a_peer_that_is_gone_is_counted(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        async with opened() as bus:
            answerer = bus.answerer(LOOPBACK)
            requester = peer(zmq.REQ, answerer.address)
            requester.send(compose("/s", "ping").encode())
            [question] = await answerer.asked()
            requester.close(0)

            async def answer() -> None:
                answerer.answer(question, pong(question.message))
                await asyncio.sleep(0.01)

            await until(lambda: bus.counts.refused == {"asker gone": 1}, answer)

    run(story())


def test_only_the_message_that_is_too_long_is_lost(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        odd: Odd = []
        async with opened(odd) as bus:
            theirs = peer(zmq.XPUB)
            address = f"tcp://127.0.0.1:{theirs.bind_to_random_port('tcp://127.0.0.1')}"
            ears = bus.subscription()
            ears.add(address, [""])
            await received(theirs)
            for subject, size in (
                ("/a", 1),
                ("/longest", MAX_MESSAGE - 200),
                ("/long", MAX_MESSAGE),
                ("/b", 1),
            ):
                theirs.send(compose(subject, "file", "x" * size).encode())
            items = await heard(ears, lambda items: any(i.message.subject == "/b" for i in items))
            assert [item.message.subject for item in items] == ["/a", "/longest", "/b"]
            assert bus.counts.refused == {"too long": 1}
            [(who, what)] = odd
            assert who == address
            assert "too long" in what

    run(story())


def test_after_a_frame_that_is_out_of_all_proportion_the_line_comes_back(
    peer: Callable[..., zmq.Socket[bytes]],
) -> None:
    async def story() -> None:
        async with opened() as bus:
            theirs = peer(zmq.XPUB)
            ears = bus.subscription()
            ears.add(f"tcp://127.0.0.1:{theirs.bind_to_random_port('tcp://127.0.0.1')}", [""])
            await received(theirs)
            theirs.send(compose("/before", "file").encode())
            assert [i.message.subject for i in await heard(ears, bool)] == ["/before"]
            theirs.send(b"pytroll:/" + b"x" * CUT_OFF)
            await connected(lambda mark: theirs.send(mark.encode()), ears, [compose("/after", "file")])

    run(story())


def test_what_speaks_something_else_is_listened_to_when_it_has_learnt_to(
    peer: Callable[..., zmq.Socket[bytes]],
) -> None:
    async def story() -> None:
        async with opened() as bus:
            wrong = await asyncio.start_server(_speak_http, "127.0.0.1", 0)
            port = wrong.sockets[0].getsockname()[1]
            ears = bus.subscription()
            ears.add(f"tcp://127.0.0.1:{port}", [""])
            async with asyncio.timeout(DEADLINE):
                await _VISITED.wait()
            wrong.close()
            await wrong.wait_closed()
            theirs = peer(zmq.PUB)
            theirs.bind(f"tcp://127.0.0.1:{port}")
            await connected(lambda mark: theirs.send(mark.encode()), ears, [compose("/mark", "info")])

    _VISITED = asyncio.Event()  # noqa: N806

    async def _speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100)
        writer.close()
        _VISITED.set()

    run(story())


def test_an_address_where_no_publisher_is_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "ABSENT", 0.2)

    async def story() -> None:
        odd: list[tuple[str, str]] = []
        async with opened(odd) as bus:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
                ears, here = bus.subscription(), bus.publisher(LOOPBACK, "here")
                ears.add(address, [""])
                ears.add(here.address, [""])
                await until(lambda: bool(odd))
            assert odd[0][0] == address
            assert odd[0][1].startswith("nobody there: no publisher answers at this address")
            there = bus.publisher(address, "there")
            await connected(lambda mark: there.tell([mark]), ears, [compose("/mark", "info")])
            assert len(odd) == 1

    run(story())


def test_a_line_that_takes_all_and_brings_nothing_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MUTE", 0.3)
    numbers = itertools.count()

    async def story() -> None:
        async with opened() as bus:
            answerer = bus.answerer(LOOPBACK)
            answering = asyncio.create_task(answer_all(answerer, pong))
            route = Route(("127.0.0.1", int(answerer.address.rpartition(":")[2])))
            with Proxy(route) as proxy:
                asker = bus.asker(f"tcp://127.0.0.1:{proxy.port}", many=True)

                async def is_answered() -> bool:
                    ticket = str(next(numbers))
                    asker.ask(compose("/s", "ping", {"tranship": {"id": ticket}}), ticket, 0.2)
                    return (await outcomes(asker, 1))[ticket] is not None

                async with asyncio.timeout(DEADLINE):
                    while not await is_answered():
                        pass
                    proxy.silence_all()
                    assert not await is_answered()
                    while not await is_answered():
                        pass
            answering.cancel()

    run(story())


def test_those_who_are_not_there_delay_nobody() -> None:
    async def story() -> None:
        odd: Odd = []
        with socket.create_server(("127.0.0.1", 0), backlog=1) as mute:  # takes connections, says nothing
            async with opened(odd) as bus:
                absent = [
                    "tcp://127.0.0.1:1",
                    f"tcp://127.0.0.1:{mute.getsockname()[1]}",
                    "tcp://nobody.invalid:9010",
                    "tcp://[::1]:1",
                ]
                ears = bus.subscription()
                for address in absent:
                    ears.add(address, [""])
                waiting = [bus.asker(address, many=True) for address in absent]
                begun = time.monotonic()
                for number, asker in enumerate(waiting):
                    asker.ask(compose("/s", "push", {"tranship": {"id": str(number)}}), str(number), 0.2)
                publisher, answerer = bus.publisher(LOOPBACK, "p"), bus.answerer(LOOPBACK)
                ears.add(publisher.address, [""])
                await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark", "info")])
                answering = asyncio.create_task(answer_all(answerer, pong))
                quick = bus.asker(answerer.address, many=True)
                quick.ask(compose("/s", "ping", {"tranship": {"id": "t"}}), "t", DEADLINE)
                await outcomes(quick, 1)
                for number, asker in enumerate(waiting):
                    assert await outcomes(asker, 1) == {str(number): None}
                assert time.monotonic() - begun < DEADLINE / 4
                await until(lambda: bool(odd))
                assert odd == [(absent[2], "unknown host: no address is known for nobody.invalid yet")]
                answering.cancel()

    run(story())


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("tcp://[::1]:0", "[::1]"),
        ("tcp://[::]:0", "[::1]"),
        ("tcp://[::]:0", "127.0.0.1"),
        ("tcp://[::]:0", "localhost"),
        ("tcp://*:0", "127.0.0.1"),
        ("tcp://*:0", "localhost"),
        ("tcp://localhost:0", "localhost"),
    ],
)
def test_both_kinds_of_ip_and_names_will_do(address: str, host: str) -> None:
    async def story() -> None:
        async with opened() as bus:
            publisher, answerer = bus.publisher(address, "p"), bus.answerer(address)
            ears = bus.subscription()
            ears.add(f"tcp://{host}:{publisher.address.rpartition(':')[2]}", [""])
            await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark", "info")])
            asker = bus.asker(f"tcp://{host}:{answerer.address.rpartition(':')[2]}", many=False)
            answering = asyncio.create_task(answer_all(answerer, pong))
            asker.ask(compose("/s", "ping"), "t", DEADLINE)
            assert (await outcomes(asker, 1))["t"].type == "pong"
            answering.cancel()

    run(story())


@pytest.mark.parametrize("first", ["::1", "127.0.0.1"])
def test_a_name_with_several_addresses_is_tried_at_each(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that knows both kinds, whatever this machine's own knows of localhost."""
    lookup = socket.getaddrinfo
    hosts = [first, "127.0.0.1" if first == "::1" else "::1"]
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, **kind: [entry for each in hosts for entry in lookup(each, port, **kind)],
    )

    async def story() -> None:
        async with opened() as bus:
            publisher = bus.publisher("tcp://[::1]:0" if first == "127.0.0.1" else LOOPBACK, "p")
            ears = bus.subscription()
            ears.add(f"tcp://both.invalid:{publisher.address.rpartition(':')[2]}", [""])
            await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark", "info")])

    run(story())


def test_a_slow_listener_loses_and_is_counted_and_the_others_hear_all(
    peer: Callable[..., zmq.Socket[bytes]],
) -> None:
    number = WAITING_TO_BE_TOLD + 40_000

    async def story() -> None:
        async with opened() as bus:
            publisher, ears = bus.publisher(LOOPBACK, "p"), bus.subscription()
            slow = peer(zmq.SUB, publisher.address, RCVHWM=1, RCVBUF=4096)
            slow.setsockopt(zmq.SUBSCRIBE, b"pytroll://all")
            ears.add(publisher.address, [""])
            message = compose("/all", "file", "x" * 100)
            await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark", "info")])
            publisher.tell([message])
            await received(slow)
            count = 1
            count = sum(item.message == message for item in await heard(ears, bool))
            for _ in range(number // 1000):
                publisher.tell([message] * 1000)
                count += sum(item.message == message for item in await ears.heard())
            while count < number // 1000 * 1000:
                count += sum(item.message == message for item in await ears.heard())
            assert 0 < bus.counts.refused["slow listener"] < number - WAITING_TO_BE_TOLD

    run(story())


def test_who_takes_nothing_for_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zeromq._PUBLISHING, zmq.TCP_MAXRT, 500)  # milliseconds

    async def story() -> None:
        async with opened() as bus:
            publisher = bus.publisher(LOOPBACK, "p")
            ready = b"\5READY\x0bSocket-Type\0\0\0\3SUB"
            with socket.create_connection(("127.0.0.1", int(publisher.address.rpartition(":")[2]))) as deaf:
                deaf.sendall(b"\xff" + bytes(8) + b"\x7f\3\0NULL" + bytes(48))
                deaf.sendall(b"\4" + bytes([len(ready)]) + ready + b"\0\1\1")
                message = compose("/all", "file", "x" * 100_000)

                def is_cut_off() -> bool:
                    publisher.tell([message])
                    with suppress(OSError):
                        deaf.send(b"\0\1\1")  # it is told only when it says something itself
                        return False
                    return True

                await until(is_cut_off)

    run(story())


def test_who_does_not_listen_is_told_later_and_costs_nothing_meanwhile(
    peer: Callable[..., zmq.Socket[bytes]],
) -> None:
    async def story() -> None:
        async with opened() as bus:
            theirs = [peer(zmq.XPUB) for _ in range(2)]
            ears = bus.subscription()
            for each in theirs:
                ears.add(f"tcp://127.0.0.1:{each.bind_to_random_port('tcp://127.0.0.1')}", [""])
            for each in theirs:
                await received(each)
                for number in range(10 * INBOX_ITEMS):
                    each.send(compose("/s", "file", str(number)).encode())
            await until(lambda: bus.counts.received >= INBOX_ITEMS)
            begun = time.process_time()
            await asyncio.sleep(0.3)
            assert time.process_time() - begun < 0.15
            assert bus.counts.received <= INBOX_ITEMS + 2
            batches = []
            async with asyncio.timeout(DEADLINE):
                while sum(map(len, batches)) < 20 * INBOX_ITEMS:
                    batches.append(await ears.heard())
            assert max(map(len, batches)) <= INBOX_ITEMS
            assert (
                len({item.provider for batch in batches[1:5] for item in batch}) == 2
            )  # both get their turn
            items = [item for batch in batches for item in batch]
            for provider in {item.provider for item in items}:
                told = [item.message.data for item in items if item.provider == provider]
                assert told == [str(number) for number in range(10 * INBOX_ITEMS)]

    run(story())


def test_an_answerer_takes_in_no_more_than_is_taken_out(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        async with opened() as bus:
            answerer = bus.answerer(LOOPBACK)
            hasty = peer(zmq.DEALER, answerer.address)
            for number in range(3 * INBOX_ITEMS):
                hasty.send_multipart([b"", compose("/s", "ping", str(number)).encode()])
                if INBOX_ITEMS - 3 <= number < INBOX_ITEMS:  # the last ones that find room come one by one
                    await until(lambda number=number: bus.counts.received == number + 1)
            another = peer(zmq.DEALER, answerer.address)
            another.send_multipart([b"", compose("/s", "ping", "another").encode()])
            begun = time.process_time()
            await asyncio.sleep(0.3)
            assert time.process_time() - begun < 0.15
            assert bus.counts.received == INBOX_ITEMS
            asked = []
            async with asyncio.timeout(DEADLINE):
                while len(asked) < 3 * INBOX_ITEMS + 1:
                    asked += await answerer.asked()
            told = [question.message.data for question in asked]
            told.remove("another")
            assert told == [str(number) for number in range(3 * INBOX_ITEMS)]

    run(story())


def test_what_was_told_before_closing_still_arrives(peer: Callable[..., zmq.Socket[bytes]]) -> None:
    async def story() -> None:
        async with opened() as bus:
            publisher = bus.publisher(LOOPBACK, "p")
            theirs = peer(zmq.SUB, publisher.address, RCVHWM=0)
            theirs.setsockopt(zmq.SUBSCRIBE, b"")

            async def tell() -> None:
                publisher.tell([compose("/mark", "info")])
                await asyncio.sleep(0.01)

            await until(lambda: bool(theirs.poll(0)), tell)
            publisher.tell([compose("/s", "file", str(number)) for number in range(1000)])
            publisher.tell([compose("/end", "info")])
        while (message := decode((await received(theirs))[0])).subject != "/end":
            last = message.data
        assert last == "999"

    run(story())
