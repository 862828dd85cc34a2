"""Topics come and go with their jobs; their counters say how many there are and what happened."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from jobq import Done, JobService, LeaseLost, NewJob, Retry, Status, TopicStats
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import STATES, enqueue_named, given, put, take

NOTHING = TopicStats(
    topic="t",
    now=dict.fromkeys(Status, 0),
    dead_letters=0,
    enqueued=0,
    reserved=0,
    done=0,
    retried=0,
    expired=0,
    canceled=0,
    dead=0,
    first_enqueued_at=None,
    last_enqueued_at=None,
    first_reserved_at=None,
    last_reserved_at=None,
    oldest_ready_age=None,
    mean_wait=None,
    mean_run=None,
    total_wait=0.0,
    total_run=0.0,
    paused=False,
)
TOTALS = ("enqueued", "reserved", "done", "retried", "expired", "canceled", "dead")


def totals(svc: JobService, topic: str = "t") -> dict[str, int]:
    """The totals that are not 0."""
    stats = svc.stats(topic)
    return {name: getattr(stats, name) for name in TOTALS if getattr(stats, name)}


def test_a_topic_that_is_not_in_use_has_nothing(svc: JobService) -> None:
    assert svc.stats("t") == NOTHING
    assert svc.topics() == []


def test_a_topic_is_made_by_use(svc: JobService) -> None:
    svc.enqueue_many([NewJob("b"), NewJob("a"), NewJob("c", delay=5), NewJob("b")])
    assert svc.topics() == ["a", "b", "c"]


@pytest.mark.parametrize("state", STATES)
def test_a_topic_is_there_while_a_job_is_in_any_status(svc: JobService, state: str) -> None:
    put(svc, state)
    assert svc.topics() == [state]


def test_a_topic_is_gone_with_its_last_job_totals_and_all(svc: JobService) -> None:
    job = given(svc)
    job.done()
    assert svc.topics() == ["t"]
    svc.delete(job.id)
    assert svc.topics() == []
    assert svc.stats("t") == NOTHING


def test_a_topic_that_comes_back_begins_anew(svc: JobService, clock: ManualClock) -> None:
    given(svc, keep_done=0).done()
    clock.advance(5)
    svc.enqueue("t")
    assert svc.stats("t") == replace(
        NOTHING,
        now=dict.fromkeys(Status, 0) | {Status.READY: 1},
        enqueued=1,
        first_enqueued_at=clock.now(),
        last_enqueued_at=clock.now(),
        oldest_ready_age=0.0,
    )


def test_now_says_how_many_jobs_have_each_status(svc: JobService) -> None:
    for number, state in enumerate(STATES, 1):
        for _ in range(number):
            STATES[state](svc, f"{state}.topic")
    for number, state in enumerate(STATES, 1):
        status = Status.CANCELED if state == "dead" else Status(state)
        assert svc.stats(f"{state}.topic").now == dict.fromkeys(Status, 0) | {status: number}


def test_canceled_and_dead_are_both_canceled_now(svc: JobService) -> None:
    svc.cancel(svc.enqueue("t"))
    given(svc).reject()
    assert svc.stats("t").now[Status.CANCELED] == 2
    assert svc.stats("t").dead_letters == 1
    assert [job.is_dead_letter for job in (*svc.dead_letters("t"), *svc.find("ready"))] == [True]
    assert sorted(job.is_dead_letter for job in svc.find("canceled")) == [False, True]
    assert totals(svc) == {"enqueued": 2, "reserved": 1, "canceled": 1, "dead": 1}


def test_a_due_job_is_counted_as_delayed_until_a_verb_finds_it(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", delay=5), NewJob("t", delay=5)])
    clock.advance(5)
    assert svc.stats("t").now[Status.DELAYED] == 2
    take(svc)
    assert svc.stats("t").now == dict.fromkeys(Status, 0) | {Status.READY: 1, Status.RESERVED: 1}


# -- totals ------------------------------------------------------------------------------------------------------------


def test_each_verb_counts_once(svc: JobService, clock: ManualClock) -> None:
    enqueue_named(svc, "done", "retry", "release", "reject", "extend", "cancel", "expire")
    assert totals(svc) == {"enqueued": 7}
    done, retry, release, reject, extend, cancel, _ = svc.reserve("t", 7)
    assert totals(svc) == {"enqueued": 7, "reserved": 7}
    done.done()
    retry.retry(999)
    release.release(999)
    reject.reject()
    extend.extend(9999)
    cancel.cancel()
    counted = {"enqueued": 7, "reserved": 7, "done": 1, "retried": 1, "dead": 1, "canceled": 1}
    assert totals(svc) == counted
    clock.advance(300)
    svc.enqueue("t", -1)
    take(svc)
    assert totals(svc) == counted | {"enqueued": 8, "reserved": 8, "expired": 1}


def test_running_out_of_retries_counts_as_dead_and_not_as_retried(svc: JobService) -> None:
    given(svc, max_retries=0).retry()
    assert totals(svc) == {"enqueued": 1, "reserved": 1, "dead": 1}


def test_a_lease_over_at_the_limit_counts_as_expired_and_as_dead(svc: JobService, clock: ManualClock) -> None:
    given(svc, max_retries=0, lease=5)
    clock.advance(5)
    svc.reserve("t")
    assert totals(svc) == {"enqueued": 1, "reserved": 1, "expired": 1, "dead": 1}


def test_reset_reschedule_and_delete_count_nothing(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    job.done()
    svc.reset(job.id)
    svc.reschedule(job.id, clock.after(9))
    svc.enqueue("t")
    svc.cancel(job.id)
    svc.delete(job.id)
    assert totals(svc) == {"enqueued": 2, "reserved": 1, "done": 1, "canceled": 1}


def test_keep_and_replace_enqueue_nothing(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", unique_key="k")
    clock.advance(5)
    svc.enqueue("t", unique_key="k", on_duplicate="keep")
    svc.enqueue("t", unique_key="k", on_duplicate="replace")
    assert totals(svc) == {"enqueued": 1}
    assert svc.stats("t").last_enqueued_at == clock.after(-5)


def test_what_is_lost_or_refused_counts_nothing(svc: JobService) -> None:
    job = given(svc)
    svc.cancel(job.id)
    before = svc.stats("t")
    for verb in (job.done, job.retry, job.reject, job.cancel):
        with pytest.raises(LeaseLost):
            verb()
    assert svc.stats("t") == before


def test_what_is_reserved_and_settled_in_one_exchange_counts_as_each(svc: JobService) -> None:
    job = given(svc)
    [again] = svc.exchange([(job, Retry(0))], enqueue=NewJob("t", delay=9), topics="t").jobs
    svc.exchange([(again, Done(then=NewJob("t")))])
    assert totals(svc) == {"enqueued": 3, "reserved": 2, "done": 1, "retried": 1}


def test_totals_are_history_and_outlive_the_jobs(svc: JobService) -> None:
    enqueue_named(svc, *"abcde")
    svc.done(svc.reserve("t", 4))
    svc.delete([info.id for info in svc.find(Status.DONE)])
    assert totals(svc) == {"enqueued": 5, "reserved": 4, "done": 4}


# -- instants and means ------------------------------------------------------------------------------------------------


def test_the_first_and_the_last_enqueue_and_reserve(svc: JobService, clock: ManualClock) -> None:
    moments = []
    for step in range(3):
        clock.advance(1 + step)
        svc.enqueue("t", delay=10 if step == 0 else None)
        clock.advance(1)
        if step:
            take(svc)
        moments.append(clock.now())
    stats = svc.stats("t")
    assert stats.first_enqueued_at == clock.after(-8)
    assert stats.last_enqueued_at == clock.after(-1)
    assert stats.first_reserved_at == moments[1]
    assert stats.last_reserved_at == moments[2]


def test_enqueue_many_and_exchange_set_the_instants_too(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t"), NewJob("t")])
    clock.advance(2)
    svc.exchange(enqueue=NewJob("t"), topics="t")
    stats = svc.stats("t")
    assert (stats.first_enqueued_at, stats.last_enqueued_at) == (clock.after(-2), clock.now())
    assert stats.first_reserved_at == stats.last_reserved_at == clock.now()


def test_the_oldest_ready_age(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", 9)
    clock.advance(5)
    svc.enqueue("t", 1)
    clock.advance(2.5)
    assert svc.stats("t").oldest_ready_age == 7.5
    take(svc)
    assert svc.stats("t").oldest_ready_age == 7.5
    take(svc)
    assert svc.stats("t").oldest_ready_age is None


def test_a_delayed_job_is_no_oldest_ready_one(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", delay=5)
    clock.advance(3)
    assert svc.stats("t").oldest_ready_age is None


def test_the_mean_wait_is_from_due_to_reserved(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", name="ready")
    svc.enqueue("t", name="delayed", delay=4)
    clock.advance(5)
    svc.reserve("t", 2)
    assert svc.stats("t").mean_wait == (5 + 1) / 2


def test_each_reservation_waits_anew(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("t", lease=100)
    clock.advance(2)
    take(svc).retry(10)
    clock.advance(16)
    take(svc).release()
    clock.advance(1)
    take(svc)
    clock.advance(150)
    take(svc)
    assert svc.stats("t").mean_wait == (2 + 6 + 1 + 0) / 4


def test_the_mean_run_is_of_done_jobs_alone(svc: JobService, clock: ManualClock) -> None:
    enqueue_named(svc, *"abcd")
    a, b, c, d = svc.reserve("t", 4)
    clock.advance(1)
    a.done()
    clock.advance(2)
    b.done()
    clock.advance(10)
    c.reject()
    d.retry()
    assert svc.stats("t").mean_run == (1 + 3) / 2


def test_a_run_is_from_the_last_reservation(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    clock.advance(50)
    job.retry(0)
    job = take(svc)
    clock.advance(2)
    job.done()
    assert svc.stats("t").mean_run == 2


def test_there_is_no_mean_of_nothing(svc: JobService) -> None:
    svc.enqueue("t")
    assert (svc.stats("t").mean_wait, svc.stats("t").mean_run) == (None, None)
    take(svc)
    assert (svc.stats("t").mean_wait, svc.stats("t").mean_run) == (0, None)


def test_the_sums_are_exact(svc: JobService, clock: ManualClock) -> None:
    """A sum that was made of the mean would become less at times, and who watches it would take that for a restart."""
    waited = 0
    for n in range(1, 50):
        svc.enqueue("t")
        clock.advance(n * 0.1)
        waited += round(n * 0.1 * 10**9)
        job = take(svc)
        clock.advance(0.3)
        job.done()
        assert (svc.stats("t").total_wait, svc.stats("t").total_run) == (waited / 10**9, 3 * n / 10)


# -- others ------------------------------------------------------------------------------------------------------------


def test_topics_are_counted_apart(svc: JobService) -> None:
    given(svc, "a").done()
    svc.enqueue("b")
    assert totals(svc, "a") == {"enqueued": 1, "reserved": 1, "done": 1}
    assert totals(svc, "b") == {"enqueued": 1}


def test_another_service_sees_the_same_stats_after_the_first_is_closed(
    open_service: OpenService, clock: ManualClock
) -> None:
    first = open_service()
    for state in reversed(STATES):  # what has to be reserved comes before what stays Ready
        STATES[state](first, "t")
    clock.advance(5)
    first.pause("t")
    before = first.stats("t")
    second = open_service()
    first.close()
    assert second.stats("t") == before
    assert {field.name for field in fields(before)} == {field.name for field in fields(NOTHING)}


def test_stats_are_a_snapshot(svc: JobService) -> None:
    before = svc.stats("t")
    svc.enqueue("t")
    assert before == NOTHING
    with pytest.raises(AttributeError):
        before.paused = True  # type: ignore[misc]  # frozen
