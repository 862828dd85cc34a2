"""Reserving: which jobs, in which order, from which topics; and that no job is with two at once."""

from __future__ import annotations

import pytest

from jobq import JobService, NewJob, Status
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import enqueue_named, given, names, take, unchanged


def test_the_lower_priority_number_comes_first(svc: JobService) -> None:
    for priority in (0, 32767, -1, 10, -32768, 9):
        svc.enqueue("t", priority)
    assert [job.priority for job in svc.reserve("t", 6)] == [-32768, -1, 0, 9, 10, 32767]


def test_of_one_priority_the_job_that_waited_longest_comes_first(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", name="late", delay=10)
    svc.enqueue("t", name="early", delay=5)
    clock.advance(7)
    svc.enqueue("t", name="new")
    clock.advance(5)
    assert names(svc.reserve("t", 3)) == ["early", "new", "late"]


def test_of_one_moment_the_first_enqueued_comes_first(svc: JobService) -> None:
    enqueue_named(svc, *"abcdefgh")
    assert "".join(names(svc.reserve("t", 3)) + names(svc.reserve("t", 9))) == "abcdefgh"


def test_priorities_hold_between_what_is_ready_and_what_has_just_come_due(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", 5, name="ready 5")
    svc.enqueue("t", 1, name="due 1", delay=10)
    svc.enqueue("t", 3, name="ready 3")
    svc.enqueue("t", 9, name="due 9", delay=10)
    svc.enqueue("t", 4, name="due 4", delay=11)
    clock.advance(11)
    assert names(svc.reserve("t", 2)) == ["due 1", "ready 3"]
    assert names(svc.reserve("t", 9)) == ["due 4", "ready 5", "due 9"]


def test_priorities_hold_between_what_is_ready_and_an_expired_lease(svc: JobService, clock: ManualClock) -> None:
    given(svc, priority=1, name="expired 1", lease=10)
    svc.enqueue("t", 0, name="ready 0")
    svc.enqueue("t", 2, name="ready 2")
    clock.advance(10)
    assert names(svc.reserve("t", 9)) == ["ready 0", "expired 1", "ready 2"]


def test_a_job_that_just_came_due_waited_since_its_time_and_not_since_now(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", name="due", delay=10)
    clock.advance(20)
    svc.enqueue("t", name="new")
    assert names(svc.reserve("t", 2)) == ["due", "new"]


def test_a_job_says_since_when_it_was_due_and_when_it_was_reserved(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", delay=10)
    due = clock.after(10)
    clock.advance(12)
    job = take(svc)
    assert (job.run_at, job.reserved_at) == (due, clock.now())
    clock.advance(3)
    job.extend(60)
    assert (job.run_at, job.reserved_at) == (due, clock.after(-3))
    job.release()
    assert take(svc).run_at == clock.now(), "it waits anew"


def test_up_to_n_jobs_come_at_once(svc: JobService) -> None:
    enqueue_named(svc, "a", "b", "c")
    assert names(svc.reserve("t", 2)) == ["a", "b"]
    assert names(svc.reserve("t", 2)) == ["c"]
    assert svc.reserve("t", 2) == []


def test_nothing_to_reserve_is_an_empty_list(svc: JobService) -> None:
    with unchanged(svc):
        assert svc.reserve("t") == []
        assert svc.reserve(["t", "u"], 10) == []
    assert svc.topics() == []


def test_a_reserved_job_is_hidden(svc: JobService) -> None:
    svc.enqueue("t")
    take(svc)
    with unchanged(svc):
        for _ in range(5):
            assert svc.reserve("t", 10) == []


def test_several_topics_are_served_in_the_order_given(svc: JobService) -> None:
    svc.enqueue_many(
        [NewJob("b", -5, name="b1"), NewJob("a", 5, name="a1"), NewJob("b", name="b2"), NewJob("c", name="c1")]
    )
    assert names(svc.reserve(["a", "b"], 2)) == ["a1", "b1"]
    svc.enqueue("a", 9, name="a2")
    assert names(svc.reserve(("a", "b", "c"), 10)) == ["a2", "b2", "c1"]


def test_a_topic_named_twice_is_served_once(svc: JobService) -> None:
    enqueue_named(svc, "a", "b")
    assert names(svc.reserve(["t", "t"], 5)) == ["a", "b"]


def test_an_empty_topic_first_costs_the_second_nothing(svc: JobService) -> None:
    svc.enqueue("b", name="b1")
    assert names(svc.reserve(["a", "b"])) == ["b1"]


def test_what_is_due_in_a_later_topic_waits_for_the_first(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("b", -9, name="b1", delay=1)
    svc.enqueue("a", name="a1")
    clock.advance(1)
    assert names(svc.reserve(["a", "b"])) == ["a1"]
    assert names(svc.reserve(["a", "b"])) == ["b1"]


def test_only_the_topics_named_are_served(svc: JobService) -> None:
    svc.enqueue("a")
    svc.enqueue("ab")
    assert [job.topic for job in svc.reserve("a", 9)] == ["a"]


def test_topics_that_begin_alike_are_kept_apart(svc: JobService) -> None:
    for topic in ("a.b", "a", "a-b", "a:b", "ab"):
        svc.enqueue(topic, name=topic)
    for topic in ("a", "a-b", "a.b", "a:b", "ab"):
        assert names(svc.reserve(topic, 9)) == [topic]


def test_each_reservation_is_another_attempt(svc: JobService) -> None:
    svc.enqueue("t", max_retries=3)
    seen = []
    while reserved := svc.reserve("t"):
        seen.append((reserved[0].attempt, reserved[0].retries_left))
        reserved[0].retry(0)
    assert seen == [(1, 3), (2, 2), (3, 1), (4, 0)]


def test_retries_for_ever_are_never_counted_down(svc: JobService) -> None:
    assert given(svc, max_retries=None).retries_left is None


def test_the_lease_is_the_jobs_own_or_the_one_given(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", lease=20)
    svc.enqueue("t", lease=40)
    assert [job.deadline for job in svc.reserve("t", 2)] == [clock.after(20), clock.after(40)]
    svc.enqueue("t", lease=20)
    assert take(svc, lease=7).deadline == clock.after(7)


def test_a_batch_larger_than_what_comes_due_at_once_still_fills(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", name=str(number), delay=number + 1) for number in range(250)])
    clock.advance(1000)
    assert names(svc.reserve("t", 250)) == [str(number) for number in range(250)]


def test_many_jobs_that_came_due_are_handed_out_one_by_one_in_order(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", name=str(number), delay=number + 1) for number in range(150)])
    clock.advance(1000)
    taken = []
    while reserved := svc.reserve("t"):
        taken += names(reserved)
    assert taken == [str(number) for number in range(150)]


def test_many_expired_jobs_that_all_die_do_not_hide_the_next(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", lease=10, max_retries=0)] * 120)
    assert len(svc.reserve("t", 120)) == 120
    svc.enqueue("t", name="due", delay=5)
    clock.advance(10)
    assert names(svc.reserve("t")) == ["due"]


def test_many_expired_jobs_that_all_die_leave_nothing(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", lease=10, max_retries=0)] * 120)
    svc.reserve("t", 120)
    clock.advance(10)
    assert svc.reserve("t") == []
    assert svc.stats("t").dead == 120


def test_a_thousand_jobs_are_each_reserved_once(svc: JobService) -> None:
    ids = svc.enqueue_many([NewJob("t", number % 7) for number in range(1000)])
    taken = []
    while reserved := svc.reserve("t", 33):
        taken += [job.id for job in reserved]
    assert sorted(taken) == ids
    assert svc.stats("t").now[Status.RESERVED] == 1000


def test_two_services_of_one_storage_share_the_jobs(svc: JobService, open_service: OpenService) -> None:
    other = open_service()
    enqueue_named(svc, "a", "b")
    assert names(svc.reserve("t")) + names(other.reserve("t")) == ["a", "b"]
    assert svc.reserve("t") == other.reserve("t") == []


@pytest.mark.parametrize("n", [1, 2, 10_000])
def test_n_may_be_more_than_there_is(svc: JobService, n: int) -> None:
    svc.enqueue("t")
    assert len(svc.reserve("t", n)) == 1
