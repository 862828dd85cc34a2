"""From the handles of one face to those of the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobq.aio.job import AsyncJob
from jobq.job import Job
from jobq.outcomes import Outcome


def plain(jobs: AsyncJob | Iterable[AsyncJob]) -> Job | list[Job]:
    """The Job of one handle, or of several. What is none is left for the verb to refuse."""
    one: Any = jobs
    if isinstance(one, AsyncJob):
        return one.sync
    return [_plain(job) for job in one] if isinstance(one, Iterable) else one


def plain_pairs(outcomes: Iterable[tuple[AsyncJob, Outcome]]) -> list[tuple[Job, Outcome]]:
    """The same for handles with their outcomes."""
    several: Any = outcomes
    if isinstance(several, Iterable):
        several = [(_plain(pair[0]), *pair[1:]) if isinstance(pair, tuple) and pair else pair for pair in several]
    pairs: list[tuple[Job, Outcome]] = several
    return pairs


def _plain(job: Any) -> Any:
    return job.sync if isinstance(job, AsyncJob) else job
