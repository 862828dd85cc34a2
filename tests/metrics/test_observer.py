"""What a worker says of the jobs that it runs."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from jobq import AsyncJob, Cancel, Done, Job, JobService, NewJob, Observer, Reject, Release, Retry, Worker
from jobq.metrics import WorkerMetrics, registry_of
from jobq.metrics.instruments import OUTCOMES
from jobq.testing import drain
from tests.clocks import PATIENCE, ManualClock
from tests.metrics.scenes import scrape
from tests.worker import deeds
from tests.worker.scenes import Recorder, Watched, failing, pass_time, running, wait


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, clock: ManualClock) -> WorkerMetrics:
    return WorkerMetrics(registry, clock=clock)


@pytest.fixture
def seen() -> Recorder:
    return Recorder()


def outcomes(registry: CollectorRegistry, topic: str = "t") -> dict[str, float]:
    """What became of the jobs of a topic, where that is not 0."""
    found = scrape(registry).all("jobq_worker_jobs_total")
    return {outcome: number for (outcome, one), number in found.items() if one == topic and number}


def assert_nothing_is_left(metrics: WorkerMetrics, registry: CollectorRegistry) -> None:
    found = scrape(registry)
    assert metrics._begun == {}
    assert set(found.all("jobq_worker_running_jobs").values()) <= {0}
    assert found.value("jobq_workers") == 0


# -- times -------------------------------------------------------------------------------------------------------------


def test_waits_and_runs_are_counted_in_buckets(
    svc: JobService, clock: ManualClock, registry: CollectorRegistry, metrics: WorkerMetrics
) -> None:
    worker = Worker(svc, "t", observer=metrics)
    worker.default(lambda job: clock.advance(float(job.text)))
    svc.enqueue("t", payload="0.2", delay=10)
    svc.enqueue("t", 1, payload="7")
    clock.advance(100)
    drain(worker)
    found = scrape(registry)
    assert found.pair("jobq_worker_wait_seconds", topic="t") == (2, 90 + 100.2)
    assert found.buckets("jobq_worker_wait_seconds", topic="t") == {"300.0": 2}
    assert found.pair("jobq_worker_run_seconds", topic="t") == (2, 7.2)
    assert found.buckets("jobq_worker_run_seconds", topic="t") == {"0.25": 1, "10.0": 1}


def test_the_waits_are_those_that_the_queue_counts(
    svc: JobService, clock: ManualClock, registry: CollectorRegistry, metrics: WorkerMetrics
) -> None:
    worker = Worker(svc, "t", observer=metrics)
    worker.default(lambda job: None)
    for seconds in (0.25, 3, 40):
        svc.enqueue("t")
        clock.advance(seconds)
    drain(worker)
    assert scrape(registry).pair("jobq_worker_wait_seconds", topic="t") == (3, 43.25 + 43 + 40)
    assert scrape(registry_of(svc)).pair("jobq_wait_seconds", topic="t") == (3, 43.25 + 43 + 40)


def test_a_clock_that_was_set_back_makes_no_negative_wait(
    svc: JobService, clock: ManualClock, registry: CollectorRegistry, metrics: WorkerMetrics
) -> None:
    worker = Worker(svc, "t", observer=metrics)
    worker.default(lambda job: clock.step_wall(-100))
    svc.enqueue("t")
    clock.step_wall(-1000)
    drain(worker)
    found = scrape(registry)
    assert found.pair("jobq_worker_wait_seconds", topic="t") == (1, 0)
    assert found.pair("jobq_worker_run_seconds", topic="t") == (1, 0)


def test_a_run_ends_with_its_handler_and_not_with_its_commit(
    queue: JobService, watched: Watched, clock: ManualClock, registry: CollectorRegistry, metrics: WorkerMetrics
) -> None:
    seen = Recorder()
    worker = Worker(queue, "t", observer=[metrics, seen])
    worker.default(lambda job: None)
    queue.enqueue("t")
    watched.fail = failing(3)  # the transaction that would settle it
    with running(worker):
        seen.wait_for("worker_error")
        pass_time(clock, 4)
        seen.wait_for("completed")
    assert scrape(registry).pair("jobq_worker_run_seconds", topic="t") == (1, 0)
    assert scrape(registry).value("jobq_worker_errors_total") == 1


def test_buckets_can_be_chosen(svc: JobService, clock: ManualClock, registry: CollectorRegistry) -> None:
    metrics = WorkerMetrics(registry, wait_buckets=[1, 2], run_buckets=(0.5, float("inf")), clock=clock)
    worker = Worker(svc, "t", observer=metrics)
    worker.default(lambda job: None)
    svc.enqueue("t")
    clock.advance(5)
    drain(worker)
    found = scrape(registry)
    bounds = [bound for bound, _ in found.all("jobq_worker_wait_seconds_bucket")]
    assert bounds == ["1.0", "2.0", "+Inf"]
    assert [bound for bound, _ in found.all("jobq_worker_run_seconds_bucket")] == ["0.5", "+Inf"]
    assert found.buckets("jobq_worker_wait_seconds", topic="t") == {"+Inf": 1}


@pytest.mark.parametrize("which", ["wait_buckets", "run_buckets"])
@pytest.mark.parametrize(
    ("buckets", "error"),
    [
        ([], ValueError),
        ([2, 1], ValueError),
        ([1, 1], ValueError),
        ([0, 1], ValueError),
        ([-1], ValueError),
        ([1, float("nan")], ValueError),
        (5, TypeError),
        ("12", TypeError),
        (["1"], TypeError),
        ([True], TypeError),
        (None, TypeError),
    ],
)
def test_bad_buckets_are_refused_and_leave_nothing_in_the_registry(
    registry: CollectorRegistry, which: str, buckets: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"{which} must be seconds that rise"):
        WorkerMetrics(registry, **{which: buckets})
    assert list(registry.collect()) == []


# -- outcomes ----------------------------------------------------------------------------------------------------------

WAYS: dict[str, BaseException] = {
    "completed": Done("result"),
    "released": Release(60),
    "retried": Retry(60),
    "dead": Reject("nonsense"),
    "canceled": Cancel("no more"),
}


def with_every_outcome(svc: JobService, metrics: Observer | list[Observer]) -> Worker:
    """A worker, and jobs that end in every way."""
    worker = Worker(svc, ["t", "unheard"], observer=metrics, concurrency=3)

    @worker.handler("function")
    def function(job: Job) -> None:
        if job.text == "lease_lost":
            svc.cancel(job.id)
        else:
            raise WAYS[job.text]

    @worker.handler("coroutine")
    async def coroutine(job: AsyncJob) -> None:
        await asyncio.sleep(0)
        function(job.sync)

    for name in ("function", "coroutine"):
        for outcome in (*WAYS, "lease_lost"):
            svc.enqueue("t", name=name, payload=outcome)
    svc.enqueue("unheard", name="nobody's")
    return worker


@pytest.mark.parametrize("is_drained", [False, True])
def test_jobs_are_counted_by_what_became_of_them(
    svc: JobService, registry: CollectorRegistry, metrics: WorkerMetrics, is_drained: bool
) -> None:
    worker = with_every_outcome(svc, metrics)
    if is_drained:
        drain(worker)
    else:
        worker.run(burst=True)
    assert outcomes(registry) == dict.fromkeys(OUTCOMES, 2)
    assert outcomes(registry, "unheard") == {"dead": 1}
    found = scrape(registry)
    assert found.value("jobq_worker_run_seconds_count", topic="t") == 12
    assert found.value("jobq_worker_run_seconds_count", topic="unheard") == 0
    assert_nothing_is_left(metrics, registry)


def test_all_outcomes_of_a_topic_begin_at_zero(
    svc: JobService, registry: CollectorRegistry, metrics: WorkerMetrics
) -> None:
    worker = Worker(svc, "t", observer=metrics)
    worker.default(lambda job: None)
    drain(worker)
    assert scrape(registry).all("jobq_worker_jobs_total") == {}
    svc.enqueue("t")
    drain(worker)
    expected = {(outcome, "t"): float(outcome == "completed") for outcome in OUTCOMES}
    assert scrape(registry).all("jobq_worker_jobs_total") == expected


def test_child_processes_are_measured_in_their_parent(svc_on: JobService, registry: CollectorRegistry) -> None:
    metrics = WorkerMetrics(registry)
    worker = Worker(svc_on, "t", observer=metrics, executor="process")
    for deed in (deeds.returns_value, deeds.raises_retry, deeds.kills_itself, deeds.coroutine):
        worker.handler(deed)
        svc_on.enqueue("t", name=deed.__name__, min_backoff=60)
    worker.run(burst=True)
    assert outcomes(registry) == {"completed": 2, "retried": 2}
    count, seconds = scrape(registry).pair("jobq_worker_run_seconds", topic="t")
    assert count == 4
    assert 0 < seconds < 120
    assert_nothing_is_left(metrics, registry)


def test_what_runs_is_a_gauge(
    svc: JobService, registry: CollectorRegistry, metrics: WorkerMetrics, seen: Recorder
) -> None:
    go = threading.Event()
    worker = Worker(svc, ["t", "u"], observer=[metrics, seen], concurrency=3)
    worker.default(lambda job: wait(go))
    svc.enqueue_many([NewJob("t"), NewJob("t"), NewJob("u")])
    with running(worker):
        seen.wait_for("started", times=3)
        found = scrape(registry)
        assert found.all("jobq_worker_running_jobs") == {("t",): 2, ("u",): 1}
        assert found.value("jobq_workers") == 1
        go.set()
        seen.wait_for("completed", times=3)
    assert_nothing_is_left(metrics, registry)


def test_a_handler_that_was_given_up_runs_until_it_ends(
    svc: JobService, clock: ManualClock, registry: CollectorRegistry, metrics: WorkerMetrics, seen: Recorder
) -> None:
    go, gone = threading.Event(), threading.Event()

    class Last(Observer):
        def ended(self, job: Job) -> None:
            gone.set()

    worker = Worker(svc, "t", observer=[metrics, seen, Last()])
    worker.handler("slow", time_limit=20)(lambda job: wait(go))
    svc.enqueue("t", name="slow", max_retries=0)
    with running(worker):
        seen.wait_for("started")
        pass_time(clock, 20)
        seen.wait_for("dead")
        assert scrape(registry).value("jobq_worker_running_jobs", topic="t") == 1
        clock.advance(5)
        go.set()
        wait(gone)
    assert scrape(registry).pair("jobq_worker_run_seconds", topic="t") == (1, 25)
    assert outcomes(registry) == {"dead": 1}
    assert_nothing_is_left(metrics, registry)


def test_a_lost_lease_is_counted_once(
    svc: JobService, clock: ManualClock, registry: CollectorRegistry, metrics: WorkerMetrics, seen: Recorder
) -> None:
    go = threading.Event()
    worker = Worker(svc, "t", observer=[metrics, seen], lease=30)
    worker.default(lambda job: wait(go))
    id = svc.enqueue("t")
    with running(worker):
        seen.wait_for("started")
        svc.cancel(id)
        pass_time(clock, 10)
        seen.wait_for("lease_lost")
        go.set()
        svc.enqueue("t", name="next")
        seen.wait_for("completed", "next")
    assert outcomes(registry) == {"lease_lost": 1, "completed": 1}
    assert_nothing_is_left(metrics, registry)


# -- labels and registries ---------------------------------------------------------------------------------------------

NAMES = ["", "plain", 'quo"ted', "back\\slash", "new\nline", "\\n", "größe ≠ Größe", "{}=,#", "a" * 255]


def test_names_are_a_label_on_request_and_may_be_anything(
    svc: JobService, registry: CollectorRegistry, clock: ManualClock
) -> None:
    worker = Worker(svc, "t", observer=WorkerMetrics(registry, by_name=True, clock=clock))
    worker.default(lambda job: None)
    svc.enqueue_many([NewJob("t", name=name) for name in NAMES])
    drain(worker)
    found = scrape(registry)
    for name in NAMES:
        assert found.value("jobq_worker_jobs_total", topic="t", name=name, outcome="completed") == 1
        assert found.pair("jobq_worker_run_seconds", topic="t", name=name) == (1, 0)
        assert found.value("jobq_worker_running_jobs", topic="t", name=name) == 0
    assert len(found.all("jobq_worker_running_jobs")) == len(NAMES)


def test_names_are_no_label_unless_asked_for(
    svc: JobService, registry: CollectorRegistry, metrics: WorkerMetrics
) -> None:
    worker = Worker(svc, "t", observer=metrics)
    worker.default(lambda job: None)
    svc.enqueue_many([NewJob("t", name=name) for name in NAMES])
    drain(worker)
    assert scrape(registry).all("jobq_worker_running_jobs") == {("t",): 0}


def test_several_workers_share_one(
    svc: JobService, registry: CollectorRegistry, metrics: WorkerMetrics, seen: Recorder
) -> None:
    workers = [Worker(svc, topic, observer=[metrics, seen]) for topic in ("t", "u")]
    for worker in workers:
        worker.default(lambda job: None)
    svc.enqueue_many([NewJob("t"), NewJob("u")])
    with workers[0], workers[1]:
        seen.wait_for("completed", times=2)
        assert outcomes(registry) == outcomes(registry, "u") == {"completed": 1}
        assert scrape(registry).value("jobq_workers") == 2
    assert_nothing_is_left(metrics, registry)


def test_a_registry_takes_one(registry: CollectorRegistry, metrics: WorkerMetrics) -> None:
    before = [metric.name for metric in registry.collect()]
    with pytest.raises(ValueError, match="has the metrics of a WorkerMetrics already: have several workers share"):
        WorkerMetrics(registry)
    assert [metric.name for metric in registry.collect()] == before


def test_it_stands_beside_the_metrics_of_the_queue(svc: JobService, clock: ManualClock) -> None:
    registry = registry_of(svc)
    worker = Worker(svc, "t", observer=WorkerMetrics(registry, clock=clock))
    worker.default(lambda job: None)
    svc.enqueue("t")
    drain(worker)
    found = scrape(registry)
    assert found.value("jobq_completed_total", topic="t") == 1
    assert found.value("jobq_worker_jobs_total", topic="t", outcome="completed") == 1


def test_the_registry_of_the_whole_process_is_left_alone(registry: CollectorRegistry, metrics: WorkerMetrics) -> None:
    assert not any(metric.name.startswith("jobq") for metric in REGISTRY.collect())


@pytest.mark.parametrize("wrong", [1, None, "yes"])
def test_by_name_is_a_flag(registry: CollectorRegistry, wrong: Any) -> None:
    with pytest.raises(TypeError, match="by_name"):
        WorkerMetrics(registry, by_name=wrong)


# -- a scrape while it runs --------------------------------------------------------------------------------------------


def test_scrapes_meanwhile_never_see_a_counter_fall(svc: JobService) -> None:
    registry = registry_of(svc)
    worker = Worker(svc, "t", observer=WorkerMetrics(registry), concurrency=4)
    worker.handler("function")(lambda job: None)

    @worker.handler("coroutine")
    async def coroutine(job: AsyncJob) -> None:
        await asyncio.sleep(0)

    n, scrapes = 300, 0
    svc.enqueue_many([NewJob("t", name=("function", "coroutine")[i % 2]) for i in range(n)])
    before: dict[Any, float] = {}
    deadline = time.monotonic() + PATIENCE
    with running(worker):
        while outcomes(registry) != {"completed": n}:
            assert time.monotonic() < deadline
            found = scrape(registry)
            falling = {key: value for key, value in before.items() if found.samples[key] < value}
            assert falling == {}
            before = {
                key: value for key, value in found.samples.items() if key[0].endswith(("_total", "_bucket", "_count"))
            }
            if found.all("jobq_worker_run_seconds_count"):
                found.buckets("jobq_worker_run_seconds", topic="t")
                found.buckets("jobq_worker_wait_seconds", topic="t")
            scrapes += 1
    assert scrapes > 1
    assert scrape(registry).value("jobq_completed_total", topic="t") == n
