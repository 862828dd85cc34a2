"""Each verb from each status that does not allow it: what is said, and that nothing is changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobq import InvalidStatus, JobNotFound, JobService, Status
from tests.clocks import ManualClock
from tests.contract.scenes import STATES, put, unchanged

Verb = Callable[[JobService, list[int], ManualClock], None]

VERBS: dict[str, Verb] = {
    "cancel": lambda svc, ids, _: svc.cancel(ids),
    "reschedule": lambda svc, ids, clock: svc.reschedule(ids, clock.after(9)),
    "reset": lambda svc, ids, _: svc.reset(ids),
    "delete": lambda svc, ids, _: svc.delete(ids),
}
ALLOWED = {
    "cancel": ["ready", "delayed", "reserved"],
    "reschedule": ["ready", "delayed"],
    "reset": ["delayed", "done", "canceled", "dead"],
    "delete": ["done", "canceled", "dead"],
}
NAMED = {
    "cancel": "ready or delayed or reserved",
    "reschedule": "ready or delayed",
    "reset": "done or canceled or delayed",
    "delete": "done or canceled",
}
REFUSED = [(verb, state) for verb in VERBS for state in STATES if state not in ALLOWED[verb]]


def status_of(state: str) -> Status:
    return Status.CANCELED if state == "dead" else Status(state)


each_refusal = pytest.mark.parametrize(("verb", "state"), REFUSED)


@pytest.mark.parametrize(("verb", "state"), [(verb, state) for verb in VERBS for state in ALLOWED[verb]])
def test_the_verb_is_allowed_from_these(svc: JobService, clock: ManualClock, verb: str, state: str) -> None:
    VERBS[verb](svc, [put(svc, state)], clock)


@each_refusal
def test_the_verb_is_refused_and_changes_nothing(svc: JobService, clock: ManualClock, verb: str, state: str) -> None:
    job_id = put(svc, state)
    with unchanged(svc), pytest.raises(InvalidStatus) as e:
        VERBS[verb](svc, [job_id], clock)
    assert str(e.value) == f"job {job_id} is {status_of(state)}: {verb} needs it {NAMED[verb]}"
    assert (e.value.status, e.value.ids) == (status_of(state), [job_id])


@each_refusal
def test_one_job_refused_and_none_is_changed(svc: JobService, clock: ManualClock, verb: str, state: str) -> None:
    good = [put(svc, ALLOWED[verb][0]) for _ in range(2)]
    refused = put(svc, state)
    with unchanged(svc), pytest.raises(InvalidStatus) as e:
        VERBS[verb](svc, [good[0], refused, good[1]], clock)
    assert (e.value.status, e.value.ids) == (status_of(state), [refused])


@pytest.mark.parametrize("verb", VERBS)
def test_all_jobs_refused_are_named(svc: JobService, clock: ManualClock, verb: str) -> None:
    ids = {state: put(svc, state) for state in STATES}
    refused = [state for state in STATES if state not in ALLOWED[verb]]
    with unchanged(svc), pytest.raises(InvalidStatus) as e:
        VERBS[verb](svc, list(ids.values()), clock)
    assert e.value.ids == [ids[state] for state in refused]
    assert e.value.status == status_of(refused[0])
    first = f"job {ids[refused[0]]} is {status_of(refused[0])}: {verb} needs it {NAMED[verb]}"
    assert str(e.value) == f"{first} ({len(refused)} such jobs in all; none was changed)"


@pytest.mark.parametrize("verb", VERBS)
def test_unknown_ids_are_named_and_none_is_changed(svc: JobService, clock: ManualClock, verb: str) -> None:
    good = put(svc, ALLOWED[verb][0])
    with unchanged(svc), pytest.raises(JobNotFound, match="there is no job 777, 999: ") as e:
        VERBS[verb](svc, [777, good, 999], clock)
    assert e.value.ids == [777, 999]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("job_id", [0, -1, 2**31, 2**63, 2**64, 10**30, -(2**63) - 1])
def test_an_id_that_cannot_be_is_unknown(svc: JobService, clock: ManualClock, verb: str, job_id: int) -> None:
    put(svc, "ready")
    with unchanged(svc), pytest.raises(JobNotFound) as e:
        VERBS[verb](svc, [job_id], clock)
    assert e.value.ids == [job_id]


@pytest.mark.parametrize("verb", VERBS)
def test_a_deleted_job_is_unknown(svc: JobService, clock: ManualClock, verb: str) -> None:
    job_id = put(svc, "done")
    svc.delete(job_id)
    with unchanged(svc), pytest.raises(JobNotFound):
        VERBS[verb](svc, [job_id], clock)


@pytest.mark.parametrize("verb", VERBS)
def test_unknown_comes_before_refused(svc: JobService, clock: ManualClock, verb: str) -> None:
    refused = put(svc, next(state for state in STATES if state not in ALLOWED[verb]))
    with unchanged(svc), pytest.raises(JobNotFound) as e:
        VERBS[verb](svc, [refused, 999], clock)
    assert e.value.ids == [999]


def test_a_job_that_is_due_but_not_taken_may_be_reset_as_delayed(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=5)
    clock.advance(9)
    svc.reset(job_id)
    assert (svc.status(job_id), svc.get(job_id).run_at) == (Status.READY, clock.now())
    with unchanged(svc), pytest.raises(InvalidStatus):
        svc.reset(job_id)
