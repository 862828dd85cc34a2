"""saq: coroutines over a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.peers import valkey
from benchmarks.peers.peer import Peer, Survives, TaskTimes, library
from benchmarks.stopwatch import Laps, seconds_of

CONCURRENCY = 8


def run_tasks(folder: Path, jobs: int) -> TaskTimes:
    """Through its Worker."""
    laps = Laps(jobs)

    async def nothing(context: dict[str, Any], *, number: int) -> None:
        laps.lap()

    with valkey.server(folder) as url, asyncio.Runner() as runner:
        queue: Any = library("saq").Queue.from_url(url)

        async def enqueue() -> None:
            await queue.connect()
            for number in range(jobs):
                await queue.enqueue("nothing", number=number)

        async def work() -> None:
            worker = library("saq").Worker(
                queue, [("nothing", nothing)], concurrency=CONCURRENCY, burst=True, dequeue_timeout=1
            )
            await worker.start()
            await queue.disconnect()

        enqueueing = seconds_of(lambda: runner.run(enqueue()))
        runner.run(work())
        return TaskTimes(enqueueing, laps.seconds())


PEERS = [
    Peer(
        "saq", "saq", Survives.KILL, acknowledges=True, delay=True, lease=True, processes=True, run_tasks=run_tasks,
        note=valkey.NOTE,
    )
]  # fmt: skip
