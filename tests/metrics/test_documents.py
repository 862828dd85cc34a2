"""What docs/metrics.md says there is."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

import jobq
from jobq.metrics import QueueCollector, WorkerMetrics
from jobq.metrics.instruments import OUTCOMES

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(jobq_\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$", re.MULTILINE)


def metrics() -> list[Metric]:
    """All that there are, those of the queue first."""
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    with jobq.open("memory://") as svc:
        return [*QueueCollector(svc).describe(), *registry.collect()]


def full_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_the_table_has_all_metrics_and_their_types() -> None:
    said = {name: kind for name, kind, _, _ in ROW.findall(PAGE)}
    assert said == {full_name(metric): metric.type for metric in metrics()}


def test_the_table_has_their_labels() -> None:
    registry = CollectorRegistry()
    observer = WorkerMetrics(registry)
    with jobq.open("memory://") as svc:
        svc.enqueue("t")
        [job] = svc.reserve("t")
        observer.started(job)
        found = [*QueueCollector(svc).collect(), *registry.collect()]
    labels = {full_name(metric): {name for one in metric.samples for name in one.labels} - {"le"} for metric in found}
    said = {
        name: set() if "nor `topic`" in others else {"topic", *re.findall(r"`(\w+)`", others)}
        for name, _, others, _ in ROW.findall(PAGE)
    }
    assert said == labels


def test_the_table_has_all_statuses_and_outcomes() -> None:
    meanings = {name: meaning for name, _, _, meaning in ROW.findall(PAGE)}
    assert re.findall(r"`(\w+)`", meanings["jobq_jobs"]) == [status.value for status in jobq.Status]
    assert re.findall(r"`(\w+)`", meanings["jobq_worker_jobs_total"]) == list(OUTCOMES)


def test_the_text_and_the_alerts_name_metrics_that_there_are() -> None:
    series = {full_name(metric) for metric in metrics()}
    for metric in metrics():
        if metric.type in ("summary", "histogram"):
            series |= {metric.name + suffix for suffix in ("_count", "_sum", "_bucket")}
    assert set(re.findall(r"\bjobq_\w+", PAGE)) <= series
