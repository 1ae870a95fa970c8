"""The numbers for Prometheus: read from `Health` and the bus at each scrape, kept nowhere twice."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tranship.core.health import Health
from tranship.wire.contract import BusError, Counts


class HealthNumbers(Collector):
    """A process's health: tranship_healthy, and by part what waits, what is done, what stands still."""

    def __init__(self, health: Health, now: Callable[[], float] = time.monotonic) -> None:
        """Read health at the moment now (monotonic seconds)."""
        self._health = health
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """One family per number."""
        report = self._health.report(self._now())
        yield GaugeMetricFamily("tranship_healthy", "0: stuck, a restart is due", value=report.healthy)
        yield GaugeMetricFamily(
            "tranship_loop_lag_seconds", "The event loop's worst lag lately", value=report.lag
        )
        waiting = GaugeMetricFamily("tranship_waiting", "What could go on now", labels=["part"])
        done = CounterMetricFamily("tranship_done", "What has been finished", labels=["part"])
        still = GaugeMetricFamily(
            "tranship_still_seconds", "Time without progress while something waits", labels=["part"]
        )
        degraded = GaugeMetricFamily("tranship_degraded", "1: can't do its work, see status", labels=["part"])
        for part in report.parts:
            waiting.add_metric([part.name], part.waiting)
            done.add_metric([part.name], part.done)
            still.add_metric([part.name], part.still)
            degraded.add_metric([part.name], bool(part.trouble))
        yield from (waiting, done, still, degraded)


class BusNumbers(Collector):
    """What a bus has seen."""

    def __init__(self, counts: Counts) -> None:
        """Read counts at each scrape."""
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """Frames received, sent, and refused by kind."""
        yield CounterMetricFamily("tranship_frames_received", "Frames received", value=self._counts.received)
        yield CounterMetricFamily("tranship_frames_sent", "Frames sent", value=self._counts.sent)
        refused = CounterMetricFamily("tranship_frames_refused", "Frames refused", labels=["kind"])
        for kind, count in tuple(self._counts.refused.items()):
            refused.add_metric([kind], count)
        yield refused


class _Build(Collector):
    def __init__(self, version: str, role: str) -> None:
        self._facts = {"version": version, "role": role}

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("tranship_build", "What runs here", value=self._facts)


def registry(health: Health, *, role: str, version: str, counts: Counts | None = None) -> CollectorRegistry:
    """A new registry with everything that a process has to say, its CPU and memory included."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    made.register(_Build(version, role))
    made.register(HealthNumbers(health))
    if counts is not None:
        made.register(BusNumbers(counts))
    return made


@contextmanager
def served(numbers: CollectorRegistry, *, port: int, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve numbers over HTTP while inside; gives the URL (port 0: any). Raises BusError if it can't bind."""
    try:
        server, thread = start_http_server(port, host, numbers)
    except OSError as error:
        raise BusError(f"{host}:{port}: can't serve metrics here: {error.strerror or error}") from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
