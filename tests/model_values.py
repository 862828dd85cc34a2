"""What the plain model consists of: jobs, topics, handles, and its own reading of times."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from jobq import (
    Cancel,
    CancelReason,
    Done,
    Exchange,
    JobOptions,
    LeaseLost,
    NewJob,
    Reject,
    Release,
    Retry,
    Status,
)

Outcome = Done | Retry | Release | Reject | Cancel

SECOND = 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WAITING = (Status.READY, Status.DELAYED)
FINISHED = (Status.DONE, Status.CANCELED)


def nanos(value: Any) -> int:
    """Seconds as nanoseconds, as exact as they were written."""
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1) * 1_000
    return round(Fraction(str(value)) * SECOND)


def instant(value: datetime) -> int:
    """A datetime as nanoseconds."""
    return nanos(value - EPOCH)


def named(topic: str) -> str:
    """A topic's name."""
    return topic or "default"


def moment(value: int | None) -> datetime | None:
    """Nanoseconds as a datetime."""
    return None if value is None else EPOCH + timedelta(microseconds=value // 1_000)


def said(error: Any) -> str | None:
    """What is kept of an error that was never raised."""
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error or None


@dataclass
class ModelJob:
    """A job; times in nanoseconds, the deadline by the steady clock of a generation."""

    id: int
    topic: str
    created_at: int
    unique_key: str | None
    priority: int = 0
    payload: bytes = b""
    name: str = ""
    options: JobOptions = field(default_factory=JobOptions)
    status: Status = Status.READY
    run_at: int = 0
    reserved_at: int | None = None
    generation: int = 0
    deadline: int | None = None
    finished_at: int | None = None
    attempt: int = 0
    retry_count: int = 0
    reset_count: int = 0
    cancel_reason: CancelReason | None = None
    note: str | None = None
    last_error: str | None = None
    result: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    log: tuple[tuple[int, str], ...] = ()

    def group(self) -> str:
        """Which of the six orderings it stands in."""
        if self.status is not Status.CANCELED:
            return self.status.value
        return "canceled" if self.cancel_reason is CancelReason.REQUESTED else "dead"

    def keep(self) -> float:
        """Nanoseconds that it is kept once finished."""
        kept = getattr(self.options, f"keep_{self.group()}")
        return math.inf if kept is None else nanos(kept)

    def rank(self) -> tuple[float, ...]:
        """What it is sorted by among those of its group."""
        if self.status is Status.READY:
            return (self.priority, self.run_at, self.id)
        if self.status is Status.DELAYED:
            return (self.run_at, self.id)
        if self.status is Status.RESERVED:
            assert self.deadline is not None
            return (self.generation, self.deadline, self.id)
        assert self.finished_at is not None
        return (self.finished_at + self.keep(), self.id)


@dataclass
class ModelTopic:
    """The history of a topic; wait and run are sums of nanoseconds."""

    paused: bool = False
    totals: Counter[str] = field(default_factory=Counter)
    first_enqueued_at: int | None = None
    last_enqueued_at: int | None = None
    first_reserved_at: int | None = None
    last_reserved_at: int | None = None
    wait: int = 0
    run: int = 0


class ModelHandle:
    """A reservation."""

    def __init__(self, model: Any, job: ModelJob, lease: int, deadline: datetime | None) -> None:
        self.model, self.job, self.lease, self.deadline = model, copy(job), lease, deadline
        self.id, self.topic, self.priority, self.name = job.id, job.topic, job.priority, job.name
        self.payload, self.attempt, self.options = job.payload, job.attempt, job.options
        self.run_at, self.reserved_at = moment(job.run_at), moment(job.reserved_at)
        self.headers, self.unique_key = job.headers, job.unique_key
        limit = job.options.max_retries
        self.retries_left = None if limit is None else max(0, limit - job.retry_count)
        self.settled = False

    def done(self, result: Any = None, *, then: NewJob | Iterable[NewJob] = ()) -> list[int]:
        return self._exchange(Done(result, then=then)).ids

    def cancel(self, note: str | None = None) -> None:
        self._exchange(Cancel(note))

    def retry(self, delay: Any = None, **how: Any) -> None:
        self.model.retry(self, delay, **how)

    def release(self, delay: Any = 0, **how: Any) -> list[int]:
        return self._exchange(Release(delay, **how)).ids

    def reject(self, error: Any = None, **how: Any) -> None:
        self.model.reject(self, error, **how)

    def extend(self, seconds: Any = None) -> None:
        self.model.extend(self, seconds)

    def log(self, message: str) -> None:
        self.model.log(self, message)

    def canceled(self) -> bool:
        return not self.settled and not self.model.is_held(self)

    def leave(self, outcome: Outcome) -> None:
        """Leave `with job:` by an outcome; a lost reservation is no error there."""
        if not self.settled:
            self.model.exchange([(self, outcome)])

    def _exchange(self, outcome: Outcome) -> Exchange[Any]:
        exchange: Exchange[Any] = self.model.exchange([(self, outcome)])
        if exchange.lost:
            raise LeaseLost("", jobs=[self])
        return exchange
