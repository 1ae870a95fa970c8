"""The contract of a bus, on the real one and on the one in memory."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from servers.ports import free_port
from tranship.wire.contract import MAX_MESSAGE, Answerer, Asker, Bus, BusError
from tranship.wire.messages import Message, compose, reply

from .conftest import DEADLINE, MakeBus, answer_all, connected, heard, outcomes, run, until

LOOPBACK = "tcp://127.0.0.1:0"


@asynccontextmanager
async def opened(make_bus: MakeBus) -> AsyncIterator[Bus]:
    bus = make_bus()
    try:
        yield bus
    finally:
        bus.close()


@asynccontextmanager
async def answering(answerer: Answerer, answer: object) -> AsyncIterator[None]:
    task = asyncio.create_task(answer_all(answerer, answer))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def request(ticket: str, type: str = "push") -> Message:  # noqa: A002
    return compose("/s", type, {"uid": ticket, "tranship": {"id": ticket}})


def test_messages_are_heard_in_order_from_whom_they_came(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            one, two = bus.publisher(LOOPBACK, "one"), bus.publisher(LOOPBACK, "two")
            ears = bus.subscription()
            for publisher in (one, two):
                ears.add(publisher.address, [""])
                await connected(lambda mark, to=publisher: to.tell([mark]), ears, [compose("/mark", "info")])
            one.tell([compose("/one", "file", str(number)) for number in range(3000)])
            two.tell([compose("/two", "file", str(number)) for number in range(3000)])
            items = await heard(ears, lambda items: sum(i.message.type == "file" for i in items) == 6000)
            for publisher, subject in ((one, "/one"), (two, "/two")):
                told = [item for item in items if item.message.subject == subject]
                assert [item.message.data for item in told] == [str(number) for number in range(3000)]
                assert {item.provider for item in told} == {publisher.address}

    run(story())


def test_only_the_topics_asked_for_are_heard(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            publisher, ears = bus.publisher(LOOPBACK, "p"), bus.subscription()
            ears.add(publisher.address, ["/a"])
            ears.add(publisher.address, ["/b/", "c"])
            marks = [compose(f"/{topic}/mark", "info") for topic in ("a", "b", "c")]
            await connected(lambda mark: publisher.tell([mark]), ears, marks)
            publisher.tell([compose(f"/{topic}", "file") for topic in ("x", "b", "ab", "b/1", "d", "c")])
            items = await heard(ears, lambda items: any(i.message.subject == "/c" for i in items))
            assert [i.message.subject for i in items if i.message.type == "file"] == ["/ab", "/b/1", "/c"]

    run(story())


def test_a_dropped_provider_is_heard_no_more(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            one, two = bus.publisher(LOOPBACK, "one"), bus.publisher(LOOPBACK, "two")
            ears = bus.subscription()
            for publisher in (one, two):
                ears.add(publisher.address, [""])
                await connected(lambda mark, to=publisher: to.tell([mark]), ears, [compose("/mark", "info")])
            ears.drop(one.address)
            ears.drop("tcp://127.0.0.1:1")
            one.tell([compose("/one", "file")])
            two.tell([compose("/two", "file")])
            items = await heard(ears, lambda items: any(i.message.subject == "/two" for i in items))
            assert all(item.message.subject != "/one" for item in items)

    run(story())


def test_a_new_connection_after_a_missed_beat_goes_on_hearing(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            publisher, ears = bus.publisher(LOOPBACK, "p"), bus.subscription()
            ears.add(publisher.address, ["/mark"])
            await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark/1", "info")])
            ears.again(publisher.address)
            await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark/2", "info")])

    run(story())


def test_a_provider_that_comes_later_and_comes_back_is_heard(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            first = bus.publisher(LOOPBACK, "p")
            address = first.address
            first.close()
            ears = bus.subscription()
            ears.add(address, [""])
            for round_ in range(2):
                publisher = await bound(bus, address)
                mark = compose(f"/mark/{round_}", "info")
                await connected(lambda mark, to=publisher: to.tell([mark]), ears, [mark])
                publisher.close()

    run(story())


async def bound(bus: Bus, address: str) -> object:
    """A publisher at an address that is just being given up."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with suppress(BusError):
                return bus.publisher(address, "p")
            await asyncio.sleep(0.01)


