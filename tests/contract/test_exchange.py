"""`exchange`: outcomes, new jobs and the next reservation in one commit, and as if in this order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobq import (
    Cancel,
    CancelReason,
    Done,
    DuplicateJob,
    Exchange,
    JobOptions,
    JobService,
    Limits,
    NewJob,
    Reject,
    Release,
    Retry,
    Status,
    TopicFull,
)
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import enqueue_named, given, names, snapshot, take, unchanged


def test_nothing_is_exchanged_for_nothing(svc: JobService) -> None:
    given(svc)
    with unchanged(svc):
        assert svc.exchange() == Exchange([], [], [])


def test_each_outcome_is_what_the_verb_does(svc: JobService, clock: ManualClock) -> None:
    enqueue_named(svc, "done", "retry", "release", "reject", "cancel", "untouched")
    jobs = svc.reserve("t", 6)
    before = [job.info() for job in jobs]
    clock.advance(3)
    outcomes = [Done([1]), Retry(7, error="down"), Release(8), Reject("broken"), Cancel("not needed")]
    assert svc.exchange(zip(jobs, outcomes, strict=False)) == Exchange([], [], [])
    held: dict[str, Any] = {"deadline": None}
    now = clock.now()
    assert [job.info() for job in jobs] == [
        replace(before[0], status=Status.DONE, finished_at=now, result=[1], **held),
        replace(before[1], status=Status.DELAYED, run_at=clock.after(7), retry_count=1, last_error="down", **held),
        replace(before[2], status=Status.DELAYED, run_at=clock.after(8), **held),
        replace(
            before[3],
            status=Status.CANCELED,
            finished_at=now,
            cancel_reason=CancelReason.REJECTED,
            last_error="broken",
            **held,
        ),
        replace(
            before[4],
            status=Status.CANCELED,
            finished_at=now,
            cancel_reason=CancelReason.REQUESTED,
            note="not needed",
            **held,
        ),
        before[5],
    ]
    assert [job.settled for job in jobs] == [True] * 5 + [False]
    stats = svc.stats("t")
    assert (stats.done, stats.retried, stats.dead, stats.canceled) == (1, 1, 1, 1)


def test_it_settles_enqueues_and_reserves(svc: JobService) -> None:
    enqueue_named(svc, "a", "b", "c")
    a = take(svc)
    exchange = svc.exchange([(a, Done())], enqueue=[NewJob("u", name="x"), NewJob("u", name="y")], topics="t", n=2)
    assert names(exchange.jobs) == ["b", "c"]
    assert [svc.get(job_id).name for job_id in exchange.ids] == ["x", "y"]
    assert exchange.lost == []
    assert svc.status(a.id) is Status.DONE


def test_one_new_job_needs_no_list(svc: JobService) -> None:
    [job_id] = svc.exchange(enqueue=NewJob("t", name="one")).ids
    assert svc.get(job_id).name == "one"


def test_without_topics_nothing_is_reserved(svc: JobService) -> None:
    enqueue_named(svc, "a", "b")
    assert svc.exchange([(take(svc), Done())]).jobs == []
    assert svc.stats("t").reserved == 1


def test_it_only_reserves_as_reserve_does(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("b", name="b"), NewJob("a", name="a", delay=5)])
    clock.advance(5)
    exchange = svc.exchange(topics=["a", "b"], n=5, lease=9)
    assert [(job.name, job.deadline) for job in exchange.jobs] == [("a", clock.after(9)), ("b", clock.after(9))]
    assert (exchange.ids, exchange.lost) == ([], [])


# -- as if in this order -----------------------------------------------------------------------------------------------


def test_a_job_released_is_reserved_again(svc: JobService) -> None:
    a = given(svc)
    [again] = svc.exchange([(a, Release())], topics="t").jobs
    assert (again.id, again.attempt, again.info().retry_count) == (a.id, 2, 0)
    assert a.settled
    again.done()


def test_a_job_retried_at_once_is_reserved_again(svc: JobService) -> None:
    a = given(svc, payload=b"x")
    [again] = svc.exchange([(a, Retry(0))], topics="t").jobs
    assert (again.id, again.attempt, again.payload, again.info().retry_count) == (a.id, 2, b"x", 1)


def test_a_job_put_off_is_not_reserved(svc: JobService) -> None:
    a = given(svc)
    assert svc.exchange([(a, Retry())], topics="t").jobs == []


def test_a_new_job_is_reserved_at_once_if_it_is_the_most_urgent(svc: JobService) -> None:
    enqueue_named(svc, "waiting")
    exchange = svc.exchange(
        enqueue=[NewJob("t", 1, name="later"), NewJob("t", -1, b"now", name="urgent")], topics="t", n=2
    )
    assert names(exchange.jobs) == ["urgent", "waiting"]
    assert exchange.jobs[0].payload == b"now"
    assert exchange.jobs[0].id == exchange.ids[1]
    assert take(svc).name == "later"


def test_what_is_released_new_due_expired_and_ready_is_served_by_priority(svc: JobService, clock: ManualClock) -> None:
    expired = given(svc, priority=1, name="expired", lease=10)
    released = given(svc, priority=2, name="released", lease=99)
    svc.enqueue("t", 3, name="due", delay=10)
    svc.enqueue("t", 4, name="ready")
    svc.enqueue("t", 6, name="too many")
    clock.advance(10)
    jobs = svc.exchange([(released, Release())], enqueue=NewJob("t", 5, name="new"), topics="t", n=5).jobs
    assert names(jobs) == ["expired", "released", "due", "ready", "new"]
    assert jobs[0].id == expired.id
    assert svc.stats("t").now == {status: {Status.READY: 1, Status.RESERVED: 5}.get(status, 0) for status in Status}


def test_a_new_delayed_job_is_not_reserved(svc: JobService) -> None:
    exchange = svc.exchange(enqueue=NewJob("t", delay=5), topics="t")
    assert (exchange.jobs, svc.status(exchange.ids[0])) == ([], Status.DELAYED)


def test_a_late_outcome_counts_before_the_lease_is_reclaimed(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=10)
    clock.advance(99)
    assert svc.exchange([(job, Done("late"))], topics="t") == Exchange([], [], [])
    assert (svc.get(job.id).result, svc.stats("t").expired) == ("late", 0)


def test_a_late_outcome_among_expired_ones_counts_alone(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", name=name, lease=10) for name in "abc"])
    jobs = svc.reserve("t", 3)
    clock.advance(99)
    exchange = svc.exchange([(jobs[1], Done())], topics="t", n=5)
    assert names(exchange.jobs) == ["a", "c"]
    assert (svc.stats("t").expired, svc.stats("t").done) == (2, 1)


def test_a_key_that_an_outcome_frees_can_be_taken(svc: JobService) -> None:
    job = given(svc, unique_key="k")
    [new] = svc.exchange([(job, Done())], enqueue=NewJob("t", unique_key="k")).ids
    assert svc.lookup("t", "k") == new != job.id


def test_a_key_that_is_held_still_raises(svc: JobService) -> None:
    job = given(svc, unique_key="k")
    with unchanged(svc), pytest.raises(DuplicateJob):
        svc.exchange([(job, Retry())], enqueue=NewJob("t", unique_key="k"))
    assert not job.settled


def test_a_job_put_back_can_be_replaced(svc: JobService) -> None:
    job = given(svc, payload=b"old", unique_key="k")
    [job_id] = svc.exchange(
        [(job, Release())], enqueue=NewJob("t", payload=b"new", unique_key="k", on_duplicate="replace")
    ).ids
    assert (job_id, svc.payload(job_id), svc.status(job_id)) == (job.id, b"new", Status.READY)


def test_a_job_put_back_replaced_and_reserved_has_the_new_payload(svc: JobService) -> None:
    job = given(svc, payload=b"old", unique_key="k")
    [again] = svc.exchange(
        [(job, Release())],
        enqueue=NewJob("t", payload=b"new", name="new", unique_key="k", on_duplicate="replace"),
        topics="t",
    ).jobs
    assert (again.id, again.payload, again.name, again.attempt) == (job.id, b"new", "new", 2)
    assert svc.payload(job.id) == b"new"


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        ({"priority": -5}, ["new", "a", "b"]),
        ({"priority": 5}, ["a", "b", "c"]),
        ({"delay": 5}, ["a", "b", "c"]),
    ],
)
def test_a_ready_job_that_is_replaced_is_served_as_it_becomes(
    svc: JobService, replacement: dict[str, Any], expected: list[str]
) -> None:
    svc.enqueue("t", -1, name="old", unique_key="k")
    enqueue_named(svc, "a", "b", "c", "d")
    new = NewJob("t", name="new", unique_key="k", on_duplicate="replace", **replacement)
    assert names(svc.exchange(enqueue=new, topics="t", n=3).jobs) == expected


def test_a_released_job_fills_the_topic_before_a_new_one(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(depth=1))
    job = given(svc)
    with unchanged(svc), pytest.raises(TopicFull, match="has 1 waiting jobs, and 1 more"):
        svc.exchange([(job, Release())], enqueue=NewJob("t"))
    svc.exchange([(job, Done())], enqueue=NewJob("t"))


def test_followers_and_new_jobs_fill_the_topic_together(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(depth=1))
    job = given(svc)
    with unchanged(svc), pytest.raises(TopicFull):
        svc.exchange([(job, Done(then=NewJob("t")))], enqueue=NewJob("t"))
    with unchanged(svc), pytest.raises(TopicFull):
        svc.exchange([(job, Done(then=NewJob("t", unique_key="k")))], enqueue=NewJob("t", unique_key="l"))


def test_a_paused_topic_is_settled_and_filled_and_not_reserved_from(svc: JobService) -> None:
    job = given(svc)
    svc.pause("t")
    exchange = svc.exchange([(job, Done())], enqueue=NewJob("t"), topics="t")
    assert (exchange.jobs, len(exchange.ids), svc.status(job.id)) == ([], 1, Status.DONE)


def test_jobs_that_are_not_kept_are_gone_within_the_commit(svc: JobService) -> None:
    job = given(svc, keep_done=0)
    [new] = svc.exchange([(job, Done())], enqueue=NewJob("u", keep_done=0), topics="u").jobs
    svc.exchange([(new, Done())])
    assert svc.topics() == []
    assert snapshot(svc).jobs == {}


# -- lost reservations -------------------------------------------------------------------------------------------------


def test_lost_handles_are_reported_and_the_rest_is_done(svc: JobService) -> None:
    enqueue_named(svc, "a", "b", "c", "d")
    a, b, c = svc.reserve("t", 3)
    svc.cancel([a.id, c.id])
    exchange = svc.exchange([(a, Done()), (b, Done()), (c, Retry())], enqueue=NewJob("u"), topics="t")
    assert exchange.lost == [a, c]
    assert names(exchange.jobs) == ["d"]
    assert len(exchange.ids) == 1
    assert [svc.status(job.id) for job in (a, b, c)] == [Status.CANCELED, Status.DONE, Status.CANCELED]
    assert [job.settled for job in (a, b, c)] == [False, True, False]


def test_then_is_enqueued_only_if_the_reservation_stands(svc: JobService) -> None:
    lost, kept, also_lost, back = (given(svc) for _ in range(4))
    svc.cancel([lost.id, also_lost.id])
    exchange = svc.exchange(
        [
            (lost, Done(then=NewJob("u", name="of the lost"))),
            (kept, Done(then=[NewJob("u", name="one"), NewJob("u", name="two")])),
            (also_lost, Release(then=NewJob("u", name="of the lost"))),
            (back, Release(9, then=NewJob("u", name="three"))),
        ],
        enqueue=NewJob("u", name="four"),
    )
    assert [svc.get(job_id).name for job_id in exchange.ids] == ["one", "two", "three", "four"]
    assert names(svc.reserve("u", 9)) == ["one", "two", "three", "four"]
    assert exchange.lost == [lost, also_lost]


def test_an_older_handle_of_a_job_is_lost_and_the_newer_is_not(svc: JobService, clock: ManualClock) -> None:
    old = given(svc, lease=10)
    clock.advance(10)
    new = take(svc)
    assert svc.exchange([(old, Reject()), (new, Done())]) == Exchange([], [], [old])
    assert svc.status(new.id) is Status.DONE


def test_a_job_settled_before_is_lost(svc: JobService) -> None:
    job = given(svc)
    job.done()
    with unchanged(svc):
        assert svc.exchange([(job, Reject())]).lost == [job]
    assert job.settled


# -- one commit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"enqueue": [NewJob("t"), NewJob("t", 99_999)]}, ValueError),
        ({"enqueue": [NewJob("t"), NewJob("u", unique_key="held")]}, DuplicateJob),
        ({"enqueue": "t"}, TypeError),
        ({"topics": "no such name"}, ValueError),
        ({"topics": [5]}, TypeError),
        ({"topics": "t", "n": 0}, ValueError),
        ({"topics": "t", "timeout": -1}, ValueError),
        ({"topics": "t", "lease": 0}, ValueError),
    ],
)
def test_what_is_refused_settles_nothing(svc: JobService, arguments: dict[str, Any], error: type[Exception]) -> None:
    svc.enqueue("u", unique_key="held")
    job = given(svc)
    with unchanged(svc), pytest.raises(error):
        svc.exchange([(job, Done())], **arguments)
    assert not job.settled
    job.done()


def test_one_outcome_that_is_not_allowed_settles_none(svc: JobService) -> None:
    a, b = given(svc), given(svc)
    with unchanged(svc), pytest.raises(ValueError, match="delay"):
        svc.exchange([(a, Done()), (b, Retry(-1))])
    with unchanged(svc), pytest.raises(TypeError, match="result"):
        svc.exchange([(a, Done()), (b, Done({1, 2}))])


def test_outcomes_name_each_job_once(svc: JobService) -> None:
    job = given(svc)
    with unchanged(svc), pytest.raises(ValueError, match="each job once"):
        svc.exchange([(job, Done()), (job, Retry())])


def test_new_jobs_get_the_services_options(open_service: OpenService) -> None:
    svc = open_service(defaults=JobOptions(lease=9), topic_defaults={"mail": JobOptions(lease=8)})
    ids = svc.exchange(
        [(given(svc), Done(then=NewJob("mail")))], enqueue=[NewJob("mail", max_retries=1), NewJob("other")]
    ).ids
    assert [svc.get(job_id).options for job_id in ids] == [
        JobOptions(lease=8),
        JobOptions(lease=8, max_retries=1),
        JobOptions(lease=9),
    ]


def test_a_worker_of_nothing_but_exchanges(svc: JobService) -> None:
    ids = svc.enqueue_many([NewJob("t", number % 3, json=number) for number in range(100)])
    jobs = svc.exchange(topics="t", n=7).jobs
    done = []
    while jobs:
        done += [job.id for job in jobs]
        jobs = svc.exchange([(job, Done(job.json())) for job in jobs], topics="t", n=7).jobs
    assert sorted(done) == ids
    assert [svc.get(job_id).result for job_id in ids] == list(range(100))
    stats = svc.stats("t")
    assert (stats.enqueued, stats.reserved, stats.done) == (100, 100, 100)


def test_an_exchange_with_an_empty_list_of_topics_reserves_nothing(svc: JobService) -> None:
    svc.enqueue("t")
    assert svc.exchange(topics=[], enqueue=NewJob("t")).jobs == []
    assert svc.stats("t").now[Status.READY] == 2
