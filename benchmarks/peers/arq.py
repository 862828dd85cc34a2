"""arq: coroutines over a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.peers import valkey
from benchmarks.peers.peer import Peer, Survives, TaskTimes, library
from benchmarks.stopwatch import Laps, seconds_of

CONCURRENCY = 8
POLL_DELAY = 0.005
"""Seconds; the half of one that arq takes unless told would be all that is measured."""


def run_tasks(folder: Path, jobs: int) -> TaskTimes:
    """Through its Worker."""
    laps = Laps(jobs)

    async def nothing(context: dict[str, Any], number: int) -> None:
        laps.lap()

    with valkey.server(folder) as url, asyncio.Runner() as runner:
        settings = library("arq.connections").RedisSettings.from_dsn(url)

        async def enqueue() -> None:
            pool = await library("arq").create_pool(settings)
            for number in range(jobs):
                await pool.enqueue_job("nothing", number)
            await pool.aclose()

        async def work() -> None:
            worker = library("arq.worker").Worker(
                [library("arq.worker").func(nothing, name="nothing", keep_result=0)],
                redis_settings=settings, burst=True, max_jobs=CONCURRENCY, poll_delay=POLL_DELAY, handle_signals=False,
            )  # fmt: skip
            await worker.async_run()
            await worker.close()

        enqueueing = seconds_of(lambda: runner.run(enqueue()))
        runner.run(work())
        return TaskTimes(enqueueing, laps.seconds())


PEERS = [
    Peer(
        "arq", "arq", Survives.KILL, acknowledges=True, delay=True, lease=True, processes=True, run_tasks=run_tasks,
        note=f"{valkey.NOTE}; polls each {POLL_DELAY * 1000:g} ms, unless told each 500",
    )
]  # fmt: skip
