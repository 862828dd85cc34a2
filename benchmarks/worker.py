"""How many jobs and tasks that do nothing a Worker runs a second, and how many commits each takes.

Usage: python benchmarks/worker.py [--jobs N] [--rounds N]

All jobs wait before the worker begins. The figures are medians of some rounds over fresh storages. A commit is a
transaction of the worker's; with the one that enqueued the job there is one more, or a part of one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast

from jobq import AsyncJob, Job, JobService, NewJob, Observer, Tasks, Worker
from jobq.repos import LmdbStorage, MemoryStorage, Storage, UnitOfWork

T = TypeVar("T")

PAYLOAD = b"x" * 100


class Way(NamedTuple):
    """A way to run jobs."""

    name: str
    handler: str
    concurrency: int
    executor: Literal["thread", "process"] = "thread"


WAYS = [
    Way("1 thread", "nothing", 1),
    Way("8 threads", "nothing", 8),
    Way("asyncio, 8 at once", "nothing_async", 8),
    Way("2 processes", "nothing", 2, "process"),
    Way("tasks, 8 threads", "task", 8),
    Way("async tasks, 8 at once", "task_async", 8),
]
STORAGES = ["memory", "off", "normal", "full"]


class Counting:
    """A storage that counts its transactions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.transactions = 0

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        """See Storage."""
        self.transactions += 1
        result: T = self._storage.transact(body, **how)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class Stopwatch(Observer):
    """Runs from the first beginning of a job to the last end, so that the start of processes does not count."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._ended = 0.0

    def started(self, job: Job) -> None:
        """See Observer."""
        if self._began is None:
            self._began = time.perf_counter()

    def completed(self, job: Job, result: Any) -> None:
        """See Observer."""
        self._ended = time.perf_counter()

    def seconds(self) -> float:
        """How long that was."""
        assert self._began is not None
        return self._ended - self._began


def nothing(job: Job) -> None:
    """A handler."""


async def nothing_async(job: AsyncJob) -> None:
    """A handler."""


functions, coroutines = Tasks("bench"), Tasks("bench")  # apart, as a worker that has both reserves nothing ahead


@functions.task(name="task")
def task(number: int, text: str = "") -> None:
    """A task."""


@coroutines.task(name="task_async")
async def task_async(number: int, text: str = "") -> None:
    """A task."""


HANDLERS: dict[str, Callable[[Any], Any]] = {"nothing": nothing, "nothing_async": nothing_async}
TASKS = {"task": functions, "task_async": coroutines}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'':<20}" + "".join(f"{storage:>24}" for storage in STORAGES))
    for way in WAYS:
        cells: list[str] = []
        for storage in STORAGES:
            rounds = [measured(storage, way, arguments.jobs) for _ in range(arguments.rounds)]
            rate, commits = (statistics.median(figures) for figures in zip(*rounds, strict=True))
            cells.append(f"{rate:,.0f}/s {commits:.3f} c")
        print(f"{way.name:<20}" + "".join(f"{cell:>24}" for cell in cells))


def job(way: Way, number: int) -> NewJob:
    """One job for a way to run it."""
    for tasks in TASKS.values():
        if called := tasks.get(way.handler):
            return called.new_job(number, text="x" * 70)
    return NewJob("bench", payload=PAYLOAD, name=way.handler)


def measured(storage: str, way: Way, jobs: int) -> tuple[float, float]:
    """Jobs a second, and transactions a job."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        counting = Counting(MemoryStorage() if storage == "memory" else LmdbStorage(f"{folder}/jobs", sync=storage))
        with JobService(cast("Storage", counting)) as svc:
            svc.enqueue_many([job(way, number) for number in range(jobs)])
            stopwatch = Stopwatch()
            tasks = TASKS.get(way.handler, ())
            how: dict[str, Any] = {"concurrency": way.concurrency, "executor": way.executor}
            worker = Worker(svc, "bench", observer=stopwatch, tasks=tasks, **how)
            if way.handler in HANDLERS:
                worker.handler(HANDLERS[way.handler])
            before = counting.transactions
            worker.run(burst=True)
            return jobs / stopwatch.seconds(), (counting.transactions - before) / jobs


if __name__ == "__main__":
    main()
