"""move_to, with something else between any two of its transactions: killed and run again, other verbs, other moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from jobq import ConfigError, JobqError, JobService, NewJob, Status
from jobq.repos import MemoryStorage
from jobq.testing import ManualClock
from jobq.testing.invariants import check_invariants
from jobq.verbs import leaving
from tests.contract.moves import PLAIN_PAIRS, Pair, Steps, World, fill, is_bare, pairs, world
from tests.contract.scenes import every, given

MOST = 400
"""Steps after which a move of these few jobs has failed to end."""


class Killed(BaseException):
    """What a move is ended by."""


def killed() -> None:
    raise Killed


@pytest.fixture(params=PLAIN_PAIRS)
def new(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Pair]]:
    """Opens a new pair of storages, between which jobs move in batches of three."""
    monkeypatch.setattr(leaving, "JOBS", 3)
    with pairs(request.param, tmp_path, clock) as opened:
        yield opened


def filled(new: Callable[[], Pair]) -> tuple[Pair, World]:
    """A pair with a queue in its source, at one time always the same one."""
    pair = new()
    source, _ = pair.services()
    fill(source, ManualClock(), jobs=3)
    return pair, world(source)


def kill_at(pair: Pair, k: int) -> bool:
    """Run a move that is killed at its k-th step; says whether it was, and had not ended before."""
    steps = Steps(pair, k, killed)
    with suppress(Killed):
        steps.source.move_to(steps.target)
    return steps.has_acted


def ids(svc: JobService) -> set[int]:
    """The ids of all jobs but marks."""
    return {info.id for status in Status for info in every(svc, status) if info.topic != "jobq.moves"}


# -- killed ------------------------------------------------------------------------------------------------------------


def test_killed_at_any_step_and_run_again_all_is_there_once(new: Callable[[], Pair]) -> None:
    for k in count(1):
        pair, before = filled(new)
        was_killed = kill_at(pair, k)
        source, target = pair.services()
        assert ids(source) | ids(target) == set(before.seen.jobs), f"killed at step {k}"
        pair.check()
        source.move_to(target)
        assert world(target) == before, f"killed at step {k}"
        assert is_bare(source)
        pair.check()
        if not was_killed:
            break
    assert 30 < k < MOST


def test_killed_at_any_two_steps_and_run_again_all_is_there_once(new: Callable[[], Pair]) -> None:
    for k in count(3, 7):
        pair, before = filled(new)
        was_killed = kill_at(pair, k)
        kill_at(pair, 1 + k * 5 % 23)
        pair.check()
        source, target = pair.services()
        source.move_to(target)
        assert world(target) == before, f"killed at step {k}"
        assert is_bare(source)
        if not was_killed:
            break
    assert 30 < k < MOST


def test_jobs_that_are_done_in_the_source_after_all_do_not_come_again(new: Callable[[], Pair]) -> None:
    """Somebody resumes the topics of a move that was killed, and has jobs done, before it is run again."""
    for k in count(1):
        pair = new()
        source, target = pair.services()
        source.enqueue_many([NewJob("t", name=f"{number}", keep_done=0) for number in range(8)])
        was_killed = kill_at(pair, k)
        delivered: Counter[str] = Counter()
        source.resume("t")
        for job in source.reserve("t", 2):
            job.done()
            delivered[job.name] += 1
        source.move_to(target)
        target.resume("t")
        for job in target.reserve("t", 9):
            job.done()
            delivered[job.name] += 1
        assert delivered == Counter({f"{number}": 1 for number in range(8)}), f"killed at step {k}"
        assert target.topics() == []
        if not was_killed:
            break
    assert k > 30


def test_totals_are_exact_even_if_the_other_is_at_work_before_the_end(new: Callable[[], Pair]) -> None:
    for k in count(1):
        pair = new()
        source, target = pair.services()
        given(source, "t").done()
        source.enqueue_many([NewJob("t") for _ in range(5)])
        was_killed = kill_at(pair, k)
        enqueued = 6
        if target.stats("t").now[Status.READY] and not target.stats("t").paused:  # it was opened
            [job] = target.reserve("t")
            job.done()
            target.enqueue("t")
            enqueued += 1
        source.move_to(target)
        source.move_to(target)
        stats = target.stats("t")
        finished = stats.now[Status.DONE]
        assert (stats.enqueued, stats.reserved, stats.done) == (enqueued, finished, finished), f"killed at step {k}"
        assert sum(stats.now.values()) == enqueued
        assert not stats.paused
        pair.check()
        if not was_killed:
            break
    assert k > 30


# -- other verbs -------------------------------------------------------------------------------------------------------


Arrived = Callable[[JobService], bool]
"""Whether what a verb did in the source is to be seen in the target."""


def cancel(source: JobService) -> Arrived:
    source.cancel(2, "meanwhile")
    return lambda target: target.get(2).note == "meanwhile"


def delete(source: JobService) -> Arrived:
    source.delete(1)
    return lambda target: 1 not in ids(target)


def reset(source: JobService) -> Arrived:
    source.reset(1)
    return lambda target: target.get(1).status == "ready"


def replace(source: JobService) -> Arrived:
    at = source.get(3).run_at
    assert source.enqueue("t", run_at=at, payload="other", unique_key="k", on_duplicate="replace") == 3
    return lambda target: target.payload(3) == b"other"


def work(source: JobService) -> Arrived:
    source.resume("t")
    [job] = source.reserve("t")
    job.done()
    return lambda target: target.status(job.id) == "done"


def enqueue(source: JobService) -> Arrived:
    job_id = source.enqueue("new")
    return lambda target: target.status(job_id) == "ready" and not target.stats("new").paused


VERBS = [cancel, delete, reset, replace, work, enqueue]


def few_jobs(pair: Pair) -> JobService:
    """1 is Done, 2 Ready, 3 Delayed with a unique key, and some more."""
    source, _ = pair.services()
    given(source, "t").done()
    source.enqueue("t")
    source.enqueue("t", delay=60, unique_key="k", payload="one")
    source.enqueue_many([NewJob("t") for _ in range(3)])
    return source


def attempt(verb: Callable[[JobService], Arrived], source: JobService, has_arrived: list[Arrived]) -> None:
    with suppress(JobqError, ValueError, AssertionError):  # the job has gone
        has_arrived.append(verb(source))


def steps_of(pair: Pair) -> int:
    """How many steps a move of a few jobs takes."""
    few_jobs(pair)
    steps = Steps(pair, 0, killed)
    steps.source.move_to(steps.target)
    return -steps.left


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_does_in_the_source_meanwhile_arrives(
    new: Callable[[], Pair], verb: Callable[[JobService], Arrived]
) -> None:
    arrived = 0
    for k in count(1):
        pair = new()
        source = few_jobs(pair)
        has_arrived: list[Arrived] = []
        steps = Steps(pair, k, partial(attempt, verb, source, has_arrived))
        steps.source.move_to(steps.target)
        if not steps.has_acted:
            break
        _, target = pair.services()
        if has_arrived and not ids(source):
            arrived += 1
            assert has_arrived[0](target), f"at step {k}"
        assert not target.stats("t").paused
        assert len(ids(source) | ids(target)) == 6 + (verb is enqueue) * len(has_arrived) - (verb is delete) * len(
            has_arrived
        ), f"at step {k}"
        assert not ids(source) & ids(target)
        pair.check()
    assert arrived > 10
    assert k > 30


def test_what_is_enqueued_when_the_other_is_open_stays_and_is_told(new: Callable[[], Pair]) -> None:
    """Each job that is enqueued while it runs is carried, or is left in an open topic; counters say where."""
    left = 0
    last = steps_of(new())
    for k in count(1):
        pair = new()
        source = few_jobs(pair)
        steps = Steps(pair, k, partial(source.enqueue, "t", name="late"))
        result = steps.source.move_to(steps.target)
        if not steps.has_acted:
            break
        _, target = pair.services()
        here, there, stayed = source.stats("t"), target.stats("t"), len(ids(source))
        assert (result.moved, here.enqueued, there.enqueued) == (7 - stayed, stayed, 7 - stayed), f"at step {k}"
        assert result.left == stayed or (k, result.left) == (last, 0), f"at step {k}"
        assert (there.reserved, there.done, here.reserved, here.done) == (1, 1, 0, 0)
        assert (here.paused, there.paused) == (False, False)
        assert [job.name for job in source.reserve("t", 9)] == ["late"] * stayed
        left += result.left
        pair.check()
    assert 0 < left < 20
    assert k > last > 30


# -- other moves -------------------------------------------------------------------------------------------------------


def test_two_moves_of_one_pair_at_once_do_no_harm(new: Callable[[], Pair]) -> None:
    """A second one runs wholly between two steps of the first, which then goes on or is told to leave it."""
    for k in count(1):
        pair, before = filled(new)
        source, target = pair.services()
        steps = Steps(pair, k, partial(source.move_to, target))
        with suppress(JobqError):
            steps.source.move_to(steps.target)
        pair.check()
        assert ids(source) | ids(target) == set(before.seen.jobs), f"at step {k}"
        source.move_to(target)
        assert world(target) == before, f"at step {k}"
        assert is_bare(source)
        if not steps.has_acted:
            break
    assert k > 30


def test_a_second_move_that_is_killed_at_once_does_no_harm(new: Callable[[], Pair]) -> None:
    """The second begins between two steps of the first, and is killed after some steps of its own."""
    for k in count(1, 2):
        pair, before = filled(new)
        source, target = pair.services()
        steps = Steps(pair, k, partial(kill_at, pair, 1 + k * 7 % 31))
        with suppress(JobqError):
            steps.source.move_to(steps.target)
        for storage in pair:
            check_invariants(storage)
        assert ids(source) | ids(target) == set(before.seen.jobs), f"at step {k}"
        source.move_to(target)
        assert world(target) == before, f"at step {k}"
        assert is_bare(source)
        if not steps.has_acted:
            break
    assert k > 30


def test_whichever_of_two_moves_is_killed_wherever_nothing_is_lost_or_counted_twice(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pairs of steps, in memory: the second is killed, a job is enqueued, then the first goes on."""
    monkeypatch.setattr(leaving, "JOBS", 2)
    with pairs("memory to memory", tmp_path, clock) as new:
        for k in count(1):
            for j in count(1):
                pair = new()
                source, target = pair.services()
                source.enqueue_many([NewJob("t") for _ in range(3)])
                was_killed: list[bool] = []

                def act() -> None:
                    was_killed.append(kill_at(pair, j))  # noqa: B023
                    source.enqueue("t")  # noqa: B023

                steps = Steps(pair, k, act)
                with suppress(JobqError):
                    steps.source.move_to(steps.target)
                with suppress(JobqError):
                    source.move_to(target)
                where = f"at steps {k} and {j}"
                assert ids(source) | ids(target) >= {1, 2, 3}, where
                assert not ids(source) & ids(target), where
                assert source.stats("t").enqueued + target.stats("t").enqueued == 3 + steps.has_acted, where
                for svc in (source, target):
                    assert svc.stats("t").enqueued == len(ids(svc)), where
                    assert not svc.stats("t").paused, where
                pair.check()
                if not (was_killed and was_killed[0]):
                    break
            if not steps.has_acted:
                break
    assert k > 20


