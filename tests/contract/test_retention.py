"""Finished jobs go when their time is over: inside verbs, a bounded number each; or by `prune`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobq import Done, JobNotFound, JobService, Limits, NewJob, Reject, Status
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import every, given, put, snapshot, take, unchanged


def finish(svc: JobService, how: str, topic: str = "t", **options: Any) -> int:
    """A finished job: done, canceled on request, or dead."""
    job_id = svc.enqueue(topic, **options)
    if how == "canceled":
        svc.cancel(job_id)
    else:
        job = take(svc, topic)
        assert job.id == job_id
        svc.exchange([(job, Done() if how == "done" else Reject())])
    return job_id


def keeping(how: str, seconds: int | None) -> dict[str, Any]:
    """The option that keeps jobs which ended like this."""
    return {f"keep_{how}": seconds}


def finished(svc: JobService, topic: str = "t") -> int:
    now = svc.stats(topic).now
    return now[Status.DONE] + now[Status.CANCELED]


each_end = pytest.mark.parametrize("how", ["done", "canceled", "dead"])


@each_end
def test_a_finished_job_is_kept_as_long_as_its_options_say(svc: JobService, clock: ManualClock, how: str) -> None:
    job_id = finish(svc, how, **keeping(how, 10))
    clock.advance(9.999999)
    svc.reserve("t")
    assert svc.get(job_id).finished_at == clock.after(-9.999999)
    clock.advance(0.000001)
    svc.reserve("t")
    with pytest.raises(JobNotFound):
        svc.get(job_id)
    assert svc.topics() == []


@each_end
def test_a_finished_job_with_no_retention_is_deleted_at_once(svc: JobService, how: str) -> None:
    job_id = finish(svc, how, **keeping(how, 0))
    with pytest.raises(JobNotFound):
        svc.payload(job_id)
    assert svc.topics() == []


@each_end
def test_a_job_deleted_at_once_is_counted_all_the_same(svc: JobService, how: str) -> None:
    svc.enqueue("t", delay=60)
    finish(svc, how, **keeping(how, 0))
    stats = svc.stats("t")
    assert getattr(stats, how) == 1
    assert finished(svc) == 0


@each_end
def test_a_finished_job_is_kept_for_ever_with_none(svc: JobService, clock: ManualClock, how: str) -> None:
    job_id = finish(svc, how, **keeping(how, None))
    clock.advance(50 * 365 * 86_400)
    svc.reserve("t")
    assert svc.prune() == 0
    assert svc.get(job_id).id == job_id


@each_end
def test_each_end_has_its_own_retention(svc: JobService, clock: ManualClock, how: str) -> None:
    nothing = keeping("done", 0) | keeping("canceled", 0) | keeping("dead", 0)
    job_id = finish(svc, how, **(nothing | keeping(how, 10)))
    clock.advance(9)
    svc.reserve("t")
    assert svc.get(job_id).id == job_id


@each_end
def test_by_default_done_is_kept_an_hour_canceled_a_day_and_dead_for_ever(
    svc: JobService, clock: ManualClock, how: str
) -> None:
    job_id = finish(svc, how)
    clock.advance({"done": 3600, "canceled": 86_400, "dead": 10**9}[how] - 1)
    svc.reserve("t")
    svc.get(job_id)
    clock.advance(1)
    svc.reserve("t")
    assert finished(svc) == int(how == "dead")


def test_an_exhausted_job_is_kept_as_a_dead_letter(svc: JobService, clock: ManualClock) -> None:
    given(svc, max_retries=0, keep_dead=10, lease=5)
    clock.advance(5)
    svc.reserve("t")
    clock.advance(9)
    svc.reserve("t")
    assert len(svc.dead_letters("t")) == 1
    clock.advance(1)
    svc.reserve("t")
    assert svc.topics() == []


def test_an_exhausted_job_that_is_not_kept_is_gone_at_once(svc: JobService, clock: ManualClock) -> None:
    given(svc, max_retries=0, keep_dead=0, lease=5)
    clock.advance(5)
    assert svc.reserve("t") == []
    assert svc.topics() == []


def test_retention_counts_from_the_last_finish(svc: JobService, clock: ManualClock) -> None:
    job_id = finish(svc, "done", keep_done=10)
    clock.advance(9)
    svc.reset(job_id)
    take(svc).done()
    clock.advance(9)
    svc.reserve("t")
    assert svc.status(job_id) is Status.DONE


# -- inside verbs, bounded ---------------------------------------------------------------------------------------------


@each_end
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("verb", ["reserve", "exchange", "done", "retry", "release", "reject"])
def test_a_verb_deletes_2n_and_8_of_a_topic_at_most(
    svc: JobService, clock: ManualClock, verb: str, n: int, how: str
) -> None:
    svc.enqueue_many([NewJob("t", keep_done=10, keep_canceled=10, keep_dead=10)] * 40)
    if how == "canceled":
        svc.clear("t")
    else:
        svc.exchange([(job, Done() if how == "done" else Reject()) for job in svc.reserve("t", 40)])
    svc.enqueue_many([NewJob("t", keep_done=0, keep_dead=0, lease=99)] * n)
    held = [] if verb in ("reserve", "exchange") else svc.reserve("t", n)
    clock.advance(10)
    if verb == "reserve":
        svc.reserve("t", n)
    elif verb == "exchange":
        svc.exchange(topics="t", n=n)
    else:
        getattr(svc, verb)(held)
    assert finished(svc) == 40 - (2 * n + 8)


def test_exchange_deletes_in_proportion_to_what_it_settles_and_reserves(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", keep_done=10)] * 40)
    svc.done(svc.reserve("t", 40))
    svc.enqueue_many([NewJob("t", keep_done=0)] * 3)
    held = svc.reserve("t", 3)
    clock.advance(10)
    svc.exchange([(job, Done()) for job in held], topics="t", n=4)
    assert finished(svc) == 40 - (2 * 7 + 8)


def test_the_bound_is_of_all_finished_jobs_together(svc: JobService, clock: ManualClock) -> None:
    for how in ("done", "canceled", "dead"):
        for _ in range(6):
            finish(svc, how, **keeping(how, 10))
    clock.advance(10)
    svc.reserve("t")
    now = svc.stats("t").now
    assert (now[Status.DONE], now[Status.CANCELED]) == (0, 8)
    svc.reserve("t")
    assert svc.topics() == []


def test_those_whose_time_ended_first_go_first(svc: JobService, clock: ManualClock) -> None:
    keeps = {keep: finish(svc, "done", keep_done=keep) for keep in range(30, 10, -1)}
    clock.advance(100)
    svc.reserve("t")
    assert sorted(info.id for info in every(svc, Status.DONE)) == sorted(keeps[keep] for keep in range(21, 31))


def test_a_topic_that_no_verb_names_keeps_its_jobs(svc: JobService, clock: ManualClock) -> None:
    finish(svc, "done", keep_done=10)
    clock.advance(99)
    svc.reserve("u")
    assert finished(svc) == 1


def test_a_job_in_work_is_never_retired(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=1000, keep_done=1, keep_dead=1, keep_canceled=1)
    svc.enqueue("t", delay=900)
    clock.advance(500)
    svc.reserve("t")
    assert svc.prune() == 0
    job.done()
    assert svc.stats("t").now[Status.DONE] == 1


# -- the newest Done jobs ----------------------------------------------------------------------------------------------


def test_a_topic_keeps_its_newest_done_jobs(open_service: OpenService, clock: ManualClock) -> None:
    svc = open_service(limits=Limits(done=3))
    ids = []
    for _ in range(10):
        ids.append(finish(svc, "done"))
        clock.advance(1)
    svc.reserve("t")
    assert [info.id for info in every(svc, Status.DONE)] == ids[-3:]
    with unchanged(svc):
        svc.reserve("t")


def test_the_newest_done_jobs_of_each_topic_are_kept(open_service: OpenService, clock: ManualClock) -> None:
    svc = open_service(limits=Limits(done=2))
    for _ in range(4):
        for topic in ("t", "u"):
            finish(svc, "done", topic)
        clock.advance(1)
    svc.reserve(["t", "u"])
    assert (finished(svc, "t"), finished(svc, "u")) == (2, 2)


def test_dead_and_canceled_jobs_are_not_counted_as_done(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(done=1))
    for how in ("dead", "canceled", "dead", "canceled", "done"):
        finish(svc, how)
    svc.reserve("t")
    assert finished(svc) == 5


def test_many_done_jobs_too_many_go_a_few_at_a_time(open_service: OpenService, clock: ManualClock) -> None:
    generous = open_service()
    generous.enqueue_many([NewJob("t")] * 40)
    generous.done(generous.reserve("t", 40))
    svc = open_service(limits=Limits(done=5))
    left = []
    for _ in range(5):
        svc.reserve("t")
        left.append(finished(svc))
    assert left == [30, 20, 10, 5, 5]


def test_a_queue_in_steady_work_keeps_a_bounded_number(open_service: OpenService, clock: ManualClock) -> None:
    svc = open_service(limits=Limits(done=50))
    jobs = svc.exchange(enqueue=[NewJob("t")] * 10, topics="t", n=10).jobs
    most = 0
    for _ in range(60):
        jobs = svc.exchange([(job, Done()) for job in jobs], enqueue=[NewJob("t")] * 10, topics="t", n=10).jobs
        clock.advance(0.001)
        most = max(most, finished(svc))
    assert 50 <= most <= 60


# -- prune -------------------------------------------------------------------------------------------------------------


@each_end
def test_prune_deletes_what_is_over_in_all_topics(svc: JobService, clock: ManualClock, how: str) -> None:
    for topic in ("t", "u"):
        finish(svc, how, topic, **keeping(how, 10))
        finish(svc, how, topic, **keeping(how, 20))
    with unchanged(svc):
        assert svc.prune() == 0
    clock.advance(10)
    assert svc.prune() == 2
    assert (finished(svc, "t"), finished(svc, "u")) == (1, 1)
    assert svc.prune() == 0


def test_prune_of_one_topic_leaves_the_others(svc: JobService, clock: ManualClock) -> None:
    for topic in ("t", "u"):
        finish(svc, "done", topic, keep_done=10)
    clock.advance(10)
    assert svc.prune(topic="t") == 1
    assert svc.topics() == ["u"]
    assert svc.prune(topic="unused") == 0


@each_end
def test_prune_before_deletes_whatever_the_retention_is(svc: JobService, clock: ManualClock, how: str) -> None:
    ids = []
    for keep in (None, 1000, 10, 500):
        ids.append(finish(svc, how, **keeping(how, keep)))
        clock.advance(1)
    assert svc.prune(clock.after(-4)) == 0
    assert svc.prune(clock.after(-2)) == 2
    assert sorted(snapshot(svc).jobs) == ids[2:]
    assert svc.prune(clock.after(1)) == 2
    assert svc.topics() == []


def test_prune_before_leaves_what_is_not_finished(svc: JobService, clock: ManualClock) -> None:
    for state in ("ready", "delayed", "reserved"):
        put(svc, state)
    with unchanged(svc):
        assert svc.prune(clock.after(timedelta(days=1).total_seconds())) == 0


def test_prune_before_goes_through_all_in_short_transactions(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", keep_done=None if number % 2 else 9999) for number in range(2_300)])
    svc.done(svc.reserve("t", 1_150))
    clock.advance(10)
    svc.done(svc.reserve("t", 1_150))
    assert svc.prune(clock.after(-5), topic="t") == 1_150
    assert svc.prune(clock.after(5), topic="u") == 0
    assert svc.prune(clock.after(5)) == 1_150
    assert svc.topics() == []


def test_prune_of_what_is_over_goes_through_all_in_short_transactions(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", keep_canceled=5)] * 2_300)
    svc.clear("t")
    clock.advance(5)
    assert svc.prune() == 2_300
    assert svc.topics() == []
