"""What an operator does by id: all or none, in one commit; and what the holder of a job notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobq import JobNotFound, JobService, LeaseLost, NewJob, Status
from tests.clocks import ManualClock
from tests.contract.scenes import enqueue_named, given, names, put, take, unchanged

Verb = Callable[[JobService, list[int], ManualClock], None]

VERBS: dict[str, tuple[Verb, str, Status]] = {
    "cancel": (lambda svc, ids, _: svc.cancel(ids), "ready", Status.CANCELED),
    "reset": (lambda svc, ids, _: svc.reset(ids), "dead", Status.READY),
    "reschedule": (lambda svc, ids, clock: svc.reschedule(ids, clock.after(9)), "ready", Status.DELAYED),
}

each_verb = pytest.mark.parametrize("name", VERBS)


@each_verb
def test_a_verb_takes_one_id(svc: JobService, clock: ManualClock, name: str) -> None:
    verb, state, status = VERBS[name]
    job_id = put(svc, state)
    verb(svc, job_id, clock)  # type: ignore[arg-type]  # one instead of several
    assert svc.status(job_id) is status


@each_verb
def test_a_verb_takes_many_ids(svc: JobService, clock: ManualClock, name: str) -> None:
    verb, state, status = VERBS[name]
    ids = [put(svc, state) for _ in range(3)]
    untouched = put(svc, state)
    before = svc.get(untouched)
    verb(svc, ids, clock)
    assert [svc.status(job_id) for job_id in ids] == [status] * 3
    assert svc.get(untouched) == before


@each_verb
def test_a_verb_takes_any_iterable_and_each_id_once(svc: JobService, clock: ManualClock, name: str) -> None:
    verb, state, status = VERBS[name]
    ids = [put(svc, state) for _ in range(2)]
    verb(svc, (job_id for job_id in ids * 2), clock)  # type: ignore[arg-type]  # any iterable
    assert [svc.status(job_id) for job_id in ids] == [status] * 2


@pytest.mark.parametrize("name", [*VERBS, "delete"])
def test_a_verb_takes_no_id_at_all(svc: JobService, clock: ManualClock, name: str) -> None:
    put(svc, "ready")
    verbs: dict[str, Verb] = {one: VERBS[one][0] for one in VERBS}
    verbs["delete"] = lambda svc, ids, _: svc.delete(ids)
    with unchanged(svc):
        verbs[name](svc, [], clock)


# -- cancel ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["done", "retry", "release", "reject", "cancel", "extend"])
def test_the_holder_of_a_canceled_job_gets_lease_lost_at_its_next_verb(svc: JobService, verb: str) -> None:
    job = given(svc)
    svc.cancel(job.id, "stop")
    with unchanged(svc), pytest.raises(LeaseLost) as e:
        getattr(job, verb)()
    assert e.value.jobs == [job]


def test_a_canceled_job_is_not_handed_out(svc: JobService, clock: ManualClock) -> None:
    ids = enqueue_named(svc, "a", "b", "c")
    svc.cancel(ids[1])
    svc.cancel(svc.enqueue("t", delay=5))
    clock.advance(5)
    assert names(svc.reserve("t", 9)) == ["a", "c"]


def test_a_canceled_reserved_job_never_expires(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=5)
    svc.cancel(job.id)
    clock.advance(9)
    assert svc.reserve("t") == []
    assert (svc.status(job.id), svc.stats("t").expired) == (Status.CANCELED, 0)


def test_one_note_is_given_to_all(svc: JobService) -> None:
    ids = enqueue_named(svc, "a", "b")
    svc.cancel(ids, "x" * 2000)
    assert [svc.get(job_id).note for job_id in ids] == ["x" * 2000] * 2


def test_canceled_on_request_is_no_dead_letter(svc: JobService) -> None:
    put(svc, "canceled")
    assert svc.dead_letters() == []
    assert svc.stats("canceled").canceled == 1


# -- reset -------------------------------------------------------------------------------------------------------------


def test_reset_keeps_payload_priority_and_options(svc: JobService) -> None:
    job = given(svc, priority=-4, payload=b"x", name="send", lease=9)
    job.reject("broken")
    svc.reset(job.id)
    again = take(svc)
    assert (again.id, again.priority, again.payload, again.name, again.options.lease) == (
        job.id,
        -4,
        b"x",
        "send",
        9,
    )


def test_dead_letters_are_replayed_by_reset(svc: JobService) -> None:
    enqueue_named(svc, "a", "b", "c")
    svc.reject(svc.reserve("t", 3))
    svc.reset(info.id for info in svc.dead_letters("t"))
    assert svc.dead_letters("t") == []
    assert names(svc.reserve("t", 9)) == ["a", "b", "c"]


def test_a_job_that_was_reset_waits_behind_those_that_waited_longer(svc: JobService, clock: ManualClock) -> None:
    given(svc, name="reset").done()
    enqueue_named(svc, "waiting")
    clock.advance(1)
    svc.reset([info.id for info in svc.find(Status.DONE)])
    assert names(svc.reserve("t", 2)) == ["waiting", "reset"]


def test_a_job_whose_retention_is_over_can_be_reset_until_it_is_deleted(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, keep_done=10)
    job.done()
    clock.advance(99)
    svc.reset(job.id)
    assert svc.prune() == 0
    take(svc).done()


# -- reschedule --------------------------------------------------------------------------------------------------------


def test_a_job_is_served_at_its_new_time(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=60)
    svc.reschedule(job_id, clock.after(10))
    clock.advance(9)
    assert svc.reserve("t") == []
    clock.advance(1)
    assert take(svc).id == job_id


def test_a_job_that_is_due_can_be_put_off(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=5)
    clock.advance(5)
    svc.reschedule(job_id, clock.after(5))
    assert svc.reserve("t") == []


def test_a_rescheduled_job_counts_in_no_total(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t")
    svc.reschedule(job_id, clock.after(5))
    stats = svc.stats("t")
    assert (stats.enqueued, stats.retried, stats.canceled) == (1, 0, 0)
    assert stats.now == {status: int(status is Status.DELAYED) for status in Status}


# -- delete ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["done", "canceled", "dead"])
def test_a_deleted_job_is_gone_with_all_it_had(svc: JobService, state: str) -> None:
    job_id = put(svc, state)
    svc.delete(job_id)
    for look in (svc.get, svc.status, svc.payload):
        with pytest.raises(JobNotFound, match=f"there is no job {job_id}") as e:
            look(job_id)
        assert e.value.ids == [job_id]
    assert svc.find(Status.DONE) == svc.find(Status.CANCELED) == svc.dead_letters() == []
    assert svc.topics() == []


def test_many_are_deleted_in_one_call(svc: JobService) -> None:
    ids = [put(svc, "done") for _ in range(5)]
    kept = put(svc, "done")
    svc.delete([*ids, *ids])
    assert [info.id for info in svc.find(Status.DONE)] == [kept]
    assert svc.stats("done").now[Status.DONE] == 1
    assert svc.stats("done").done == 6


def test_a_deleted_id_is_not_given_again(svc: JobService) -> None:
    ids = svc.enqueue_many([NewJob("t")] * 3)
    svc.cancel(ids)
    svc.delete(ids)
    assert svc.enqueue("t") > max(ids)


# -- clear -------------------------------------------------------------------------------------------------------------


def test_clear_cancels_what_waits_and_nothing_else(svc: JobService) -> None:
    reserved = given(svc)
    done = given(svc)
    done.done()
    waiting = svc.enqueue_many([NewJob("t"), NewJob("t", delay=60), NewJob("t")])
    other = svc.enqueue("u")
    assert svc.clear("t") == 3
    assert [svc.status(job_id) for job_id in waiting] == [Status.CANCELED] * 3
    assert [svc.status(job_id) for job_id in (reserved.id, done.id, other)] == [
        Status.RESERVED,
        Status.DONE,
        Status.READY,
    ]
    assert svc.stats("t").canceled == 3
    assert svc.dead_letters() == []


def test_clear_of_an_empty_topic_clears_nothing(svc: JobService) -> None:
    put(svc, "done")
    with unchanged(svc):
        assert svc.clear("done") == svc.clear("unused") == 0


def test_clear_goes_on_over_more_than_one_transaction(svc: JobService) -> None:
    svc.enqueue_many([NewJob("t", delay=None if number % 2 else 60) for number in range(2_345)])
    assert svc.clear("t") == 2_345
    assert svc.stats("t").now == {status: 2_345 if status is Status.CANCELED else 0 for status in Status}


def test_clear_frees_the_unique_keys(svc: JobService) -> None:
    svc.enqueue("t", unique_key="k")
    svc.clear("t")
    assert svc.lookup("t", "k") is None
