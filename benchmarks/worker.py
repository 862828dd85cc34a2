"""How many jobs that do nothing a Worker runs a second, and how many commits each takes.

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

from jobq import Job, JobService, NewJob, Observer, Worker
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


async def nothing_async(job: Job) -> None:
    """A handler."""


HANDLERS = {"nothing": nothing, "nothing_async": nothing_async}


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


def measured(storage: str, way: Way, jobs: int) -> tuple[float, float]:
    """Jobs a second, and transactions a job."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        counting = Counting(MemoryStorage() if storage == "memory" else LmdbStorage(f"{folder}/jobs", sync=storage))
        with JobService(cast("Storage", counting)) as svc:
            svc.enqueue_many([NewJob("bench", payload=PAYLOAD, name=way.handler) for _ in range(jobs)])
            stopwatch = Stopwatch()
            worker = Worker(svc, "bench", concurrency=way.concurrency, executor=way.executor, observer=stopwatch)
            worker.handler(HANDLERS[way.handler])
            before = counting.transactions
            worker.run(burst=True)
            return jobs / stopwatch.seconds(), (counting.transactions - before) / jobs


if __name__ == "__main__":
    main()
