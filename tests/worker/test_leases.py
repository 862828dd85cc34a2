"""Keeping the leases of what runs, and what happens once one is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from jobq import AsyncJob, Job, JobService, Status, Worker
from jobq.model.times import SECOND
from tests.clocks import ManualClock
from tests.worker.scenes import Recorder, Watched, pass_time, running, wait, wait_for_sleep


class Gate:
    """Handlers that wait until they may go on, as a function and as a coroutine. said: what those noted who did."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.said: list[object] = []

    def function(self, job: Job) -> str:
        wait(self.event)
        self.said.append(job.canceled())
        return "result"

    async def coroutine(self, job: AsyncJob) -> str:
        try:
            while not self.event.is_set():
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise
        self.said.append(await job.canceled())
        return "result"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_all_running_jobs_are_renewed_in_one_commit_each_third_of_the_lease(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder, gate: Gate, concurrency: int
) -> None:
    worker = Worker(queue, "t", concurrency=concurrency, lease=30, observer=seen)
    worker.default(gate.function)
    ids = [queue.enqueue("t", lease=300) for _ in range(concurrency)]
    with running(worker):
        seen.wait_for("started", times=concurrency)
        for _ in range(12):  # four leases
            before = watched.commits
            pass_time(clock, 10)
            watched.wait_for_commits(before + 1)
            assert {queue.get(id).deadline for id in ids} == {clock.after(30)}
            assert watched.commits == before + 1
        gate.event.set()
        seen.wait_for("completed", times=concurrency)
    stats = queue.stats("t")
    assert (stats.done, stats.expired, stats.reserved) == (concurrency, 0, concurrency)
    assert gate.said == [False] * concurrency


def test_a_lease_is_the_workers_and_not_the_jobs(queue: JobService, seen: Recorder, gate: Gate) -> None:
    worker = Worker(queue, "t", lease=12.5, observer=seen)
    worker.default(gate.function)
    id = queue.enqueue("t", lease=300)
    clock = queue.clock
    assert isinstance(clock, ManualClock)
    with running(worker):
        seen.wait_for("started")
        assert queue.get(id).deadline == clock.after(12.5)
        gate.event.set()


def lose_by_cancel(queue: JobService, clock: ManualClock, id: int) -> None:
    queue.cancel(id)


def lose_by_expiry(queue: JobService, clock: ManualClock, id: int) -> None:
    """As if the worker's machine had stood still for the lease, and another worker had come first."""
    other = JobService(queue._storage)
    wait_for_sleep(clock)  # else it would notice what time it is
    clock._steady += 31 * SECOND
    [job] = other.reserve("t", lease=1_000)
    assert job.id == id


LOSSES = pytest.mark.parametrize("lose", [lose_by_cancel, lose_by_expiry])


