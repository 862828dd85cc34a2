"""Threads share a service: each job goes to one of them, and none waits for a job that is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from jobq import Done, JobService, NewJob, Release, Status
from tests.clocks import PATIENCE
from tests.conftest import OpenService

THREADS = 4
JOBS = 60


def work(svc: JobService) -> list[int]:
    """Work until a job named "stop" comes; the ids of the others."""
    seen: list[int] = []
    for job in svc.jobs("t"):
        with job:
            if job.name == "stop":
                return seen
            seen.append(job.id)
    raise AssertionError("a loop without a timeout ended")


def produce(svc: JobService) -> list[int]:
    return [svc.enqueue("t", json=number) for number in range(JOBS)]


def test_each_job_goes_to_one_thread(svc: JobService) -> None:
    with ThreadPoolExecutor(2 * THREADS) as pool:
        workers = [pool.submit(work, svc) for _ in range(THREADS)]
        producers = [pool.submit(produce, svc) for _ in range(THREADS)]
        enqueued = sorted(job_id for producer in producers for job_id in producer.result(PATIENCE))
        svc.enqueue_many([NewJob("t", 1, name="stop")] * THREADS)
        done = sorted(job_id for worker in workers for job_id in worker.result(PATIENCE))
    assert done == enqueued
    assert len(set(enqueued)) == THREADS * JOBS
    stats = svc.stats("t")
    assert (stats.enqueued, stats.reserved, stats.done) == (THREADS * (JOBS + 1),) * 3
    assert stats.now == {status: stats.done if status is Status.DONE else 0 for status in Status}


def test_threads_that_exchange_lose_nothing(open_service: OpenService) -> None:
    one, other = open_service(), open_service()
    ids = one.enqueue_many([NewJob("t", number % 3) for number in range(THREADS * JOBS)])

    def exchange(svc: JobService) -> list[int]:
        seen: list[int] = []
        jobs = svc.exchange(topics="t", n=3).jobs
        while jobs:
            first, rest = jobs[0], jobs[1:]
            seen.append(first.id)
            jobs = svc.exchange([(first, Done()), *((job, Release()) for job in rest)], topics="t", n=3).jobs
        return seen

    with ThreadPoolExecutor(THREADS) as pool:
        done = [job_id for seen in pool.map(exchange, [one, other] * (THREADS // 2)) for job_id in seen]
    assert sorted(done) == ids
    assert one.stats("t").done == len(ids)


def test_one_of_many_threads_gets_the_unique_key(svc: JobService) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        ids = set(pool.map(lambda _: svc.enqueue("t", unique_key="k", on_duplicate="keep"), range(40)))
    assert ids == {svc.lookup("t", "k")}
    assert svc.stats("t").enqueued == 1
