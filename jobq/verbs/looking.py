"""Reading jobs and topics."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from itertools import islice

from jobq import lifecycle
from jobq.errors import JobNotFound
from jobq.model.records import Place, Record, TopicState
from jobq.model.status import Ordering
from jobq.model.views import JobInfo, JobLog, TopicStats, job_info, job_log, topic_stats
from jobq.ports import UnitOfWork


def record(uow: UnitOfWork, job_id: int) -> Record:
    """The record of a job; JobNotFound if there is none."""
    [job] = uow.jobs.get([job_id])
    if job is None:
        raise JobNotFound.of([job_id])
    return job


def info(uow: UnitOfWork, job_id: int) -> JobInfo:
    """The view of a job; JobNotFound if there is none."""
    job = record(uow, job_id)
    return job_info(job, lifecycle.place_of(job), uow.now)


def ended(uow: UnitOfWork, ids: Sequence[int]) -> set[int]:
    """Those of the jobs that are finished, or are not there any more."""
    jobs = zip(ids, uow.jobs.get(ids), strict=True)
    return {job_id for job_id, job in jobs if job is None or job.finished_at}


def payload(uow: UnitOfWork, job_id: int) -> bytes:
    """The payload of a job; JobNotFound if there is none."""
    record(uow, job_id)
    return uow.jobs.payloads([job_id])[0]


def logs(uow: UnitOfWork, job_id: int) -> JobLog:
    """The view of the log of a job; JobNotFound if there is none."""
    record(uow, job_id)
    return job_log(uow.jobs.logs(job_id))


def find(
    uow: UnitOfWork, orderings: Sequence[Ordering], topic: str | None, after: Place | None, limit: int
) -> list[JobInfo]:
    """Up to `limit` jobs of some orderings, by topic and then by place, behind the place `after`."""
    places: list[Place] = []
    for name in uow.topics.names() if topic is None else [topic]:
        if len(places) == limit or (after is not None and name < after.topic):
            continue
        pages = []
        for ordering in orderings:
            start = after._replace(ordering=ordering) if after is not None and name == after.topic else None
            pages.append(uow.topics.page(name, ordering, start, limit - len(places)))
        places += islice(merge(*pages, key=lambda place: place[2:]), limit - len(places))
    found = zip(places, uow.jobs.get([place.id for place in places]), strict=True)
    return [job_info(job, place, uow.now) for place, job in found if job is not None]


def stats(uow: UnitOfWork, topic: str) -> TopicStats:
    """The counters of a topic, all zero for one that is not in use."""
    state = uow.topics.state(topic) or TopicState()
    return topic_stats(topic, state, uow.topics.oldest_ready(topic), uow.now)
