"""celery: tasks over a server."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers import valkey
from benchmarks.peers.peer import Peer, Survives, TaskTimes, library
from benchmarks.stopwatch import Laps, seconds_of

PATIENCE = 600


def run_tasks(pool: str, folder: Path, jobs: int) -> TaskTimes:
    """Through its worker, in this process; results are not kept."""
    laps = Laps(jobs)
    with valkey.server(folder) as url:
        app: Any = library("celery").Celery("bench", broker=url)
        app.conf.update(task_ignore_result=True, worker_redirect_stdouts=False)

        def nothing(number: int) -> None:
            laps.lap()

        task = app.task(nothing, name="nothing")
        enqueueing = seconds_of(lambda: [task.delay(number) for number in range(jobs)])
        worker = app.Worker(pool=pool, concurrency=8, without_gossip=True, without_mingle=True, without_heartbeat=True)
        stopper = threading.Thread(target=_stop, args=(worker, laps), daemon=True)
        stopper.start()
        worker.start()
        return TaskTimes(enqueueing, laps.seconds())


def _stop(worker: Any, laps: Laps) -> None:
    laps.all_done.wait(PATIENCE)
    library("celery.worker.state").should_stop = 0


PEERS = [
    Peer(
        f"celery, {pool}", "celery", Survives.KILL, priority=True, delay=True, processes=True,
        run_tasks=partial(run_tasks, pool),
        note=f"{valkey.NOTE}; a task is acknowledged before it runs, unless acks_late",
    )
    for pool in ("solo", "threads")
]  # fmt: skip
