"""The threads of an AsyncJobService: up to 16 that run verbs, and one each that waits for jobs and for their ends."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import cast

from jobq.aio.granting import ending, reserving
from jobq.aio.job import AsyncJob
from jobq.aio.pool import Pool
from jobq.aio.waiting import WaitingThread
from jobq.aio.wishes import EndWish, JobsWish
from jobq.job import Job
from jobq.service import JobService


class Crew:
    """What works for one service in one process. No thread begins before it is needed."""

    def __init__(self, svc: JobService) -> None:
        self.pool = Pool()
        self.jobs: WaitingThread[JobsWish] = WaitingThread(partial(reserving, svc), svc.clock)
        self.ends: WaitingThread[EndWish] = WaitingThread(partial(ending, svc), svc.clock)
        self._svc = svc
        self._pid = os.getpid()
        self._ahead: dict[int, deque[AsyncJob]] = {}

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Release jobs that nobody wants any more, without waiting for it; a forked child leaves its parent's alone."""
        unwanted = list(jobs)
        if unwanted and self._pid == os.getpid():
            with suppress(RuntimeError):  # the program is about to end: the leases will, too
                self.pool.errand(self._svc._abandon, unwanted)

    @contextmanager
    def ahead(self) -> Iterator[deque[AsyncJob]]:
        """For jobs that are reserved ahead of a loop; those left are given back as this is left, or at rest."""
        ahead: deque[AsyncJob] = deque()
        self._ahead[id(ahead)] = ahead
        try:
            yield ahead
        finally:
            del self._ahead[id(ahead)]
            self._give_up(ahead)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """See Crew of JobService."""
        with self.jobs.at_rest():
            for ahead in list(self._ahead.values()):
                self._give_up(ahead)
            self.pool.wait_for_errands()
            yield

    def _give_up(self, ahead: deque[AsyncJob]) -> None:
        self.give_back(job.sync for job in iter(partial(taken_from, ahead), None))


def crew_of(svc: JobService) -> Crew:
    """The crew of a service in this process, the same for all who await its verbs."""
    pid = os.getpid()
    crew = svc._crews.get(pid) or svc._crews.setdefault(pid, Crew(svc))
    return cast(Crew, crew)


def taken_from(ahead: deque[AsyncJob]) -> AsyncJob | None:
    """The next job, if there is one: in one step, as another thread may give back what is left."""
    try:
        return ahead.popleft()
    except IndexError:
        return None
