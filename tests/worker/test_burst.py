"""run(burst=True): until nothing is left to reserve."""

from __future__ import annotations

import threading

import pytest

from jobq import Job, JobService, NewJob, Release, Retry, Status, Worker
from tests.clocks import ManualClock
from tests.worker.scenes import Recorder, wait


def enqueue(svc: JobService, n: int, topic: str = "t", **arguments: object) -> list[int]:
    return svc.enqueue_many([NewJob(topic, payload=str(number), **arguments) for number in range(n)])  # type: ignore[arg-type]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_it_ends_when_the_topics_are_empty(svc: JobService, seen: Recorder, concurrency: int) -> None:
    worker = Worker(svc, "t", concurrency=concurrency, observer=seen)
    worker.default(lambda job: None)
    worker.run(burst=True)
    assert seen.moments == [("worker_started", worker), ("topic_empty", "t"), ("worker_stopped", worker)]
    enqueue(svc, 30)
    worker.run(burst=True)
    assert svc.stats("t").done == 30
    assert not worker.is_running


def test_jobs_are_run_by_priority_and_age(svc: JobService) -> None:
    worker = Worker(svc, "t")
    order: list[str] = []
    worker.default(lambda job: order.append(job.text))
    for payload, priority in [("c", 0), ("d", 0), ("a", -5), ("e", 9), ("b", -1)]:
        svc.enqueue("t", priority, payload)
    worker.run(burst=True)
    assert order == ["a", "b", "c", "d", "e"]


def test_topics_are_served_in_the_order_given(svc: JobService) -> None:
    worker = Worker(svc, ["high", "low"])
    order: list[str] = []

    @worker.default
    def handle(job: Job) -> None:
        order.append(job.topic + job.text)
        if job.topic == "low" and job.text == "0":
            svc.enqueue("high", payload="!")

    enqueue(svc, 2, "low")
    enqueue(svc, 2, "high")
    enqueue(svc, 1, "another")
    worker.run(burst=True)
    assert order == ["high0", "high1", "low0", "high!", "low1"]
    assert svc.stats("another").now[Status.READY] == 1


def test_what_is_delayed_or_paused_or_held_by_others_is_not_waited_for(svc: JobService) -> None:
    worker = Worker(svc, ["t", "paused", "held"])
    worker.default(lambda job: None)
    enqueue(svc, 2)
    delayed = svc.enqueue("t", delay=60)
    [paused] = enqueue(svc, 1, "paused")
    svc.pause("paused")
    enqueue(svc, 1, "held")
    [held] = svc.reserve("held")
    worker.run(burst=True)
    assert svc.stats("t").done == 2
    assert (svc.status(delayed), svc.status(paused)) == (Status.DELAYED, Status.READY)
    assert svc.status(held.id) is Status.RESERVED


def test_what_falls_due_meanwhile_is_run(svc: JobService, clock: ManualClock) -> None:
    worker = Worker(svc, "t")
    worker.handler("first")(lambda job: clock.advance(60))
    worker.handler("second")(lambda job: None)
    svc.enqueue("t", name="first")
    id = svc.enqueue("t", name="second", delay=60)
    worker.run(burst=True)
    assert svc.status(id) is Status.DONE


@pytest.mark.parametrize("outcome", [Retry(0), Release(0)])
def test_what_is_ready_again_at_once_is_run_again(svc: JobService, outcome: Exception) -> None:
    worker = Worker(svc, "t", concurrency=2)

    @worker.default
    def third_time_lucky(job: Job) -> int:
        if job.attempt < 3:
            raise outcome
        return job.attempt

    ids = enqueue(svc, 5)
    worker.run(burst=True)
    assert [svc.get(id).result for id in ids] == [3] * 5


def test_a_handler_may_keep_it_going(svc: JobService) -> None:
    worker = Worker(svc, "t", concurrency=3)

    @worker.default
    def countdown(job: Job) -> None:
        if int(job.text):
            svc.enqueue("t", payload=str(int(job.text) - 1))

    svc.enqueue("t", payload="20")
    worker.run(burst=True)
    assert svc.stats("t").done == 21


def test_what_comes_while_others_run_is_run(svc: JobService, seen: Recorder) -> None:
    """The topic was empty already, and a slot is free."""
    worker = Worker(svc, "t", concurrency=2, observer=seen)
    go = threading.Event()
    worker.handler("slow")(lambda job: wait(go))
    worker.handler("late")(lambda job: go.set())
    svc.enqueue("t", name="slow")
    thread = threading.Thread(target=worker.run, kwargs={"burst": True})
    thread.start()
    seen.wait_for("topic_empty")
    seen.wait_for("started", "slow")
    svc.enqueue("t", name="late")
    thread.join()
    assert svc.stats("t").done == 2
    assert seen.all("topic_empty") == [("topic_empty", "t")] * 2


def test_dead_leases_are_run_first_thing(svc: JobService, clock: ManualClock) -> None:
    worker = Worker(svc, "t")
    worker.default(lambda job: job.attempt)
    id = svc.enqueue("t", lease=10)
    svc.reserve("t")
    clock.advance(10)
    worker.run(burst=True)
    assert svc.get(id).result == 2


def test_it_is_empty_too_when_the_jobs_that_were_left_are_exhausted(svc: JobService, clock: ManualClock) -> None:
    worker = Worker(svc, "t", concurrency=2)
    worker.default(lambda job: None)
    ids = enqueue(svc, 300, lease=10, max_retries=0)
    svc.reserve("t", 250)
    clock.advance(10)
    worker.run(burst=True)
    assert (svc.stats("t").dead, svc.stats("t").done) == (250, len(ids) - 250)
