"""Sockets that are closed by keys: among real peers, and against those who have none, or others'."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from servers.keys import SECURE, Ring
from servers.ports import free_port
from stage import Process
from tranship.wire import doorman
from tranship.wire.contract import Answer, BusError, Guard
from tranship.wire.keys import Door, KeyFileError, Keys, make_pair, read_pair, read_public
from tranship.wire.messages import Message, compose, reply
from tranship.wire.zeromq import ZeroMQBus

from .conftest import DEADLINE, answer_all, connected, heard, outcomes, run, until

LOOPBACK = "tcp://127.0.0.1:0"
Odd = list[tuple[str, str]]
Start = Callable[..., Process]


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "keys").make("us", "them")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "LOOK_EVERY", 0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a peer as a process of its own."""
    kept: list[Process] = []

    def begin(*arguments: str, **environment: str) -> Process:
        log = tmp_path / f"theirs-{len(kept)}.txt"
        kept.append(Process([sys.executable, str(SECURE), *arguments], log, **environment))
        return kept[-1]

    yield begin
    for process in kept:
        process.kill()
        process.close()


def keys(ring: Ring, name: str, server: str, *, addresses: frozenset[str] = frozenset()) -> Keys:
    own = read_pair(ring.secret(name))
    return Keys(own, Door(own, ring.clients, addresses), read_public(ring.public(server)))


@asynccontextmanager
async def opened(keys: Keys | None, odd: Odd | None = None) -> AsyncIterator[ZeroMQBus]:
    bus = ZeroMQBus(lambda peer, what: odd.append((peer, what)) if odd is not None else None, keys)
    try:
        yield bus
    finally:
        bus.close()


def pong(asked: Message) -> Message:
    return reply(asked, "pong", {"station": "here"})


def of(odd: Odd, kind: str) -> list[str]:
    return [peer for peer, what in odd if what.startswith(f"{kind}:")]


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


