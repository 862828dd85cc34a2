"""Handlers that take longer than they may."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jobq import AsyncJob, Job, JobService, Status, StorageError, Worker
from tests.clocks import ManualClock
from tests.worker.scenes import Recorder, Watched, pass_time, running, wait

TOO_LONG = "TimeoutError: the handler ran longer than its time_limit of 20 seconds"


class Stuck:
    """A handler that does not end before it is let go."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.canceled: list[bool] = []

    def here_it_is_stuck(self, job: Job) -> str:
        wait(self.event)
        self.canceled.append(job.canceled())
        return "too late"


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


def test_a_coroutine_is_cancelled_and_its_job_retried(svc: JobService, clock: ManualClock, seen: Recorder) -> None:
    worker = Worker(svc, "t", observer=seen)

    @worker.handler(time_limit=20)
    async def slow(job: AsyncJob) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.note("cleaned up")

    id = svc.enqueue("t", name="slow", min_backoff=7)
    with running(worker):
        seen.wait_for("started")
        pass_time(clock, 19.9)
        assert seen.all("cleaned up") == []
        pass_time(clock, 0.1)
        seen.wait_for("retried")
        assert worker.lost_slots == 0
    info = svc.get(id)
    assert (info.status, info.retry_count, info.last_error) == (Status.DELAYED, 1, TOO_LONG)
    assert info.run_at == clock.after(7)
    assert seen.of_jobs() == [("started", "slow"), ("cleaned up",), ("retried", "slow", TOO_LONG)]


def test_a_coroutine_that_makes_something_of_its_cancellation_has_the_last_word(
    svc: JobService, clock: ManualClock, seen: Recorder
) -> None:
    worker = Worker(svc, "t", observer=seen, concurrency=2)

    @worker.handler(time_limit=20)
    async def partial(job: AsyncJob) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "half of it"
        return "all"

    @worker.handler(time_limit=20)
    async def translated(job: AsyncJob) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("out of time") from None

    svc.enqueue("t", name="partial")
    id = svc.enqueue("t", name="translated")
    with running(worker):
        seen.wait_for("started", times=2)
        pass_time(clock, 20)
        seen.wait_for("completed", "partial", "half of it")
        seen.wait_for("retried", "translated")
    assert (svc.get(id).last_error or "").startswith("ValueError: out of time\n")


def test_a_coroutine_that_ignores_its_cancellation_is_given_up_after_a_second(
    svc: JobService, clock: ManualClock, seen: Recorder
) -> None:
    go = threading.Event()
    worker = Worker(svc, "t", observer=seen)

    @worker.handler(time_limit=20)
    async def stubborn(job: AsyncJob) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.note("ignored")
        while not go.is_set():
            await asyncio.sleep(0.001)
        seen.note("canceled", await job.canceled())
        return "too late"

    @worker.handler
    async def other(job: AsyncJob) -> None: ...

    id = svc.enqueue("t", name="stubborn")
    with running(worker):
        seen.wait_for("started")
        pass_time(clock, 20)
        seen.wait_for("ignored")
        assert svc.status(id) is Status.RESERVED
        pass_time(clock, 1)
        seen.wait_for("retried", "stubborn", TOO_LONG)
        assert worker.lost_slots == 1
        svc.enqueue("t", name="other")
        seen.wait_for("completed", "other")
        go.set()
        seen.wait_for("canceled", True)
        svc.enqueue("t", name="other")  # settles and collects what has ended
        seen.wait_for("completed", "other", times=2)
        assert worker.lost_slots == 0
    assert (svc.status(id), svc.stats("t").done) == (Status.DELAYED, 2)


def test_a_thread_is_given_up_and_replaced(
    svc: JobService, clock: ManualClock, seen: Recorder, stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.handler("stuck", time_limit=20)(stuck.here_it_is_stuck)
    worker.handler("other")(lambda job: "done")
    id = svc.enqueue("t", name="stuck", min_backoff=9)
    with running(worker):
        seen.wait_for("started")
        svc.enqueue("t", name="other")
        pass_time(clock, 19.9)
        assert (seen.all("started", "other"), worker.lost_slots) == ([], 0)
        pass_time(clock, 0.1)
        seen.wait_for("retried", "stuck")
        assert worker.lost_slots == 1
        seen.wait_for("completed", "other", "done")
        stuck.event.set()
        while worker.lost_slots:
            svc.wait_for(svc.enqueue("t", name="other"), None)
    info = svc.get(id)
    assert (info.status, info.retry_count, info.run_at) == (Status.DELAYED, 1, clock.after(9))
    assert stuck.canceled == [True]
    assert info.result is None
    error = info.last_error or ""
    assert error.startswith(TOO_LONG + "\n\nIt was here:\n")
    assert "in here_it_is_stuck\n    wait(self.event)" in error
    assert "jobq/worker" not in error
    said = [record.getMessage() for record in caplog.records if record.name == "jobq.worker"]
    assert any("it is given up, and its slot is lost (1 so far)" in line for line in said)
    assert any("has ended after it was given up: its outcome is dropped" in line for line in said)


def test_the_last_attempt_that_takes_too_long_makes_a_dead_letter(
    svc: JobService, clock: ManualClock, seen: Recorder, stuck: Stuck
) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.default(time_limit=20)(stuck.here_it_is_stuck)
    svc.enqueue("t", max_retries=0)
    with running(worker):
        seen.wait_for("started")
        pass_time(clock, 20)
        seen.wait_for("dead")
        stuck.event.set()
    [letter] = svc.dead_letters()
    assert (letter.last_error or "").startswith(TOO_LONG)


def test_every_slot_can_be_lost_and_replaced(svc: JobService, clock: ManualClock, seen: Recorder, stuck: Stuck) -> None:
    worker = Worker(svc, "t", concurrency=3, observer=seen)
    worker.default(time_limit=20)(stuck.here_it_is_stuck)
    with running(worker):
        for round in range(1, 4):
            for _ in range(3):
                svc.enqueue("t", min_backoff=3_600)
            seen.wait_for("started", times=3 * round)
            pass_time(clock, 20)
            seen.wait_for("retried", times=3 * round)
            assert worker.lost_slots == 3 * round
        stuck.event.set()


def test_one_that_ends_in_time_is_not_stopped(svc: JobService, clock: ManualClock, seen: Recorder) -> None:
    worker = Worker(svc, "t", observer=seen)

    @worker.default(time_limit=20)
    def handle(job: Job) -> None:
        clock.advance(19)

    for _ in range(3):
        svc.enqueue("t")
    worker.run(burst=True)
    assert (svc.stats("t").done, worker.lost_slots) == (3, 0)


def test_a_late_end_does_not_come_between_while_the_storage_is_down(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder, stuck: Stuck
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.handler("stuck", time_limit=20)(stuck.here_it_is_stuck)
    id = queue.enqueue("t", name="stuck")

    def fail(number: int) -> None:
        raise StorageError("down")

    with running(worker):
        seen.wait_for("started")
        watched.fail = fail
        pass_time(clock, 20)
        seen.wait_for("worker_error")
        stuck.event.set()
        for n in range(2, 4):
            pass_time(clock, 5)
            seen.wait_for("worker_error", times=n)
        watched.fail = None
        pass_time(clock, 5)
        seen.wait_for("retried", "stuck")
    assert (queue.get(id).retry_count, queue.status(id)) == (1, Status.DELAYED)
    assert [moment[0] for moment in seen.of_jobs()] == ["started", "retried"]
