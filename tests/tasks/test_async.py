"""Tasks and asyncio: enqueueing without blocking the event loop, on either kind of service."""

from __future__ import annotations

import asyncio
import threading

import jobq
from jobq import AsyncJobService, JobService, Tasks, Worker
from tests.clocks import PATIENCE


def tasks_of(names: list[str]) -> Tasks:
    tasks = Tasks()

    @tasks.task(name="double")
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        names.append(threading.current_thread().name)
        return n * 2

    return tasks


def test_enqueue_async_on_an_async_service_and_on_a_plain_one(svc: JobService) -> None:
    names: list[str] = []
    tasks = tasks_of(names)
    double = tasks.get("double")
    assert double is not None

    async def program() -> None:
        asvc = AsyncJobService(svc)
        tasks.bind(asvc)
        first = await double.enqueue_async(1)
        second = double.enqueue(2)  # which blocks the loop for a commit
        tasks.bind(svc)
        third = await double.options(priority=-1).enqueue_async(3)
        with Worker(svc, "", tasks=tasks):
            async with asyncio.timeout(PATIENCE):
                infos = [await asvc.wait_for(id, PATIENCE) for id in (first, second, third)]
        assert [info.result for info in infos] == [2, 4, 6]
        assert [info.priority for info in infos] == [0, 0, -1]

    asyncio.run(program())
    assert set(names) == {"jobq-loop"}


def test_a_task_enqueues_another_from_the_workers_loop() -> None:
    tasks = Tasks()
    ran: list[int] = []

    @tasks.task
    async def count_down(n: int) -> None:
        ran.append(n)
        if n:
            await count_down.enqueue_async(n - 1)

    with jobq.open("memory://") as svc:
        tasks.bind(svc)
        count_down.enqueue(3)
        Worker(svc, "", tasks=tasks).run(burst=True)
    assert ran == [3, 2, 1, 0]


def test_a_coroutine_task_is_awaited_when_called() -> None:
    tasks = Tasks()

    @tasks.task
    async def double(n: int) -> int:
        return n * 2

    assert asyncio.run(double(4)) == 8
