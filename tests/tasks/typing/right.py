"""What type checkers accept. It is checked, and never run."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, assert_type

import jobq
from jobq import AsyncJob, AsyncJobService, Done, Job, JobOptions, JobService, NewJob, Tasks, Worker
from jobq.tasks import Task
from jobq.testing import QueueForTests, eager

tasks = Tasks(topic="mail")


@tasks.task(max_retries=5)
def send(to: str, subject: str = "hello") -> int:
    return len(to)


@tasks.task
def report(job: Job, pages: list[int], /, *, colour: bool = False) -> dict[str, int]:
    job.log("begun")
    return {"pages": len(pages)}


@tasks.task(name="fetch", topic="web", priority=-5, time_limit=timedelta(seconds=20), options=JobOptions(), lease=30)
async def fetch(job: AsyncJob, url: str) -> bytes:
    await job.log(url)
    return b""


@tasks.task
async def fetch_with_job(job: jobq.Job, url: str) -> None:
    job.log(url)


@tasks.task
def nothing() -> None: ...


@tasks.task
def many(*numbers: int, **others: str) -> None: ...


@tasks.task
def many_with_job(job: Job, /, *numbers: int, **others: str) -> None: ...


@tasks.task
def loose(job: Any, n: int) -> str:
    return str(n)


@tasks.task()
def bare(n: int) -> None:
    raise Done(then=[send.new_job("a"), nothing.new_job()])


async def program(svc: JobService, asvc: AsyncJobService) -> None:
    tasks.bind(svc)
    tasks.bind(asvc)
    assert_type(send.enqueue("a", subject="b"), int)
    assert_type(await send.enqueue_async("a"), int)
    assert_type(send.new_job(to="a"), NewJob)
    assert_type(send("a"), int)
    assert_type(send.options(delay=60, priority=-5, unique_key="a", jitter=0.5).enqueue("a", "b"), int)
    assert_type(await send.options(run_at=None, on_duplicate="keep").enqueue_async("a"), int)
    assert_type(report.enqueue([1], colour=True), int)
    assert_type(report([1]), dict[str, int])
    assert_type(fetch.enqueue("url"), int)
    assert_type(await fetch("url"), bytes)
    fetch_with_job.enqueue(url="url")
    nothing.enqueue()
    many.enqueue(1, 2, a="b")
    many_with_job.enqueue(1, 2, a="b")
    loose.enqueue(3)  # whether the first is the job, types do not know
    loose.enqueue(3, 4)
    bare.enqueue(3)
    several: list[Task[..., Any]] = [send, report, fetch]
    everything: list[Task[..., Any]] = list(tasks)
    assert_type(send.function("a"), int)
    with Worker(svc, "mail", tasks=tasks), Worker(svc, "mail", tasks=[tasks, Tasks()]):
        print(several, everything)
    with eager(tasks, tasks) as queue:
        assert_type(queue, QueueForTests)


def handed_on(work: Task[[str], Coroutine[Any, Any, bytes]]) -> int:
    return work.enqueue("url")


handed_on(fetch)
