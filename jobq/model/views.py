"""What users read: snapshots with datetimes and seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar, overload

from jobq.model.options import JobOptions
from jobq.model.records import Log, Now, Place, Record, TopicState, Total, headers_of, options_of
from jobq.model.status import ORDERINGS_OF, CancelReason, Ordering, Status
from jobq.model.times import SECOND, moment, moment_or_none

J = TypeVar("J")

DifferenceKind = Literal["place", "unique_key", "count", "topic", "unreadable", "quarantined", "policy"]

Plain = str | int | bool | tuple[int, ...]
"""A value that any format can show."""


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as it was at one moment, without its payload.

    deadline is None unless the job is Reserved; finished_at unless it is Done or Canceled. As a page's last item it
    is the cursor of the next page.
    """

    id: int
    topic: str
    priority: int
    status: Status
    name: str
    created_at: datetime
    run_at: datetime
    reserved_at: datetime | None
    deadline: datetime | None
    finished_at: datetime | None
    attempt: int
    retry_count: int
    reset_count: int
    cancel_reason: CancelReason | None
    note: str | None
    last_error: str | None
    result: Any
    options: JobOptions
    unique_key: str | None
    headers: Mapping[str, str] = field(hash=False)
    _place: Place = field(repr=False, compare=False)

    @property
    def is_dead_letter(self) -> bool:
        """Whether it is Canceled, and nobody requested that."""
        return self._place.ordering is Ordering.DEAD


@dataclass(frozen=True, slots=True)
class TopicStats:
    """The counters of a topic.

    now: how many jobs have each status. dead_letters: how many of the Canceled ones are dead letters. The totals count
    each verb since the topic began; `expired` are leases that ran out, `dead` jobs that became dead letters.
    oldest_ready_age, mean_wait and mean_run are seconds; None without a Ready, a reserved or a done job. total_wait and
    total_run are the seconds that they are means of: of each reservation since the job was due, and of each done job
    since it was reserved. They never become less.
    """

    topic: str
    now: Mapping[Status, int]
    dead_letters: int
    enqueued: int
    reserved: int
    done: int
    retried: int
    expired: int
    canceled: int
    dead: int
    first_enqueued_at: datetime | None
    last_enqueued_at: datetime | None
    first_reserved_at: datetime | None
    last_reserved_at: datetime | None
    oldest_ready_age: float | None
    mean_wait: float | None
    mean_run: float | None
    total_wait: float
    total_run: float
    paused: bool


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log of a job: when it was written, and what it says."""

    at: datetime
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class JobLog(Sequence[LogLine]):
    """The newest lines of the log of a job, the oldest of them first; `dropped` older ones are not kept.

    It equals a list or tuple of the same lines, and a JobLog that also dropped as many.
    """

    lines: tuple[LogLine, ...] = ()
    dropped: int = 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, JobLog):
            return (self.lines, self.dropped) == (other.lines, other.dropped)
        return self.lines == tuple(other) if isinstance(other, list | tuple) else NotImplemented

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> LogLine: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LogLine, ...]: ...
    def __getitem__(self, index: int | slice) -> LogLine | tuple[LogLine, ...]:
        return self.lines[index]


@dataclass(frozen=True, slots=True)
class Exchange(Generic[J]):
    """What `exchange` gave: the jobs reserved, the ids enqueued, and the handles whose reservation was lost."""

    jobs: list[J]
    ids: list[int]
    lost: list[J]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that `verify` found to be other than the jobs say, or that cannot be read.

    kind: "place", "unique_key", "count" (of a topic's jobs by status), "topic" (its counters as a whole), "unreadable"
    (a job), "quarantined" (a job that was unreadable and is set aside) or "policy" (options that jobs share).
    topic, job_id: what it is about, None where that is not one. repaired: whether it is no more.
    """

    kind: DifferenceKind
    topic: str | None
    job_id: int | None
    message: str
    repaired: bool

    def __str__(self) -> str:
        return f"{self.message}{' (repaired)' if self.repaired else ''}"


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """How far `move_to` is, in jobs.

    moved: by this call. left: those that are still to be moved, of which it waits for `reserved` ones to be settled.
    At its end, left: jobs that were enqueued behind it; unreadable: those that stay, as they cannot be read, or are
    set aside; 0 before that.
    """

    moved: int = 0
    left: int = 0
    reserved: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """What a queue is kept in, and how much of it there is.

    url: where, without a password. kind: "memory", "lmdb", or what another storage calls itself. job_count: of all
    statuses. topic_count: of those in use. details: what only this kind has to say, by name, in plain values.
    """

    url: str
    kind: str
    job_count: int
    topic_count: int
    details: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class Compaction:
    """What `compact` did: the bytes of the file before and after."""

    before: int
    after: int


def job_info(record: Record, place: Place, now: Now) -> JobInfo:
    """The view of a record whose place is `place`."""
    return JobInfo(
        id=record.id,
        topic=record.topic,
        priority=record.priority,
        status=record.status,
        name=record.name,
        created_at=moment(record.created_at),
        run_at=moment(record.run_at),
        reserved_at=moment_or_none(record.reserved_at),
        deadline=moment(wall_deadline(record, now)) if record.status is Status.RESERVED else None,
        finished_at=moment_or_none(record.finished_at),
        attempt=record.attempt,
        retry_count=record.retry_count,
        reset_count=record.reset_count,
        cancel_reason=record.cancel_reason,
        note=record.note or None,
        last_error=record.last_error or None,
        result=json.loads(record.result) if record.result else None,
        options=options_of(record.policy),
        unique_key=record.unique_key or None,
        headers=headers_of(record),
        _place=place,
    )


def job_log(log: Log) -> JobLog:
    """The view of a log."""
    return JobLog(tuple([LogLine(moment(entry.at), entry.message) for entry in log.entries]), log.dropped)


def wall_deadline(record: Record, now: Now) -> int:
    """When a reservation ends, in nanoseconds of the wall clock; of an older generation: now, as it is over."""
    if record.generation != now.generation:
        return now.wall
    return now.wall + record.deadline - now.steady


def topic_stats(topic: str, state: TopicState, oldest_run_at: int | None, now: Now) -> TopicStats:
    """The view of a topic's counters; oldest_run_at is the earliest of its Ready jobs."""
    totals = state.totals
    return TopicStats(
        topic=topic,
        now={status: sum(state.now[o] for o in orderings) for status, orderings in ORDERINGS_OF.items()},
        dead_letters=state.now[Ordering.DEAD],
        enqueued=totals[Total.ENQUEUED],
        reserved=totals[Total.RESERVED],
        done=totals[Total.DONE],
        retried=totals[Total.RETRIED],
        expired=totals[Total.EXPIRED],
        canceled=totals[Total.CANCELED],
        dead=totals[Total.DEAD],
        first_enqueued_at=moment_or_none(state.first_enqueued_at),
        last_enqueued_at=moment_or_none(state.last_enqueued_at),
        first_reserved_at=moment_or_none(state.first_reserved_at),
        last_reserved_at=moment_or_none(state.last_reserved_at),
        oldest_ready_age=None if oldest_run_at is None else max(0, now.wall - oldest_run_at) / SECOND,
        mean_wait=_mean(totals[Total.WAIT], totals[Total.RESERVED]),
        mean_run=_mean(totals[Total.RUN], totals[Total.DONE]),
        total_wait=totals[Total.WAIT] / SECOND,
        total_run=totals[Total.RUN] / SECOND,
        paused=state.paused,
    )


def _mean(nanos: int, count: int) -> float | None:
    return nanos / count / SECOND if count else None
