"""What the parent of a child process is to a handler that runs there."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from multiprocessing import connection
from typing import Any

from jobq import errors
from jobq.errors import JobqError, LeaseLost
from jobq.job import Job, lost_message
from jobq.model.requests import MoreHeaders
from jobq.model.status import CancelReason
from jobq.model.times import Seconds
from jobq.model.views import Exchange, JobInfo
from jobq.outcomes import Done, Outcome, Reject, Retry
from jobq.worker.messages import Question, Reply, packed, receive
from jobq.worker.plain import plain


class Parent:
    """What a Job in the child has for its service: the parent does what is asked. Threads of a handler may share it.

    A thread that goes on after its handler has ended is told that the reservation is over. headers: see `plain`.
    """

    def __init__(self, pipe: connection.Connection, headers: MoreHeaders | None = None) -> None:
        self._pipe = pipe
        self._headers = headers
        self._lock = threading.Lock()
        self._is_over = False

    def tell(self, report: bytes) -> None:
        """Say how the handler ended; nothing can be asked any more."""
        with self._lock:
            self._is_over = True
            self._pipe.send_bytes(report)

    def done(self, jobs: Job, result: Any = None) -> None:
        """See Holder."""
        self._settle(jobs, Done(result))

    def retry(
        self,
        jobs: Job,
        delay: Seconds | None = None,
        *,
        run_at: datetime | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        """See Holder."""
        self._settle(jobs, Retry(delay, run_at=run_at, error=error))

    def reject(
        self, jobs: Job, error: str | BaseException | None = None, *, reason: CancelReason = CancelReason.REJECTED
    ) -> None:
        """See Holder."""
        self._settle(jobs, Reject(error, reason=reason))

    def extend(self, jobs: Job, seconds: Seconds | None = None) -> None:
        """See Holder."""
        reply = self._ask(jobs, Question("extend", (seconds,)))
        jobs._deadline = reply.deadline or jobs._deadline

    def exchange(self, outcomes: Iterable[tuple[Job, Outcome]]) -> Exchange[Job]:
        """See Holder: of one job."""
        [(job, outcome)] = outcomes
        try:
            ids = self._settle(job, outcome)
        except LeaseLost:
            return Exchange([], [], [job])
        return Exchange([], ids, [])

    def get(self, id: int) -> JobInfo:
        """See Holder: of the job itself."""
        info: JobInfo = self._ask(None, Question("info")).value
        return info

    def _log(self, job: Job, message: str) -> None:
        self._ask(job, Question("log", (message,)))

    def _settle(self, job: Job, outcome: Outcome) -> list[int]:
        ids: list[int] = self._ask(job, Question("settle", outcome=plain(outcome, self._headers))).value
        job._outcome = outcome
        return ids

    def _ask(self, job: Job | None, question: Question) -> Reply:
        message = packed(question)
        with self._lock:
            if self._is_over:
                raise LeaseLost(
                    "the handler of this job has ended, and with it the reservation", jobs=[job] if job else []
                )
            self._pipe.send_bytes(message)
            reply: Reply = receive(self._pipe)
        if reply.error == LeaseLost.__name__ and job is not None:
            raise LeaseLost(lost_message([job]), jobs=[job])
        if reply.error:
            raise _error(reply)
        return reply


def _error(reply: Reply) -> Exception:
    kinds = {"TypeError": TypeError, "ValueError": ValueError}
    kind: type[Exception] = getattr(errors, reply.error, None) or kinds.get(reply.error, JobqError)
    error = kind(reply.message)
    vars(error).update(reply.details)
    return error
