"""Settling one job or many: who may, what is committed, and what LeaseLost says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from jobq import CancelReason, Job, JobNotFound, JobService, LeaseLost, NewJob, Status
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import enqueue_named, given, take, unchanged

Verb = Callable[[JobService, list[Job]], None]

VERBS: dict[str, tuple[Verb, Status]] = {
    "done": (lambda svc, jobs: svc.done(jobs), Status.DONE),
    "retry": (lambda svc, jobs: svc.retry(jobs, 0), Status.READY),
    "retry later": (lambda svc, jobs: svc.retry(jobs), Status.DELAYED),
    "release": (lambda svc, jobs: svc.release(jobs), Status.READY),
    "release later": (lambda svc, jobs: svc.release(jobs, 5), Status.DELAYED),
    "release until": (lambda svc, jobs: svc.release(jobs, run_at=datetime(2030, 1, 1, tzinfo=UTC)), Status.DELAYED),
    "reject": (lambda svc, jobs: svc.reject(jobs), Status.CANCELED),
    "extend": (lambda svc, jobs: svc.extend(jobs), Status.RESERVED),
}

each_verb = pytest.mark.parametrize("name", VERBS)


def lose(svc: JobService, job: Job, way: str, clock: ManualClock) -> None:
    """End a reservation behind its holder's back."""
    if way == "canceled":
        svc.cancel(job.id)
    elif way == "deleted":
        svc.cancel(job.id)
        svc.delete(job.id)
    else:
        clock.advance(1000)
        assert take(svc, job.topic).id == job.id


@each_verb
def test_a_verb_takes_one_job(svc: JobService, name: str) -> None:
    verb, status = VERBS[name]
    job = given(svc)
    verb(svc, job)  # type: ignore[arg-type]  # one instead of several
    assert (svc.status(job.id), job.settled) == (status, name != "extend")


@each_verb
def test_a_verb_takes_many_jobs(svc: JobService, name: str) -> None:
    verb, status = VERBS[name]
    enqueue_named(svc, "a", "b", "c", "d")
    jobs = svc.reserve("t", 4)
    verb(svc, jobs[:3])
    assert [svc.status(job.id) for job in jobs] == [status] * 3 + [Status.RESERVED]
    assert [job.settled for job in jobs] == [name != "extend"] * 3 + [False]


@each_verb
def test_a_verb_takes_any_iterable_and_each_job_once(svc: JobService, name: str) -> None:
    verb, status = VERBS[name]
    enqueue_named(svc, "a", "b")
    jobs = svc.reserve("t", 2)
    verb(svc, (job for job in [*jobs, *jobs]))  # type: ignore[arg-type]  # any iterable
    assert [svc.status(job.id) for job in jobs] == [status] * 2


@each_verb
def test_a_verb_takes_no_job_at_all(svc: JobService, name: str) -> None:
    given(svc)
    with unchanged(svc):
        VERBS[name][0](svc, [])


@each_verb
def test_jobs_of_several_topics_are_settled_in_one_call(svc: JobService, name: str) -> None:
    verb, status = VERBS[name]
    jobs = [given(svc, topic) for topic in ("a", "b", "c")]
    verb(svc, jobs)
    assert [svc.status(job.id) for job in jobs] == [status] * 3


@pytest.mark.parametrize("way", ["canceled", "deleted", "expired"])
@each_verb
def test_a_lost_reservation_settles_nothing(svc: JobService, name: str, way: str, clock: ManualClock) -> None:
    job = given(svc)
    lose(svc, job, way, clock)
    with unchanged(svc), pytest.raises(LeaseLost, match=f"reservation is over .job {job.id}.") as e:
        VERBS[name][0](svc, [job])
    assert e.value.jobs == [job]
    assert not job.settled


@each_verb
def test_a_settled_job_is_not_settled_again(svc: JobService, name: str) -> None:
    job = given(svc)
    job.done()
    with unchanged(svc), pytest.raises(LeaseLost) as e:
        VERBS[name][0](svc, [job])
    assert e.value.jobs == [job]


