"""The metrics of a queue, read from its topics at each scrape."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from jobq.errors import JobqError
from jobq.metrics.families import families, up
from jobq.model.views import TopicStats
from jobq.service import JobService

log = logging.getLogger("jobq.metrics")


class QueueCollector:
    """What a queue itself knows, whichever processes work on it: register it in a registry of prometheus_client.

    svc: the queue. Each scrape reads the counters of all topics anew. One that fails says `jobq_up 0`, and nothing else
    of the queue, and is logged: what else the registry has is still shown.
    """

    def __init__(self, svc: JobService) -> None:
        _check(svc)
        self._svc = svc

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples: what the registry asks for, so that it need not read the queue for that."""
        return [up(True), *families(())]

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now."""
        try:
            return _read(self._svc)
        except JobqError as problem:
            log.error("the metrics of %r could not be read: %s: %s", self._svc, type(problem).__name__, problem)
            return [up(False)]


def registry_of(svc: JobService) -> CollectorRegistry:
    """A new registry with the metrics of a queue, to which others can be added."""
    registry = CollectorRegistry()
    registry.register(QueueCollector(svc))
    return registry


def render(svc: JobService) -> str:
    """The metrics of a queue as they are now, in the text format of Prometheus. Raises what `svc.stats` raises."""
    _check(svc)
    return generate_latest(_Read(_read(svc))).decode()


class _Read:
    """Metrics that have been read."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _read(svc: JobService) -> list[Metric]:
    found = [svc.stats(topic) for topic in svc.topics()]
    return [up(True), *families([stats for stats in found if _is_in_use(stats)])]


def _is_in_use(stats: TopicStats) -> bool:
    """Whether the topic has not gone since its name was read."""
    return stats.paused or any(stats.now.values())


def _check(svc: JobService) -> None:
    if not isinstance(svc, JobService):
        raise TypeError(f"metrics are of a JobService, not of {type(svc).__name__}: render(jobq.open(url))")
