"""Settling what has ended and reserving the next jobs, in one commit."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.errors import LeaseLost
from jobq.job import REFUSALS, Job
from jobq.model.requests import NewJob
from jobq.model.times import Seconds
from jobq.model.views import Exchange
from jobq.outcomes import Done, Outcome, Release, Retry
from jobq.service import JobService
from jobq.worker.calling import refused
from jobq.worker.moments import Moments
from jobq.worker.run import Ending


class Exchanging:
    """The part of a worker that changes the queue. What it changed is told once it is committed.

    lease: seconds for which jobs are reserved and renewed. of_schedules: the topics whose jobs are schedules.
    """

    def __init__(self, svc: JobService, lease: Seconds, moments: Moments, of_schedules: Sequence[str] = ()) -> None:
        self._svc = svc
        self._lease = lease
        self._moments = moments
        self._moments_of = dict.fromkeys(of_schedules, moments.of_schedules())

    def exchange(self, endings: Sequence[Ending], topics: Sequence[str], n: int) -> list[Job]:
        """Settle what ended and reserve up to n jobs (0: none).

        Raises JobqError: what was not settled by then is still held, and can be given again.
        """
        unsettled = [ending for ending in endings if not self._is_settled(ending)]
        if not unsettled and not n:
            return []
        pairs = [(ending.run.job, ending.outcome_now()) for ending in unsettled]
        try:
            done = self._svc.exchange(pairs, topics=topics if n else (), n=max(n, 1), lease=self._lease)
        except REFUSALS:  # one of them is refused, from which the others must not suffer
            for ending in unsettled:
                self._tell([ending], self._settle_alone(ending))
            return self._svc.reserve(topics, n, lease=self._lease) if n else []
        self._tell(unsettled, done)
        return done.jobs

    def renew(self, jobs: Sequence[Job]) -> list[Job]:
        """Renew the leases of jobs, in one commit, and return those whose reservation is lost. Raises JobqError."""
        try:
            self._svc.extend(jobs, self._lease, at_least=True)
        except LeaseLost as lost:
            return lost.jobs
        return []

    def _is_settled(self, ending: Ending) -> bool:
        """Whether there is nothing left to settle; if the handler did it itself, that is told."""
        run = ending.run
        if run.is_held and run.job._outcome is not None:
            run.is_held = False
            if isinstance(ending.outcome, Retry) and isinstance(ending.outcome.error, BaseException):
                self._moments.failed_afterwards(run.job, ending.outcome.error)
            self._moments.settled(run.job, run.job._outcome, run.job._followers)
        return not run.is_held

    def _settle_alone(self, ending: Ending) -> Exchange[Job]:
        job, outcome = ending.run.job, ending.outcome_now()
        try:
            return self._svc.exchange([(job, outcome)])
        except REFUSALS as problem:
            if ending.was_returned and isinstance(problem, TypeError | ValueError):
                self._moments.result_dropped(job, problem)
                return self._svc.exchange([(job, Done())])
            return self._svc.exchange([(job, refused(outcome, problem))])

    def _tell(self, endings: Sequence[Ending], done: Exchange[Job]) -> None:
        lost, ids = set(done.lost), list(done.ids)
        for ending in endings:
            run = ending.run
            if run.job in lost and run.job._settling:
                continue  # by its handler, just now: the next turn knows
            run.is_held = False
            moments = self._moments_of.get(run.job.topic, self._moments)
            if run.job in lost or run.job._outcome is None:
                moments.lease_lost(run.job)
            else:
                followers = _followers(run.job._outcome)
                moments.settled(run.job, run.job._outcome, ids[:followers])
                del ids[:followers]


def _followers(outcome: Outcome) -> int:
    """How many jobs were enqueued with it."""
    if not isinstance(outcome, Done | Release):
        return 0
    return 1 if isinstance(outcome.then, NewJob) else len(list(outcome.then))
