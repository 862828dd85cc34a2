"""The runs that a worker has in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jobq.job import Job
from jobq.model.status import CancelReason
from jobq.model.times import SECOND
from jobq.outcomes import Outcome, Reject, Release, Retry
from jobq.ports import Clock
from jobq.worker.executor import Executor
from jobq.worker.handlers import NOBODY, Handler, Handlers
from jobq.worker.inbox import Inbox
from jobq.worker.moments import Moments
from jobq.worker.pace import Pace
from jobq.worker.run import Ending, Run
from jobq.worker.sources import Clerk
from jobq.worker.traces import where_is

UNWINDING = SECOND
"""Nanoseconds that a handler which was stopped has until it is given up."""


class Hand:
    """Which jobs run or wait for a slot, and which executor has each.

    executor_of: what runs a handler. clerk: who sees to jobs of schedules. What methods return are the ends of runs, to
    be settled.
    """

    def __init__(
        self,
        handlers: Handlers,
        executor_of: Callable[[Handler], Executor],
        inbox: Inbox,
        moments: Moments,
        clock: Clock,
        pace: Pace,
        clerk: Clerk,
    ) -> None:
        self._handlers = handlers
        self._clerk = clerk
        self._executor_of = executor_of
        self._inbox = inbox
        self._moments = moments
        self._clock = clock
        self._pace = pace
        self._runs: dict[Run, Executor] = {}
        self._given_up: set[Run] = set()

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def lost_slots(self) -> int:
        """How many handlers were given up and run still."""
        return len(self._given_up)

    def has_thread(self, ident: int) -> bool:
        """Whether a thread runs one of these handlers; other threads may ask."""
        return any(run.thread == ident for run in [*self._runs, *self._given_up])

    def held(self) -> list[Job]:
        """The jobs whose leases are to be renewed."""
        return [run.job for run in self._runs if run.is_held and not run.job.settled]

    def ahead(self) -> int:
        """How many jobs to have waiting for a slot."""
        now = self._clock.steady()
        running = [run.begun for run in self._runs if run.begun is not None and run.ended is None]
        if not running and any(run.begun is None for run in self._runs):
            return 0  # the slots are not ready: a child process begins
        oldest = now - min(running, default=now)
        return self._pace.ahead(oldest)

    def take(self, jobs: Sequence[Job]) -> list[Ending]:
        """Give jobs to their executors; those without a handler, and schedules, end at once."""
        now = self._clock.steady()
        ended: list[Ending] = []
        runs: list[Run] = []
        for job in jobs:
            if job.topic in self._clerk.topics:
                ended.append(Ending(Run(job, NOBODY, now), self._clerk.outcome(job)))
                continue
            handler = self._handlers.get(job.name)
            if handler is None:
                why = Reject(self._handlers.why_none(job.name), reason=CancelReason.UNHANDLED)
                ended.append(Ending(Run(job, NOBODY, now), why))
                continue
            runs.append(Run(job, handler, now))
            self._runs[runs[-1]] = self._executor_of(handler)
        for run in runs:  # all are in hand by now, so that all are given back if there is no thread for one of them
            self._runs[run].submit(run)
        return ended

    def collect(self) -> list[Ending]:
        """What has ended of itself."""
        endings: list[Ending] = []
        for ending in self._inbox.take():
            run = ending.run
            self._runs.pop(run, None)
            if run.begun is not None and run.ended is not None:
                self._pace.note_run(run.ended - run.begun)
            if ending.is_late:
                self._given_up.discard(run)
            if ending.dropped:
                self._moments.result_dropped(run.job, ending.dropped)
            if run.is_held and not ending.is_late:  # what was given up may still wait to be settled
                endings.append(ending)
            elif ending.outcome is not None:
                self._moments.came_late(run.job)
        return endings

    def lose(self, jobs: Iterable[Job]) -> None:
        """Jobs whose reservation is lost: their handlers are told, and coroutines cancelled."""
        # Not one that its handler has settled just now, or is about to: the next turn knows.
        lost = {job for job in jobs if not job.settled and not job._settling}
        for run in [run for run in self._runs if run.job in lost]:
            run.is_held = False
            run.job._is_revoked = True
            self._moments.lease_lost(run.job)
            if run.begun is not None and not run.stopped_at:
                run.stopped_at = self._clock.steady()  # before it is cancelled, so that it knows by whom
                if not self._runs[run].cancel(run):
                    run.stopped_at = 0

    def enforce_limits(self) -> list[Ending]:
        """Stop the handlers whose time is over, and give up those that did not stop."""
        now = self._clock.steady()
        endings: list[Ending] = []
        for run in list(self._runs):
            over_at = run.over_at()
            if run.stopped_at:
                if now >= run.stopped_at + UNWINDING:
                    endings += self._give_up(run, "did not end when it was stopped")
            elif over_at is not None and now >= over_at:
                endings += self._end(run, _too_long(run), "ran longer than its time_limit")
        return endings

    def withdraw(self, patience: int = 0) -> list[Ending]:
        """Give back the jobs that wait for a slot, if one of them has waited for so many nanoseconds."""
        now = self._clock.steady()
        waiting = [run for run in self._runs if run.begun is None]
        if not waiting or now - waiting[0].reserved < patience:
            return []
        runs = [run for executor in dict.fromkeys(self._runs.values()) for run in executor.withdraw()]
        for run in runs:
            del self._runs[run]
        if patience:
            self._pace.forget()
        return [Ending(run, None) for run in runs if run.is_held]

    def stop_all(self) -> list[Ending]:
        """Stop every handler that runs; its job is given back."""
        return [
            ending
            for run in list(self._runs)
            if not run.stopped_at
            for ending in self._end(run, Release(), "did not end in time")
        ]

    def next_time(self, patience: int) -> int | None:
        """When there is something to do even if nothing ends; None if never. patience: see `withdraw`."""
        now = self._clock.steady()
        times: list[int] = []
        for run in self._runs:
            if run.begun is None:
                times.append(run.reserved + patience)
            if run.stopped_at:
                times.append(run.stopped_at + UNWINDING)
            elif run.handler.time_limit is not None:
                times.append(run.over_at() or now + run.handler.time_limit)
        return min(times, default=None)

    def _end(self, run: Run, verdict: Outcome, why: str) -> list[Ending]:
        run.verdict = verdict
        return [] if self._stop(run) else self._give_up(run, why)

    def _stop(self, run: Run) -> bool:
        run.stopped_at = self._clock.steady()
        return self._runs[run].stop(run)

    def _give_up(self, run: Run, why: str) -> list[Ending]:
        if not run.claim():
            return []  # it has just ended
        executor = self._runs.pop(run)
        run.job._is_revoked = True
        if isinstance(run.verdict, Retry) and not run.handler.is_async and (where := where_is(run.thread)):
            run.verdict.error = f"{run.verdict.error}\n\nIt was here:\n{where}"
        executor.give_up(run)
        self._given_up.add(run)
        self._moments.gave_up(run.job, why, len(self._given_up))
        return [Ending(run, None)] if run.is_held else []


def _too_long(run: Run) -> Retry:
    seconds = (run.handler.time_limit or 0) / SECOND
    return Retry(error=f"TimeoutError: the handler ran longer than its time_limit of {seconds:g} seconds")
