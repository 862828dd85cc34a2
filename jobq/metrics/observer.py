"""The metrics of a worker: what it measures as it runs jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from jobq import inputs
from jobq.clock import SystemClock
from jobq.job import Job
from jobq.metrics.buckets import RUN_BUCKETS, WAIT_BUCKETS
from jobq.metrics.instruments import Instruments, Series
from jobq.model.status import CancelReason
from jobq.model.times import SECOND
from jobq.ports import Clock
from jobq.worker.observer import Failure, Observer

if TYPE_CHECKING:
    from jobq.worker.worker import Worker


class WorkerMetrics(Observer):
    """Counts and times the jobs of workers: `Worker(svc, topics, observer=WorkerMetrics(registry))`.

    registry: the one of prometheus_client that is scraped; several workers of a program share one WorkerMetrics.
    wait_buckets, run_buckets: the upper bounds of the histograms, in seconds, rising. by_name: label jobs with their
    name as well as their topic: only where names are few, as each is a set of some forty time series for good.
    clock: what handlers are timed by, the system's unless a test gives its own.
    Raises ValueError for buckets that do not rise, and if the registry has metrics of these names already.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        wait_buckets: Iterable[float] = WAIT_BUCKETS,
        run_buckets: Iterable[float] = RUN_BUCKETS,
        by_name: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._by_name = inputs.flag(by_name, "by_name")
        self._clock = SystemClock() if clock is None else clock
        labels = ["topic", "name"] if by_name else ["topic"]
        self._instruments = Instruments(registry, labels, wait_buckets, run_buckets)
        self._begun: dict[Job, int] = {}

    # -- of the worker

    def worker_started(self, worker: Worker) -> None:
        """See Observer."""
        self._instruments.workers.inc()

    def worker_stopped(self, worker: Worker) -> None:
        """See Observer."""
        self._instruments.workers.dec()

    def worker_error(self, error: BaseException) -> None:
        """See Observer."""
        self._instruments.errors.inc()

    # -- of a job

    def started(self, job: Job) -> None:
        """See Observer."""
        series = self._of(job)
        series.wait.observe(max(0.0, (job.reserved_at - job.run_at).total_seconds()))
        series.running.inc()
        self._begun[job] = self._clock.steady()

    def ended(self, job: Job) -> None:
        """See Observer."""
        begun = self._begun.pop(job, None)
        if begun is not None:
            series = self._of(job)
            series.run.observe((self._clock.steady() - begun) / SECOND)
            series.running.dec()

    def completed(self, job: Job, result: Any) -> None:
        """See Observer."""
        self._count(job, "completed")

    def released(self, job: Job, delay: float) -> None:
        """See Observer."""
        self._count(job, "released")

    def retried(self, job: Job, error: Failure, delay: float) -> None:
        """See Observer."""
        self._count(job, "retried")

    def dead(self, job: Job, error: Failure, reason: CancelReason) -> None:
        """See Observer."""
        self._count(job, "dead")

    def canceled(self, job: Job, note: str | None) -> None:
        """See Observer."""
        self._count(job, "canceled")

    def lease_lost(self, job: Job) -> None:
        """See Observer."""
        self._count(job, "lease_lost")

    def _count(self, job: Job, outcome: str) -> None:
        self._of(job).settled[outcome].inc()

    def _of(self, job: Job) -> Series:
        return self._instruments.of(job.topic, job.name) if self._by_name else self._instruments.of(job.topic)
