"""What a worker takes more handlers from as it begins to run: tasks, of which it knows no more than this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from jobq import inputs
from jobq.job import Job
from jobq.model.times import Seconds
from jobq.outcomes import Outcome
from jobq.service import JobService


class NamedHandler(Protocol):
    """A handler and the name of its jobs, as a jobq.tasks.Task has them."""

    @property
    def name(self) -> str:
        """The name of the jobs."""
        ...

    @property
    def topic(self) -> str:
        """Where the jobs are enqueued, if nothing else is said."""
        ...

    @property
    def handler(self) -> Callable[[Any], Any]:
        """What is called with the job."""
        ...

    @property
    def time_limit(self) -> Seconds | None:
        """Seconds that it may take; None for no limit."""
        ...


class Clerk(Protocol):
    """Who sees to schedules: jobs of topics that it serves in the worker's own thread, without a slot.

    topics: which these are; none if there is nothing to see to.
    """

    @property
    def topics(self) -> Sequence[str]:
        """See the class."""
        ...

    def begin(self) -> None:
        """Install what there is to see to. Raises JobqError, and is called again then."""
        ...

    def outcome(self, job: Job) -> Outcome:
        """What becomes of a job of these topics; at once, as leases are not renewed meanwhile. It raises nothing."""
        ...


@runtime_checkable
class HandlerSource(Protocol):
    """Where handlers come from, as a jobq.Tasks."""

    def for_worker(self, svc: JobService) -> Sequence[NamedHandler]:
        """The handlers that there are by now, for a worker of this queue that begins to run."""
        ...

    def clerk_for(self, svc: JobService, others: Sequence[HandlerSource]) -> Clerk:
        """Who sees to the schedules that are here and in other sources, for a worker that begins to run."""
        ...


class NoClerk:
    """The Clerk of a worker without schedules."""

    topics: Sequence[str] = ()

    def begin(self) -> None:
        """See Clerk."""

    def outcome(self, job: Job) -> Outcome:
        """See Clerk."""
        raise AssertionError("there is no topic of which this could be")


def clerk(several: Sequence[HandlerSource], svc: JobService) -> Clerk:
    """Who sees to the schedules of all sources."""
    return several[0].clerk_for(svc, several[1:]) if several else NoClerk()


def sources(value: HandlerSource | Iterable[HandlerSource]) -> tuple[HandlerSource, ...]:
    """One source or several. Raises TypeError for anything else."""
    what = "tasks must be jobq.Tasks(…), or several of them"
    several = (value,) if isinstance(value, HandlerSource) else inputs.several(value, what)
    for one in several:
        if not isinstance(one, HandlerSource):
            raise TypeError(f"{what}, not {type(one).__name__}")
    return tuple(several)
