"""Retries: how long until the next, how many there are, and what is kept of what went wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobq import CancelReason, JobService, NewJob, Status
from tests.clocks import ManualClock
from tests.contract.scenes import given, take


def backoffs(svc: JobService, clock: ManualClock, retries: int, **options: Any) -> list[float]:
    """The seconds that a job waits before each of its first retries."""
    job_id = svc.enqueue("t", **options)
    waits = []
    for _ in range(retries):
        take(svc).retry()
        waits.append((svc.get(job_id).run_at - clock.now()).total_seconds())
        clock.advance(waits[-1])
    return waits


def test_backoff_doubles_up_to_its_maximum(svc: JobService, clock: ManualClock) -> None:
    waits = backoffs(svc, clock, 11)
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


def test_backoff_of_a_job_is_its_own(svc: JobService, clock: ManualClock) -> None:
    assert backoffs(svc, clock, 5, min_backoff=1.5, max_backoff=10) == [1.5, 3, 6, 10, 10]


def test_backoff_may_be_constant(svc: JobService, clock: ManualClock) -> None:
    assert backoffs(svc, clock, 4, min_backoff=2, max_backoff=2) == [2, 2, 2, 2]


def test_no_backoff_is_ready_at_once(svc: JobService) -> None:
    job = given(svc, min_backoff=0, max_backoff=0)
    job.retry()
    assert svc.status(job.id) is Status.READY


def test_jitter_moves_the_backoff_by_no_more_than_its_share(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", min_backoff=100, max_backoff=100, jitter=0.25)] * 50)
    jobs = svc.reserve("t", 50)
    svc.retry(jobs)
    waits = [(job.info().run_at - clock.now()).total_seconds() for job in jobs]
    assert all(75 <= wait <= 125 for wait in waits)
    assert len(set(waits)) > 40
    assert min(waits) < 90 < 110 < max(waits)


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [({"delay": 7}, 7), ({"delay": timedelta(minutes=2)}, 120), ({"delay": 0.5}, 0.5), ({"delay": 99_999}, 99_999)],
)
def test_a_delay_stands_in_place_of_the_backoff(
    svc: JobService, clock: ManualClock, arguments: dict[str, Any], seconds: float
) -> None:
    job = given(svc)
    job.retry(**arguments)
    info = svc.get(job.id)
    assert (info.run_at, info.status, info.retry_count) == (clock.after(seconds), Status.DELAYED, 1)


def test_run_at_stands_in_place_of_the_backoff(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    job.retry(run_at=clock.after(1234))
    assert svc.get(job.id).run_at == clock.after(1234)


def test_a_run_at_that_is_past_is_now(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    job.retry(run_at=clock.after(-5))
    info = svc.get(job.id)
    assert (info.status, info.run_at) == (Status.READY, clock.now())


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_job_is_tried_once_more_than_its_retries(svc: JobService, clock: ManualClock, limit: int) -> None:
    job_id = svc.enqueue("t", max_retries=limit)
    attempts = 0
    while reserved := svc.reserve("t"):
        attempts += 1
        reserved[0].retry(0, error=f"attempt {attempts}")
    assert attempts == limit + 1
    info = svc.get(job_id)
    assert (info.status, info.cancel_reason, info.retry_count) == (
        Status.CANCELED,
        CancelReason.EXHAUSTED,
        limit,
    )
    assert info.last_error == f"attempt {limit + 1}"
    stats = svc.stats("t")
    assert (stats.retried, stats.dead, stats.canceled) == (limit, 1, 0)


def test_max_retries_none_retries_for_ever(svc: JobService) -> None:
    job_id = svc.enqueue("t", max_retries=None)
    for attempt in range(1, 121):
        job = take(svc)
        assert (job.attempt, job.retries_left) == (attempt, None)
        job.retry(0)
    assert svc.get(job_id).retry_count == 120


def test_releases_are_no_retries(svc: JobService) -> None:
    job_id = svc.enqueue("t", max_retries=1)
    for _ in range(20):
        take(svc).release()
    info = svc.get(job_id)
    assert (info.attempt, info.retry_count, info.status) == (20, 0, Status.READY)
    assert svc.stats("t").retried == 0


def test_retries_of_many_follow_each_ones_own_options(svc: JobService, clock: ManualClock) -> None:
    short = svc.enqueue("t", min_backoff=1)
    long = svc.enqueue("t", min_backoff=100)
    last = svc.enqueue("t", max_retries=0)
    svc.retry(svc.reserve("t", 3), error="down")
    assert svc.get(short).run_at == clock.after(1)
    assert svc.get(long).run_at == clock.after(100)
    assert svc.get(last).cancel_reason is CancelReason.EXHAUSTED
    assert [svc.get(job_id).last_error for job_id in (short, long, last)] == ["down"] * 3


def test_the_last_error_stays_until_there_is_another(svc: JobService) -> None:
    job_id = svc.enqueue("t")
    take(svc).retry(0, error="first")
    take(svc).retry(0)
    assert svc.get(job_id).last_error == "first"
    take(svc).retry(0, error="second")
    take(svc).done()
    assert svc.get(job_id).last_error == "second"


def test_an_error_is_kept_with_type_message_and_traceback(svc: JobService) -> None:
    job = given(svc)
    try:
        raise OSError("no route")
    except OSError as problem:
        job.retry(error=problem)
    kept = svc.get(job.id).last_error or ""
    assert kept.startswith("OSError: no route\n\nTraceback (most recent call last):\n")
    assert 'raise OSError("no route")' in kept


def test_an_error_that_was_never_raised_has_no_traceback(svc: JobService) -> None:
    job = given(svc)
    job.reject(ValueError("broken"))
    assert svc.get(job.id).last_error == "ValueError: broken"


@pytest.mark.parametrize("length", [8_000, 8_001, 100_000])
def test_a_long_error_is_cut(svc: JobService, length: int) -> None:
    job = given(svc)
    job.retry(error="x" * length)
    assert svc.get(job.id).last_error == "x" * 8_000


def test_an_error_that_utf8_cannot_say_is_escaped(svc: JobService) -> None:
    job = given(svc)
    job.retry(error="a\ud800b")
    assert svc.get(job.id).last_error == "a\\ud800b"


def test_a_long_traceback_keeps_its_first_line_and_its_end(svc: JobService) -> None:
    def nested(depth: int) -> None:
        if not depth:
            raise RuntimeError("at the bottom")
        try:
            nested(depth - 1)
        except RuntimeError as problem:
            raise RuntimeError(f"level {depth}") from problem

    job = given(svc)
    try:
        nested(40)
    except RuntimeError as problem:
        job.reject(problem)
    kept = svc.get(job.id).last_error or ""
    assert kept.startswith("RuntimeError: level 40\n\n…")
    assert kept.endswith("RuntimeError: level 40")
    assert len(kept) <= 8_000


def test_a_dead_letter_that_is_reset_has_all_its_retries_again(svc: JobService) -> None:
    job_id = svc.enqueue("t", max_retries=1)
    for _ in range(2):
        take(svc).retry(0)
    assert [info.id for info in svc.dead_letters("t")] == [job_id]
    svc.reset(job_id)
    job = take(svc)
    assert (job.attempt, job.retries_left) == (3, 1)
    assert svc.dead_letters("t") == []
