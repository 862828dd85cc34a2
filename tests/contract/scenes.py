"""Scenes that many tests of the contract begin with, and what they compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NamedTuple

from jobq import Job, JobInfo, JobService, NewJob, Status, TopicStats


def take(svc: JobService, topic: str = "t", **arguments: Any) -> Job:
    """Reserve the one job that is there to reserve first."""
    [job] = svc.reserve(topic, **arguments)
    return job


def given(svc: JobService, topic: str = "t", **arguments: Any) -> Job:
    """Enqueue a job and reserve it."""
    job_id = svc.enqueue(topic, **arguments)
    job = take(svc, topic)
    assert job.id == job_id
    return job


def names(jobs: list[Job]) -> list[str]:
    """The names of reserved jobs, in order."""
    return [job.name for job in jobs]


def enqueue_named(svc: JobService, *names: str, topic: str = "t") -> list[int]:
    """Enqueue one job for each name."""
    return svc.enqueue_many([NewJob(topic, name=name) for name in names])


def facts(info: JobInfo) -> dict[str, Any]:
    """All that a JobInfo says."""
    return {field.name: getattr(info, field.name) for field in fields(info) if field.compare}


# -- one job in each state ---------------------------------------------------------------------------------------------


def _ready(svc: JobService, topic: str) -> int:
    return svc.enqueue(topic)


def _delayed(svc: JobService, topic: str) -> int:
    return svc.enqueue(topic, delay=60)


def _reserved(svc: JobService, topic: str) -> int:
    return given(svc, topic).id


def _done(svc: JobService, topic: str) -> int:
    job = given(svc, topic)
    job.done({"pages": 3})
    return job.id


def _canceled(svc: JobService, topic: str) -> int:
    job_id = svc.enqueue(topic)
    svc.cancel(job_id, "not needed")
    return job_id


def _dead(svc: JobService, topic: str) -> int:
    job = given(svc, topic)
    job.reject("broken")
    return job.id


STATES: dict[str, Callable[[JobService, str], int]] = {
    "ready": _ready,
    "delayed": _delayed,
    "reserved": _reserved,
    "done": _done,
    "canceled": _canceled,
    "dead": _dead,
}
"""How a job comes into each state; "dead" is Canceled too, but not on request."""


def put(svc: JobService, state: str) -> int:
    """A new job in a state, in the topic of that name."""
    return STATES[state](svc, state)


# -- all that can be seen ----------------------------------------------------------------------------------------------


class Snapshot(NamedTuple):
    """All that a service shows of its jobs and topics."""

    jobs: dict[int, tuple[JobInfo, bytes, int | None]]
    stats: list[TopicStats]


def snapshot(svc: JobService) -> Snapshot:
    """Every job as `get` and `find` have it, its payload, who holds its unique key; and every topic's counters."""
    jobs = {}
    for status in Status:
        for info in every(svc, status):
            assert svc.get(info.id) == info
            holder = svc.lookup(info.topic, info.unique_key) if info.unique_key else None
            jobs[info.id] = (info, svc.payload(info.id), holder)
    return Snapshot(jobs, [svc.stats(topic) for topic in svc.topics()])


def every(svc: JobService, status: Status, topic: str | None = None) -> list[JobInfo]:
    """All jobs of a status, page by page."""
    found: list[JobInfo] = []
    while page := svc.find(status, topic=topic, after=found[-1] if found else None, limit=7):
        found += page
    return found


@contextmanager
def unchanged(svc: JobService) -> Iterator[None]:
    """Assert that nothing that can be seen is changed inside."""
    before = snapshot(svc)
    yield
    assert snapshot(svc) == before
