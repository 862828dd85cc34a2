"""The threads of an AsyncJobService: up to 16 that run verbs, and one each that waits for jobs and for their ends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from jobq.aio.granting import ending, reserving
from jobq.aio.pool import Pool
from jobq.aio.waiting import WaitingThread
from jobq.aio.wishes import EndWish, JobsWish
from jobq.job import Job
from jobq.service import JobService


class Crew:
    """What works for one service in one process. No thread begins before it is needed."""

    def __init__(self, svc: JobService) -> None:
        self.pid = os.getpid()
        self.pool = Pool()
        self.jobs: WaitingThread[JobsWish] = WaitingThread(partial(reserving, svc), svc.clock)
        self.ends: WaitingThread[EndWish] = WaitingThread(partial(ending, svc), svc.clock)
        self._svc = svc
        self._errands: set[Future[None]] = set()

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Release jobs that nobody wants any more, without waiting for it."""
        unwanted = list(jobs)
        if unwanted:
            with suppress(RuntimeError):  # the program is about to end: the leases will, too
                errand = self.pool.submit(self._svc._abandon, unwanted)
                self._errands.add(errand)
                errand.add_done_callback(self._errands.discard)

    def errands(self) -> list[Future[None]]:
        """What is being given back."""
        return list(self._errands)
