"""What type checkers refuse: each line with a comment, and no other. It is checked, and never run."""
# pyright: strict

from __future__ import annotations

from jobq import AsyncJob, Job, JobService, Tasks, Worker

tasks = Tasks(topic="mail")


@tasks.task(max_retries=5)
def send(to: str, subject: str = "hello") -> int:
    return len(to)


@tasks.task
def report(job: Job, pages: list[int], *, colour: bool = False) -> None: ...


@tasks.task
async def fetch(job: AsyncJob, url: str) -> bytes:
    return b""


@tasks.task
def nothing() -> None: ...


send.enqueue()  # type: ignore[call-arg]
send.enqueue(3)  # type: ignore[arg-type]
send.enqueue("a", subjekt="b")  # type: ignore[call-arg]
send.enqueue("a", "b", "c")  # type: ignore[call-arg]
send.new_job(b"a")  # type: ignore[arg-type]
send.options(delay=60).enqueue(3)  # type: ignore[arg-type]
send.options(delay=60).new_job("a", subject=3)  # type: ignore[arg-type]
send(3)  # type: ignore[arg-type]
report.enqueue()  # type: ignore[call-arg]
report.enqueue("pages")  # type: ignore[arg-type]
report.enqueue([1], True)  # type: ignore[call-arg]
fetch.enqueue(3)  # type: ignore[arg-type]
nothing.enqueue(1)  # type: ignore[call-arg]

send.options(delays=60)  # type: ignore[call-arg]
send.options(on_duplicate="drop")  # type: ignore[arg-type]
send.options(priority="high")  # type: ignore[arg-type]
tasks.task(max_retry=5)  # type: ignore[call-overload]
tasks.task(lease="long")  # type: ignore[call-overload]
tasks.task(3)  # type: ignore[call-overload]
tasks.bind("memory://")  # type: ignore[arg-type]
Tasks(3)  # type: ignore[arg-type]
Tasks(codec=3)  # type: ignore[arg-type]


def with_a_job(svc: JobService, job: Job) -> None:
    report.enqueue(job, [1])  # type: ignore[call-arg, arg-type]
    Worker(svc, "mail", tasks="mail")  # type: ignore[arg-type]


async def program() -> str:
    await send.enqueue_async(3)  # type: ignore[arg-type]
    return await send.enqueue_async("a")  # type: ignore[return-value]
