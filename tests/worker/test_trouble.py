"""What a worker does when the storage fails, or when it fails itself."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jobq import AsyncJob, Done, Job, JobService, NewJob, ServiceClosed, Status, StorageError, StorageFull, Worker
from tests.clocks import PATIENCE, ManualClock
from tests.worker.scenes import Recorder, Watched, failing, pass_time, running, wait


def always(number: int) -> None:
    raise StorageError("the plug was pulled")


def test_an_error_is_observed_and_waited_out_with_backoff(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(lambda job: None)
    queue.enqueue("t", name="it")
    watched.fail = always
    pauses = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    with running(worker):
        for n, pause in enumerate(pauses, 1):
            seen.wait_for("worker_error", StorageError, "the plug was pulled", times=n)
            pass_time(clock, pause * 0.99)
            assert len(seen.all("worker_error")) == n
            pass_time(clock, pause * 0.01 + 0.000001)
        seen.wait_for("worker_error", times=len(pauses) + 1)
        watched.fail = None
        pass_time(clock, 5.1)
        seen.wait_for("completed", "it")
    said = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert said[0] == "StorageError: the plug was pulled; it tries again in 0.1 seconds"
    assert said[7].endswith("in 5 seconds")
    assert len(said) == len(pauses) + 1
    assert all(one.exc_info for one in caplog.records if one.levelname == "ERROR")


def test_a_short_lease_is_not_slept_through(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder
) -> None:
    worker = Worker(queue, "t", observer=seen, lease=3)
    go = threading.Event()
    worker.default(lambda job: wait(go))
    id = queue.enqueue("t")
    with running(worker):
        seen.wait_for("started")
        watched.fail = always
        pass_time(clock, 1)
        for n in range(1, 6):
            seen.wait_for("worker_error", times=n)
            if n == 5:
                watched.fail = None
            before = watched.commits
            pass_time(clock, min(0.1 * 2 ** (n - 1), 1))
        watched.wait_for_commits(before + 1)
        assert queue.get(id).deadline == clock.after(3)
        go.set()
        seen.wait_for("completed")


@pytest.mark.parametrize("broken", [[1], [2], [3], [2, 3, 5], [1, 3, 4, 6, 8, 9]])
@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("is_async", [False, True])
def test_no_outcome_is_lost(
    queue: JobService,
    watched: Watched,
    clock: ManualClock,
    seen: Recorder,
    broken: list[int],
    concurrency: int,
    is_async: bool,
) -> None:
    worker = Worker(queue, "t", concurrency=concurrency, observer=seen)
    runs: list[int] = []

    def function(job: Job) -> None:
        runs.append(job.id)
        raise Done(job.id, then=NewJob("u"))

    async def coroutine(job: AsyncJob) -> None:
        await asyncio.sleep(0)
        function(job.sync)

    worker.default(coroutine if is_async else function)
    ids = queue.enqueue_many([NewJob("t")] * 6)
    watched._begun = 0
    watched.fail = failing(*broken)
    with running(worker):
        told = 0
        while len(seen.all("completed")) < 6:
            if len(errors := seen.all("worker_error")) > told:
                told = len(errors)
                pass_time(clock, 1)
            else:
                with seen._news:
                    is_quiet = not seen._news.wait(0.05)
                if is_quiet:  # it may have computed how long to sleep just before the time had passed
                    clock.advance(0.2)
    assert sorted(runs) == ids
    assert [queue.get(id).result for id in ids] == ids
    stats = queue.stats("t")
    assert (stats.done, stats.retried, stats.expired, queue.stats("u").enqueued) == (6, 0, 0, 6)
    assert len(seen.all("worker_error")) >= 1
    assert seen.all("lease_lost") == []


def test_what_was_committed_without_being_said_is_not_done_twice(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder
) -> None:
    """A commit took effect, and its confirmation was lost: the reservation is over, and nothing can be settled."""
    worker = Worker(queue, "t", observer=seen)

    @worker.default
    def handle(job: Job) -> None:
        def lose_the_answer(number: int) -> None:
            watched.after = None
            raise StorageError("no answer")

        watched.after = lose_the_answer
        raise Done(then=NewJob("u"))

    id = queue.enqueue("t", name="it")
    with running(worker):
        seen.wait_for("worker_error", StorageError, "no answer")
        pass_time(clock, 0.1)
        seen.wait_for("lease_lost", "it")
    assert (queue.status(id), queue.stats("u").enqueued) == (Status.DONE, 1)


def test_a_full_storage_is_not_the_jobs_fault_when_it_reserves(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(lambda job: None)
    id = queue.enqueue("t", name="it")

    def full(number: int) -> None:
        watched.fail = None
        raise StorageFull("the disk is full")

    watched.fail = full
    with running(worker):
        seen.wait_for("completed", "it")
    assert queue.get(id).attempt == 1


def test_an_error_that_lasts_ends_a_worker_that_stops(
    queue: JobService, watched: Watched, seen: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(queue, "t", observer=seen, grace=0)
    errors: list[BaseException] = []
    go = threading.Event()
    worker.default(lambda job: wait(go))
    id = queue.enqueue("t")

    def run() -> None:
        try:
            worker.run()
        except StorageError as problem:
            errors.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    seen.wait_for("started")
    watched.fail = always
    go.set()
    seen.wait_for("worker_error")
    worker.stop()
    thread.join(PATIENCE)
    assert [str(error) for error in errors] == ["the plug was pulled"]
    assert seen.moments[-1] == ("worker_stopped", worker)
    assert [one.levelname for one in caplog.records][-1] == "CRITICAL"
    watched.fail = None
    assert queue.status(id) is Status.RESERVED  # until its lease is over
    assert not worker.is_running


def test_a_stop_is_heard_during_a_pause(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(lambda job: None)
    watched.fail = always
    worker.start()
    seen.wait_for("worker_error")
    worker.stop()
    assert not worker.is_running
    assert len(seen.all("worker_error")) == 1


def test_a_bug_ends_the_worker_with_the_error(
    queue: JobService,
    watched: Watched,
    seen: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(queue, "t", concurrency=2, observer=seen)
    go = threading.Event()
    worker.handler("slow")(lambda job: wait(go))
    worker.handler("quick")(lambda job: None)
    ids = [queue.enqueue("t", name=name) for name in ("slow", "quick")]

    def bug(number: int) -> None:
        watched.fail = None
        raise ZeroDivisionError("a bug")

    watched._begun = 0
    watched.fail = lambda number: bug(number) if number == 2 else None
    with pytest.raises(ZeroDivisionError, match="a bug"):
        worker.run()
    go.set()
    assert not worker.is_running
    assert [moment[:2] for moment in seen.moments[-2:]] == [
        ("worker_error", ZeroDivisionError),
        ("worker_stopped", worker),
    ]
    [record] = [one for one in caplog.records if one.levelname == "CRITICAL"]
    assert record.getMessage() == f"{worker!r} failed and is stopped: a bug"
    assert record.exc_info is not None
    assert [queue.status(id) for id in ids] == [Status.READY, Status.DONE]  # let go, and settled all the same


def test_a_bug_that_comes_again_is_the_first_one_that_is_raised(queue: JobService, watched: Watched) -> None:
    worker = Worker(queue, "t")
    worker.default(lambda job: None)
    queue.enqueue("t")
    watched._begun = 0

    def bug(number: int) -> None:
        if number > 1:
            raise ZeroDivisionError(f"bug in {number}")

    watched.fail = bug
    with pytest.raises(ZeroDivisionError, match="bug in 2"):
        worker.run()
    watched.fail = None
    assert not worker.is_running


def test_a_bug_in_the_background_ends_it_and_is_told(queue: JobService, watched: Watched, seen: Recorder) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(lambda job: None)

    def bug(number: int) -> None:
        raise ZeroDivisionError("a bug")

    watched.fail = bug
    worker.start()
    seen.wait_for("worker_stopped")
    assert len(seen.all("worker_error", ZeroDivisionError)) == 1
    worker.stop()
    watched.fail = None
    worker.run(burst=True)


def test_a_closed_service_ends_a_busy_worker(queue: JobService, seen: Recorder) -> None:
    worker = Worker(queue, "t", observer=seen)

    @worker.default
    def handle(job: Job) -> None:
        queue.close()

    queue.enqueue("t")
    with pytest.raises(ServiceClosed):
        worker.run()
    assert not worker.is_running
    assert [moment[0] for moment in seen.moments[-2:]] == ["worker_error", "worker_stopped"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_of_a_coroutine_that_exits_ends_its_job_alone(
    svc: JobService, seen: Recorder, error: type[BaseException]
) -> None:
    """asyncio lets these two through to whoever runs the event loop."""
    worker = Worker(svc, "t", concurrency=2, observer=seen)

    async def leave() -> None:
        raise error

    @worker.handler
    async def bad(job: AsyncJob) -> None:
        await asyncio.gather(leave())

    @worker.handler
    async def good(job: AsyncJob) -> None:
        await asyncio.sleep(0.001)

    for name in ("bad", "good", "bad", "good", "good"):
        svc.enqueue("t", name=name)
    worker.run(burst=True)
    assert (svc.stats("t").done, svc.stats("t").retried) == (3, 2)
