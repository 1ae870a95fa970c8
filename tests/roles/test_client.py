"""The client's promises, one fault each."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from rig import TOPIC, rig, until

from tranship.core.journey import Step
from tranship.core.retry import RetryPolicy
from tranship.journal.survey import survey
from tranship.wire.contract import Answerer
from tranship.wire.memory import MemoryBus
from tranship.wire.messages import compose

PATIENT = RetryPolicy(first=timedelta(seconds=0.05), longest=timedelta(minutes=10))


def test_a_file_is_delivered_and_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            await site.client()
            site.drop("a.dat", b"whole")
            await until(lambda: site.published, "published")
            assert (site.outgoing / "a.dat").read_bytes() == b"whole"

    asyncio.run(main())


def test_a_file_whose_time_is_set_after_it_was_closed_is_delivered(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            path = site.drop("a.dat")
            await until(lambda: server.story.of(Step.ANNOUNCED), "announced")
            os.utime(path, (1e9, 1e9))
            await site.client()
            await until(lambda: site.published, "published")

    asyncio.run(main())


def test_a_drain_does_not_wait_for_what_was_not_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            client = await site.client(in_flight=1)
            for n in range(50):
                site.drop(f"{n}.dat")
            await until(lambda: client.story.of(Step.REQUESTED), "requested")
            await client.stop(5)

    asyncio.run(main())


def test_where_a_folder_has_the_files_name_the_message_names_the_file_in_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            await site.client(destination=f"file://{site.outgoing}/{{name}}.new")
            (site.outgoing / "a.new").mkdir()
            site.drop("a.dat", b"whole")
            [message] = await until(lambda: site.published, "published")
            path = site.outgoing / "a.new/a.dat"
            assert (message.data["uri"], path.read_bytes()) == (str(path), b"whole")

    asyncio.run(main())


def test_no_host_gets_the_login_that_is_not_trusted_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus, address = MemoryBus(site.network), "127.0.0.2:701"
            asked: list[str] = []

            async def steal(thief: Answerer) -> None:
                while True:
                    asked.extend(question.message.type for question in await thief.asked())

            stealing = asyncio.create_task(steal(bus.answerer(f"tcp://{address}")))
            await site.server()
            speaker = bus.publisher("tcp://127.0.0.1:400", "speaker")
            options = {"providers": ["127.0.0.1:100", "127.0.0.1:400"], "login": "user:S3cret"}
            client = await site.client(**options, login_hosts=["127.0.0.1"])
            stolen = {"uri": "/in/b.dat", "uid": "b.dat", "request_address": address}
            speaker.tell([compose(TOPIC, "file", stolen)])
            await until(lambda: client.story.of(Step.RETRIED), "not asked")
            _, facts = client.story.of(Step.RETRIED)[0]
            told = f"{address} would get the login; add its host to `login_hosts`"
            assert str(facts["reason"]).startswith(told)
            site.drop("a.dat")
            await until(lambda: site.published, "published")
            assert "push" not in asked  # what was missed is asked for without a login
            await client.kill()
            await site.client(**options)  # as in Trollmoves: whomever an announcement names
            await until(lambda: "push" in asked, "asked")
            stealing.cancel()
            await asyncio.wait([stealing])

    asyncio.run(main())


BAD = [
    {"uid": "a.dat", "uri": "/in/a.dat", "request_address": "no port:here"},
    {"uid": "a.dat", "uri": "/in/a.dat", "request_address": "host:99999999"},
    {"uid": "a\ud800.dat", "uri": "/in/a.dat", "request_address": "127.0.0.1:101"},
    {"uid": "a.dat", "uri": "/in/a\udcff.dat", "request_address": "127.0.0.1:101"},
    {
        "uid": "a.dat",
        "uri": "/in/a.dat",
        "request_address": "127.0.0.1:101",
        "tranship": {"server": "x", "seq": 10**30},
    },
    {
        "uid": "a.dat",
        "uri": "/in/a.dat",
        "request_address": "127.0.0.1:101",
        "tranship": {"server": "x", "seq": 1, "size": 10**30},
    },
    {
        "uid": "a.dat",
        "uri": "/in/a.dat",
        "request_address": "127.0.0.1:101",
        "tranship": {"server": "\ud800", "seq": 1},
    },
]


def test_no_announcement_harms_the_chain(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus = MemoryBus(site.network)
            other = bus.publisher("tcp://127.0.0.1:200", "other")
            client = await site.client(providers=["127.0.0.1:100", "127.0.0.1:200"])
            await site.server()
            await asyncio.sleep(1.1)
            other.tell([compose(TOPIC, "file", data) for data in BAD])
            beat = {
                "tranship": {
                    "server": "y",
                    "heads": [
                        {"topic": TOPIC, "seq": 5, "request_address": "nonsense"},
                        {"topic": TOPIC, "seq": 10**30, "request_address": "127.0.0.1:101"},
                    ],
                }
            }
            other.tell([compose("/heartbeat/other", "beat", beat)])
            site.drop("good.dat")
            await until(lambda: site.published, "published")
            assert not [part for part in client.health.report(0).parts if "Error" in part.trouble]
            [odd] = [part for part in client.health.report(0).parts if part.name.endswith(" odd messages")]
            assert odd.done == 5  # of the others only the numbers are odd
            assert len(client.story.of(Step.REFUSED)) == 1

    asyncio.run(main())


def test_what_one_server_refuses_another_is_asked_for_and_both_may_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            (tmp_path / "in2").mkdir()
            free: dict[str, Any] = {"delete": True, "remove_delay": "0 s"}
            await site.server(1, allow=[], **free)
            await site.server(2, origin=f"{tmp_path}/in2/{{name}}.dat", **free)
            client = await site.client(providers=["127.0.0.1:100", "127.0.0.1:200"])
            one, two = site.drop("a.dat"), tmp_path / "in2" / "a.dat"
            await until(lambda: client.story.of(Step.FAILED), "refused")
            two.write_bytes(one.read_bytes())
            [message] = await until(lambda: site.published, "published")
            assert message.data["origin"] == "127.0.0.1:201"
            await until(lambda: not one.exists() and not two.exists(), "both have let go")

    asyncio.run(main())


def test_a_provider_that_is_silent_holds_up_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            bus = MemoryBus(site.network)
            silent = bus.publisher("tcp://127.0.0.1:200", "silent")
            bus.answerer("tcp://127.0.0.1:201")
            await site.server()
            both = ["127.0.0.1:100", "127.0.0.1:200"]
            client = await site.client(in_flight=4, providers=both, transfer_req_timeout="1 h", lease="1 h")
            await asyncio.sleep(1.1)
            silent.tell(
                [
                    compose(
                        TOPIC,
                        "file",
                        {
                            "uid": f"{n}.x",
                            "uri": f"/{n}.x",
                            "request_address": "127.0.0.1:201",
                            "tranship": {"server": "x", "seq": n + 1, "size": 1, "mtime": 1, "checksum": ""},
                        },
                    )
                    for n in range(20)
                ]
            )
            await until(lambda: len(client.story.of(Step.REQUESTED)) >= 4, "requested")
            site.drop("a.dat")
            await until(lambda: site.published, "published")

    asyncio.run(main())


def test_false_addresses_keep_nobody_from_a_server_that_is_new(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            liar = MemoryBus(site.network).publisher("tcp://127.0.0.1:200", "liar")
            client = await site.client(
                providers=["127.0.0.1:100", "127.0.0.1:200"], transfer_req_timeout="1 h", lease="1 h"
            )
            false = [
                {"uid": f"{n}", "uri": f"/in/{n}", "request_address": f"127.0.0.1:{20_000 + n}"}
                for n in range(200)
            ]
            liar.tell([compose(TOPIC, "file", each) for each in false])
            await until(lambda: client.story.of(Step.RETRIED), "no room for more")
            await site.server()
            site.drop("a.dat")
            await until(lambda: site.published, "published")

    asyncio.run(main())


def test_attempts_that_fail_are_no_reason_to_restart_the_process(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server(allow=[])
            client = await site.client()
            site.drop("a.dat")
            await until(lambda: client.story.of(Step.FAILED), "failed")
            await until(lambda: client.health.report(client.clock.monotonic()).state == "idle", "idle")

    asyncio.run(main())


def test_a_clock_that_is_put_back_delays_no_retry(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            site.outgoing.rmdir()
            site.outgoing.write_bytes(b"")  # no folder: nothing can be put there
            client = await site.client(policy=PATIENT)
            site.drop("a.dat")
            await until(lambda: client.story.of(Step.RETRIED), "retried")
            client.clock.shift = -300.0
            site.outgoing.unlink()
            site.outgoing.mkdir()
            await until(lambda: site.published, "published")

    asyncio.run(main())


def test_what_is_put_off_waits_no_longer_because_a_clock_was_wrong(tmp_path: Path) -> None:
    """It is put back while a delivery waits; and it was ahead in the life that put one off."""

    async def main() -> None:
        async with rig(tmp_path) as site:
            waits: Any = {"policy": PATIENT, "processing_delay": "1 s", "lease": "4 s"}
            await site.server()

            async def dropped(name: str) -> None:
                site.drop(name)
                journal = tmp_path / "client1.journal"
                await until(
                    lambda: survey(journal).rows and survey(journal).rows[0].numbers["wanted"], "wanted"
                )

            client = await site.client(**waits)
            await dropped("a.dat")
            client.clock.shift = -300.0
            await until(lambda: len(site.published) == 1, "published")
            await client.kill()
            client = await site.client(ahead=300.0, **waits)
            await dropped("b.dat")
            await client.kill()
            await site.client(**waits)
            await until(lambda: len(site.published) == 2, "published")

    asyncio.run(main())


def test_files_go_below_and_under_the_name_that_was_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server(info={"path": "deeper"})
            await site.client(destination=f"file://{site.outgoing}/")
            site.drop("a.dat", b"whole")
            [told] = await until(lambda: site.published, "published")
            assert told.data["uri"] == str(site.outgoing / "deeper" / "a.dat")
            assert (site.outgoing / "deeper" / "a.dat").read_bytes() == b"whole"

    asyncio.run(main())


def test_the_new_name_is_what_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            await site.server()
            await site.client(destination=f"file://{site.outgoing}/{{name}}.new")
            site.drop("a.dat", b"whole")
            [told] = await until(lambda: site.published, "published")
            assert told.data["uri"] == str(site.outgoing / "a.new")
            assert (site.outgoing / "a.new").read_bytes() == b"whole"

    asyncio.run(main())


def test_a_delivery_that_vanished_before_it_was_verified_is_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as site:
            server = await site.server()
            client = await site.client()
            await asyncio.sleep(1.1)
            site.drop("a.dat", b"whole")
            await until(lambda: server.story.of(Step.MOVED), "moved")
            await client.kill()
            (site.outgoing / "a.dat").unlink(missing_ok=True)
            (tmp_path / "client1.journal").unlink()
            await site.client()
            del site.heard[:]
            await until(lambda: site.published, "published")
            assert (site.outgoing / "a.dat").read_bytes() == b"whole"

    asyncio.run(main())