async def said(process: Process, text: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    async def wait() -> None:
        assert process.popen.poll() is None or process.said(text), process.output
        meanwhile()
        await asyncio.sleep(0.02)

    await until(lambda: process.said(text), wait)


# ---- real peers


def test_a_posttroll_publisher_is_heard(ring: Ring, start: Start) -> None:
    async def story() -> None:
        port = free_port()
        start("publish", str(port), **ring.posttroll("them", "them"))
        async with opened(keys(ring, "us", "them")) as bus:
            ears = bus.subscription()
            ears.add(f"tcp://127.0.0.1:{port}", ["/topic"])
            assert (await heard(ears, bool))[0].message.subject.startswith("/topic/")

    run(story())


def test_posttroll_subscribers_hear_us_by_key_and_without_hear_nothing(ring: Ring, start: Start) -> None:
    async def story() -> None:
        odd: Odd = []
        ring.make("stranger", let_in=False)
        async with opened(keys(ring, "us", "us"), odd) as bus:
            ours = bus.publisher(LOOPBACK, "ours")

            def tell() -> None:
                ours.tell([compose("/topic/a", "file", {"uid": "a"})])

            assert ours.encrypted
            plain = start("listen", ours.address)
            stranger = start("listen", ours.address, **ring.posttroll("stranger", "us"))
            misled = start("listen", ours.address, **ring.posttroll("them", "stranger"))
            await until(
                lambda: all(of(odd, kind) for kind in ("no keys", "unknown key", "wrong server key")),
                lambda: asyncio.sleep(0.02),
            )
            friend = start("listen", ours.address, **ring.posttroll("them", "us"))
            await said(friend, "heard", tell)
            for _ in range(20):
                tell()
            await said(friend, "heard", tell)
            assert not any(process.said("heard") for process in (plain, stranger, misled))
            refused = bus.counts.refused
            assert min(refused["no keys"], refused["unknown key"], refused["wrong server key"]) >= 1
            assert of(odd, "unknown key") == ["127.0.0.1"]
            assert [what for _, what in odd if ring.text("stranger") in what]
            for kind in ("no keys", "wrong server key"):  # the address of who leaves quickly may be lost
                assert set(of(odd, kind)) <= {"127.0.0.1", LOOPBACK}

    run(story())


def test_trollmoves_clients_ask_us(ring: Ring, start: Start) -> None:
    async def story() -> None:
        ring.make("stranger", let_in=False)
        async with opened(keys(ring, "us", "us")) as bus:
            answerer = bus.answerer(LOOPBACK)
            answering = asyncio.create_task(answer_all(answerer, pong))
            port = port_of(answerer.address)
            friend = start("ask", port, **ring.posttroll("them", "us"))
            others = [start("ask", port, **ring.posttroll("stranger", "us")), start("ask", port)]
            await said(friend, "('pong', {'station': 'here'})")
            for other in others:
                await said(other, "reply None")
                assert not other.said("pong")
            answering.cancel()

    run(story())


def test_trollmoves_servers_answer_us(ring: Ring, start: Start) -> None:
    async def story() -> None:
        port, odd = free_port(), Odd()
        theirs = start("answer", str(port), **ring.posttroll("them", "them"))
        await said(theirs, "answering")
        address = f"tcp://127.0.0.1:{port}"
        async with opened(keys(ring, "us", "them")) as bus, opened(None) as plain:
            asker, stranger = bus.asker(address, many=False), plain.asker(address, many=False)
            asker.ask(compose("/topic", "ping"), "one", DEADLINE)
            found = await outcomes(asker, 1)
            assert (found["one"].type, found["one"].data) == ("pong", {"station": "there"})
            stranger.ask(compose("/topic", "ping"), "one", 0.5)
            assert await stranger.answered() == [Answer("one", None)]
        async with opened(keys(ring, "us", "us"), odd) as misled:
            asker = misled.asker(address, many=False)
            asker.ask(compose("/topic", "ping"), "one", DEADLINE)
            await until(lambda: of(odd, "broken off") == [address])

    run(story())


# ---- who is refused


def test_who_connects_by_key_gets_nothing_from_whoever_speaks_in_plain(ring: Ring) -> None:
    async def story() -> None:
        odd: Odd = []
        async with opened(None) as plain, opened(keys(ring, "us", "us"), odd) as bus:
            publisher, answerer = plain.publisher(LOOPBACK, "plain"), plain.answerer(LOOPBACK)
            answering = asyncio.create_task(answer_all(answerer, pong))
            ears = bus.subscription()
            ears.add(publisher.address, [""])
            asker = bus.asker(answerer.address, many=True)
            asker.ask(compose("/a", "ping", {"tranship": {"id": "one"}}), "one", 0.5)

            async def tell() -> None:
                publisher.tell([compose("/secret", "info")])
                await asyncio.sleep(0.01)

            await until(lambda: len(of(odd, "broken off")) == 2, tell)
            assert await asker.answered() == [Answer("one", None)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ears.heard(), 0.05)
            answering.cancel()

    run(story())


def old_greeting(version: int) -> bytes:
    """What a subscriber says first that speaks ZMTP 1.0 or 2.0, which know no keys."""
    if version == 1:
        return b"\x01\x00" + b"\x02\x00\x01"
    return b"\xff" + bytes(8) + b"\x7f" + b"\x01\x02" + b"\x00\x00" + b"\x00\x01\x01"


@pytest.mark.parametrize("version", [1, 2])
def test_older_zeromq_without_keys_hears_nothing(ring: Ring, version: int) -> None:
    async def story(keys_: Keys | None) -> bytes:
        async with opened(keys_) as bus:
            ours = bus.publisher(LOOPBACK, "ours")
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port_of(ours.address)))
            writer.write(old_greeting(version))
            got = b""
            async with asyncio.timeout(DEADLINE):
                while b"/secret" not in got:
                    ours.tell([compose("/secret", "info")])
                    try:
                        more = await asyncio.wait_for(reader.read(1000), 0.02)
                    except TimeoutError:
                        continue
                    except OSError:
                        break
                    if not more:
                        break
                    got += more
            writer.close()
            return got

    assert b"/secret" in asyncio.run(story(None))
    assert b"/secret" not in asyncio.run(story(keys(ring, "us", "us")))


def test_only_the_addresses_that_are_named_get_in(ring: Ring) -> None:
    async def story() -> None:
        odd: Odd = []
        here = keys(ring, "us", "us", addresses=frozenset({"192.0.2.1"}))
        async with opened(here, odd) as bus, opened(keys(ring, "them", "us")) as theirs:
            answerer = bus.answerer(LOOPBACK)
            theirs.asker(answerer.address, many=True).ask(compose("/a", "ping"), "one", DEADLINE)
            await until(lambda: of(odd, "address not allowed") == ["127.0.0.1"])
        here = keys(ring, "us", "us", addresses=frozenset({"127.0.0.1"}))
        async with opened(here) as bus, opened(keys(ring, "them", "us")) as theirs:
            await pinged(bus.answerer(LOOPBACK), theirs)

    run(story())


async def pinged(answerer: Any, asking: ZeroMQBus) -> None:
    answering = asyncio.create_task(answer_all(answerer, pong))
    asker = asking.asker(answerer.address, many=True)
    asker.ask(compose("/a", "ping", {"tranship": {"id": "one"}}), "one", DEADLINE)
    assert (await outcomes(asker, 1))["one"].type == "pong"
    answering.cancel()