@LOSSES
@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_a_function_is_told_that_its_job_is_lost_and_a_coroutine_cancelled_and_their_outcome_is_dropped(
    queue: JobService,
    clock: ManualClock,
    seen: Recorder,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
    lose: Callable[[JobService, ManualClock, int], None],
    kind: str,
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(getattr(gate, kind))
    id = queue.enqueue("t", name="it")
    with running(worker):
        seen.wait_for("started")
        lose(queue, clock, id)
        pass_time(clock, 10)
        seen.wait_for("lease_lost", "it")
        before = queue.get(id)
        if kind == "function":
            gate.event.set()
        worker.stop()
    said, warnings = ([True], 2) if kind == "function" else (["cancelled"], 1)
    assert (gate.said, queue.get(id)) == (said, before)
    assert seen.of_jobs() == [("started", "it"), ("lease_lost", "it")]
    assert [record.levelname for record in caplog.records if hasattr(record, "job_id")] == ["WARNING"] * warnings


@LOSSES
def test_what_is_lost_between_two_heartbeats_is_noticed_at_the_end(
    queue: JobService,
    clock: ManualClock,
    seen: Recorder,
    gate: Gate,
    lose: Callable[[JobService, ManualClock, int], None],
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(gate.function)
    id = queue.enqueue("t", name="it")
    with running(worker):
        seen.wait_for("started")
        lose(queue, clock, id)
        before = queue.get(id)
        gate.event.set()
        seen.wait_for("lease_lost", "it")
    assert queue.get(id) == before
    assert seen.of_jobs() == [("started", "it"), ("lease_lost", "it")]


def test_a_lease_that_is_over_but_not_reclaimed_still_counts(
    queue: JobService, clock: ManualClock, seen: Recorder, gate: Gate
) -> None:
    worker = Worker(queue, "t", observer=seen)
    worker.default(gate.function)
    id = queue.enqueue("t", name="it")
    with running(worker):
        seen.wait_for("started")
        clock._steady += 31 * SECOND
        gate.event.set()
        seen.wait_for("completed", "it", "result")
    assert (queue.status(id), queue.stats("t").expired) == (Status.DONE, 0)


def test_one_lost_job_costs_the_others_nothing(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder, gate: Gate
) -> None:
    worker = Worker(queue, "t", concurrency=3, observer=seen)
    worker.default(gate.function)
    ids = [queue.enqueue("t", name=name) for name in "abc"]
    with running(worker):
        seen.wait_for("started", times=3)
        queue.cancel(ids[1])
        pass_time(clock, 10)
        seen.wait_for("lease_lost", "b")
        before = watched.commits
        pass_time(clock, 10)
        watched.wait_for_commits(before + 1)
        assert queue.get(ids[0]).deadline == queue.get(ids[2]).deadline == clock.after(30)
        gate.event.set()
        worker.stop()
    assert [queue.status(id) for id in ids] == [Status.DONE, Status.CANCELED, Status.DONE]
    assert sorted(gate.said, key=str) == [False, False, True]


def test_a_job_that_was_lost_while_it_waited_for_a_slot_is_not_run(
    queue: JobService, clock: ManualClock, seen: Recorder, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slots are supplied ahead once jobs were quick: here each takes a millisecond."""
    monkeypatch.setattr("jobq.worker.checks.LEAST_LEASE", 1)  # so that it is renewed before the job is given back
    worker = Worker(queue, "t", observer=seen, lease=0.03)

    @worker.handler
    def quick(job: Job) -> None:
        clock.advance(0.001)

    worker.handler("slow")(gate.function)
    worker.handler("behind")(gate.function)
    for _ in range(20):
        queue.enqueue("t", name="quick")
    queue.enqueue("t", priority=1, name="slow")
    id = queue.enqueue("t", priority=2, name="behind")
    with running(worker):
        seen.wait_for("started", "slow")
        seen.wait_for("topic_empty")
        assert queue.status(id) is Status.RESERVED
        queue.cancel(id)
        pass_time(clock, 0.01)
        seen.wait_for("lease_lost", "behind")
        gate.event.set()
        seen.wait_for("completed", "slow")
    assert seen.all("started", "behind") == []
    assert gate.said == [False]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_that_settled_its_job_and_goes_on_has_lost_nothing(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder, gate: Gate, is_async: bool
) -> None:
    worker = Worker(queue, "t", concurrency=2, observer=seen)

    @worker.handler("async")
    async def early_coroutine(job: AsyncJob) -> None:
        await job.done("early")
        seen.note("settled")
        await gate.coroutine(job)

    @worker.handler("sync")
    def early_function(job: Job) -> None:
        job.done("early")
        seen.note("settled")
        gate.function(job)

    worker.default(gate.function)
    queue.enqueue("t", name="async" if is_async else "sync")
    queue.enqueue("t", name="other")
    with running(worker):
        seen.wait_for("settled")
        seen.wait_for("started", "other")
        for _ in range(2):
            before = watched.commits
            pass_time(clock, 10)
            watched.wait_for_commits(before + 1)
        gate.event.set()
        seen.wait_for("completed", times=2)
    assert seen.all("lease_lost") == []
    assert gate.said == [False, False]
    assert queue.stats("t").done == 2


def test_a_job_that_its_handler_settles_while_it_is_being_renewed_is_not_lost(
    queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder, gate: Gate
) -> None:
    worker = Worker(queue, "t", observer=seen)
    settled = threading.Event()

    @worker.default
    def handle(job: Job) -> None:
        wait(gate.event)
        job.done("just now")
        settled.set()
        seen.wait_for("renewed")
        gate.said.append(job.canceled())

    def let_it_settle_first(number: int) -> None:
        watched.before = None
        gate.event.set()
        wait(settled)

    queue.enqueue("t", name="it")
    with running(worker):
        seen.wait_for("started")
        watched.before = let_it_settle_first
        before = watched.commits
        pass_time(clock, 10)
        watched.wait_for_commits(before + 2)
        seen.note("renewed")
        seen.wait_for("completed", "it", "just now")
    assert (seen.all("lease_lost"), gate.said) == ([], [False])
