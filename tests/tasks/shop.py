"""Tasks of a program, which child processes import as well."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import jobq
from jobq import Done, Job, Reject

tasks = jobq.Tasks(topic="shop")
prices = jobq.Tasks(topic="prices")


@tasks.task
def whereabouts(job: Job, /, *notes: str, **more: int) -> dict[str, Any]:
    """What a task sees."""
    job.log(f"attempt {job.attempt}")
    return {"notes": notes, "more": more, "pid": os.getpid(), "name": job.name}


@tasks.task(name="ship", priority=-3, max_retries=2, keep_done=None)
def ship(order: int, to: str = "home") -> str:
    return f"{order} to {to}"


@tasks.task
def pack(order: int) -> None:
    if order < 0:
        raise Reject("no such order")
    raise Done({"boxes": order}, then=[ship.new_job(order, to="away"), prices_of.new_job([order])])


@prices.task(time_limit=20)
async def prices_of(orders: list[int]) -> dict[str, int]:
    await asyncio.sleep(0)
    return {str(order): order * 10 for order in orders}


@prices.task
async def noted(job: jobq.AsyncJob, line: str) -> int:
    await job.log(line)
    return job.id


@prices.task
async def noted_at_once(job: Job, line: str) -> int:
    job.log(line)
    return job.id
