"""Leases: when they are over, what that costs the job, and what a late holder may still do."""

from __future__ import annotations

import pytest

from jobq import CancelReason, JobService, LeaseLost, Status
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import given, snapshot, take, unchanged

HOUR = 3600


def test_a_job_is_taken_over_once_its_lease_is_over(svc: JobService, clock: ManualClock) -> None:
    old = given(svc, lease=30)
    clock.advance(29.999999)
    assert svc.reserve("t") == []
    clock.advance(0.000001)
    new = take(svc)
    assert (new.id, new.attempt, new.retries_left) == (old.id, 2, 49)


def test_an_expired_lease_counts_as_a_retry_without_backoff(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30, min_backoff=600, max_backoff=600)
    clock.advance(30)
    take(svc)
    info = svc.get(job.id)
    assert (info.retry_count, info.run_at, info.status) == (1, clock.now(), Status.RESERVED)
    stats = svc.stats("t")
    assert (stats.expired, stats.retried, stats.reserved) == (1, 0, 2)


def test_a_lease_that_is_over_but_not_reclaimed_still_settles(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30)
    clock.advance(HOUR)
    job.done("late")
    assert (svc.get(job.id).status, svc.get(job.id).result) == (Status.DONE, "late")
    stats = svc.stats("t")
    assert (stats.expired, stats.done) == (0, 1)


def test_a_lease_that_is_over_but_not_reclaimed_can_be_extended(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30)
    clock.advance(HOUR)
    job.extend()
    assert job.deadline == clock.after(30)
    assert svc.reserve("t") == []
    job.done()


def test_a_lease_that_is_extended_in_time_is_never_over(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30)
    for _ in range(50):
        clock.advance(20)
        job.extend()
        assert svc.reserve("t") == []
    info = svc.get(job.id)
    assert (info.attempt, info.retry_count, svc.stats("t").expired) == (1, 0, 0)


def test_a_reclaimed_job_is_the_new_holders_alone(svc: JobService, clock: ManualClock) -> None:
    old = given(svc, lease=30)
    clock.advance(30)
    new = take(svc)
    for verb in (old.done, old.retry, old.release, old.reject, old.cancel, old.extend):
        with unchanged(svc), pytest.raises(LeaseLost):
            verb()
    new.done()
    assert svc.status(new.id) is Status.DONE


def test_leases_of_one_batch_end_each_at_its_own_time(svc: JobService, clock: ManualClock) -> None:
    ids = {lease: svc.enqueue("t", lease=lease) for lease in (30, 10, 20)}
    svc.reserve("t", 3)
    for lease in (10, 20, 30):
        clock.advance(10)
        [again] = svc.reserve("t", 3, lease=1000)
        assert again.id == ids[lease]


def test_a_job_that_is_lost_each_time_becomes_a_dead_letter(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", lease=30, max_retries=2)
    attempts = 0
    while svc.reserve("t"):
        attempts += 1
        clock.advance(30)
    info = svc.get(job_id)
    assert (attempts, info.attempt, info.retry_count) == (3, 3, 2)
    assert (info.status, info.cancel_reason, info.finished_at) == (
        Status.CANCELED,
        CancelReason.EXHAUSTED,
        clock.now(),
    )
    stats = svc.stats("t")
    assert (stats.expired, stats.retried, stats.dead, stats.canceled) == (3, 0, 1, 0)


def test_an_expired_lease_keeps_the_last_error(svc: JobService, clock: ManualClock) -> None:
    given(svc, lease=30, max_retries=1).retry(0, error="no route")
    take(svc)
    clock.advance(30)
    assert svc.reserve("t") == []
    assert svc.dead_letters("t")[0].last_error == "no route"


def test_a_paused_topic_reclaims_nothing_until_it_is_resumed(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=30)
    svc.pause("t")
    clock.advance(HOUR)
    assert svc.reserve("t") == []
    assert svc.status(job.id) is Status.RESERVED
    job.extend()
    svc.resume("t")
    assert svc.reserve("t") == []
    job.done()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_wall_clock_fires_no_lease(svc: JobService, clock: ManualClock, step: float) -> None:
    job = given(svc, lease=30)
    clock.step_wall(step)
    assert svc.reserve("t") == []
    clock.advance(29)
    assert svc.reserve("t") == []
    assert svc.get(job.id).deadline == clock.after(1)
    job.done()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_wall_clock_stalls_no_lease(svc: JobService, clock: ManualClock, step: float) -> None:
    job = given(svc, lease=30)
    clock.step_wall(step)
    clock.advance(30)
    assert take(svc).id == job.id


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_an_extension_counts_from_now_after_a_step_of_the_wall_clock(
    svc: JobService, clock: ManualClock, step: float
) -> None:
    job = given(svc, lease=30)
    clock.step_wall(step)
    job.extend(60)
    assert job.deadline == clock.after(60)
    clock.advance(59)
    assert svc.reserve("t") == []
    clock.advance(1)
    assert take(svc).attempt == 2


def test_a_step_forward_brings_a_delayed_job_and_a_step_back_holds_it(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", run_at=clock.after(HOUR))
    clock.step_wall(-HOUR)
    clock.advance(HOUR)
    assert svc.reserve("t") == []
    clock.step_wall(HOUR)
    take(svc)


def test_a_step_back_leaves_ready_jobs_ready_and_no_time_negative(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t")
    clock.step_wall(-HOUR)
    assert svc.stats("t").oldest_ready_age == 0
    take(svc).done()
    assert (svc.stats("t").mean_wait, svc.stats("t").mean_run) == (0, 0)


def test_another_opener_changes_no_lease(svc: JobService, open_service: OpenService, clock: ManualClock) -> None:
    given(svc, lease=30)
    clock.advance(29)
    before = snapshot(svc)
    other = open_service()
    assert other.reserve("t") == []
    assert snapshot(other) == before
