"""Both faces over one queue: in one process, in several, and in a fork; and a worker whose handlers are coroutines."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import jobq
from jobq import AsyncJob, AsyncJobService, JobService, NewJob, Status, Worker
from tests.aio.conftest import Run, eventually
from tests.clocks import PATIENCE

CONSUMER = """
import asyncio, sys, jobq

async def main():
    async with jobq.open_async(sys.argv[1]) as asvc:
        print("ready", flush=True)
        async def consume():
            async for job in asvc.jobs("t"):
                async with job:
                    if job.text == "last":
                        return
                    print(job.id, flush=True)
        await asyncio.gather(*(consume() for _ in range(3)))

asyncio.run(main())
"""


def test_both_faces_in_several_processes(tmp_path: Path, run: Run[None]) -> None:
    """A thread, coroutines of this process and of two others share a directory."""
    pytest.importorskip("lmdb")
    url = f"lmdb:{tmp_path}/jobs?sync=off"
    taken: list[int] = []

    def consume(svc: JobService) -> None:
        for job in svc.jobs("t"):
            with job:
                if job.text == "last":
                    return
                taken.append(job.id)

    async def consume_async(asvc: AsyncJobService) -> None:
        async for job in asvc.jobs("t"):
            async with job:
                if job.text == "last":
                    return
                taken.append(job.id)

    async def together() -> None:
        async with jobq.open_async(url) as asvc:
            with jobq.open(url) as svc:
                others = [
                    subprocess.Popen([sys.executable, "-c", CONSUMER, url], stdout=subprocess.PIPE, text=True)
                    for _ in range(2)
                ]
                for other in others:
                    assert other.stdout is not None
                    assert await asyncio.to_thread(other.stdout.readline) == "ready\n"
                thread = threading.Thread(target=consume, args=[svc])
                thread.start()
                tasks = [asyncio.ensure_future(consume_async(asvc)) for _ in range(2)]
                ids = [await asvc.enqueue("t") if n % 2 else svc.enqueue("t") for n in range(200)]
                await asvc.enqueue_many([NewJob("t", 9, "last") for _ in range(3 * len(others) + 3)])
                await asyncio.gather(*tasks)
                await asyncio.to_thread(thread.join)
                for other in others:
                    said, _ = await asyncio.to_thread(other.communicate, timeout=PATIENCE)
                    assert other.returncode == 0
                    taken.extend(map(int, said.split()))
                assert sorted(taken) == ids
                assert await asvc.verify() == []

    run(together())


def test_a_fork_has_threads_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    asvc = AsyncJobService(jobq.open(f"lmdb:{tmp_path}/jobs?sync=off"))

    async def wait_for_one() -> int:
        task = asyncio.ensure_future(asvc.reserve("t", timeout=PATIENCE))
        await eventually(lambda: len(asvc._crew().jobs._open()) == 1)
        await asvc.enqueue("t")
        [job] = await task
        await job.done()
        return job.id

    assert asyncio.run(wait_for_one()) == 1
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if asyncio.run(wait_for_one()) == 2 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(wait_for_one()) == 3
    asyncio.run(asvc.close())


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_coroutine_handlers_get_an_async_job(tmp_path: Path, executor: str) -> None:
    pytest.importorskip("lmdb")
    with jobq.open(f"lmdb:{tmp_path}/jobs?sync=off") as svc:
        worker = Worker(svc, "t", concurrency=4, executor=executor)  # type: ignore[arg-type]
        worker.default(uses_its_job)
        ids = [svc.enqueue("t", payload=str(n)) for n in range(5)]
        worker.run(burst=True)
        assert [svc.get(id).result for id in ids[:4]] == [["AsyncJob", str(n), "reserved", False] for n in range(4)]
        assert [svc.logs(id).lines[0].message for id in ids[:4]] == ["begun"] * 4
        assert (svc.get(ids[4]).status, svc.get(ids[4]).note) == (Status.CANCELED, "four")
        assert svc.stats("then").now[Status.READY] == 4


async def uses_its_job(job: AsyncJob) -> None:
    await job.log("begun")
    await job.extend(60)
    if job.text == "4":
        await job.cancel("four")
        return
    said = [type(job).__name__, job.text, str((await job.info()).status), await job.canceled()]
    await job.done(said, then=NewJob("then"))


def test_many_coroutine_handlers_block_no_loop_with_their_verbs(svc: JobService) -> None:
    """While one handler's verb waits for a lock, the others of the worker go on."""
    inside, leave = threading.Event(), threading.Event()
    went_on: list[int] = []

    def hold(uow: object) -> None:
        inside.set()
        leave.wait(PATIENCE)

    worker = Worker(svc, "t", concurrency=2)

    @worker.handler
    async def asks(job: AsyncJob) -> None:
        holder = threading.Thread(target=svc._storage.transact, args=[hold])
        holder.start()
        await asyncio.to_thread(inside.wait)
        await job.log("it waits for the other transaction")
        assert went_on
        holder.join()

    @worker.handler
    async def goes_on(job: AsyncJob) -> None:
        while not inside.is_set():
            await asyncio.sleep(0.001)
        for _ in range(10):
            await asyncio.sleep(0.001)
        went_on.append(job.id)
        leave.set()

    svc.enqueue_many([NewJob("t", name="asks"), NewJob("t", name="goes_on")])
    worker.run(burst=True)
    assert [svc.status(1), svc.status(2)] == ["done", "done"]


LEAVING = """
import asyncio, atexit, sys, jobq
from jobq.aio import waiting

waiting.PATIENCE = 1e6
svc = jobq.open(sys.argv[1])
atexit.register(svc.close)

async def main():
    asvc = jobq.AsyncJobService(svc)
    reserving = asyncio.create_task(asvc.reserve("t", timeout=None))
    await asyncio.sleep(0)
    await asvc.enqueue("t")
    [job] = await reserving
    print(job.id)

asyncio.run(main())
"""


def test_a_service_that_is_closed_as_the_program_ends_waits_for_nobody(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEAVING, f"lmdb:{tmp_path}/jobs"],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("1\n", "")
