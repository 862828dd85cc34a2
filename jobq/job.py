"""The handle of a reserved job."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Any, NoReturn, Protocol, Self

from jobq import lifecycle
from jobq.errors import DuplicateJob, JobNotFound, JobqError, LeaseLost, StorageFull, TopicFull
from jobq.model.options import JobOptions
from jobq.model.records import Record, headers_of, options_of
from jobq.model.requests import NewJob
from jobq.model.status import CancelReason, Status
from jobq.model.times import Seconds, duration, instant, moment
from jobq.model.views import Exchange, JobInfo
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry

log = logging.getLogger("jobq")

REFUSALS = (TypeError, ValueError, DuplicateJob, TopicFull, StorageFull)
"""What `exchange` raises if an outcome cannot be applied as it is; nothing is changed then."""


class Holder(Protocol):
    """The part of a JobService that a handle uses."""

    def done(self, jobs: Job, result: Any = None) -> None: ...
    def retry(
        self,
        jobs: Job,
        delay: Seconds | None = None,
        *,
        run_at: datetime | None = None,
        error: str | BaseException | None = None,
    ) -> None: ...
    def reject(self, jobs: Job, error: str | BaseException | None = None, *, reason: CancelReason = ...) -> None: ...
    def extend(self, jobs: Job, seconds: Seconds | None = None) -> None: ...
    def exchange(self, outcomes: Iterable[tuple[Job, Outcome]]) -> Exchange[Job]: ...
    def get(self, id: int) -> JobInfo: ...
    def _log(self, job: Job, message: str) -> None: ...


class Job:
    """One reservation of a job. Its verbs raise LeaseLost once the reservation is over.

    As a context manager it settles itself: leaving well is done, a raised Outcome is applied, any other Exception is
    logged and retried, and what is no Exception (KeyboardInterrupt) releases the job and goes on up.

    payload: the bytes it carries.
    """

    __slots__ = (
        "__weakref__",
        "_deadline",
        "_followers",
        "_is_revoked",
        "_lease",
        "_outcome",
        "_pid",
        "_record",
        "_said",
        "_service",
        "_settling",
        "payload",
    )

    def __init__(self, service: Holder, record: Record, payload: bytes, deadline: int, lease: int) -> None:
        self._service = service
        self._record = record
        self.payload: bytes = payload
        self._deadline = deadline  # nanoseconds since 1970
        self._lease = lease
        self._outcome: Outcome | None = None
        self._said: Outcome | None = None
        self._followers: list[int] = []
        self._is_revoked = False
        self._settling: set[int] | None = None  # which threads are about to settle it; only if a worker asks
        self._pid = os.getpid()

    def __repr__(self) -> str:
        record = self._record
        settled = ", settled" if self.settled else ""
        return f"<Job {record.id} {record.name!r} of topic {record.topic!r}, attempt {record.attempt}{settled}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a reserved job cannot be pickled: reserve it in the process that works on it")

    @property
    def id(self) -> int:
        """The job's id."""
        return self._record.id

    @property
    def topic(self) -> str:
        """The topic it was reserved from."""
        return self._record.topic

    @property
    def priority(self) -> int:
        """Its priority, the lower the sooner."""
        return self._record.priority

    @property
    def name(self) -> str:
        """Its name, "" for none."""
        return self._record.name

    @property
    def unique_key(self) -> str | None:
        """The unique key that it holds in its topic until it is finished, if it has one."""
        return self._record.unique_key or None

    @property
    def attempt(self) -> int:
        """How often it has been reserved, this time included; also when it was given back before anybody began it."""
        return self._record.attempt

    @property
    def retry_count(self) -> int:
        """How often it was retried: after a failure, or a lease that ran out. 0 if it never failed, or was reset."""
        return self._record.retry_count

    @property
    def run_at(self) -> datetime:
        """Since when it was due when it was reserved, an aware datetime (UTC): it waited until `reserved_at`."""
        return moment(self._record.run_at)

    @property
    def reserved_at(self) -> datetime:
        """When it was reserved, an aware datetime (UTC)."""
        return moment(self._record.reserved_at)

    @property
    def deadline(self) -> datetime:
        """When the reservation ends, an aware datetime (UTC) by the wall clock of then; `extend` moves it."""
        return moment(self._deadline)

    @property
    def settled(self) -> bool:
        """Whether a verb of this handle, its `with` block or its worker has ended the reservation."""
        return self._outcome is not None

    @property
    def outcome(self) -> Outcome | None:
        """What has settled it, or else how its handler in a Worker has ended; None as long as it has not.

        It is there once the handler has returned or raised, in what runs `around` it.
        """
        return self._outcome or self._said

    @property
    def retries_left(self) -> int | None:
        """How many retries are left after this attempt; None for no end."""
        limit = self._record.policy.max_retries
        return None if limit is None else max(0, limit - self._record.retry_count)

    @property
    def options(self) -> JobOptions:
        """The options it was enqueued with."""
        return options_of(self._record.policy)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers it was enqueued with, which cannot be changed; empty if there are none."""
        return MappingProxyType(headers_of(self._record))

    @property
    def text(self) -> str:
        """The payload as UTF-8 text."""
        return self.payload.decode()

    def json(self) -> Any:
        """The payload as JSON."""
        return json.loads(self.payload)

    def done(self, result: Any = None, *, then: NewJob | Iterable[NewJob] = ()) -> list[int]:
        """The work is done.

        result: a JSON value to keep. then: jobs to enqueue in the same commit, only if the reservation stands.
        Returns the ids of those jobs.
        """
        if type(then) is not tuple or then:
            return self._end(Done(result, then=then))
        self._service.done(self, result)
        return []

    def retry(
        self,
        delay: Seconds | None = None,
        *,
        run_at: datetime | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        """Try again after `delay` seconds or at `run_at`, by default after the backoff. See JobService.retry."""
        self._service.retry(self, delay, run_at=run_at, error=error)

    def release(
        self, delay: Seconds = 0, *, run_at: datetime | None = None, then: NewJob | Iterable[NewJob] = ()
    ) -> list[int]:
        """Give the job back for `delay` seconds, or until `run_at`, without counting a retry.

        then: jobs to enqueue in the same commit, only if the reservation stands. Returns the ids of those jobs.
        """
        return self._end(Release(delay, run_at=run_at, then=then))

    def reject(self, error: str | BaseException | None = None, *, reason: CancelReason = CancelReason.REJECTED) -> None:
        """Make the job a dead letter at once."""
        self._service.reject(self, error, reason=reason)

    def cancel(self, note: str | None = None) -> None:
        """Cancel the job, with a note."""
        self._end(Cancel(note))

    def extend(self, seconds: Seconds | None = None) -> None:
        """Hold the job for `seconds` from now, by default for the lease it was reserved with."""
        self._service.extend(self, seconds)

    def log(self, message: str) -> None:
        """Add a line to the job's log, which keeps the newest 100; see JobService.logs.

        message: cut after 2,000 characters. Raises LeaseLost once the reservation is over.
        """
        self._service._log(self, message)

    def info(self) -> JobInfo:
        """The job as the storage has it now; JobNotFound if it is deleted."""
        return self._service.get(self.id)

    def canceled(self) -> bool:
        """Whether this reservation was taken away.

        The job was canceled, its lease expired and was reclaimed, or its worker has given it up: stop working on it.
        """
        if self._is_revoked:
            return True
        if self.settled:
            return False
        try:
            info = self.info()
        except JobNotFound:
            return True
        return info.status is not Status.RESERVED or info.attempt != self.attempt

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._pid != os.getpid():
            return False  # a forked child leaves a block of its parent's: the job is the parent's to settle
        is_ordinary = error is None or isinstance(error, Exception)
        if error is not None and is_ordinary and not isinstance(error, Outcome):
            log.error("%r failed: %s", self, error, exc_info=error, extra=log_fields(self))
        if not self.settled:
            try:
                if settle(self, outcome_of(error)).lost:
                    self._is_revoked = True
                    log.warning(
                        "%r: the reservation was lost, and its outcome is dropped", self, extra=log_fields(self)
                    )
            except JobqError:
                if is_ordinary:
                    raise
                log.exception("%r could not be released", self, extra=log_fields(self))  # what broke in goes on up
        return is_ordinary

    def _end(self, outcome: Outcome) -> list[int]:
        exchange = self._service.exchange([(self, outcome)])
        if exchange.lost:
            raise LeaseLost(lost_message([self]), jobs=[self])
        self._followers = exchange.ids
        return exchange.ids


def outcome_of(error: BaseException | None) -> Outcome:
    """What becomes of a job whose handler ended this way."""
    if error is None:
        return Done()
    if isinstance(error, Outcome):
        if isinstance(error, Retry | Reject) and error.error is None:
            error.error = error.__cause__
        return error
    return Retry(error=error) if isinstance(error, Exception) else Release()


def settle(job: Job, outcome: Outcome) -> Exchange[Job]:
    """Settle a job; with a retry, if its outcome is refused."""
    try:
        return job._service.exchange([(job, outcome)])
    except REFUSALS as problem:
        log.exception(
            "%r: its outcome %s was refused, so it is retried", job, type(outcome).__name__, extra=log_fields(job)
        )
        return job._service.exchange([(job, Retry(error=problem))])


def retry_delay(job: Job, outcome: Retry, wall: int) -> int:
    """Nanoseconds from `wall` until a job is tried again, if it has retries left."""
    if outcome.delay is not None:
        return duration(outcome.delay, "delay")
    if outcome.run_at is not None:
        return max(0, instant(outcome.run_at, "run_at") - wall)
    return lifecycle.next_backoff(job._record)


def release_delay(outcome: Release, wall: int) -> int:
    """Nanoseconds from `wall` until a released job is there again."""
    if outcome.run_at is None:
        return duration(outcome.delay, "delay")
    return max(0, instant(outcome.run_at, "run_at") - wall)


def log_fields(job: Job) -> dict[str, Any]:
    """What log records about a job carry in `extra`. (A record's `name` is that of its logger.)"""
    return {"job_id": job.id, "job_topic": job.topic, "job_name": job.name, "job_attempt": job.attempt}


def lost_message(jobs: list[Job]) -> str:
    """What LeaseLost says."""
    named = ", ".join(str(job.id) for job in jobs[:10])
    what = "job was" if len(jobs) == 1 else f"{len(jobs)} jobs were"
    return f"the reservation is over (job {named}): the {what} settled, canceled, or reclaimed after the lease ran out"
