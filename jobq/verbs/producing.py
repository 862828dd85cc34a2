"""Putting jobs into topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from jobq import lifecycle
from jobq.draft import Draft
from jobq.errors import DuplicateJob, StorageCorrupt, TopicFull
from jobq.model.options import Limits
from jobq.model.requests import Request
from jobq.model.status import WAITING, Status


def enqueue(draft: Draft, requests: Sequence[Request], limits: Limits) -> list[int]:
    """Enqueue all requests and return their ids in order; for a request that kept or replaced a job, that job's id.

    Raises DuplicateJob for a held unique key that the request does not keep or may not replace, and TopicFull.
    """
    for request in requests:
        if request.unique_key:
            return _enqueue_with_keys(draft, requests, limits)
    return _enqueue_new(draft, requests, limits)


def swap(draft: Draft, job_id: int, payload: bytes, request: Request) -> bool:
    """Replace a waiting job by a request, if it has this payload still; says whether."""
    [job] = draft.get([job_id])
    if job is None or job.status not in WAITING or draft.payloads([job_id]) != [payload]:
        return False
    draft.change(job, lifecycle.replace(job, request, draft.now))
    draft.replace_payload(job_id, request.payload)
    return True


def _enqueue_new(draft: Draft, requests: Sequence[Request], limits: Limits) -> list[int]:
    first = draft.uow.jobs.allocate(len(requests))
    now, new, count, add = draft.now, lifecycle.enqueue, lifecycle.count_enqueued, draft.add
    for job_id, request in enumerate(requests, first):
        add(new(job_id, request, now), request.payload)
        count(draft.tally(request.topic), now)
    if limits.depth is not None:
        _check_depth(draft, Counter([request.topic for request in requests]), limits.depth)
    return list(range(first, first + len(requests)))


def _enqueue_with_keys(draft: Draft, requests: Sequence[Request], limits: Limits) -> list[int]:
    keys = list({(r.topic, r.unique_key) for r in requests if r.unique_key})
    holders = dict(zip(keys, draft.holders(keys), strict=True))
    added: Counter[str] = Counter()
    ids = []
    for request in requests:
        key = (request.topic, request.unique_key)
        holder = holders.get(key) if request.unique_key else None
        if holder is None:
            holder = holders[key] = draft.uow.jobs.allocate(1)
            _add(draft, holder, request)
            added[request.topic] += 1
        elif request.on_duplicate != "keep":
            _replace(draft, holder, request)
        ids.append(holder)
    if limits.depth is not None:
        _check_depth(draft, added, limits.depth)
    return ids


def _add(draft: Draft, job_id: int, request: Request) -> None:
    now = draft.now
    draft.add(lifecycle.enqueue(job_id, request, now), request.payload)
    lifecycle.count_enqueued(draft.tally(request.topic), now)


def _replace(draft: Draft, holder: int, request: Request) -> None:
    [job] = draft.get([holder])
    held = f"unique key {request.unique_key!r} of topic {request.topic!r} is held by job {holder}"
    if job is None:
        raise StorageCorrupt(f"{held}, which is not there: verify(repair=True) gives the key up")
    if request.on_duplicate == "raise":
        advice = "on_duplicate='keep' returns its id, 'replace' gives it the new payload"
        raise DuplicateJob(f"{held}, which is {job.status.value}: {advice}", job_id=holder)
    if job.status is Status.RESERVED:
        raise DuplicateJob(f"{held}, which is reserved: only a waiting job can be replaced", job_id=holder)
    draft.change(job, lifecycle.replace(job, request, draft.now))
    draft.replace_payload(holder, request.payload)


def _check_depth(draft: Draft, added: Counter[str], depth: int) -> None:
    for topic, count in added.items():
        waiting = draft.waiting(topic) - count
        if waiting + count > depth:
            raise TopicFull(
                f"topic {topic!r} has {waiting} waiting jobs, and {count} more would pass its limit of {depth}: "
                "try again later, or raise Limits(depth=…)"
            )
