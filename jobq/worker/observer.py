"""What a worker tells those who watch it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobq.errors import JobqError
from jobq.job import Job
from jobq.model.status import CancelReason

if TYPE_CHECKING:
    from jobq.worker.worker import Worker

Failure = str | BaseException | None
"""Why a handler failed: the exception, or as much of it as a child process could say; None if nothing was said."""


class Observer:
    """The moments of a worker. Override those you need; each does nothing by itself.

    What becomes of a job is said after it was committed. `started` and `ended` are called in the thread that runs the
    handler (for a coroutine that of the event loop), everything else in the worker's own thread, which must not be held
    up: while it is, no lease is renewed. An observer that raises is logged, and breaks nothing.
    """

    def worker_started(self, worker: Worker) -> None:
        """The worker begins to reserve."""

    def worker_stopped(self, worker: Worker) -> None:
        """The worker has come to its end, and runs nothing any more."""

    def worker_error(self, error: BaseException) -> None:
        """Something went wrong that is no handler's fault.

        The storage failed, a child process could not begin, or a schedule could not be seen to.
        """

    def topic_empty(self, topic: str) -> None:
        """There is nothing left to reserve in a topic; said again once there was a job in between."""

    def started(self, job: Job) -> None:
        """The handler is called next."""

    def ended(self, job: Job) -> None:
        """The handler has returned or raised, or its child process has died; what becomes of the job is told later.

        Said once for each `started`, and before what becomes of the job, unless the handler was given up, or its
        reservation lost, while it ran: then it is said when the handler ends in spite of that, if it ever does.
        """

    def completed(self, job: Job, result: Any) -> None:
        """The job is Done, with this result."""

    def enqueued(self, job: Job, ids: list[int]) -> None:
        """The job was done, or given back, and with it those were enqueued that its `then` names.

        Or it is a schedule, of which nothing else is told, and they are the jobs of its ticks.
        """

    def released(self, job: Job, delay: float) -> None:
        """The job was given back for `delay` seconds.

        Its handler said so, the worker stops, or the job had been reserved ahead, behind one that takes long.
        """

    def retried(self, job: Job, error: Failure, delay: float) -> None:
        """The job failed, and will be tried again in `delay` seconds."""

    def dead(self, job: Job, error: Failure, reason: CancelReason) -> None:
        """The job is a dead letter: its retries are used up, it was rejected, or no handler is for it."""

    def canceled(self, job: Job, note: str | None) -> None:
        """The handler canceled its job."""

    def lease_lost(self, job: Job) -> None:
        """The job was canceled while it ran, or its lease ran out: its outcome will be dropped."""


class ScheduleObserver(Observer):
    """Tells an observer of schedules, which no handler runs: the jobs of their ticks, and what went wrong."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def enqueued(self, job: Job, ids: list[int]) -> None:
        """See Observer."""
        if of_ticks := [id for id in ids if id != job.id]:
            self._observer.enqueued(job, of_ticks)

    def retried(self, job: Job, error: Failure, delay: float) -> None:
        """See Observer."""
        self._observer.worker_error(error if isinstance(error, BaseException) else JobqError(error))

    def dead(self, job: Job, error: Failure, reason: CancelReason) -> None:
        """See Observer."""
        self.retried(job, error, 0)