def test_a_storage_that_somebody_uses_as_the_move_begins_is_refused_and_nothing_has_happened(
    new: Callable[[], Pair],
) -> None:
    refused = 0
    for k in count(1):
        pair, before = filled(new)
        source, target = pair.services()
        steps = Steps(pair, k, partial(target.enqueue, "theirs"))
        try:
            steps.source.move_to(steps.target)
        except ConfigError:
            refused += 1
            assert world(source) == before, f"at step {k}"
            assert target.topics() == ["theirs"]
        else:
            assert is_bare(source), f"at step {k}"
            assert set(target.topics()) - {"theirs"} == {stats.topic for stats in before.seen.stats}
        pair.check()
        assert [job.topic for job in target.reserve("theirs")] == ["theirs"] * steps.has_acted
        if not steps.has_acted:
            break
    assert refused > 5
    assert k > 30


def test_jobs_of_another_queue_that_come_first_are_left_alone(new: Callable[[], Pair], clock: ManualClock) -> None:
    """Another queue begins to be moved to the same storage between two steps, and is killed after some of its own."""
    refused = 0
    for k in count(1):
        pair, before = filled(new)
        source, target = pair.services()
        theirs = Pair(MemoryStorage(clock=clock), pair.target)
        other, _ = theirs.services()
        other.enqueue_many([NewJob("theirs") for _ in range(5)])
        steps = Steps(pair, k, partial(try_and_be_killed, theirs, 25))
        try:
            steps.source.move_to(steps.target)
        except ConfigError:
            refused += 1
            assert world(source) == before, f"at step {k}"
            other.move_to(target)
            assert len(target.reserve("theirs", 9)) == 5
        else:
            assert len(ids(other)) == 5
            assert {info.id for info in every(target, Status.READY) if info.topic == "plain"} != set()
        if not steps.has_acted:
            break
    assert refused > 5
    assert k > 30


def try_and_be_killed(pair: Pair, k: int) -> None:
    with suppress(ConfigError):
        kill_at(pair, k)


@pytest.mark.parametrize("later", [1, 2, 3, 4, 5])
def test_what_is_done_in_the_source_before_it_is_killed_does_not_come_again(
    new: Callable[[], Pair], later: int
) -> None:
    """A topic is resumed and a job of it done between two steps, and the move is killed some steps later."""
    changed = 0
    for k in count(1):
        pair = new()
        source, target = pair.services()
        source.enqueue_many([NewJob("t", name=f"{number}", keep_done=0) for number in range(5)])
        done: list[str] = []
        steps = Steps(pair, k, partial(work_at_once, source, done))
        dying = Pair(steps.source._storage, steps.target._storage)
        kill_at(dying, k + later)
        source.move_to(target)
        changed += bool(done)
        assert Counter(done + [job.name for job in target.reserve("t", 9)]) == Counter("01234"), f"at step {k}"
        if not steps.has_acted:
            break
    assert changed > 10


def work_at_once(source: JobService, done: list[str]) -> None:
    """Resume the topic, and have a job of it done."""
    source.resume("t")
    for job in source.reserve("t"):
        job.done()
        done.append(job.name)
