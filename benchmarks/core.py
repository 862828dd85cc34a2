"""How many jobs a second the core enqueues, reserves and finishes on each storage.

Usage: python benchmarks/core.py [--jobs N] [--rounds N]

One process, payloads of 100 bytes. Each figure is the median of some rounds over a fresh storage; a ratio between two
rows says more than a figure, as machines differ.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jobq
from jobq import JobService, NewJob

PAYLOAD = b"x" * 100
VERBS = ("enqueue", "reserve", "done")
STORAGES = {
    "memory": "memory://",
    "lmdb off": "lmdb://{}/jobs?sync=off",
    "lmdb off volatile": "lmdb://{}/jobs?sync=off&topics=memory",
    "lmdb normal": "lmdb://{}/jobs?sync=normal",
    "lmdb full": "lmdb://{}/jobs?sync=full",
    "lmdb full volatile": "lmdb://{}/jobs?sync=full&topics=memory",
}
"""The URLs by what the table calls them; "volatile" is `topics=memory`."""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs a round (a tenth of it one a call with fsync)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'storage':<20}{'a call':>7}" + "".join(f"{verb + '/s':>13}" for verb in (*VERBS, "all three")))
    for name, url in STORAGES.items():
        for batch in (1, 100):
            slow = "sync=off" not in url and url != "memory://" and batch == 1
            jobs = arguments.jobs // 10 if slow else arguments.jobs
            run = partial(lifecycle, jobs=jobs, batch=batch)
            rounds = [measured(url, run) for _ in range(arguments.rounds)]
            print_row(name, batch, jobs, rounds)
    for threads in (1, 16, 64):
        run = partial(enqueue_from, threads=threads, each=3200 // threads)
        rates = [measured(STORAGES["lmdb full"], run)[0] for _ in range(arguments.rounds)]
        print(f"lmdb full, {threads} threads enqueue one a call: {statistics.median(rates):,.0f}/s")


def measured(url: str, run: Callable[[JobService], list[float]]) -> list[float]:
    """What `run` gives on a fresh storage."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, jobq.open(url.format(folder)) as svc:
        return run(svc)


def lifecycle(svc: JobService, jobs: int, batch: int) -> list[float]:
    """Seconds to enqueue, reserve and finish jobs, `batch` a call."""
    started = time.perf_counter()
    if batch == 1:
        for _ in range(jobs):
            svc.enqueue("bench", 0, PAYLOAD)
    else:
        for _ in range(jobs // batch):
            svc.enqueue_many([NewJob("bench", 0, PAYLOAD) for _ in range(batch)])
    enqueued = time.perf_counter()
    reserved = [svc.reserve("bench", batch) for _ in range(jobs // batch)]
    taken = time.perf_counter()
    for handles in reserved:
        svc.done(handles)
    finished = time.perf_counter()
    return [enqueued - started, taken - enqueued, finished - taken]


def enqueue_from(svc: JobService, threads: int, each: int) -> list[float]:
    """Jobs a second that some threads enqueue, one a call."""

    def enqueue() -> None:
        for _ in range(each):
            svc.enqueue("bench", 0, PAYLOAD)

    workers = [threading.Thread(target=enqueue) for _ in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [threads * each / (time.perf_counter() - started)]


def print_row(name: str, batch: int, jobs: int, rounds: list[list[float]]) -> None:
    """One line of the table: the median of the rounds for each verb, and for the three together."""
    rates = [jobs / statistics.median(times) for times in zip(*rounds, strict=True)]
    together = jobs / statistics.median(sum(times) for times in rounds)
    print(f"{name:<20}{batch:>7}" + "".join(f"{rate:>13,.0f}" for rate in (*rates, together)))


if __name__ == "__main__":
    main()