def test_an_address_in_use_is_an_error_that_names_it(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            taken = bus.publisher(LOOPBACK, "p").address
            with pytest.raises(BusError, match=f"{taken} can't be listened on: [Aa]ddress already in use"):
                bus.publisher(taken, "p")
            with pytest.raises(BusError, match=taken):
                bus.answerer(taken)

    run(story())


@pytest.mark.parametrize(
    "address", ["", "host:9010", "tcp://host", "tcp://host:99999", "tcp://:1", "ipc:///x", "tcp://a b:1"]
)
def test_what_is_no_address_is_an_error_that_names_it(make_bus: MakeBus, address: str) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            for attempt in (
                lambda: bus.publisher(address, "p"),
                lambda: bus.answerer(address),
                lambda: bus.asker(address, many=True),
                lambda: bus.subscription().add(address, [""]),
            ):
                with pytest.raises(BusError, match="no address"):
                    attempt()

    run(story())


def test_many_requests_are_under_way_at_once_and_answered_in_any_order(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=True)
            tickets = [f"t{number}" for number in range(2000)]
            for ticket in tickets:
                asker.ask(request(ticket), ticket, DEADLINE)
            questions: list = []
            async with asyncio.timeout(DEADLINE):
                while len(questions) < len(tickets):
                    questions.extend(await answerer.asked())
            for question in reversed(questions):
                answerer.answer(question, reply(question.message, "file", {"uid": question.message.ticket}))
            found = await outcomes(asker, len(tickets))
            assert {ticket: found[ticket].data["uid"] for ticket in tickets} == dict(
                zip(tickets, tickets, strict=True)
            )
            assert bus.counts.refused == {}
            assert (bus.counts.sent, bus.counts.received) == (4000, 4000)

    run(story())


def test_patience_runs_out_for_one_request_and_the_others_go_on(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=True)
            asker.ask(request("deaf"), "deaf", 0.2)
            asker.ask(request("heard"), "heard", DEADLINE)
            late: list = []
            async with asyncio.timeout(DEADLINE):
                while len(late) < 2:
                    late.extend(await answerer.asked())
            assert await outcomes(asker, 1) == {"deaf": None}
            for question in late:
                answerer.answer(question, reply(question.message, "file"))
            assert set(await outcomes(asker, 1)) == {"heard"}
            await until(lambda: bus.counts.refused == {"unknown reply": 1})

    run(story())


def test_progress_is_handed_over_and_keeps_the_request_open(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=True)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            asker.ask(request("long"), "long", 0.3)
            asker.keep_waiting("somebody else's", 1.0)
            async with asyncio.timeout(DEADLINE):
                [question] = await answerer.asked()
                answerer.answer(question, reply(question.message, "progress", {"bytes": 1}))
                [answer] = await asker.answered()
                assert answer.message is not None
                assert (answer.ticket, answer.message.type, answer.message.data["bytes"]) == (
                    "long",
                    "progress",
                    1,
                )
                asker.keep_waiting("long", 0.9)
                assert await outcomes(asker, 1) == {"long": None}
            assert loop.time() - begun >= 0.9

    run(story())


def test_a_peer_that_is_not_there_yet_is_asked_when_it_comes(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            address = (
                f"tcp://127.0.0.1:{free_port()}"  # of one that was closed, somebody may still be reached
            )
            asker = bus.asker(address, many=True)
            asker.ask(request("gone"), "gone", 0.1)
            assert await outcomes(asker, 1) == {"gone": None}
            asker.ask(request("there"), "there", DEADLINE)
            await asyncio.sleep(0.5)  # time for attempts to fail
            assert not asker.reached
            answerer = await answerer_at(bus, address)
            seen: list[str] = []
            async with answering(answerer, lambda asked: seen.append(asked.ticket) or reply(asked, "file")):
                assert set(await outcomes(asker, 1)) == {"there"}
            assert seen == ["there"]  # and not the one that nobody waits for any more
            assert asker.reached

    run(story())


@pytest.mark.parametrize("many", [True, False])
def test_what_is_given_up_has_an_outcome_at_once(make_bus: MakeBus, many: bool) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=many)
            for ticket in ("one", "two"):
                asker.ask(request(ticket), ticket, 3600.0)
            asker.give_up()
            assert await outcomes(asker, 2) == {"one": None, "two": None}
            assert asker.idle

    run(story())


async def answerer_at(bus: Bus, address: str) -> Answerer:
    async with asyncio.timeout(DEADLINE):
        while True:
            with suppress(BusError):
                return bus.answerer(address)
            await asyncio.sleep(0.01)


def test_an_old_peer_is_asked_one_request_at_a_time(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=False)
            for number in range(20):
                asker.ask(compose("/s", "push", {"uid": str(number)}), f"t{number}", DEADLINE)
            async with asyncio.timeout(DEADLINE):
                for number in range(20):
                    [question] = await answerer.asked()  # never two
                    assert question.message.data == {"uid": str(number)}
                    answerer.answer(question, compose("/s", "file", question.message.data))
                    [answer] = await asker.answered()
                    assert answer.ticket == f"t{number}"

    run(story())


def test_an_old_peer_that_was_too_slow_does_not_answer_the_next_request(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=False)
            asker.ask(compose("/s", "push", "first"), "first", 0.3)
            asker.ask(compose("/s", "push", "second"), "second", DEADLINE)
            async with asyncio.timeout(DEADLINE):
                [first] = await answerer.asked()
                assert await outcomes(asker, 1) == {"first": None}
                [second] = await answerer.asked()
            answerer.answer(first, compose("/s", "file", "first"))
            answerer.answer(second, compose("/s", "file", "second"))
            found = await outcomes(asker, 1)
            assert found["second"].data == "second"

    run(story())


def test_a_waiting_request_to_an_old_peer_loses_no_patience(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=False)
            asker.ask(compose("/s", "push", "deaf"), "deaf", 0.5)
            asker.ask(compose("/s", "push", "next"), "next", 0.4)
            async with answering(
                answerer, lambda asked: None if asked.data == "deaf" else compose("/s", "file", asked.data)
            ):
                found = await outcomes(asker, 2)
            assert found["deaf"] is None
            assert found["next"].data == "next"

    run(story())


@pytest.mark.parametrize("many", [True, False])
def test_a_request_that_is_too_long_is_answered_at_once(make_bus: MakeBus, many: bool) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            asker = bus.asker("tcp://127.0.0.1:1", many=many)
            long = compose("/s", "push", {"uid": "x" * MAX_MESSAGE, "tranship": {"id": "t"}})
            asker.ask(long, "t", DEADLINE)
            [answer] = await asker.answered()
            assert answer.message.type == "err"
            assert str(MAX_MESSAGE) in answer.message.data["reason"]
            assert bus.counts.refused == {"too long": 1}

    run(story())


def test_an_answer_that_is_too_long_becomes_an_err(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker = bus.asker(answerer.address, many=True)
            async with answering(answerer, lambda asked: reply(asked, "info", {"files": "x" * MAX_MESSAGE})):
                asker.ask(request("t"), "t", DEADLINE)
                found = await outcomes(asker, 1)
            assert found["t"].type == "err"
            assert str(MAX_MESSAGE) in found["t"].data["reason"]

    run(story())


def test_a_message_that_is_too_long_is_not_told(make_bus: MakeBus) -> None:
    async def story() -> None:
        odd: list[tuple[str, str]] = []
        bus = make_bus(lambda peer, what: odd.append((peer, what)))
        publisher, ears = bus.publisher(LOOPBACK, "p"), bus.subscription()
        ears.add(publisher.address, [""])
        await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark", "info")])
        long = compose("/long", "file", "x" * MAX_MESSAGE)
        publisher.tell([long, long, compose("/after", "file")])
        items = await heard(ears, lambda items: any(i.message.subject == "/after" for i in items))
        assert all(item.message.subject != "/long" for item in items)
        assert bus.counts.refused == {"too long": 2}
        [(peer, what)] = odd  # told once
        assert peer == publisher.address
        assert "too long" in what
        bus.close()

    run(story())


@pytest.mark.parametrize("many", [True, False])
def test_a_ticket_under_way_cannot_be_used_again(make_bus: MakeBus, many: bool) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            asker = bus.asker("tcp://127.0.0.1:1", many=many)
            asker.ask(request("t"), "t", DEADLINE)
            with pytest.raises(ValueError, match="under way"):
                asker.ask(request("t"), "t", DEADLINE)

    run(story())


def test_who_waits_at_what_is_closed_is_woken(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with opened(make_bus) as bus:
            answerer = bus.answerer(LOOPBACK)
            asker, ears = bus.asker(answerer.address, many=True), bus.subscription()
            waiting = [asyncio.ensure_future(w) for w in (answerer.asked(), asker.answered(), ears.heard())]
            await asyncio.sleep(0)
            for closable in (answerer, asker, ears):
                closable.close()
                closable.close()
            for each in waiting:
                with pytest.raises(BusError):
                    await asyncio.wait_for(each, DEADLINE)

    run(story())


def test_closing_leaves_nothing_open(make_bus: MakeBus) -> None:
    async def story() -> None:
        async with asyncio.timeout(DEADLINE):
            before = set(os.listdir("/proc/self/fd"))
            bus = make_bus()
            publisher, answerer, ears = (
                bus.publisher(LOOPBACK, "p"),
                bus.answerer(LOOPBACK),
                bus.subscription(),
            )
            ears.add(publisher.address, [""])
            ears.add("tcp://127.0.0.1:1", [""])
            ears.add("tcp://localhost:1", [""])
            asker: Asker = bus.asker(answerer.address, many=False)
            asker.ask(request("t"), "t", DEADLINE)
            await connected(lambda mark: publisher.tell([mark]), ears, [compose("/mark", "info")])
            bus.close()
            # a name is looked up in a thread, whose resolver may hold a file a moment longer
            await until(lambda: set(os.listdir("/proc/self/fd")) <= before)

    run(story())
