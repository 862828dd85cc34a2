"""`jobq.testing.drain`: a worker in the thread of a test, all of whose steps are known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from jobq import (
    AsyncJob,
    ConfigError,
    Job,
    JobOptions,
    JobqError,
    Observer,
    Release,
    Retry,
    ServiceClosed,
    Status,
    Worker,
)
from jobq.testing import QueueForTests, drain


@pytest.fixture
def worker(jobq: QueueForTests) -> Worker:
    return Worker(jobq, ["urgent", "t"], concurrency=8)


def test_it_runs_what_is_ready_in_this_thread_and_in_order(jobq: QueueForTests, worker: Worker) -> None:
    seen: list[tuple[str, int]] = []

    @worker.default
    def note(job: Job) -> str:
        seen.append((job.text, threading.get_ident()))
        return job.text.upper()

    ids = [jobq.enqueue("t", payload="b"), jobq.enqueue("t", -1, "a"), jobq.enqueue("urgent", payload="c")]
    later = jobq.enqueue("t", payload="d", delay=60)
    other = jobq.enqueue("elsewhere", payload="e")
    me = threading.get_ident()
    assert drain(worker) == 3
    assert seen == [("c", me), ("a", me), ("b", me)]
    assert [jobq.get(id).result for id in ids] == ["B", "A", "C"]
    assert [jobq.status(id) for id in (later, other)] == [Status.DELAYED, Status.READY]
    assert drain(worker) == 0
    jobq.clock.advance(60)
    assert drain(worker) == 1
    assert not worker.is_running


def test_what_becomes_ready_meanwhile_is_run_too(jobq: QueueForTests, worker: Worker) -> None:
    @worker.default
    def split(job: Job) -> None:
        if len(job.text) > 1:
            for letter in job.text:
                jobq.enqueue("t", payload=letter)

    jobq.enqueue("t", payload="abc")
    assert drain(worker) == 4


def test_retries_come_as_the_clock_is_advanced(jobq: QueueForTests, worker: Worker) -> None:
    @worker.default
    def fail(job: Job) -> None:
        raise ValueError(f"attempt {job.attempt}")

    id = jobq.enqueue("t", max_retries=2, min_backoff=2, max_backoff=2)
    attempts = []
    for _ in range(3):
        attempts.append(drain(worker))
        jobq.clock.advance(2)
    assert attempts == [1, 1, 1]
    [dead] = jobq.dead_letters()
    assert (dead.id, dead.attempt) == (id, 3)
    assert str(dead.last_error).startswith("ValueError: attempt 3")
    assert drain(worker) == 0


def test_coroutines_run_whether_or_not_the_test_has_an_event_loop(jobq: QueueForTests, worker: Worker) -> None:
    @worker.default
    async def wait(job: AsyncJob) -> str:
        await asyncio.sleep(0)
        return "waited"

    first, second = jobq.enqueue("t"), None
    assert drain(worker) == 1

    async def test() -> int:
        return drain(worker)

    second = jobq.enqueue("t")
    assert asyncio.run(test()) == 1
    assert [jobq.get(id).result for id in (first, second)] == ["waited", "waited"]


def test_children_are_not_begun(jobq: QueueForTests) -> None:
    worker = Worker(jobq, "t", executor="process")
    worker.handler("here")(_note_thread)
    jobq.enqueue("t", name="here")
    assert drain(worker) == 1
    assert jobq.find("done")[0].result == threading.get_ident()


def _note_thread(job: Job) -> int:
    return threading.get_ident()


def test_the_observer_is_told_as_ever(jobq: QueueForTests) -> None:
    moments: list[str] = []

    class Noting(Observer):
        def __getattribute__(self, name: str) -> Any:
            moments.append(name)
            return super().__getattribute__(name)

    worker = Worker(jobq, "t", observer=Noting())
    worker.default(lambda job: None)
    jobq.enqueue("t")
    moments.clear()
    drain(worker)
    assert moments == ["worker_started", "started", "ended", "completed", "topic_empty", "worker_stopped"]


@pytest.mark.parametrize("outcome", [lambda: Release(), lambda: Retry(0)])
def test_a_job_without_end_is_noticed(jobq: QueueForTests, worker: Worker, outcome: Callable[[], Exception]) -> None:
    @worker.default
    def again(job: Job) -> None:
        raise outcome()

    jobq.enqueue("t", options=JobOptions(max_retries=None))
    with pytest.raises(AssertionError, match="20 jobs were run, and there are more"):
        drain(worker, most=20)
    assert [info.status for info in jobq.find("ready")] == [Status.READY], "it is given back"


def test_a_handler_may_stop_it(jobq: QueueForTests, worker: Worker) -> None:
    worker.default(lambda job: worker.stop())
    jobq.enqueue("t")
    jobq.enqueue("t")
    assert drain(worker) == 1
    assert drain(worker) == 1


def test_a_handler_that_takes_longer_than_the_lease_settles_its_job(jobq: QueueForTests, worker: Worker) -> None:
    worker.default(lambda job: jobq.clock.advance(100))
    id = jobq.enqueue("t")
    assert drain(worker) == 1
    assert (jobq.status(id), jobq.stats("t").expired) == (Status.DONE, 0)


def test_what_it_refuses(jobq: QueueForTests, worker: Worker) -> None:
    with pytest.raises(ConfigError, match="no handlers"):
        drain(worker)
    worker.default(lambda job: drain(worker))
    with pytest.raises(TypeError, match="takes a Worker, not QueueForTests"):
        drain(jobq)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="most must be from 1"):
        drain(worker, most=0)
    id = jobq.enqueue("t", max_retries=0)
    drain(worker)
    assert "JobqError" in str(jobq.get(id).last_error), "it runs already"
    jobq.close()
    with pytest.raises(ServiceClosed):
        drain(worker)
    assert issubclass(ServiceClosed, JobqError)