@each_verb
def test_the_rest_is_committed_before_lease_lost_is_raised(svc: JobService, name: str) -> None:
    verb, status = VERBS[name]
    enqueue_named(svc, "a", "b", "c", "d")
    jobs = svc.reserve("t", 4)
    svc.cancel([jobs[0].id, jobs[2].id])
    with pytest.raises(LeaseLost, match=f"job {jobs[0].id}, {jobs[2].id}") as e:
        verb(svc, jobs)
    assert e.value.jobs == [jobs[0], jobs[2]]
    assert [svc.status(job.id) for job in jobs] == [Status.CANCELED, status, Status.CANCELED, status]
    assert [job.settled for job in jobs] == [False, name != "extend"] * 2


def test_an_older_handle_settles_nothing_of_the_newer_reservation(svc: JobService, clock: ManualClock) -> None:
    old = given(svc, lease=10)
    clock.advance(10)
    new = take(svc)
    with unchanged(svc), pytest.raises(LeaseLost) as e:
        svc.done([old])
    assert e.value.jobs == [old]
    with pytest.raises(LeaseLost) as e:
        svc.done([old, new])
    assert e.value.jobs == [old]
    assert svc.status(new.id) is Status.DONE


def test_a_token_of_before_a_reset_is_worth_nothing(svc: JobService) -> None:
    old = given(svc)
    svc.cancel(old.id)
    svc.reset(old.id)
    new = take(svc)
    with unchanged(svc), pytest.raises(LeaseLost):
        old.done()
    new.done()


def test_a_released_job_is_no_longer_its_holders(svc: JobService) -> None:
    old = given(svc)
    old.release()
    with pytest.raises(LeaseLost):
        old.done()
    assert take(svc).attempt == 2


def test_a_handle_works_with_any_service_of_its_storage(svc: JobService, open_service: OpenService) -> None:
    job = given(svc)
    open_service().done(job)
    assert svc.status(job.id) is Status.DONE


def test_every_verb_of_the_handle_is_the_services(svc: JobService, clock: ManualClock) -> None:
    enqueue_named(svc, "done", "retry", "release", "reject", "cancel", "extend")
    done, retry, release, reject, cancel, extend = svc.reserve("t", 6)
    done.done([1])
    retry.retry(run_at=clock.after(9), error="no route")
    release.release(timedelta(seconds=4))
    reject.reject("broken", reason=CancelReason.UNHANDLED)
    cancel.cancel("not needed")
    extend.extend(timedelta(minutes=9))
    assert (done.info().status, done.info().result) == (Status.DONE, [1])
    assert (retry.info().run_at, retry.info().last_error) == (clock.after(9), "no route")
    assert (release.info().run_at, release.info().retry_count) == (clock.after(4), 0)
    assert (reject.info().cancel_reason, reject.info().last_error) == (CancelReason.UNHANDLED, "broken")
    assert (cancel.info().cancel_reason, cancel.info().note) == (CancelReason.REQUESTED, "not needed")
    assert extend.info().deadline == extend.deadline == clock.after(540)
    assert [job.settled for job in (done, retry, release, reject, cancel, extend)] == [True] * 5 + [False]


def test_a_handle_cancels_only_while_it_holds_the_job(svc: JobService) -> None:
    job = given(svc)
    job.done()
    with unchanged(svc), pytest.raises(LeaseLost) as e:
        job.cancel()
    assert e.value.jobs == [job]


