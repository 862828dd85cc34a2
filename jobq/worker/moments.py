"""Telling the observers and the log what happens in a worker.

Levels: DEBUG for what is as it should be, INFO for the worker's beginning and end and for what handlers asked for,
WARNING for what was lost, ERROR for what failed, CRITICAL for the end of a worker that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jobq.job import Job, log_fields, release_delay, retry_delay
from jobq.model.status import CancelReason
from jobq.model.times import SECOND
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry
from jobq.ports import Clock
from jobq.worker.observer import Failure, Observer, ScheduleObserver

if TYPE_CHECKING:
    from jobq.worker.worker import Worker

log = logging.getLogger("jobq.worker")


class Moments:
    """Observers behind which nothing can break, and a log. Its methods are the observers' moments."""

    def __init__(self, observers: Iterable[Observer], clock: Clock) -> None:
        self._observers = tuple(observers)
        self._clock = clock

    def of_schedules(self) -> Moments:
        """The same for the jobs that are schedules."""
        return Moments(map(ScheduleObserver, self._observers), self._clock)

    # -- of the worker

    def worker_started(self, worker: Worker) -> None:
        """See Observer."""
        log.info("%r started", worker)
        self._tell(Observer.worker_started, worker)

    def worker_stopped(self, worker: Worker, failure: BaseException | None) -> None:
        """See Observer. failure: what ended the worker, if it did not stop of itself."""
        if failure is None:
            log.info("%r stopped", worker)
        else:
            log.critical("%r failed and is stopped: %s", worker, failure, exc_info=failure)
            self._tell(Observer.worker_error, failure)
        self._tell(Observer.worker_stopped, worker)

    def worker_error(self, error: BaseException, what_now: str) -> None:
        """See Observer. what_now: what the worker does about it."""
        log.error("%s: %s; %s", type(error).__name__, error, what_now, exc_info=error)
        self._tell(Observer.worker_error, error)

    def topic_empty(self, topic: str) -> None:
        """See Observer."""
        log.debug("topic %r is empty", topic)
        self._tell(Observer.topic_empty, topic)

    def serves_no_task(self, worker: Worker, topics: Iterable[str]) -> None:
        """No job of its tasks will come to it. topics: where they are enqueued."""
        where = ", ".join(map(repr, sorted(topics)))
        log.warning("%r: none of its tasks is enqueued to a topic that it serves, but to %s", worker, where)

    def stopping(self, grace: float, running: int) -> None:
        """The worker reserves no more."""
        if running:
            what_now = "a second signal, or stop(force=True), gives them back at once"
            log.warning("stopping: %d running jobs have %g seconds to end; %s", running, grace, what_now)
        else:
            log.info("stopping: nothing runs")

    # -- of a job

    def started(self, job: Job) -> None:
        """See Observer."""
        self._debug("%s begins", job)
        self._tell(Observer.started, job)

    def ended(self, job: Job) -> None:
        """See Observer."""
        self._tell(Observer.ended, job)

    def settled(self, job: Job, outcome: Outcome, ids: list[int]) -> None:
        """A job was settled so. ids: the jobs that were enqueued with it."""
        match outcome:
            case Done(result=result):
                self._debug("%s is done", job)
                self._tell(Observer.completed, job, result)
                self._enqueued(job, ids)
            case Release():
                seconds = release_delay(outcome, self._clock.wall()) / SECOND
                self._debug("%s is released for %g seconds", job, seconds)
                self._tell(Observer.released, job, seconds)
                self._enqueued(job, ids)
            case Retry(error=error) if job.retries_left == 0:
                self._failed("%s failed, and has no retries left", job, error)
                self._tell(Observer.dead, job, error, CancelReason.EXHAUSTED)
            case Retry(error=error):
                seconds = retry_delay(job, outcome, self._clock.wall()) / SECOND
                self._failed(f"%s failed, and is tried again in {seconds:g} seconds", job, error, or_asked_for=True)
                self._tell(Observer.retried, job, error, seconds)
            case Reject(error=error, reason=reason):
                self._failed("%s is a dead letter", job, error)
                self._tell(Observer.dead, job, error, CancelReason(reason))
            case Cancel(note=note):
                self._log(logging.INFO, "%s is canceled by its handler: %s", job, note or "no note")
                self._tell(Observer.canceled, job, note)

    def lease_lost(self, job: Job) -> None:
        """See Observer."""
        self._log(logging.WARNING, "%s was canceled, or its lease is over: its outcome is dropped", job)
        self._tell(Observer.lease_lost, job)

    def failed_afterwards(self, job: Job, error: BaseException) -> None:
        """A handler raised that had settled its job already."""
        self._log(logging.ERROR, "%s failed after its handler had settled it: %s", job, error, error=error)

    def came_late(self, job: Job) -> None:
        """A handler that had been given up has ended."""
        self._log(logging.WARNING, "%s has ended after it was given up: its outcome is dropped", job)

    def gave_up(self, job: Job, why: str, lost: int) -> None:
        """A handler that cannot be stopped was given up, with its slot. lost: how many such slots there are now."""
        self._log(logging.ERROR, "%s %s: it is given up, and its slot is lost (%d so far)", job, why, lost)

    def result_dropped(self, job: Job, problem: Exception | str) -> None:
        """What a handler returned cannot be kept."""
        self._log(logging.WARNING, "%s is done, but its result is dropped: %s", job, problem)

    def _enqueued(self, job: Job, ids: list[int]) -> None:
        if ids:
            self._tell(Observer.enqueued, job, ids)

    def _failed(self, what: str, job: Job, error: Failure, *, or_asked_for: bool = False) -> None:
        if not error and or_asked_for:
            self._log(logging.INFO, what, job)
        else:
            exception = error if isinstance(error, BaseException) else None
            self._log(logging.ERROR, f"{what}: %s", job, error or "no error was given", error=exception)

    def _debug(self, what: str, job: Job, *rest: object) -> None:
        if log.isEnabledFor(logging.DEBUG):
            self._log(logging.DEBUG, what, job, *rest)

    def _log(self, level: int, what: str, job: Job, *rest: object, error: BaseException | None = None) -> None:
        named = f"job {job.id} {job.name!r} of topic {job.topic!r}, attempt {job.attempt},"
        log.log(level, what, named, *rest, exc_info=error, extra=log_fields(job))

    def _tell(self, moment: Callable[..., object], *arguments: object) -> None:
        for observer in self._observers:
            try:
                getattr(observer, moment.__name__)(*arguments)
            except KeyboardInterrupt:  # it is not the observer's
                raise
            except BaseException:  # SystemExit, too: it would end the thread, and not the program
                log.exception("the observer failed in %s", moment.__name__)
