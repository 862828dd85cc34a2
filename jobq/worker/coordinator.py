"""The one thread of a worker that speaks to the queue.

It hands jobs to executors and settles what has ended, renews leases, and stops when it is told. Handlers run elsewhere,
so that none of them keeps it from renewing leases, as long as it lets go of Python's lock.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobq.errors import JobqError, ServiceClosed
from jobq.model.times import SECOND
from jobq.service import JobService
from jobq.worker.exchanging import Exchanging
from jobq.worker.hand import Hand
from jobq.worker.inbox import Inbox
from jobq.worker.moments import Moments
from jobq.worker.pace import HORIZON, Pace
from jobq.worker.run import Ending
from jobq.worker.sources import Clerk

FIRST_PAUSE = SECOND // 10
LONGEST_PAUSE = 5 * SECOND
"""Nanoseconds to wait after the first, and after many storage errors in a row."""
IDLE = 3600 * SECOND
"""Nanoseconds to sleep if there is nothing to do; whatever comes up ends it."""


class Coordinator:
    """Runs jobs until it is told to stop; or, in a burst, until there is nothing left to reserve.

    clerk: who sees to schedules, whose jobs are reserved before others, and if no slot is free, too. concurrency: jobs
    that run at once. lease, grace: nanoseconds.
    """

    def __init__(
        self,
        svc: JobService,
        topics: Sequence[str],
        hand: Hand,
        inbox: Inbox,
        moments: Moments,
        pace: Pace,
        clerk: Clerk,
        *,
        concurrency: int,
        lease: int,
        grace: int,
        burst: bool,
    ) -> None:
        self._svc = svc
        self._topics = topics
        self._hand = hand
        self._inbox = inbox
        self._moments = moments
        self._pace = pace
        self._clerk = clerk
        self._has_clerk_begun = False
        self._concurrency = concurrency
        self._beat = lease // 3
        self._grace = grace
        self._burst = burst
        self._clock = svc.clock
        self._exchanging = Exchanging(svc, lease / SECOND, moments, clerk.topics)
        self._schedules = 0
        self._unsettled: list[Ending] = []
        self._is_dry = False
        self._is_emptiness_told = False
        self._beat_at = 0
        self._stop_at: int | None = None
        self._pause = 0
        self._rests_until = 0

    def run(self) -> None:
        """Do so. Raises ServiceClosed, what an executor failed with, and a storage error that keeps it from ending."""
        self._inbox.wake()
        while not self._is_over():
            if self._inbox.problem is not None:
                raise self._inbox.problem
            stops = self._inbox.stops
            try:
                self._turn()
                self._pause = 0
            except ServiceClosed:
                raise
            except JobqError as problem:
                if self._is_grace_over():
                    raise
                self._wait_out(problem, stops)

    def run_dry(self, most: int) -> int:
        """Run what there is to reserve, where handlers end as they are begun, and return how many jobs that were.

        Schedules are not counted. most: jobs, and schedules, after which it raises AssertionError.
        """
        n = 0
        while not self._is_over():
            n += self.step()
            if n > most:
                raise AssertionError(f"{most} jobs were run, and there are more: is one of them given back each time?")
        return n - self._schedules

    def let_go(self) -> None:
        """Stop what runs and give back what is held, as far as that is possible."""
        self._inbox.wake_at(1)
        endings = self._unsettled + self._hand.collect() + self._hand.withdraw() + self._hand.stop_all()
        self._exchanging.exchange(endings, (), 0)
        while self._hand:  # coroutines and child processes report that they were stopped, or are given up
            self._inbox.wait(self._nap() / SECOND)
            self._exchanging.exchange(self._hand.collect() + self._hand.enforce_limits(), (), 0)

    # -- a turn: to wait, and to do what there is to do

    def _turn(self) -> None:
        nap = self._nap() / SECOND
        topics, _ = self._supply()
        if topics and (self._is_dry or not self._room()):
            with self._svc.listen(topics) as listener:
                self._inbox.wait_for_jobs(listener, nap)
                self.step()
        else:
            self._inbox.wait(nap)
            self.step()

    def step(self) -> int:
        """Do what there is to do now, and return how many jobs were begun."""
        self._unsettled += self._hand.collect()
        self._unsettled += self._hand.enforce_limits()
        self._heed_stops()
        self._renew()
        if not self._has_clerk_begun:
            self._clerk.begin()
            self._has_clerk_begun = True
        return self._exchange()

    def _exchange(self) -> int:
        self._give_back_stale()
        room = self._room()
        topics, n = self._supply()
        began = self._clock.steady()
        try:
            if self._pause:  # what cannot be reserved must not keep what has ended from being settled
                self._exchanging.exchange(self._unsettled, (), 0)
            jobs = self._exchanging.exchange(self._unsettled, topics, n)
            self._pace.note_commit(self._clock.steady() - began)
        finally:
            self._unsettled = [ending for ending in self._unsettled if ending.run.is_held]
        schedules = sum(job.topic in self._clerk.topics for job in jobs) if self._clerk.topics else 0
        self._schedules += schedules
        if room:
            self._is_dry = len(jobs) < room
            self._tell_emptiness(len(jobs) > schedules)
        if jobs:
            if not self._hand.held():
                self._beat_at = self._clock.steady() + self._beat
            self._unsettled += self._hand.take(jobs)
        self._inbox.wake_at(len(self._hand) // 2 if self._has_backlog() else 1)
        return len(jobs)

    def _supply(self) -> tuple[Sequence[str], int]:
        """From which topics to reserve how many jobs."""
        if room := self._room():
            return (*self._clerk.topics, *self._topics), room
        is_for_clerk = self._clerk.topics and not self._inbox.stops
        return (self._clerk.topics, 1) if is_for_clerk else ((), 0)

    def _room(self) -> int:
        """How many jobs to reserve."""
        if self._inbox.stops or self._clock.steady() < self._rests_until:
            return 0
        most = min(self._concurrency + self._hand.ahead(), self._svc.limits.batch)
        return max(0, most - len(self._hand))

    def _has_backlog(self) -> bool:
        return len(self._hand) > self._concurrency

    def _patience(self) -> int:
        """How long a job may wait for a slot; longer if there should be one for it."""
        return self._pace.patience if self._has_backlog() else max(self._pace.patience, self._beat, SECOND)

    def _give_back_stale(self) -> None:
        is_stuck = not self._has_backlog()
        stale = self._hand.withdraw(self._patience())
        self._unsettled += stale
        if stale and is_stuck:  # a coroutine blocks the event loop, or a child does not begin: others may do better
            self._rests_until = self._clock.steady() + self._beat

    def _renew(self) -> None:
        now = self._clock.steady()
        held = self._hand.held() + [ending.run.job for ending in self._unsettled if ending.run.is_held]
        if now >= self._beat_at and held:
            self._hand.lose(self._exchanging.renew(held))
            self._beat_at = now + self._beat

    def _tell_emptiness(self, is_supplied: bool) -> None:
        if is_supplied:
            self._is_emptiness_told = False
        if self._is_dry and not self._is_emptiness_told:
            self._is_emptiness_told = True
            for topic in self._topics:
                self._moments.topic_empty(topic)

    # -- waiting

    def _nap(self) -> int:
        """Nanoseconds until there is something to do even if nothing happens."""
        if self._unsettled or (not self._is_dry and self._room() > 0):
            return 0
        now = self._clock.steady()
        times = [now + IDLE, self._hand.next_time(self._patience())]
        times.append(now + HORIZON if self._has_backlog() else None)  # so that what has ended is settled soon
        times.append(self._beat_at if self._hand.held() else None)
        times.append(self._rests_until if self._rests_until > now else None)
        times.append(None if self._is_grace_over() else self._stop_at)
        return max(0, min(time for time in times if time is not None) - now)

    def _wait_out(self, problem: JobqError, stops: int) -> None:
        # stops: what was known before the turn, as the wish to stop may have come in the middle of it
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE, self._beat)
        self._moments.worker_error(problem, f"it tries again in {self._pause / SECOND:g} seconds")
        end = self._clock.steady() + self._pause
        while (left := end - self._clock.steady()) > 0 and self._inbox.stops == stops:
            self._inbox.wait(left / SECOND)
        self._inbox.wake()  # what came meanwhile is waiting

    # -- stopping

    def _heed_stops(self) -> None:
        if not self._inbox.stops:
            return
        if self._stop_at is None:
            self._stop_at = self._clock.steady() + self._grace
            self._unsettled += self._hand.withdraw()
            self._moments.stopping(self._grace / SECOND, len(self._hand))
        if self._is_grace_over():
            self._unsettled += self._hand.stop_all()

    def _is_grace_over(self) -> bool:
        return self._inbox.stops > 1 or (self._stop_at is not None and self._clock.steady() >= self._stop_at)

    def _is_over(self) -> bool:
        is_idle = not self._hand and not self._unsettled and self._inbox.is_empty()
        return is_idle and (self._inbox.stops > 0 or (self._burst and self._is_dry))
