"""The newest failures of a queue, found by a bounded amount of reading a look.

Dead letters stand in the order in which they will be forgotten; those that are kept for ever, in the order in which
they were enqueued. So a new one may stand anywhere, but most often at the end. Each topic is read through once, some
pages a look. After that its counters say when there are new ones: these are sought behind the last one that was read,
and if they are not all there, the topic is read through again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from heapq import nlargest

from jobq.cli.watching.rates import is_begun_anew
from jobq.cli.watching.sampling import Sample
from jobq.errors import JobNotFound
from jobq.model.status import Status
from jobq.model.views import JobInfo, TopicStats
from jobq.service import JobService

KEPT = 50
"""Failures that are kept: more than most screens show."""
PAGE = 500
JOBS = 2_000
SEARCHES = 200
"""Dead letters that are read at once; and jobs and pages of them that are read in one look."""
WAITING = 100
"""Jobs that are read of those that wait in a topic, who comes first first."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed. at: when it became a dead letter; of one that will be tried again, when its last try began."""

    job: JobInfo
    at: datetime


def failure(job: JobInfo) -> Failure | None:
    """What a job says of its failing; None if it did not fail, or was done after all."""
    if job.is_dead_letter:
        return Failure(job, job.finished_at or job.created_at)
    is_open = job.finished_at is None and job.last_error is not None and job.retry_count > 0
    return Failure(job, job.reserved_at or job.created_at) if is_open else None


class Kind(Enum):
    """What is searched: dead letters behind the last one known, or all of them; jobs that wait for another try."""

    TAIL = "tail"
    WHOLE = "whole"
    DELAYED = "delayed"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class _Search:
    """A search that is not at its end.

    after: the last job read; None before the first. seen: how many were read. dead: how many jobs of the topic had died
    in all when it began, at the time `since`. recent: how many of those read died later than that.
    """

    dead: int
    since: datetime
    after: JobInfo | None = None
    seen: int = 0
    recent: int = 0

    def behind(self, page: Sequence[JobInfo]) -> _Search:
        """The search once a further page is read."""
        return replace(
            self,
            after=page[-1] if page else self.after,
            seen=self.seen + len(page),
            recent=self.recent + sum(job.finished_at is not None and job.finished_at > self.since for job in page),
        )


@dataclass(slots=True)
class _Topic:
    """What is known of a topic.

    counted: the counters at the last look. found: of how many of those that died in all it is known where they are.
    last: the last dead letter read.
    """

    counted: TopicStats
    found: int
    tried: int = 0
    last: JobInfo | None = None


class Failures:
    """The newest failures of the topics that are watched. jobs: how many jobs a look may read."""

    def __init__(self, svc: JobService, *, jobs: int = JOBS, page: int = PAGE) -> None:
        self._svc = svc
        self._jobs = jobs
        self._page = min(page, svc.limits.batch)
        self._topics: dict[str, _Topic] = {}
        self._searches: dict[tuple[str, Kind], _Search] = {}
        self._kept: dict[int, Failure] = {}

    def look(self, sample: Sample) -> None:
        """Go on searching, after a look at the counters. Raises StorageError, and can be called again then."""
        self._forget(sample.topics)
        for stats in sample.topics.values():
            self._plan(stats, sample.at)
        left = self._jobs
        for _ in range(SEARCHES):
            if left <= 0 or not self._searches:
                break
            left -= self._go_on(*next(iter(self._searches)))
        self._read_again()

    @property
    def newest(self) -> list[Failure]:
        """Those that were found, the newest first."""
        return sorted(self._kept.values(), key=_age, reverse=True)

    @property
    def unread(self) -> int:
        """How many dead letters are still to be read."""
        return sum(
            max(0, self._topics[name].counted.dead_letters - search.seen)
            for (name, kind), search in self._searches.items()
            if kind is Kind.WHOLE
        )

    def _forget(self, topics: Mapping[str, TopicStats]) -> None:
        """Drop what is known of topics that are gone, or were in between."""
        gone = [
            name
            for name, known in self._topics.items()
            if name not in topics or is_begun_anew(known.counted, topics[name])
        ]
        for name in gone:
            del self._topics[name]
            for kind in Kind:
                self._searches.pop((name, kind), None)

    def _plan(self, stats: TopicStats, at: datetime) -> None:
        """Begin the searches that the counters of a topic call for."""
        topic = self._topics.setdefault(stats.topic, _Topic(stats, 0 if stats.dead_letters else stats.dead))
        topic.counted = stats
        search = _Search(stats.dead, at)
        if stats.dead > topic.found:
            kind = Kind.TAIL if topic.last is not None or not stats.dead_letters else Kind.WHOLE
            self._searches.setdefault((stats.topic, kind), search)
        if (tried := stats.retried + stats.expired) > topic.tried:
            topic.tried = tried
            for status, kind in ((Status.DELAYED, Kind.DELAYED), (Status.READY, Kind.READY)):
                if stats.now[status]:
                    self._searches.setdefault((stats.topic, kind), search)

    def _go_on(self, name: str, kind: Kind) -> int:
        """Read a page of a search, and put it behind the others if that was not the last; returns how many jobs."""
        search = self._searches[name, kind]
        if kind is Kind.DELAYED or kind is Kind.READY:
            page = self._svc.find(Status(kind.value), topic=name, limit=min(WAITING, self._page))
            del self._searches[name, kind]
        else:
            after = search.after or (self._topics[name].last if kind is Kind.TAIL else None)
            page = self._svc.dead_letters(name, after=after, limit=self._page)
            del self._searches[name, kind]
            search = search.behind(page)
            if len(page) == self._page:
                self._searches[name, kind] = search
            else:
                self._end(name, kind, search)
        self._keep(page)
        return len(page)

    def _end(self, name: str, kind: Kind, search: _Search) -> None:
        """Reckon how many dead letters a search found that came to its end."""
        topic = self._topics[name]
        topic.last = search.after or topic.last
        if kind is Kind.WHOLE:
            topic.found = search.dead + search.recent
            return
        topic.found += search.seen
        if topic.found >= search.dead:
            return
        if topic.counted.dead_letters:
            self._searches.setdefault((name, Kind.WHOLE), replace(search, after=None, seen=0, recent=0))
        else:
            topic.found = search.dead

    def _keep(self, jobs: Iterable[JobInfo]) -> None:
        found = [one for job in jobs if (one := failure(job)) is not None]
        newest = nlargest(KEPT, [*{**self._kept, **{one.job.id: one for one in found}}.values()], key=_age)
        self._kept = {one.job.id: one for one in newest}

    def _read_again(self) -> None:
        """Have those that are kept as they are now, and drop those that failed no more."""
        kept: dict[int, Failure] = {}
        for id in self._kept:
            with suppress(JobNotFound):
                found = failure(self._svc.get(id))
                if found is not None and found.job.topic in self._topics:
                    kept[id] = found
        self._kept = kept


def _age(one: Failure) -> tuple[datetime, int]:
    return one.at, one.job.id
