"""What an observer is told, and what the log says."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from jobq import AsyncJob, Cancel, CancelReason, Done, Job, JobService, NewJob, Observer, Reject, Release, Retry, Worker
from tests.clocks import PATIENCE, ManualClock
from tests.worker.scenes import Recorder, running

MOMENTS = [
    "worker_started",
    "worker_stopped",
    "worker_error",
    "topic_empty",
    "started",
    "ended",
    "completed",
    "enqueued",
    "released",
    "retried",
    "dead",
    "canceled",
    "lease_lost",
]


def every_kind(svc: JobService, worker: Worker) -> None:
    """Register handlers that end in every way, and enqueue a job for each."""

    @worker.handler
    def done(job: Job) -> None:
        raise Done("result", then=NewJob("u"))

    @worker.handler
    def released(job: Job) -> None:
        raise Release(60, then=[NewJob("u"), NewJob("u")])

    @worker.handler
    def retried(job: Job) -> None:
        raise Retry(60, error="later")

    @worker.handler
    def failed(job: Job) -> None:
        raise ValueError("boom")

    @worker.handler
    def dead(job: Job) -> None:
        raise Reject("nonsense")

    @worker.handler
    def canceled(job: Job) -> None:
        raise Cancel("no more")

    @worker.handler
    def lost(job: Job) -> None:
        svc.cancel(job.id)

    for name in ("done", "released", "retried", "failed", "dead", "canceled", "lost", "unknown"):
        svc.enqueue("t", name=name)


def test_moments_come_in_order(svc: JobService, seen: Recorder) -> None:
    worker = Worker(svc, ["t", "empty"], observer=seen)
    every_kind(svc, worker)
    worker.run(burst=True)
    [(*_, error)] = seen.all("retried", "failed")
    assert isinstance(error, ValueError)
    [unknown] = seen.all("dead", "unknown")
    assert unknown[3] is CancelReason.UNHANDLED
    settled: list[list[tuple[Any, ...]]] = [
        [("completed", "done", "result"), ("enqueued", "done", [9])],
        [("released", "released", 60.0), ("enqueued", "released", [10, 11])],
        [("retried", "retried", "later")],
        [("retried", "failed", error)],
        [("dead", "dead", "nonsense", CancelReason.REJECTED)],
        [("canceled", "canceled", "no more")],
        [("lease_lost", "lost")],
        [unknown],
    ]
    told = [moment for moments in settled for moment in moments]
    assert [moment for moment in seen.of_jobs() if moment[0] != "started"] == told
    for moment in told[:-1]:
        assert seen.moments.index(("started", moment[1])) < seen.moments.index(moment)
    assert [moment[0] for moment in seen.moments if moment[0].startswith(("worker", "topic"))] == [
        "worker_started",
        "topic_empty",
        "topic_empty",
        "worker_stopped",
    ]
    assert (seen.moments[0], seen.moments[-1]) == (("worker_started", worker), ("worker_stopped", worker))


def test_what_is_told_of_an_end_was_committed(svc: JobService) -> None:
    statuses: list[str] = []

    class Looks(Observer):
        def completed(self, job: Job, result: Any) -> None:
            statuses.append(svc.status(job.id))
            assert job.settled

        def retried(self, job: Job, error: object, delay: float) -> None:
            statuses.append(svc.status(job.id))

    worker = Worker(svc, "t", observer=Looks())
    every_kind(svc, worker)
    worker.run(burst=True)
    assert statuses == ["done", "delayed", "delayed"]


def test_who_is_told_in_which_thread(svc: JobService) -> None:
    threads: dict[str, str] = {}

    class Notes(Observer):
        def started(self, job: Job) -> None:
            threads["started " + job.name] = threading.current_thread().name

        def completed(self, job: Job, result: Any) -> None:
            threads["completed " + job.name] = threading.current_thread().name

        def ended(self, job: Job) -> None:
            threads["ended " + job.name] = threading.current_thread().name

    worker = Worker(svc, "t", observer=Notes())
    worker.handler("function")(lambda job: threads.setdefault("function", threading.current_thread().name))

    @worker.handler
    async def coroutine(job: AsyncJob) -> None:
        threads["coroutine"] = threading.current_thread().name

    for name in ("function", "coroutine"):
        svc.enqueue("t", name=name)
    worker.run(burst=True)
    assert threads["started function"] == threads["function"] == threads["ended function"] == "jobq-1"
    assert threads["started coroutine"] == threads["coroutine"] == threads["ended coroutine"] == "jobq-loop"
    assert threads["completed function"] == threads["completed coroutine"] == threading.current_thread().name


def test_emptiness_is_told_once_until_something_came(svc: JobService, seen: Recorder) -> None:
    worker = Worker(svc, ["a", "b"], observer=seen)
    worker.default(lambda job: None)
    with running(worker):
        seen.wait_for("topic_empty", "b")
        for n in range(1, 4):
            svc.enqueue("a", name=str(n))
            seen.wait_for("completed", str(n))
            seen.wait_for("topic_empty", "b", times=n + 1)
    assert len(seen.all("topic_empty", "a")) == 4


def failing(moment: str, error: BaseException) -> Observer:
    """An observer that fails in one moment."""

    def fail(*arguments: object) -> None:
        raise error

    observer = Observer()
    setattr(observer, moment, fail)
    fail.__name__ = moment
    return observer


@pytest.mark.parametrize("error", [ValueError("the observer is broken"), SystemExit(3)])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_observer_that_fails_breaks_nothing_and_is_logged(
    svc: JobService, caplog: pytest.LogCaptureFixture, moment: str, error: BaseException
) -> None:
    worker = Worker(svc, "t", observer=failing(moment, error))
    every_kind(svc, worker)
    if moment == "worker_error":
        worker._moments.worker_error(OSError("the disk"), "it goes on")
    worker.run(burst=True)
    stats = svc.stats("t")
    assert (stats.done, stats.retried, stats.dead, stats.canceled) == (1, 2, 2, 2)
    records = [one for one in caplog.records if one.getMessage() == f"the observer failed in {moment}"]
    assert records
    assert all(record.exc_info is not None and record.exc_info[1] is error for record in records)
    assert (records[0].name, records[0].levelname) == ("jobq.worker", "ERROR")


@pytest.mark.parametrize("error", [ValueError("the observer is broken"), SystemExit(3)])
def test_an_observer_that_fails_before_a_coroutine_breaks_nothing(svc: JobService, error: BaseException) -> None:
    worker = Worker(svc, "t", observer=failing("started", error))

    @worker.default
    async def handle(job: AsyncJob) -> None:
        await asyncio.sleep(0)

    for _ in range(3):
        svc.enqueue("t")
    worker.run(burst=True)
    assert svc.stats("t").done == 3


def test_all_moments_have_a_method_that_does_nothing(svc: JobService) -> None:
    assert [name for name in vars(Observer) if not name.startswith("_")] == MOMENTS
    worker = Worker(svc, "t")
    every_kind(svc, worker)
    worker.run(burst=True)
    assert svc.stats("t").done == 1


def test_a_retry_is_told_with_its_delay(svc: JobService, clock: ManualClock) -> None:
    delays: dict[str, list[float]] = {}

    class Waits(Observer):
        def retried(self, job: Job, error: object, delay: float) -> None:
            delays.setdefault(job.name, []).append(delay)

    worker = Worker(svc, "t", observer=Waits())

    @worker.handler("given")
    def given(job: Job) -> None:
        raise Retry(2.5)

    @worker.handler("at")
    def at(job: Job) -> None:
        raise Retry(run_at=clock.after(90))

    @worker.default
    def fail(job: Job) -> None:
        raise ValueError

    svc.enqueue_many([NewJob("t", name=name, min_backoff=5, max_backoff=8) for name in ("given", "at", "", "own")])
    first = svc.reserve("t", 4)
    svc.retry([job for job in first if job.name == "own"], 0)
    svc.release([job for job in first if job.name != "own"])
    worker.run(burst=True)
    assert delays == {"given": [2.5], "at": [90], "": [5], "own": [8]}


# -- the log -----------------------------------------------------------------------------------------------------------


def test_the_log_has_levels_and_says_of_which_job(svc: JobService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "jobq.worker")
    worker = Worker(svc, "t")
    every_kind(svc, worker)
    worker.handler("dropped")(lambda job: {1})
    svc.enqueue("t", name="dropped")
    worker.run(burst=True)
    lines: dict[str, list[tuple[str, str]]] = {}
    for record in caplog.records:
        assert record.name == "jobq.worker"
        name = getattr(record, "job_name", "")
        if name:
            id = int(record.getMessage().partition("job ")[2].partition(" ")[0])
            facts = (getattr(record, "job_id", 0), getattr(record, "job_topic", ""), getattr(record, "job_attempt", 0))
            assert facts == (id, "t", 1)
        lines.setdefault(name, []).append((record.levelname, record.getMessage().partition("attempt 1, ")[2]))
    assert lines["done"] == [("DEBUG", "begins"), ("DEBUG", "is done")]
    assert lines["released"] == [("DEBUG", "begins"), ("DEBUG", "is released for 60 seconds")]
    assert lines["retried"][1] == ("ERROR", "failed, and is tried again in 60 seconds: later")
    assert lines["failed"][1] == ("ERROR", "failed, and is tried again in 30 seconds: boom")
    assert lines["dead"][1] == ("ERROR", "is a dead letter: nonsense")
    assert lines["canceled"][1] == ("INFO", "is canceled by its handler: no more")
    assert [level for level, _ in lines["lost"]] == ["DEBUG", "WARNING"]
    assert lines["unknown"][0][0] == "ERROR"
    assert [level for level, _ in lines["dropped"]] == ["DEBUG", "WARNING", "DEBUG"]
    assert [level for level, _ in lines[""]] == ["INFO", "DEBUG", "INFO"]


def test_a_failure_is_logged_with_its_traceback(svc: JobService, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(svc, "t")
    every_kind(svc, worker)
    worker.run(burst=True)
    [record] = [one for one in caplog.records if "boom" in one.getMessage()]
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_a_retry_without_a_reason_is_no_error(svc: JobService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jobq.worker")
    worker = Worker(svc, "t")

    @worker.default
    def handle(job: Job) -> None:
        raise Retry(5)

    svc.enqueue("t", name="it")
    worker.run(burst=True)
    assert [one.levelname for one in caplog.records if getattr(one, "job_name", "") == "it"] == ["INFO"]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Reject, "is a dead letter: no error was given"),
        (Retry, "failed, and has no retries left: no error was given"),
    ],
)
def test_a_dead_letter_is_always_an_error(
    svc: JobService, caplog: pytest.LogCaptureFixture, outcome: type[Exception], message: str
) -> None:
    worker = Worker(svc, "t")

    @worker.default
    def handle(job: Job) -> None:
        raise outcome

    svc.enqueue("t", max_retries=0)
    worker.run(burst=True)
    assert [(one.levelname, one.getMessage().partition("attempt 1, ")[2]) for one in caplog.records] == [
        ("ERROR", message)
    ]


def test_no_log_handlers_are_installed() -> None:
    program = (
        "import jobq, logging; svc = jobq.open('memory://'); worker = jobq.Worker(svc, 't'); worker.default(print);"
        "svc.enqueue('t', payload='x'); worker.run(burst=True);"
        "names = ['jobq', 'jobq.worker', None];"
        "assert not any(logging.getLogger(name).handlers for name in names)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_log_handler_that_fails_breaks_nothing(svc: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                raise OSError("the disk is full")
            except OSError:
                self.handleError(record)

    monkeypatch.setattr(logging, "raiseExceptions", False)
    broken = Broken()
    logging.getLogger("jobq.worker").addHandler(broken)
    try:
        worker = Worker(svc, "t")
        every_kind(svc, worker)
        worker.run(burst=True)
    finally:
        logging.getLogger("jobq.worker").removeHandler(broken)
    assert svc.stats("t").done == 1
