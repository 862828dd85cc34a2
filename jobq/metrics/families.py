"""From the counters of topics to the metrics of a queue: which there are, what they are called and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from jobq.model.status import Status
from jobq.model.views import TopicStats


class Counter(NamedTuple):
    """What has happened in a topic so often. The name is without the `_total` at its end."""

    name: str
    help: str
    value: Callable[[TopicStats], int]


class Gauge(NamedTuple):
    """What is so in a topic now."""

    name: str
    help: str
    value: Callable[[TopicStats], float]


class Summary(NamedTuple):
    """How often something took its time in a topic, and how many seconds that was together."""

    name: str
    help: str
    times: Callable[[TopicStats], int]
    seconds: Callable[[TopicStats], float]


COUNTERS = (
    Counter("jobq_enqueued", "Jobs that were enqueued.", lambda stats: stats.enqueued),
    Counter("jobq_started", "Reservations: each time that a job was taken by a worker.", lambda stats: stats.reserved),
    Counter("jobq_completed", "Jobs that were done.", lambda stats: stats.done),
    Counter("jobq_retried", "Jobs that failed and were to be tried again.", lambda stats: stats.retried),
    Counter("jobq_expired", "Leases that ran out, as their holder died or was held up.", lambda stats: stats.expired),
    Counter("jobq_canceled", "Jobs that were canceled on request.", lambda stats: stats.canceled),
    Counter("jobq_dead", "Jobs that became dead letters.", lambda stats: stats.dead),
)
SUMMARIES = (
    Summary(
        "jobq_wait_seconds",
        "How long jobs had been due when they were reserved.",
        lambda stats: stats.reserved,
        lambda stats: stats.total_wait,
    ),
    Summary(
        "jobq_run_seconds",
        "How long jobs that were done had been reserved.",
        lambda stats: stats.done,
        lambda stats: stats.total_run,
    ),
)
GAUGES = (
    Gauge(
        "jobq_oldest_ready_age_seconds",
        "For how long the oldest ready job has been due, 0 if none is ready.",
        lambda stats: stats.oldest_ready_age or 0.0,
    ),
    Gauge(
        "jobq_dead_letters",
        "Dead letters that there are; they are among the canceled jobs, too.",
        lambda stats: float(stats.dead_letters),
    ),
    Gauge("jobq_topic_paused", "Whether the topic is paused: 1 or 0.", lambda stats: float(stats.paused)),
)
BY_TOPIC = ["topic"]


def families(topics: Sequence[TopicStats]) -> list[Metric]:
    """The metrics of a queue that has these topics; without topics, each of them without a sample."""
    return [_jobs(topics), *_gauges(topics), *_counters(topics), *_summaries(topics)]


def up(is_up: bool) -> Metric:
    """Whether the rest could be read."""
    return GaugeMetricFamily("jobq_up", "Whether the queue could be read for this scrape: 1 or 0.", float(is_up))


def _jobs(topics: Sequence[TopicStats]) -> Metric:
    family = GaugeMetricFamily("jobq_jobs", "Jobs by status; dead letters are canceled.", labels=["topic", "status"])
    for stats in topics:
        for status in Status:
            family.add_metric([stats.topic, status.value], stats.now[status])
    return family


def _gauges(topics: Sequence[TopicStats]) -> list[Metric]:
    found: list[Metric] = []
    for name, help, value in GAUGES:
        family = GaugeMetricFamily(name, help, labels=BY_TOPIC)
        for stats in topics:
            family.add_metric([stats.topic], value(stats))
        found.append(family)
    return found


def _counters(topics: Sequence[TopicStats]) -> list[Metric]:
    found: list[Metric] = []
    for name, help, value in COUNTERS:
        family = CounterMetricFamily(name, help, labels=BY_TOPIC)
        for stats in topics:
            began = stats.first_enqueued_at
            family.add_metric([stats.topic], value(stats), created=None if began is None else began.timestamp())
        found.append(family)
    return found


def _summaries(topics: Sequence[TopicStats]) -> list[Metric]:
    found: list[Metric] = []
    for name, help, times, seconds in SUMMARIES:
        family = SummaryMetricFamily(name, help, labels=BY_TOPIC)
        for stats in topics:
            family.add_metric([stats.topic], times(stats), seconds(stats))
        found.append(family)
    return found
