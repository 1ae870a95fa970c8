"""The configuration changes under a running process, in all the ways in which people change files."""

import asyncio
import os
import signal
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from tranship.run.reload import Source, due
from tranship.run.supervisor import Exit

HUP = signal.SIGHUP


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def by_rename(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def by_symlink(file: Path, text: str) -> None:
    target = file.with_name("version-2")
    target.write_text(text)
    link = file.with_suffix(".link")
    link.symlink_to(target)
    link.replace(file)


def by_removal(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


@pytest.mark.parametrize("change", [in_place, by_rename, by_symlink, by_removal])
def test_a_changed_file_is_taken_over(start, change):
    process = start("serve")
    process.notified("READY=1")
    change(process.config, '{"a": "2"}')
    process.said('reload ["a is 2"]')
    process.notified("READY=1")
    assert "configuration (its files have changed): a is 2" in process.log


def test_on_request_even_if_nothing_changed(start):
    process = start("serve")
    process.notified("READY=1")
    process.signal(HUP)
    reloading = process.notified("RELOADING=1")[-1]
    began = int(reloading.partition("MONOTONIC_USEC=")[2])
    process.said("reload []")
    process.notified("READY=1")
    assert 0 < began * 1000 < time.monotonic_ns()
    assert "configuration (on request): nothing changed" in process.log


def test_a_burst_is_one_reload(start):
    process = start("serve")
    process.notified("READY=1")
    process.said("load")
    process.signal(signal.SIGSTOP)
    for number in range(10):
        in_place(process.config, f'{{"a": "{number}"}}')
        process.signal(HUP)
    process.signal(signal.SIGCONT)
    assert process.said('reload ["a is 9"]') == ["load", 'reload ["a is 9"]']
    process.notified("READY=1")
    in_place(process.config, '{"a": "next"}')
    assert process.said('reload ["a is next"]') == ["load", 'reload ["a is next"]']


def test_what_is_no_good_is_refused_and_the_old_one_kept(start):
    process = start("serve")
    process.notified("READY=1")
    in_place(process.config, '{"a": ')
    told = process.notified("READY=1\nSTATUS=degraded")[-1]
    assert "configuration: the new one is refused, the old one is kept: " in told
    assert "tiny.json:1: is no JSON" in told
    process.notified("WATCHDOG=1")
    assert "refused, the old one is kept" in process.log
    in_place(process.config, '{"a": "1", "b": "3"}')
    assert process.said('reload ["b is 3"]')[-1] == 'reload ["b is 3"]'  # a is what it was
    process.notified("READY=1\nSTATUS=idle")


def test_a_file_that_is_gone_is_said_and_nothing_is_dropped(start):
    process = start("serve")
    process.notified("READY=1")
    process.config.unlink()
    process.notified("the old one is kept")
    in_place(process.config, '{"a": "1"}')
    process.said("reload []")
    process.notified("READY=1\nSTATUS=idle")


def test_what_can_be_taken_over_only_in_part_is_said(start):
    process = start("serve")
    process.notified("READY=1")
    in_place(process.config, '{"port": "taken"}')
    process.notified("configuration: taken over only in part: port: taken by somebody else")
    process.signal(signal.SIGTERM)
    assert process.ended() == Exit.DONE


def test_a_request_during_the_start_waits_for_its_end(start):
    process = start("slow start")
    process.notified("EXTEND_TIMEOUT_USEC")
    process.signal(HUP)
    before = process.notified("WATCHDOG=1") + process.notified("WATCHDOG=1")
    process.order("ready")
    before += process.notified("READY=1")
    assert not any("RELOADING" in told for told in before)
    process.notified("RELOADING=1")
    process.said("reload []")


def test_a_file_in_the_middle_of_being_saved_is_left_to_rest(tmp_path):
    file = tmp_path / "conf"
    file.write_text("old")
    source = Source(file.read_text, [file])
    source.load()

    async def save_slowly() -> None:
        with file.open("w") as writer:
            for _ in range(30):
                writer.write("x")
                writer.flush()
                await asyncio.sleep(0.03)  # a slow writer, not a wait
            writer.write("whole")

    async def first_reload() -> str:
        async with aclosing(due(source, asyncio.Event(), every=0.01, quiet=0.3)) as reasons:
            saving = asyncio.create_task(save_slowly())
            async for _ in reasons:
                assert saving.done()
                return source.load()
        raise AssertionError

    assert asyncio.run(asyncio.wait_for(first_reload(), 20)) == "x" * 30 + "whole"


def test_requests_without_end_do_not_put_it_off_for_ever(tmp_path):
    file = tmp_path / "conf"
    file.write_text("")
    source = Source(file.read_text, [file])
    source.load()

    async def nag(asked: asyncio.Event) -> None:
        while True:
            asked.set()
            await asyncio.sleep(0)

    async def first_reason() -> str:
        asked = asyncio.Event()
        nagging = asyncio.create_task(nag(asked))
        async with aclosing(due(source, asked, every=5, quiet=5)) as reasons:
            reason = await anext(reasons)
        nagging.cancel()
        return reason

    assert asyncio.run(asyncio.wait_for(first_reason(), 20)) == "on request"


def test_same_size_same_mtime_other_content_is_seen(tmp_path):
    file = tmp_path / "conf"
    file.write_text("one")
    source = Source(file.read_text, [file])
    source.load()
    assert not source.changed()
    status = file.stat()
    other = tmp_path / "other"
    other.write_text("two")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert source.changed()
    assert source.load() == "two"
    assert not source.changed()


def test_a_swapped_folder_above_a_symlink_is_seen(tmp_path):
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "conf").write_text(version)
    (tmp_path / "data").symlink_to("1")
    file = tmp_path / "conf"
    file.symlink_to("data/conf")
    source = Source(file.read_text, [file])
    assert source.load() == "1"
    (tmp_path / "fresh").symlink_to("2")
    (tmp_path / "fresh").replace(tmp_path / "data")
    assert source.changed()
    assert source.load() == "2"
