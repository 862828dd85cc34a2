"""Each row of the state machine, as `get` shows the job before and after: what a verb sets, and what it leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobq import CancelReason, JobOptions, JobService, Status
from tests.clocks import ManualClock
from tests.contract.scenes import facts, given, take


def test_enqueue_makes_a_ready_job(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("mail", 7, b"x", name="send", unique_key="k", lease=12, headers={"tenant": "acme"})
    assert facts(svc.get(job_id)) == {
        "id": job_id,
        "topic": "mail",
        "priority": 7,
        "status": Status.READY,
        "name": "send",
        "created_at": clock.now(),
        "run_at": clock.now(),
        "reserved_at": None,
        "deadline": None,
        "finished_at": None,
        "attempt": 0,
        "retry_count": 0,
        "reset_count": 0,
        "cancel_reason": None,
        "note": None,
        "last_error": None,
        "result": None,
        "options": JobOptions(lease=12),
        "unique_key": "k",
        "headers": {"tenant": "acme"},
    }


def test_enqueue_makes_a_delayed_job_if_its_time_is_to_come(svc: JobService, clock: ManualClock) -> None:
    info = svc.get(svc.enqueue("t", delay=5))
    assert (info.status, info.created_at, info.run_at) == (Status.DELAYED, clock.now(), clock.after(5))


def test_enqueue_makes_a_ready_job_of_a_time_that_is_past(svc: JobService, clock: ManualClock) -> None:
    info = svc.get(svc.enqueue("t", run_at=clock.after(-5)))
    assert (info.status, info.run_at) == (Status.READY, clock.now())


def test_enqueue_makes_a_ready_job_of_this_very_moment(svc: JobService, clock: ManualClock) -> None:
    assert svc.status(svc.enqueue("t", run_at=clock.now())) is Status.READY


def test_a_delayed_job_is_reserved_once_due_and_keeps_its_run_at(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=5)
    before = svc.get(job_id)
    clock.advance(4.999999)
    assert svc.reserve("t") == []
    assert svc.get(job_id) == before
    clock.advance(0.000001)
    assert take(svc).id == job_id
    assert svc.get(job_id) == replace(
        before,
        status=Status.RESERVED,
        attempt=1,
        reserved_at=clock.now(),
        deadline=clock.after(300),
    )


def test_a_delayed_job_that_is_due_but_not_taken_becomes_ready(svc: JobService, clock: ManualClock) -> None:
    first = svc.enqueue("t", -1)
    late = svc.enqueue("t", delay=5)
    before = svc.get(late)
    clock.advance(8)
    assert take(svc).id == first
    assert svc.get(late) == replace(before, status=Status.READY)


def test_reserve(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", lease=40)
    before = svc.get(job_id)
    clock.advance(3)
    take(svc)
    assert svc.get(job_id) == replace(
        before, status=Status.RESERVED, attempt=1, reserved_at=clock.now(), deadline=clock.after(40)
    )


def test_done(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    before = job.info()
    clock.advance(3)
    job.done({"pages": [1, 2]})
    assert svc.get(job.id) == replace(
        before, status=Status.DONE, deadline=None, finished_at=clock.now(), result={"pages": [1, 2]}
    )


def test_retry_after_the_backoff(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, min_backoff=10)
    before = job.info()
    clock.advance(3)
    job.retry(error="no route")
    assert svc.get(job.id) == replace(
        before, status=Status.DELAYED, deadline=None, run_at=clock.after(10), retry_count=1, last_error="no route"
    )


def test_retry_at_once(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    before = job.info()
    clock.advance(3)
    job.retry(0)
    assert svc.get(job.id) == replace(before, status=Status.READY, deadline=None, run_at=clock.now(), retry_count=1)


def test_retry_without_retries_left_makes_a_dead_letter(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, max_retries=0)
    before = job.info()
    clock.advance(3)
    job.retry(10, error="no route")
    assert svc.get(job.id) == replace(
        before,
        status=Status.CANCELED,
        deadline=None,
        finished_at=clock.now(),
        cancel_reason=CancelReason.EXHAUSTED,
        last_error="no route",
    )


def test_release_at_once(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    before = job.info()
    clock.advance(3)
    job.release()
    assert svc.get(job.id) == replace(before, status=Status.READY, deadline=None, run_at=clock.now())


def test_release_for_a_while(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    before = job.info()
    clock.advance(3)
    job.release(20)
    assert svc.get(job.id) == replace(before, status=Status.DELAYED, deadline=None, run_at=clock.after(20))


@pytest.mark.parametrize("seconds", [20, 0, -5])
def test_release_until(svc: JobService, clock: ManualClock, seconds: int) -> None:
    one, other = given(svc), given(svc)
    before = one.info()
    clock.advance(10)
    assert one.release(run_at=clock.after(seconds)) == []
    svc.release(other, run_at=clock.after(seconds))
    status = Status.DELAYED if seconds > 0 else Status.READY
    waits = replace(before, status=status, deadline=None, run_at=clock.after(max(0, seconds)))
    assert svc.get(one.id) == waits
    assert svc.get(other.id) == replace(waits, id=other.id)


def test_reject(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    before = job.info()
    clock.advance(3)
    job.reject("broken")
    assert svc.get(job.id) == replace(
        before,
        status=Status.CANCELED,
        deadline=None,
        finished_at=clock.now(),
        cancel_reason=CancelReason.REJECTED,
        last_error="broken",
    )


def test_reject_as_unhandled(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    before = job.info()
    job.reject(reason=CancelReason.UNHANDLED)
    assert svc.get(job.id) == replace(
        before,
        status=Status.CANCELED,
        deadline=None,
        finished_at=clock.now(),
        cancel_reason=CancelReason.UNHANDLED,
    )


def test_extend(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30)
    before = job.info()
    clock.advance(20)
    job.extend(50)
    assert svc.get(job.id) == replace(before, deadline=clock.after(50))


def test_a_lease_that_is_over_makes_the_job_ready_at_once(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", -1, name="first", lease=1000)
    svc.enqueue("t", name="lost", lease=30)
    [_, lost] = svc.reserve("t", 2)
    svc.enqueue("t", -1, name="next")
    before = lost.info()
    clock.advance(30)
    assert take(svc).name == "next"
    assert svc.get(lost.id) == replace(before, status=Status.READY, deadline=None, run_at=clock.now(), retry_count=1)


def test_a_lease_that_is_over_at_the_limit_makes_a_dead_letter(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30, max_retries=0)
    before = job.info()
    clock.advance(30)
    assert svc.reserve("t") == []
    assert svc.get(job.id) == replace(
        before,
        status=Status.CANCELED,
        deadline=None,
        finished_at=clock.now(),
        cancel_reason=CancelReason.EXHAUSTED,
    )


def test_cancel_a_ready_job(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t")
    before = svc.get(job_id)
    clock.advance(3)
    svc.cancel(job_id, "not needed")
    assert svc.get(job_id) == replace(
        before,
        status=Status.CANCELED,
        finished_at=clock.now(),
        cancel_reason=CancelReason.REQUESTED,
        note="not needed",
    )


def test_cancel_a_delayed_job(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=60)
    before = svc.get(job_id)
    clock.advance(3)
    svc.cancel(job_id)
    assert svc.get(job_id) == replace(
        before, status=Status.CANCELED, finished_at=clock.now(), cancel_reason=CancelReason.REQUESTED
    )


def test_cancel_a_reserved_job(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    before = job.info()
    clock.advance(3)
    svc.cancel(job.id, "not needed")
    assert svc.get(job.id) == replace(
        before,
        status=Status.CANCELED,
        deadline=None,
        finished_at=clock.now(),
        cancel_reason=CancelReason.REQUESTED,
        note="not needed",
    )


def test_reschedule_a_ready_job(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t")
    before = svc.get(job_id)
    svc.reschedule(job_id, clock.after(60))
    assert svc.get(job_id) == replace(before, status=Status.DELAYED, run_at=clock.after(60))


def test_reschedule_a_delayed_job(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=60)
    before = svc.get(job_id)
    svc.reschedule(job_id, clock.after(5))
    assert svc.get(job_id) == replace(before, run_at=clock.after(5))


def test_reschedule_a_delayed_job_to_now(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=60)
    before = svc.get(job_id)
    clock.advance(3)
    svc.reschedule(job_id, clock.after(-1))
    assert svc.get(job_id) == replace(before, status=Status.READY, run_at=clock.now())


def test_reset_a_done_job(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    job.retry(0)
    job = take(svc)
    job.done("result")
    before = svc.get(job.id)
    clock.advance(3)
    svc.reset(job.id)
    assert svc.get(job.id) == replace(
        before, status=Status.READY, run_at=clock.now(), finished_at=None, retry_count=0, reset_count=1, result=None
    )


def test_reset_a_canceled_job(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t")
    svc.cancel(job_id, "not needed")
    before = svc.get(job_id)
    clock.advance(3)
    svc.reset(job_id)
    assert svc.get(job_id) == replace(
        before,
        status=Status.READY,
        run_at=clock.now(),
        finished_at=None,
        reset_count=1,
        cancel_reason=None,
        note=None,
    )


def test_reset_a_dead_letter_keeps_its_last_error(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, max_retries=1)
    job.retry(0)
    take(svc).retry(error="no route")
    before = svc.get(job.id)
    assert (before.cancel_reason, before.retry_count) == (CancelReason.EXHAUSTED, 1)
    clock.advance(3)
    svc.reset(job.id)
    assert svc.get(job.id) == replace(
        before,
        status=Status.READY,
        run_at=clock.now(),
        finished_at=None,
        retry_count=0,
        reset_count=1,
        cancel_reason=None,
        last_error="no route",
    )


def test_reset_a_delayed_job(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, min_backoff=60)
    job.retry()
    before = svc.get(job.id)
    clock.advance(3)
    svc.reset(job.id)
    assert svc.get(job.id) == replace(before, status=Status.READY, run_at=clock.now(), retry_count=0, reset_count=1)


def test_a_job_that_was_reset_goes_on_counting_attempts(svc: JobService) -> None:
    job = given(svc)
    job.done()
    svc.reset(job.id)
    again = take(svc)
    again.done()
    svc.reset(job.id)
    info = svc.get(job.id)
    assert (again.attempt, info.attempt, info.reset_count) == (2, 2, 2)


def test_an_extended_lease_that_is_over_is_reclaimed_too(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30)
    clock.advance(20)
    job.extend(30)
    clock.advance(29.999999)
    assert svc.reserve("t") == []
    clock.advance(0.000001)
    assert take(svc).attempt == 2
