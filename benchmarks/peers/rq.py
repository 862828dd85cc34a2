"""rq: tasks over a server.

Its SimpleWorker runs tasks in its own process, one at a time; its Worker forks for each, which is far slower.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from benchmarks.peers import valkey
from benchmarks.peers.peer import Peer, Survives, TaskTimes, library
from benchmarks.stopwatch import Laps, seconds_of

laps = Laps(0)


def nothing(number: int) -> None:
    """A task; it is imported by its name."""
    laps.lap()


def run_tasks(folder: Path, jobs: int) -> TaskTimes:
    """Through a SimpleWorker."""
    global laps
    laps = Laps(jobs)
    logging.getLogger("rq").setLevel(logging.WARNING)
    rq: Any = library("rq")
    with valkey.server(folder) as url:
        connection = library("redis").Redis.from_url(url)
        queue = rq.Queue(connection=connection)
        enqueueing = seconds_of(lambda: [queue.enqueue(nothing, number, result_ttl=0) for number in range(jobs)])
        worker = rq.SimpleWorker([queue], connection=connection, log_job_description=False)
        worker.work(burst=True, logging_level="WARNING")
        return TaskTimes(enqueueing, laps.seconds())


PEERS = [
    Peer(
        "rq", "rq", Survives.KILL, acknowledges=True, delay=True, processes=True, run_tasks=run_tasks,
        note=f"{valkey.NOTE}; SimpleWorker, which does not fork",
    )
]  # fmt: skip
