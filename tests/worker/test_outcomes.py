"""What becomes of a job by how its handler ended, be it a function or a coroutine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from jobq import (
    AsyncJob,
    Cancel,
    CancelReason,
    Done,
    Job,
    JobInfo,
    JobService,
    Limits,
    NewJob,
    Reject,
    Release,
    Retry,
    Status,
    Worker,
)
from jobq.outcomes import ERROR_LENGTH, Outcome
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.worker.scenes import Recorder

Body = Callable[[Job], Any]
Run = Callable[..., JobInfo]


@pytest.fixture(params=["function", "coroutine"])
def run(request: pytest.FixtureRequest, svc: JobService, seen: Recorder) -> Run:
    """Run one job with a body, as a function or a coroutine; the job as it is then."""

    def run_one(body: Body, svc: JobService = svc, **job: Any) -> JobInfo:
        worker = Worker(svc, "t", observer=seen)
        if request.param == "function":
            worker.default(body)
        else:

            @worker.default
            async def coroutine(job: AsyncJob) -> Any:
                await asyncio.sleep(0)
                return body(job.sync)

        id = svc.enqueue("t", name="it", **job)
        worker.run(burst=True)
        return svc.get(id)

    return run_one


def error_of(info: JobInfo) -> str:
    """Why its last attempt failed."""
    assert info.last_error is not None
    return info.last_error


def raising(error: BaseException) -> Body:
    """A handler that raises."""

    def handle(job: Job) -> None:
        raise error

    return handle


@pytest.mark.parametrize("result", [None, 0, "text", [1, {"two": [True, None]}], {"a": 1.5}])
def test_returning_is_done_with_a_result(run: Run, seen: Recorder, result: Any) -> None:
    info = run(lambda job: result)
    assert (info.status, info.result, info.attempt, info.retry_count) == (Status.DONE, result, 1, 0)
    assert seen.of_jobs() == [("started", "it"), ("completed", "it", result)]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({1, 2}, "result must be a JSON value (dict, list, str, number, bool, None): Object of type set"),
        (float("nan"), "result must be a JSON value"),
        (b"bytes", "result must be a JSON value"),
        ("x" * 5_000, "a result of 5002 bytes is over the limit of 4000"),
        ("\ud800", "result"),
        (Done("an outcome that is not raised"), "result must be a JSON value"),
    ],
)
def test_a_result_that_cannot_be_kept_is_dropped(
    run: Run, open_service: OpenService, seen: Recorder, caplog: pytest.LogCaptureFixture, result: Any, why: str
) -> None:
    info = run(lambda job: result, open_service(limits=Limits(payload=4_000)))
    assert (info.status, info.result, info.attempt, info.last_error) == (Status.DONE, None, 1, None)
    assert seen.of_jobs() == [("started", "it"), ("completed", "it", None)]
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.name, record.levelname) == ("jobq.worker", "WARNING")
    assert "is done, but its result is dropped: " + why in record.getMessage()


def test_done_with_a_result_and_what_follows(run: Run, svc: JobService, seen: Recorder) -> None:
    info = run(raising(Done("said", then=[NewJob("u", name="x"), NewJob("u", name="y")])))
    assert (info.status, info.result) == (Status.DONE, "said")
    ids = [one.id for one in svc.find("ready", topic="u")]
    assert seen.of_jobs() == [("started", "it"), ("completed", "it", "said"), ("enqueued", "it", ids)]
    assert len(ids) == 2


def test_what_follows_may_be_one_job_or_come_from_a_generator(run: Run, svc: JobService, seen: Recorder) -> None:
    run(raising(Done(then=NewJob("u"))))
    run(lambda job: raising(Done(then=(NewJob("u") for _ in range(3))))(job))
    assert [len(ids) for _, _, ids in seen.all("enqueued")] == [1, 3]
    assert svc.stats("u").enqueued == 4


def test_retry_after_a_delay(run: Run, seen: Recorder, clock: ManualClock) -> None:
    info = run(raising(Retry(7, error="the gateway is down")))
    assert (info.status, info.retry_count, info.run_at) == (Status.DELAYED, 1, clock.after(7))
    assert info.last_error == "the gateway is down"
    assert seen.of_jobs() == [("started", "it"), ("retried", "it", "the gateway is down")]


def test_retry_at_a_time(run: Run, clock: ManualClock) -> None:
    assert run(raising(Retry(run_at=clock.after(99)))).run_at == clock.after(99)


def test_retry_after_the_backoff_with_its_cause(run: Run, clock: ManualClock) -> None:
    def handle(job: Job) -> None:
        try:
            raise OSError("no route")
        except OSError as problem:
            raise Retry from problem

    info = run(handle, min_backoff=11)
    assert info.run_at == clock.after(11)
    assert error_of(info).startswith("OSError: no route\n")


def test_release_does_not_count(run: Run, seen: Recorder, clock: ManualClock) -> None:
    info = run(raising(Release(5)))
    assert (info.status, info.retry_count, info.run_at, info.last_error) == (Status.DELAYED, 0, clock.after(5), None)
    assert seen.of_jobs() == [("started", "it"), ("released", "it", 5.0)]


def test_reject(run: Run, svc: JobService, seen: Recorder) -> None:
    info = run(raising(Reject("nonsense")))
    assert (info.status, info.cancel_reason, info.last_error) == (Status.CANCELED, CancelReason.REJECTED, "nonsense")
    assert svc.dead_letters() == [info]
    assert seen.of_jobs() == [("started", "it"), ("dead", "it", "nonsense", CancelReason.REJECTED)]


def test_cancel(run: Run, svc: JobService, seen: Recorder) -> None:
    info = run(raising(Cancel("not needed")))
    assert (info.status, info.cancel_reason, info.note) == (Status.CANCELED, CancelReason.REQUESTED, "not needed")
    assert svc.dead_letters() == []
    assert seen.of_jobs() == [("started", "it"), ("canceled", "it", "not needed")]


def deeper() -> None:
    raise LookupError("no such order")


@pytest.mark.parametrize(
    "error",
    [ValueError("bad"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError("of its own")],
)
def test_any_other_exception_is_retried_after_the_backoff(
    run: Run, seen: Recorder, clock: ManualClock, error: BaseException
) -> None:
    info = run(raising(error), min_backoff=8)
    assert (info.status, info.retry_count, info.run_at) == (Status.DELAYED, 1, clock.after(8))
    assert type(error).__name__ in error_of(info).splitlines()[0]
    assert seen.of_jobs() == [("started", "it"), ("retried", "it", error)]


def test_the_error_has_type_message_and_the_handlers_own_lines(run: Run) -> None:
    error = error_of(run(lambda job: deeper()))
    assert error.startswith("LookupError: no such order\n\nTraceback (most recent call last):")
    assert "in deeper\n" in error
    assert "jobq/worker/calling.py" not in error
    assert "jobq/worker/coroutines.py" not in error


def test_an_error_is_capped(run: Run) -> None:
    error = error_of(run(raising(ValueError("é" * 50_000))))
    assert error.startswith("ValueError: éé")
    assert len(error) <= ERROR_LENGTH


def test_the_last_retry_makes_a_dead_letter(run: Run, seen: Recorder) -> None:
    problem = ValueError("always")
    info = run(raising(problem), max_retries=2, min_backoff=0, max_backoff=0)
    assert (info.status, info.cancel_reason, info.attempt) == (Status.CANCELED, CancelReason.EXHAUSTED, 3)
    assert [moment[0] for moment in seen.of_jobs()] == ["started", "retried"] * 2 + ["started", "dead"]
    assert seen.all("dead") == [("dead", "it", problem, CancelReason.EXHAUSTED)]


@pytest.mark.parametrize(
    ("settle", "status", "moment"),
    [
        (lambda job: job.done("mine"), Status.DONE, ("completed", "it", "mine")),
        (lambda job: job.retry(60, error="later"), Status.DELAYED, ("retried", "it", "later")),
        (lambda job: job.release(60), Status.DELAYED, ("released", "it", 60.0)),
        (lambda job: job.release(run_at=ManualClock().after(60)), Status.DELAYED, ("released", "it", 60.0)),
        (
            lambda job: job.reject("no", reason=CancelReason.UNHANDLED),
            Status.CANCELED,
            ("dead", "it", "no", CancelReason.UNHANDLED),
        ),
        (lambda job: job.cancel("no more"), Status.CANCELED, ("canceled", "it", "no more")),
    ],
)
def test_a_job_that_its_handler_settled_is_left_alone(
    run: Run, seen: Recorder, settle: Callable[[Job], Any], status: Status, moment: tuple[Any, ...]
) -> None:
    def handle(job: Job) -> str:
        settle(job)
        return "something else"

    assert run(handle).status is status
    assert seen.of_jobs() == [("started", "it"), moment]


def test_an_exception_after_settling_is_logged(run: Run, seen: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    def handle(job: Job) -> None:
        job.done("mine")
        deeper()

    info = run(handle)
    assert (info.status, info.result, info.last_error) == (Status.DONE, "mine", None)
    assert seen.of_jobs() == [("started", "it"), ("completed", "it", "mine")]
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "failed after its handler had settled it: no such order" in record.getMessage()
    assert record.exc_info is not None


def test_a_coroutine_that_is_returned_by_mistake_is_a_failure(run: Run, svc: JobService) -> None:
    async def forgotten(job: AsyncJob) -> None: ...

    info = run(lambda job: forgotten(job))
    assert (info.status, info.retry_count) == (Status.DELAYED, 1)
    assert error_of(info).startswith("TypeError: tests.worker.test_outcomes.")
    assert "returned something to await: declare it with async def" in error_of(info)


class Strange(Outcome):
    """None of the five."""


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (lambda: Retry(delay=-1), "ValueError: delay"),
        (lambda: Retry(delay="soon"), "TypeError: delay"),  # type: ignore[arg-type]
        (lambda: Release(-1), "ValueError: delay"),
        (lambda: Release(1, run_at=datetime.now(UTC)), "ValueError: give either delay or run_at"),
        (lambda: Release(run_at=datetime.now()), "ValueError: run_at must be an aware datetime"),
        (lambda: Release(then=[NewJob("u", unique_key="held")]), "DuplicateJob"),
        (lambda: Reject(reason=CancelReason.REQUESTED), "ValueError: reason"),
        (lambda: Cancel("x" * 3_000), "ValueError: note"),
        (lambda: Done({1}), "TypeError: result must be a JSON value"),
        (lambda: Done(then=[NewJob("u", unique_key="held")]), "DuplicateJob"),
        (lambda: Done(then=NewJob("no spaces")), "InvalidTopic"),
        (lambda: Done(then=5), "TypeError"),  # type: ignore[arg-type]
        (Strange, "TypeError: an outcome must be Done, Retry, Release, Reject or Cancel, not Strange"),
    ],
)
def test_a_refused_outcome_is_a_failure_and_harms_no_other_job(
    svc: JobService, seen: Recorder, outcome: Callable[[], Outcome], error: str
) -> None:
    svc.enqueue("u", unique_key="held")
    worker = Worker(svc, "t", concurrency=4, observer=seen)

    @worker.handler
    async def bad(job: AsyncJob) -> None:
        raise outcome()

    @worker.handler
    async def good(job: AsyncJob) -> None:
        raise Done(job.id, then=NewJob("v", payload=str(job.id)))

    ids = [svc.enqueue("t", name=name) for name in ("good", "bad", "good", "bad")]
    worker.run(burst=True)
    found = [svc.get(id) for id in ids]
    assert [info.status for info in found] == [Status.DONE, Status.DELAYED] * 2
    assert error in error_of(found[1]).splitlines()[0]
    followers = {int(svc.payload(one.id)): one.id for one in svc.find("ready", topic="v")}
    assert sorted(followers) == [ids[0], ids[2]]
    assert sorted(seen.all("enqueued")) == sorted(("enqueued", "good", [id]) for id in followers.values())
    assert len(seen.all("retried")) == 2
    assert svc.stats("u").enqueued == 1


def test_a_generator_of_followers_that_fails_is_a_failure(run: Run) -> None:
    info = run(raising(Done(then=(NewJob("u", priority=1 // n) for n in (1, 0)))))
    assert (info.status, error_of(info).splitlines()[0]) == (
        Status.DELAYED,
        "ZeroDivisionError: integer division or modulo by zero",
    )


def test_a_job_that_nothing_handles_is_a_dead_letter(svc: JobService, seen: Recorder) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.handler("known")(lambda job: None)
    worker.handler("and this")(lambda job: None)
    ids = [svc.enqueue("t", name="unknown"), svc.enqueue("t"), svc.enqueue("t", name="known")]
    worker.run(burst=True)
    unknown, nameless, known = map(svc.get, ids)
    assert (unknown.status, unknown.cancel_reason) == (Status.CANCELED, CancelReason.UNHANDLED)
    assert unknown.last_error == "no handler for jobs named 'unknown': this worker knows 'and this', 'known'"
    assert error_of(nameless).startswith("no handler for a job without a name: enqueue it with a name ('and this', 'k")
    assert (nameless.cancel_reason, known.status) == (CancelReason.UNHANDLED, Status.DONE)
    assert seen.all("dead")[0] == ("dead", "unknown", unknown.last_error, CancelReason.UNHANDLED)
    assert seen.all("started") == [("started", "known")]


def test_a_handler_has_the_job_and_may_use_the_queue(svc: JobService) -> None:
    worker = Worker(svc, "t")
    facts: list[Any] = []

    @worker.default
    def handle(job: Job) -> None:
        facts.append((job.id, job.topic, job.name, job.text, job.attempt, job.canceled(), job.settled))
        job.log("a line")
        job.extend(90)
        if job.name == "first":
            svc.enqueue("t", name="second", payload="more")

    id = svc.enqueue("t", name="first", payload="some")
    worker.run(burst=True)
    assert facts == [(id, "t", "first", "some", 1, False, False), (id + 1, "t", "second", "more", 1, False, False)]
    assert [line.message for line in svc.logs(id).lines] == ["a line"]
