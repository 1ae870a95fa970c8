"""Hung or idle?"""

import json

from tranship.core.health import Health
from tranship.run.health import POST_EVERY, post, posted, withdraw


def test_idle_is_healthy_for_ever():
    health = Health(stuck_after=10)
    health.progress("moving", 1.0)
    health.waiting("moving", 0, 2.0)
    report = health.report(1e6)
    assert report.healthy
    assert report.state == "idle"
    assert report.text == "idle; done: moving 1"


def test_work_without_progress_is_stuck_after_the_set_time_and_not_before():
    health = Health(stuck_after=10)
    health.progress("moving", 0.0)
    health.waiting("moving", 2, 100.0)  # it was idle: patience starts now
    assert health.healthy(110.0)
    assert health.report(110.0).state == "working"
    assert not health.healthy(110.1)
    report = health.report(111.0)
    assert report.state == "stuck"
    assert report.text == "stuck; moving is stuck, no progress for 11 s; waiting: moving 2; done: moving 1"


def test_more_work_is_no_progress():
    health = Health(stuck_after=10)
    for now in range(0, 20):
        health.waiting("moving", now + 1, float(now))
    assert not health.healthy(19.0)


def test_bytes_that_go_over_are_progress():
    health = Health(stuck_after=10)
    health.waiting("moving", 1, 0.0)
    health.progress("moving", 9.0, done=0)
    assert health.healthy(18.0)
    assert health.report(18.0).parts[0].done == 0


def test_one_stuck_part_shows_though_others_go_on():
    health = Health(stuck_after=10)
    health.waiting("moving", 1, 0.0)
    health.waiting("publishing", 1, 0.0)
    health.progress("publishing", 11.0)
    assert not health.healthy(12.0)
    assert [part.stuck for part in health.report(12.0).parts] == [True, False]


def test_degraded_explains_itself_and_is_not_stuck_until_it_is_well_again():
    health = Health(stuck_after=10)
    health.waiting("archive", 5, 0.0)
    health.degrade("archive", "login refused")
    report = health.report(1000.0)
    assert report.healthy
    assert report.text == "degraded; archive: login refused; waiting: archive 5"
    health.recover("archive", 1000.0)
    assert health.healthy(1010.0)
    assert not health.healthy(1011.0)


def test_nobody_is_stuck_while_what_all_depend_on_is_in_trouble_nor_right_after():
    health = Health(stuck_after=10)
    health.waiting("announcing", 5, 0.0)
    health.hinder("journal", "disk is full")
    report = health.report(1000.0)
    assert (report.state, report.text) == (
        "degraded",
        "degraded; journal: disk is full; waiting: announcing 5",
    )
    assert health.healthy(1000.0)
    health.recover("journal", 1000.0)
    assert health.healthy(1010.0)
    assert not health.healthy(1011.0)


def test_what_is_no_more_is_forgotten():
    health = Health(stuck_after=10)
    health.waiting("old chain", 5, 0.0)
    health.forget("old chain")
    health.forget("never known")
    assert health.report(1000.0).text == "idle"


def test_the_worst_lag_fades():
    health = Health()
    health.lagged(2.0)
    health.lagged(0.001)
    assert 1.8 < health.report(0.0).lag < 2.0
    for _ in range(60):
        health.lagged(0.001)
    assert health.report(0.0).lag < 0.1


def test_the_bulletin_tells_the_same_without_secrets(tmp_path):
    health = Health()
    health.waiting("moving", 3, 0.0)
    health.degrade("archive", 'sftp://me:pl4"nt@ed@archive: refused')
    bulletin = tmp_path / "b.json"
    report = health.report(5.0)
    post(report, bulletin, 1000.0)
    told = posted(bulletin, 1001.0)
    assert told is not None
    assert told["state"] == report.state == "degraded"
    assert told["parts"]["moving"] == {"waiting": 3, "done": 0, "still_s": 5.0, "trouble": "", "stuck": False}
    assert told["parts"]["archive"]["trouble"] == "sftp://me:***@archive: refused"
    assert "pl4" not in json.dumps(told)
    assert [file.name for file in tmp_path.iterdir()] == ["b.json"]


def test_an_old_or_broken_bulletin_tells_nothing(tmp_path):
    bulletin = tmp_path / "b.json"
    assert posted(bulletin, 0.0) is None
    post(Health().report(0.0), bulletin, 1000.0)
    assert posted(bulletin, 1000.0 + POST_EVERY * 7) is None
    bulletin.write_text("[")
    assert posted(bulletin, 1000.0) is None
    withdraw(bulletin)
    withdraw(bulletin)
    assert not bulletin.exists()
