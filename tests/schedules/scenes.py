"""Schedules as tests make them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from jobq import JobService, Worker
from jobq.model.times import Seconds
from jobq.tasks import Codec, ScheduleInfo, Tasks
from jobq.testing import drain

MINUTE = 60


def minutes(*numbers: int) -> list[datetime]:
    """Minutes after the clock's beginning."""
    return [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in numbers]


def tasks_of(
    spec: str | Seconds, *, does: Callable[[str], object] = str, codec: Codec | None = None, **how: Any
) -> Tasks:
    """Tasks of topic "t", one of which is named "tick" and enqueued by a schedule of that name. does: with its tick."""
    tasks = Tasks("t", codec=codec)

    @tasks.every(spec, tick_as="tick", **how)
    @tasks.task(name="tick")
    def run(tick: str) -> None:
        does(tick)

    return tasks


def clerk_of(svc: JobService, tasks: Tasks, **how: Any) -> Worker:
    """A worker that sees to the schedules, and leaves the jobs of topic "t" where they are."""
    return Worker(svc, "elsewhere", tasks=tasks, **how)


def enqueued(svc: JobService) -> list[datetime]:
    """The ticks of the jobs of topic "t", which are done then."""
    jobs = svc.reserve("t", 10_000)
    svc.done(jobs)
    return [datetime.fromisoformat(job.json()["kwargs"]["tick"]) for job in jobs]


def enqueued_in_time(svc: JobService) -> list[datetime]:
    """As `enqueued`, once there is one."""
    svc.release(svc.reserve("t", timeout=None))
    return enqueued(svc)


def served(svc: JobService, tasks: Tasks) -> list[datetime]:
    """The ticks for which a worker enqueues now."""
    drain(clerk_of(svc, tasks))
    return enqueued(svc)


def info_of(tasks: Tasks) -> ScheduleInfo:
    """The one schedule that there is."""
    [info] = tasks.schedules.list()
    return info
