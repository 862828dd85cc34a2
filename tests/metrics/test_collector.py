"""What a queue says of itself: each metric beside what was done to the queue."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

import jobq
from jobq import JobService, NewJob, ServiceClosed, Status, StorageError
from jobq.metrics import QueueCollector, registry_of, render
from tests.clocks import ManualClock
from tests.contract.scenes import take
from tests.metrics.scenes import Scrape, scrape

COUNTERS = "enqueued started completed retried expired canceled dead".split()


def read(svc: JobService) -> Scrape:
    return Scrape(render(svc))


def totals(svc: JobService, topic: str = "t") -> dict[str, float]:
    """The counters of a topic that are not 0."""
    found = read(svc)
    values = {name: found.value(f"jobq_{name}_total", topic=topic) for name in COUNTERS}
    return {name: value for name, value in values.items() if value}


def jobs(svc: JobService, topic: str = "t") -> dict[str, float]:
    """How many jobs have each status, where that is not 0."""
    found = read(svc)
    values = {status.value: found.value("jobq_jobs", topic=topic, status=status) for status in Status}
    return {status: value for status, value in values.items() if value}


def test_each_verb_counts_in_its_counter(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", lease=10)] * 7)
    assert totals(svc) == {"enqueued": 7}
    done, retried, rejected, expired, canceled, released = svc.reserve("t", 6)
    assert totals(svc) == {"enqueued": 7, "started": 6}
    done.done()
    retried.retry(60)
    rejected.reject()
    svc.cancel(canceled.id)
    released.release(60)
    clock.advance(10)
    take(svc)
    assert totals(svc) == {
        "enqueued": 7,
        "started": 7,
        "completed": 1,
        "retried": 1,
        "dead": 1,
        "canceled": 1,
        "expired": 1,
    }
    assert not expired.settled


def test_depth_is_by_status(svc: JobService) -> None:
    svc.enqueue_many([NewJob("t")] * 5)
    svc.enqueue("t", delay=60)
    assert jobs(svc) == {"ready": 5, "delayed": 1}
    done, dead, canceled, _ = svc.reserve("t", 4)
    done.done()
    dead.reject()
    canceled.cancel()
    assert jobs(svc) == {"ready": 1, "delayed": 1, "reserved": 1, "done": 1, "canceled": 2}
    assert read(svc).all("jobq_jobs")["ready", "t"] == 1


def test_the_oldest_ready_job_has_an_age(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t")
    clock.advance(2.5)
    svc.enqueue("t")
    assert read(svc).value("jobq_oldest_ready_age_seconds", topic="t") == 2.5
    svc.reserve("t", 2)
    assert read(svc).value("jobq_oldest_ready_age_seconds", topic="t") == 0


def test_waits_and_runs_are_summed(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t"), NewJob("t"), NewJob("t", delay=2)])
    clock.advance(3)
    done, failed, late = svc.reserve("t", 3)
    clock.advance(0.5)
    done.done()
    failed.retry(60)
    clock.advance(1)
    late.done()
    found = read(svc)
    assert found.pair("jobq_wait_seconds", topic="t") == (3, 3 + 3 + 1)
    assert found.pair("jobq_run_seconds", topic="t") == (2, 0.5 + 1.5)


def test_sums_and_counters_never_become_less(svc: JobService, clock: ManualClock) -> None:
    before: dict[Any, float] = {}
    svc.enqueue("t")  # so that the topic stays
    for n in range(1, 60):
        svc.enqueue("t", -1)
        clock.advance(n / 7)
        job = take(svc)
        clock.advance(1 / 3)
        job.done()
        now = {key: value for key, value in read(svc).samples.items() if re.search("_(total|sum|count)$", key[0])}
        assert all(value >= before.get(key, 0) for key, value in now.items())
        before = now
    assert len(before) == len(COUNTERS) + 4


def test_a_paused_topic_says_so_and_is_there_without_jobs(svc: JobService) -> None:
    svc.enqueue("t")
    svc.pause("p")
    found = read(svc)
    assert found.all("jobq_topic_paused") == {("p",): 1, ("t",): 0}
    assert found.value("jobq_enqueued_total", topic="p") == 0
    assert found.all("jobq_enqueued_created") == {("t",): svc.stats("t").first_enqueued_at.timestamp()}  # type: ignore[union-attr]


def test_a_topic_that_is_gone_is_absent(svc: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    id = svc.enqueue("gone")
    svc.enqueue("t")
    names = svc.topics()
    svc.cancel(id)
    svc.delete(id)
    assert set(read(svc).all("jobq_topic_paused")) == {("t",)}
    monkeypatch.setattr(svc, "topics", lambda: names)  # it went after the names had been read
    assert set(read(svc).all("jobq_topic_paused")) == {("t",)}


def test_a_queue_without_topics_is_up(svc: JobService) -> None:
    assert read(svc).samples == {("jobq_up", frozenset()): 1}


def test_a_counter_was_created_when_its_topic_began(svc: JobService, clock: ManualClock) -> None:
    began = clock.now().timestamp()
    svc.enqueue("t")
    clock.advance(100)
    svc.enqueue("t")
    found = read(svc)
    assert {name: found.value(f"jobq_{name}_created", topic="t") for name in COUNTERS} == dict.fromkeys(COUNTERS, began)


# -- a scrape that fails -----------------------------------------------------------------------------------------------


def test_a_queue_that_cannot_be_read_is_down_and_hides_nothing_else(
    svc: JobService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    svc.enqueue("t")
    registry = registry_of(svc)
    Gauge("other", "Of the program.", registry=registry).set(5)

    def fail(topic: str) -> None:
        raise StorageError("the plug was pulled")

    with monkeypatch.context() as broken:
        broken.setattr(svc, "stats", fail)
        assert scrape(registry).samples == {("jobq_up", frozenset()): 0, ("other", frozenset()): 5}
        with pytest.raises(StorageError, match="the plug was pulled"):
            render(svc)
    [record] = caplog.records
    assert (record.name, record.levelname) == ("jobq.metrics", "ERROR")
    assert record.getMessage() == f"the metrics of {svc!r} could not be read: StorageError: the plug was pulled"
    assert scrape(registry).value("jobq_up") == 1


def test_so_is_one_that_is_closed() -> None:
    svc = jobq.open("memory://")
    registry = registry_of(svc)
    svc.close()
    assert scrape(registry).samples == {("jobq_up", frozenset()): 0}
    with pytest.raises(ServiceClosed):
        render(svc)


def test_what_no_storage_raises_is_not_hidden(svc: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    registry = registry_of(svc)
    monkeypatch.setattr(svc, "topics", fail)
    with pytest.raises(ZeroDivisionError):
        generate_latest(registry)


# -- registries and formats --------------------------------------------------------------------------------------------


def test_registering_reads_nothing(svc: JobService, caplog: pytest.LogCaptureFixture) -> None:
    svc.close()
    registry = CollectorRegistry(auto_describe=True)
    registry.register(QueueCollector(svc))
    assert caplog.records == []


def test_what_is_described_is_what_is_collected(svc: JobService) -> None:
    svc.enqueue("t")
    collector = QueueCollector(svc)
    kinds = [(metric.name, metric.type, metric.documentation) for metric in collector.describe()]
    assert [(metric.name, metric.type, metric.documentation) for metric in collector.collect()] == kinds
    assert [metric.samples for metric in list(collector.describe())[1:]] == [[]] * (len(kinds) - 1)


def test_two_queues_do_not_fit_in_one_registry(svc: JobService) -> None:
    registry = registry_of(svc)
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(QueueCollector(svc))


def test_a_scrape_can_ask_for_some_metrics_alone(svc: JobService) -> None:
    svc.enqueue("t")
    some = registry_of(svc).restricted_registry(["jobq_enqueued_total", "jobq_wait_seconds_sum"])
    names = {sample.name for metric in some.collect() for sample in metric.samples}
    assert names == {"jobq_enqueued_total", "jobq_wait_seconds_sum"}


def test_the_open_metrics_format_says_the_same(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t"), NewJob("u.v:w-x_y")])
    clock.advance(1.5)
    take(svc).done()
    text = generate_openmetrics(registry_of(svc)).decode()  # type: ignore[no-untyped-call]
    found = {
        (sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in parse_openmetrics(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }
    assert found == read(svc).samples


def test_names_follow_the_rules_of_prometheus(svc: JobService) -> None:
    svc.enqueue("t")
    for family in read(svc).families.values():
        assert re.fullmatch(r"jobq(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "summary")
        if "age" in family.name or family.type == "summary":
            assert family.name.endswith("_seconds")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert set(sample.labels) <= {"topic", "status"}


@pytest.mark.parametrize("wrong", [None, "memory://", object()])
def test_metrics_are_of_a_service(wrong: Any) -> None:
    for take_it in (QueueCollector, render, registry_of):
        with pytest.raises(TypeError, match="metrics are of a JobService, not of"):
            take_it(wrong)
