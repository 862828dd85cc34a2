"""However many coroutines wait, one thread waits for all of them."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import NoReturn

import pytest

from jobq import AsyncJob, AsyncJobService, Done, JobNotFound, JobService, NewJob, ServiceClosed, Status, StorageError
from jobq.repos import MemoryStorage
from tests.aio.conftest import Run, eventually, pass_time, threads
from tests.clocks import ManualClock

THOUSAND = 1000


def waiting(asvc: AsyncJobService) -> int:
    """How many coroutines wait."""
    return len(asvc._crew().jobs._open())


def test_a_thousand_coroutines_wait_in_one_thread(asvc: AsyncJobService, run: Run[None]) -> None:
    before = threading.enumerate()

    async def one(taken: list[int]) -> None:
        [job] = await asvc.reserve("t", timeout=None)
        taken.append(job.id)
        await job.done()

    async def all_of_them() -> None:
        taken: list[int] = []
        tasks = [asyncio.ensure_future(one(taken)) for _ in range(THOUSAND)]
        await eventually(lambda: waiting(asvc) == THOUSAND)
        begun = threads(before)
        assert begun.count("jobq-waiting") == 1
        assert len([name for name in begun if name.startswith("jobq-verb")]) <= 16
        assert len(begun) <= 18  # one more may be the storage's own
        ids = await asvc.enqueue_many([NewJob("t") for _ in range(THOUSAND)])
        await asyncio.gather(*tasks)
        assert sorted(taken) == ids
        assert (await asvc.stats("t")).now[Status.DONE] == THOUSAND

    run(all_of_them())


def test_who_waits_first_gets_the_most_urgent(asvc: AsyncJobService, run: Run[None]) -> None:
    async def order() -> None:
        first = asyncio.ensure_future(asvc.reserve("t", 2, 60))
        await eventually(lambda: waiting(asvc) == 1)
        second = asyncio.ensure_future(asvc.reserve("t", 5, 60))
        await eventually(lambda: waiting(asvc) == 2)
        await asvc.enqueue_many([NewJob("t", priority) for priority in (3, 1, 2)])
        assert [job.priority for job in await first] == [1, 2]
        assert [job.priority for job in await second] == [3]

    run(order())


def test_each_waits_for_its_own_topics_with_its_own_lease(
    asvc: AsyncJobService, clock: ManualClock, run: Run[None]
) -> None:
    async def own() -> None:
        wishes = {
            "a": asyncio.ensure_future(asvc.reserve("a", timeout=None, lease=10)),
            "b": asyncio.ensure_future(asvc.reserve(["b", "c"], timeout=None, lease=timedelta(seconds=20))),
            "c": asyncio.ensure_future(asvc.reserve("c", timeout=None)),
        }
        for n in range(20):  # nobody enqueues there
            wishes[f"x{n}"] = asyncio.ensure_future(asvc.reserve(f"x{n}", timeout=60))
        await eventually(lambda: waiting(asvc) == 23)
        await asvc.enqueue("c")
        [job] = await wishes["b"]
        assert (job.topic, job.deadline) == ("c", clock.after(20))
        await asvc.enqueue_many([NewJob("c"), NewJob("a")])
        assert [(await wishes[key])[0].deadline for key in "ac"] == [clock.after(10), clock.after(300)]
        await eventually(lambda: waiting(asvc) == 20)
        await pass_time(clock, 60, asyncio.gather(*(wishes[f"x{n}"] for n in range(20))))
        assert [await wishes[f"x{n}"] for n in range(20)] == [[]] * 20

    run(own())


def test_time_brings_jobs_and_ends_waits(asvc: AsyncJobService, clock: ManualClock, run: Run[None]) -> None:
    async def time() -> None:
        await asvc.enqueue("t", delay=10)
        delayed = asyncio.ensure_future(asvc.reserve("t", timeout=60))
        await eventually(lambda: waiting(asvc) == 1)
        await pass_time(clock, 10, delayed)
        [job] = await delayed
        assert await asvc.reserve("t", timeout=0) == []
        expired = asyncio.ensure_future(asvc.reserve("t", timeout=400))
        await eventually(lambda: waiting(asvc) == 1)
        await pass_time(clock, 300, expired)  # the lease
        assert [again.id for again in await expired] == [job.id]
        nothing = asyncio.ensure_future(asvc.reserve("t", timeout=5))
        await eventually(lambda: waiting(asvc) == 1)
        await pass_time(clock, 5, nothing)
        assert await nothing == []

    run(time())


def test_linger_fills_a_batch(asvc: AsyncJobService, clock: ManualClock, run: Run[None]) -> None:
    async def linger() -> None:
        await asvc.enqueue("t")
        batch = asyncio.ensure_future(asvc.reserve("t", 3, linger=20))
        await eventually(lambda: waiting(asvc) == 1)
        await asvc.enqueue("t")
        await eventually(lambda: asvc.sync.stats("t").now[Status.RESERVED] == 2)
        await asvc.enqueue("t")
        assert [job.id for job in await batch] == [1, 2, 3]
        batch = asyncio.ensure_future(asvc.reserve("t", 3, 60, linger=20, lease=10))
        await eventually(lambda: waiting(asvc) == 1)
        await asvc.enqueue("t")
        await eventually(lambda: asvc.sync.stats("t").now[Status.RESERVED] == 4)
        await eventually(lambda: waiting(asvc) == 1)
        await pass_time(clock, 5, batch)  # half of the lease
        assert [job.id for job in await batch] == [4]

    run(linger())


def test_an_exchange_settles_before_it_waits(asvc: AsyncJobService, run: Run[None]) -> None:
    async def exchange() -> None:
        await asvc.enqueue("t")
        jobs = await asvc.reserve("t")
        waits = asyncio.ensure_future(asvc.exchange([(jobs[0], Done())], topics="t", timeout=None))
        await eventually(lambda: waiting(asvc) == 1)
        assert await asvc.status(1) == "done"
        await asvc.enqueue("t")
        assert [job.id for job in (await waits).jobs] == [2]

    run(exchange())


def test_many_wait_for_the_ends_of_jobs(asvc: AsyncJobService, clock: ManualClock, run: Run[None]) -> None:
    before = threading.enumerate()

    async def ends() -> None:
        ids = await asvc.enqueue_many([NewJob("t"), NewJob("t"), NewJob("u", keep_done=0), NewJob("t")])
        waits = [asyncio.ensure_future(asvc.wait_for(id, 60)) for id in ids for _ in range(50)]
        await eventually(lambda: len(asvc._crew().ends._open()) == 200)
        assert threads(before).count("jobq-waiting") == 1
        jobs: list[AsyncJob] = [*await asvc.reserve("t", 2), *await asvc.reserve("u")]
        await jobs[0].done("result")
        assert [(await wait).result for wait in waits[:50]] == ["result"] * 50
        await jobs[1].reject("no")
        assert {(await wait).status for wait in waits[50:100]} == {Status.CANCELED}
        await jobs[2].done()
        for wait in waits[100:150]:
            with pytest.raises(JobNotFound):
                await wait
        await eventually(lambda: len(asvc._crew().ends._open()) == 50)
        await pass_time(clock, 60, asyncio.gather(*waits[150:], return_exceptions=True))
        for wait in waits[150:]:
            with pytest.raises(TimeoutError, match="job 4 of topic 't' is not finished, but ready"):
                await wait
        assert (await asvc.wait_for(ids[0], None)).result == "result"
        with pytest.raises(TimeoutError):
            await asvc.wait_for(ids[3], 0)

    run(ends())


def test_closing_wakes_who_waits(asvc: AsyncJobService, run: Run[None]) -> None:
    async def close() -> None:
        id = await asvc.enqueue("u")
        waits = [
            asyncio.ensure_future(asvc.reserve("t", timeout=None)),
            asyncio.ensure_future(asvc.exchange(topics="t", timeout=None)),
            asyncio.ensure_future(anext(aiter(asvc.jobs("t")))),
            asyncio.ensure_future(asvc.wait_for(id, None)),
        ]
        await eventually(lambda: waiting(asvc) == 3 and len(asvc._crew().ends._open()) == 1)
        async with asvc:
            pass
        for wait in waits:
            with pytest.raises(ServiceClosed):
                await wait
        await asvc.close()

    run(close())


def test_an_error_of_the_storage_reaches_who_waits_and_passes(run: Run[None], monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    asvc = AsyncJobService(JobService(storage))

    def view(body: object) -> NoReturn:
        raise StorageError("the disk is gone")

    async def fail() -> None:
        waits = [asyncio.ensure_future(asvc.reserve("t", timeout=None)) for _ in range(3)]
        await eventually(lambda: waiting(asvc) == 3)
        with monkeypatch.context() as patch:
            patch.setattr(storage, "view", view)
            await asvc.enqueue("u")
            await asvc.enqueue("t", delay=1)  # so that the thread looks
            for wait in waits:
                with pytest.raises(StorageError, match="the disk is gone"):
                    await wait
        again = asyncio.ensure_future(asvc.reserve("t", timeout=None))
        await eventually(lambda: waiting(asvc) == 1)
        await asvc.enqueue("t")
        assert len(await again) == 1

    run(fail())


def test_the_thread_ends_when_nobody_has_waited_for_a_while(
    asvc: AsyncJobService, run: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobq.aio.waiting.IDLE", 0.01)

    before = threading.enumerate()

    async def idle() -> None:
        for _ in range(3):
            wait = asyncio.ensure_future(asvc.reserve("t", timeout=None))
            await eventually(lambda: waiting(asvc) == 1)
            await asvc.enqueue("t")
            await wait
            await eventually(lambda: "jobq-waiting" not in threads(before))

    run(idle())


def test_threads_and_coroutines_wait_side_by_side(svc: JobService, asvc: AsyncJobService, run: Run[None]) -> None:
    """The one thread that waits for many coroutines counts as one waiter; what it leaves, others are woken for."""
    taken: list[int] = []

    def work() -> None:
        for job in svc.jobs("t", timeout=None):
            taken.append(job.id)
            with job:
                pass
            if job.text == "last":
                return

    async def side_by_side() -> None:
        workers = [threading.Thread(target=work) for _ in range(3)]
        tasks = [asyncio.ensure_future(asvc.reserve("t", timeout=None)) for _ in range(5)]
        await eventually(lambda: waiting(asvc) == 5)
        for worker in workers:
            worker.start()
        ids = await asvc.enqueue_many([NewJob("t") for _ in range(30)])
        while not all(task.done() for task in tasks):  # the threads may be quicker
            ids.append(await asvc.enqueue("t"))
        got = [job.id for task in tasks for job in await task]
        await eventually(lambda: len(taken) == len(ids) - 5)
        assert sorted(taken + got) == ids
        await asvc.enqueue_many([NewJob("t", payload="last") for _ in range(3)])
        for worker in workers:
            await asyncio.to_thread(worker.join)

    run(side_by_side())
