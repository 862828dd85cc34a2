"""Running tasks in a test as they are enqueued."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from jobq import inputs
from jobq.aio.job import AsyncJob
from jobq.aio.pool import Pool
from jobq.job import Job, log_fields, outcome_of, settle
from jobq.model.requests import NewJob
from jobq.model.status import Status
from jobq.outcomes import Done, Outcome
from jobq.tasks import Task, Tasks
from jobq.tasks.arguments import BadArguments
from jobq.testing.queue import QueueForTests

log = logging.getLogger("jobq")

MOST = 10_000
"""Jobs that may follow on one."""


@contextmanager
def eager(*tasks: Tasks) -> Iterator[QueueForTests]:
    """Run the tasks as they are enqueued, in the thread that enqueues them, and yield the queue that has their jobs.

    It is a new queue in memory, to which the tasks are bound until the block ends; then they are bound as before. A
    task is run once, when `enqueue` or `enqueue_async` is called, whatever its delay; so is what follows on it by
    `then`. Arguments pass through the codec. What a task raises is raised by `enqueue`, once the job is settled as by a
    Worker. Outcomes (Retry, Reject …) are applied to the job, and not raised.
    """
    if not tasks:
        raise TypeError("eager takes the jobq.Tasks whose tasks are to be run, one or several")
    for one in tasks:
        if not isinstance(one, Tasks):
            raise TypeError(f"eager takes jobq.Tasks, not {type(one).__name__}")
    with QueueForTests() as queue:
        at_once = AtOnce(queue, tasks)
        bindings = [one._binding for one in tasks]
        before = [binding.queue for binding in bindings]
        for binding in bindings:
            binding.queue = at_once
        try:
            yield queue
        finally:
            for binding, earlier in zip(bindings, before, strict=True):
                binding.queue = earlier


class AtOnce:
    """A queue of tasks (see jobq.tasks.binding.Queue) that runs each as it is enqueued."""

    def __init__(self, queue: QueueForTests, tasks: tuple[Tasks, ...]) -> None:
        self._queue = queue
        self._tasks = tasks
        self._pool = Pool()
        self._lock = threading.Lock()

    @property
    def service(self) -> QueueForTests:
        """See Queue."""
        return self._queue

    def enqueue(self, job: NewJob) -> int:
        """See Queue."""
        id, is_new = self._enqueue(job)
        for reserved, task in self._to_run(id) if is_new else ():
            with self._settling(reserved) as run:
                run.result = self._call(task, reserved)
        return id

    async def enqueue_async(self, job: NewJob) -> int:
        """See Queue: a coroutine is awaited on the loop that runs, and a function holds it up."""
        id, is_new = self._enqueue(job)
        for reserved, task in self._to_run(id) if is_new else ():
            with self._settling(reserved) as run:
                is_async = inspect.iscoroutinefunction(task.handler)
                run.result = await task.handler(AsyncJob(reserved, self._pool)) if is_async else task.handler(reserved)
        return id

    def _enqueue(self, job: NewJob) -> tuple[int, bool]:
        """The job's id, and whether it is another than there was."""
        with self._lock:
            is_kept = (
                job.on_duplicate == "keep"
                and job.unique_key is not None
                and self._queue.lookup(job.topic, job.unique_key) is not None
            )
            return self._queue.enqueue_many([job])[0], not is_kept

    def _to_run(self, id: int) -> Iterator[tuple[Job, Task[..., Any]]]:
        """The job with its task, and those that follow on it, each reserved when it is its turn."""
        ids = [id]
        for one in ids:  # it grows
            task = self._task(self._queue.get(one).name)
            job = self._reserve(one) if task is not None else None
            if job is not None and task is not None:
                yield job, task
                ids += job._followers
            if len(ids) > MOST:
                raise AssertionError(f"{MOST} jobs follow on job {id}, and there are more: does one follow on itself?")

    def _task(self, name: str) -> Task[..., Any] | None:
        return next((task for tasks in self._tasks if (task := tasks.get(name)) is not None), None)

    def _reserve(self, id: int) -> Job | None:
        """Reserve this job, and no other; None if its topic is paused."""
        others: list[Job] = []
        with self._lock:
            if self._queue.status(id) is Status.DELAYED:
                self._queue.reschedule(id, self._queue.clock.now())
            while jobs := self._queue.reserve(self._queue.get(id).topic):
                if jobs[0].id == id:
                    break
                others += jobs
            self._queue.release(others)
        return jobs[0] if jobs else None

    @contextmanager
    def _settling(self, job: Job) -> Iterator[_Run]:
        run = _Run()
        try:
            yield run
        except BaseException as error:
            self._settle(job, outcome_of(error))
            if not isinstance(error, Outcome) or isinstance(error, BadArguments):
                raise
        else:
            self._settle(job, Done(self._keepable(job, run.result)))

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if not job.settled:
            job._followers = settle(job, outcome).ids

    def _keepable(self, job: Job, result: Any) -> Any:
        try:
            inputs.result(result, self._queue.limits)
        except (TypeError, ValueError) as problem:
            log.warning("%r: what its task returned is dropped: %s", job, problem, extra=log_fields(job))
            return None
        return result

    def _call(self, task: Task[..., Any], job: Job) -> Any:
        if not inspect.iscoroutinefunction(task.handler):
            return task.handler(job)
        coroutine = task.handler(AsyncJob(job, self._pool))
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(coroutine)
        with ThreadPoolExecutor(1) as thread:  # as a loop runs in this one, which cannot run a second
            return thread.submit(copy_context().run, asyncio.run, coroutine).result()


class _Run:
    """A call of a task. result: what it returned."""

    result: Any = None