# ---- keys that come and go


def test_a_key_is_added_and_taken_away_without_a_restart(ring: Ring) -> None:
    async def story() -> None:
        odd: Odd = []
        ring.shut_out("them")
        async with opened(keys(ring, "us", "us"), odd) as bus, opened(keys(ring, "them", "us")) as theirs:
            ours, ears = bus.publisher(LOOPBACK, "ours"), theirs.subscription()
            ears.add(ours.address, [""])
            await until(lambda: bool(of(odd, "unknown key")))
            ring.let_in("them")
            await connected(lambda mark: ours.tell([mark]), ears, [compose("/mark", "info")])
            known = bus.counts.refused["unknown key"]
            ring.shut_out("them")
            await until(lambda: bus.counts.refused["unknown key"] > known)  # was cut off, and came again
            ours.tell([compose("/secret", "info")])
            ring.let_in("them")
            await connected(lambda mark: ours.tell([mark]), ears, [compose("/again", "info")])
            ours.tell([compose("/end", "info")])
            told = await heard(ears, lambda items: any(i.message.subject == "/end" for i in items))
            assert "/secret" not in {item.message.subject for item in told}

    run(story())


def test_others_at_the_address_of_who_is_shut_out_come_back_by_themselves(ring: Ring, start: Start) -> None:
    async def story() -> None:
        ring.make("third")
        async with opened(keys(ring, "us", "us")) as bus, opened(keys(ring, "third", "us")) as theirs:
            ours, ears = bus.publisher(LOOPBACK, "ours"), theirs.subscription()
            ears.add(ours.address, [""])
            friend = start("listen", ours.address, **ring.posttroll("them", "us"))
            await said(friend, "heard", lambda: ours.tell([compose("/before", "info")]))
            await connected(lambda mark: ours.tell([mark]), ears, [compose("/mark", "info")])
            ring.shut_out("third")
            await until(lambda: bus.counts.refused.get("unknown key", 0) > 0)
            await said(friend, "/after", lambda: ours.tell([compose("/after", "info")]))

    run(story())


def test_what_is_wrong_in_the_folder_is_told_and_keeps_nobody_else_out(ring: Ring, tmp_path: Path) -> None:
    async def story() -> None:
        odd: Odd = []
        broken = ring.clients / "broken.key"
        broken.write_text("no key at all")
        (ring.clients / "notes.txt").write_text("no key, and not meant to be one")
        async with opened(keys(ring, "us", "us"), odd) as bus, opened(keys(ring, "them", "us")) as theirs:
            await pinged(bus.answerer(LOOPBACK), theirs)
            assert of(odd, "no key") == [str(broken)]
            ring.clients.rename(tmp_path / "elsewhere")
            await until(lambda: of(odd, "no folder") == [str(ring.clients)])
            await pinged(bus.answerer(LOOPBACK), theirs)

    run(story())


# ---- nothing in plain by accident


def test_what_is_to_be_closed_is_never_bound_open(ring: Ring) -> None:
    async def story() -> None:
        own = read_pair(ring.secret("us"))
        for without in (None, Keys(own)):
            async with opened(without) as bus:
                with pytest.raises(BusError, match="is to be closed by keys"):
                    bus.publisher(LOOPBACK, "ours", Guard.KEYS)
                with pytest.raises(BusError, match="is to be closed by keys"):
                    bus.answerer(LOOPBACK, Guard.KEYS)
        async with opened(Keys(own)) as bus:
            with pytest.raises(BusError, match="is to be closed by keys"):
                bus.answerer(LOOPBACK)
            with pytest.raises(BusError, match="no public key of 127"):
                bus.asker("tcp://127.0.0.1:9010", many=True)
            with pytest.raises(BusError, match="no public key of 127"):
                bus.subscription().add("tcp://127.0.0.1:9010", [""])

    run(story())


def test_who_is_named_as_plain_is_spoken_to_in_plain_and_servers_may_have_keys_of_their_own(
    ring: Ring,
) -> None:
    async def story() -> None:
        own = read_pair(ring.secret("us"))
        async with opened(keys(ring, "them", "them")) as theirs:
            closed, open_ = theirs.answerer(LOOPBACK), theirs.answerer(LOOPBACK, Guard.NONE)
            servers = {
                f"127.0.0.1:{port_of(closed.address)}": read_public(ring.public("them")),
                "127.0.0.1": None,
            }
            async with opened(Keys(own, server=own.public, servers=servers)) as bus:
                await pinged(closed, bus)
                await pinged(open_, bus)

    run(story())


