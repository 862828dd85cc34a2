"""How many handlers run at once, and that they do not see each other."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

import jobq
from jobq import AsyncJob, Job, JobService, Limits, NewJob, Worker
from tests.clocks import PATIENCE, ManualClock
from tests.conftest import OpenService


class Crowd:
    """Counts who is inside at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = 0
        self.most = 0

    def enter(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        with self._lock:
            self.inside -= 1


KINDS = {"functions": ["function"], "coroutines": ["coroutine"], "both": ["function", "coroutine"]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("concurrency", [1, 2, 7])
def test_no_more_run_at_once_than_asked_for(concurrency: int, kind: str) -> None:
    """With the real clock, so that jobs are reserved ahead."""
    crowd = Crowd()
    with jobq.open("memory://") as svc:
        worker = Worker(svc, "t", concurrency=concurrency)
        pause = threading.Event()

        def function(job: Job) -> None:
            crowd.enter()
            pause.wait(0.000_1 * (job.id % 3))
            crowd.leave()

        async def coroutine(job: AsyncJob) -> None:
            crowd.enter()
            await asyncio.sleep(0.000_1 * (job.id % 3))
            crowd.leave()

        for name in KINDS[kind]:
            worker.handler(name)(function if name == "function" else coroutine)
        svc.enqueue_many([NewJob("t", name=name) for name in KINDS[kind] for _ in range(300)])
        worker.run(burst=True)
        assert svc.stats("t").done == 300 * len(KINDS[kind])
    assert 1 <= crowd.most <= concurrency
    assert crowd.inside == 0


@pytest.mark.parametrize("n", [1, 2, 8, 32])
def test_as_many_functions_run_at_once_as_there_are_slots(svc: JobService, n: int) -> None:
    """None of them goes on before all are there."""
    barrier = threading.Barrier(n)
    worker = Worker(svc, "t", concurrency=n)
    worker.default(lambda job: barrier.wait(PATIENCE))
    svc.enqueue_many([NewJob("t")] * 3 * n)
    worker.run(burst=True)
    assert svc.stats("t").done == 3 * n


@pytest.mark.parametrize("n", [2, 32])
def test_as_many_coroutines_run_at_once_as_there_are_slots(svc: JobService, n: int) -> None:
    waiting: list[asyncio.Event] = []
    worker = Worker(svc, "t", concurrency=n)

    @worker.default
    async def handle(job: AsyncJob) -> None:
        waiting.append(asyncio.Event())
        if len(waiting) < n:
            await asyncio.wait_for(waiting[-1].wait(), PATIENCE)
        else:
            for event in waiting:
                event.set()
            waiting.clear()

    svc.enqueue_many([NewJob("t")] * 3 * n)
    worker.run(burst=True)
    assert svc.stats("t").done == 3 * n


def test_a_function_and_a_coroutine_run_at_once(svc: JobService) -> None:
    barrier = threading.Barrier(2)
    worker = Worker(svc, "t", concurrency=2)
    worker.handler("function")(lambda job: barrier.wait(PATIENCE))

    @worker.handler
    async def coroutine(job: AsyncJob) -> None:
        await asyncio.to_thread(barrier.wait, PATIENCE)

    svc.enqueue_many([NewJob("t", name=name) for name in ("function", "coroutine")])
    worker.run(burst=True)
    assert svc.stats("t").done == 2


def test_slots_that_are_freed_one_by_one_are_filled_again(svc: JobService) -> None:
    """A slow job holds one slot while the others go on."""
    worker = Worker(svc, "t", concurrency=3)
    left = threading.Semaphore(0)

    @worker.handler
    def slow(job: Job) -> None:
        for _ in range(20):
            assert left.acquire(timeout=PATIENCE)

    worker.handler("quick")(lambda job: left.release())
    svc.enqueue_many([NewJob("t", -1, name="slow"), *[NewJob("t", name="quick")] * 20])
    worker.run(burst=True)
    assert svc.stats("t").done == 21


def test_the_limits_of_the_service_bound_what_is_reserved(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(batch=2))
    crowd = Crowd()
    worker = Worker(svc, "t", concurrency=8)

    @worker.default
    def handle(job: Job) -> None:
        crowd.enter()
        crowd.leave()

    for _ in range(20):
        svc.enqueue("t")
    worker.run(burst=True)
    assert svc.stats("t").done == 20
    assert crowd.most <= 2


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_handler_sets_in_its_context_no_other_sees(
    svc: JobService, clock: ManualClock, concurrency: int, is_async: bool
) -> None:
    worker = Worker(svc, "t", concurrency=concurrency)
    seen: list[str] = []

    def function(job: Job) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set(str(job.id))
        clock.advance(0.000_1)  # so that some wait for a slot, and are begun by the task of another

    async def coroutine(job: AsyncJob) -> None:
        function(job.sync)
        await asyncio.sleep(0)
        assert VARIABLE.get() == str(job.id)

    worker.default(coroutine if is_async else function)
    svc.enqueue_many([NewJob("t")] * 100)
    token = VARIABLE.set("of the program")
    worker.run(burst=True)
    VARIABLE.reset(token)
    assert seen == ["unset"] * 100


def test_a_thousand_jobs_are_run_once_each(svc: JobService) -> None:
    worker = Worker(svc, ["t", "u"], concurrency=16)
    runs: list[int] = []
    worker.default(lambda job: runs.append(job.id))
    ids = svc.enqueue_many([NewJob("tu"[n % 2], n % 5) for n in range(1_000)])
    worker.run(burst=True)
    assert sorted(runs) == ids
    assert (svc.stats("t").done, svc.stats("u").done) == (500, 500)
    assert svc.verify() == []
