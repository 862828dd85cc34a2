"""A cancelled call loses no job: what it took goes back at once."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from jobq import AsyncJob, AsyncJobService, Job, JobService, NewJob, Status
from tests.aio.conftest import Run, eventually, nothing_is_reserved, quiet


async def first(asvc: AsyncJobService) -> AsyncJob:
    async for job in asvc.jobs("t", n=4):
        return job
    raise AssertionError("it ended")


CALLS: dict[str, Callable[[AsyncJobService], Coroutine[Any, Any, object]]] = {
    "reserve": lambda asvc: asvc.reserve("t"),
    "reserve three": lambda asvc: asvc.reserve("t", 3, None),
    "linger": lambda asvc: asvc.reserve("t", 50, None, linger=10),
    "exchange": lambda asvc: asvc.exchange(topics="t", n=2, timeout=None),
    "jobs": lambda asvc: first(asvc),
}


@pytest.mark.parametrize("call", CALLS)
def test_cancelled_after_each_number_of_turns(asvc: AsyncJobService, run: Run[None], call: str) -> None:
    async def cancel_after(turns: int) -> bool:
        task = asyncio.ensure_future(CALLS[call](asvc))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    async def each() -> None:
        await asvc.enqueue_many([NewJob("t") for _ in range(9)])
        for turns in range(15):
            was_cancelled = await cancel_after(turns)
            if was_cancelled:
                await nothing_is_reserved(asvc)
            else:
                await quiet(asvc)
                held = await asvc.find("reserved", topic="t")
                await asvc.clear("t")
                await asvc.cancel([job.id for job in held])
                await asvc.enqueue_many([NewJob("t") for _ in range(9)])
            assert (await asvc.stats("t")).now[Status.READY] == 9

    run(each())


@pytest.mark.parametrize("call", [one for one in CALLS if one != "reserve"])
def test_cancelled_as_a_job_comes(asvc: AsyncJobService, run: Run[None], call: str) -> None:
    """The waiting thread grants while the coroutine is cancelled, in every order."""

    async def each() -> None:
        for turns in range(15):
            task = asyncio.ensure_future(CALLS[call](asvc))
            await eventually(lambda: len(asvc._crew().jobs._open()) == 1)
            enqueued = asyncio.ensure_future(asvc.enqueue("t"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await enqueued
            if task.cancelled():
                await nothing_is_reserved(asvc)
                assert (await asvc.stats("t")).now[Status.READY] == 1
                await asvc.clear("t")
            else:
                await asvc.cancel([job.id for job in await asvc.find("reserved", topic="t")])

    run(each())


def test_what_was_granted_in_the_turn_of_its_cancellation_goes_back(asvc: AsyncJobService, run: Run[None]) -> None:
    async def same_turn() -> None:
        task = asyncio.ensure_future(asvc.reserve("t", timeout=None))
        await eventually(lambda: len(asvc._crew().jobs._open()) == 1)
        [wish] = asvc._crew().jobs._open()
        await asvc.enqueue("t")
        await eventually(wish._answer.done)  # and the task has not had its turn yet, or has it
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            await nothing_is_reserved(asvc)

    run(same_turn())


def test_a_job_for_a_loop_that_is_closed_goes_back(asvc: AsyncJobService, svc: JobService) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(asvc.reserve("t", timeout=None))
    loop.run_until_complete(eventually(lambda: len(asvc._crew().jobs._open()) == 1))
    [abandoned] = asvc._crew().jobs._open()
    loop.close()
    svc.enqueue("t")
    asyncio.run(eventually(lambda: not abandoned.is_open()))
    asyncio.run(nothing_is_reserved(asvc))
    assert svc.get(1).attempt == 0  # it was not even taken
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be left
    coroutine: Any = task.get_coro()  # which may be None by its type, from Python 3.12 on
    coroutine.close()


def test_a_block_that_is_cancelled_has_given_its_job_back(asvc: AsyncJobService, run: Run[None]) -> None:
    async def hold(begun: asyncio.Event) -> None:
        async for job in asvc.jobs("t"):
            async with job:
                begun.set()
                await asyncio.Event().wait()

    async def cancel() -> None:
        await asvc.enqueue("t")
        begun = asyncio.Event()
        task = asyncio.ensure_future(hold(begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await asvc.status(1), (await asvc.get(1)).retry_count) == ("ready", 0)

    run(cancel())


def test_a_block_that_is_cancelled_as_it_is_left_is_settled(asvc: AsyncJobService, run: Run[None]) -> None:
    async def leave() -> None:
        [job] = await asvc.reserve("t")
        async with job:
            pass

    async def cancel() -> None:
        for turns in range(15):
            id = await asvc.enqueue("t")
            task = asyncio.ensure_future(leave())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await nothing_is_reserved(asvc)
            assert await asvc.status(id) in ("ready", "done")
            await asvc.clear("t")

    run(cancel())


def test_nothing_is_lost_or_doubled_by_random_cancellations(asvc: AsyncJobService, run: Run[None]) -> None:
    """Consumers are cancelled at random points and begun anew, until all jobs are done."""
    choose = random.Random(5)
    done: Counter[int] = Counter()

    async def consume() -> None:
        async for job in asvc.jobs("t", n=choose.randint(1, 4)):
            async with job:
                await asyncio.sleep(0)
            done[job.id] += 1

    async def produce() -> list[int]:
        return [await asvc.enqueue("t") for _ in range(300)]

    async def everything() -> None:
        consumers = [asyncio.ensure_future(consume()) for _ in range(10)]
        producer = asyncio.ensure_future(produce())

        def are_done() -> bool:
            return producer.done() and asvc.sync.stats("t").now[Status.DONE] == 300

        while not are_done():
            chosen = choose.randrange(len(consumers))
            await asyncio.sleep(choose.random() * 0.004)
            consumers[chosen].cancel()
            await asyncio.gather(consumers[chosen], return_exceptions=True)
            consumers[chosen] = asyncio.ensure_future(consume())
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        assert set(done) <= set(await producer)
        assert max(done.values()) == 1
        assert await asvc.verify() == []

    run(everything())


def test_closing_gives_back_first(asvc: AsyncJobService, svc: JobService, run: Run[None]) -> None:
    async def close() -> None:
        await asvc.enqueue_many([NewJob("t") for _ in range(5)])
        taking = asvc.jobs("t", n=5)
        await anext(taking)
        await taking.aclose()
        closing = asyncio.ensure_future(asvc.close())
        await closing
        assert released == [4]

    released: list[int] = []
    abandon = svc._abandon

    def slowly(jobs: list[Job]) -> None:
        closed.wait(0.05)  # it would be closed by then, if closing did not wait for this
        abandon(jobs)
        released.append(svc.stats("t").now[Status.READY])

    closed = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svc, "_abandon", slowly)
        run(close())
