"""What always holds of the state machine, whatever the records and the times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import assume, given
from hypothesis import strategies as st

from jobq import lifecycle
from jobq.errors import InvalidStatus
from jobq.model.records import Now, Policy, Record
from jobq.model.status import CancelReason, Status
from jobq.model.times import FOREVER, SECOND
from tests.records import CANCELED, DELAYED, DONE, NOW, READY, RESERVED, job, policy, request

nanos = st.integers(0, 3) | st.integers(0, 2**61)
"""Instants, many of them equal or near."""
retentions = st.none() | st.integers(0, 2**40)
policies = st.builds(
    Policy,
    lease=st.integers(1, 2**40),
    max_retries=st.none() | st.integers(0, 2**31 - 1),
    min_backoff=st.integers(0, 2**35),
    max_backoff=st.integers(2**35, 2**61),
    jitter=st.floats(0, 1),
    keep_done=retentions,
    keep_canceled=retentions,
    keep_dead=retentions,
    log_status_change=st.booleans(),
)
nows = st.builds(Now, st.integers(1, 2**61), nanos, st.integers(0, 3))


@st.composite
def records(draw: st.DrawFn, statuses: Sequence[Status] = tuple(Status)) -> Record:
    status = draw(st.sampled_from(statuses))
    return Record(
        id=draw(st.integers(1, 2**62)), topic=draw(st.sampled_from("ab")),
        priority=draw(st.integers(-1, 1) | st.integers(-(2**15), 2**15 - 1)),
        name="", unique_key=draw(st.sampled_from(["", "k"])), policy=draw(policies), created_at=draw(nanos),
        reset_count=draw(st.integers(0, 9)), status=status,
        cancel_reason=draw(st.sampled_from(CancelReason)) if status is CANCELED else None,
        run_at=draw(nanos), reserved_at=draw(nanos), generation=draw(st.integers(0, 3)), deadline=draw(nanos),
        finished_at=draw(st.integers(1, 2**61)) if status in (DONE, CANCELED) else 0,
        attempt=draw(st.integers(0, 2**40)), retry_count=draw(st.integers(0, 2**40)),
    )  # fmt: skip


TRANSITIONS: list[Callable[[Record, Now], Record]] = [
    lambda j, now: lifecycle.replace(j, request(topic=j.topic, unique_key=j.unique_key), now),
    lambda j, now: lifecycle.cancel(j, now, "n"),
    lambda j, now: lifecycle.reschedule(j, now, now.wall + 1),
    lambda j, now: lifecycle.reschedule(j, now, 0),
    lifecycle.reset,
    lambda j, now: lifecycle.due(j),
    lifecycle.expire,
    lifecycle.reserve,
    lambda j, now: lifecycle.done(j, now, b"1"),
    lifecycle.retry,
    lambda j, now: lifecycle.release(j, now, 5),
    lifecycle.release,
    lambda j, now: lifecycle.reject(j, now, CancelReason.REJECTED),
    lambda j, now: lifecycle.extend(j, now, 7),
]
transitions = st.sampled_from(TRANSITIONS)


@given(records(), st.lists(st.tuples(transitions, nows), max_size=12))
def test_every_job_reached_has_one_place_and_keeps_its_identity(
    start: Record, steps: list[tuple[Callable[[Record, Now], Record], Now]]
) -> None:
    current = start
    for transition, now in steps:
        try:
            after = transition(current, now)
        except InvalidStatus:
            continue
        assert (after.id, after.topic, after.unique_key, after.created_at) == (
            start.id, start.topic, start.unique_key, start.created_at,
        )  # fmt: skip
        assert after.attempt == current.attempt + (after.status is RESERVED and current.status is READY)
        assert after.retry_count in (0, current.retry_count, current.retry_count + 1)
        assert bool(after.finished_at) == (after.status in (DONE, CANCELED))
        assert (after.cancel_reason is not None) == (after.status is CANCELED)
        place = lifecycle.place_of(after)
        assert place == lifecycle.place_of(after)
        assert (place.topic, place.id) == (after.topic, after.id)
        assert 0 <= place.minor <= FOREVER
        current = after


RANKS: dict[Status, Callable[[Record], tuple[int, ...]]] = {
    READY: lambda job: (job.priority, job.run_at, job.id),
    DELAYED: lambda job: (job.run_at, job.id),
    RESERVED: lambda job: (job.generation, job.deadline, job.id),
    DONE: lambda job: (lifecycle.place_of(job).minor, job.id),
    CANCELED: lambda job: (lifecycle.place_of(job).minor, job.id),
}


@given(st.sampled_from(Status).flatmap(lambda status: st.tuples(records([status]), records([status]))))
def test_ranks_order_as_the_table_says(pair: tuple[Record, Record]) -> None:
    one, two = pair[0]._replace(topic="t"), pair[1]._replace(topic="t")
    first, second = lifecycle.place_of(one), lifecycle.place_of(two)
    assume(one.id != two.id and first.ordering is second.ordering)
    rank = RANKS[one.status]
    assert (first < second) == (rank(one) < rank(two))


@given(records(), nows)
def test_a_place_is_due_exactly_when_its_time_has_come(record: Record, now: Now) -> None:
    place = lifecycle.place_of(record)
    is_due = (place.major, place.minor) <= lifecycle.due_rank(place.ordering, now)
    if record.status is DELAYED:
        assert is_due == (record.run_at <= now.wall)
    elif record.status is RESERVED:
        assert is_due == ((record.generation, record.deadline) <= (now.generation, now.steady))
    elif record.finished_at:
        assert is_due == (lifecycle.place_of(record).minor <= now.wall)


@given(policies, st.integers(1, 2**63), st.integers(1, 2**63))
def test_backoff_follows_its_formula(rule: Policy, count: int, job_id: int) -> None:
    wait = lifecycle.backoff(rule._replace(jitter=0.0), count, job_id)
    doubled = rule.min_backoff * 2 ** (count - 1) if count < 100 else rule.max_backoff if rule.min_backoff else 0
    assert wait == min(rule.max_backoff, doubled)
    assert wait <= lifecycle.backoff(rule._replace(jitter=0.0), count + 1, job_id), "without jitter it only grows"
    spread = lifecycle.backoff(rule, count, job_id)
    assert spread == lifecycle.backoff(rule, count, job_id)
    assert wait * (1 - rule.jitter) - 1 - wait / 2**50 <= spread <= wait * (1 + rule.jitter) + wait / 2**50


def test_backoff_past_its_maximum_stays_there() -> None:
    """The Go library fell back to the minimum when the doubling overflowed."""
    rule = policy(min_backoff=1, max_backoff=3600)
    waits = [lifecycle.backoff(rule, count, 1) // SECOND for count in range(1, 15)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
    assert {lifecycle.backoff(rule, count, 1) for count in (63, 64, 65, 66, 1_000, 10**30)} == {3600 * SECOND}
    assert lifecycle.backoff(policy(min_backoff=0), 10**30, 1) == 0


def test_jitter_spreads_over_jobs_and_retries() -> None:
    rule = policy(min_backoff=100, max_backoff=100, jitter=0.5)
    waits = [lifecycle.backoff(rule, count, job_id) / SECOND for count in range(1, 11) for job_id in range(100)]
    assert len(set(waits)) == 1_000
    assert 50 <= min(waits) < 55
    assert 145 < max(waits) <= 150
    assert 97 < sum(waits) / 1_000 < 103


@given(st.integers(0, 30), st.lists(st.booleans(), min_size=31, max_size=31))
def test_retries_are_bounded(limit: int, expires: list[bool]) -> None:
    """A job that fails or kills its worker each time is handed out max_retries + 1 times and no more."""
    current = job(READY, policy=policy(max_retries=limit))
    for attempts, is_expiry in enumerate(expires, 1):
        held = lifecycle.reserve(current, NOW)
        current = lifecycle.expire(held, NOW) if is_expiry else lifecycle.retry(held, NOW)
        if current.status is CANCELED:
            assert (attempts, current.cancel_reason) == (limit + 1, CancelReason.EXHAUSTED)
            return
        current = lifecycle.due(current) if current.status is DELAYED else current
    raise AssertionError("it never ended")


@given(st.lists(transitions, max_size=60))
def test_two_reservations_never_share_a_token(steps: list[Callable[[Record, Now], Record]]) -> None:
    current = job(READY)
    tokens: list[int] = []
    for transition in steps:
        before = current
        try:
            current = transition(current, NOW)
        except InvalidStatus:
            continue
        assert current.attempt >= before.attempt
        if before.status is READY and current.status is RESERVED:
            tokens.append(current.attempt)
            assert not any(lifecycle.is_held(current, token) for token in tokens[:-1])
    assert tokens == sorted(set(tokens))
