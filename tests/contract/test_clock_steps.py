"""The wall clock set by an hour, forward or back, and a suspended machine: no lease ends of it, and nobody waits on.

A lease is measured by the steady clock, which nobody sets and which stands still in suspend; so to a queue, waking up
from suspend is the wall clock being set forward. Delays and retention are dates: they go with the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobq import JobNotFound, JobService, NewJob, Status
from tests.clocks import PATIENCE, ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import given, names, take
from tests.contract.test_waiting import Waiting, got

HOUR = 3600
each_step = pytest.mark.parametrize("steps", [[HOUR], [-HOUR], [HOUR, -HOUR], [-HOUR, HOUR], [HOUR, HOUR]])


@pytest.fixture
def waiting(clock: ManualClock) -> Iterator[Waiting]:
    with ThreadPoolExecutor(4) as pool:
        yield Waiting(pool, clock)


# -- leases ------------------------------------------------------------------------------------------------------------


@each_step
def test_a_lease_lasts_as_long_as_it_is_whatever_the_wall_clock_does(
    svc: JobService, clock: ManualClock, steps: list[float]
) -> None:
    job = given(svc, lease=30)
    for step in steps:
        clock.step_wall(step)
        assert svc.reserve("t") == []
        assert svc.get(job.id).deadline == clock.after(30), "a deadline is shown by the clock of now"
    clock.advance(29.999999)
    assert svc.reserve("t") == []
    clock.advance(0.000001)
    again = take(svc)
    assert (again.id, again.attempt, svc.stats("t").expired) == (job.id, 2, 1)


@each_step
def test_a_holder_settles_after_a_step(svc: JobService, clock: ManualClock, steps: list[float]) -> None:
    jobs = [given(svc, topic, lease=30) for topic in "abc"]
    for step in steps:
        clock.step_wall(step)
    jobs[0].done("result")
    jobs[1].extend(60)
    jobs[2].retry(10)
    assert [svc.status(job.id) for job in jobs] == [Status.DONE, Status.RESERVED, Status.DELAYED]
    assert (svc.get(jobs[1].id).deadline, svc.get(jobs[2].id).run_at) == (clock.after(60), clock.after(10))
    clock.advance(10)
    assert take(svc, "c").attempt == 2


def test_a_machine_that_was_suspended_for_an_hour_has_ended_no_lease(
    svc: JobService, clock: ManualClock, waiting: Waiting
) -> None:
    job = given(svc, lease=30)
    clock.advance(10)
    call = waiting.reserve(svc, "t", timeout=None)
    clock.step_wall(HOUR)
    clock.advance(1)
    waiting.asleep()
    assert (svc.status(job.id), svc.get(job.id).deadline) == (Status.RESERVED, clock.after(19))
    clock.advance(19)
    assert [again.attempt for again in call.result(PATIENCE)] == [2]


# -- waiting -----------------------------------------------------------------------------------------------------------


@each_step
def test_an_enqueue_wakes_a_waiter_after_a_step(
    svc: JobService, clock: ManualClock, waiting: Waiting, steps: list[float]
) -> None:
    call = waiting.reserve(svc, "t", 1, 60)
    for step in steps:
        clock.step_wall(step)
    svc.enqueue("t", name="new")
    assert got(call) == ["new"]


@each_step
def test_a_waiter_waits_for_as_long_as_it_was_told(
    svc: JobService, clock: ManualClock, waiting: Waiting, steps: list[float]
) -> None:
    call = waiting.reserve(svc, "t", 1, 30)
    for step in steps:
        clock.step_wall(step)
    clock.advance(29)
    waiting.asleep()
    assert not call.done()
    clock.advance(1)
    assert got(call) == []


def test_a_delayed_job_comes_within_a_second_once_its_date_is_there(
    svc: JobService, clock: ManualClock, waiting: Waiting
) -> None:
    """As after an hour of suspend, which a waiter sleeps through."""
    svc.enqueue("t", name="delayed", delay=HOUR)
    call = waiting.reserve(svc, "t", timeout=None)
    clock.step_wall(HOUR)
    clock.advance(1)
    [job] = call.result(PATIENCE)
    info = job.info()
    assert (info.name, info.reserved_at) == ("delayed", clock.now())


def test_a_delayed_job_waits_for_its_date_after_a_step_back(
    svc: JobService, clock: ManualClock, waiting: Waiting
) -> None:
    date = clock.after(10)
    svc.enqueue("t", name="delayed", run_at=date)
    call = waiting.reserve(svc, "t", timeout=None)
    clock.step_wall(-HOUR)
    clock.advance(10)
    waiting.asleep()
    assert (call.done(), svc.next_due("t")) == (False, date)
    clock.advance(HOUR - 1)
    waiting.asleep()
    assert not call.done()
    clock.advance(1)
    [job] = call.result(PATIENCE)
    assert job.info().reserved_at == date


@each_step
def test_waiting_for_a_job_to_finish_ends_when_it_was_told(
    svc: JobService, clock: ManualClock, waiting: Waiting, steps: list[float]
) -> None:
    call = waiting.wait_for(svc, svc.enqueue("t"), 30)
    for step in steps:
        clock.step_wall(step)
    clock.advance(29)
    waiting.asleep()
    assert not call.done()
    clock.advance(1)
    with pytest.raises(TimeoutError):
        call.result(PATIENCE)


@each_step
def test_lingering_for_more_jobs_lasts_as_long_as_it_is(
    svc: JobService, clock: ManualClock, waiting: Waiting, steps: list[float]
) -> None:
    svc.enqueue("t", name="first")
    call = waiting.reserve(svc, "t", 2, linger=10)
    for step in steps:
        clock.step_wall(step)
    clock.advance(9)
    waiting.asleep()
    assert not call.done()
    clock.advance(1)
    assert got(call) == ["first"]


@each_step
def test_a_delay_that_is_given_after_a_step_counts_from_then(
    svc: JobService, clock: ManualClock, waiting: Waiting, steps: list[float]
) -> None:
    call = waiting.reserve(svc, "t", timeout=None)
    for step in steps:
        clock.step_wall(step)
    svc.enqueue("t", name="delayed", delay=0.5)
    waiting.asleep()
    clock.advance(0.5)
    assert got(call) == ["delayed"]


def test_a_waiter_does_not_look_for_jobs_again_and_again_after_one_step(
    svc: JobService, clock: ManualClock, waiting: Waiting
) -> None:
    svc.enqueue("t", delay=10 * HOUR)
    call = waiting.reserve(svc, "t", 1, 30)
    clock.step_wall(HOUR)
    for _ in range(5):
        clock.advance(1)
        waiting.asleep()
    assert waiting.idle(), "one look at the clocks a second is all"
    clock.advance(25)
    assert got(call) == []


# -- order and statistics ----------------------------------------------------------------------------------------------


def test_nothing_is_lost_or_stuck_of_what_came_before_and_after_steps(
    svc: JobService, open_service: OpenService, clock: ManualClock
) -> None:
    for number, step in enumerate([HOUR, -HOUR, -HOUR, HOUR]):
        svc.enqueue_many([NewJob("t", name=f"ready {number}"), NewJob("t", name=f"delayed {number}", delay=30)])
        clock.step_wall(step)
    other = open_service()
    assert sorted(names(other.reserve("t", 10))) == ["delayed 3", *(f"ready {n}" for n in range(4))]
    clock.advance(HOUR + 30)
    assert sorted(names(other.reserve("t", 10, lease=2 * HOUR))) == [
        "delayed 0", "delayed 1", "delayed 2", "delayed 3", *(f"ready {n}" for n in range(4))
    ]  # fmt: skip


def test_an_earlier_priority_comes_first_whatever_the_clock_said(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", 5, name="later")
    clock.step_wall(HOUR)
    svc.enqueue("t", -5, name="sooner")
    clock.step_wall(-HOUR)
    assert names(svc.reserve("t", 2)) == ["sooner", "later"]


@each_step
def test_no_time_is_negative_after_a_step(svc: JobService, clock: ManualClock, steps: list[float]) -> None:
    svc.enqueue("t")
    for step in steps:
        clock.step_wall(step)
        stats = svc.stats("t")
        assert stats.oldest_ready_age is not None
        assert stats.oldest_ready_age >= 0
    take(svc).done()
    stats = svc.stats("t")
    assert stats.mean_wait is not None
    assert stats.mean_run is not None
    assert (stats.mean_wait >= 0, stats.mean_run >= 0) == (True, True)


# -- retention ---------------------------------------------------------------------------------------------------------


def test_retention_goes_with_the_wall_clock(svc: JobService, clock: ManualClock) -> None:
    given(svc, keep_done=60).done()
    clock.step_wall(-HOUR)
    clock.advance(60)
    assert (svc.prune(), svc.status(1)) == (0, Status.DONE)
    clock.step_wall(HOUR)
    assert svc.prune() == 1
    with pytest.raises(JobNotFound):
        svc.status(1)


@each_step
def test_a_job_that_is_kept_for_ever_stays(svc: JobService, clock: ManualClock, steps: list[float]) -> None:
    job = given(svc, keep_dead=None)
    job.reject("bad")
    for step in steps:
        clock.step_wall(step)
        assert svc.prune() == 0
    assert svc.dead_letters("t")[0].id == job.id


def test_what_finished_after_a_step_back_is_kept_for_its_time(svc: JobService, clock: ManualClock) -> None:
    given(svc, "t", keep_done=60).done()
    clock.step_wall(-HOUR)
    job = given(svc, "t", keep_done=60)
    job.done()
    clock.advance(59)
    assert svc.prune() == 0
    clock.advance(1)
    assert svc.prune() == 1
    with pytest.raises(JobNotFound):
        svc.status(job.id)
    clock.advance(HOUR)
    assert svc.prune() == 1
