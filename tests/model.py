"""The queue as plain Python, written from its documentation and not from its code: a dict of jobs, sorted on demand.

`Model` has the verbs of JobService. It uses public names of jobq only, and none of its rules.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from jobq import (
    Cancel,
    CancelReason,
    Done,
    DuplicateJob,
    Exchange,
    InvalidStatus,
    JobNotFound,
    JobOptions,
    LeaseLost,
    Limits,
    NewJob,
    Reject,
    Release,
    Retry,
    Status,
    TopicFull,
)
from jobq.repos import Clock

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


@dataclass
class ModelJob:
    """A job; times in nanoseconds, the deadline by the steady clock."""

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
    deadline: int | None = None
    finished_at: int | None = None
    attempt: int = 0
    retry_count: int = 0
    reset_count: int = 0
    cancel_reason: CancelReason | None = None
    note: str | None = None
    last_error: str | None = None
    result: Any = None

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
            return (self.deadline, self.id)
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

    def __init__(self, model: Model, job: ModelJob, lease: int, deadline: datetime | None) -> None:
        self.model, self.job, self.lease, self.deadline = model, copy(job), lease, deadline
        self.id, self.topic, self.priority, self.name = job.id, job.topic, job.priority, job.name
        self.payload, self.attempt, self.options = job.payload, job.attempt, job.options
        limit = job.options.max_retries
        self.retries_left = None if limit is None else max(0, limit - job.retry_count)
        self.settled = False

    def done(self, result: Any = None, *, then: NewJob | Iterable[NewJob] = ()) -> list[int]:
        return self._exchange(Done(result, then=then)).ids

    def cancel(self, note: str | None = None) -> None:
        self._exchange(Cancel(note))

    def retry(self, delay: Any = None, **how: Any) -> None:
        self.model.retry(self, delay, **how)

    def release(self, delay: Any = 0) -> None:
        self.model.release(self, delay)

    def reject(self, error: Any = None, **how: Any) -> None:
        self.model.reject(self, error, **how)

    def extend(self, seconds: Any = None) -> None:
        self.model.extend(self, seconds)

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


class Model:
    """The verbs of JobService over a dict."""

    def __init__(
        self, clock: Clock, defaults: JobOptions, topic_defaults: dict[str, JobOptions], limits: Limits
    ) -> None:
        self.clock, self.defaults, self.topic_defaults, self.limits = clock, defaults, topic_defaults, limits
        self.jobs_by_id: dict[int, ModelJob] = {}
        self.history: dict[str, ModelTopic] = {}
        self.next_id = 1
        self._before: list[ModelJob] = []

    # -- transactions

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; `_before` are the jobs as they were. A topic without jobs is forgotten unless paused."""
        jobs = {job.id: copy(job) for job in self.jobs_by_id.values()}
        history = {name: replace(topic, totals=Counter(topic.totals)) for name, topic in self.history.items()}
        next_id = self.next_id
        self._before = list(jobs.values())
        try:
            yield
        except BaseException:
            self.jobs_by_id, self.history, self.next_id = jobs, history, next_id
            raise
        used = {job.topic for job in self.jobs_by_id.values()}
        self.history = {name: topic for name, topic in self.history.items() if topic.paused or name in used}

    def _topic(self, name: str) -> ModelTopic:
        return self.history.setdefault(name, ModelTopic())

    def _sorted(self, jobs: Iterable[ModelJob], topic: str, group: str) -> list[ModelJob]:
        return sorted((job for job in jobs if job.topic == topic and job.group() == group), key=ModelJob.rank)

    def _now(self, topic: str, group: str) -> list[ModelJob]:
        return self._sorted(self.jobs_by_id.values(), topic, group)

    # -- producing

    def enqueue(self, topic: str, **fields: Any) -> int:
        return self.enqueue_many([NewJob(topic, **fields)])[0]

    def enqueue_many(self, jobs: Sequence[NewJob]) -> list[int]:
        with self._transaction():
            return self._enqueue(jobs)

    def _enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        ids = []
        grown = set()
        for new in jobs:
            topic = named(new.topic)
            held = self.lookup(topic, new.unique_key) if new.unique_key else None
            if held is None:
                held, self.next_id = self.next_id, self.next_id + 1
                job = ModelJob(held, topic, self.clock.wall(), new.unique_key)
                self.jobs_by_id[held] = self._shaped(job, new)
                self._count_enqueued(topic)
                grown.add(topic)
            elif new.on_duplicate != "keep":
                job = self.jobs_by_id[held]
                if new.on_duplicate == "raise" or job.status is Status.RESERVED:
                    raise DuplicateJob("", job_id=held)
                self._shaped(job, new).retry_count = 0
            ids.append(held)
        for topic in grown:
            if self.limits.depth and sum(len(self._now(topic, status)) for status in WAITING) > self.limits.depth:
                raise TopicFull("")
        return ids

    def _count_enqueued(self, name: str) -> None:
        topic = self._topic(name)
        topic.totals["enqueued"] += 1
        topic.last_enqueued_at = self.clock.wall()
        topic.first_enqueued_at = topic.first_enqueued_at or topic.last_enqueued_at

    def _shaped(self, job: ModelJob, new: NewJob) -> ModelJob:
        base = new.options or self.topic_defaults.get(job.topic, self.defaults)
        job.priority, job.name, job.options = new.priority, new.name, replace(base, **new.overrides)
        if repr(new.json) != "UNSET":
            job.payload = json.dumps(new.json, ensure_ascii=False, separators=(",", ":")).encode()
        else:
            job.payload = new.payload.encode() if isinstance(new.payload, str) else bytes(new.payload)
        at = self.clock.wall() + nanos(new.delay or 0)
        self._wait(job, max(at, instant(new.run_at)) if new.run_at else at)
        return job

    def _wait(self, job: ModelJob, run_at: int) -> None:
        now = self.clock.wall()
        job.status = Status.DELAYED if run_at > now else Status.READY
        job.run_at = max(run_at, now)
        job.deadline = job.finished_at = None

    # -- consuming

    def reserve(self, topics: Iterable[str], n: int = 1, *, lease: Any = None) -> list[ModelHandle]:
        names = list(dict.fromkeys(map(named, topics)))
        taken: list[ModelHandle] = []
        is_open = True
        while is_open and not taken:
            with self._transaction():
                self._retire(names, n)
                taken, is_open = self._reserve(names, n, lease)
        return taken

    def jobs(self, topics: Iterable[str], *, n: int = 1, lease: Any = None) -> Iterator[ModelHandle]:
        waiting: list[ModelHandle] = []
        try:
            while waiting := self.reserve(topics, n, lease=lease):
                while waiting:
                    yield waiting.pop(0)
        finally:
            if waiting:
                self.exchange([(handle, Release()) for handle in waiting])

    def _reserve(self, topics: Sequence[str], n: int, lease: Any) -> tuple[list[ModelHandle], bool]:
        """What was taken; and whether nothing was, but there may be more behind the jobs whose time was over."""
        taken: list[ModelHandle] = []
        turned = 0
        for name in topics:
            if len(taken) < n and not (name in self.history and self.history[name].paused):
                turned += self._turn_due(name, max(n, 100))
                taken += [self._take(job, lease) for job in self._now(name, "ready")[: n - len(taken)]]
        return taken, bool(turned) and not taken

    def _take(self, job: ModelJob, lease: Any) -> ModelHandle:
        wall, steady = self.clock.wall(), self.clock.steady()
        hold = nanos(job.options.lease if lease is None else lease)
        job.status, job.reserved_at, job.deadline = Status.RESERVED, wall, steady + hold
        job.attempt += 1
        topic = self._topic(job.topic)
        topic.totals["reserved"] += 1
        topic.wait += max(0, wall - job.run_at)
        topic.last_reserved_at = wall
        topic.first_reserved_at = topic.first_reserved_at or wall
        return ModelHandle(self, job, hold, moment(wall + hold))

    def _turn_due(self, topic: str, bound: int) -> int:
        over = [j for j in self._sorted(self._before, topic, "reserved") if (j.deadline or 0) <= self.clock.steady()]
        over = over[: bound // 2]
        come = [j for j in self._sorted(self._before, topic, "delayed") if j.run_at <= self.clock.wall()]
        come = come[: bound - len(over)]
        for old in over + come:
            job = self.jobs_by_id.get(old.id)
            if job == old:
                self._turn(job)
        return len(over) + len(come)

    def _turn(self, job: ModelJob) -> None:
        if job.status is Status.DELAYED:
            job.status = Status.READY
            return
        self._topic(job.topic).totals["expired"] += 1
        if self._is_exhausted(job):
            self._die(job, CancelReason.EXHAUSTED, None)
        else:
            job.retry_count += 1
            self._wait(job, self.clock.wall())

    def _retire(self, topics: Iterable[str], n: int) -> None:
        for topic in dict.fromkeys(topics):
            room = 2 * n + 8
            for group in ("done", "canceled", "dead"):
                mine = self._sorted(self._before, topic, group)
                count = sum(job.rank()[0] <= self.clock.wall() for job in mine)
                if group == "done":
                    count = max(count, len(mine) - self.limits.done)
                for job in mine[: min(room, count)]:
                    del self.jobs_by_id[job.id]
                    room -= 1

    # -- settling

    def done(self, jobs: Any, result: Any = None) -> None:
        self._settle_all(jobs, Done(result))

    def retry(self, jobs: Any, delay: Any = None, *, run_at: datetime | None = None, error: Any = None) -> None:
        self._settle_all(jobs, Retry(delay, run_at=run_at, error=error))

    def release(self, jobs: Any, delay: Any = 0) -> None:
        self._settle_all(jobs, Release(delay))

    def reject(self, jobs: Any, error: Any = None, *, reason: CancelReason = CancelReason.REJECTED) -> None:
        self._settle_all(jobs, Reject(error, reason=reason))

    def extend(self, jobs: Any, seconds: Any = None) -> None:
        lost = []
        with self._transaction():
            for handle in _handles(jobs):
                job = self._held(handle)
                if job is None:
                    lost.append(handle)
                    continue
                hold = handle.lease if seconds is None else nanos(seconds)
                job.deadline = self.clock.steady() + hold
                handle.deadline = moment(self.clock.wall() + hold)
        if lost:
            raise LeaseLost("", jobs=lost)

    def exchange(
        self,
        outcomes: Sequence[tuple[ModelHandle, Outcome]] = (),
        *,
        enqueue: Sequence[NewJob] = (),
        topics: Iterable[str] = (),
        n: int = 1,
        lease: Any = None,
    ) -> Exchange[ModelHandle]:
        names = list(dict.fromkeys(map(named, topics)))
        with self._transaction():
            lost, ids = self._settle(outcomes)
            ids += self._enqueue(enqueue)
            taken, is_open = self._reserve(names, n, lease)
            self._retire([*names, *(handle.topic for handle, _ in outcomes)], n + len(outcomes))
        for handle, _ in outcomes:
            handle.settled = handle.settled or handle not in lost
        if is_open:
            taken = self.reserve(names, n, lease=lease)
        return Exchange(taken, ids, lost)

    def _settle_all(self, jobs: Any, outcome: Outcome) -> None:
        handles = _handles(jobs)
        with self._transaction():
            lost, _ = self._settle([(handle, outcome) for handle in handles])
            self._retire([handle.topic for handle in handles], len(handles))
        for handle in handles:
            handle.settled = handle.settled or handle not in lost
        if lost:
            raise LeaseLost("", jobs=lost)

    def _settle(self, outcomes: Sequence[tuple[ModelHandle, Outcome]]) -> tuple[list[ModelHandle], list[int]]:
        lost = []
        then: list[NewJob] = []
        for handle, outcome in outcomes:
            job = self._held(handle)
            if job is None:
                lost.append(handle)
                continue
            self._apply(job, outcome)
            if isinstance(outcome, Done):
                then += [outcome.then] if isinstance(outcome.then, NewJob) else outcome.then
        return lost, self._enqueue(then)

    def is_held(self, handle: ModelHandle) -> bool:
        return self._held(handle) is not None

    def _held(self, handle: ModelHandle) -> ModelJob | None:
        job = self.jobs_by_id.get(handle.id)
        return job if job and job.status is Status.RESERVED and job.attempt == handle.attempt else None

    def _apply(self, job: ModelJob, outcome: Outcome) -> None:
        wall = self.clock.wall()
        if isinstance(outcome, Done):
            topic = self._topic(job.topic)
            topic.totals["done"] += 1
            topic.run += max(0, wall - (job.reserved_at or 0))
            job.result = outcome.result
            self._finish(job, Status.DONE)
        elif isinstance(outcome, Retry):
            self._retry(job, outcome)
        elif isinstance(outcome, Release):
            self._wait(job, wall + nanos(outcome.delay))
        elif isinstance(outcome, Reject):
            self._die(job, outcome.reason, outcome.error)
        else:
            self._cancel(job, outcome.note)

    def _retry(self, job: ModelJob, outcome: Retry) -> None:
        if self._is_exhausted(job):
            self._die(job, CancelReason.EXHAUSTED, outcome.error)
            return
        self._topic(job.topic).totals["retried"] += 1
        backoff = min(nanos(job.options.max_backoff), nanos(job.options.min_backoff) * 2**job.retry_count)
        job.retry_count += 1
        job.last_error = _said(outcome.error) or job.last_error
        wait = backoff if outcome.delay is None else nanos(outcome.delay)
        self._wait(job, instant(outcome.run_at) if outcome.run_at else self.clock.wall() + wait)

    def _is_exhausted(self, job: ModelJob) -> bool:
        return job.options.max_retries is not None and job.retry_count >= job.options.max_retries

    def _die(self, job: ModelJob, reason: CancelReason, error: Any) -> None:
        self._topic(job.topic).totals["dead"] += 1
        job.cancel_reason = reason
        job.last_error = _said(error) or job.last_error
        self._finish(job, Status.CANCELED)

    def _cancel(self, job: ModelJob, note: str | None) -> None:
        self._topic(job.topic).totals["canceled"] += 1
        job.cancel_reason, job.note = CancelReason.REQUESTED, note or None
        self._finish(job, Status.CANCELED)

    def _finish(self, job: ModelJob, status: Status) -> None:
        job.status, job.finished_at, job.deadline = status, self.clock.wall(), None
        if job.keep() == 0:
            del self.jobs_by_id[job.id]

    # -- administering

    def _chosen(self, ids: Any, *statuses: Status) -> list[ModelJob]:
        chosen = list(dict.fromkeys([ids] if isinstance(ids, int) else ids))
        if missing := [one for one in chosen if one not in self.jobs_by_id]:
            raise JobNotFound("", ids=missing)
        jobs = [self.jobs_by_id[one] for one in chosen]
        if wrong := [job for job in jobs if job.status not in statuses]:
            raise InvalidStatus("", status=wrong[0].status, ids=[job.id for job in wrong])
        return jobs

    def cancel(self, ids: Any, note: str | None = None) -> None:
        with self._transaction():
            for job in self._chosen(ids, *WAITING, Status.RESERVED):
                self._cancel(job, note)

    def reset(self, ids: Any) -> None:
        with self._transaction():
            for job in self._chosen(ids, *FINISHED, Status.DELAYED):
                holder = self.lookup(job.topic, job.unique_key) if job.unique_key else None
                if holder not in (None, job.id):
                    raise DuplicateJob("", job_id=holder or 0, ids=[job.id])
                job.retry_count, job.reset_count = 0, job.reset_count + 1
                job.cancel_reason = job.note = job.result = None
                self._wait(job, self.clock.wall())

    def reschedule(self, ids: Any, run_at: datetime) -> None:
        with self._transaction():
            for job in self._chosen(ids, *WAITING):
                self._wait(job, instant(run_at))

    def delete(self, ids: Any) -> None:
        with self._transaction():
            for job in self._chosen(ids, *FINISHED):
                del self.jobs_by_id[job.id]

    def prune(self, before: datetime | None = None, *, topic: str | None = None) -> int:
        with self._transaction():
            gone = [
                job.id
                for job in self.jobs_by_id.values()
                if job.finished_at is not None
                and (topic is None or named(topic) == job.topic)
                and (job.rank()[0] <= self.clock.wall() if before is None else job.finished_at < instant(before))
            ]
            for one in gone:
                del self.jobs_by_id[one]
        return len(gone)

    def clear(self, topic: str) -> int:
        with self._transaction():
            jobs = [job for status in WAITING for job in self._now(named(topic), status)]
            for job in jobs:
                self._cancel(job, "cleared")
        return len(jobs)

    def pause(self, topic: str) -> None:
        with self._transaction():
            self._topic(named(topic)).paused = True

    def resume(self, topic: str) -> None:
        with self._transaction():
            self._topic(named(topic)).paused = False

    # -- looking

    def get(self, job_id: int) -> dict[str, Any]:
        if job_id not in self.jobs_by_id:
            raise JobNotFound("", ids=[job_id])
        job = self.jobs_by_id[job_id]
        seen = {name: value for name, value in vars(job).items() if name != "payload"}
        for name in ("created_at", "run_at", "reserved_at", "finished_at"):
            seen[name] = moment(seen[name])
        if job.deadline is not None:
            seen["deadline"] = moment(self.clock.wall() + job.deadline - self.clock.steady())
        return seen

    def status(self, job_id: int) -> Status:
        return Status(self.get(job_id)["status"])

    def payload(self, job_id: int) -> bytes:
        self.get(job_id)
        return self.jobs_by_id[job_id].payload

    def lookup(self, topic: str, unique_key: str) -> int | None:
        for job in self.jobs_by_id.values():
            if (job.topic, job.unique_key) == (topic, unique_key) and job.status not in FINISHED:
                return job.id
        return None

    def find(self, status: Status, *, topic: str | None = None) -> list[dict[str, Any]]:
        jobs = [job for job in self.jobs_by_id.values() if job.status is status]
        mine = [job for job in jobs if topic is None or named(topic) == job.topic]
        return [self.get(job.id) for job in sorted(mine, key=lambda job: (job.topic, job.rank()))]

    def dead_letters(self, topic: str | None = None) -> list[dict[str, Any]]:
        found = self.find(Status.CANCELED, topic=topic)
        return [seen for seen in found if seen["cancel_reason"] is not CancelReason.REQUESTED]

    def topics(self) -> list[str]:
        return sorted(self.history)

    def stats(self, topic: str) -> dict[str, Any]:
        past = self.history.get(topic, ModelTopic())
        now = Counter(job.status for job in self.jobs_by_id.values() if job.topic == topic)
        ready = [job.run_at for job in self._now(topic, "ready")]
        totals = ("enqueued", "reserved", "done", "retried", "expired", "canceled", "dead")
        return {
            "topic": topic,
            "now": {status: now[status] for status in Status},
            **{name: past.totals[name] for name in totals},
            "first_enqueued_at": moment(past.first_enqueued_at),
            "last_enqueued_at": moment(past.last_enqueued_at),
            "first_reserved_at": moment(past.first_reserved_at),
            "last_reserved_at": moment(past.last_reserved_at),
            "oldest_ready_age": max(0, self.clock.wall() - min(ready)) / SECOND if ready else None,
            "mean_wait": past.wait / past.totals["reserved"] / SECOND if past.totals["reserved"] else None,
            "mean_run": past.run / past.totals["done"] / SECOND if past.totals["done"] else None,
            "paused": past.paused,
        }

    def next_due(self, topics: Iterable[str]) -> datetime | None:
        wall, steady = self.clock.wall(), self.clock.steady()
        times = []
        for job in self.jobs_by_id.values():
            if job.topic in topics and not self.history[job.topic].paused and job.status not in FINISHED:
                lease_left = 0 if job.deadline is None else job.deadline - steady
                times.append({"ready": wall, "delayed": job.run_at, "reserved": wall + lease_left}[job.status])
        return moment(max(wall, min(times))) if times else None


def _handles(jobs: ModelHandle | Iterable[ModelHandle]) -> list[ModelHandle]:
    return [jobs] if isinstance(jobs, ModelHandle) else list(dict.fromkeys(jobs))


def _said(error: Any) -> str | None:
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error or None
