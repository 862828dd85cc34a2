"""The state machine as pure functions: every row of the design's table and every refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from jobq import lifecycle
from jobq.errors import InvalidStatus
from jobq.model.records import Now, Place, Record, Tally, Total
from jobq.model.status import CancelReason, Ordering, Status
from jobq.model.times import FOREVER, SECOND
from tests.records import CANCELED, DELAYED, DONE, LATER, NOW, POLICY, READY, RESERVED, dead, job, policy, request

ALL = list(Status)

# -- the rows of the table -------------------------------------------------------------------------------------------


def test_enqueue_makes_a_ready_job() -> None:
    made = lifecycle.enqueue(3, request(topic="mail", priority=-5, name="send", unique_key="k", headers=b"{}"), NOW)
    assert made == Record(
        id=3, topic="mail", priority=-5, name="send", unique_key="k", policy=POLICY, created_at=NOW.wall, reset_count=0,
        status=READY, cancel_reason=None, run_at=NOW.wall, reserved_at=0, generation=0, deadline=0, finished_at=0,
        attempt=0, retry_count=0, note="", last_error="", result=b"", headers=b"{}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("when", "status", "run_at"),
    [
        ({"delay": 5}, DELAYED, NOW.wall + 5),
        ({"run_at": NOW.wall + 9}, DELAYED, NOW.wall + 9),
        ({"run_at": NOW.wall}, READY, NOW.wall),
        ({"run_at": NOW.wall - 9}, READY, NOW.wall),
        ({"run_at": 1}, READY, NOW.wall),
    ],
)
def test_enqueue_for_later_is_delayed_and_for_earlier_is_now(when: Any, status: Status, run_at: int) -> None:
    made = lifecycle.enqueue(3, request(**when), NOW)
    assert (made.status, made.run_at) == (status, run_at)


def test_due_makes_a_delayed_job_ready_and_keeps_its_time() -> None:
    assert lifecycle.due(job(DELAYED)) == job(DELAYED)._replace(status=READY)


def test_reserve_takes_a_new_token_and_sets_the_deadline() -> None:
    held = lifecycle.reserve(job(READY, attempt=4), LATER)
    assert held == job(READY)._replace(
        status=RESERVED,
        attempt=5,
        reserved_at=LATER.wall,
        generation=1,
        deadline=LATER.steady + POLICY.lease,
    )
    assert lifecycle.reserve(job(READY), LATER, 3).deadline == LATER.steady + 3


def test_reserve_and_done_change_only_what_they_name() -> None:
    """They build the record by position: a field moved by accident would show here."""
    full = Record(*range(len(Record._fields)))._replace(status=READY, policy=POLICY)
    held = lifecycle.reserve(full, LATER)
    same = {"status", "cancel_reason", "reserved_at", "generation", "deadline", "finished_at", "attempt"}
    assert all(getattr(held, name) == getattr(full, name) for name in Record._fields if name not in same)
    ended = lifecycle.done(held, LATER, b"x")
    same = {"status", "cancel_reason", "deadline", "finished_at", "result"}
    assert all(getattr(ended, name) == getattr(held, name) for name in Record._fields if name not in same)


def test_done_keeps_the_result() -> None:
    ended = lifecycle.done(job(RESERVED, last_error="once"), LATER, b"[1]")
    assert (ended.status, ended.finished_at, ended.deadline, ended.result) == (DONE, LATER.wall, 0, b"[1]")
    assert (ended.last_error, ended.cancel_reason) == ("once", None)
    assert lifecycle.done(job(RESERVED), LATER).result == b""


def test_retry_waits_the_backoff_and_counts() -> None:
    again = lifecycle.retry(job(RESERVED, retry_count=2), LATER, error="boom")
    assert (again.status, again.retry_count, again.last_error) == (DELAYED, 3, "boom")
    assert again.run_at == LATER.wall + 120 * SECOND
    assert (again.deadline, again.finished_at) == (0, 0)


@pytest.mark.parametrize(
    ("run_at", "status", "expected"),
    [(0, READY, 0), (-5, READY, 0), (5, DELAYED, 5)],
)
def test_retry_at_a_time_given(run_at: int, status: Status, expected: int) -> None:
    again = lifecycle.retry(job(RESERVED), LATER, LATER.wall + run_at)
    assert (again.status, again.run_at) == (status, LATER.wall + expected)


def test_retry_without_an_error_keeps_the_last_one() -> None:
    assert lifecycle.retry(job(RESERVED, last_error="first"), LATER).last_error == "first"


@pytest.mark.parametrize(("limit", "retries", "is_dead"), [(0, 0, True), (2, 1, False), (2, 2, True), (2, 9, True)])
def test_retry_at_the_limit_is_dead(limit: int, retries: int, is_dead: bool) -> None:
    held = job(RESERVED, retry_count=retries, policy=policy(max_retries=limit), last_error="old")
    after = lifecycle.retry(held, LATER, error="new")
    if is_dead:
        assert (after.status, after.cancel_reason, after.last_error) == (CANCELED, CancelReason.EXHAUSTED, "new")
        assert (after.finished_at, after.deadline, after.retry_count) == (LATER.wall, 0, retries)
        assert lifecycle.retry(held, LATER).last_error == "old"
    else:
        assert (after.status, after.retry_count) == (DELAYED, retries + 1)


def test_retry_without_a_limit_never_ends() -> None:
    held = job(RESERVED, retry_count=10**9, policy=policy(max_retries=None))
    assert lifecycle.retry(held, LATER).retry_count == 10**9 + 1
    assert lifecycle.expire(held, LATER).retry_count == 10**9 + 1


@pytest.mark.parametrize(("delay", "status"), [(0, READY), (1, DELAYED)])
def test_release_does_not_count(delay: int, status: Status) -> None:
    back = lifecycle.release(job(RESERVED, retry_count=50), LATER, delay)
    assert (back.status, back.run_at, back.retry_count) == (status, LATER.wall + delay, 50)
    assert back.attempt == 1


@pytest.mark.parametrize("reason", [CancelReason.REJECTED, CancelReason.UNHANDLED])
def test_reject_is_dead_at_once(reason: CancelReason) -> None:
    after = lifecycle.reject(job(RESERVED, last_error="old"), LATER, reason, "new")
    assert (after.status, after.cancel_reason, after.last_error) == (CANCELED, reason, "new")
    assert (after.finished_at, after.deadline, after.retry_count) == (LATER.wall, 0, 0)
    assert lifecycle.reject(job(RESERVED, last_error="old"), LATER, reason).last_error == "old"


def test_extend_may_leave_a_later_deadline_of_this_generation_as_it_is() -> None:
    held = job(RESERVED)._replace(generation=NOW.generation, deadline=NOW.steady + 50)
    assert lifecycle.extend(held, NOW, 7, at_least=True).deadline == NOW.steady + 50
    assert lifecycle.extend(held, NOW, 70, at_least=True).deadline == NOW.steady + 70
    assert lifecycle.extend(held, NOW, 7).deadline == NOW.steady + 7
    assert lifecycle.extend(held, NOW._replace(generation=9), 7, at_least=True).deadline == NOW.steady + 7


def test_extend_counts_from_now_in_this_generation() -> None:
    held = lifecycle.extend(job(RESERVED), LATER._replace(generation=2), 5)
    assert held == job(RESERVED)._replace(generation=2, deadline=LATER.steady + 5)


def test_expire_is_ready_at_once_and_counts_as_a_retry() -> None:
    after = lifecycle.expire(job(RESERVED, retry_count=3, last_error="old"), LATER)
    assert (after.status, after.run_at, after.retry_count, after.deadline) == (READY, LATER.wall, 4, 0)
    assert after.last_error == "old"


def test_expire_at_the_limit_is_dead() -> None:
    after = lifecycle.expire(job(RESERVED, policy=policy(max_retries=0), last_error="old"), LATER)
    assert (after.status, after.cancel_reason, after.last_error) == (CANCELED, CancelReason.EXHAUSTED, "old")


@pytest.mark.parametrize("status", [READY, DELAYED, RESERVED])
def test_cancel_ends_an_unfinished_job(status: Status) -> None:
    after = lifecycle.cancel(job(status), LATER, "enough")
    assert (after.status, after.cancel_reason, after.note) == (CANCELED, CancelReason.REQUESTED, "enough")
    assert (after.finished_at, after.deadline) == (LATER.wall, 0)


@pytest.mark.parametrize("status", [READY, DELAYED])
@pytest.mark.parametrize(("run_at", "becomes", "expected"), [(9, DELAYED, 9), (0, READY, 0), (-9, READY, 0)])
def test_reschedule_gives_another_time(status: Status, run_at: int, becomes: Status, expected: int) -> None:
    after = lifecycle.reschedule(job(status), LATER, LATER.wall + run_at)
    assert (after.status, after.run_at) == (becomes, LATER.wall + expected)


@pytest.mark.parametrize("old", [job(DONE), job(CANCELED), job(DELAYED), dead(retry_count=9)])
def test_reset_begins_again(old: Record) -> None:
    after = lifecycle.reset(old._replace(attempt=3, reset_count=1), LATER)
    assert (after.status, after.run_at, after.finished_at, after.cancel_reason) == (READY, LATER.wall, 0, None)
    assert (after.retry_count, after.reset_count, after.note, after.result) == (0, 2, "", b"")
    assert (after.attempt, after.last_error) == (3, old.last_error)


@pytest.mark.parametrize("status", [READY, DELAYED])
@pytest.mark.parametrize(("delay", "becomes"), [(0, READY), (9, DELAYED)])
def test_replace_keeps_id_and_creation(status: Status, delay: int, becomes: Status) -> None:
    new = request(priority=3, name="n", delay=delay, policy=policy(lease=1), unique_key="k")
    old = job(status, retry_count=5, attempt=6, unique_key="k")
    assert lifecycle.replace(old, new, LATER) == old._replace(
        priority=3, name="n", policy=new.policy, status=becomes, run_at=LATER.wall + delay, retry_count=0
    )


@pytest.mark.parametrize("status", [DONE, CANCELED])
def test_finished_jobs_may_be_deleted(status: Status) -> None:
    lifecycle.check_deletable(job(status))


EXHAUSTED = job(RESERVED, retry_count=2, policy=policy(max_retries=2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (None, job(READY), "new -> ready"),
        (None, job(DELAYED), "new -> delayed"),
        (job(DELAYED), lifecycle.due(job(DELAYED)), "delayed -> ready"),
        (job(READY), lifecycle.reserve(job(READY, attempt=4), NOW), "ready -> reserved (attempt 5)"),
        (job(RESERVED), lifecycle.done(job(RESERVED), NOW), "reserved -> done"),
        (job(RESERVED), lifecycle.retry(job(RESERVED), NOW), "reserved -> delayed (retry 1)"),
        (EXHAUSTED, lifecycle.retry(EXHAUSTED, NOW), "reserved -> canceled (exhausted)"),
        (job(RESERVED), lifecycle.release(job(RESERVED, retry_count=0), NOW), "reserved -> ready"),
        (job(RESERVED), lifecycle.expire(job(RESERVED), NOW), "reserved -> ready (retry 1)"),
        (EXHAUSTED, lifecycle.expire(EXHAUSTED, NOW), "reserved -> canceled (exhausted)"),
        (job(RESERVED), dead(CancelReason.UNHANDLED), "reserved -> canceled (unhandled)"),
        (job(READY), lifecycle.cancel(job(READY), NOW), "ready -> canceled (requested)"),
        (job(READY), lifecycle.reschedule(job(READY), NOW, NOW.wall + 1), "ready -> delayed"),
        (job(DONE), lifecycle.reset(job(DONE), NOW), "done -> ready (reset 1)"),
        (dead(), lifecycle.reset(dead(), NOW), "canceled -> ready (reset 1)"),
        (job(READY), lifecycle.replace(job(READY), request(delay=5), NOW), "ready -> delayed"),
        (job(READY), lifecycle.replace(job(READY), request(), NOW), ""),
        (job(DELAYED), lifecycle.reschedule(job(DELAYED), NOW, NOW.wall + 1), ""),
        (job(RESERVED), lifecycle.extend(job(RESERVED), NOW, 5), ""),
    ],
)
def test_what_the_log_says_of_a_transition(old: Record | None, new: Record, message: str) -> None:
    assert lifecycle.status_change(old, new) == message


VERBS: dict[str, tuple[Callable[[Record], object], set[Status]]] = {
    "replace": (lambda j: lifecycle.replace(j, request(), NOW), {READY, DELAYED}),
    "cancel": (lambda j: lifecycle.cancel(j, NOW), {READY, DELAYED, RESERVED}),
    "reschedule": (lambda j: lifecycle.reschedule(j, NOW, NOW.wall), {READY, DELAYED}),
    "reset": (lambda j: lifecycle.reset(j, NOW), {DONE, CANCELED, DELAYED}),
    "delete": (lifecycle.check_deletable, {DONE, CANCELED}),
    "make due": (lifecycle.due, {DELAYED}),
    "expire": (lambda j: lifecycle.expire(j, NOW), {RESERVED}),
    "reserve": (lambda j: lifecycle.reserve(j, NOW), {READY}),
    "done": (lambda j: lifecycle.done(j, NOW), {RESERVED}),
    "retry": (lambda j: lifecycle.retry(j, NOW), {RESERVED}),
    "release": (lambda j: lifecycle.release(j, NOW), {RESERVED}),
    "reject": (lambda j: lifecycle.reject(j, NOW, CancelReason.REJECTED), {RESERVED}),
    "extend": (lambda j: lifecycle.extend(j, NOW, 1), {RESERVED}),
}


@pytest.mark.parametrize("status", ALL)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_refused_from_every_other_status(verb: str, status: Status) -> None:
    apply, allowed = VERBS[verb]
    if status in allowed:
        apply(job(status))
        return
    with pytest.raises(InvalidStatus) as refused:
        apply(job(status))
    names = " or ".join(one.value for one in ALL if one in allowed)
    assert re.fullmatch(rf"job 7 is {status.value}: {verb} needs it [a-z ]+", str(refused.value))
    assert set(names.split(" or ")) == set(str(refused.value).split("needs it ")[1].split(" or "))
    assert (refused.value.status, refused.value.ids) == (status, [7])


# -- places, retention, keys, tokens ---------------------------------------------------------------------------------


def test_is_held_only_by_the_attempt_that_reserved_it() -> None:
    held = job(RESERVED, attempt=2)
    assert lifecycle.is_held(held, 2)
    assert not lifecycle.is_held(held, 1)
    assert not lifecycle.is_held(job(READY, attempt=2), 2)
    assert not lifecycle.is_held(None, 2)


def test_the_key_is_held_while_the_job_is_unfinished() -> None:
    for status in ALL:
        held = lifecycle.held_key(job(status, unique_key="k"))
        assert held == (("t", "k") if status in (READY, DELAYED, RESERVED) else None)
    assert lifecycle.held_key(job()) is None


@pytest.mark.parametrize(
    ("record", "option"),
    [
        (job(DONE), "keep_done"),
        (job(CANCELED), "keep_canceled"),
        (dead(CancelReason.REJECTED), "keep_dead"),
        (dead(CancelReason.UNHANDLED), "keep_dead"),
        (dead(CancelReason.EXHAUSTED), "keep_dead"),
    ],
)
def test_each_end_has_its_own_retention(record: Record, option: str) -> None:
    others = dict.fromkeys({"keep_done", "keep_canceled", "keep_dead"} - {option}, 77)
    for keep, kept, expires in ((0, False, NOW.wall), (5, True, NOW.wall + 5 * SECOND), (None, True, FOREVER)):
        one = record._replace(policy=policy(**{option: keep}, **others))
        assert (lifecycle.is_kept(one), lifecycle.place_of(one).minor) == (kept, expires)
        assert lifecycle.place_of(one).minor == expires


def test_an_unfinished_job_is_kept_whatever_its_retention() -> None:
    for status in (READY, DELAYED, RESERVED):
        assert lifecycle.is_kept(job(status, policy=policy(keep_done=0, keep_canceled=0, keep_dead=0)))


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (job(READY, priority=-3), (Ordering.READY, -3, NOW.wall)),
        (job(DELAYED), (Ordering.DELAYED, 0, NOW.wall + 9 * SECOND)),
        (job(RESERVED), (Ordering.RESERVED, 1, NOW.steady + 300 * SECOND)),
        (job(DONE), (Ordering.DONE, 0, NOW.wall + 3600 * SECOND)),
        (job(CANCELED), (Ordering.CANCELED, 0, NOW.wall + 86_400 * SECOND)),
        (dead(), (Ordering.DEAD, 0, FOREVER)),
    ],
)
def test_every_status_is_an_ordering(record: Record, place: tuple[Ordering, int, int]) -> None:
    assert lifecycle.place_of(record) == Place("t", *place, record.id)


@pytest.mark.parametrize("ordering", list(Ordering))
def test_what_is_due(ordering: Ordering) -> None:
    expected = (1, NOW.steady) if ordering is Ordering.RESERVED else (0, NOW.wall)
    assert lifecycle.due_rank(ordering, NOW) == expected


def test_when_a_job_can_next_be_reserved() -> None:
    def at(record: Record, now: Now = NOW) -> int | None:
        return lifecycle.available_at(lifecycle.place_of(record), now)

    assert at(job(READY, run_at=NOW.wall + 5)) == NOW.steady
    assert at(job(DELAYED)) == NOW.steady + 9 * SECOND
    assert at(job(DELAYED, run_at=NOW.wall - 5)) == NOW.steady
    assert at(job(RESERVED)) == NOW.steady + 300 * SECOND
    assert at(job(RESERVED), NOW._replace(generation=2, steady=5)) == 5, "a lease of an older generation is over"
    assert [at(one) for one in (job(DONE), job(CANCELED), dead())] == [None] * 3


# -- the counters ------------------------------------------------------------------------------------------------------


def counted(tally: Tally) -> dict[str, int]:
    return {total.name: count for total, count in zip(Total, tally.totals, strict=True) if count}


def test_a_new_job_is_counted() -> None:
    tally = Tally()
    lifecycle.count_enqueued(tally, NOW)
    assert (counted(tally), tally.enqueued_at, tally.reserved_at) == ({"ENQUEUED": 1}, NOW.wall, 0)


@pytest.mark.parametrize(("run_at", "waited"), [(NOW.wall - 7, 7), (NOW.wall, 0), (NOW.wall + 7, 0)])
def test_a_reserved_job_is_counted_with_its_wait_however_the_clock_was_set(run_at: int, waited: int) -> None:
    tally = Tally()
    lifecycle.count_reserved(tally, job(READY, run_at=run_at), NOW)
    assert counted(tally) == {"RESERVED": 1} | ({"WAIT": waited} if waited else {})
    assert (tally.enqueued_at, tally.reserved_at) == (0, NOW.wall)


@pytest.mark.parametrize(
    ("after", "is_retry", "totals"),
    [
        (job(DONE, finished_at=NOW.wall + 9), False, {"DONE": 1, "RUN": 9}),
        (job(DONE, finished_at=NOW.wall - 9), False, {"DONE": 1}),
        (job(CANCELED), False, {"CANCELED": 1}),
        (dead(), True, {"DEAD": 1}),
        (job(READY), True, {"RETRIED": 1}),
        (job(READY), False, {}),
    ],
)
def test_what_becomes_of_a_job_is_counted_once(after: Record, is_retry: bool, totals: dict[str, int]) -> None:
    tally = Tally()
    lifecycle.count_settled(tally, job(RESERVED, reserved_at=NOW.wall), after, is_retry)
    assert counted(tally) == totals