def test_nobody_gets_in_while_nobody_answers_for_the_keys(ring: Ring) -> None:
    async def story() -> None:
        async with opened(keys(ring, "us", "us")) as bus, opened(keys(ring, "them", "us")) as theirs:
            answerer = bus.answerer(LOOPBACK)
            answering = asyncio.create_task(answer_all(answerer, pong))
            bus._encryption.close()
            asker = theirs.asker(answerer.address, many=True)
            asker.ask(compose("/a", "ping", {"tranship": {"id": "one"}}), "one", 2.0)
            assert await asker.answered() == [Answer("one", None)]
            answering.cancel()

    run(story())


def test_a_flood_of_strangers_keeps_nobody_out(ring: Ring) -> None:
    async def story() -> None:
        async with opened(keys(ring, "us", "us")) as bus, opened(keys(ring, "them", "us")) as theirs:
            answerer = bus.answerer(LOOPBACK)
            place = ("127.0.0.1", int(port_of(answerer.address)))
            context = zmq.Context()
            strangers = [context.socket(zmq.DEALER) for _ in range(50)]
            half_open = [socket.create_connection(place) for _ in range(50)]
            for stranger in strangers:
                stranger.connect(answerer.address)
            await pinged(answerer, theirs)
            await until(lambda: bus.counts.refused.get("no keys", 0) >= 50)
            for connection in half_open:
                connection.close()
            context.destroy(0)

    run(story())


def test_what_is_closed_or_can_not_be_bound_keeps_nobody_from_the_rest(ring: Ring) -> None:
    async def story() -> None:
        async with opened(keys(ring, "us", "us")) as bus, opened(keys(ring, "them", "us")) as theirs:
            for _ in range(3):
                ours, ears = bus.publisher(LOOPBACK, "ours"), theirs.subscription()
                ears.add(ours.address, [""])
                await connected(lambda mark, ours=ours: ours.tell([mark]), ears, [compose("/mark", "info")])
                with pytest.raises(BusError, match="can't be listened on"):
                    bus.answerer(ours.address)
                ours.close()
                await pinged(bus.answerer(LOOPBACK), theirs)

    run(story())


# ---- files


def test_a_new_pair_is_kept_to_oneself_and_never_overwritten(tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    public, secret = make_pair("mine", tmp_path)
    assert (public.name, secret.name) == ("mine.key", "mine.key_secret")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert public.stat().st_mode & 0o777 == 0o644 & ~before
    assert "secret" not in public.read_text()
    assert read_pair(secret).public == read_public(public)
    assert read_pair(secret).secret.decode() not in repr(read_pair(secret))
    with pytest.raises(KeyFileError, match="is there already"):
        make_pair("mine", tmp_path)
    secret.rename(tmp_path / "other")
    with pytest.raises(KeyFileError, match="is there already"):
        make_pair("mine", tmp_path)
    assert not secret.exists()  # and nothing is left of what could not be finished


def test_files_of_posttroll_and_ours_are_read_by_either(tmp_path: Path) -> None:
    from posttroll.backends.zmq import generate_keys
    from zmq.auth import load_certificate

    generate_keys(["theirs", "-d", str(tmp_path)])
    (tmp_path / "theirs.key_secret").chmod(0o600)
    for file in (*make_pair("ours", tmp_path), tmp_path / "theirs.key", tmp_path / "theirs.key_secret"):
        public, secret = load_certificate(file)
        assert read_public(file).text.encode() == public
        assert secret is None or read_pair(file).secret == secret


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda path, text: None, "can't be read: No such file or directory"),
        (lambda path, text: path.write_text(""), "holds no public key of ZeroMQ"),
        (lambda path, text: path.write_bytes(bytes(range(256))), "holds no public key of ZeroMQ"),
        (lambda path, text: path.write_text(text.partition("secret")[0]), "holds a public key only"),
        (lambda path, text: path.write_text(text.replace("S3cret", "")), "holds no secret key of ZeroMQ"),
        (
            lambda path, text: path.write_text(text.replace("S3cret", "#####x")),
            "holds no secret key of ZeroMQ",
        ),
        (lambda path, text: path.write_text(text.replace("S3cret", "S3creT")), "do not belong together"),
        (lambda path, text: (path.write_text(text), path.chmod(0o644)), "chmod 600"),
    ],
)
def test_what_is_wrong_with_a_secret_file_is_said(
    ring: Ring, tmp_path: Path, prepare: Callable[[Path, str], object], told: str
) -> None:
    path = tmp_path / "mine.key_secret"
    path.touch(0o600) if told[:5] != "can't" else None
    prepare(path, ring.secret("us").read_text())
    with pytest.raises(KeyFileError) as error:
        read_pair(path)
    assert str(error.value).startswith(f"{path}: ")
    assert told in str(error.value)
    assert "S3cr" not in str(error.value)
