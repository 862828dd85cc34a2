"""`with job:` settles the job by how the block is left."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jobq import (
    Cancel,
    CancelReason,
    Done,
    Job,
    JobService,
    Limits,
    NewJob,
    Reject,
    Release,
    Retry,
    ServiceClosed,
    Status,
)
from jobq.outcomes import Outcome
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import facts, given, take, unchanged

Log = pytest.LogCaptureFixture
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def leave(job: Job, error: BaseException | None) -> None:
    """Leave the block of a job with an error, or well."""
    with job:
        if error is not None:
            raise error


def test_leaving_well_is_done(svc: JobService, caplog: Log) -> None:
    job = given(svc)
    with job as inside:
        assert inside is job
        assert not job.settled
    assert (svc.status(job.id), svc.get(job.id).result, job.settled) == (Status.DONE, None, True)
    assert caplog.records == []


def test_leaving_by_return_and_by_break_is_leaving_well(svc: JobService) -> None:
    def handler(job: Job) -> str | None:
        with job:
            return job.text
        return None

    job = given(svc, payload="x")
    assert handler(job) == "x"
    other = given(svc)
    for _ in range(3):
        with other:
            break
    assert [svc.status(one.id) for one in (job, other)] == [Status.DONE] * 2


def test_done_with_a_result(svc: JobService, caplog: Log) -> None:
    job = given(svc)
    leave(job, Done({"pages": 3}))
    assert (svc.status(job.id), svc.get(job.id).result) == (Status.DONE, {"pages": 3})
    assert caplog.records == []


def test_done_with_another_job_to_follow(svc: JobService) -> None:
    leave(given(svc), Done(then=NewJob("u", name="next")))
    assert take(svc, "u").name == "next"


def test_retry_after_the_backoff(svc: JobService, clock: ManualClock, caplog: Log) -> None:
    job = given(svc, min_backoff=7)
    before = svc.get(job.id)
    leave(job, Retry())
    assert svc.get(job.id) == replace(
        before, status=Status.DELAYED, run_at=clock.after(7), deadline=None, retry_count=1
    )
    assert caplog.records == []


def test_retry_with_a_delay_a_time_and_an_error(svc: JobService, clock: ManualClock) -> None:
    one, two = given(svc), given(svc)
    leave(one, Retry(3, error="down"))
    leave(two, Retry(run_at=clock.after(4)))
    assert (one.info().run_at, one.info().last_error) == (clock.after(3), "down")
    assert (two.info().run_at, two.info().last_error) == (clock.after(4), None)


def test_retry_keeps_what_it_was_raised_from(svc: JobService) -> None:
    job = given(svc)
    with job:
        try:
            raise ConnectionError("no route")
        except ConnectionError as problem:
            raise Retry(3) from problem
    kept = job.info().last_error or ""
    assert kept.startswith("ConnectionError: no route\n\nTraceback (most recent call last):")
    assert 'raise ConnectionError("no route")' in kept


def test_reject_keeps_what_it_was_raised_from(svc: JobService) -> None:
    job = given(svc)
    with job:
        try:
            raise KeyError("user")
        except KeyError as problem:
            raise Reject from problem
    kept = job.info().last_error or ""
    assert kept.startswith("KeyError: 'user'\n\nTraceback")


def test_an_error_given_stands_before_what_it_was_raised_from(svc: JobService) -> None:
    job = given(svc)
    with job:
        raise Reject("bad address") from ValueError("x")
    assert job.info().last_error == "bad address"


def test_release(svc: JobService, clock: ManualClock) -> None:
    one, two = given(svc), given(svc)
    leave(one, Release())
    leave(two, Release(9))
    assert (one.info().status, one.info().retry_count) == (Status.READY, 0)
    assert (two.info().run_at, two.info().retry_count) == (clock.after(9), 0)


def test_reject(svc: JobService) -> None:
    one, two = given(svc), given(svc)
    leave(one, Reject("broken"))
    leave(two, Reject(reason=CancelReason.UNHANDLED))
    assert (one.info().cancel_reason, one.info().last_error) == (CancelReason.REJECTED, "broken")
    assert two.info().cancel_reason is CancelReason.UNHANDLED


def test_cancel(svc: JobService) -> None:
    job = given(svc)
    leave(job, Cancel("not needed"))
    assert (job.info().cancel_reason, job.info().note) == (CancelReason.REQUESTED, "not needed")


@pytest.mark.parametrize("outcome", [Done, Retry, Release, Reject, Cancel])
def test_an_outcome_may_be_raised_by_its_class_alone(svc: JobService, outcome: type[Outcome]) -> None:
    job = given(svc)
    with job:
        raise outcome
    assert job.settled


def test_any_other_exception_is_logged_and_retried(svc: JobService, clock: ManualClock, caplog: Log) -> None:
    job = given(svc, min_backoff=7)
    before = svc.get(job.id)
    with job:
        raise ZeroDivisionError("too small")
    after = svc.get(job.id)
    kept = after.last_error or ""
    assert after == replace(
        before, status=Status.DELAYED, run_at=clock.after(7), deadline=None, retry_count=1, last_error=kept
    )
    assert kept.startswith("ZeroDivisionError: too small\n\nTraceback (most recent call last):\n")
    assert 'raise ZeroDivisionError("too small")' in kept
    [record] = caplog.records
    assert (record.name, record.levelno) == ("jobq", logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert f"job {job.id}".lower() in record.getMessage().lower()
    assert "too small" in record.getMessage()


def test_an_exception_on_the_last_retry_makes_a_dead_letter(svc: JobService) -> None:
    job = given(svc, max_retries=0)
    leave(job, RuntimeError("x"))
    info = svc.get(job.id)
    assert info.cancel_reason is CancelReason.EXHAUSTED
    assert (info.last_error or "").startswith("RuntimeError: x\n\nTraceback")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_releases_the_job_and_goes_on_up(
    svc: JobService, clock: ManualClock, caplog: Log, interrupt: type[BaseException]
) -> None:
    job = given(svc)
    before = svc.get(job.id)
    raised = interrupt()
    with pytest.raises(interrupt) as e:
        leave(job, raised)
    assert e.value is raised
    assert svc.get(job.id) == replace(before, status=Status.READY, run_at=clock.now(), deadline=None)
    assert job.settled
    assert caplog.records == []


def test_a_job_settled_inside_is_left_alone(svc: JobService, caplog: Log) -> None:
    job = given(svc)
    with job:
        job.retry(8, error="down")
        before = facts(svc.get(job.id))
    assert facts(svc.get(job.id)) == before
    assert caplog.records == []


@pytest.mark.parametrize("outcome", [Done("other"), Retry(1), Release(), Reject(), Cancel()])
def test_a_job_settled_inside_is_left_alone_whatever_outcome_is_raised(
    svc: JobService, outcome: Outcome, caplog: Log
) -> None:
    job = given(svc)
    with job:
        job.done("first")
        raise outcome
    assert (job.info().status, job.info().result) == (Status.DONE, "first")
    assert caplog.records == []


def test_an_exception_after_it_was_settled_is_logged_and_changes_nothing(svc: JobService, caplog: Log) -> None:
    job = given(svc)
    with job:
        job.done()
        raise ZeroDivisionError("too small")
    assert (job.info().status, job.info().last_error) == (Status.DONE, None)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_an_interrupt_after_it_was_settled_goes_on_up(svc: JobService) -> None:
    job = given(svc)
    job.done()
    with unchanged(svc), pytest.raises(KeyboardInterrupt):
        leave(job, KeyboardInterrupt())


@pytest.mark.parametrize("error", [None, Done(), Retry(), Release(), Reject(), Cancel()])
def test_a_lost_lease_is_logged(svc: JobService, caplog: Log, error: Outcome | None) -> None:
    job = given(svc)
    svc.cancel(job.id)
    with unchanged(svc):
        leave(job, error)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("jobq", logging.WARNING)
    assert record.getMessage() == f"{job!r}: the reservation was lost, and its outcome is dropped"


def test_an_exception_under_a_lost_lease_logs_both(svc: JobService, caplog: Log) -> None:
    job = given(svc)
    svc.cancel(job.id)
    with unchanged(svc):
        leave(job, ZeroDivisionError("too small"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def test_an_interrupt_under_a_lost_lease_goes_on_up(svc: JobService, caplog: Log) -> None:
    job = given(svc)
    svc.cancel(job.id)
    with unchanged(svc), pytest.raises(KeyboardInterrupt):
        leave(job, KeyboardInterrupt())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_lease_that_went_to_another_is_left_with_that_one(svc: JobService, clock: ManualClock) -> None:
    old = given(svc, lease=10)
    clock.advance(10)
    new = take(svc)
    with unchanged(svc):
        leave(old, RuntimeError("late"))
    new.done()


@pytest.mark.parametrize(
    "outcome",
    [
        Done(object()),
        Retry(-1),
        Retry(True),
        Release(float("nan")),
        Release(1, run_at=LATER),
        Reject(5),  # type: ignore[arg-type]
        Cancel("x" * 2001),
    ],
    ids=["result", "delay", "kind of delay", "release", "two times", "error", "note"],
)
def test_an_outcome_that_is_not_allowed_is_logged_and_retried(svc: JobService, outcome: Outcome, caplog: Log) -> None:
    job = given(svc)
    leave(job, outcome)
    info = svc.get(job.id)
    assert (info.status, info.retry_count) == (Status.DELAYED, 1)
    assert (info.last_error or "").startswith(("TypeError: ", "ValueError: "))
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert f"its outcome {type(outcome).__name__} was refused" in record.getMessage()


def test_a_follower_that_is_refused_is_logged_and_the_job_retried(open_service: OpenService, caplog: Log) -> None:
    svc = open_service(limits=Limits(depth=1))
    svc.enqueue("u", unique_key="k")
    for then in (NewJob("u"), NewJob("u", unique_key="k")):
        job = given(svc)
        leave(job, Done(then=then))
        info = svc.get(job.id)
        assert (info.status, info.retry_count) == (Status.DELAYED, 1)
        svc.cancel(job.id)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "its outcome Done was refused, so it is retried"
    ] * 2
    assert svc.stats("u").enqueued == 1


def test_a_closed_service_raises_at_the_end_of_the_block(svc: JobService) -> None:
    job = given(svc)
    svc.close()
    with pytest.raises(ServiceClosed):
        leave(job, None)


def test_an_interrupt_goes_on_up_from_a_closed_service(svc: JobService, caplog: Log) -> None:
    job = given(svc)
    svc.close()
    with pytest.raises(KeyboardInterrupt):
        leave(job, KeyboardInterrupt())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "could not be released" in caplog.text
