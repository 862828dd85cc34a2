"""What the holder of a reservation does with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jobq import lifecycle
from jobq.draft import Draft
from jobq.model.options import Limits
from jobq.model.records import Now, Record
from jobq.model.requests import Request
from jobq.verbs import producing


class Settlement(NamedTuple):
    """One reservation and what becomes of it.

    change: from the Reserved record to the next. is_retry: whether it counts as a retry if the job lives on.
    then: jobs to enqueue with it, if the reservation still stands.
    """

    job_id: int
    attempt: int
    change: Callable[[Record, Now], Record]
    is_retry: bool = False
    then: Sequence[Request] = ()


def settle(draft: Draft, settlements: Sequence[Settlement], limits: Limits) -> tuple[list[int], list[int]]:
    """Change every job whose reservation stands.

    Returns the positions of those whose reservation is lost, and the ids that the others' `then` enqueued.
    """
    lost: list[int] = []
    followers: list[Request] = []
    now = draft.now
    found = draft.get([settlement.job_id for settlement in settlements])
    for position, job in enumerate(found):
        _, attempt, change, is_retry, then = settlements[position]
        if job is None or not lifecycle.is_held(job, attempt):
            lost.append(position)
            continue
        after = change(job, now)
        draft.change(job, after)
        lifecycle.count_settled(draft.tally(job.topic), job, after, is_retry)
        if then:
            followers += then
    return lost, producing.enqueue(draft, followers, limits) if followers else []


def extend(
    draft: Draft, holds: Sequence[tuple[int, int, int]], *, at_least: bool = False
) -> tuple[list[int], list[Record]]:
    """Renew reservations given as (job id, attempt, lease in nanoseconds). at_least: see `lifecycle.extend`.

    Returns the positions of the lost ones, and the records of the others.
    """
    lost: list[int] = []
    renewed: list[Record] = []
    found = draft.get([job_id for job_id, _, _ in holds])
    for position, ((_, attempt, lease), job) in enumerate(zip(holds, found, strict=True)):
        if job is None or not lifecycle.is_held(job, attempt):
            lost.append(position)
            continue
        renewed.append(lifecycle.extend(job, draft.now, lease, at_least=at_least))
        draft.change(job, renewed[-1])
    return lost, renewed


def log(draft: Draft, job_id: int, attempt: int, message: str) -> bool:
    """Add a line to the log of a job; says whether the reservation stands, as otherwise nothing is added."""
    [job] = draft.get([job_id])
    if job is None or not lifecycle.is_held(job, attempt):
        return False
    draft.log(job_id, message)
    return True
