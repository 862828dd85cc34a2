"""One look at a queue: the counters of its topics, and jobs that are running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jobq.model.status import Status
from jobq.model.times import SECOND
from jobq.model.views import JobInfo, TopicStats
from jobq.service import JobService


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look found.

    at: when, in UTC. steady: the same moment in seconds of a clock that only goes forward. topics: their counters, by
    name and sorted. running: Reserved jobs, who runs longest first.
    """

    at: datetime
    steady: float
    topics: Mapping[str, TopicStats]
    running: Sequence[JobInfo]

    @property
    def reserved(self) -> int:
        """How many jobs are Reserved, of which `running` may be a part."""
        return sum(stats.now[Status.RESERVED] for stats in self.topics.values())


def look(svc: JobService, chosen: Sequence[str], most: int) -> Sample:
    """Look at a queue: a short view for each topic.

    chosen: the topics to look at; none for all. most: how many running jobs to read, or fewer. Raises StorageError.
    """
    topics = {name: svc.stats(name) for name in dict.fromkeys(chosen or svc.topics())}
    running = _running(svc, topics, min(most, svc.limits.batch))
    # Read behind the counters: what happens in between is found again rather than missed.
    at = datetime.fromtimestamp(svc.clock.wall() / SECOND, UTC)
    return Sample(at, svc.clock.steady() / SECOND, topics, running)


def _running(svc: JobService, topics: Mapping[str, TopicStats], most: int) -> list[JobInfo]:
    """Reserved jobs, who runs longest first: all, or those of each topic whose leases end first if there are more."""
    counts = {name: number for name, stats in topics.items() if (number := stats.now[Status.RESERVED])}
    if not counts or not most:
        return []
    share = most if sum(counts.values()) <= most else max(1, most // len(counts))
    found = [
        job
        for name in sorted(counts, key=counts.__getitem__, reverse=True)[:most]
        for job in svc.find(Status.RESERVED, topic=name, limit=share)
    ]
    return sorted(found, key=lambda job: job.reserved_at or job.created_at)[:most]
