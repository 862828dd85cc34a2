"""Waiting until something can be reserved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobq.model.records import Now
from jobq.model.times import SECOND
from jobq.model.views import JobInfo
from jobq.ports import Storage
from jobq.verbs import looking
from jobq.verbs.consuming import Haul

LONGEST_NAP = 60.0
"""Seconds after which a waiter sees to what nobody else does: see `sweeping`."""


def wait_for_haul(
    storage: Storage,
    topics: Sequence[str],
    attempt: Callable[[], Haul],
    timeout: int | None,
    when_idle: Callable[[Now], None],
) -> Haul:
    """Repeat `attempt` until it takes something or `timeout` nanoseconds are over (None: for ever).

    Each attempt after the first is made under a watch that was begun before it, so that no job slips in between.
    when_idle: called before each nap; what it commits may end the nap at once.
    """
    haul = _unless_again(attempt)
    if haul.taken or timeout == 0:
        return haul
    end = None if timeout is None else haul.now.steady + timeout
    with storage.watch(topics) as watch:
        while True:
            haul = _unless_again(attempt)
            left = None if end is None else (end - haul.now.steady) / SECOND
            if haul.taken or (left is not None and left <= 0):
                return haul
            when_idle(haul.now)
            due_in = None if haul.due_in is None else haul.due_in / SECOND
            watch.wait(min(nap for nap in (left, due_in, LONGEST_NAP) if nap is not None))


def fill_up(
    storage: Storage, topics: Sequence[str], attempt: Callable[[int], Haul], hauls: list[Haul], n: int, longest: int
) -> None:
    """Add to `hauls`, which has one, until n jobs are taken in all or `longest` nanoseconds are over since that one.

    attempt: takes up to so many jobs. What was taken is in `hauls`, whatever is raised. It ends when half of a lease
    is over, too, so that no job waits for others until its reservation is lost.
    """
    missing = n - len(hauls[0].taken)
    end = hauls[0].now.steady + min(longest, *_half_leases(hauls[0]))
    with storage.watch(topics) as watch:
        while missing:
            haul = attempt(missing)
            if haul.taken:
                hauls.append(haul)
                missing -= len(haul.taken)
                end = min(end, haul.now.steady + min(_half_leases(haul)))
            left = (end - haul.now.steady) / SECOND
            if left <= 0:
                return
            if not haul.taken and not haul.again:  # only then is it known when the next job is due
                watch.wait(min(left, LONGEST_NAP if haul.due_in is None else haul.due_in / SECOND))


def wait_until_finished(storage: Storage, job_id: int, timeout: int | None) -> JobInfo:
    """The job once it is finished; TimeoutError after `timeout` nanoseconds, JobNotFound if it goes meanwhile."""
    info, now = storage.view(lambda uow: (looking.info(uow, job_id), uow.now))
    end = None if timeout is None else now.steady + timeout
    with storage.watch([info.topic], finished=True) as watch:
        while True:
            info, now = storage.view(lambda uow: (looking.info(uow, job_id), uow.now))
            if info.finished_at is not None:
                return info
            left = LONGEST_NAP if end is None else (end - now.steady) / SECOND
            if left <= 0:
                raise TimeoutError(f"job {job_id} of topic {info.topic!r} is not finished, but {info.status.value}")
            watch.wait(min(left, LONGEST_NAP))


def _half_leases(haul: Haul) -> list[int]:
    """Half of what is left of the lease of each job, in nanoseconds."""
    return [(job.deadline - haul.now.steady) // 2 for job, _ in haul.taken]


def _unless_again(attempt: Callable[[], Haul]) -> Haul:
    haul = attempt()
    while haul.again:
        haul = attempt()
    return haul
