"""The beginnings and ends of handlers, as observers are told of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from jobq import (
    AsyncJob,
    Cancel,
    CancelReason,
    Done,
    Job,
    JobService,
    NewJob,
    Observer,
    Reject,
    Release,
    Retry,
    Tasks,
    Worker,
)
from jobq.testing import QueueForTests, drain
from jobq.worker.observer import Failure
from tests.clocks import ManualClock
from tests.worker import deeds
from tests.worker.scenes import Recorder, Watched, failing, pass_time, running, wait


class Ends(Recorder):
    """Notes the ends of handlers, too."""

    def ended(self, job: Job) -> None:
        self.note("ended", job.name)

    def by_job(self) -> dict[str, list[str]]:
        """Of each job, the moments that it was told of."""
        told: dict[str, list[str]] = {}
        for moment, name, *_ in self.of_jobs():
            told.setdefault(name, []).append(moment)
        return told


@pytest.fixture
def seen() -> Ends:
    return Ends()


def every_outcome(svc: JobService, worker: Worker) -> dict[str, list[str]]:
    """Enqueue jobs that end in every way, and return what is to be told of each."""
    ways: dict[str, Any] = {
        "completed": Done("result"),
        "released": Release(60),
        "retried": Retry(60),
        "failed": ValueError("boom"),
        "dead": Reject("nonsense"),
        "canceled": Cancel("no more"),
    }

    @worker.default
    def handle(job: Job) -> None:
        raise ways[job.name]

    @worker.handler
    def settles_itself(job: Job) -> None:
        job.done()

    @worker.handler
    def lost(job: Job) -> None:
        svc.cancel(job.id)

    for name in (*ways, "settles_itself", "lost"):
        svc.enqueue("t", name=name)
    last = {name: name for name in ways} | {"failed": "retried", "settles_itself": "completed", "lost": "lease_lost"}
    return {name: ["started", "ended", moment] for name, moment in last.items()}


@pytest.mark.parametrize("is_drained", [False, True])
def test_each_handler_begins_and_ends_before_what_becomes_of_its_job(
    svc: JobService, seen: Ends, is_drained: bool
) -> None:
    worker = Worker(svc, "t", observer=seen, concurrency=3)
    expected = every_outcome(svc, worker)
    if is_drained:
        drain(worker)
    else:
        worker.run(burst=True)
    assert seen.by_job() == expected


def test_a_coroutine_ends_too(svc: JobService, seen: Ends) -> None:
    worker = Worker(svc, "t", observer=seen)

    @worker.default
    async def handle(job: AsyncJob) -> None:
        await asyncio.sleep(0)

    svc.enqueue("t", name="it")
    worker.run(burst=True)
    assert seen.by_job() == {"it": ["started", "ended", "completed"]}


def test_what_never_began_never_ends(svc: JobService, seen: Ends) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.handler("known")(lambda job: None)
    svc.enqueue("t", name="unknown")
    worker.run(burst=True)
    assert seen.by_job() == {"unknown": ["dead"]}


def test_in_child_processes_it_is_told_in_the_parent_also_of_one_that_died(svc_on: JobService, seen: Ends) -> None:
    worker = Worker(svc_on, "t", observer=seen, executor="process")
    for deed in (deeds.returns_value, deeds.raises_retry, deeds.kills_itself, deeds.coroutine):
        worker.handler(deed)
        svc_on.enqueue("t", name=deed.__name__, min_backoff=60)
    worker.run(burst=True)
    assert seen.by_job() == {
        "returns_value": ["started", "ended", "completed"],
        "raises_retry": ["started", "ended", "retried"],
        "kills_itself": ["started", "ended", "retried"],
        "coroutine": ["started", "ended", "completed"],
    }


def test_a_handler_that_was_given_up_ends_when_it_ends(svc: JobService, clock: ManualClock, seen: Ends) -> None:
    go = threading.Event()
    worker = Worker(svc, "t", observer=seen)
    worker.handler("slow", time_limit=20)(lambda job: wait(go))
    svc.enqueue("t", name="slow")
    with running(worker):
        seen.wait_for("started")
        pass_time(clock, 20)
        seen.wait_for("retried")
        assert seen.by_job() == {"slow": ["started", "retried"]}
        go.set()
        seen.wait_for("ended")
    assert seen.by_job() == {"slow": ["started", "retried", "ended"]}


def test_a_handler_whose_reservation_was_lost_ends_when_it_ends(
    svc: JobService, clock: ManualClock, seen: Ends
) -> None:
    go = threading.Event()
    worker = Worker(svc, "t", observer=seen, lease=30)
    worker.default(lambda job: wait(go))
    id = svc.enqueue("t", name="it")
    with running(worker):
        seen.wait_for("started")
        svc.cancel(id)
        pass_time(clock, 10)
        seen.wait_for("lease_lost")
        go.set()
        seen.wait_for("ended")
    assert seen.by_job() == {"it": ["started", "lease_lost", "ended"]}


def test_an_end_is_told_at_once_and_its_outcome_once_the_storage_takes_it(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Ends
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(lambda job: None)
    queue.enqueue("t", name="it")
    watched.fail = failing(3)  # the one that would settle it
    with running(worker):
        seen.wait_for("worker_error")
        assert seen.by_job() == {"it": ["started", "ended"]}
        pass_time(clock, 1)
        seen.wait_for("completed")


# -- several observers -------------------------------------------------------------------------------------------------


def test_several_observers_are_told_the_same(svc: JobService, seen: Ends) -> None:
    other = Ends()
    worker = Worker(svc, "t", observer=[seen, other])
    expected = every_outcome(svc, worker)
    worker.run(burst=True)
    assert seen.by_job() == other.by_job() == expected
    assert seen.moments == other.moments


def test_they_are_told_in_the_order_given_and_one_that_fails_keeps_nothing_from_the_next(
    svc: JobService, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    class First(Observer):
        def completed(self, job: Job, result: Any) -> None:
            told.append("first")
            raise ValueError("it is broken")

    class Second(Observer):
        def completed(self, job: Job, result: Any) -> None:
            told.append("second")

    worker = Worker(svc, "t", observer=iter([First(), Second()]))
    worker.default(lambda job: None)
    svc.enqueue_many([NewJob("t"), NewJob("t")])
    worker.run(burst=True)
    assert told == ["first", "second"] * 2
    assert [one.getMessage() for one in caplog.records] == ["the observer failed in completed"] * 2


def test_all_are_told_of_what_schedules_do(jobq: QueueForTests) -> None:
    told: list[str] = []

    class Notes(Observer):
        def enqueued(self, job: Job, ids: list[int]) -> None:
            told.append(f"enqueued {len(ids)}")

        def dead(self, job: Job, error: Failure, reason: CancelReason) -> None:
            told.append("dead")

    tasks = Tasks(topic="t")

    @tasks.every(60)
    def tick() -> None: ...

    worker = Worker(jobq, "t", tasks=tasks, observer=(Notes(), Notes()))
    drain(worker)
    jobq.clock.advance(60)
    drain(worker)
    assert told == ["enqueued 1"] * 2


def test_no_observer_is_as_good_as_none(svc: JobService) -> None:
    worker = Worker(svc, "t", observer=[])
    worker.default(lambda job: None)
    svc.enqueue("t")
    worker.run(burst=True)
    assert svc.stats("t").done == 1