def test_extend_without_seconds_is_for_the_lease_it_was_reserved_with(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", lease=20), NewJob("t", lease=40)])
    own = svc.reserve("t", 2)
    svc.enqueue("t", lease=20)
    given_one = take(svc, lease=7)
    clock.advance(5)
    svc.extend([*own, given_one])
    assert [job.deadline for job in [*own, given_one]] == [clock.after(s) for s in (20, 40, 7)]
    assert [job.info().deadline for job in [*own, given_one]] == [clock.after(s) for s in (20, 40, 7)]


def test_extend_may_shorten_a_lease(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=300)
    job.extend(1)
    clock.advance(1)
    assert take(svc).attempt == 2


@pytest.mark.parametrize("result", [0, False, "", [], {}, "grün", {"a": [1, None, 2.5]}])
def test_a_result_is_any_json_value(svc: JobService, result: object) -> None:
    job = given(svc)
    job.done(result)
    assert svc.get(job.id).result == result
    assert svc.get(job.id).result is not None


def test_no_result_is_none(svc: JobService) -> None:
    job = given(svc)
    job.done()
    assert svc.get(job.id).result is None


def test_one_result_is_given_to_all(svc: JobService) -> None:
    enqueue_named(svc, "a", "b")
    jobs = svc.reserve("t", 2)
    svc.done(jobs, {"n": 1})
    assert [job.info().result for job in jobs] == [{"n": 1}] * 2


def test_release_with_then_enqueues_in_the_same_commit(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    ids = job.release(run_at=clock.after(9), then=[NewJob("u", name="a"), NewJob("t", name="b")])
    info = svc.get(job.id)
    assert (info.status, info.run_at, info.retry_count) == (Status.DELAYED, clock.after(9), 0)
    assert [take(svc, topic).id for topic in ("u", "t")] == ids
    assert given(svc, "v").release(5, then=NewJob("u")) == [take(svc, "u").id]


def test_release_with_then_enqueues_nothing_for_a_lost_reservation(svc: JobService, clock: ManualClock) -> None:
    canceled, expired = given(svc), given(svc, lease=10)
    svc.cancel(canceled.id)
    clock.advance(10)
    assert take(svc).id == expired.id
    for job in (canceled, expired):
        with unchanged(svc), pytest.raises(LeaseLost) as e:
            job.release(then=NewJob("u"))
        assert e.value.jobs == [job]


def test_a_job_that_puts_itself_back_can_have_its_next_state_with_it(svc: JobService, clock: ManualClock) -> None:
    id = svc.enqueue("t", payload=b"1", unique_key="k", max_retries=None)
    for number in (2, 3):
        later = NewJob("t", payload=f"{number}", unique_key="k", on_duplicate="replace", run_at=clock.after(60))
        assert take(svc).release(then=[NewJob("u", name=f"of {number}"), later])[1] == id
        info = svc.get(id)
        assert (info.status, info.run_at, svc.payload(id)) == (Status.DELAYED, clock.after(60), b"%d" % number)
        assert svc.reserve("t") == []
        clock.advance(60)
    assert svc.stats("t").enqueued == 1
    assert [job.name for job in svc.reserve("u", 9)] == ["of 2", "of 3"]


def test_done_with_then_enqueues_in_the_same_commit(svc: JobService) -> None:
    job = given(svc)
    job.done("first", then=NewJob("u", name="second"))
    assert (svc.status(job.id), take(svc, "u").name) == (Status.DONE, "second")


def test_done_with_then_enqueues_several(svc: JobService) -> None:
    given(svc).done(then=[NewJob("u", name="a"), NewJob("t", name="b")])
    assert [take(svc, topic).name for topic in ("u", "t")] == ["a", "b"]


def test_done_with_then_enqueues_nothing_for_a_lost_reservation(svc: JobService) -> None:
    job = given(svc)
    svc.cancel(job.id)
    with unchanged(svc), pytest.raises(LeaseLost) as e:
        job.done(then=NewJob("u"))
    assert e.value.jobs == [job]


def test_canceled_says_whether_the_reservation_was_taken_away(svc: JobService, clock: ManualClock) -> None:
    kept, canceled, deleted, expired, settled = (given(svc, topic) for topic in "abcde")
    assert not any(job.canceled() for job in (kept, canceled, deleted, expired, settled))
    svc.cancel([canceled.id, deleted.id])
    svc.delete(deleted.id)
    settled.done()
    clock.advance(1000)
    take(svc, "d")
    assert [job.canceled() for job in (kept, canceled, deleted, expired, settled)] == [False, True, True, True, False]


def test_info_is_the_job_as_it_is_now(svc: JobService) -> None:
    job = given(svc)
    assert job.info() == svc.get(job.id)
    svc.cancel(job.id)
    assert job.info().status is Status.CANCELED
    svc.delete(job.id)
    with pytest.raises(JobNotFound) as e:
        job.info()
    assert e.value.ids == [job.id]
