"""Granting wishes: reserving jobs for those who wait for some, and telling that jobs have ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jobq.aio.wishes import EndWish, JobsWish
from jobq.job import Job
from jobq.model.times import Seconds
from jobq.service import JobService
from jobq.waiting import EndListener, Listener

AT_A_TIME = 1_000
"""Jobs that are looked at in one view, as views are to be short."""

Kind = tuple[tuple[str, ...], Seconds | None]
"""The topics and the lease of wishes that one reservation can serve."""


class Reserving:
    """Reserves jobs for wishes: for all that are alike in one commit, whoever wished first gets the most urgent."""

    def __init__(self, svc: JobService, listener: Listener) -> None:
        self._svc = svc
        self._listener = listener
        self.wait = listener.wait
        self.wake = listener.wake

    def grant(self, wishes: Sequence[JobsWish]) -> None:
        """See Granter."""
        kinds: dict[Kind, list[JobsWish]] = {}
        for wish in wishes:
            kinds.setdefault((wish.topics, wish.lease), []).append(wish)
        ready = self._listener.ready_topics() if kinds else []
        for (topics, lease), alike in kinds.items():
            if not set(topics).isdisjoint(ready):
                self._reserve(topics, lease, alike)

    def _reserve(self, topics: tuple[str, ...], lease: Seconds | None, wishes: list[JobsWish]) -> None:
        n = min(sum(wish.n for wish in wishes), self._svc.limits.batch)
        jobs = self._svc.reserve(topics, n, lease=lease)
        try:
            _deal(jobs, wishes)
        finally:
            if jobs:  # their coroutines were cancelled meanwhile
                self._svc._abandon(jobs)


def _deal(jobs: list[Job], wishes: list[JobsWish]) -> None:
    for wish in wishes:
        if jobs and wish.grant(jobs[: wish.n]):
            del jobs[: wish.n]


@contextmanager
def reserving(svc: JobService, topics: Sequence[str]) -> Iterator[Reserving]:
    """Listen for jobs to reserve."""
    with svc.listen(topics) as listener:
        yield Reserving(svc, listener)


class Ending:
    """Tells who waits for it that jobs have ended."""

    def __init__(self, listener: EndListener) -> None:
        self._listener = listener
        self.wait = listener.wait
        self.wake = listener.wake

    def grant(self, wishes: Sequence[EndWish]) -> None:
        """See Granter."""
        for start in range(0, len(wishes), AT_A_TIME):
            some = wishes[start : start + AT_A_TIME]
            ended = self._listener.ended([wish.job_id for wish in some])
            for wish in some:
                if wish.job_id in ended:
                    wish.grant(None)


@contextmanager
def ending(svc: JobService, topics: Sequence[str]) -> Iterator[Ending]:
    """Listen for jobs that end."""
    with svc._listen_for_ends(topics) as listener:
        yield Ending(listener)
