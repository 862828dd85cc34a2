"""What a worker is measured by: the metrics of prometheus_client, and those of them that a job counts in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from jobq.metrics.buckets import checked

OUTCOMES = ("completed", "released", "retried", "dead", "canceled", "lease_lost")
"""What becomes of a job: those moments of an Observer that say so."""


@dataclass(frozen=True, slots=True)
class Series:
    """What is measured of the jobs of one topic (and one name)."""

    wait: Histogram
    run: Histogram
    running: Gauge
    settled: dict[str, Counter]


class Instruments:
    """All metrics of a worker, registered.

    labels: "topic", and perhaps "name". The rest is as in WorkerMetrics.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        labels: Sequence[str],
        wait_buckets: Iterable[float],
        run_buckets: Iterable[float],
    ) -> None:
        self._wait = _histogram("wait", "How long jobs had been due when they were reserved.", labels, wait_buckets)
        self._run = _histogram("run", "How long handlers ran, however they ended.", labels, run_buckets)
        self._running = _gauge("jobq_worker_running_jobs", "Handlers that run now.", labels)
        self._settled = _counter("jobq_worker_jobs", "Jobs by what became of them.", [*labels, "outcome"])
        self.workers = _gauge("jobq_workers", "Workers that run now.")
        self.errors = _counter("jobq_worker_errors", "Errors that are no handler's fault, such as the storage's.")
        self._series: dict[tuple[str, ...], Series] = {}
        try:
            for metric in (self._wait, self._run, self._running, self._settled, self.workers, self.errors):
                registry.register(metric)
        except ValueError as problem:
            raise ValueError(
                "the registry has the metrics of a WorkerMetrics already: have several workers share that one, or give"
                " each a registry of its own"
            ) from problem

    def of(self, *labels: str) -> Series:
        """The series with these labels, all of them from 0 when they are first asked for, so that none begins at 1."""
        series = self._series.get(labels)
        if series is None:
            settled = {outcome: self._settled.labels(*labels, outcome) for outcome in OUTCOMES}
            of_labels = self._wait.labels(*labels), self._run.labels(*labels), self._running.labels(*labels)
            series = self._series[labels] = Series(*of_labels, settled)
        return series


def _histogram(what: str, help: str, labels: Sequence[str], buckets: Iterable[float]) -> Histogram:
    bounds = checked(buckets, f"{what}_buckets")
    return Histogram(f"jobq_worker_{what}_seconds", help, labels, registry=None, buckets=bounds)


def _gauge(name: str, help: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(name, help, labels, registry=None, multiprocess_mode="livesum")


def _counter(name: str, help: str, labels: Sequence[str] = ()) -> Counter:
    return Counter(name, help, labels, registry=None)
