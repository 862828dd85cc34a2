"""dramatiq: tasks over a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers import valkey
from benchmarks.peers.peer import Peer, Survives, TaskTimes, library
from benchmarks.stopwatch import Laps, seconds_of

PATIENCE = 600


def run_tasks(folder: Path, jobs: int) -> TaskTimes:
    """Through its Worker, with the 8 threads that a process of it has unless told."""
    laps = Laps(jobs)
    dramatiq: Any = library("dramatiq")
    with valkey.server(folder) as url:
        broker = library("dramatiq.brokers.redis").RedisBroker(url=url)
        dramatiq.set_broker(broker)

        def nothing(number: int) -> None:
            laps.lap()

        actor = dramatiq.actor(nothing)
        enqueueing = seconds_of(lambda: [actor.send(number) for number in range(jobs)])
        worker = dramatiq.Worker(broker, worker_threads=8)
        worker.start()
        laps.all_done.wait(PATIENCE)
        worker.stop()
        return TaskTimes(enqueueing, laps.seconds())


PEERS = [
    Peer(
        "dramatiq", "dramatiq", Survives.KILL, acknowledges=True, priority=True, delay=True, lease=True, processes=True,
        run_tasks=run_tasks, note=valkey.NOTE,
    )
]  # fmt: skip
