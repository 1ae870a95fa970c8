"""A role's whole life in a real process: ready, well or not, asked to stop, gone with a meaning."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tranship.run.health import posted
from tranship.run.supervisor import Exit

TERM, INT = signal.SIGTERM, signal.SIGINT


def test_says_when_it_is_ready_and_not_before(start):
    process = start("slow start")
    before = process.notified("EXTEND_TIMEOUT_USEC=60000000")
    assert not any("READY=1" in told for told in before)
    process.order("ready")
    ready = process.notified("READY=1")[-1]
    assert ready == "READY=1\nSTATUS=idle"
    after = process.notified("WATCHDOG=1") + process.notified("WATCHDOG=1") + process.notified("WATCHDOG=1")
    assert not any("EXTEND" in told for told in after[1:])


@pytest.mark.parametrize("number", [TERM, INT])
def test_finishes_what_is_under_way_when_asked_to_stop(start, number):
    process = start("under way")
    process.notified("READY=1")
    process.signal(number)
    stopping = process.notified("STOPPING=1")[-1]
    assert "STATUS=stopping; idle" in stopping
    process.said("drain")
    process.order("finished")
    assert process.ended() == Exit.DONE
    assert process.rest() == ["drained", "left"]
    assert f"{number.name}: finishing what is under way" in process.log


def test_breaks_off_when_draining_takes_too_long(start):
    process = start("under way")
    process.notified("READY=1")
    process.signal(TERM)
    process.notified("EXTEND_TIMEOUT_USEC=1300000")  # drain + 4 x grace
    assert process.ended() == Exit.UNFINISHED
    assert process.rest()[-1] == "left"
    assert "not everything was finished in 0.5 s, the journal holds the rest" in process.log


def test_second_signal_leaves_at_once(start):
    process = start("under way")
    process.notified("READY=1")
    process.signal(TERM)
    process.said("drain")
    process.signal(INT)
    assert process.ended() == 128 + INT
    assert "SIGINT again: leaving at once" in process.log


def test_second_signal_leaves_at_once_though_the_loop_is_blocked(start):
    process = start("blocked")
    process.order("block")
    process.said("blocked")
    process.signal(TERM)
    code = None
    while code is None:  # somebody impatient; the first two may be there at once, and then count as one
        process.signal(INT)
        with suppress(subprocess.TimeoutExpired):
            code = process.process.wait(0.1)
    assert code in (128 + INT, 128 + TERM)
    assert "again: leaving at once" in process.log


def test_leaves_in_time_though_a_thread_hangs(start):
    process = start("hung thread")
    process.said("hung")
    begun = time.monotonic()
    process.signal(TERM)
    assert process.ended() == Exit.DONE
    assert time.monotonic() - begun < 10


def test_leaves_in_time_though_a_task_does_not_end(start):
    process = start("stubborn")
    process.notified("READY=1")
    process.signal(TERM)
    assert process.ended() == Exit.DONE
    assert "does not end; it is left behind" in process.log


def test_a_role_that_has_nothing_left_to_do_is_done(start):
    process = start("done")
    assert process.ended() == Exit.DONE


@pytest.mark.parametrize(
    ("how", "code", "lines"),
    [("no address", Exit.UNAVAILABLE, 1), ("two causes", Exit.UNAVAILABLE, 1), ("bug", Exit.BUG, 0)],
)
def test_errors_have_a_code_and_known_ones_no_traceback(start, how, code, lines):
    process = start(how)
    assert process.ended() == code
    assert process.log.count("tcp://127.0.0.1:9010: address already in use") == lines
    assert process.log.count("Traceback") == (1 if code is Exit.BUG else 0)


def test_a_bug_among_known_errors_is_a_bug(start):
    process = start("mixed causes")
    assert process.ended() == Exit.BUG
    assert "never thought of that" in process.log


def test_a_drain_that_fails_is_said(start):
    process = start("drain fails")
    process.notified("READY=1")
    process.signal(TERM)
    assert process.ended() == Exit.UNAVAILABLE
    assert "tcp://127.0.0.1:9: can't be used" in process.log


def test_a_configuration_that_is_no_good_stops_the_start(start):
    process = start("serve", "{")
    assert process.ended() == Exit.CONFIG
    assert "tiny.json:1: is no JSON" in process.log
    assert "Traceback" not in process.log


def test_hung_is_seen_pings_stop_and_come_back_with_progress(start):
    process = start("stuck")
    process.notified("READY=1")
    process.notified("WATCHDOG=1")
    process.notified("stuck; moving is stuck")
    # 50 beats later the status changes next, as it counts seconds; no ping came in between.
    assert not any("WATCHDOG" in told for told in process.notified("STATUS=stuck"))
    assert "health: stuck; moving is stuck" in process.log
    process.order("go on")
    process.notified("WATCHDOG=1")
    process.notified("STATUS=idle")


def test_a_degraded_part_is_told_and_is_no_reason_to_restart(start):
    process = start("degraded")
    told = process.notified("STATUS=degraded")[-1]
    assert "archive: login refused at sftp://me:***@archive/in" in told
    assert "pl4nted" not in process.log
    begun = time.monotonic()
    process.notified(lambda _: time.monotonic() - begun > 0.4)  # longer than stuck_after
    process.notified("WATCHDOG=1")
    process.order("worse")
    process.notified("journal: disk full")
    assert process.log.count("health: degraded; archive: ") == 2  # the second trouble is logged, too
    process.order("recover")
    process.notified("STATUS=idle")


def test_a_blocked_loop_does_not_ping(start):
    process = start("blocked")
    process.notified("WATCHDOG=1")
    process.order("block")
    process.said("blocked")
    process.notified_at_once()
    assert process.silent_for(0.5)


def test_a_watchdog_that_kills_learns_where_it_stood(start):
    process = start("blocked")
    process.notified("READY=1")
    process.order("block")
    process.said("blocked")
    process.notified_at_once()
    assert process.silent_for(0.3)  # the other threads are at rest: a thread that runs can't always be shown
    process.signal(signal.SIGABRT)
    assert process.ended() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in process.log
    assert "in blocked" in process.log


def test_status_of_another_process_tells_the_same(start, tmp_path):
    process = start("degraded")
    status = process.notified("STATUS=degraded")[-1].removeprefix("STATUS=")
    bulletin = tmp_path / "health.json"
    deadline = time.monotonic() + 20
    while (told := posted(bulletin, time.time())) is None or told["state"] == "idle":
        assert time.monotonic() < deadline
        os.sched_yield()
    assert told["text"] == status
    assert told["pid"] == process.process.pid
    assert "pl4nted" not in json.dumps(told)
    process.order("worse")
    process.order("recover")
    process.notified("STATUS=idle")
    process.signal(TERM)
    assert process.ended() == Exit.DONE
    assert posted(bulletin, time.time()) is None
