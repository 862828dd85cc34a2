"""What an operator does to jobs by id, and to topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobq import lifecycle
from jobq.draft import Draft
from jobq.errors import DuplicateJob, InvalidStatus, JobNotFound
from jobq.model.records import Place, Record
from jobq.model.status import Ordering
from jobq.verbs.consuming import over


def cancel(draft: Draft, ids: Sequence[int], note: str) -> None:
    """Cancel unfinished jobs."""
    for job, after in _transitions(draft, ids, lambda job: lifecycle.cancel(job, draft.now, note)):
        draft.change(job, after)
        lifecycle.count_settled(draft.tally(job.topic), job, after, is_retry=False)


def reset(draft: Draft, ids: Sequence[int]) -> None:
    """Make jobs Ready again; DuplicateJob if another job holds the unique key of one."""
    changes = _transitions(draft, ids, lambda job: lifecycle.reset(job, draft.now))
    for job, after in changes:
        key = lifecycle.held_key(after)
        holder = draft.holders([key])[0] if key else None
        if holder is not None and holder != job.id:
            raise DuplicateJob(
                f"job {job.id} cannot be reset: its unique key {job.unique_key!r} is now held by job {holder}",
                job_id=holder,
                ids=[job.id],
            )
        draft.change(job, after)


def reschedule(draft: Draft, ids: Sequence[int], run_at: int) -> None:
    """Give waiting jobs another time."""
    for job, after in _transitions(draft, ids, lambda job: lifecycle.reschedule(job, draft.now, run_at)):
        draft.change(job, after)


def delete(draft: Draft, ids: Sequence[int]) -> None:
    """Delete finished jobs, and jobs that were set aside because they could not be read."""
    jobs = draft.uow.jobs

    def same(job: Record) -> Record:
        lifecycle.check_deletable(job)
        return job

    missing = [job_id for job_id, job in zip(ids, draft.get(ids), strict=True) if job is None]
    aside = {one.id for job_id in missing for one in jobs.quarantined(job_id - 1, 1) if one.id == job_id}
    for job, _ in _transitions(draft, [job_id for job_id in ids if job_id not in aside], same):
        draft.delete(job)
    jobs.discard(list(aside))


def clear(draft: Draft, topic: str, n: int) -> int:
    """Cancel up to n waiting jobs of a topic; returns how many."""
    topics = draft.uow.topics
    places = topics.head(topic, n)
    places += topics.page(topic, Ordering.DELAYED, None, n - len(places)) if len(places) < n else []
    cancel(draft, [job.id for job in draft.at(places)], "cleared")
    return len(places)


def prune_over(draft: Draft, topic: str, ordering: Ordering, n: int) -> int:
    """Delete up to n finished jobs whose retention is over; returns how many."""
    places = over(draft, topic, ordering, n)
    draft.discard(places)
    return len(places)


def prune_before(
    draft: Draft, topic: str, ordering: Ordering, before: int, after: Place | None, n: int
) -> tuple[int, Place | None]:
    """Of the n finished jobs behind `after`, delete those that finished before an instant.

    Returns how many were deleted, and the place to go on behind; None at the end.
    """
    places = draft.uow.topics.page(topic, ordering, after, n)
    old = [job for job in draft.at(places) if job.finished_at < before]
    for job in old:
        draft.delete(job)
    return len(old), places[-1] if len(places) == n else None


def _transitions(
    draft: Draft, ids: Sequence[int], transition: Callable[[Record], Record]
) -> list[tuple[Record, Record]]:
    """Each job before and after; refuses all of them if any is unknown or has the wrong status."""
    found = dict(zip(ids, draft.get(ids), strict=True))
    if missing := [job_id for job_id, job in found.items() if job is None]:
        raise JobNotFound.of(missing)
    changes = []
    refusals: list[InvalidStatus] = []
    for job in found.values():
        if job is not None:
            try:
                changes.append((job, transition(job)))
            except InvalidStatus as refusal:
                refusals.append(refusal)
    if refusals:
        first = refusals[0]
        raise InvalidStatus(
            str(first) if len(refusals) == 1 else f"{first} ({len(refusals)} such jobs in all; none was changed)",
            status=first.status,
            ids=[job_id for refusal in refusals for job_id in refusal.ids],
        )
    return changes
