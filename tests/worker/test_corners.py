"""Where two things come at once, or one of them fails: nothing is told wrongly, and no job is held by nobody."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator

import pytest

import jobq
from jobq import AsyncJob, Job, JobService, NewJob, Reject, Retry, Status, StorageCorrupt, Worker
from jobq.testing import QueueForTests, drain
from jobq.worker.handlers import NOBODY
from jobq.worker.inbox import Inbox
from jobq.worker.moments import Moments
from jobq.worker.pace import Pace
from jobq.worker.run import Run
from jobq.worker.stage import Stage
from tests.clocks import PATIENCE, ManualClock
from tests.worker.scenes import Recorder, Watched, pass_time, running, wait


@pytest.fixture
def go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_nothing_is_reserved_ahead_before_jobs_are_known_to_be_short() -> None:
    pace = Pace(4)
    assert pace.ahead(1) == 0
    for _ in range(2):
        pace.note_run(1_000)
    assert pace.ahead(1) == 0
    pace.note_run(1_000)
    assert pace.ahead(1) == 200
    pace.forget()
    assert pace.ahead(1) == 0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_jobs_that_take_their_time_are_reserved_once(concurrency: int) -> None:
    with jobq.open("memory://") as svc:
        worker = Worker(svc, "t", concurrency=concurrency)
        worker.default(lambda job: time.sleep(0.02))  # which is what the job does, and nothing waits for it
        ids = svc.enqueue_many([NewJob("t")] * 12)
        worker.run(burst=True)
        assert {svc.get(id).attempt for id in ids} == {1}


def test_a_worker_that_fails_gives_back_what_its_coroutines_had(svc: JobService, seen: Recorder) -> None:
    worker = Worker(svc, "t", concurrency=2, observer=seen)

    @worker.handler
    async def cancelled(job: AsyncJob) -> None:
        await asyncio.sleep(PATIENCE)

    @worker.handler
    def closes(job: Job) -> None:
        seen.wait_for("started", "cancelled")
        assert worker._stage is not None
        worker._stage.inbox.failed(RuntimeError("no more"))

    ids = svc.enqueue_many([NewJob("t", name=name, max_retries=0) for name in ("cancelled", "closes")])
    with pytest.raises(RuntimeError, match="no more"):
        worker.run()
    assert [svc.status(id) for id in ids] == [Status.READY, Status.DONE]


def test_a_lease_that_a_handler_lengthened_is_not_shortened(
    svc: JobService, watched: Watched, clock: ManualClock, seen: Recorder, go: threading.Event
) -> None:
    queue = JobService(watched)
    worker = Worker(queue, "t", lease=3, observer=seen)

    @worker.default
    def handle(job: Job) -> None:
        job.extend(3600)
        seen.note("extended")
        wait(go)

    id = queue.enqueue("t")
    with running(worker):
        seen.wait_for("extended")
        before, deadline = watched.commits, clock.after(3600)
        pass_time(clock, 1)
        watched.wait_for_commits(before + 1)
        assert queue.get(id).deadline == deadline
        go.set()
        seen.wait_for("completed")


def test_a_handler_that_is_about_to_settle_its_job_has_not_lost_it(
    watched: Watched, clock: ManualClock, seen: Recorder, go: threading.Event
) -> None:
    """Its commit took effect, but it does not know of that yet as the leases are renewed."""
    queue = JobService(watched)
    worker = Worker(queue, "t", lease=3, observer=seen)
    settled = threading.Event()

    @worker.default
    def handle(job: Job) -> None:
        me = threading.get_ident()

        def after(number: int) -> None:
            if threading.get_ident() == me:
                settled.set()
                wait(go)

        watched.after = after
        job.done("in time")

    id = queue.enqueue("t", name="it")
    with running(worker):
        wait(settled)
        before = watched.commits
        pass_time(clock, 1)
        watched.wait_for_commits(before + 1)
        go.set()
        seen.wait_for("completed", "it", "in time")
    assert seen.all("lease_lost") == []
    assert queue.get(id).result == "in time"


def test_what_has_ended_is_settled_though_nothing_can_be_reserved(
    watched: Watched, clock: ManualClock, seen: Recorder, go: threading.Event
) -> None:
    queue = JobService(watched)
    worker = Worker(queue, "t", lease=3, observer=seen)
    worker.default(lambda job: wait(go))
    id = queue.enqueue("t")
    reserve = queue.exchange

    def fail_to_reserve(outcomes: object = (), **how: object) -> object:
        if how["topics"]:
            raise StorageCorrupt("the counters cannot be read")
        return reserve(outcomes, **how)  # type: ignore[arg-type]

    with running(worker):
        seen.wait_for("started")
        queue.exchange = fail_to_reserve  # type: ignore[assignment,method-assign]
        go.set()
        seen.wait_for("worker_error")
        pass_time(clock, 0.2)
        seen.wait_for("completed")
        assert queue.status(id) is Status.DONE


def test_a_coroutine_that_blocks_the_loop_does_not_keep_jobs_from_other_workers(
    svc: JobService, clock: ManualClock, seen: Recorder, go: threading.Event
) -> None:
    worker = Worker(svc, "t", concurrency=2, lease=3, observer=seen)

    @worker.default
    async def block(job: AsyncJob) -> None:
        wait(go)

    first, second = svc.enqueue("t", name="first"), svc.enqueue("t", name="second")
    with running(worker):
        seen.wait_for("started", "first")
        assert svc.status(second) is Status.RESERVED
        pass_time(clock, 1)
        seen.wait_for("released", "second")
        [taken] = svc.reserve("t", timeout=None)
        assert taken.id == second
        taken.done()
        go.set()
        seen.wait_for("completed", "first")
    assert svc.status(first) is Status.DONE


def test_who_is_refused_has_not_begun() -> None:
    with jobq.open("memory://") as svc:
        svc.enqueue("t")
        [job] = svc.reserve("t")
        run = Run(job, NOBODY, 0)
        run.is_held = False
        assert not Inbox(svc.clock, Moments([], svc.clock)).begins(run)
        assert run.begun is None


def test_an_end_can_be_waited_for_within_a_wait() -> None:
    """As by a signal handler that comes in between."""
    clock = ManualClock()
    stage = Stage(clock, Moments([], clock))

    def on_alarm(number: int, frame: object) -> None:
        threading.Timer(0.05, stage.end).start()
        stage.wait()

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        stage.wait()
        stage.wait()
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("where", ["jobq.worker.worker.stopping_by_signals", "jobq.worker.work.Executors"])
def test_an_interrupted_beginning_leaves_it_stopped(
    svc: JobService, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    worker = Worker(svc, "t")
    worker.default(lambda job: None)
    with monkeypatch.context() as patched:
        patched.setattr(where, interrupt)
        with pytest.raises(KeyboardInterrupt):
            worker.run()
    assert not worker.is_running
    worker.stop()
    worker.run(burst=True)


def test_what_a_handler_enqueues_as_it_settles_is_told(svc: JobService, seen: Recorder) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.default(lambda job: job.done("by itself", then=[NewJob("u"), NewJob("u")]) and None)
    svc.enqueue("t", name="it")
    worker.run(burst=True)
    ids = [info.id for info in svc.find("ready", topic="u")]
    assert seen.of_jobs() == [("started", "it"), ("completed", "it", "by itself"), ("enqueued", "it", ids)]


def test_a_handler_knows_how_often_its_job_was_retried(jobq: QueueForTests) -> None:
    worker = Worker(jobq, "t")
    counts: list[tuple[int, int]] = []

    @worker.default
    def handle(job: Job) -> None:
        counts.append((job.retry_count, job.attempt))
        if job.retry_count < 2:
            raise Retry(0)

    jobq.enqueue("t")
    jobq.reserve("t")[0].release()
    drain(worker)
    assert counts == [(0, 2), (1, 3), (2, 4)]


def test_a_refused_outcome_is_told_in_one_line(jobq: QueueForTests, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(jobq, "t")

    @worker.default
    def handle(job: Job) -> None:
        raise Retry("soon")  # type: ignore[arg-type]

    id = jobq.enqueue("t")
    drain(worker)
    error = "its outcome Retry was refused: TypeError: delay must be seconds (int, float) or a timedelta, not str"
    assert jobq.get(id).last_error == error
    [record] = caplog.records
    assert record.getMessage().endswith(f"failed, and is tried again in 30 seconds: {error}")
    assert record.exc_info is None


def test_a_lease_that_cannot_be_renewed_in_time_is_refused(svc: JobService) -> None:
    with pytest.raises(ValueError, match=r"at least 0\.1 seconds, as it has to be renewed in time, not 0\.09"):
        Worker(svc, "t", lease=0.09)
    Worker(svc, "t", lease=0.1)


def test_a_test_that_is_interrupted_ends(jobq: QueueForTests) -> None:
    worker = Worker(jobq, "t")

    @worker.default
    def handle(job: Job) -> None:
        raise KeyboardInterrupt

    id = jobq.enqueue("t", max_retries=0)
    with pytest.raises(KeyboardInterrupt):
        drain(worker)
    assert jobq.status(id) is Status.READY


def test_a_handler_may_be_registered_by_a_keyword(jobq: QueueForTests) -> None:
    worker = Worker(jobq, "t")

    @worker.handler(name="named", time_limit=5)
    def handle(job: Job) -> None:
        raise Reject("seen")

    id = jobq.enqueue("t", name="named")
    drain(worker)
    assert jobq.get(id).last_error == "seen"


def test_fewer_threads_do_the_work_if_there_is_no_room_for_all(
    svc: JobService, seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    begun: list[str] = []

    def refuse_all_but_one(thread: threading.Thread) -> None:
        if thread.name.startswith("jobq-"):
            if begun:
                raise RuntimeError("can't start new thread")
            begun.append(thread.name)
        start(thread)

    worker = Worker(svc, "t", concurrency=3, observer=seen)
    worker.default(lambda job: None)
    ids = [svc.enqueue("t") for _ in range(9)]
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse_all_but_one)
        worker.run(burst=True)
    assert [svc.get(id).attempt for id in ids if svc.status(id) is Status.DONE] == [1] * 9
    assert seen.all("worker_error") == [("worker_error", RuntimeError, "can't start new thread")]
