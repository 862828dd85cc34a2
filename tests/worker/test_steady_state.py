"""How many commits a worker makes, and how far ahead it reserves."""

from __future__ import annotations

import threading

import pytest

from jobq import AsyncJob, Job, JobService, NewJob, Status, Worker
from jobq.model.times import SECOND
from jobq.worker.pace import HORIZON, LONGEST_HORIZON, MEMORY, MOST, PATIENCE, Pace
from tests.clocks import ManualClock
from tests.worker.scenes import Recorder, Watched, pass_time, running, wait

MS = SECOND // 1_000


@pytest.mark.parametrize("is_async", [False, True])
def test_one_commit_settles_a_job_and_reserves_the_next(queue: JobService, watched: Watched, is_async: bool) -> None:
    """No time passes here, so the worker knows nothing of how long jobs take, and reserves none ahead."""
    worker = Worker(queue, "t")

    async def coroutine(job: AsyncJob) -> None: ...

    worker.default(coroutine if is_async else lambda job: None)
    queue.enqueue_many([NewJob("t")] * 50)
    before = watched.commits
    worker.run(burst=True)
    assert watched.commits - before == 51
    assert queue.stats("t").done == 50


def test_all_that_ended_is_settled_in_one_commit_that_reserves_as_many(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder
) -> None:
    worker = Worker(queue, "t", concurrency=32, observer=seen)
    gates = {"first": threading.Event(), "second": threading.Event()}
    worker.default(lambda job: wait(gates[job.name]))
    queue.enqueue_many([NewJob("t", name="first")] * 32 + [NewJob("t", name="second")] * 32)
    before = watched.commits
    with running(worker):
        seen.wait_for("started", "first", times=32)
        assert watched.commits - before == 1
        stage = worker._stage
        assert stage is not None

        def hold_until_all_have_ended(number: int) -> None:
            watched.after = None
            gates["first"].set()
            while len(stage.inbox._endings) < 32:
                with seen._news:
                    seen._news.wait(0.001)

        watched.after = hold_until_all_have_ended
        pass_time(clock, 10)  # the heartbeat is a commit of its own
        seen.wait_for("started", "second", times=32)
        assert watched.commits - before == 3
        gates["second"].set()
        seen.wait_for("completed", times=64)


def test_short_jobs_are_reserved_and_settled_by_the_dozen(
    queue: JobService, watched: Watched, clock: ManualClock
) -> None:
    worker = Worker(queue, "t")
    worker.default(lambda job: clock.advance(0.000_1))
    queue.enqueue_many([NewJob("t")] * 1_000)
    before = watched.commits
    worker.run(burst=True)
    assert queue.stats("t").done == queue.stats("t").reserved == 1_000
    assert watched.commits - before < 150


def test_long_jobs_are_reserved_when_there_is_a_slot(queue: JobService, clock: ManualClock) -> None:
    worker = Worker(queue, "t", concurrency=1)
    reserved: list[int] = []

    @worker.default
    def handle(job: Job) -> None:
        clock.advance(0.02)
        reserved.append(queue.stats("t").now[Status.RESERVED])

    queue.enqueue_many([NewJob("t")] * 30)
    worker.run(burst=True)
    assert set(reserved) == {1}


def test_jobs_that_wait_behind_a_slow_one_are_given_back(queue: JobService, clock: ManualClock, seen: Recorder) -> None:
    worker = Worker(queue, "t", observer=seen)
    go = threading.Event()
    worker.handler("quick")(lambda job: clock.advance(0.001))
    worker.handler("slow")(lambda job: wait(go))
    worker.handler("behind")(lambda job: None)
    for priority, name in enumerate(["quick"] * 30 + ["slow"] + ["behind"] * 3):
        queue.enqueue("t", priority, name=name)
    with running(worker):
        seen.wait_for("started", "slow")
        seen.wait_for("topic_empty")
        while not seen.all("released", "behind"):
            pass_time(clock, 0.01)
        stats = queue.stats("t")
        assert (stats.now[Status.READY], stats.now[Status.RESERVED]) == (3, 1)
        assert [info.retry_count for info in queue.find("ready")] == [0, 0, 0]
        assert len(seen.all("released", "behind")) == 3
        [other] = queue.reserve("t")
        other.done()
        go.set()
        seen.wait_for("completed", "behind", times=2)
    assert len(seen.all("started", "behind")) == 2
    assert seen.all("lease_lost") == []


def test_functions_and_coroutines_together_are_not_reserved_ahead(queue: JobService, clock: ManualClock) -> None:
    """The threads and the event loop do not know of each other, and would run too many at once."""
    worker = Worker(queue, "t")
    reserved: list[int] = []

    @worker.handler
    def function(job: Job) -> None:
        clock.advance(0.000_1)
        reserved.append(queue.stats("t").now[Status.RESERVED])

    @worker.handler
    async def coroutine(job: AsyncJob) -> None:
        function(job.sync)

    queue.enqueue_many([NewJob("t", name=name) for name in ("function", "coroutine") * 30])
    worker.run(burst=True)
    assert set(reserved) == {1}


# -- the pace ----------------------------------------------------------------------------------------------------------


def pace_after(*runs: int, slots: int = 4) -> Pace:
    pace = Pace(slots)
    for nanos in runs:
        pace.note_run(nanos)
    return pace


def test_nothing_is_reserved_ahead_before_anything_is_known() -> None:
    assert Pace(4).ahead(0) == 0


@pytest.mark.parametrize(
    ("took", "ahead"),
    [(MS, 40), (2 * MS, 20), (3 * MS, 12), (HORIZON, 4), (HORIZON + 1, 0), (SECOND, 0), (MS // 100, MOST), (1, MOST)],
)
def test_what_the_slots_do_within_the_horizon_is_reserved_ahead(took: int, ahead: int) -> None:
    assert pace_after(*[took] * MEMORY).ahead(0) == ahead


def test_no_slots_to_supply_are_supplied_with_nothing() -> None:
    assert pace_after(*[MS] * MEMORY, slots=0).ahead(0) == 0


def test_a_job_that_runs_for_long_counts_before_it_ends() -> None:
    pace = pace_after(*[MS] * MEMORY)
    assert (pace.ahead(5 * MS), pace.ahead(HORIZON + 1), pace.ahead(0)) == (8, 0, 40)


def test_several_slow_jobs_are_remembered_for_a_while() -> None:
    pace = pace_after(*[MS] * MEMORY, *[SECOND] * 5)
    assert pace.ahead(0) == 0
    for _ in range(MEMORY):
        pace.note_run(MS)
    assert pace.ahead(0) == 40


def test_slow_commits_lengthen_the_horizon_up_to_a_bound() -> None:
    pace = pace_after(*[MS] * MEMORY, slots=1)
    assert pace.patience == PATIENCE * HORIZON
    pace.note_commit(10 * MS)
    assert (pace.ahead(0), pace.patience) == (20, PATIENCE * 20 * MS)
    pace.note_commit(10 * SECOND)
    assert (pace.ahead(0), pace.patience) == (LONGEST_HORIZON // MS, PATIENCE * LONGEST_HORIZON)
    pace.note_commit(0)
    assert (pace.ahead(0), pace.patience) == (10, PATIENCE * HORIZON)
