"""Times to the last digit: what a user wrote is what is kept, waited for and shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobq import JobOptions, JobService, LeaseLost, Status
from tests.clocks import ManualClock


def test_options_are_shown_as_they_were_given(svc: JobService) -> None:
    """2.3 s are 2,300,000,000 ns, though in floats 2.3 * 10**9 is a little less."""
    options = JobOptions(lease=2.3, min_backoff=0.000129, max_backoff=1.1, keep_done=4.35)
    job_id = svc.enqueue("t", options=options)
    assert svc.get(job_id).options == options
    assert svc.reserve("t")[0].options == options


def test_a_lease_below_a_nanosecond_is_refused(svc: JobService) -> None:
    with pytest.raises(ValueError, match="lease must be above 0 seconds, not 1e-10"):
        svc.enqueue("t", lease=1e-10)
    with pytest.raises(ValueError, match="lease must be above 0 seconds, not 1e-10"):
        svc.reserve("t", lease=1e-10)
    assert svc.topics() == []


@pytest.mark.parametrize("delay", [0.000_129, 2.3, 1_000_003.000_001, 50_000_000.000_001, 3_000_000_000])
def test_next_due_is_exact(svc: JobService, clock: ManualClock, delay: float) -> None:
    run_at = clock.after(delay)
    svc.enqueue("t", run_at=run_at)
    assert svc.next_due("t") == run_at


def test_a_job_is_reserved_at_the_instant_that_next_due_tells(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", delay=0.000_129)
    due = svc.next_due("t")
    assert due is not None
    clock.step_wall((due - clock.now()).total_seconds() - 0.000_001)
    assert svc.reserve("t") == []
    clock.step_wall(0.000_001)
    assert len(svc.reserve("t")) == 1


def test_a_retry_at_the_epoch_is_a_retry_at_once(svc: JobService) -> None:
    """1970 is a time that was given, not none: the backoff does not apply."""
    job_id = svc.enqueue("t")
    svc.retry(svc.reserve("t"), run_at=datetime(1970, 1, 1, tzinfo=UTC))
    assert svc.status(job_id) is Status.READY


def test_extending_leaves_the_deadline_of_a_stale_handle_alone(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t")
    [stale] = svc.reserve("t", lease=5)
    clock.advance(5)
    [current] = svc.reserve("t", lease=5)
    before = stale.deadline
    with pytest.raises(LeaseLost) as lost:
        svc.extend([stale, current], 60)
    assert lost.value.jobs == [stale]
    assert (stale.deadline, current.deadline) == (before, clock.after(60))
