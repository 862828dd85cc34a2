"""Telling the observer and the log what happens in a worker.

Levels: DEBUG for what is as it should be, INFO for the worker's beginning and end and for what handlers asked for,
WARNING for what was lost, ERROR for what failed, CRITICAL for the end of a worker that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobq.job import Job, log_fields
from jobq.model.status import CancelReason
from jobq.model.times import SECOND, duration
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry
from jobq.worker.observer import Error, Observer

if TYPE_CHECKING:
    from jobq.worker.worker import Worker

log = logging.getLogger("jobq.worker")


class Moments:
    """An observer behind which nothing can break, and a log. Its methods are the observer's moments."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    # -- of the worker

    def worker_started(self, worker: Worker) -> None:
        """See Observer."""
        log.info("%r started", worker)
        self._tell(self._observer.worker_started, worker)

    def worker_stopped(self, worker: Worker, failure: BaseException | None) -> None:
        """See Observer. failure: what ended the worker, if it did not stop of itself."""
        if failure is None:
            log.info("%r stopped", worker)
        else:
            log.critical("%r failed and is stopped: %s", worker, failure, exc_info=failure)
            self._tell(self._observer.worker_error, failure)
        self._tell(self._observer.worker_stopped, worker)

    def worker_error(self, error: BaseException, what_now: str) -> None:
        """See Observer. what_now: what the worker does about it."""
        log.error("%s: %s; %s", type(error).__name__, error, what_now, exc_info=error)
        self._tell(self._observer.worker_error, error)

    def topic_empty(self, topic: str) -> None:
        """See Observer."""
        log.debug("topic %r is empty", topic)
        self._tell(self._observer.topic_empty, topic)

    def stopping(self, grace: float, running: int) -> None:
        """The worker reserves no more."""
        log.info("stopping: %d running jobs have %g seconds to end", running, grace)

    # -- of a job

    def started(self, job: Job) -> None:
        """See Observer."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%r begins", job, extra=log_fields(job))
        self._tell(self._observer.started, job)

    def ended(self, job: Job, outcome: Outcome, ids: list[int]) -> None:
        """A job was settled so. ids: the jobs that were enqueued with it."""
        match outcome:
            case Done(result=result):
                self._debug("%r is done", job)
                self._tell(self._observer.completed, job, result)
                if ids:
                    self._tell(self._observer.enqueued, job, ids)
            case Release(delay=delay):
                seconds = duration(delay, "delay") / SECOND
                self._debug("%r is released for %g seconds", job, seconds)
                self._tell(self._observer.released, job, seconds)
            case Retry(error=error) if job.retries_left == 0:
                self._failed("%r failed, and has no retries left", job, error)
                self._tell(self._observer.dead, job, error, CancelReason.EXHAUSTED)
            case Retry(error=error):
                self._failed("%r failed, and will be tried again", job, error)
                self._tell(self._observer.retried, job, error)
            case Reject(error=error, reason=reason):
                self._failed("%r is a dead letter", job, error, always=True)
                self._tell(self._observer.dead, job, error, CancelReason(reason))
            case Cancel(note=note):
                log.info("%r is canceled by its handler: %s", job, note or "no note", extra=log_fields(job))
                self._tell(self._observer.canceled, job, note)

    def lease_lost(self, job: Job) -> None:
        """See Observer."""
        log.warning("%r: canceled, or its lease is over; its outcome is dropped", job, extra=log_fields(job))
        self._tell(self._observer.lease_lost, job)

    def failed_afterwards(self, job: Job, error: BaseException) -> None:
        """A handler raised that had settled its job already."""
        log.error("%r failed after its handler had settled it: %s", job, error, exc_info=error, extra=log_fields(job))

    def came_late(self, job: Job) -> None:
        """A handler that had been given up has ended."""
        log.warning("%r has ended after it was given up; its outcome is dropped", job, extra=log_fields(job))

    def gave_up(self, job: Job, why: str, lost: int) -> None:
        """A handler that cannot be stopped was given up, with its slot. lost: how many such slots there are now."""
        log.error("%r %s and cannot be stopped: its slot is lost (%d so far)", job, why, lost, extra=log_fields(job))

    def result_dropped(self, job: Job, problem: Exception | str) -> None:
        """What a handler returned cannot be kept."""
        log.warning("%r is done, but its result is dropped: %s", job, problem, extra=log_fields(job))

    def _failed(self, what: str, job: Job, error: Error, *, always: bool = False) -> None:
        if isinstance(error, BaseException):
            log.error(f"{what}: %s", job, error, exc_info=error, extra=log_fields(job))
        elif error or always:
            log.error(f"{what}: %s", job, error or "no error was given", extra=log_fields(job))
        else:
            log.info(what, job, extra=log_fields(job))

    def _debug(self, what: str, job: Job, *rest: Any) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug(what, job, *rest, extra=log_fields(job))

    def _tell(self, moment: Callable[..., object], *arguments: Any) -> None:
        try:
            moment(*arguments)
        except KeyboardInterrupt:  # it is not the observer's
            raise
        except BaseException:  # SystemExit, too: it would end the thread, and not the program
            log.exception("the observer failed in %s", getattr(moment, "__name__", moment))
