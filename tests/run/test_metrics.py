"""Scraped over real HTTP: the same numbers as the health."""

import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tranship.core.health import Health
from tranship.run.metrics import registry, served
from tranship.wire.contract import BusError, Counts


def scraped(url: str) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_tells_what_the_health_says_now():
    health = Health(stuck_after=10)
    counts = Counts(received=7, sent=5, refused={"undecodable": 2})
    with served(registry(health, role="server", version="9.9", counts=counts), port=0) as url:
        assert url.startswith("http://127.0.0.1:")
        assert scraped(url)["tranship_healthy",] == 1
        health.waiting("moving", 3, -1e9)  # long ago
        health.progress("publishing", 0.0, done=41)
        health.degrade("archive", "login refused")
        health.lagged(0.25)
        counts.received += 1
        seen = scraped(url)
    assert seen["tranship_healthy",] == 0
    assert seen["tranship_waiting", "moving"] == 3
    assert seen["tranship_done_total", "publishing"] == 41
    assert seen["tranship_still_seconds", "moving"] > 1e8
    assert seen["tranship_degraded", "archive"] == 1
    assert seen["tranship_degraded", "moving"] == 0
    assert seen["tranship_loop_lag_seconds",] == 0.25
    assert seen["tranship_frames_received_total",] == 8
    assert seen["tranship_frames_refused_total", "undecodable"] == 2
    assert seen["process_resident_memory_bytes",] > 1e6
    assert ("tranship_build_info", "9.9", "server") in seen or (
        "tranship_build_info",
        "server",
        "9.9",
    ) in seen


def test_two_processes_worth_of_numbers_do_not_mix():
    one, two = Health(), Health()
    one.progress("moving", 0.0)
    with (
        served(registry(one, role="server", version="1"), port=0) as first,
        served(registry(two, role="client", version="1"), port=0) as second,
    ):
        assert scraped(first)["tranship_done_total", "moving"] == 1
        assert ("tranship_done_total", "moving") not in scraped(second)


def test_a_taken_port_names_itself():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        numbers = registry(Health(), role="server", version="1")
        with (
            pytest.raises(BusError, match=f"127.0.0.1:{port}: can't serve metrics here: "),
            served(numbers, port=port),
        ):
            pass


def test_nothing_is_served_any_more_afterwards():
    with served(registry(Health(), role="server", version="1"), port=0) as url:
        scraped(url)
    with pytest.raises(OSError, match="refused"):
        scraped(url)
